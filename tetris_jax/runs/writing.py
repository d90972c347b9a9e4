"""Files that are there whole or not at all, and how it is said that one cannot be written."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

__all__ = ['WorkdirError', 'as_document', 'as_line', 'explained', 'write_atomically']

_SPACE_ERRORS = (errno.ENOSPC, errno.EDQUOT)


class WorkdirError(Exception):
  """The work folder cannot be used; the message says why and what to do."""


def as_line(value: Mapping[str, Any]) -> bytes:
  """An object as one line of JSON."""
  # ASCII, for file names need not be valid UTF-8.
  return (json.dumps(value, allow_nan=False) + '\n').encode()


def as_document(value: Mapping[str, Any]) -> bytes:
  """An object as a JSON file for people."""
  return (json.dumps(value, indent=2, allow_nan=False) + '\n').encode()


def explained(action: str, path: pathlib.Path, error: OSError | ValueError) -> WorkdirError:
  """What is raised where something cannot be done with a path.

  Args:
    action: such as "read".
    path: with which.
    error: why not.
  """
  why, full = str(error), False
  if isinstance(error, OSError):
    why, full = error.strerror or why, error.errno in _SPACE_ERRORS
  hint = '; free some space, then run the same command again' if full else ''
  return WorkdirError(f'cannot {action} {path}: {why}{hint}')


def write_atomically(path: pathlib.Path, data: bytes) -> None:
  """Writes a file so that a reader sees all of it or none, also after a crash.

  Raises:
    WorkdirError: it cannot be written (no space, no permission, no folder); nothing is left.
  """
  temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
  try:
    with contextlib.suppress(FileNotFoundError):
      temporary.unlink()  # It may be a link to somewhere else.
    try:
      with open(temporary, 'xb') as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
      os.replace(temporary, path)
    finally:
      with contextlib.suppress(OSError):
        temporary.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
      os.fsync(folder)
    finally:
      os.close(folder)
  except OSError as error:
    raise explained('write', path, error) from error
