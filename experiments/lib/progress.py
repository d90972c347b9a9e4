"""How far a run is, on standard error: one line that rewrites itself, or now and then a new one."""

from __future__ import annotations

import sys
import threading
import time
from typing import TextIO

__all__ = ['Progress', 'duration']

_SECONDS_BETWEEN_LINES = 30.0


def duration(seconds: float) -> str:
  """Seconds as a person reads them: 48 s, 3 min 05 s, 2 h 10 min."""
  whole = round(seconds)
  if whole < 60:
    return f'{whole} s'
  if whole < 3600:
    return f'{whole // 60} min {whole % 60:02d} s'
  return f'{whole // 3600} h {whole % 3600 // 60:02d} min'


class Progress:
  """Instances done, evaluations per second and time left.

  On a terminal the line rewrites itself; into a file a line is written at most every 30 seconds.
  Threads may share it.
  """

  def __init__(self, total: int, done: int = 0, stream: TextIO | None = None):
    """Begins with `done` of `total` instances finished by an earlier run."""
    self._stream = sys.stderr if stream is None else stream
    self._rewrites = self._stream.isatty()
    self._total, self._done, self._resumed = total, done, done
    self._started = time.monotonic()
    self._last_line = self._started
    self._evaluations, self._seconds = 0, 0.0
    self._width = 0
    self._lock = threading.Lock()

  def advance(self, instances: int, evaluations: int, seconds: float) -> None:
    """Counts a finished batch: its instances, decoder evaluations and device seconds."""
    with self._lock:
      self._done += instances
      self._evaluations += evaluations
      self._seconds += seconds
      now = time.monotonic()
      if self._rewrites:
        line = self._line(now)
        self._stream.write('\r' + line.ljust(self._width))
        self._width = len(line)
      elif now - self._last_line >= _SECONDS_BETWEEN_LINES or self._done == self._total:
        self._stream.write(self._line(now) + '\n')
        self._last_line = now
      self._stream.flush()

  def say(self, message: str) -> None:
    """Prints a line of its own, without spoiling the one that rewrites itself."""
    with self._lock:
      if self._width:
        self._stream.write('\r' + ' ' * self._width + '\r')
        self._width = 0
      self._stream.write(message + '\n')
      self._stream.flush()

  def close(self) -> None:
    """Ends the line that rewrites itself."""
    with self._lock:
      if self._width:
        self._stream.write('\n')
        self._stream.flush()
        self._width = 0

  def _line(self, now: float) -> str:
    line = f'{self._done}/{self._total} instances'
    if self._seconds > 0 and self._evaluations:
      line += f', {self._evaluations / self._seconds:.1f} evaluations/s'
    fresh = self._done - self._resumed
    if fresh and self._done < self._total:
      left = (now - self._started) / fresh * (self._total - self._done)
      line += f', {duration(left)} left'
    return line
