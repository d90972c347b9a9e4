"""Devices to lease without any, for jobs that need no model."""

from __future__ import annotations

import contextlib
import queue

from experiments.lib.programs import Spent


class Leases:
  """So many devices; every lease takes `seconds`."""

  def __init__(self, devices: int = 1, seconds: float = 0.0):
    self.devices, self.seconds, self.spent = devices, seconds, Spent()
    self._free: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(devices):
      self._free.put(number)

  @contextlib.contextmanager
  def lease(self):
    """One of them, until it is given back."""
    number = self._free.get()
    try:
      yield Spent(seconds=self.seconds)
    finally:
      self._free.put(number)
