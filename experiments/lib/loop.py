"""The loop behind every run: batches in, shards out, the device kept busy, nothing done twice.

  plan batches -> resume from shards -> read the next batch while the device works
    -> measure -> draw and write beside the device -> mark as finished -> merge

A `Job` says what is read, measured and written; the loop does the rest, and alike for all of them.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import re
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from experiments.lib import interrupts, resume
from experiments.lib import progress as progress_lib
from experiments.lib.programs import Programs, Say
from experiments.lib.resume import Row
from tetris_jax import data
from tetris_jax.runs import schema
from tetris_jax.runs import workdirs as results

__all__ = [
  'Found',
  'Job',
  'Prepared',
  'Row',
  'fingerprint',
  'listed',
  'picture_name',
  'reason_of',
  'rejected_row',
  'run',
]

_LONGEST_REASON = 300
_LONGEST_NAME = 80


@dataclasses.dataclass(frozen=True)
class Prepared:
  """A batch that has been read.

  Attributes:
    group: its instances.
    rows: of those without numbers.
    given: what is measured, as the job likes it; None where nothing is left to measure.
  """

  group: data.Group
  rows: Sequence[Row]
  given: Any


@dataclasses.dataclass(frozen=True)
class Found:
  """What was measured on a batch.

  Attributes:
    rows: of what `Prepared.given` holds.
    evaluations: of the decoder.
    left: what remains to be drawn or written, as the job likes it.
  """

  rows: Sequence[Row]
  evaluations: int
  left: Any = None


class Job(Protocol):
  """What a program does with its instances.

  Whatever of it raises makes the batch one of failed rows, except for a `results.WorkdirError`,
  which ends the run.

  Attributes:
    kind: of its rows.
    programs: on which it measures.
  """

  kind: schema.Kind
  programs: Programs

  def prepare(self, group: data.Group) -> Prepared:
    """Reads a batch; on a thread of its own, while the batch before is measured."""

  def measure(self, given: Any, say: Say) -> Found:
    """Measures what `prepare` gave; the one part that uses the device for long."""

  def finish(self, found: Found, say: Say) -> Sequence[Row]:
    """Draws and writes what lies beside a shard, and returns the final rows of what was measured.

    On a thread of its own, while later batches are measured. What cannot be drawn is said, and
    costs no row.
    """

  def content(self, index: int) -> str:
    """What an instance's row depends on beside the data set, as a text that changes with it."""
    del index
    return ''

  def placed(self, index: int, row: Row) -> Row:
    """A row of an earlier call, whose instance may have had another position then."""
    del index
    return row

  def damage(self, group: data.Group, rows: Sequence[Row]) -> Mapping[int, str]:
    """Why what lies beside rows is not whole, by position; these are made again.

    Args:
      group: their instances, which have numbers.
      rows: of these, as `placed` has left them.
    """
    del group, rows
    return {}

  def forget(self, index: int) -> None:
    """Removes what lies beside a row that no longer holds."""
    del index


def listed(dataset: data.Dataset) -> list[list[Any]]:
  """[name, [height, width] or None] of every instance, in order."""
  sizes = (dataset.size(index) for index in range(len(dataset)))
  return [
    [name, None if size is None else list(size)]
    for name, size in zip(dataset.names, sizes, strict=True)
  ]


def fingerprint(dataset: data.Dataset) -> dict[str, Any]:
  """What must stay the same between a run and its resumption: the instances and their sizes.

  Their pixels are not looked at, for that would read a whole data set before the first batch;
  `experiments.replay` notices rows whose pictures have changed since.
  """
  return results.fingerprint(listed(dataset))


def picture_name(index: int, instance: str) -> str:
  """The file name of an instance's picture: its position, and its name as far as files allow."""
  safe = re.sub(r'[^A-Za-z0-9._-]+', '_', instance)[:_LONGEST_NAME]
  return f'{index:05d}_{safe}.png'


def reason_of(error: BaseException) -> str:
  """An exception as the reason of a failed row: its type and first line, cut."""
  first = (str(error).strip().splitlines() or ['no message'])[0]
  return f'{type(error).__name__}: {first}'[:_LONGEST_REASON]


def rejected_row(kind: schema.Kind, rejected: data.Rejected) -> Row:
  """The row of an instance that could not be read."""
  return schema.empty_row(
    kind, rejected.instance, rejected.status, rejected.reason, rejected.size
  )


