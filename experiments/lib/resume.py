"""What earlier calls left of a run, and what of it still holds for the data set as it is now.

A row holds where it has numbers, and its files, its annotation, its size and its canvas are as they
were. In which shard it lies does not matter, so batches may be cut anew from a mended data set: a
shard that is written again keeps those of its rows that hold, whatever batch they are of now, and
no row is ever without a file on the way.
"""

from __future__ import annotations

import collections
import pathlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tetris_jax import data
from tetris_jax.runs import schema, stamps
from tetris_jax.runs import workdirs as results

if TYPE_CHECKING:
  from experiments.lib.loop import Job

__all__ = ['Done', 'Row', 'Sources', 'look', 'nothing', 'unread']

_SHOWN = 3
_MENDED = 'whose files changed'
_LOST = 'whose map or picture is missing or damaged'

Row = Mapping[str, Any]
"""Of an instance, as `tetris_jax.runs.schema` has it."""


def nothing() -> schema.Facts:
  """The facts of a batch that took nothing."""
  return {'seconds': 0.0, 'compile_seconds': 0.0, 'programs': 0, 'evaluations': 0}


def unread(canvas: Sequence[int]) -> schema.Origin:
  """What an instance on a canvas (height, width) was made of where nobody has looked."""
  return {'canvas': list(canvas), 'files': [], 'content': ''}


class Sources:
  """What the instances of a data set are made of, now.

  Attributes:
    dataset: the instances.
    names: of these.
  """

  def __init__(
    self,
    dataset: data.Dataset,
    sizes: Sequence[list[int] | None],
    content: Callable[[int], str],
  ):
    """Looks at nothing yet.

    Args:
      dataset: the instances.
      sizes: [height, width] of each, or None where it is unknown.
      content: what the row of an instance depends on beside the data set, by its position.
    """
    self.dataset, self.names = dataset, dataset.names
    self._sizes, self._more = sizes, content
    self._stamps = stamps.Stamps()

  def content(self, index: int) -> str:
    """What an instance's row depends on beside files."""
    return '\n'.join(filter(None, (self.dataset.content(index), self._more(index))))

  def origin(self, index: int, canvas: tuple[int, int]) -> schema.Origin:
    """What the row of an instance on a canvas is made of; to be asked before it is read."""
    files = [self._stamps.of(path) for path in self.dataset.files(index)]
    return {'canvas': list(canvas), 'files': files, 'content': self.content(index)}

  def changed(
    self, index: int, canvas: tuple[int, int], row: Row, origin: schema.Origin | None
  ) -> tuple[str, list[str]]:
    """Why a row does not hold for an instance, and of which files; ('', []) where it does.

    Args:
      index: of the instance.
      canvas: (height, width) on which it would be measured.
      row: of an earlier call.
      origin: what that was made of, where it is known.
    """
    if origin is None:
      return 'made by an earlier version', []
    paths, then = self.dataset.files(index), origin['files']
    names = [path.name for path in paths]
    if names != [stamp['name'] for stamp in then]:
      return _MENDED, names
    other = [
      path.name for path, stamp in zip(paths, then, strict=True)
      if not self._stamps.same(path, stamp)
    ]  # fmt: skip
    if other:
      return _MENDED, other
    if origin['content'] != self.content(index):
      return 'whose annotation or clicks changed', []
    if row['size'] != self._sizes[index]:
      return 'whose size changed', []
    if origin['canvas'] != list(canvas):
      return 'on another canvas', []
    return '', []


