"""Lists of a row that belong together and must be of one length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tetris_jax.runs.typed import shown
from tetris_jax.scores.table import ORDER

__all__ = ['uneven']


def uneven(row: Mapping[str, Any], kind: str) -> Iterator[str]:
  """What of a row with numbers is longer or shorter than what it belongs to, a sentence each.

  Args:
    row: of the right types.
    kind: of `tetris_jax.runs.schema.Kind`.
  """
  if kind == 'attack':
    yield from _attack_lengths(row)
  elif kind == 'users':
    yield from _users_lengths(row)
  # The arrays of a heat map lie in its own file.


def _unlike(curves: Mapping[str, Any]) -> Iterator[str]:
  """Curves by the names of their fields, all of which must be as long as the first."""
  first = next(iter(curves), '')
  for path, curve in curves.items():
    if len(curve) != len(curves[first]):
      yield f'{path} has {len(curve)} entries, {first} {len(curves[first])}'


def _wide(path: str, entries: Sequence[Any], width: int) -> Iterator[str]:
  for number, entry in enumerate(entries):
    if len(entry) != width:
      yield f'{path}[{number}] has {len(entry)} numbers, expected {width}'


def _attack_lengths(row: Mapping[str, Any]) -> Iterator[str]:
  fields = ('iou', 'biou', 'clicks')
  for mode in ORDER:
    absent = [field for field in fields if row[field][mode] is None]
    if absent and len(absent) < len(fields):
      yield f'{absent[0]}.{mode} is null, but not every field of {mode} is'
  there = [mode for mode in ORDER if row['iou'][mode] is not None]
  yield from _unlike({f'{field}.{mode}': row[field][mode] for field in fields for mode in there})
  for mode in there:
    yield from _wide(f'clicks.{mode}', row['clicks'][mode], 3)
  if 'users' in row:
    yield from _crowd_lengths(row['users'], len(row['iou']['base']))


def _crowd_lengths(crowd: Mapping[str, Any], num_clicks: int) -> Iterator[str]:
  """Of the sampled users beside an attack of so many clicks."""
  lists = {f'auc.{field}': entries for field, entries in crowd['auc'].items()}
  for path, entries in (lists | {field: crowd[field] for field in ('iou', 'first')}).items():
    if len(entries) != crowd['count']:
      yield f'users.{path} has {len(entries)} entries, users.count is {shown(crowd["count"])}'
  yield from _wide('users.iou', crowd['iou'], num_clicks)
  yield from _wide('users.first', crowd['first'], 2)
  if 'pooled' in crowd:
    yield from _unlike({f'users.pooled.{key}': crowd['pooled'][key] for key in ('iou', 'mass')})


def _users_lengths(row: Mapping[str, Any]) -> Iterator[str]:
  yield from _wide('robot.yx', [row['robot']['yx']], 2)
  for name, source in row['users'].items():
    yield from _unlike({f'users.{name}.{key}': entries for key, entries in source.items()})
    yield from _wide(f'users.{name}.yx', source['yx'], 2)
  walks = {f'trajectories.{name}': walk for name, walk in row['trajectories'].items()}
  yield from _unlike({f'{path}.{key}': walk[key] for path, walk in walks.items() for key in walk})
  for path, walk in walks.items():
    yield from _wide(f'{path}.clicks', walk['clicks'], 3)
