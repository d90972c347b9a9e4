"""A process that reads damaged files for `fuzzing`: limited, and watched for what it does else.

It is told a target and a case a line, and answers with a line of JSON what came of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import sys
import sysconfig
import time
import traceback
from typing import Any

sys.path[:0] = [str(pathlib.Path(__file__).parents[1])]

from fuzz_targets import HABITS, TARGETS, Target  # noqa: E402

MOST_SECONDS = 5
MOST_BYTES = 500_000_000
"""Beside the size of the file itself."""

# What allocates more than twice the limit is stopped before the machine suffers.
_ROOM = 2 * MOST_BYTES
_LONGEST_MESSAGE = 3000
# Of waiting without work, as for the other end of a pipe.
_MOST_WAITING = 20
_OTHERS = ('os.system', 'os.exec', 'os.fork', 'os.posix_spawn', 'os.spawn', 'os.startfile',
           'subprocess.', 'pty.', 'socket.connect', 'socket.bind', 'socket.getaddrinfo', 'ctypes.',
           'pickle.find_class', 'webbrowser.', 'urllib.', 'os.kill', 'os.putenv')  # fmt: skip
_CHANGES = ('os.remove', 'os.rename', 'os.mkdir', 'os.rmdir', 'os.link', 'os.symlink', 'os.chmod',
            'os.chown', 'os.truncate', 'os.utime', 'shutil.')  # fmt: skip
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_LIBRARIES = tuple(
  os.path.realpath(path)
  for path in {sysconfig.get_path(name) for name in ('stdlib', 'platlib', 'purelib')}
)
_CODE = (*_LIBRARIES, os.path.realpath(pathlib.Path(__file__).parents[1]))


class Late(BaseException):
  """A reader goes on and on, or waits; no `except Exception` stops this one."""


class Clock:
  """Raises `Late` in a reader that takes much more than it may."""

  def __init__(self) -> None:
    self._begun: tuple[float, float] | None = None
    signal.signal(signal.SIGALRM, self._look)

  def start(self) -> None:
    """From now on there is a limit."""
    self._begun = time.process_time(), time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, 1, 1)

  def stop(self) -> float:
    """Seconds of the processor since `start`."""
    assert self._begun is not None
    seconds, self._begun = time.process_time() - self._begun[0], None
    signal.setitimer(signal.ITIMER_REAL, 0)
    return seconds

  def _look(self, *_: Any) -> None:
    if self._begun is None:
      return
    worked = time.process_time() - self._begun[0]
    waited = time.monotonic() - self._begun[1]
    if worked > 2 * MOST_SECONDS:
      raise Late(f'{worked:.1f} s of processor in {waited:.0f} s')
    if waited > _MOST_WAITING and worked < 0.2:
      raise Late(f'it waited {waited:.0f} s for nothing')


class Watch:
  """Notes what a reader has no business with: programs, sockets, code, writing elsewhere."""

  def __init__(self, folder: pathlib.Path):
    self.on, self.seen = False, list[str]()
    self._folder = os.path.realpath(folder)
    sys.addaudithook(self._hook)

  def _hook(self, event: str, args: tuple[Any, ...]) -> None:
    if not self.on:
      return
    self.on = False
    if event.startswith(_OTHERS) or self._is_writing(event, args) or self._is_code(event, args):
      self.seen.append(f'{event} {args!r}'[:300])
    self.on = True

  def _is_outside(self, path: Any) -> bool:
    if isinstance(path, int):
      return False
    real = os.path.realpath(os.fsdecode(path))
    return real != self._folder and not real.startswith(self._folder + os.sep)

  def _is_writing(self, event: str, args: tuple[Any, ...]) -> bool:
    if event == 'open':
      path, _, flags = args
      return bool(flags and flags & _WRITES) and self._is_outside(path)
    if not event.startswith(_CHANGES):
      return False
    # A link that is replaced or removed is not followed.
    paths = [os.fsdecode(one) for one in args if isinstance(one, str | bytes | os.PathLike)]
    return any(
      self._is_outside(os.path.join(os.path.realpath(os.path.dirname(one)), '.')) for one in paths
    )

  def _is_code(self, event: str, args: tuple[Any, ...]) -> bool:
    if event != 'exec':
      return False
    file = getattr(args[0], 'co_filename', '')
    if not os.path.isabs(file):
      # Libraries make classes of text when they are imported.
      caller = os.path.realpath(sys._getframe(2).f_code.co_filename)
      return not (file.startswith('<frozen') or caller.startswith(_LIBRARIES))
    return not os.path.realpath(file).startswith(_CODE)


def resident() -> int:
  """Bytes of memory that this process holds now."""
  with open('/proc/self/statm') as file:
    return int(file.read().split()[1]) * resource.getpagesize()


def most_resident() -> int:
  """Bytes of memory that this process has held at most since `forget_most_resident`."""
  with open('/proc/self/status') as file:
    held = [line.split()[1] for line in file if line.startswith('VmHWM')]
  return int(held[0]) * 1024 if held else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def forget_most_resident() -> None:
  """Where the system allows it; elsewhere `Fuzzer` starts another process, see "blunt"."""
  with contextlib.suppress(OSError), open('/proc/self/clear_refs', 'w') as file:
    file.write('5')


def limit(num_bytes: int | None) -> None:
  """Lets this process take so many bytes of addresses more; None lifts that."""
  _, hard = resource.getrlimit(resource.RLIMIT_AS)
  soft = hard
  if num_bytes is not None:
    with open('/proc/self/statm') as file:
      soft = int(file.read().split()[0]) * resource.getpagesize() + num_bytes
  resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def size_of(path: pathlib.Path) -> int:
  """Bytes of a file, or of the files in a folder."""
  files = [path] if path.is_file() else [file for file in path.rglob('*') if file.is_file()]
  return sum(file.lstat().st_size for file in files)


def _causes(error: BaseException | None) -> list[BaseException]:
  found: list[BaseException] = []
  while error is not None and error not in found:
    found.append(error)
    error = error.__cause__ or error.__context__
  return found


def _tried(target: Target, path: pathlib.Path) -> tuple[str, str]:
  """('read', ''), ('refused', message) or ('fell', why)."""
  try:
    target.read(path)
  except target.errors as error:
    text = str(error).replace(str(path.parent), '').replace(str(path), '')
    if any(isinstance(cause, MemoryError) for cause in _causes(error)):
      return 'fell', f'it ran out of memory: {text[:300]}'
    if not 10 < len(text) < _LONGEST_MESSAGE:
      return 'fell', f'a message of {len(text)} characters: {text[:300]}'
    return 'refused', text
  except BaseException as error:
    limit(None)
    lines = traceback.format_exception(error, limit=-6)
    return 'fell', ''.join(line[:400] for line in lines)[-3000:]
  return 'read', ''


def one(
  target: Target, case: str, folder: pathlib.Path, watch: Watch, clock: Clock
) -> dict[str, Any]:
  """What came of a case: its "outcome" (read, refused, fell), "why", "seconds" and "bytes".

  And whether the process is "blunt": it has held so much that of the next case less is seen.
  """
  shutil.rmtree(folder, ignore_errors=True)
  folder.mkdir()
  if case.isdecimal():
    path = target.make(folder, random.Random(f'{target.name} {case}'))
  else:
    path = target.cases[case](folder) if case else target.make(folder, None)
  forget_most_resident()
  size, before = size_of(path), resident()
  watch.seen.clear()
  limit(size + _ROOM)
  clock.start()
  watch.on = True
  outcome, why = _tried(target, path)
  watch.on = False
  seconds = clock.stop()
  limit(None)
  taken = max(most_resident() - before, 0)
  forget_most_resident()
  blunt = most_resident() - resident() > MOST_BYTES // 5
  if watch.seen:
    outcome, why = 'fell', f'it did {watch.seen[:3]}'
  elif outcome != 'fell' and taken > size + MOST_BYTES:
    outcome, why = 'fell', f'it took {taken:,} bytes for a file of {size:,}: {why[:300]}'
  elif outcome != 'fell' and seconds > MOST_SECONDS:
    outcome, why = 'fell', f'it took {seconds:.1f} s of processor: {why[:300]}'
  return {'outcome': outcome, 'why': why, 'seconds': seconds, 'bytes': taken, 'blunt': blunt}


def main(folder: pathlib.Path) -> None:
  """Answers until there are no more questions."""
  answers = os.fdopen(os.dup(1), 'w')
  os.dup2(2, 1)  # Nothing that a library prints is an answer.
  watch, clock, warm = Watch(folder), Clock(), set[str]()
  for line in sys.stdin:
    name, _, case = line.rstrip('\n').partition(' ')
    target = (TARGETS | {HABITS.name: HABITS})[name]
    if name not in warm:
      # What is imported when it is first needed is imported now.
      shutil.rmtree(folder, ignore_errors=True)
      folder.mkdir()
      with contextlib.suppress(*target.errors):
        target.read(target.make(folder, None))
      warm.add(name)
    found = one(target, case, folder / 'case', watch, clock)
    print(json.dumps(found), file=answers, flush=True)


if __name__ == '__main__':
  main(pathlib.Path(sys.argv[1]))
