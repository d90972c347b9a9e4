"""A run as the driver has it: its plan, its work folder, what is left to do. It alone writes."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from experiments import attack
from experiments.lib import fitting, guard, loop, named, resume
from experiments.lib.progress import Say
from experiments.sweeps.messages import Result, Task
from tetris_jax import data
from tetris_jax.runs import workdirs as results

__all__ = ['Driven']


class _Kept(NamedTuple):
  """What is kept of a run while it is done, with all its rows."""

  one: attack.Opened
  workdir: results.Workdir
  run: loop.Run
  unsized: Sequence[int]


class Driven:
  """A run of a sweep.

  Attributes:
    number: in the sweep.
    settings: what is asked for.
    left: its batches that are not finished, by number.
    bad: rows without numbers, once it has ended; the others are in its work folder.
    error: why it cannot be done; '' where it can.
  """

  def __init__(self, number: int, settings: attack.Settings):
    """Opens nothing yet."""
    self.number, self.settings = number, settings
    self.left: dict[int, Task] = {}
    self.bad: Sequence[Mapping[str, Any]] = ()
    self.error = ''
    self.config: Mapping[str, Any] = {}
    self._held = contextlib.ExitStack()
    self._kept: _Kept | None = None

  @property
  def name(self) -> str:
    """As its work folder is called."""
    return self.settings.whole.name

  @property
  def first(self) -> Task:
    """What has to be done before anything else: a worker opens it and says what it is."""
    return Task(self.number, dataclasses.asdict(fitting.kept(self.settings, 'attack')))

  def open(self, result: Result, say: Say) -> tuple[int, int]:
    """Opens the work folder, plans the batches and takes over what is there.

    Args:
      result: of `first`.
      say: told what is taken over.

    Returns:
      How many instances there are, and how many of them need nothing more.

    Raises:
      UsageError: a flag or the data cannot be used here.
      results.WorkdirError: the work folder cannot be used.
    """
    self.config = result.config
    one = attack.opened(attack.Settings(**result.asked))
    dataset, folder = one.dataset, self.settings.folder
    workdir = self._held.enter_context(results.open_workdir(folder, self.config, one.folders))
    instances = named.listed(dataset)
    before = workdir.hold(instances)
    groups, unsized = data.plan(dataset, one.settings.slots)
    job = guard.Guarded(one.job(None, workdir.path), dataset)
    sources = resume.Sources(dataset, [size for _, size in instances], job.content)
    run = loop.Run(job, sources, workdir, dict(enumerate(groups)))
    self._kept = _Kept(one, workdir, run, unsized)
    for note in run.resume(len(unsized), before):
      say(note)
    asked = {**result.asked, 'masks': one.masks}
    self.left = {
      number: Task(self.number, asked, number, groups[number].canvas, tuple(indices))
      for number, indices in run.todo.items()
    }
    return run.wanted, run.kept

  @property
  def _opened(self) -> _Kept:
    assert self._kept is not None
    return self._kept

  def difference(self, result: Result) -> list[str]:
    """What a worker has otherwise than this run, in anything that may change a row."""
    return results.difference(self.config, result.config)

  def take(self, task: Task, result: Result) -> None:
    """Writes what a batch has come to; files first, for where the shard is, the rest is too.

    Raises:
      results.WorkdirError: it cannot be written.
    """
    kept = self._opened
    for name, content in result.files.items():
      results.write_atomically(kept.workdir.path / name, content)
    made = {index: (row, result.origins[index]) for index, row in result.rows.items()}
    kept.run.done.write(task.batch, made, result.facts)

  def fail(self, task: Task, reason: str) -> None:
    """Makes the instances of a batch failed rows; resuming the sweep tries them again."""
    kept = self._opened
    failed = functools.partial(named.failed_row, kept.run.job.kind, kept.one.dataset)
    rows = {index: failed(index, reason) for index in task.indices}
    origins = dict.fromkeys(task.indices, resume.unread(task.canvas))
    nothing = Result({}, {}, rows, origins, resume.nothing(), {}, ())
    self.take(task, nothing)

  def end(self) -> None:
    """Merges the rows and writes the report of the run.

    Raises:
      results.WorkdirError: something cannot be written.
    """
    one, workdir, run, unsized = self._opened
    found = run.merge(run.unsized_rows(unsized), True)
    attack.write_run(one.settings, workdir, self.config, one.dataset, found)
    self.bad = [row for row in found[0] if row['status'] != 'ok']
    self.close()

  def close(self) -> None:
    """Gives the work folder back, and lets go of what is kept of the run in memory."""
    self._held.close()
    self._kept = None

  @property
  def folder(self) -> pathlib.Path:
    """Its work folder."""
    return self.settings.folder
