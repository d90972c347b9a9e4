"""Numbers that a row cannot hold: what a damaged or made-up row says beyond its types and lengths.

Nothing here is stricter than what `tetris_jax.runs.rows` writes: IoUs are quotients of counts, and
the decimals of a row keep the order of the float32 that they restore.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tetris_jax.runs import files
from tetris_jax.runs.typed import shown, told
from tetris_jax.scores.coverage import LEAST_RANGE
from tetris_jax.scores.metrics import iou_auc
from tetris_jax.scores.table import ORDER

__all__ = ['MOST_PIXELS', 'MOST_TEXT', 'impossible']

MOST_TEXT = 10_000
"""Characters of an instance's name, a reason or a warning."""

MOST_PIXELS = 10**6
"""Of a side. Clicks lie so far from the corner at most: those of a search may leave the picture."""

_MOST_NAME, _MOST_WARNINGS = 1_000, 100
_MOST_COUNT = 2**53
# Weights of a mean add up to 1 but for rounding.
_ROUNDING = 1e-6
# And those of hundreds of clicks.
_OF_ALL = 1e-3


def impossible(row: Mapping[str, Any], kind: str) -> Iterator[str]:
  """What of a row cannot be, a sentence each that begins with the field.

  Args:
    row: of the right types and lengths.
    kind: of `tetris_jax.runs.schema.Kind`.
  """
  if not row['instance']:
    yield 'instance is empty'
  for field in ('instance', 'reason'):
    yield from _short(field, row[field], MOST_TEXT)
  warned = row.get('warnings') or ()
  if len(warned) > _MOST_WARNINGS:
    yield f'warnings has {len(warned)} entries, at most {_MOST_WARNINGS} are read'
  for number, said in enumerate(warned):
    yield from _short(f'warnings[{number}]', said, MOST_TEXT)
  if row['size'] is not None and not all(1 <= side <= MOST_PIXELS for side in row['size']):
    yield f'size is {shown(row["size"])}, expected sides of 1 to {MOST_PIXELS} pixels'
  if row['status'] == 'ok':
    yield from _OF_KIND[kind](row)


def _attacked(row: Mapping[str, Any]) -> Iterator[str]:
  for field in ('iou', 'biou'):
    yield from _curves({f'{field}.{mode}': row[field][mode] for mode in ORDER})
  for mode in ORDER:
    yield from _clicks(f'clicks.{mode}', row['clicks'][mode] or ())
  yield from _counts(row)
  low, base, high = (row['iou'][mode] for mode in ORDER)
  if (low is None) != (high is None):
    yield f'iou.{"min" if low is None else "max"} is null, but the other extreme is not'
  elif low is not None and not low[0] <= base[0] <= high[0]:
    yield (
      f'iou after the first click is {low[0]}, {base[0]}, {high[0]}, '
      'but MIN <= BASE <= MAX must hold'
    )
  if 'levels' in row:
    yield from _outlook(row)
    yield from _share('hidden', row['hidden'])
  if 'users' in row:
    yield from _crowd(row['users'])


def _crowd(crowd: Mapping[str, Any]) -> Iterator[str]:
  yield from _named('users', crowd['prior'])
  if crowd['count'] < 1:
    yield f'users.count is {shown(crowd["count"])}, expected at least 1'
  yield from _curves({f'users.auc.{field}': scores for field, scores in crowd['auc'].items()})
  yield from _curves({f'users.iou[{user}]': curve for user, curve in enumerate(crowd['iou'])})
  yield from _places('users.first', crowd['first'])
  for user, (auc, curve) in enumerate(zip(crowd['auc']['iou'], crowd['iou'], strict=True)):
    if abs(auc - float(iou_auc(np.array(curve)))) > _ROUNDING:
      yield f'users.auc.iou[{user}] is {auc}, which is not that of users.iou[{user}]'
  if 'pooled' in crowd:
    yield from _pooled(crowd['pooled'])


def _pooled(pooled: Mapping[str, Any]) -> Iterator[str]:
  mass = pooled['mass']
  yield from _curves({f'users.pooled.{key}': pooled[key] for key in ('iou', 'mass')})
  if abs(sum(mass) - 1) > _OF_ALL:
    yield f'users.pooled.mass adds up to {shown(sum(mass))}, expected 1'


def _of_users(row: Mapping[str, Any]) -> Iterator[str]:
  robot = row['robot']
  yield from _scores('robot', robot)
  yield from _places('robot.yx', [robot['yx']])
  for name, source in row['users'].items():
    path = f'users.{told(name)}'
    yield from _named('users', name)
    if not source['yx']:
      yield f'{path}.yx is empty'
    yield from _curves({f'{path}.{field}': source[field] for field in ('iou', 'biou')})
    yield from _places(f'{path}.yx', source['yx'])
    for number, line in enumerate(source.get('line', ())):
      if not 1 <= line <= _MOST_COUNT:
        yield f'{path}.line[{number}] is {shown(line)}, expected the number of a line'
  for name, walk in row['trajectories'].items():
    path = f'trajectories.{told(name)}'
    yield from _named('trajectories', name)
    yield from _curves({f'{path}.{field}': walk[field] for field in ('iou', 'biou')})
    yield from _clicks(f'{path}.clicks', walk['clicks'])
  yield from _counts(row)


