"""Files beside the rows, whose names begin with the position of their instance: they move with it.

A data set that is mended may have other instances before one that has a row already. Its files then
get the number of its new place, and those of instances that are gone go. Between `detach` and
`attach` a file is named by its instance alone, so that a process that dies in the middle leaves
nothing that the next one would take for another instance's.
"""

from __future__ import annotations

import hashlib
import pathlib
import re
from collections.abc import Iterable, Sequence

__all__ = ['attach', 'detach', 'files_of']

_PLACED = re.compile(r'(\d{5,})_(.*)', re.DOTALL)
_MOVING = re.compile(r'\.moving-([0-9a-f]{64})_(.*)', re.DOTALL)


def _key(instance: str) -> str:
  return hashlib.sha256(instance.encode('utf-8', 'surrogateescape')).hexdigest()


def files_of(folders: Iterable[pathlib.Path]) -> dict[int, list[pathlib.Path]]:
  """The files of each position, in all of the folders that are there."""
  found: dict[int, list[pathlib.Path]] = {}
  for folder in folders:
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
      if named := _PLACED.fullmatch(file.name):
        found.setdefault(int(named[1]), []).append(file)
  return found


def detach(folder: pathlib.Path, before: Sequence[str], after: Sequence[str]) -> None:
  """Takes the number from the files of instances that move, and removes those of others that go.

  Args:
    folder: of the files.
    before: the instances by whose positions they are named.
    after: the instances from now on.
  """
  to = {instance: position for position, instance in enumerate(after)}
  for file in sorted(folder.iterdir()):
    found = _PLACED.fullmatch(file.name)
    if found is None:
      continue
    position = int(found[1])
    instance = before[position] if position < len(before) else None
    if instance is None or instance not in to:
      file.unlink()
    elif to[instance] != position:
      file.replace(folder / f'.moving-{_key(instance)}_{found[2]}')


def attach(folder: pathlib.Path, instances: Sequence[str]) -> None:
  """Gives the files without a number that of their instance, and removes those of no instance."""
  moving = [
    (file, found) for file in sorted(folder.iterdir()) if (found := _MOVING.fullmatch(file.name))
  ]
  if not moving:
    return
  positions = {_key(instance): position for position, instance in enumerate(instances)}
  for file, found in moving:
    if found[1] in positions:
      file.replace(folder / f'{positions[found[1]]:05d}_{found[2]}')
    else:
      file.unlink()
