"""What a sweep costs beside its models: many workers that only wait, and many rows in one driver.

Workers stand in for a model: a batch takes them so many seconds, in which they wait, and is rows
such as an attack of ten clicks with 64 users leaves. Everything else is a sweep as always: plan,
queue, Ray, work folders, merged rows and reports. They do not import JAX, so that many fit on a
machine; what is measured is the driver, the queue and Ray.

As a plugin it brings a data set of one picture again and again, for real workers.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import math
import os
import pathlib
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments import attack
from experiments.lib import memory, resume, timing
from experiments.lib import progress as progress_lib
from experiments.lib.progress import Say
from experiments.sweeps import conductor, driven, ray_crew
from experiments.sweeps.conductor import Event
from experiments.sweeps.messages import About, Result, Task
from experiments.sweeps.worker import Worker
from tetris_jax import data, types
from tetris_jax.report import markdown
from tetris_jax.runs import rows, schema

__all__ = [
  'NAME', 'Here', 'many_rows', 'many_workers', 'measure', 'real_workers', 'row_of', 'run_of',
  'stand_in', 'table',
]  # fmt: skip

NAME = 'one_picture'
"""Of the data set."""

# Of the one picture, and of what a stand-in says.
_SIZE = (512, 512)
_NUM_CLICKS, _USERS = 10, 64
# Of a plugin of real workers.
_HERE = 'experiments.sweeps.strain'
# Bytes of Ray's store of objects, of which a row has some ten thousand.
_STORE = 2**28
# Instances a batch and instances a run where many rows are counted.
_BATCH, _RUN = 8, 4000
_MB = 1e6


def _picture(instance: str) -> data.Sample:
  found = data.open_dataset('samples')[0]
  assert isinstance(found, data.Sample) and found.size == _SIZE
  return dataclasses.replace(found, instance=instance)


def _read(data_dir: str | None, *, count: int = 1) -> data.Dataset:
  """The first bundled sample under so many names."""
  del data_dir
  named = (f'{number:07d}' for number in range(count))
  entry = lambda name: data.Entry(name, lambda: _picture(name), lambda: _SIZE)
  return data.Dataset(NAME, map(entry, named))


if NAME not in data.names():  # A worker of this process may import it as a plugin too.
  data.register(NAME, _read)


def row_of(instance: str) -> dict[str, Any]:
  """A row of an attack of ten clicks beside which 64 users clicked, with numbers at random."""
  draws = np.random.default_rng(0)
  some: Any = lambda *shape: draws.random((1, *shape), np.float32)
  curves = np.sort(some(3, _NUM_CLICKS), axis=1)[:, [1, 0, 2]]  # Base, min, max.

  def clicks(count: int) -> types.Clicks:
    labels = np.ones((1, count, _NUM_CLICKS), np.int32)
    return types.Clicks(np.float32(300) * some(count, _NUM_CLICKS, 2), labels)

  scores = some(_USERS, _NUM_CLICKS)
  found = types.Trajectories(
    clicks(3), curves, curves, None, np.array([430]), np.array([400]),
    users=types.Walked(clicks(_USERS), scores, scores),
  )  # fmt: skip
  return rows.trajectory_rows(found, [instance], [_SIZE], prior='distance')[0]


def run_of(number: int, count: int, batch_size: int, folder: pathlib.Path) -> Timed:
  """A run of so many instances, with a work folder of its own."""
  return Timed(number, attack.Settings(
    dataset=NAME, data_options=(f'count={count}',), num_clicks=_NUM_CLICKS, users=_USERS,
    batch_size=batch_size, pictures=0, workdir=str(folder / f'run-{number:03d}'),
  ))  # fmt: skip


class Timed(driven.Driven):
  """A run of a sweep that notes what its batches took.

  Attributes:
    times: by the clock, in seconds: when its batches could be given, then when each was written.
    spent: seconds of the processor in this process, likewise.
  """

  def __init__(self, number: int, settings: attack.Settings):
    """As `Driven`."""
    super().__init__(number, settings)
    self.times: list[float] = []
    self.spent: list[float] = []

  def _note(self) -> None:
    self.times.append(time.perf_counter())
    self.spent.append(time.process_time())

  def open(self, result: Result, say: Say) -> tuple[int, int]:
    """As `Driven.open`."""
    found = super().open(result, say)
    self._note()
    return found

  def take(self, task: Task, result: Result) -> None:
    """As `Driven.take`."""
    super().take(task, result)
    self._note()


def stand_in(seconds: float, runs: Sequence[driven.Driven]) -> type:
  """A class of workers that wait so many seconds a batch; it travels to other processes whole.

  Args:
    seconds: that a batch takes; a worker does one at a time.
    runs: whose configurations it knows.
  """
  line = json.dumps(row_of('0'))
  info = types.ModelInfo(NAME)
  configs = {run.number: attack.opened(run.settings).described(info) for run in runs}
  stamp: schema.Stamp = {'name': 'a.jpg', 'size': 123456, 'mtime_ns': 10**18, 'sha256': 'f' * 64}
  nothing = resume.nothing()
  facts: schema.Facts = {**nothing, 'seconds': seconds, 'evaluations': 430}

  class StandIn:
    """Waits."""

    def __init__(self, named: Sequence[str] = ()):
      """Needs no plugins."""
      del named
      self._lock = threading.Lock()

    def about(self) -> About:
      """One device."""
      return About(1, 'a stand-in')

    def work(self, task: Task) -> Result:
      """Rows with the names of the task's instances."""
      config = configs[task.run]
      if task.batch < 0:
        return Result(task.asked, config, {}, {}, nothing, {}, ())
      made = {n: {**json.loads(line), 'instance': f'{n:07d}'} for n in task.indices}
      origins: dict[int, schema.Origin] = {
        n: {'canvas': [*task.canvas], 'files': [{**stamp}, {**stamp}], 'content': ''}
        for n in task.indices
      }
      with self._lock:
        time.sleep(seconds)
      return Result(task.asked, config, made, origins, facts, {}, ())

  return StandIn


