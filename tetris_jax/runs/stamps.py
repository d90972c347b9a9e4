"""Whether a file is the one that was read: by size and time, by its sum where they differ.

A copy of a data set has other times and the same sums, and a file that was mended has another sum;
so sums decide, and they are computed only where size and time leave a doubt.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import stat

from tetris_jax.runs.schema import Stamp

__all__ = ['Stamps']


class Stamps:
  """Files as they are now. However many ask for a file, its content is read once."""

  def __init__(self) -> None:
    """Begins with no file looked at."""
    self._sums: dict[tuple[pathlib.Path, int, int], str | None] = {}

  def of(self, path: pathlib.Path) -> Stamp:
    """The stamp of a file, which need not be there."""
    try:
      found = os.stat(path)
    except OSError:
      return {'name': path.name, 'size': None, 'mtime_ns': None, 'sha256': None}
    return {
      'name': path.name,
      'size': found.st_size,
      'mtime_ns': found.st_mtime_ns,
      'sha256': self._sum(path, found),
    }

  def same(self, path: pathlib.Path, then: Stamp) -> bool:
    """Whether a file is the one that got a stamp."""
    if path.name != then['name']:
      return False
    try:
      now = os.stat(path)
    except OSError:
      return then['size'] is None
    if (now.st_size, now.st_mtime_ns) == (then['size'], then['mtime_ns']):
      return True
    if now.st_size != then['size'] or then['sha256'] is None:
      return False
    return self._sum(path, now) == then['sha256']

  def _sum(self, path: pathlib.Path, found: os.stat_result) -> str | None:
    key = path, found.st_size, found.st_mtime_ns
    if key not in self._sums:
      self._sums[key] = _sha256(path) if stat.S_ISREG(found.st_mode) else None
    return self._sums[key]


def _sha256(path: pathlib.Path) -> str | None:
  """Of a file's content; None where it cannot be read."""
  try:
    with open(path, 'rb') as file:
      return hashlib.file_digest(file, 'sha256').hexdigest()
  except OSError:
    return None
