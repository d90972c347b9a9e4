"""The robustness profile of a run: what its users' trajectories amount to, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tetris_jax.report import markdown, style, summaries
from tetris_jax.report.style import interval, number, x100
from tetris_jax.scores import metrics, profile, statistics
from tetris_jax.scores.statistics import Estimate
from tetris_jax.scores.table import quality_name

__all__ = ['section', 'summarise']

# Another program may round the IoU of the same click differently.
_ROUNDING = 1e-6
_DECIMALS = 6
_ALPHAS = tuple(f'{alpha:g}' for alpha in profile.ALPHAS)
# Where they stand in the curve, of which the attack's own D is the start.
_AT = tuple(profile.CURVE.index(alpha) - 1 for alpha in profile.ALPHAS)


def _quantile_name(share: float) -> str:
  return f'q{round(100 * share):02d}'


def _attacked(rows: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray] | None:
  """IoU-AuC of MIN and of MAX of every instance; None where nothing was searched."""
  if rows[0]['iou']['min'] is None:
    return None
  low, high = (np.array([row['iou'][mode] for row in rows]) for mode in ('min', 'max'))
  return metrics.iou_auc(low), metrics.iou_auc(high)


def _spread(auc: np.ndarray, others: np.ndarray) -> list[Estimate]:
  """Of `profile.CURVE` but its start, the mean, `profile.QUANTILES`, and the means of others."""
  users = auc.shape[1]
  coefficients = [
    *(profile.d_coefficients(alpha, users) for alpha in profile.CURVE[1:]),
    np.full(users, 1 / users),
    *(profile.quantile_coefficients(share, users) for share in profile.QUANTILES),
  ]
  return profile.nested_means(auc, np.stack(coefficients, axis=1), others)


def _others(
  auc: np.ndarray, iou: np.ndarray, attacked: tuple[np.ndarray, np.ndarray] | None
) -> np.ndarray:
  """What of each user means are taken of: below a level, NoC, D, and outside of the attack's range.

  Args:
    auc: (num_instances, num_users).
    iou: (num_instances, num_users, num_clicks).
    attacked: as `_attacked` has it.
  """
  found = [auc < level for level in profile.LEVELS]
  found += [metrics.noc(iou, quality) for quality in metrics.QUALITIES]
  if attacked is not None:
    low, high = (side[:, None] for side in attacked)
    found.append(np.broadcast_to(high - low, auc.shape))
    found.append((auc < low - _ROUNDING) | (auc > high + _ROUNDING))
  return np.stack([np.asarray(one, np.float64) for one in found], axis=-1)


def _named(names: Sequence[str], estimates: Sequence[Estimate]) -> dict[str, Any]:
  return {
    name: summaries.entry(one) for name, one in zip(names, estimates, strict=True)
  }


def _per_click(iou: np.ndarray) -> dict[str, list[float]]:
  """Means over instances of the users' mean and quantiles after each click."""
  of_click = np.moveaxis(iou, 1, -1)
  found = {'mean': of_click.mean(-1)} | {
    _quantile_name(share): profile.quantile(of_click, share) for share in profile.QUANTILES
  }
  return {
    name: [round(float(value), _DECIMALS) for value in values.mean(0)]
    for name, values in found.items()
  }


