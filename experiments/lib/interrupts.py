"""Ctrl-C and SIGTERM: one line that says what is kept and how to go on, and the end at once.

An exception in the midst of anything may be swallowed by a library, and one that waits for the end
of a compilation comes minutes late. So a thread of its own waits for the signal, and ends the
process as a kill would: whatever is written is written whole or not at all, and work folders are
made to be resumed. It imports the standard library alone, for this is in place before JAX is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

__all__ = ['AGAIN', 'cleans', 'install', 'keeps', 'renew', 'told']

AGAIN = 'nothing was finished; give the same command again'
"""Of a program that is done as a whole or not at all."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_STDERR = 2
_LONGEST_END = 3.0

# What is kept, as of now. One process runs one program.
_kept: Callable[[], str] = lambda: AGAIN
# Removes what is half-written.
_clean: Callable[[], None] = lambda: None
# Both ends of the pipe that signals are written into, once there is one.
_pipe: tuple[int, int] | None = None


def keeps(say: Callable[[], str]) -> None:
  """Takes what is said from now on of what is kept and how to go on, asked for when it is said."""
  global _kept
  _kept = say


def cleans(remove: Callable[[], None]) -> None:
  """Takes what removes half-written files, called before the process ends."""
  global _clean
  _clean = remove


def told() -> str:
  """The line of an interruption, without its end."""
  try:
    kept = _kept()
  except Exception:  # The program is changing what is counted this very moment.
    kept = 'what is finished is kept; give the same command again'
  return f'interrupted: {kept}'


def install() -> None:
  """Ends this process at Ctrl-C and SIGTERM, with 130 and 143.

  Signals that are ignored, as those of `nohup` are, stay so. To be called on the main thread.
  """
  global _pipe
  if os.name != 'posix' or threading.current_thread() is not threading.main_thread():
    return
  if _pipe is None:
    _pipe = os.pipe()
    os.set_blocking(_pipe[1], False)
    threading.Thread(target=_wait, args=_pipe[:1], name='interrupts', daemon=True).start()
  signal.set_wakeup_fd(_pipe[1], warn_on_full_buffer=False)
  for number in _SIGNALS:
    if signal.getsignal(number) is not signal.SIG_IGN:
      signal.signal(number, _halt)


def renew() -> None:
  """Installs again, where it was, after something that may take signals over."""
  if _pipe is not None:
    install()


def _halt(number: int, _: object) -> None:
  """Stops the main thread, where it is not busy outside of Python, while the other ends all."""
  time.sleep(_LONGEST_END)
  os._exit(128 + number)  # Where Python itself is ending, the other one is gone.


def _wait(pipe: int) -> None:
  while True:
    number = os.read(pipe, 1)[0]
    if number in _SIGNALS:  # Others may have handlers of their own.
      _end(number)


def _end(number: int) -> None:
  # What was printed has to be seen, but not at the price of waiting for who reads it.
  thread = threading.Thread(target=_flush, daemon=True)
  with contextlib.suppress(RuntimeError):  # Where Python is ending, it flushes by itself.
    thread.start()
    thread.join(0.5)
  with contextlib.suppress(Exception):  # It ends all the same.
    _clean()
  # A terminal shows ^C, and perhaps a line that rewrites itself.
  start = '\n' if os.isatty(_STDERR) else ''
  with contextlib.suppress(OSError):
    os.write(_STDERR, f'{start}{told()}\n'.encode(errors='replace'))
  os._exit(128 + number)


def _flush() -> None:
  with contextlib.suppress(OSError, ValueError):
    sys.stdout.flush()
