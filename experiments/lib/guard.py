"""One bad instance costs its own row: a batch that raises is done again, an instance at a time.

An instance alone fills its batch with itself, so it meets the same compiled programs, and what
stands in the rows of the others is what would have stood there without the bad one.
"""

from __future__ import annotations

import dataclasses
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.lib import loop, memory, named
from experiments.lib.programs import Say
from experiments.lib.progress import STDERR
from tetris_jax import data
from tetris_jax.runs import schema
from tetris_jax.runs import workdirs as results

__all__ = ['Guarded', 'row', 'run']


@dataclasses.dataclass(frozen=True)
class _Given:
  """What the inner job prepared, and of which instances."""

  group: data.Group
  inner: Any


def _tell(what: str, error: Exception, say: Say) -> None:
  """Says why something has no numbers, and where it was raised if nobody foresaw it."""
  if isinstance(error, memory.OutOfMemoryError):
    say(f'{what}: {error}')
  else:
    say(f'{what}:\n{"".join(traceback.format_exception(error)).rstrip()}')


def row(kind: schema.Kind, sample: data.Sample, make: Callable[[], loop.Row], say: Say) -> loop.Row:
  """The row that is made of an instance's numbers, or a failed one where that raises.

  Args:
    kind: of the row.
    sample: the instance.
    make: () -> its row.
    say: told where it was raised.

  Raises:
    results.WorkdirError: what lies beside the row cannot be written.
  """
  try:
    return make()
  except results.WorkdirError:
    raise
  except Exception as error:  # Whatever it is, it ends as a row with a reason.
    _tell(repr(sample.instance), error, say)
    return schema.empty_row(kind, sample.instance, 'failed', named.reason_of(error), sample.size)


class Guarded(loop.Job):
  """A job of which no instance costs another its row.

  Attributes:
    kind: of its rows.
    programs: on which it measures.
  """

  def __init__(self, job: loop.Job, dataset: data.Dataset):
    """Takes the job, and the data set of its instances."""
    self.kind = job.kind
    if hasattr(job, 'programs'):  # One that only looks at what was measured has none.
      self.programs = job.programs
    self._job, self._dataset, self._names = job, dataset, dataset.names
    # What is measured alone is read again while a thread reads the next batch.
    self._reading = threading.Lock()

  def _failed(self, index: int, error: Exception) -> loop.Row:
    return named.failed_row(self.kind, self._dataset, index, named.reason_of(error))

  def _read(self, group: data.Group) -> loop.Prepared:
    with self._reading:
      return self._job.prepare(group)

  def ahead(self, group: data.Group, say: Say) -> None:
    """As of the job."""
    self._job.ahead(group, say)

  def prepare(self, group: data.Group) -> loop.Prepared:
    """Reads a batch; what can only be read without some instances is read without them."""
    made: list[loop.Row] = []
    try:
      prepared = self._read(group)
    except results.WorkdirError:
      raise
    except Exception as error:  # Whose fault it is shows when each is read alone.
      good = [index for index in group.indices if self._alone(group, index, made)]
      if not good:
        return loop.Prepared(group, made, None)
      if not made:
        raise memory.explained(error, len(group.indices)) from error
      group = group._replace(indices=tuple(good))
      prepared = self._read(group)
    known = {one['instance'] for one in prepared.rows}
    left = tuple(index for index in group.indices if self._names[index] not in known)
    given = None if not left else _Given(group._replace(indices=left), prepared.given)
    return loop.Prepared(group, [*made, *prepared.rows], given)

  def _alone(self, group: data.Group, index: int, made: list[loop.Row]) -> bool:
    """Whether an instance can be prepared; where it cannot, `made` gets its row."""
    try:
      self._read(group._replace(indices=(index,)))
    except results.WorkdirError:
      raise
    except Exception as error:  # Whatever it is, it ends as a row with a reason.
      _tell(repr(self._names[index]), error, STDERR.say)
      made.append(self._failed(index, memory.explained(error, 1)))
      return False
    return True

  def measure(self, given: _Given, say: Say) -> loop.Found:
    """Measures a batch, or each of its instances alone where that raises."""
    try:
      found = self._job.measure(given.inner, say)
      return loop.Found((), found.evaluations, ([], [found]))
    except results.WorkdirError:
      raise
    except Exception as error:  # Whose fault it is shows when each is measured alone.
      indices, raised = given.group.indices, error
    _tell(f'a batch of {len(indices)} could not be measured', raised, say)
    made, parts, same = [], [], raised if len(indices) == 1 else None
    for index in indices:
      one = same or self._measured_alone(given.group, index, raised, say)
      if isinstance(one, loop.Found):
        parts.append(one)
        continue
      made.append(self._failed(index, one))
      # Where one instance alone has no memory, or the program could not be compiled, it is so for
      # all: it is the same program.
      same = one if one is raised or isinstance(one, memory.OutOfMemoryError) else None
    return loop.Found((), sum(part.evaluations for part in parts), (made, parts))

  def _measured_alone(
    self, group: data.Group, index: int, told: Exception, say: Say
  ) -> loop.Found | Exception:
    """What is found on one instance, or why nothing is, which is said unless it was told."""
    try:
      prepared = self._read(group._replace(indices=(index,)))
      return self._job.measure(prepared.given, say)
    except results.WorkdirError:
      raise
    except Exception as error:  # Whatever it is, it ends as a row with a reason.
      if error is not told:
        _tell(repr(self._names[index]), error, say)
      return error

  def finish(self, found: loop.Found, say: Say) -> Sequence[loop.Row]:
    """The final rows of a batch; one that no reader of rows would take becomes a failed one."""
    made, parts = found.left
    rows = [*made, *(one for part in parts for one in self._job.finish(part, say))]
    return [self._possible(one, say) for one in rows]

  def _possible(self, made: loop.Row, say: Say) -> loop.Row:
    try:
      schema.check_row(made, self.kind)
      return made
    except schema.RowError as error:
      _tell('a row', error, say)
      return self._failed(self._names.index(made['instance']), error)

  def content(self, index: int) -> str:
    """What the inner job says."""
    return self._job.content(index)

  def placed(self, index: int, row: loop.Row) -> loop.Row:
    """What the inner job says."""
    return self._job.placed(index, row)

  def damage(self, group: data.Group, rows: Sequence[loop.Row]) -> Mapping[int, str]:
    """What the inner job says."""
    return self._job.damage(group, rows)

  def forget(self, index: int) -> None:
    """Removes what the inner job has left beside a row."""
    self._job.forget(index)


def run(
  job: loop.Job,
  dataset: data.Dataset,
  workdir: results.Workdir,
  batch_size: int,
  shard: tuple[int, int],
) -> tuple[list[loop.Row], dict[str, float]]:
  """`loop.run` of a job whose instances are guarded; see there."""
  return loop.run(Guarded(job, dataset), dataset, workdir, batch_size, shard)