class Here:
  """A crew in this process, whose one worker answers at once."""

  def __init__(self, worker: type):
    """Takes the class of the worker."""
    self._worker = worker()
    self._given: collections.deque[Task] = collections.deque()

  def hire(self, wanted: int) -> None:
    """There is one."""
    del wanted

  def workers(self) -> Mapping[str, int]:
    """The one."""
    return {'here': 1}

  def give(self, worker: str, task: Task) -> None:
    """Keeps the task for `wait`."""
    del worker
    self._given.append(task)

  def wait(self, seconds: float) -> list[Event]:
    """Does one task."""
    if not self._given:
      time.sleep(min(seconds, 0.01))
      return []
    task = self._given.popleft()
    return [Event('here', task, self._worker.work(task))]


def _conducted(runs: Sequence[driven.Driven], crew: conductor.Crew) -> None:
  with contextlib.closing(progress_lib.Progress(0)) as progress:
    conductor.Conductor(runs, crew, progress).conduct()
  for run in runs:
    if run.error:
      raise RuntimeError(f'{run.name}: {run.error}')


def _hired(crew: ray_crew.RayCrew, count: int) -> float:
  """Waits until so many workers are ready, and says for how many seconds."""
  start = time.perf_counter()
  while len(crew.workers()) < count:
    crew.hire(count)
    crew.wait(0.5)
  return time.perf_counter() - start


def _crew(workers: int, cpus: float, worker: type, named: Sequence[str] = ()) -> ray_crew.RayCrew:
  return ray_crew.RayCrew(
    named, most=workers, room=ray_crew.Room(cpus=cpus), worker=worker,
    num_cpus=math.ceil(workers * cpus), object_store_memory=_STORE,
  )  # fmt: skip


def many_workers(count: int, seconds: float, each: int) -> dict[str, Any]:
  """What becomes of so many actors of Ray that wait.

  Args:
    count: actors.
    seconds: that a batch takes, of one instance.
    each: batches an actor.

  Returns:
    By name: "share_of_linear", the time in which so many would have done the batches that were
    given, of the time from the opened run to the last written batch; "idle_ms", for how long an
    actor has nothing to do a batch; "driver_ms", of the driver's processor a batch.
  """
  with tempfile.TemporaryDirectory(prefix='tetris-') as place:
    run = run_of(0, count * each, 1, pathlib.Path(place))
    with contextlib.closing(_crew(count, 1.0, stand_in(seconds, [run]))) as crew:
      ready = _hired(crew, count)
      _conducted([run], crew)
  took, spent = run.times[-1] - run.times[0], run.spent[-1] - run.spent[0]
  return {
    'workers': count,
    'batch_seconds': seconds,
    'batches': count * each,
    'ready_after_seconds': round(ready, 1),
    'seconds': round(took, 2),
    'share_of_linear': round(seconds * each / took, 4),
    'idle_ms': round(1000 * (took / each - seconds), 1),
    'driver_ms': round(1000 * spent / (count * each), 2),
  }


