"""Workers of Ray: what they take of a node, and that a lost one is told and another hired."""

import os
import signal
import sys
import time

import pytest

from experiments.lib.settings import UsageError
from experiments.sweeps import ray_crew
from experiments.sweeps.messages import About, Task
from experiments.sweeps.ray_crew import Room


@pytest.mark.parametrize(('room', 'node', 'takes', 'count'), [
  (Room(), {'CPU': 8.0}, {'CPU': 8.0}, 1),
  (Room(cpus=2.0), {'CPU': 9.0}, {'CPU': 2.0}, 4),
  (Room(), {'CPU': 16.0, 'GPU': 4.0}, {'GPU': 1.0, 'CPU': 1.0}, 4),
  (Room(gpus=2.0), {'CPU': 16.0, 'GPU': 4.0}, {'GPU': 2.0, 'CPU': 1.0}, 2),
  (Room(gpus=0.5, cpus=4.0), {'CPU': 16.0, 'GPU': 4.0}, {'GPU': 0.5, 'CPU': 4.0}, 4),
  # A host with all its chips, which go together.
  (Room(), {'CPU': 112.0, 'TPU': 4.0}, {'TPU': 4.0, 'CPU': 1.0}, 1),
  (Room(resources={'TPU': 1.0}), {'CPU': 112.0, 'TPU': 4.0}, {'TPU': 1.0, 'CPU': 1.0}, 4),
  (Room(gpus=1.0), {'CPU': 8.0}, {'GPU': 1.0, 'CPU': 1.0}, 0),
  # The head of a cluster that has no work to do.
  (Room(), {'memory': 1.0}, {}, 0),
])  # fmt: skip
def test_what_a_worker_takes_of_a_node(room, node, takes, count):
  assert room.on(node) == (takes, count)


def test_without_ray_there_is_one_sentence(monkeypatch):
  monkeypatch.setitem(sys.modules, 'ray', None)
  with pytest.raises(UsageError, match=r"a sweep needs Ray .*pip install 'tetris_jax\[sweep\]'"):
    ray_crew.RayCrew()


class Broken:
  """A worker that cannot start."""

  def __init__(self, named):
    raise ModuleNotFoundError('no module of that name')

  def about(self):
    raise AssertionError('it has started')


class Waiting:
  """A worker that answers with its process, or ends it."""

  def __init__(self, named):
    self.named = named

  def about(self):
    return About(1, 'nothing (cpu)')

  def work(self, task):
    if task.batch == 13:
      os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid(), self.named


def ready(crew, count):
  end = time.monotonic() + 120
  while len(crew.workers()) < count:
    assert time.monotonic() < end
    crew.hire(count)
    crew.wait(0.1)


@pytest.mark.cluster
@pytest.mark.slow
def test_a_lost_worker_is_told_with_all_that_it_had_and_another_is_hired(monkeypatch):
  monkeypatch.setenv('PYTHONPATH', os.pathsep.join(sys.path))  # Of workers.
  crew = ray_crew.RayCrew(
    ['os'], room=Room(cpus=1.0), worker=Waiting, num_cpus=2, object_store_memory=80 * 2**20
  )
  try:
    ready(crew, 2)
    assert crew.workers() == {'worker 1': 1, 'worker 2': 1} and crew.nodes == 1
    crew.hire(9)  # There is no room for more.
    crew.give('worker 1', Task(0, {}, 13))
    crew.give('worker 1', Task(0, {}, 14))
    crew.give('worker 2', Task(0, {}, 15))
    events = []
    while len(events) < 3:
      events += crew.wait(1.0)
    found = {event.task.batch: event for event in events}
    assert found[15].result[1] == ('os',) and found[15].worker == 'worker 2'
    assert found[13].result is None and found[13].reason
    assert list(crew.workers()) == ['worker 2']
    ready(crew, 2)
    assert list(crew.workers()) == ['worker 2', 'worker 3']
    crew._actor = crew._ray.remote(Broken)
    crew.give('worker 3', Task(0, {}, 13))
    crew.give('worker 2', Task(0, {}, 13))
    with pytest.raises(UsageError, match=r'(?s)no worker can start on any .*no module of that'):
      ready(crew, 3)
  finally:
    crew.close()