def _with_users(ok: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
  """The users of rows with numbers, none or of all; raises ValueError for others."""
  found = [row['users'] for row in ok if 'users' in row]
  kinds = {(users['prior'], users['count']) for users in found}
  if len(kinds) > 1 or (found and len(found) < len(ok)):
    raise ValueError(f'rows of different runs: users are {sorted(kinds)}, or absent')
  return found


def _first_click(with_users: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
  """Of the first clicks of users and search together, where rows have them, with intervals."""
  pooled = [users['pooled'] for users in with_users if 'pooled' in users]
  if not pooled:
    return {}
  found: list[list[float]] = []
  for one in pooled:
    iou, mass = np.array(one['iou']), np.array(one['mass'])
    spread = [float(profile.d_alpha(iou, alpha, weights=mass)) for alpha in profile.ALPHAS]
    found.append([*spread, float(np.average(iou, weights=mass))])
  *d, mean = map(summaries.entry, statistics.means(np.array(found)))
  clicks = round(float(np.mean([len(one['iou']) for one in pooled])), 3)
  return {'pooled': {'clicks': clicks, 'mean': mean, 'd': dict(zip(_ALPHAS, d, strict=True))}}


def summarise(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
  """What `summary.json` holds under "users"; None where nobody clicked beside the attack.

  D(alpha) and the rest are means over the instances that have numbers, each an estimate with its
  n and its nested bootstrap interval over instances and users: "curve" has D(alpha) at "alphas",
  the first of them the D of the attack itself, and "d" those of a table. "below" is the share of
  users whose IoU-AuC is below a level, "noc" their mean NoC, "outside" the share of them whose
  IoU-AuC lies outside of the attack's [MIN, MAX], which a search that finds the extremes leaves
  empty. "biou" has the mean and D(alpha) of boundary IoU, "per_click" means over instances of the
  users' quantiles after each click, and "forward" the decoder evaluations that all this cost.
  Beside a search of the whole region "pooled" has the mean and D(alpha) of the first click of users
  and search together (`tetris_jax.pooled`), over instances, and how many clicks have a mass.

  Args:
    rows: of one run.

  Raises:
    ValueError: rows of different runs.
  """
  ok = summaries.measured(rows)
  with_users = _with_users(ok)
  if not with_users:
    return None
  prior, count = with_users[0]['prior'], with_users[0]['count']
  iou = np.array([users['iou'] for users in with_users], np.float64)
  scores = lambda field: np.array([users['auc'][field] for users in with_users], np.float64)
  auc, biou = scores('iou'), scores('biou')
  attacked = _attacked(ok)
  found = iter(_spread(auc, _others(auc, iou, attacked)))
  take = lambda names: _named(names, [next(found) for _ in names])
  falling = [summaries.entry(next(found)) for _ in profile.CURVE[1:]]
  mean = summaries.entry(next(found))
  quantiles = take([_quantile_name(share) for share in profile.QUANTILES])
  below = take([quality_name(level) for level in profile.LEVELS])
  noc = take([quality_name(quality) for quality in metrics.QUALITIES])
  nothing = summaries.entry(Estimate(None, None, None, 0))
  whole, outside = (
    (nothing, None) if attacked is None else [summaries.entry(one) for one in found]
  )
  of_boundary = _spread(biou, np.zeros((*biou.shape, 0)))
  return {
    'prior': prior,
    'count': count,
    'n': len(ok),
    'alphas': list(profile.CURVE),
    'curve': [whole, *falling],
    'd': dict(zip(_ALPHAS, [falling[index] for index in _AT], strict=True)),
    'mean': mean,
    'below': below,
    'quantiles': quantiles,
    'noc': noc,
    'per_click': _per_click(iou),
    'outside': outside,
    'biou': {
      'mean': summaries.entry(of_boundary[len(falling)]),
      'd': _named(_ALPHAS, [of_boundary[index] for index in _AT]),
    },
    'forward': len(ok) * count * iou.shape[2],
    **_first_click(with_users),
  }


def section(summary: Mapping[str, Any]) -> list[str]:
  """The part of a report on users; nothing where nobody clicked beside the attack.

  Args:
    summary: of the run.
  """
  found = summary.get('users')
  if found is None:
    return []
  told = {
    **({'D': summary['d']} if summary['d']['value'] is not None else {}),
    **{f'D({alpha})': one for alpha, one in found['d'].items()},
    'mean IoU-AuC': found['mean'],
    **{f'share below 0.{level[0]}': one for level, one in found['below'].items()},
    **{f'IoU-AuC, {name}': one for name, one in found['quantiles'].items()},
  }
  lines = [
    [name, x100(one['value']), interval(one, 'x100'), str(one['n'])] for name, one in told.items()
  ] + [
    [f'NoC@{quality}', number('clicks', one['value']), interval(one, 'clicks'), str(one['n'])]
    for quality, one in found['noc'].items()
  ]
  pooled = found.get('pooled')
  if pooled is not None:
    told = {f'D({alpha})': one for alpha, one in pooled['d'].items()} | {'mean IoU': pooled['mean']}
    lines += [
      [f'first click, pooled: {name}', x100(one['value']), interval(one, 'x100'), str(one['n'])]
      for name, one in told.items()
    ]
  parts = [
    '## Users',
    f'{found["count"]} sampled users an instance, {summary["num_clicks"]} clicks each, where the '
    f'prior {markdown.code(found["prior"])} says. D(alpha): mean IoU-AuC of the best alpha share '
    'of the users minus that of the worst, x100; D is that of the attack. Intervals: 95 %, nested '
    'bootstrap over instances and their users.',
    markdown.table(['', 'value', style.INTERVAL, 'n'], lines),
  ]
  if pooled is not None:
    parts.append(
      f'Pooled: from the first clicks of the users and of the search together, '
      f'{pooled["clicks"]:.0f} of which stand for a part of the prior each. It errs less than the '
      'users alone, and is not unbiased; intervals over instances.'
    )
  if found['outside'] is not None and found['outside']['value']:
    parts.append(
      f'{x100(found["outside"]["value"])} % of the users end outside of [MIN, MAX]: there the '
      'attack has not found the extremes.'
    )
  return parts
