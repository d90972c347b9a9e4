"""How far a run is, on standard error: one line that rewrites itself, or now and then a new one."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TextIO

__all__ = ['STDERR', 'Line', 'Progress', 'Say', 'duration', 'ticking']

_SECONDS_BETWEEN_LINES = 30.0
_SECONDS_BETWEEN_REWRITES = 1.0

Say = Callable[[str], None]
"""Tells the user a line."""


def duration(seconds: float) -> str:
  """Seconds as a person reads them: 48 s, 3 min 05 s, 2 h 10 min."""
  whole = round(seconds)
  if whole < 60:
    return f'{whole} s'
  if whole < 3600:
    return f'{whole // 60} min {whole % 60:02d} s'
  return f'{whole // 3600} h {whole % 3600 // 60:02d} min'


class Line:
  """A stream's last line, which rewrites itself where the stream is a terminal.

  Threads may share it, and all that write to one terminal have to.
  """

  def __init__(self, stream: TextIO | None = None):
    """Takes the stream; by default standard error, whatever that is when something is written."""
    self._given = stream
    self._width = 0
    self._lock = threading.RLock()

  @property
  def _stream(self) -> TextIO:
    return sys.stderr if self._given is None else self._given

  @property
  def rewrites(self) -> bool:
    """Whether the stream is a terminal."""
    return self._stream.isatty()

  def say(self, message: str) -> None:
    """Prints a line of its own, without spoiling the one that rewrites itself."""
    with self._lock:
      self.clear()
      self._stream.write(message + '\n')
      self._stream.flush()

  def show(self, text: str) -> None:
    """Rewrites the last line of a terminal."""
    with self._lock:
      self._stream.write('\r' + text.ljust(self._width))
      self._width = len(text)
      self._stream.flush()

  def clear(self) -> None:
    """Takes away the line that rewrites itself."""
    with self._lock:
      if self._width:
        self._stream.write('\r' + ' ' * self._width + '\r')
        self._stream.flush()
        self._width = 0

  def end(self) -> None:
    """Leaves the line that rewrites itself as it is, and begins another."""
    with self._lock:
      if self._width:
        self._stream.write('\n')
        self._stream.flush()
        self._width = 0


STDERR = Line()
"""Of this process."""


@contextlib.contextmanager
def ticking(
  message: str, say: Say = STDERR.say, *, line: Line = STDERR, after: float = 0.0
) -> Iterator[None]:
  """Says that something takes long, and while it does, how long it has taken.

  Args:
    message: what is being done.
    say: told the lines that stay, every 30 seconds one where the line does not rewrite itself.
    line: of the terminal.
    after: seconds from which on it is said at all.
  """
  ended, start = threading.Event(), time.monotonic()

  def tick() -> None:
    if after and ended.wait(after):
      return
    if after:
      say(message)
    rewrites = line.rewrites
    while not ended.wait(_SECONDS_BETWEEN_REWRITES if rewrites else _SECONDS_BETWEEN_LINES):
      tell = line.show if rewrites else say
      tell(f'{message}: {duration(time.monotonic() - start)} so far')

  if not after:
    say(message)
  thread = threading.Thread(target=tick, name='ticking', daemon=True)
  thread.start()
  try:
    yield
  finally:
    ended.set()
    thread.join()
    line.clear()


class Progress:
  """Instances done, evaluations per second and time left.

  On a terminal the line rewrites itself; into a file a line is written at most every 30 seconds.
  Threads may share it.
  """

  def __init__(
    self,
    total: int,
    done: int = 0,
    stream: TextIO | None = None,
    beside: Callable[[], str] | None = None,
  ):
    """Begins with `done` of `total` instances finished by an earlier run.

    Args:
      total: instances.
      done: of these.
      stream: where to; by default standard error.
      beside: what else is told in the line.
    """
    self._beside = beside
    self._out = STDERR if stream is None else Line(stream)
    self._total, self._done, self._resumed = total, done, done
    self._started = time.monotonic()
    self._last_line = self._started
    self._evaluations, self._seconds = 0, 0.0
    self._lock = threading.Lock()

  def extend(self, total: int, done: int) -> None:
    """Counts instances that have become known, and those of them that need nothing more."""
    with self._lock:
      self._total += total
      self._done += done
      self._resumed += done

  def advance(self, instances: int, evaluations: int, seconds: float) -> None:
    """Counts a finished batch: its instances, decoder evaluations and device seconds."""
    with self._lock:
      self._done += instances
      self._evaluations += evaluations
      self._seconds += seconds
      now = time.monotonic()
      if self._out.rewrites:
        self._out.show(self._line(now))
      elif now - self._last_line >= _SECONDS_BETWEEN_LINES or self._done == self._total:
        self._out.say(self._line(now))
        self._last_line = now

  def say(self, message: str) -> None:
    """Prints a line of its own, without spoiling the one that rewrites itself."""
    self._out.say(message)

  def close(self) -> None:
    """Ends the line that rewrites itself."""
    self._out.end()

  def _line(self, now: float) -> str:
    line = f'{self._done}/{self._total} instances'
    if self._seconds > 0 and self._evaluations:
      line += f', {self._evaluations / self._seconds:.1f} evaluations/s'
    fresh = self._done - self._resumed
    if fresh and self._done < self._total:
      left = (now - self._started) / fresh * (self._total - self._done)
      line += f', {duration(left)} left'
    if self._beside is not None:
      line += f', {self._beside()}'
    return line
