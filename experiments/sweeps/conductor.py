"""Who does what next: batches of many runs for workers that come and go, each batch written once.

A worker keeps to the run and the canvas that it has programs for, and gets a second batch while it
has the first, so that it reads one while it measures the other. What a lost worker had is queued
again. A batch that raised, or of which an instance failed, is tried a second time, by another
worker where there is one.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Protocol

from experiments.lib.progress import Progress
from experiments.lib.settings import UsageError
from experiments.sweeps.driven import Driven
from experiments.sweeps.messages import Result, Task
from tetris_jax.runs import workdirs as results

__all__ = ['MOST_LOST', 'Conductor', 'Crew', 'Event']

MOST_LOST = 5
"""Workers that may be lost with one batch in their hands before it is taken for what ends them."""

_SUSPECT = 2
"""Likewise, before it is given to none that has another: whose fault it is then shows."""

_SECONDS = 1.0
"""Between two looks at who has joined and who has left."""


@dataclasses.dataclass(frozen=True)
class Event:
  """What has become of a task.

  Attributes:
    worker: who had it.
    task: what it was.
    result: what it has come to; None where the worker was lost.
    reason: why it was lost.
  """

  worker: str
  task: Task
  result: Result | None
  reason: str = ''


class Crew(Protocol):
  """Workers, somewhere."""

  def hire(self, wanted: int) -> None:
    """Has up to so many workers, as far as there is room for them; returns at once."""

  def workers(self) -> Mapping[str, int]:
    """Those that are ready, and how many devices each has."""

  def give(self, worker: str, task: Task) -> None:
    """Has a worker do a task."""

  def wait(self, seconds: float) -> Sequence[Event]:
    """What has happened, at the latest after so many seconds."""


class Conductor:
  """Does runs with a crew."""

  def __init__(self, runs: Sequence[Driven], crew: Crew, progress: Progress):
    """Takes runs in the order in which they are begun."""
    self._runs, self._crew, self._progress = runs, crew, progress
    self._unopened = collections.deque(runs)
    self._opening: set[int] = set()
    # By run and canvas, the batches that are waiting, by number.
    self._queue: dict[int, dict[tuple[int, int], dict[int, Task]]] = {
      run.number: {} for run in runs
    }
    self._waiting: collections.Counter[int] = collections.Counter()
    # By (run, batch): workers lost with it, and those who have tried it.
    self._lost: collections.Counter[tuple[int, int]] = collections.Counter()
    self._tried: dict[tuple[int, int], list[str]] = collections.defaultdict(list)
    # By worker: what it has in hand, what it did last, and runs that it cannot do.
    self._load: collections.Counter[str] = collections.Counter()
    self._last: dict[str, tuple[int, tuple[int, int]]] = {}
    self._unfit: dict[int, dict[str, str]] = collections.defaultdict(dict)
    # Workers that have a batch which nothing else must be given beside.
    self._alone: set[str] = set()
    self._ended: set[int] = set()
    self._beside: dict[concurrent.futures.Future[None], Driven] = {}
    self._pool = concurrent.futures.ThreadPoolExecutor(1, 'folders')

  @property
  def ended(self) -> int:
    """How many runs have ended."""
    return len(self._ended)

  def conduct(self) -> None:
    """Does all runs; those that cannot be done say why in `error`.

    Raises:
      results.WorkdirError: a work folder cannot be written.
    """
    with self._pool:
      while len(self._ended) < len(self._runs):
        left = self._waiting.total() + sum(self._load.values())
        self._crew.hire(left + len(self._unopened) + len(self._opening))
        self._feed()
        self._assign()
        idle = not self._load and self._beside
        for event in self._crew.wait(0.05 if idle else _SECONDS):
          self._happened(event)
        self._settle()

  def _feed(self) -> None:
    """Has runs opened as long as there are fewer batches waiting than hands."""
    hands = 2 * sum(self._crew.workers().values())
    waiting = self._waiting.total() + len(self._opening)
    while self._unopened and waiting < max(hands, 1):
      run = self._unopened.popleft()
      self._opening.add(run.number)
      self._put(run.first)
      waiting += 1

  def _assign(self) -> None:
    """Gives every worker a batch a device, and then a second one where enough are waiting."""
    workers = self._crew.workers()
    self._drop_hopeless(workers)
    for depth in (1, 2):
      for worker, devices in workers.items():
        while self._load[worker] < depth * devices and worker not in self._alone:
          waiting = self._waiting.total()
          task = self._choose(worker, workers) if depth == 1 or waiting > len(workers) else None
          if task is None:
            break
          self._load[worker] += 1
          self._last[worker] = task.run, task.canvas
          if self._suspect(task):
            self._alone.add(worker)
          self._crew.give(worker, task)

  def _choose(self, worker: str, workers: Mapping[str, int]) -> Task | None:
    """The task that suits a worker best, taken out of the queue; None without any."""
    last_run, last_canvas = self._last.get(worker, (-1, (0, 0)))
    hands = collections.Counter(run for run, _ in self._last.values())

    def rank(run: int) -> tuple[bool, float]:
      # Its own first, else the one with the most batches for those who are at it.
      return run != last_run, -self._waiting[run] / (1 + hands[run])

    for run in sorted((run for run, count in self._waiting.items() if count), key=rank):
      if worker in self._unfit[run]:
        continue
      canvases = sorted(self._queue[run], key=lambda canvas: canvas != last_canvas)
      for task in itertools.chain.from_iterable(self._queue[run][one].values() for one in canvases):
        if self._suits(worker, task, workers):
          return self._pop(task)
    return None

  def _suits(self, worker: str, task: Task, workers: Mapping[str, int]) -> bool:
    """Whether a worker may be given a task."""
    if self._load[worker] and self._suspect(task):
      return False
    tried = worker in self._tried.get((task.run, task.batch), ())
    return not tried or not self._others(task.run, task.batch, workers)

  def _put(self, task: Task) -> None:
    """Queues a task."""
    self._queue[task.run].setdefault(task.canvas, {})[task.batch] = task
    self._waiting[task.run] += 1

  def _pop(self, task: Task) -> Task:
    """Takes a task out of the queue."""
    same = self._queue[task.run][task.canvas]
    del same[task.batch]
    if not same:
      del self._queue[task.run][task.canvas]
    self._waiting[task.run] -= 1
    return task

  def _suspect(self, task: Task) -> bool:
    """Whether workers were lost that had it."""
    return self._lost.get((task.run, task.batch), 0) >= _SUSPECT

  def _others(self, run: int, batch: int, workers: Mapping[str, int]) -> set[str]:
    """Who could try a batch that has not yet."""
    return set(workers) - set(self._tried[run, batch]) - self._unfit[run].keys()

  def _drop_hopeless(self, workers: Mapping[str, int]) -> None:
    """Gives up runs that nobody who is there can do."""
    for run in self._runs:
      unfit = self._unfit[run.number]
      if unfit and self._waiting[run.number] and workers and set(workers) <= unfit.keys():
        self._give_up(run, next(iter(unfit.values())))

  def _give_up(self, run: Driven, why: str) -> None:
    if run.number in self._ended:
      return
    run.error = why
    run.close()
    self._progress.say(f'{run.name}: {why}')
    self._queue[run.number].clear()
    del self._waiting[run.number]
    self._opening.discard(run.number)
    self._ended.add(run.number)

  def _happened(self, event: Event) -> None:
    task, run = event.task, self._runs[event.task.run]
    self._load[event.worker] -= 1
    self._alone.discard(event.worker)
    if self._load[event.worker] <= 0:
      del self._load[event.worker]
    if task.run in self._ended:
      return
    if event.result is None:
      self._last.pop(event.worker, None)
      self._lost[task.run, task.batch] += 1
      if self._lost[task.run, task.batch] < MOST_LOST:
        self._put(task)
        return
      reason = f'{MOST_LOST} workers were lost with this batch in hand; the last: {event.reason}'
      self._fail(run, task, reason)
      return
    for line in event.result.said:
      self._progress.say(f'{run.name}: {line}')
    self._came(run, task, event.worker, event.result)

  def _came(self, run: Driven, task: Task, worker: str, result: Result) -> None:
    """Writes what has come, or has it tried again."""
    tried = self._tried[task.run, task.batch]
    tried.append(worker)
    if result.error:
      if len(tried) < 2:
        self._put(task)
      else:
        self._fail(run, task, result.error)
    elif task.batch < 0:
      self._beside[self._pool.submit(self._open, run, result)] = run
    elif lines := run.difference(result):
      why = f'{worker} has {"; ".join(lines[:3])}'
      self._unfit[run.number][worker] = why
      self._progress.say(f'{run.name}: not done there: {why}')
      tried.pop()
      self._put(task)
    else:
      again = [index for index, row in result.rows.items() if row['status'] == 'failed']
      retry = bool(again) and len(tried) < 2
      run.take(task, result)
      if retry:
        self._put(task._replace(indices=tuple(again)))
      done, facts = len(result.rows) - (len(again) if retry else 0), result.facts
      hands = max(sum(self._crew.workers().values()), 1)
      self._progress.advance(done, facts['evaluations'], facts['seconds'] / hands)
      if not retry:
        self._finished(run, task)

  def _fail(self, run: Driven, task: Task, reason: str) -> None:
    if task.batch < 0:
      self._give_up(run, reason)
      return
    run.fail(task, reason)
    self._progress.advance(len(task.indices), 0, 0.0)
    self._finished(run, task)

  def _finished(self, run: Driven, task: Task) -> None:
    run.left.pop(task.batch, None)
    self._tried.pop((task.run, task.batch), None)
    if not run.left:
      self._beside[self._pool.submit(run.end)] = run

  def _open(self, run: Driven, result: Result) -> None:
    try:
      self._progress.extend(*run.open(result, self._progress.say))
    except (UsageError, results.WorkdirError) as error:
      run.error = str(error)

  def _settle(self) -> None:
    """Takes notice of runs that were opened, and of those that were written to their end."""
    for future in [future for future in self._beside if future.done()]:
      run = self._beside.pop(future)
      future.result()
      if run.error:
        self._give_up(run, run.error)
      elif run.number in self._opening:
        self._opening.discard(run.number)
        for task in run.left.values():
          self._put(task)
        if not run.left:
          self._beside[self._pool.submit(run.end)] = run
      else:
        self._ended.add(run.number)
