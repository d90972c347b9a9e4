"""A run as the driver has it: its plan, its work folder, what is left to do. It alone writes."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from experiments import attack
from experiments.lib import fitting, guard, loop, resume
from experiments.lib.progress import Say
from experiments.sweeps.worker import Result, Task
from tetris_jax import data
from tetris_jax.runs import workdirs as results

__all__ = ['Driven']


class Driven:
  """A run of a sweep.

  Attributes:
    number: in the sweep.
    settings: what is asked for.
    left: its batches that are not finished, by number.
    rows: of all its instances, once it has ended.
    error: why it cannot be done; '' where it can.
  """

  def __init__(self, number: int, settings: attack.Settings):
    """Opens nothing yet."""
    self.number, self.settings = number, settings
    self.left: dict[int, Task] = {}
    self.rows: Sequence[Mapping[str, Any]] = ()
    self.error = ''
    self.config: Mapping[str, Any] = {}
    self._held = contextlib.ExitStack()

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
    self._one = attack.opened(attack.Settings(**result.asked))
    dataset, folder = self._one.dataset, self.settings.folder
    self._workdir = self._held.enter_context(
      results.open_workdir(folder, self.config, self._one.folders)
    )
    instances = loop.listed(dataset)
    before = self._workdir.hold(instances)
    groups, self._unsized = data.plan(dataset, self._one.settings.slots)
    job = guard.Guarded(self._one.job(None, self._workdir.path), dataset)
    sources = resume.Sources(dataset, [size for _, size in instances], job.content)
    self._run = loop.Run(job, sources, self._workdir, dict(enumerate(groups)))
    for note in self._run.resume(len(self._unsized), before):
      say(note)
    asked = {**result.asked, 'masks': self._one.masks}
    self.left = {
      number: Task(self.number, asked, number, groups[number].canvas, tuple(indices))
      for number, indices in self._run.todo.items()
    }
    return self._run.wanted, self._run.kept

  def difference(self, result: Result) -> list[str]:
    """What a worker has otherwise than this run, in anything that may change a row."""
    return results.difference(self.config, result.config)

  def take(self, task: Task, result: Result) -> None:
    """Writes what a batch has come to; files first, for where the shard is, the rest is too.

    Raises:
      results.WorkdirError: it cannot be written.
    """
    for name, content in result.files.items():
      results.write_atomically(self._workdir.path / name, content)
    made = {index: (row, result.origins[index]) for index, row in result.rows.items()}
    self._run.done.write(task.batch, made, result.facts)

  def fail(self, task: Task, reason: str) -> None:
    """Makes the instances of a batch failed rows; resuming the sweep tries them again."""
    failed = functools.partial(loop.failed_row, self._run.job.kind, self._one.dataset)
    rows = {index: failed(index, reason) for index in task.indices}
    origins = dict.fromkeys(task.indices, resume.unread(task.canvas))
    nothing = Result({}, {}, rows, origins, resume.nothing(), {}, ())
    self.take(task, nothing)

  def end(self) -> None:
    """Merges the rows and writes the report of the run.

    Raises:
      results.WorkdirError: something cannot be written.
    """
    found = self._run.merge(self._run.unsized_rows(self._unsized), True)
    one = self._one
    attack.write_run(one.settings, self._workdir, self.config, one.dataset, found)
    self.rows = found[0]
    self.close()

  def close(self) -> None:
    """Gives the work folder back."""
    self._held.close()

  @property
  def folder(self) -> pathlib.Path:
    """Its work folder."""
    return self.settings.folder
