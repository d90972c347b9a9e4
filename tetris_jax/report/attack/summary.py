"""Rows to one summary: scores of MIN, BASE and MAX with their n and bootstrap intervals."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tetris_jax.scores import metrics, priors

__all__ = ['ORDER', 'curves', 'entry', 'summarise']

ORDER = ('min', 'base', 'max')
"""Modes as a table lists them."""

_DECIMALS = 6
_STATUSES = ('ok', 'failed', 'skipped')


def curves(rows: Sequence[Mapping[str, Any]], field: str = 'iou') -> dict[str, np.ndarray | None]:
  """Curves of the rows that are ok, by mode.

  Args:
    rows: of one run, as `tetris_jax.runs.rows` makes them.
    field: "iou" or "biou".

  Returns:
    (num_ok, num_clicks) float64 in [0, 1] for "min", "base" and "max"; None for a mode that was
    not run, or without a row that is ok.

  Raises:
    ValueError: rows of different runs, with other modes or numbers of clicks.
  """
  ok = [row for row in rows if row['status'] == 'ok']
  out: dict[str, np.ndarray | None] = {}
  for mode in ORDER:
    found = [row[field][mode] for row in ok]
    kinds = {None if curve is None else len(curve) for curve in found}
    if len(kinds) > 1:
      raise ValueError(f'rows of different runs: {field} of {mode} has lengths {kinds}')
    out[mode] = None if kinds <= {None} else np.array(found, np.float64)
  return out


def _rounded(value: float | None) -> float | None:
  return None if value is None else round(value, _DECIMALS)


def entry(estimate: metrics.Estimate) -> dict[str, Any]:
  """An estimate as a summary holds it, rounded to six decimals."""
  value, low, high, n = estimate
  return {'value': _rounded(value), 'low': _rounded(low), 'high': _rounded(high), 'n': n}


def _by_mode(
  by_mode: Mapping[str, np.ndarray | None], score: Callable[[np.ndarray], Any]
) -> dict[str, Any]:
  return {mode: None if curve is None else score(curve) for mode, curve in by_mode.items()}


def _mean_auc(iou: np.ndarray) -> dict[str, Any]:
  return entry(metrics.mean(metrics.iou_auc(iou)))


def _mean_per_click(iou: np.ndarray) -> list[dict[str, Any]]:
  return [entry(estimate) for estimate in metrics.means(iou)]


def _mean_difference(by_mode: Mapping[str, np.ndarray | None]) -> dict[str, Any] | None:
  low, high = by_mode['min'], by_mode['max']
  if low is None or high is None:
    return None
  return entry(metrics.mean(metrics.robustness(low, high)))


def _at_qualities(
  by_mode: Mapping[str, np.ndarray | None], score: Callable[..., Any]
) -> dict[str, Any]:
  """Scores at each quality, under its name in the field: "90" as in NoC@90."""
  return {
    f'{100 * quality:.0f}': _by_mode(by_mode, functools.partial(score, quality=quality))
    for quality in metrics.QUALITIES
  }


def _mean_noc(iou: np.ndarray, quality: float) -> dict[str, Any]:
  return entry(metrics.mean(metrics.noc(iou, quality)))


def _values(estimates: Any) -> Any:
  """The same tree with every estimate replaced by its value."""
  if isinstance(estimates, dict):
    if 'value' in estimates:
      return estimates['value']
    return {key: _values(estimate) for key, estimate in estimates.items()}
  if isinstance(estimates, list):
    return [_values(estimate) for estimate in estimates]
  return estimates


def _first_click(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
  """Means of what rows of a global search say of the whole legal region."""
  ok = [row for row in rows if row['status'] == 'ok' and 'levels' in row]
  hidden = np.array([row['hidden'] for row in ok if row['hidden'] is not None])
  return {
    **priors.mean_of_rows(ok),
    'hidden': entry(metrics.mean(hidden)) if hidden.size else None,
  }


_NOTHING = {'value': None, 'low': None, 'high': None, 'n': 0}


def summarise(
  rows: Sequence[Mapping[str, Any]], model: str, preset: str, num_clicks: int
) -> dict[str, Any]:
  """What a run found, as `summary.json` holds it.

  Every score is in [0, 1] and a mean over the rows that are ok; NoC is in clicks, NoF a count.
  `estimates` holds the same scores with their n and 95 % bootstrap intervals. A mode that was not
  run is None, and so is every mean over no instance; `d` is an object whose values are then None.
  `n_warned` of the rows that are ok bear a warning. `levels`, `quantiles` and `hidden` are of the
  first click, see `tetris_jax.runs.rows`; None where the search was not a global one.
  NoC and NoF take `num_clicks` for the value of a curve that never reaches the quality, so they
  compare between runs of equal `num_clicks` only.

  Args:
    rows: of one run.
    model: its name.
    preset: the attack's name.
    num_clicks: rounds of a trajectory.

  Raises:
    ValueError: rows of different runs.
  """
  count = {status: sum(row['status'] == status for row in rows) for status in _STATUSES}
  iou, biou = curves(rows, 'iou'), curves(rows, 'biou')
  estimates = {
    'iou_auc': _by_mode(iou, _mean_auc),
    'biou_auc': _by_mode(biou, _mean_auc),
    'd': _mean_difference(iou),
    'biou_d': _mean_difference(biou),
    'per_click': _by_mode(iou, _mean_per_click),
    'per_click_biou': _by_mode(biou, _mean_per_click),
    'noc': _at_qualities(iou, _mean_noc),
  }
  values = _values(estimates)
  return {
    'n_ok': count['ok'],
    'n_failed': count['failed'],
    'n_skipped': count['skipped'],
    'n_warned': sum(bool(row.get('warnings')) for row in rows),
    'model': model,
    'preset': preset,
    'num_clicks': num_clicks,
    'iou_auc': values['iou_auc'],
    'biou_auc': values['biou_auc'],
    'd': estimates['d'] or _NOTHING,
    'biou_d': estimates['biou_d'] or _NOTHING,
    'per_click': values['per_click'],
    'per_click_biou': values['per_click_biou'],
    'noc': values['noc'],
    'nof': _at_qualities(iou, metrics.nof),
    'forward': sum(row['forward'] or 0 for row in rows),
    'backward': sum(row['backward'] or 0 for row in rows),
    **_first_click(rows),
    'estimates': estimates,
  }
