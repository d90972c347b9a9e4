"""What users' clicks amount to: rows of experiments.users to one summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tetris_jax.report.summaries import counts, entry, measured
from tetris_jax.scores import metrics, statistics
from tetris_jax.scores.table import QUALITY

__all__ = [
  'FILE',
  'ON_OBJECT',
  'OTHER_CAUSES',
  'Attacks',
  'attack_scores',
  'mostly_missed',
  'summarise',
]

FILE = 'file'
"""The source of clicks that were read from a file; the others are named by their prior."""

ON_OBJECT = 'file, on the object'
"""The clicks of the file that lie on the object, where some do not."""

OTHER_CAUSES = (
  'they may have been made on another version or size of the pictures, or on other objects of them'
)
"""Why most clicks of a file may miss their objects, where nothing more is known."""

# Another program may round the IoU of the same click differently.
_ROUNDING = 1e-6

Attacks = Mapping[str, Mapping[str, Mapping[str, float]]]
"""preset -> instance -> "min" and "max" IoU after the first click, and "d" of all clicks."""


def attack_scores(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
  """Of the measured rows of an attack, by instance, as `Attacks` holds them."""
  return {
    row['instance']: {
      'min': row['iou']['min'][0],
      'max': row['iou']['max'][0],
      'd': float(metrics.robustness(row['iou']['min'], row['iou']['max'])),
    }
    for row in measured(rows)
    if row['iou']['min'] is not None
  }


def mostly_missed(rows: Sequence[Mapping[str, Any]]) -> str:
  """A clause that most clicks of the file miss their objects; '' where they do not.

  They do where over half of all clicks miss, and over half of the clicks on over half of the
  instances: one odd instance says nothing about a file.
  """
  found = [row['users'][FILE]['on_object'] for row in measured(rows) if FILE in row['users']]
  clicks, missed = sum(map(len, found)), sum(some.count(False) for some in found)
  instances = sum(2 * some.count(False) > len(some) for some in found)
  if 2 * missed <= clicks or 2 * instances <= len(found):
    return ''
  return f'{missed} of the {clicks} evaluated clicks miss their objects'


def _clicks(row: Mapping[str, Any], source: str) -> dict[str, np.ndarray] | None:
  """One source's clicks on an instance as arrays; None where it has none."""
  found = row['users'].get(FILE if source == ON_OBJECT else source)
  if found is None:
    return None
  arrays = {key: np.array(found[key]) for key in ('yx', 'iou', 'on_object', 'clamped')}
  if source == ON_OBJECT:
    arrays = {key: value[arrays['on_object']] for key, value in arrays.items()}
  return arrays if len(arrays['iou']) else None


def _sources(ok: Sequence[Mapping[str, Any]]) -> list[str]:
  # No source may have the name of what is made of the file's here.
  known = (name for row in ok for name in row['users'] if name != ON_OBJECT)
  names = list(dict.fromkeys(known))
  on_object = [on for row in ok if FILE in row['users'] for on in row['users'][FILE]['on_object']]
  if any(on_object) and not all(on_object):
    names.insert(names.index(FILE) + 1, ON_OBJECT)
  return names


def _estimate(values: Sequence[Any]) -> dict[str, Any]:
  return entry(statistics.mean(np.array(values, np.float64)))


def _distances(values: np.ndarray) -> dict[str, float]:
  """Of all clicks alike."""
  return {
    'mean': round(float(values.mean()), 6),
    'median': round(float(np.median(values)), 6),
    'q90': round(float(np.quantile(values, 0.9)), 6),
  }