class _Run:
  """One pass over the batches of a shard of the run that are not finished yet."""

  def __init__(
    self,
    job: Job,
    sources: resume.Sources,
    workdir: results.Workdir,
    groups: Mapping[int, data.Group],
  ):
    self.job, self.sources, self.workdir, self.groups = job, sources, workdir, groups
    self.dataset, self.names = sources.dataset, sources.names
    # By batch, the positions of the instances that it has to do.
    self.todo: dict[int, list[int]] = {}
    self.origins: dict[int, schema.Origin] = {}

  def resume(self, beside: int, before: Sequence[Any]) -> progress_lib.Progress:
    """Takes over what earlier calls finished and what still holds of it.

    Args:
      beside: instances that are in no batch and need no work.
      before: [name, [height, width] or None] of the instances of the call before.

    Returns:
      The progress from there on.

    Raises:
      results.WorkdirError: a shard cannot be read.
    """
    then = {name: size for name, size in before}
    rejected = {name for name, size in then.items() if size is None}
    with progress_lib.ticking('comparing the data set with the rows that are there', after=2.0):
      self.done = resume.look(self.job, self.workdir, self.groups, self.sources, rejected)
    for number, group in self.groups.items():
      left = [index for index in group.indices if index not in self.done.rows]
      if left:
        self.todo[number] = left
    wanted = beside + sum(len(group.indices) for group in self.groups.values())
    progress = progress_lib.Progress(wanted, beside + len(self.done.rows))
    mine = [index for group in self.groups.values() for index in group.indices]
    new = sum(self.names[index] not in then for index in mine)
    gone = len(then.keys() - set(self.names))
    notes = self.done.notes(self.workdir.path, wanted, beside, new, gone)
    for note in filter(None, [*notes[:1], self.workdir.restored, *notes[1:]]):
      progress.say(note)
    interrupts.keeps(
      lambda: (
        f'{beside + len(self.done.rows):,} of {wanted:,} instances are kept in '
        f'{self.workdir.path}; the same command resumes the run'
      )
    )
    return progress

  def read(self, number: int) -> Prepared:
    """Reads what a batch has to do, after a look at the files that it is made of."""
    group = self.groups[number]._replace(indices=tuple(self.todo[number]))
    with progress_lib.ticking('reading files for their sums', after=5.0):
      for index in group.indices:
        self.origins[index] = self.sources.origin(index, group.canvas)
    return self.job.prepare(group)

  def ordered(self, number: int, rows: Sequence[Row]) -> list[Row]:
    """Rows in the order of a batch's instances."""
    by_name = {row['instance']: row for row in rows}
    return [by_name[self.names[index]] for index in self.todo[number]]

  def failed(self, number: int, rows: Sequence[Row], error: Exception, say: Say) -> list[Row]:
    """Rows that say why a batch raised; resuming the run tries it again.

    Args:
      number: of the batch.
      rows: of its instances that had no numbers before.
      error: what was raised.
      say: told where it was raised.
    """
    say(''.join(traceback.format_exception(error)).rstrip())
    known, reason = {row['instance'] for row in rows}, reason_of(error)
    made = [*rows]
    for index in self.todo[number]:
      if self.names[index] not in known:
        size = self.dataset.size(index)
        made.append(schema.empty_row(self.job.kind, self.names[index], 'failed', reason, size))
    return self.ordered(number, made)

  def measure(self, given: Any, say: Say) -> tuple[Found, schema.Facts]:
    """What was found, and what the batch took."""
    programs = self.job.programs
    seconds, compiling, count = programs.seconds, programs.compile_seconds, programs.count
    found = self.job.measure(given, say)
    return found, {
      'seconds': programs.seconds - seconds,
      'compile_seconds': programs.compile_seconds - compiling,
      'programs': programs.count - count,
      'evaluations': found.evaluations,
    }

  def finish(
    self, number: int, prepared: Prepared, found: Found | None, facts: schema.Facts, say: Say
  ) -> None:
    """Draws and writes what lies beside a shard, then the shard: where it is, the rest is too."""
    try:
      made = self.job.finish(found, say) if found else []
      rows = self.ordered(number, [*prepared.rows, *made])
    except results.WorkdirError:
      raise
    except Exception as error:  # Whatever it is, it ends as rows with a reason.
      rows, facts = self.failed(number, prepared.rows, error, say), resume.nothing()
    self.write(number, rows, facts)

  def write(self, number: int, rows: Sequence[Row], facts: schema.Facts) -> None:
    """Marks a batch as finished; its shard keeps the rows that it has of other instances."""
    made = zip(self.todo[number], rows, strict=True)
    unread: schema.Origin = {'canvas': list(self.groups[number].canvas), 'files': [], 'content': ''}
    self.done.write(
      number, {index: (row, self.origins.get(index, unread)) for index, row in made}, facts
    )

  def work(self, progress: progress_lib.Progress) -> None:
    """Does the batches that are not finished; see `run`."""
    say = progress.say
    written: concurrent.futures.Future[None] | None = None
    with (
      concurrent.futures.ThreadPoolExecutor(1, 'reader') as reader,
      concurrent.futures.ThreadPoolExecutor(1, 'writer') as writer,
    ):
      submit = lambda number: reader.submit(self.read, number)
      for number, upcoming in _one_ahead(submit, list(self.todo)):
        if written is not None and written.done():
          written.result()  # A full disk is told before another batch is measured.
        rows: Sequence[Row] = ()
        facts = resume.nothing()
        try:
          prepared = upcoming.result()
          rows, found = prepared.rows, None
          if prepared.given is not None:
            found, facts = self.measure(prepared.given, say)
          last = functools.partial(self.finish, number, prepared, found, facts, say)
        except results.WorkdirError:
          raise
        except Exception as error:  # Whatever it is, it ends as rows with a reason.
          last = functools.partial(
            self.write, number, self.failed(number, rows, error, say), resume.nothing()
          )
        if written is not None:
          written.result()
        written = writer.submit(last)
        progress.advance(len(self.todo[number]), facts['evaluations'], facts['seconds'])
      if written is not None:
        written.result()

  def unsized_rows(self, indices: Sequence[int]) -> list[Row]:
    """Rows of the instances whose header could not be read; reading them whole says why."""
    out = []
    for index in indices:
      entry = self.dataset[index]
      if isinstance(entry, data.Sample):
        reason = 'its size became known only after the batches were planned; run again'
        entry = data.Rejected(entry.instance, 'failed', reason, entry.size)
      out.append(rejected_row(self.job.kind, entry))
    return out

  def merge(
    self, beside: Sequence[Row], whole: bool
  ) -> tuple[list[Mapping[str, Any]], dict[str, float]]:
    """Writes the rows of all batches and adds up what they took.

    Args:
      beside: rows of instances that are in no batch.
      whole: whether the run is in one piece, so that every instance must have a row.
    """
    made = [*self.done.rows.values(), *beside]
    statuses = {row['instance']: row['status'] for row in made}
    for index, name in enumerate(self.names):
      if statuses.get(name, 'ok') != 'ok':
        self.job.forget(index)  # It may have had numbers before.
    own = [name for name in self.names if whole or name in statuses]
    return self.workdir.write_rows(own, made), self.done.totals()