def many_rows(count: int) -> dict[str, Any]:
  """What a driver holds in memory that gets so many rows, of runs of some thousands; no Ray.

  Args:
    count: rows.

  Returns:
    By name: MB of this process before, the most while the runs were done, and after; bytes of a
    row; and the driver's processor time a row, merged rows and reports included.
  """
  sizes = [min(_RUN, count - start) for start in range(0, count, _RUN)]
  with tempfile.TemporaryDirectory(prefix='tetris-') as place, _Memory() as held:
    folder = pathlib.Path(place)
    runs = [run_of(number, size, _BATCH, folder) for number, size in enumerate(sizes)]
    start = time.process_time()
    _conducted(runs, Here(stand_in(0.0, runs)))
    spent = time.process_time() - start
  return {
    'rows': count,
    'runs': len(runs),
    'row_bytes': len(json.dumps(row_of('0'))),
    'before_mb': held.before,
    'most_mb': held.most,
    'after_mb': held.after,
    'driver_ms_a_row': round(1000 * spent / count, 2),
  }


class _Memory:
  """Resident memory of this process in MB, which a thread looks at again and again."""

  def __enter__(self) -> _Memory:
    self.before = self.most = self.after = self._now()
    self._ended = threading.Event()
    self._thread = threading.Thread(target=self._look, daemon=True)
    self._thread.start()
    return self

  def __exit__(self, *raised: object) -> None:
    self._ended.set()
    self._thread.join()
    self.after = self._now()

  def _look(self) -> None:
    while not self._ended.wait(0.2):
      self.most = max(self.most, self._now())

  @staticmethod
  def _now() -> float:
    return round(memory.resident() / _MB, 1)


def real_workers(settings: attack.Settings, counts: Sequence[int], each: int) -> dict[str, Any]:
  """Instances a minute of so many actors that share this machine's cores, and really attack.

  Args:
    settings: of the run, but for data set and work folder.
    counts: of actors, one crew after the other.
    each: batches that are timed, after two an actor.

  Returns:
    By number of actors, instances a minute; and "ratio", of the last to the first.
  """
  cores, found = os.cpu_count() or 1, {}
  for count in counts:
    options = (f'count={each + 2 * count}',)
    with tempfile.TemporaryDirectory(prefix='tetris-') as place:
      asked = dataclasses.replace(
        settings, dataset=NAME, data_options=options, batch_size=1, pictures=0, limit=0,
        plugins=(*settings.plugins, _HERE), workdir=str(pathlib.Path(place) / 'w'),
      )  # fmt: skip
      run = Timed(0, asked)
      with contextlib.closing(_crew(count, cores / count, Worker, asked.plugins)) as crew:
        _hired(crew, count)
        _conducted([run], crew)
    found[count] = round(60 * each / (run.times[-1] - run.times[-1 - each]), 2)
  rates = [*found.values()]
  return {
    'cores': cores,
    'model': settings.model,
    'preset': settings.preset,
    'num_clicks': settings.num_clicks,
    'instances_per_minute': found,
    'ratio': round(rates[-1] / rates[0], 3),
  }


def measure(settings: attack.Settings, workers: int, count: int) -> dict[str, Any]:
  """All three, with the machine's load before each.

  Args:
    settings: of what real workers do.
    workers: that only wait.
    count: rows that one driver gets.
  """
  found: dict[str, Any] = {**timing.machine(), 'cores': os.cpu_count()}
  for name, step in (
    ('rows', lambda: many_rows(count)),
    ('workers', lambda: many_workers(workers, 2.0, 10)),
    ('real', lambda: real_workers(settings, (1, 2), 16)),
  ):
    load = round(os.getloadavg()[0], 2)
    found[name] = {'load_before': load, **step()}
  return found


def table(found: Mapping[str, Any]) -> str:
  """What `measure` returns as Markdown."""
  parts = [f'# Sweeps on {found["cores"]} cores', markdown.listed(found['versions'])]
  for name, title in (
    ('rows', 'One driver, many rows'),
    ('workers', 'Many workers that wait'),
    ('real', 'Workers that attack'),
  ):
    shown = [(key.replace('_', ' '), f'{value}') for key, value in found[name].items()]
    parts += [f'## {title}', markdown.table(('', ''), shown)]
  return markdown.document(parts)