class Done:
  """The rows that a run has, by position in the data set, and the shards in which they lie.

  Attributes:
    rows: of all instances that need not be done.
    damaged: what was found of shards that are not whole.
    lost: likewise, of what lies beside rows.
    again: how many instances are done again, by reason.
    mended: names of their files that have changed.
  """

  def __init__(self, workdir: results.Workdir):
    """Begins with no row."""
    self._workdir = workdir
    self._shards: dict[int, results.Shard] = {}
    self._origins: dict[int, dict[int, schema.Origin]] = collections.defaultdict(dict)
    self.rows: dict[int, Row] = {}
    self.damaged: list[str] = []
    self.lost: list[str] = []
    self.again: collections.Counter[str] = collections.Counter()
    self.mended: dict[str, None] = {}

  def read(self, kind: schema.Kind) -> dict[str, list[tuple[int, Row, schema.Origin | None]]]:
    """Batch, row and origin, where it is known, of every row in a whole shard, by instance.

    Raises:
      results.WorkdirError: a shard cannot be read.
    """
    found: dict[str, list[tuple[int, Row, schema.Origin | None]]]
    found = collections.defaultdict(list)
    for number in self._workdir.shards():
      try:
        shard = self._workdir.read_shard(number, kind)
      except results.DamagedShardError as error:
        self.damaged.append(f'{error}; its batch is done again')
        continue
      if shard is None:
        continue
      self._shards[number] = shard
      made_of = shard.facts.get('made_of', [None] * len(shard.rows))
      for row, origin in zip(shard.rows, made_of, strict=True):
        found[row['instance']].append((number, row, origin))
    return found

  def keep(self, index: int, number: int, row: Row, origin: schema.Origin) -> None:
    """Takes over the row of an instance, which lies in a shard."""
    self.rows[index] = row
    self._origins[number][index] = origin

  def lose(self, lost: Mapping[int, str]) -> None:
    """Takes rows back, for what lies beside them is not whole.

    Args:
      lost: what is wrong, by position.
    """
    for index, why in lost.items():
      del self.rows[index]
      for origins in self._origins.values():
        origins.pop(index, None)
      self.lost.append(f'{why}; it is made again')
    self.again[_LOST] += len(lost)

  def write(
    self, number: int, made: Mapping[int, tuple[Row, schema.Origin]], facts: schema.Facts
  ) -> None:
    """Writes the shard of a batch: what was made now, and what it has that holds.

    Args:
      number: of the batch.
      made: row and origin by position.
      facts: of what was made now; those of what the shard had are added.

    Raises:
      results.WorkdirError: it cannot be written.
    """
    kept = {index: (self.rows[index], one) for index, one in self._origins[number].items()}
    whole = dict(sorted({**kept, **made}.items()))
    before: Mapping[str, Any] = self._shards[number].facts if number in self._shards else {}
    total: Any = {key: before.get(key, 0) + value for key, value in facts.items()}
    total['made_of'] = [origin for _, origin in whole.values()]
    shard = results.Shard([row for row, _ in whole.values()], total)
    if shard != self._shards.get(number):  # What was skipped mostly is skipped again.
      self._workdir.reopen()
      self._workdir.write_shard(number, shard)
      self._shards[number] = shard
    for index, (row, origin) in made.items():
      self.keep(index, number, row, origin)

  def totals(self) -> dict[str, float]:
    """What all batches took, of all calls."""
    facts: list[Mapping[str, Any]] = [shard.facts for shard in self._shards.values()]
    return {key: sum(one.get(key, 0) for one in facts) for key in nothing()}

  def notes(
    self, path: pathlib.Path, wanted: int, beside: int, new: int, gone: int
  ) -> list[str]:
    """What is said of a run that goes on, a line each; none of one that begins.

    Args:
      path: of the work folder.
      wanted: instances.
      beside: those of them that are in no batch, which have no numbers.
      new: those that the call before had not.
      gone: those that only the call before had.
    """
    if not self._shards:
      return self.damaged
    line = f'resuming {path}: {len(self.rows):,} of {wanted:,} instances are done'
    files = [*self.mended][:_SHOWN] + ['...'] * (len(self.mended) > _SHOWN)
    told = []
    again = +self.again + collections.Counter({'failed': beside})
    for why, count in sorted(again.items(), key=lambda one: (one[0] in schema.STATUSES, one[0])):
      told.append(f'{count:,} {why}' + (f' ({", ".join(files)})' if why == _MENDED else ''))
    line += f'; again: {", ".join(told)}' if told else ''
    line += f'; new: {new:,}' if new else ''
    line += f'; gone: {gone:,}' if gone else ''
    more = len(self.lost) - _SHOWN
    rest = [f'and {more:,} more'] if more > 0 else []
    return [line, *self.damaged, *self.lost[:_SHOWN], *rest]


def look(
  job: Job,
  workdir: results.Workdir,
  groups: Mapping[int, data.Group],
  sources: Sources,
  rejected: Collection[str] = (),
) -> Done:
  """What of the earlier calls holds; what lies beside rows that do not is removed.

  Args:
    job: what the run does.
    workdir: where its shards are.
    groups: its batches as they are now, by number.
    sources: of the data set as it is now.
    rejected: names of instances that failed without being in a batch.

  Raises:
    results.WorkdirError: a shard cannot be read.
  """
  done = Done(workdir)
  found = done.read(job.kind)
  for number, group in groups.items():
    for index in group.indices:
      name = sources.names[index]
      rows = found.get(name, [])
      done.again['failed'] += not rows and name in rejected
      _judge(done, job, sources, index, group.canvas, rows)
    kept = tuple(index for index in group.indices if index in done.rows)
    if not kept:
      continue
    try:
      lost = job.damage(group._replace(indices=kept), [done.rows[index] for index in kept])
    except Exception as error:  # What lies beside a shard cannot be told whole.
      lost = dict.fromkeys(kept, f'batch {number}: {type(error).__name__}: {error}')
    done.lose(lost)
  return done


def _judge(
  done: Done,
  job: Job,
  sources: Sources,
  index: int,
  canvas: tuple[int, int],
  rows: Sequence[tuple[int, Row, schema.Origin | None]],
) -> None:
  """Keeps one of the rows that an instance has, or counts why none of them holds."""
  statuses = {row['status'] for _, row, _ in rows}
  why = ''
  for number, row, origin in rows:
    if row['status'] == 'ok':
      why, files = sources.changed(index, canvas, row, origin)
      if origin and not why:
        done.keep(index, number, job.placed(index, row), origin)
        return
      done.mended.update(dict.fromkeys(files))
  if 'ok' in statuses:
    job.forget(index)
  # Where it has failed since it was mended, that is the reason now.
  done.again.update([min(statuses - {'ok'}, default=why)] if rows else ())