def _one_ahead(
  submit: Callable[[int], concurrent.futures.Future[Prepared]], numbers: Sequence[int]
) -> Iterator[tuple[int, concurrent.futures.Future[Prepared]]]:
  """Numbers with their futures; when one is handed out, the next has been submitted."""
  current = None
  for number in numbers:
    following = number, submit(number)
    if current is not None:
      yield current
    current = following
  if current is not None:
    yield current


def run(
  job: Job,
  dataset: data.Dataset,
  workdir: results.Workdir,
  batch_size: int,
  shard: tuple[int, int] = (0, 1),
) -> tuple[list[Mapping[str, Any]], dict[str, float]]:
  """Does every instance of a shard that has no row that still holds, and merges its rows.

  A shard is every `count`-th batch of the plan of all instances, so it has the very batches that a
  run in one piece has. A row holds where it has numbers and all that it was made of is as it was;
  so what failed, what was skipped and what was mended since is done when the run is resumed, and
  the rows are those of a run on the data set as it is now.

  While the device works on a batch, one thread reads the next and another draws and writes the
  last. A batch that raises becomes failed rows.

  Args:
    job: what is done with a batch.
    dataset: the instances; the batches are cut from all of them, finished or not. It becomes that
      of the work folder.
    workdir: where shards are.
    batch_size: instances a batch.
    shard: its number, and how many there are.

  Returns:
    The rows in data set order, and the totals of all batches, also of earlier calls: device
    "seconds" aside from "compile_seconds", how many "programs" that compiled, and decoder
    "evaluations".

  Raises:
    results.WorkdirError: something cannot be read or written.
  """
  instances = listed(dataset)
  before = workdir.hold(instances)
  groups, unsized = data.plan(dataset, batch_size)
  number, count = shard
  unsized = unsized if number == 0 else ()
  mine = {index: groups[index] for index in range(number, len(groups), count)}
  sources = resume.Sources(dataset, [size for _, size in instances], job.content)
  this = _Run(job, sources, workdir, mine)
  with contextlib.closing(this.resume(len(unsized), before)) as progress:
    this.work(progress)
  return this.merge(this.unsized_rows(unsized), count == 1)
