"""Whether something is of one run: configurations compared, by name and by digest."""

from __future__ import annotations

import hashlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from tetris_jax.runs import schema, typed
from tetris_jax.runs.writing import WorkdirError

__all__ = ['OF_INSTANCES', 'below', 'check_layout', 'difference', 'digest', 'fingerprint']

OF_INSTANCES = ('instances', 'users.clicks.left_out', 'users.clicks.repeated')
"""What follows from the instances, which may be mended between two calls."""

_NOT_COMPARED = ('versions.python', 'versions.numpy', 'devices.count')
_LONGEST_LINE, _MOST_LINES = 300, 20


def check_layout(folder: pathlib.Path | str, config: Any) -> None:
  """Refuses the work folder of another version of this package.

  Args:
    folder: whose it is.
    config: what its `config.json` holds.

  Raises:
    WorkdirError: it is of another layout; the message says what to do.
  """
  found = config.get('schema', 1) if isinstance(config, Mapping) else None
  if found == schema.SCHEMA:
    return
  if type(found) is not int:
    raise WorkdirError(f'{folder}: config.json tells no layout; use another workdir')
  age = 'an earlier' if found < schema.SCHEMA else 'a later'
  raise WorkdirError(
    f'{folder} was written by {age} version (layout {found}, this is {schema.SCHEMA}); run its '
    'command again in another workdir'
  )


def fingerprint(instances: Sequence[Any]) -> dict[str, Any]:
  """How many instances a run has, and the sha256 of their names and sizes.

  Args:
    instances: [name, [height, width] or None] of each, in order.
  """
  hashed = hashlib.sha256()
  for name, size in instances:
    hashed.update(f'{name!r} {size}\n'.encode('utf-8', 'surrogateescape'))
  return {'count': len(instances), 'sha256': hashed.hexdigest()}


def _flat(config: Any, prefix: str = '') -> dict[str, Any]:
  if not isinstance(config, Mapping):
    return {prefix: config}
  out: dict[str, Any] = {}
  for key, value in config.items():
    out.update(_flat(value, f'{prefix}.{key}' if prefix else str(key)))
  return out


def difference(
  there: Mapping[str, Any], now: Mapping[str, Any], also_ignored: Sequence[str] = ()
) -> list[str]:
  """What differs between two configurations in anything that may change a row, one line each.

  Entries of "flags" are named without that word; Python's and NumPy's versions and the number of
  devices are recorded but not compared, and neither are the dotted keys of `also_ignored` and what
  stands below them.
  """
  old, new = _compared(there, also_ignored), _compared(now, also_ignored)
  lines = []
  for key in sorted(old.keys() | new.keys()):
    if old.get(key) != new.get(key):
      name = typed.told(key.removeprefix('flags.'))
      lines.append(f'{name}: {old.get(key)!r} there, {new.get(key)!r} now')
  return lines


def below(lines: Sequence[str]) -> str:
  """Lines of a message, no more and no longer than a person reads, each on a line of its own."""
  kept = [line if len(line) <= _LONGEST_LINE else f'{line[:_LONGEST_LINE]}...' for line in lines]
  more = [f'and {len(lines) - _MOST_LINES} more'] if len(lines) > _MOST_LINES else []
  return ''.join(f'\n  {line}' for line in (*kept[:_MOST_LINES], *more))


def _compared(config: Mapping[str, Any], also_ignored: Sequence[str]) -> dict[str, Any]:
  """What of a configuration is compared, by dotted key."""
  ignored = (*_NOT_COMPARED, *also_ignored)
  below = tuple(f'{one}.' for one in ignored)
  return {
    key: value
    for key, value in _flat(json.loads(json.dumps(config))).items()
    if key not in ignored and not key.startswith(below)
  }


def digest(config: Mapping[str, Any]) -> str:
  """By which shards say of which run they are: the sha256 of all that resuming compares."""
  there = _compared(config, OF_INSTANCES)
  known = sorted((key, value) for key, value in there.items() if value is not None)
  return hashlib.sha256(json.dumps(known).encode()).hexdigest()