def _mapped(row: Mapping[str, Any]) -> Iterator[str]:
  for field in ('stride', 'positions', 'legal_pixels'):
    if not 1 <= row[field] <= _MOST_COUNT:
      yield f'{field} is {shown(row[field])}, expected at least 1'
  yield from _ordered('', row, ('min', 'base', 'max'))
  for name, found in row['presets'].items():
    path = f'presets.{told(name)}.'
    yield from _named('presets', name)
    yield from _ordered(path, found, ('min', 'max'))
    yield from _counts(found, path)
    yield from _share(f'{path}hidden', found['hidden'])
    # Between the lattice's pixels a search may find more than the whole range.
    most = 1 / LEAST_RANGE
    share = found['share_of_range']
    if share is not None and not -_ROUNDING <= share <= most:
      yield f'{path}share_of_range is {share}, expected 0 to {most:.0f}'
  yield from _outlook(row)
  for field, suffix in (('map', '.npz'), ('picture', '.png')):
    name = row[field]
    if name is not None and (files.safe_name(name) != name or not name.endswith(suffix)):
      yield f'{field} is {shown(name)}, expected the bare name of a file {suffix}'


_OF_KIND = {'attack': _attacked, 'users': _of_users, 'heatmap': _mapped}


def _outlook(row: Mapping[str, Any]) -> Iterator[str]:
  """What of "levels" and "quantiles" cannot be."""
  for number, level in enumerate(row['levels']):
    path = f'levels[{number}].'
    yield from _share(f'{path}depth', level['depth'])
    if not 0 <= level['n'] <= _MOST_COUNT:
      yield f'{path}n is {shown(level["n"])}, expected a count'
    known = [end for end in ('min', 'max') if level[end] is not None]
    yield from _ordered(path, level, known)
  for prior, found in (row['quantiles'] or {}).items():
    yield from _named('quantiles', prior)
    for name, value in found.items():
      yield from _named(f'quantiles.{told(prior)}', name)
      yield from _share(f'quantiles.{told(prior)}.{told(name)}', value)


def _scores(path: str, found: Mapping[str, float]) -> Iterator[str]:
  for field in ('iou', 'biou'):
    yield from _curves({f'{path}.{field}': [found[field]]}, numbered=False)


def _curves(curves: Mapping[str, Sequence[float] | None], numbered: bool = True) -> Iterator[str]:
  for path, curve in curves.items():
    if curve is None:
      continue
    if not curve:
      yield f'{path} is empty'
    for number, value in enumerate(curve):
      if not 0 <= value <= 1:
        yield f'{path}{f"[{number}]" if numbered else ""} is {value}, expected 0 to 1'


def _ordered(path: str, found: Mapping[str, Any], fields: Sequence[str]) -> Iterator[str]:
  for field in fields:
    if not 0 <= found[field] <= 1:
      yield f'{path}{field} is {found[field]}, expected 0 to 1'
  for lower, upper in itertools.pairwise(fields):
    if found[lower] > found[upper]:
      yield f'{path}{lower} is {found[lower]}, above {upper}, {found[upper]}'


def _share(path: str, value: float | None) -> Iterator[str]:
  if value is not None and not -_ROUNDING <= value <= 1 + _ROUNDING:
    yield f'{path} is {value}, expected 0 to 1'


def _places(path: str, places: Iterable[Sequence[float]]) -> Iterator[str]:
  for number, place in enumerate(places):
    if not all(-MOST_PIXELS <= part <= MOST_PIXELS for part in place[:2]):
      yield f'{path}[{number}] is {shown(place)}, expected pixels'


def _clicks(path: str, clicks: Sequence[Sequence[float]]) -> Iterator[str]:
  yield from _places(path, clicks)
  for number, click in enumerate(clicks):
    if click[2] not in (0, 1):
      yield f'{path}[{number}] has the label {shown(click[2])}, expected 0 or 1'


def _counts(found: Mapping[str, Any], path: str = '') -> Iterator[str]:
  for field in ('forward', 'backward'):
    if not 0 <= found[field] <= _MOST_COUNT:
      yield f'{path}{field} is {shown(found[field])}, expected a count'


def _named(path: str, name: str) -> Iterator[str]:
  if not name:
    yield f'{path} has an entry without a name'
  yield from _short(f'a name in {path}', name, _MOST_NAME)


def _short(path: str, text: str, most: int) -> Iterator[str]:
  if len(text) > most:
    yield f'{path} has {len(text)} characters, at most {most} are read'
