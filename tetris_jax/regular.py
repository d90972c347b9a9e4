"""Files that users name: opened where they are files, so that no pipe or device keeps a reader."""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO

__all__ = ['called', 'open_file', 'read']

_KINDS = (
  (stat.S_ISREG, 'a file'),
  (stat.S_ISDIR, 'a folder'),
  (stat.S_ISFIFO, 'a named pipe'),
  (stat.S_ISSOCK, 'a socket'),
  (stat.S_ISBLK, 'a device'),
  (stat.S_ISCHR, 'a device'),
)

# Where the system has them: no waiting for a pipe's other end, no conversion of lines.
_FLAGS = os.O_RDONLY | sum(
  getattr(os, name, 0) for name in ('O_NONBLOCK', 'O_CLOEXEC', 'O_BINARY', 'O_NOCTTY')
)


def called(mode: int) -> str:
  """What the mode of a file says that it is, in words."""
  return next((words for test, words in _KINDS if test(mode)), 'something else')


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
  """A file open for reading bytes; links are followed, for people keep large files elsewhere.

  Raises:
    OSError: it cannot be opened, or is a folder, a pipe or a device; none of these is waited for.
  """
  descriptor = os.open(path, _FLAGS)
  mode = os.fstat(descriptor).st_mode
  if not stat.S_ISREG(mode):
    os.close(descriptor)
    raise OSError(errno.EINVAL, f'it is {called(mode)}, expected a file', os.fspath(path))
  return os.fdopen(descriptor, 'rb')


def read(path: str | os.PathLike[str]) -> bytes:
  """All bytes of a file. Raises OSError as `open_file`."""
  with open_file(path) as file:
    return file.read()
