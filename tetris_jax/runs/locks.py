"""The lock of a work folder: who has it writes there, and a process that dies gives it back."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import re
import socket
import warnings
from collections.abc import Iterator

from tetris_jax.runs import files
from tetris_jax.runs.writing import WorkdirError

__all__ = ['locked']

_NAME = '.lock'
# A file system without locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


@contextlib.contextmanager
def locked(folder: pathlib.Path) -> Iterator[None]:
  """Holds a work folder for this process.

  Raises:
    WorkdirError: a living process has it.
    files.FileError: what is called like the lock is none.
    OSError: it cannot be opened.
  """
  import fcntl  # POSIX only, and only a run that writes needs it.

  file = files.open_own(folder / _NAME)
  try:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise WorkdirError(
        f'{folder} is in use by {_holder(file)}; wait for it to end or use another workdir'
      ) from None
    except OSError as error:
      if error.errno not in _NO_LOCKS:
        raise
      warnings.warn(
        f'{folder}: this file system has no locks; run one process at a time', stacklevel=4
      )
    # Where the file has another name too, what it holds belongs to somebody else.
    if os.fstat(file).st_nlink == 1:
      os.ftruncate(file, 0)
      os.write(file, f'process {os.getpid()} on {socket.gethostname()}\n'.encode())
    yield
  finally:
    os.close(file)


def _holder(file: int) -> str:
  said = os.read(file, 200).decode(errors='replace').strip()
  return said if re.fullmatch(r'process [0-9]+ on [\w.-]+', said) else 'another process'
