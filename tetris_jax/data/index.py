"""What masks were found to hold, looked up once and kept for the next time.

Which objects a data set has is known only after its masks were decoded, a quarter of an hour for
2,000 of 12 megapixels. An index keeps each answer with a stamp of the file that it came from, in a
file of lines that any number of processes read and append to:

  <checksum> ["masks/a.png", [<version>, <bytes>, <modified ns>, <changed ns>], <answer>]

A line that is cut, damaged or of another stamp counts for nothing, and its question is asked again;
so a process that is killed loses what it found in its last seconds, and nothing can go wrong by it.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import hashlib
import itertools
import json
import os
import pathlib
import time
import zlib
from collections.abc import Callable, Generator, Sequence
from importlib import metadata
from typing import Any

from tetris_jax import documents, regular

__all__ = ['Index', 'Indexing', 'Question', 'is_kept', 'stamp_of']

_FIRST_WORD_AFTER = 1.0
_SECONDS_BETWEEN_WORDS = 5.0
_SECONDS_BETWEEN_WRITES = 2.0
_SECOND = 10**9


@dataclasses.dataclass(frozen=True)
class Indexing:
  """How far a data set is looked through before it is handed out, and with what help.

  Attributes:
    limit: only its first so many instances are wanted; 0 for all.
    folder: where answers are kept for the next time; None for nowhere.
    say: told how far it is, every few seconds, and why nothing can be kept.
  """

  limit: int = 0
  folder: pathlib.Path | None = None
  say: Callable[[str], None] = lambda line: None


@dataclasses.dataclass(frozen=True)
class Question:
  """What is asked of a file.

  Attributes:
    key: names it in its data set.
    stamp: () -> what changes when the answer may; None where that cannot be told.
    ask: () -> the answer, made of what JSON has.
    lasting: answer -> whether it hangs on the file alone, and not on the machine's state.
    fits: whether what was kept under the key is an answer, whoever wrote it.
  """

  key: str
  stamp: Callable[[], list[Any] | None]
  ask: Callable[[], Any]
  lasting: Callable[[Any], bool] = lambda answer: True
  fits: Callable[[Any], bool] = lambda answer: True


def stamp_of(*files: str | os.PathLike[str]) -> list[Any] | None:
  """Sizes and times of files; None where one cannot be looked at, or its times do not tell yet.

  The time of the last change is there because archives and `rsync` set that of modification back,
  and masks without compression are all of one size. Where times are whole seconds, as on FAT and
  some network shares, what is younger than two of them may change once more without a trace.
  """
  try:
    found = [os.stat(file) for file in files]
  except OSError:
    return None
  times = [value for one in found for value in (one.st_mtime_ns, one.st_ctime_ns)]
  if any(value % _SECOND == 0 and abs(time.time_ns() - value) < 2 * _SECOND for value in times):
    return None
  return [value for one in found for value in (one.st_size, one.st_mtime_ns, one.st_ctime_ns)]


def is_kept(value: Any, *kinds: type | tuple[type, ...]) -> bool:
  """Whether a value of JSON is a list of these types, one each; a bool is no number."""
  if not isinstance(value, list) or len(value) != len(kinds):
    return False
  pairs = zip(value, kinds, strict=True)
  return all(isinstance(one, kind) and not isinstance(one, bool) for one, kind in pairs)


class Index:
  """The index of one data set, open.

  Attributes:
    limit: as `Indexing` has it.
    whole: whether all questions have been answered.
    left_out: objects that do not count, in the masks that were looked at.
  """

  def __init__(
    self, indexing: Indexing | None, *, name: str = '', root: pathlib.Path | None = None
  ):
    """Reads what is kept.

    Args:
      indexing: None for all of it, without help.
      name: the data set and those of its options on which answers hang.
      root: where the data set lies.
    """
    asked = indexing or Indexing()
    self.limit, self.whole, self.left_out = asked.limit, False, 0
    self._say, self._path = asked.say, None
    if asked.folder is not None and root is not None:
      key = f'{name}\0'.encode() + os.fsencode(os.path.realpath(root))
      digest = hashlib.sha256(key).hexdigest()[:16]
      self._path = asked.folder / f'{name.split()[0]}-{digest}.jsonl'
    self._kept = _read(self._path)
    self._fresh: list[bytes] = []

  def answers(
    self, questions: Sequence[Question], what: str, *, threads: int = 1
  ) -> Generator[Any, None, None]:
    """The answers in order, each found when it is asked for or a little before.

    Args:
      questions: of the data set.
      what: that is looked through, as progress is told.
      threads: that look at once.
    """
    total = min(len(questions), self.limit or len(questions))
    upcoming, waiting = iter(questions), collections.deque[Any]()
    begun = said = written = time.monotonic()
    told = False
    with contextlib.ExitStack() as stack:
      pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(threads))
      stack.callback(self._write)
      stack.callback(lambda: [one.cancel() for one in waiting])
      for done in range(len(questions)):
        # A file holds one instance or more, so nothing is looked at that is not wanted.
        ahead = min(2 * threads, max(1, total - done))
        for question in itertools.islice(upcoming, max(0, ahead - len(waiting))):
          waiting.append(pool.submit(self._answer, question))
        answer, line = waiting.popleft().result()
        if line is not None:
          self._fresh.append(line)
        now = time.monotonic()
        if now - written > _SECONDS_BETWEEN_WRITES:
          self._write()
          written = now
        if now - said > (_SECONDS_BETWEEN_WORDS if told else _FIRST_WORD_AFTER):
          left = (now - begun) / (done + 1) * max(0, total - done - 1)
          self._say(f'indexing {what}: {done + 1}/{max(total, done + 1)}, {_duration(left)} left')
          told, said = True, now
        yield answer
      self.whole = True
      if told:
        self._say(f'indexing {what}: done in {_duration(time.monotonic() - begun)}')

  def _answer(self, question: Question) -> tuple[Any, bytes | None]:
    """An answer, and the line that keeps it where it is new and may be kept."""
    stamp = question.stamp()
    if stamp is not None:
      stamp = [_version(), *stamp]
      kept = self._kept.get(question.key)
      if kept is not None and kept[0] == stamp and question.fits(kept[1]):
        return kept[1], None
    answer = question.ask()
    if stamp is None or self._path is None or not question.lasting(answer):
      return answer, None
    after = question.stamp()
    if after is None or stamp[1:] != after:
      return answer, None  # It changed meanwhile; which of the two was read nobody knows.
    return answer, _line(question.key, stamp, answer)

  def _write(self) -> None:
    """Appends what is new in one piece; where that cannot be, says so once and goes on without."""
    if not self._fresh or self._path is None:
      return
    # A line that another process was killed in is ended here.
    piece = b'\n' + b'\n'.join(self._fresh) + b'\n'
    self._fresh = []
    try:
      self._path.parent.mkdir(parents=True, exist_ok=True)
      with open(self._path, 'ab', buffering=0) as file:
        file.write(piece)
    except OSError as error:
      self._say(f'what masks hold is not kept for the next run: {error}')
      self._path = None


def _line(key: str, stamp: list[Any], answer: Any) -> bytes:
  body = json.dumps([key, stamp, answer], separators=(',', ':')).encode()
  return b'%08x %s' % (zlib.crc32(body), body)


def _read(path: pathlib.Path | None) -> dict[str, tuple[list[Any], Any]]:
  """Stamp and answer by key, of the lines that are whole; the last one of a key counts."""
  try:
    lines = regular.read(path).split(b'\n') if path is not None else []
  except OSError:
    return {}  # There is none yet, or none that may be read: everything is asked anew.
  found = {}
  for line in lines:
    checksum, _, body = line.partition(b' ')
    if body and checksum == b'%08x' % zlib.crc32(body) and (record := _record(body)):
      key, stamp, answer = record
      found[key] = stamp, answer
  return found


def _record(body: bytes) -> tuple[str, list[Any], Any] | None:
  """Key, stamp and answer of a line; None for what some other program wrote."""
  try:
    match documents.parse(body):
      case [str(key), list(stamp), answer]:
        return key, stamp, answer
  except documents.DocumentError:
    pass
  return None


@functools.cache
def _version() -> str:
  """Changes with whatever turns a file into an answer: this package's readers and decoders."""
  digest = hashlib.sha256()
  for file in sorted(pathlib.Path(__file__).parent.glob('*.py')):
    digest.update(file.read_bytes())
  for package in ('numpy', 'pillow', 'scipy'):
    with contextlib.suppress(metadata.PackageNotFoundError):
      digest.update(metadata.version(package).encode())
  return digest.hexdigest()[:12]


def _duration(seconds: float) -> str:
  return f'{seconds:.0f} s' if seconds < 120 else f'{seconds / 60:.0f} min'
