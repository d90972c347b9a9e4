"""Who measures: opens runs as they come, does one batch after another, and writes nothing.

It knows nothing of Ray. What would lie in a work folder is handed over as bytes.
"""

from __future__ import annotations

import collections
import dataclasses
import pathlib
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax

from experiments import attack
from experiments.lib import guard, loop, named, opening, plugins, programs, resume
from experiments.sweeps.messages import About, Result, Task
from tetris_jax import data

__all__ = ['Worker']

_KEPT = 2
"""Runs that stay open, with their models and programs: the last, and the one before."""


# What every worker says of itself, and only warnings of which are for the user.
_OWN_AFFAIRS = 'compiling for', 'memory: '


class _Open(NamedTuple):
  """A run that is open here."""

  one: attack.Opened
  programs: programs.Programs
  config: Mapping[str, Any]
  sources: resume.Sources


def _name(asked: Mapping[str, Any]) -> str:
  """Of a run, by its settings."""
  return repr(sorted(asked.items()))


class Worker:
  """Does tasks, from several threads where it is given several at once."""

  def __init__(self, named: Sequence[str] = ()):
    """Imports plugins.

    Args:
      named: modules of one's own.
    """
    plugins.load(named)
    self._open: collections.OrderedDict[str, _Open] = collections.OrderedDict()
    self._opening = threading.Lock()

  def about(self) -> About:
    """Who this is; starts the devices."""
    device = jax.local_devices()[0]
    return About(jax.local_device_count(), f'{device.device_kind} ({device.platform})')

  def work(self, task: Task) -> Result:
    """Does a task; whatever is raised becomes an error of its result."""
    try:
      return self._done(task)
    except Exception as error:  # It is tried elsewhere, and then is rows with this reason.
      said = [''.join(traceback.format_exception(error)).rstrip()]
      return Result(task.asked, {}, {}, {}, resume.nothing(), {}, said, named.reason_of(error))

  def _run(self, asked: Mapping[str, Any]) -> _Open:
    """A run, opened unless it is open."""
    name = _name(asked)
    with self._opening:
      if name in self._open:
        self._open.move_to_end(name)
        return self._open[name]
      while len(self._open) >= _KEPT:  # Its model leaves the device before the next one comes.
        self._open.popitem(last=False)
      one = attack.opened(attack.Settings(**asked))
      segmenter = opening.open_segmenter(one.settings)
      opening.keep_compiled_programs()
      made = programs.Programs(segmenter, one.seed)
      one = one.fitted(made)
      config = one.described(segmenter.info)
      sizes = [size for _, size in named.listed(one.dataset)]
      content = one.job(None, pathlib.Path()).content
      found = _Open(one, made, config, resume.Sources(one.dataset, sizes, content))
      # As its batches will ask for it, with nothing left open.
      self._open[_name(dataclasses.asdict(one.settings))] = found
      return found

  def _done(self, task: Task) -> Result:
    run = self._run(task.asked)
    asked = dataclasses.asdict(run.one.settings)
    nothing = Result(asked, run.config, {}, {}, resume.nothing(), {}, ())
    if task.batch < 0:
      return nothing
    group = data.Group(task.canvas, task.indices)
    said: list[str] = []
    names = run.one.dataset.names
    with tempfile.TemporaryDirectory(prefix='tetris-') as place:
      folder = pathlib.Path(place)
      for name in run.one.folders:
        (folder / name).mkdir()
      job = guard.Guarded(run.one.job(run.programs, folder), run.one.dataset)
      origins = {index: run.sources.origin(index, group.canvas) for index in group.indices}
      prepared = job.prepare(group)
      rows, facts = [*prepared.rows], resume.nothing()
      if prepared.given is not None:
        found, facts = loop.measured(job, prepared.given, said.append)
        rows += job.finish(found, said.append)
      files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file()
      }
    by_name = {row['instance']: row for row in rows}
    made = {index: by_name[names[index]] for index in group.indices}
    told = [line for line in said if not line.startswith(_OWN_AFFAIRS)]
    return nothing._replace(rows=made, origins=origins, facts=facts, files=files, said=told)