def _inside(
  instances: Sequence[tuple[str, np.ndarray]], scores: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
  """Where users' IoUs lie beside [MIN@1, MAX@1] of a preset, on the instances that have both.

  All three D are means over the same instances, those with at least two clicks.
  """
  below, above, clicks = 0, 0, 0
  shares: list[Any] = []
  first: list[Any] = []
  whole: list[Any] = []
  users: list[Any] = []
  for name, iou in instances:
    if name not in scores:
      continue
    score = scores[name]
    under, over = iou < score['min'] - _ROUNDING, iou > score['max'] + _ROUNDING
    below, above, clicks = below + int(under.sum()), above + int(over.sum()), clicks + len(iou)
    shares.append(1 - np.mean(under | over))
    # The spread of a single click is no spread, and an attack's beside it would compare with none.
    several = len(iou) > 1
    first.append(score['max'] - score['min'] if several else np.nan)
    whole.append(score['d'] if several else np.nan)
    users.append(iou.max() - iou.min() if several else np.nan)
  part = lambda count: round(count / clicks, 6) if clicks else None
  return {
    'n_clicks': clicks,
    'inside': part(clicks - below - above),
    'below': part(below),
    'above': part(above),
    'inside_per_instance': _estimate(shares),
    'attack_d1': _estimate(first),
    'attack_d': _estimate(whole),
    'user_d': _estimate(users),
  }


def _user(ok: Sequence[Mapping[str, Any]], source: str, attacks: Attacks) -> dict[str, Any]:
  """Scores of one source of clicks."""
  found = [(row, clicks) for row in ok if (clicks := _clicks(row, source)) is not None]
  iou = [clicks['iou'] for _, clicks in found]
  # The spread of a single click is no spread.
  several = [some for some in iou if len(some) > 1]
  away, parts = [], []
  for row, clicks in found:
    offset = clicks['yx'] - np.array(row['robot']['yx'])
    away.append(np.hypot(offset[:, 0], offset[:, 1]))
    parts.append(away[-1] / np.hypot(*row['size']))
  named = [(row['instance'], clicks['iou']) for row, clicks in found]
  total = lambda key: int(sum(clicks[key].sum() for _, clicks in found))
  return {
    'n': len(found),
    'n_clicks': sum(map(len, iou)),
    'n_clamped': total('clamped'),
    'n_off_object': sum(map(len, iou)) - total('on_object'),
    'mean': _estimate([some.mean() for some in iou]),
    'robot': _estimate([row['robot']['iou'] for row, _ in found]),
    'std': _estimate([some.std() for some in several]),
    'nsr': _estimate([metrics.nsr(some) for some in several]),
    'd': _estimate([some.max() - some.min() for some in several]),
    'below_robot': _estimate(
      [np.mean(clicks['iou'] < row['robot']['iou'] - _ROUNDING) for row, clicks in found]
    ),
    'distance_pixels': _distances(np.concatenate(away)),
    'distance_diagonal': _distances(np.concatenate(parts)),
    'attacks': {preset: _inside(named, scores) for preset, scores in attacks.items()},
  }


def _curves(ok: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
  """(num_instances, num_clicks) IoU of each trajectory that was walked, by its user's name."""
  names = ok[0]['trajectories'] if ok else {}
  return {name: np.array([row['trajectories'][name]['iou'] for row in ok]) for name in names}


def _groups(curves: Mapping[str, np.ndarray]) -> dict[str, Any] | None:
  names = [name for name in curves if name.startswith('G') and name[1:].isdecimal()]
  if not names:
    return None
  names.sort(key=lambda name: int(name[1:]))
  noc = np.array([metrics.noc(curves[name], QUALITY) for name in names])
  scores = metrics.group_scores(noc, metrics.noc(curves['base'], QUALITY))
  auc = np.array([metrics.iou_auc(curves[name]) for name in names])
  return {
    **{key: entry(estimate) for key, estimate in scores._asdict().items()},
    'iou_auc': entry(statistics.mean(auc.mean(0))),
    'iou_auc_std': entry(statistics.mean(auc.std(0))),
    'iou_auc_nsr': entry(statistics.mean(metrics.nsr(auc.T))),
  }


def summarise(
  rows: Sequence[Mapping[str, Any]], model: str, num_clicks: int, attacks: Attacks
) -> dict[str, Any]:
  """What a run found, as `summary.json` holds it; scores are in [0, 1], NoC in clicks.

  "users" has an entry for each source of first clicks: "mean", "std" and "nsr" as RClicks' User@1
  (arXiv 2410.11722), "d" the mean over instances of highest - lowest IoU, "robot" the robot user's
  IoU there, and for each preset of `attacks` the share of clicks "inside" its [MIN@1, MAX@1].
  "std", "nsr" and "d" count instances with at least two clicks, and so do "user_d", "attack_d1"
  and "attack_d" of a preset. "trajectories" has NoC@90, NoF@90 and IoU-AuC of each user who walked
  through all rounds, "groups" the scores of G1 to G10 together, or None.

  Args:
    rows: of experiments.users.
    model: its name.
    num_clicks: rounds of a trajectory.
    attacks: what attacks found on the same instances.
  """
  ok = measured(rows)
  curves = _curves(ok)
  return {
    **counts(rows),
    'model': model,
    'num_clicks': num_clicks,
    'users': {source: _user(ok, source, attacks) for source in _sources(ok)},
    'trajectories': {
      name: {
        'noc90': entry(statistics.mean(metrics.noc(curve, QUALITY))),
        'nof90': metrics.nof(curve, QUALITY),
        'iou_auc': entry(statistics.mean(metrics.iou_auc(curve))),
        'per_click': [entry(estimate) for estimate in statistics.means(curve)],
      }
      for name, curve in curves.items()
    },
    'groups': _groups(curves),
    'forward': sum(row['forward'] or 0 for row in rows),
    'backward': 0,
  }
