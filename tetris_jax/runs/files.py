"""Files of work folders that may come from anybody: no link is followed, and all has bounds.

A work folder itself may be a link, for people keep runs on other disks; nothing below it may.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from tetris_jax import regular

__all__ = [
  'FileError',
  'MissingFileError',
  'check_folder',
  'distinct_names',
  'make_folder',
  'open_own',
  'read_lines',
  'read_regular',
  'safe_name',
]

# Where the system has them: no link, no waiting for a pipe's other end, no conversion of lines.
_SAFE = sum(
  getattr(os, name, 0) for name in ('O_NOFOLLOW', 'O_NONBLOCK', 'O_CLOEXEC', 'O_BINARY', 'O_NOCTTY')
)

# File systems take 255 bytes; a number or a suffix may follow.
_MOST_NAME_BYTES = 200
_DIGEST = 8
_SEPARATORS = frozenset('/\\')
# They turn the order in which a name is shown.
_TURNING = frozenset('\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069')


class FileError(Exception):
  """A file is not to be read; the message says which and why."""


class MissingFileError(FileError):
  """It is not there."""


def read_regular(
  path: pathlib.Path, *, most_bytes: int, inside: pathlib.Path | None = None
) -> bytes:
  """All bytes of a file.

  Args:
    path: of the file, which may be no link.
    most_bytes: that it may have.
    inside: a folder above it; what lies between the two may be no link either.

  Raises:
    MissingFileError: there is nothing of that name.
    FileError: it is no regular file, is too large, or cannot be read.
  """
  with _opened(path, most_bytes, inside) as (file, size):
    with _spoken(path):
      data = file.read(size + 1)
    if len(data) > size:
      raise FileError(f'cannot read {path}: it grows meanwhile; wait until nothing writes to it')
    return data


def read_lines(
  path: pathlib.Path, *, most_bytes: int, longest: int, inside: pathlib.Path | None = None
) -> Iterator[bytes]:
  """The lines of a file one by one, each with its end.

  Args:
    path: as for `read_regular`, and so are `most_bytes` and `inside`.
    most_bytes: see there.
    longest: bytes that a line may have.
    inside: see there.

  Raises:
    MissingFileError: see `read_regular`.
    FileError: likewise, or a line is too long.
  """
  with _opened(path, most_bytes, inside) as (file, _):
    number = 0
    while True:
      with _spoken(path):
        line = file.readline(longest + 1)
      if not line:
        return
      number += 1
      if len(line) > longest:
        raise FileError(f'cannot read {path}: line {number} has more than {longest} bytes')
      yield line


def check_folder(folder: pathlib.Path) -> bool:
  """Whether there is such a folder. Raises FileError for a link or something else of its name."""
  try:
    about = os.lstat(folder)
  except (FileNotFoundError, NotADirectoryError):
    return False
  except OSError as error:
    raise FileError(f'cannot read {folder}: {error.strerror or error}') from error
  if stat.S_ISLNK(about.st_mode):
    raise FileError(f'cannot read {folder}: it is a link, and none in a work folder is followed')
  if not stat.S_ISDIR(about.st_mode):
    found = regular.called(about.st_mode)
    raise FileError(f'cannot read {folder}: it is {found}, expected a folder')
  return True


def make_folder(folder: pathlib.Path) -> None:
  """Makes a folder inside a work folder where it is missing.

  Raises:
    FileError: a link or something else has its name.
    OSError: it cannot be made.
  """
  if not check_folder(folder):
    folder.mkdir()


def open_own(path: pathlib.Path) -> int:
  """Opens a file of one's own, to be read and written; makes it where it is missing.

  Raises:
    FileError: a link or something else has its name.
    OSError: it cannot be opened.
  """
  if os.path.lexists(path):
    _check_regular(path, os.lstat(path))  # Opening some devices does something already.
  descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _SAFE, 0o644)
  try:
    _check_regular(path, os.fstat(descriptor))
  except FileError:
    os.close(descriptor)
    raise
  return descriptor


def safe_name(text: str) -> str:
  """One component of a path that says what a text says: the text itself where that is one.

  Separators, control characters and the like become "_", dots in front likewise, and what is too
  long is cut and ends with a digest. Different texts may come out alike; see `distinct_names`.
  """
  name = ''.join('_' if _unsafe(character) else character for character in text)
  bare = name.lstrip('.')
  name = '_' * (len(name) - len(bare)) + bare or '_'
  stored = name.encode('utf-8', 'surrogateescape')
  if len(stored) <= _MOST_NAME_BYTES:
    return name
  digest = hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:_DIGEST]
  kept = stored[: _MOST_NAME_BYTES - _DIGEST - 1].decode('utf-8', 'ignore')
  return f'{kept}-{digest}'


def distinct_names(texts: Sequence[str]) -> list[str]:
  """`safe_name` of each text, with a number where two would be alike.

  A text that is its own safe name keeps it, whatever stands before.
  """
  safe = [safe_name(text) for text in texts]
  made: dict[int, str] = {}
  taken: set[str] = set()
  for place in sorted(range(len(texts)), key=lambda place: safe[place] != texts[place]):
    name, number = safe[place], 1
    while name in taken:
      number += 1
      name = f'{safe[place]}-{number}'
    taken.add(name)
    made[place] = name
  return [made[place] for place in range(len(texts))]


def _unsafe(character: str) -> bool:
  if character in _SEPARATORS or character in _TURNING:
    return True
  if '\udc80' <= character <= '\udcff':  # A byte of a name that is no UTF-8.
    return False
  return unicodedata.category(character) in ('Cc', 'Cs', 'Zl', 'Zp')


@contextlib.contextmanager
def _spoken(path: pathlib.Path) -> Iterator[None]:
  """Turns what the system says into this module's errors."""
  try:
    yield
  except (FileNotFoundError, NotADirectoryError) as error:
    raise MissingFileError(f'cannot read {path}: {error.strerror or error}') from error
  except OSError as error:
    raise FileError(f'cannot read {path}: {error.strerror or error}') from error


def _check_way(path: pathlib.Path, inside: pathlib.Path) -> None:
  """Refuses a link among the folders between `inside` and a file."""
  for folder in path.parents:
    if folder == inside:
      return
    check_folder(folder)


@contextlib.contextmanager
def _opened(
  path: pathlib.Path, most_bytes: int, inside: pathlib.Path | None
) -> Iterator[tuple[BinaryIO, int]]:
  """An open regular file and its size."""
  if inside is not None:
    _check_way(path, inside)
  with _spoken(path):
    # Opening some devices does something already.
    _check_regular(path, os.lstat(path))
    descriptor = os.open(path, os.O_RDONLY | _SAFE)
  with os.fdopen(descriptor, 'rb') as file:
    about = os.fstat(file.fileno())
    _check_regular(path, about)
    if about.st_size > most_bytes:
      raise FileError(
        f'cannot read {path}: it has {about.st_size} bytes, at most {most_bytes} are read'
      )
    yield file, about.st_size


def _check_regular(path: pathlib.Path, about: os.stat_result) -> None:
  if stat.S_ISLNK(about.st_mode):
    raise FileError(f'cannot read {path}: it is a link; put the file itself in its place')
  if not stat.S_ISREG(about.st_mode):
    raise FileError(f'cannot read {path}: it is {regular.called(about.st_mode)}, expected a file')
