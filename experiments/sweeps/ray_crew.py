"""Workers as actors of Ray: hired where the cluster has room, forgotten when they are lost.

A lost actor is never restarted, for that would wait for the return of its node: another is hired.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import logging
import math
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.lib import interrupts
from experiments.lib.settings import UsageError
from experiments.sweeps.conductor import Event
from experiments.sweeps.messages import About, Task
from experiments.sweeps.worker import Worker

__all__ = ['RayCrew', 'Room']

_THREADS = 16
"""Tasks that an actor may work on at once, two a device."""

_SECONDS_BETWEEN_LOOKS = 1.0

_MOST_BROKEN = 3
"""Workers that may fail to start on a node before no more are hired there."""

_LONGEST = 500


@dataclasses.dataclass(frozen=True)
class Room:
  """What an actor takes of a node.

  Attributes:
    cpus: of its processors; 0 for all that a node has where it has no accelerator, and 1 beside
      one.
    gpus: of its GPUs; 0 for one, where a node has some.
    resources: others by name, such as {'TPU': 4.0}; all TPUs of a node where it has some and this
      is empty.
  """

  cpus: float = 0.0
  gpus: float = 0.0
  resources: Mapping[str, float] = dataclasses.field(default_factory=dict)

  def on(self, node: Mapping[str, float]) -> tuple[dict[str, float], int]:
    """What an actor takes of a node, by resource, and how many find room there.

    Args:
      node: what it has.
    """
    takes = dict(self.resources)
    if not takes and node.get('TPU'):
      takes = {'TPU': node['TPU']}
    if self.gpus or (not takes and node.get('GPU')):
      takes['GPU'] = self.gpus or 1.0
    takes['CPU'] = self.cpus or (1.0 if takes else node.get('CPU', 0.0))
    takes = {name: amount for name, amount in takes.items() if amount}
    if not takes:
      return {}, 0
    return takes, int(min(math.floor(node.get(name, 0) / amount) for name, amount in takes.items()))


@dataclasses.dataclass
class _Hired:
  """An actor.

  Attributes:
    handle: of Ray.
    node: on which it was hired.
    devices: how many it has; 0 until it is ready.
  """

  handle: Any
  node: str
  devices: int = 0


def _imported() -> Any:
  """Ray, which tells nobody anything; raises UsageError where it is not installed."""
  os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')
  os.environ.setdefault('RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO', '0')
  try:
    import ray
  except ImportError as error:
    raise UsageError(f"a sweep needs Ray ({error}): pip install 'tetris_jax[sweep]'") from error
  return ray


class RayCrew:
  """A crew on a cluster, or on this machine."""

  def __init__(
    self,
    named: Sequence[str] = (),
    address: str | None = None,
    most: int = 0,
    room: Room | None = None,
    worker: type = Worker,
    **options: Any,
  ):
    """Connects.

    Args:
      named: plugins that workers import.
      address: of a cluster; None to start one on this machine for as long as this process lives.
      most: workers at most; 0 for as many as there is room for.
      room: what a worker takes.
      worker: what an actor is made of.
      **options: of `ray.init`.

    Raises:
      UsageError: Ray is not installed, or there is no such cluster.
    """
    self._ray = ray = _imported()
    self._named, self._most, self._room = tuple(named), most, room or Room()
    own = {} if address else {'include_dashboard': False}
    try:
      ray.init(
        address=address or 'local', log_to_driver=False, logging_level=logging.ERROR,
        configure_logging=True, **own, **options,
      )  # fmt: skip
    except (ConnectionError, RuntimeError, ValueError) as error:
      raise UsageError(f'--address={address}: {error}') from error
    interrupts.renew()  # Ray takes SIGTERM for itself.
    self._actor = ray.remote(worker)
    self._hired: dict[str, _Hired] = {}
    self._pending: dict[Any, tuple[str, Task | None]] = {}
    self._count, self._looked = 0, -math.inf
    # By node: workers that could not start there, and why the last could not.
    self._broken: collections.Counter[str] = collections.Counter()
    self._why = ''

  @property
  def nodes(self) -> int:
    """On how many nodes workers are."""
    return len({hired.node for hired in self._hired.values() if hired.devices})

  def workers(self) -> dict[str, int]:
    """Those that are ready, and how many devices each has."""
    return {name: hired.devices for name, hired in self._hired.items() if hired.devices}

  def hire(self, wanted: int) -> None:
    """Hires on every node as many as find room there, and lets go who waits for a lost node.

    Args:
      wanted: how many there is work for.

    Raises:
      UsageError: wherever there is room, workers cannot start.
    """
    now = time.monotonic()
    if now - self._looked < _SECONDS_BETWEEN_LOOKS and len(self._hired) >= wanted:
      return
    if now - self._looked < _SECONDS_BETWEEN_LOOKS / 4:
      return
    self._looked = now
    most = min(wanted, self._most or wanted)
    alive = {node['NodeID']: node for node in self._ray.nodes() if node['Alive']}
    for name, hired in list(self._hired.items()):
      if hired.node not in alive and not hired.devices:
        self._forget(name)
    held = collections.Counter(hired.node for hired in self._hired.values())
    rooms = {node: self._room.on(alive[node]['Resources']) for node in sorted(alive)}
    able = [node for node, (_, count) in rooms.items() if count]
    if not self._hired and able and all(self._broken[node] >= _MOST_BROKEN for node in able):
      raise UsageError(f'no worker can start on any node: {self._why}')
    for node, (takes, count) in rooms.items():
      while held[node] < count and len(self._hired) < most and self._broken[node] < _MOST_BROKEN:
        self._hire(node, takes)
        held[node] += 1

  def _hire(self, node: str, takes: Mapping[str, float]) -> None:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    others = {name: amount for name, amount in takes.items() if name not in ('CPU', 'GPU')}
    actor = self._actor.options(
      num_cpus=takes.get('CPU', 0),
      num_gpus=takes.get('GPU', 0),
      resources=others,
      max_restarts=0,
      max_task_retries=0,
      max_concurrency=_THREADS,
      scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
    ).remote(self._named)
    self._count += 1
    name = f'worker {self._count}'
    self._hired[name] = _Hired(actor, node)
    self._pending[actor.about.remote()] = name, None

  def give(self, worker: str, task: Task) -> None:
    """Has a worker do a task."""
    self._pending[self._hired[worker].handle.work.remote(task)] = worker, task

  def wait(self, seconds: float) -> list[Event]:
    """What has happened, at the latest after so many seconds."""
    if not self._pending:
      time.sleep(min(seconds, 0.05))
      return []
    self._ray.wait([*self._pending], num_returns=1, timeout=seconds)
    done, _ = self._ray.wait([*self._pending], num_returns=len(self._pending), timeout=0)
    events: list[Event] = []
    for reference in done:
      if reference in self._pending:  # Its worker may have been lost with another.
        events += self._came(reference)
    return events

  def _came(self, reference: Any) -> list[Event]:
    worker, task = self._pending[reference]
    try:
      result = self._ray.get(reference)
    except self._ray.exceptions.RayError as error:
      if task is None:
        self._broken[self._hired[worker].node] += 1
        self._why = str(error).strip()[-_LONGEST:]
      return self._forget(worker, str(error).strip().partition('\n')[0][:_LONGEST])
    del self._pending[reference]
    if task is not None:
      return [Event(worker, task, result)]
    about: About = result
    self._hired[worker].devices = min(about.devices, _THREADS // 2)
    return []

  def _forget(self, worker: str, reason: str = '') -> list[Event]:
    """Lets a worker go, with all that it had in hand."""
    hired = self._hired.pop(worker)
    mine = [reference for reference, (name, _) in self._pending.items() if name == worker]
    tasks = [task for _, task in map(self._pending.pop, mine) if task is not None]
    with contextlib.suppress(self._ray.exceptions.RayError):  # It may be gone already.
      self._ray.kill(hired.handle)
    return [Event(worker, task, None, reason) for task in tasks]

  def close(self) -> None:
    """Lets all go; a cluster of this machine ends."""
    self._hired.clear()
    self._pending.clear()
    self._ray.shutdown()
