"""Rows to one summary: every metric of MIN, BASE and MAX with its n and bootstrap interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tetris_jax.report import summaries
from tetris_jax.report.attack import profile
from tetris_jax.scores import checks, priors, statistics, table
from tetris_jax.scores.table import Metric

__all__ = ['curves', 'summarise']

_NOTHING = {'value': None, 'low': None, 'high': None, 'n': 0}

_Curves = Mapping[str, np.ndarray | None]


def curves(rows: Sequence[Mapping[str, Any]], field: str = 'iou') -> dict[str, np.ndarray | None]:
  """Curves of the rows that are ok, by mode.

  Args:
    rows: of one run, as `tetris_jax.runs.rows` makes them.
    field: of `tetris_jax.scores.table.CURVES`.

  Returns:
    (num_ok, num_clicks) float64 in [0, 1] for "min", "base" and "max"; None for a mode that was
    not run, or without a row that is ok.

  Raises:
    ValueError: rows of different runs, with other modes or numbers of clicks.
  """
  ok = summaries.measured(rows)
  out: dict[str, np.ndarray | None] = {}
  for mode in table.ORDER:
    found = [row[field][mode] for row in ok]
    kinds = {None if curve is None else len(curve) for curve in found}
    if len(kinds) > 1:
      raise ValueError(f'rows of different runs: {field} of {mode} has lengths {kinds}')
    out[mode] = None if kinds <= {None} else np.array(found, np.float64)
  return out


def _reduced(metric: Metric, scores: np.ndarray) -> Any:
  """Scores of instances, (num_instances[, num_clicks]), as a summary holds them."""
  if metric.format == 'count':
    return int(np.nansum(scores))
  if metric.kind == 'click':
    return [summaries.entry(estimate) for estimate in statistics.means(scores)]
  return summaries.entry(statistics.mean(scores))


def _by_mode(metric: Metric, by_mode: _Curves, **quality: float) -> dict[str, Any]:
  return {
    mode: None if curve is None else _reduced(metric, metric.score(curve, **quality))
    for mode, curve in by_mode.items()
  }


def _estimates(metric: Metric, by_mode: _Curves) -> Any:
  """A metric's estimates, or counts: by mode; by quality and mode; or of MIN and MAX together."""
  if metric.kind == 'range':
    low, high = by_mode['min'], by_mode['max']
    return None if low is None or high is None else _reduced(metric, metric.score(low, high))
  if metric.qualities:
    return {
      table.quality_name(quality): _by_mode(metric, by_mode, quality=quality)
      for quality in metric.qualities
    }
  return _by_mode(metric, by_mode)


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
  ok = [row for row in summaries.measured(rows) if 'levels' in row]
  hidden = np.array([row['hidden'] for row in ok if row['hidden'] is not None])
  return {
    **priors.mean_of_rows(ok),
    'hidden': summaries.entry(statistics.mean(hidden)) if hidden.size else None,
  }


def _outside(rows: Sequence[Mapping[str, Any]]) -> dict[str, int | None]:
  """How many clicks lie outside of their pictures, by mode; None for one that was not run."""
  made = [row for row in summaries.measured(rows) if row['clicks'] is not None]
  out: dict[str, int | None] = {}
  for mode in table.ORDER:
    known = [row for row in made if row['clicks'][mode] is not None]
    beyond = [checks.outside(np.array(row['clicks'][mode])[:, :2], row['size']) for row in known]
    out[mode] = sum(int(np.sum(some)) for some in beyond) if known else None
  return out


def summarise(
  rows: Sequence[Mapping[str, Any]], model: str, preset: str, num_clicks: int
) -> dict[str, Any]:
  """What a run found, as `summary.json` holds it.

  Every metric of `tetris_jax.scores.table` is there under its name: in [0, 1] or in clicks and a
  mean over the rows that are ok, or a count. `estimates` holds the same means with their n and
  95 % bootstrap intervals. A mode that was not run is None, and so is every mean over no instance;
  a metric of MIN and MAX together, such as `d`, is an object whose values are then None.
  `n_warned` of the rows that are ok bear a warning, and `n_outside` clicks of each mode lie outside
  of their pictures. `levels`, `quantiles` and `hidden` are of the first click, see
  `tetris_jax.runs.rows`; None where the search was not a global one. `users` is the robustness
  profile, see `tetris_jax.report.attack.profile`; it is there only where users clicked.
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
  by_field = {field: curves(rows, field) for field in table.CURVES}
  known = table.METRICS.values()
  found = {metric.name: _estimates(metric, by_field[metric.curves]) for metric in known}
  return {
    **summaries.counts(rows),
    'n_warned': sum(bool(row.get('warnings')) for row in rows),
    'n_outside': _outside(rows),
    'model': model,
    'preset': preset,
    'num_clicks': num_clicks,
    **{
      metric.name: (found[metric.name] or _NOTHING)
      if metric.kind == 'range'
      else _values(found[metric.name])
      for metric in known
    },
    'forward': sum(row['forward'] or 0 for row in rows),
    'backward': sum(row['backward'] or 0 for row in rows),
    **_first_click(rows),
    **({} if (users := profile.summarise(rows)) is None else {'users': users}),
    'estimates': {metric.name: found[metric.name] for metric in known if metric.format != 'count'},
  }
