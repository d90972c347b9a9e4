"""The loop behind every run: batches in, shards out, devices kept busy, nothing done twice.

  plan batches -> resume from shards -> read the next batches while the devices work
    -> measure -> draw and write beside the devices -> mark as finished -> merge

Every device takes the next batch as soon as it is free; in which order they end changes no row.

A `Job` says what is read, measured and written; the loop does the rest, and alike for all of them.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from experiments.lib import interrupts, named, pipeline, resume
from experiments.lib import progress as progress_lib
from experiments.lib.programs import Programs, Say
from experiments.lib.resume import Row
from tetris_jax import data
from tetris_jax.runs import relatives, schema
from tetris_jax.runs import workdirs as results

__all__ = [
  'Found',
  'Job',
  'Prepared',
  'Row',
  'Run',
  'measured',
  'run',
]


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
    """Measures what `prepare` gave; the one part that uses a device for long.

    On threads that have leased a device of `programs`, as many as there are.
    """

  def finish(self, found: Found, say: Say) -> Sequence[Row]:
    """Draws and writes what lies beside a shard, and returns the final rows of what was measured.

    On a thread of its own, while later batches are measured. What cannot be drawn is said, and
    costs no row.
    """

  def ahead(self, group: data.Group, say: Say) -> None:
    """Compiles what the first batch of a canvas will be measured with.

    On a thread of its own, while batches of other canvases are measured; what it raises is lost,
    and raised again there.
    """
    del group, say

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


def measured(job: Job, given: Any, say: Say) -> tuple[Found, schema.Facts]:
  """What is found on a device that is free, and what the batch took.

  Args:
    job: measures.
    given: of `Prepared`.
    say: told of what takes long.
  """
  with job.programs.lease() as spent:
    found = job.measure(given, say)
  return found, {
    'seconds': spent.seconds,
    'compile_seconds': spent.compile_seconds,
    'programs': spent.count,
    'evaluations': found.evaluations,
  }


class Run:
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
    self.beside = 0

  def resume(self, beside: int, before: Sequence[Any]) -> list[str]:
    """Takes over what earlier calls finished, here or as other parts, and what still holds of it.

    Args:
      beside: instances that are in no batch and need no work.
      before: [name, [height, width] or None] of the instances of the call before.

    Returns:
      What is to be said of it.

    Raises:
      results.WorkdirError: a shard cannot be read.
    """
    self.beside = beside
    taken = relatives.take_over(self.workdir, self.names, self.groups, self.job.kind)
    then = {name: size for name, size in before}
    rejected = {name for name, size in then.items() if size is None}
    with progress_lib.ticking('comparing the data set with the rows that are there', after=2.0):
      self.done = resume.look(self.job, self.workdir, self.groups, self.sources, rejected)
    for number, group in self.groups.items():
      left = [index for index in group.indices if index not in self.done.rows]
      if left:
        self.todo[number] = left
    mine = [index for group in self.groups.values() for index in group.indices]
    new = sum(self.names[index] not in then for index in mine)
    gone = len(then.keys() - set(self.names))
    notes = self.done.notes(self.workdir.path, self.wanted, beside, new, gone)
    return [*taken, *filter(None, [*notes[:1], self.workdir.restored, *notes[1:]])]

  @property
  def wanted(self) -> int:
    """How many instances it has."""
    return self.beside + sum(len(group.indices) for group in self.groups.values())

  @property
  def kept(self) -> int:
    """How many of them need nothing more now."""
    return self.beside + len(self.done.rows)

  def _left(self, number: int) -> data.Group:
    """What of a batch has to be done."""
    return self.groups[number]._replace(indices=tuple(self.todo[number]))

  def read(self, number: int) -> Prepared:
    """Reads what a batch has to do, after a look at the files that it is made of."""
    group = self._left(number)
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
    known, reason = {row['instance'] for row in rows}, named.reason_of(error)
    made = [*rows]
    for index in self.todo[number]:
      if self.names[index] not in known:
        made.append(named.failed_row(self.job.kind, self.dataset, index, reason))
    return self.ordered(number, made)

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
    unread = resume.unread(self.groups[number].canvas)
    self.done.write(
      number, {index: (row, self.origins.get(index, unread)) for index, row in made}, facts
    )

  def measured(
    self,
    progress: progress_lib.Progress,
    number: int,
    upcoming: concurrent.futures.Future[Prepared],
  ) -> Callable[[], None]:
    """Measures a batch once it has been read; returns what is left to be done beside devices."""
    rows: Sequence[Row] = ()
    facts, say = resume.nothing(), progress.say
    try:
      prepared = upcoming.result()
      rows, found = prepared.rows, None
      if prepared.given is not None:
        found, facts = measured(self.job, prepared.given, say)
      last = functools.partial(self.finish, number, prepared, found, facts, say)
    except results.WorkdirError:
      raise
    except Exception as error:  # Whatever it is, it ends as rows with a reason.
      made, facts = self.failed(number, rows, error, say), resume.nothing()
      last = functools.partial(self.write, number, made, facts)
    seconds = facts['seconds'] / self.job.programs.devices
    progress.advance(len(self.todo[number]), facts['evaluations'], seconds)
    return last

  def work(self, progress: progress_lib.Progress) -> None:
    """Does the batches that are not finished; see `run`."""
    first: dict[tuple[int, int], int] = {}
    for number in self.todo:
      first.setdefault(self.groups[number].canvas, number)
    # The first canvas is compiled for where it is measured.
    coming = [
      functools.partial(self.job.ahead, self._left(number), progress.say)
      for number in [*first.values()][1:]
    ]
    measured = functools.partial(self.measured, progress)
    pipeline.flow(list(self.todo), self.read, measured, self.job.programs.devices, coming)

  def unsized_rows(self, indices: Sequence[int]) -> list[Row]:
    """Rows of the instances whose header could not be read; reading them whole says why."""
    out = []
    for index in indices:
      entry = self.dataset[index]
      if isinstance(entry, data.Sample):
        reason = 'its size became known only after the batches were planned; run again'
        entry = data.Rejected(entry.instance, 'failed', reason, entry.size)
      out.append(named.rejected_row(self.job.kind, entry))
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

  While the devices work, each on a batch of its own, one thread reads the next batches, one draws
  and writes the last, and one compiles for canvases that are still to come. A batch that raises
  becomes failed rows.

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
  instances = named.listed(dataset)
  before = workdir.hold(instances)
  groups, unsized = data.plan(dataset, batch_size)
  number, count = shard
  unsized = unsized if number == 0 else ()
  mine = {index: groups[index] for index in range(number, len(groups), count)}
  sources = resume.Sources(dataset, [size for _, size in instances], job.content)
  this = Run(job, sources, workdir, mine)
  notes = this.resume(len(unsized), before)
  interrupts.keeps(
    lambda: (
      f'{this.kept:,} of {this.wanted:,} instances are kept in {workdir.path}; the same command '
      'resumes the run'
    )
  )
  with contextlib.closing(progress_lib.Progress(this.wanted, this.kept)) as progress:
    for note in notes:
      progress.say(note)
    this.work(progress)
  return this.merge(this.unsized_rows(unsized), count == 1)
