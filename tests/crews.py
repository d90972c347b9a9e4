"""A crew in this process and runs without models, for what decides who does what."""

from __future__ import annotations

import collections

from experiments.sweeps.conductor import Event
from experiments.sweeps.messages import Result, Task

NOTHING = {'seconds': 0.0, 'compile_seconds': 0.0, 'programs': 0, 'evaluations': 0}


def result(task, status='ok', error='', config=None):
  rows = {index: {'instance': f'p{index}', 'status': status} for index in task.indices}
  return Result({}, config or {'kind': 'a'}, rows, {}, NOTHING, {}, (), error)


class Crew:
  """Answers a task at a time, the one that was given last first.

  Attributes:
    gave: (worker, task) in the order in which tasks were given.
  """

  def __init__(self, devices, answer=None):
    """Takes devices by worker, and (worker, task) -> Result, or None for a lost worker."""
    self.devices = dict(devices)
    self.answer = answer or (lambda worker, task: result(task))
    self.gave, self.wanted = [], []
    self.hands = collections.deque()
    # By how many tasks have been given: workers that then join.
    self.joining = {}

  def hire(self, wanted):
    self.wanted.append(wanted)
    for after in [after for after in self.joining if len(self.gave) >= after]:
      self.devices |= self.joining.pop(after)

  def workers(self):
    return self.devices

  def give(self, worker, task):
    assert worker in self.devices
    self.gave.append((worker, task))
    self.hands.append((worker, task))

  def wait(self, seconds):
    if not self.hands:
      return []
    worker, task = self.hands.pop()
    found = self.answer(worker, task)
    if found is not None:
      return [Event(worker, task, found)]
    lost = [(worker, task), *(one for one in self.hands if one[0] == worker)]
    self.hands = collections.deque(one for one in self.hands if one[0] != worker)
    del self.devices[worker]
    return [Event(name, one, None, 'its node died') for name, one in lost]


class Run:
  """A run of batches of two, whose rows are kept in memory."""

  def __init__(self, number, batches, error=''):
    self.number, self.name, self.error = number, f'run{number}', ''
    self.batches, self.raises = batches, error
    self.left, self.made, self.why = {}, {}, {}
    self.ended = self.closed = 0

  @property
  def first(self):
    return Task(self.number, {})

  def open(self, found, say):
    self.error = self.raises
    self.left = {
      batch: Task(self.number, {}, batch, (64, 64 + 64 * (batch % 2)), (2 * batch, 2 * batch + 1))
      for batch in range(self.batches)
    }
    return 2 * self.batches, 0

  def difference(self, found):
    return [] if found.config == {'kind': 'a'} else [f'devices.kind: {found.config["kind"]} now']

  def take(self, task, found):
    self.made |= {index: row['status'] for index, row in found.rows.items()}

  def fail(self, task, reason):
    self.made |= dict.fromkeys(task.indices, 'failed')
    self.why[task.batch] = reason

  def end(self):
    assert not self.left
    self.ended += 1

  def close(self):
    self.closed += 1
