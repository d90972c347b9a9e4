"""Runs beside each other: scores and ranks of models, and what differs between two of them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tetris_jax.report import summaries
from tetris_jax.runs.merge import Run
from tetris_jax.scores import statistics, table
from tetris_jax.scores.table import ORDER, ROBUST, STANDARD, Metric

__all__ = ['instance_scores', 'orders', 'overview', 'pairs']


def instance_scores(run: Run) -> dict[str, dict[str, float | None]]:
  """Scores of each measured instance of a run, by name, every one in [0, 1].

  They are "auc" of BASE, "d", and "min", "base" and "max" after the first click; None where the run
  had no search.
  """
  scores: dict[str, dict[str, float | None]] = {}
  for row in summaries.measured(run.rows):
    iou = row['iou']
    searched = iou['min'] is not None and iou['max'] is not None
    scores[row['instance']] = {
      'auc': float(STANDARD.score(iou['base'])),
      'd': float(ROBUST.score(iou['min'], iou['max'])) if searched else None,
      **{mode: iou[mode] and iou[mode][0] for mode in ORDER},
    }
  return scores


def _goodness(metric: Metric, value: float) -> float:
  """The value turned so that more of it is better."""
  return -value if metric.direction == 'lower' else value


def _ranks(metric: Metric, values: Sequence[float | None]) -> list[int | None]:
  """1 for the best; ties share the better rank; None where there is no value."""
  good = [None if value is None else _goodness(metric, value) for value in values]
  known = [value for value in good if value is not None]
  return [None if value is None else 1 + sum(other > value for other in known) for value in good]


def _shown(metric: Metric, summary: Mapping[str, Any]) -> Any:
  """What a line holds of a metric: numbers by mode, or an estimate."""
  found = summary[metric.name]
  return found[table.quality_name(table.QUALITY)] if metric.qualities else found


def overview(
  runs: Sequence[Run], summaries: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
  """One line a run: its scores, and its model's ranks among those of its data set and preset.

  Scores are the metrics of `tetris_jax.scores.table` that are compared, by name. "ranks" are by
  IoU-AuC of MIN, BASE and MAX, "rank" is that of BASE, the standard evaluation, and "robust_rank"
  is by D, where a lower D is better. None where only one model was run.

  Args:
    runs: whole runs.
    summaries: of each, as `tetris_jax.report.attack.summary.summarise` makes them.
  """
  lines: list[dict[str, Any]] = []
  for run, summary in zip(runs, summaries, strict=True):
    lines.append(
      {
        'model': run.model,
        'dataset': run.dataset,
        'preset': run.preset,
        'num_clicks': summary['num_clicks'],
        'n': summary['n_ok'],
        'n_failed': summary['n_failed'],
        'n_skipped': summary['n_skipped'],
        **{
          metric.name: _shown(metric, summary) for metric in table.compared('printed', 'kept')
        },
        'ranks': dict.fromkeys(ORDER),
        'rank': None,
        'robust_rank': None,
      }
    )
  for group in _by_set(lines).values():
    if len(group) < 2:
      continue
    for mode in ORDER:
      found = _ranks(STANDARD, [line[STANDARD.name][mode] for line in group])
      for line, rank in zip(group, found, strict=True):
        line['ranks'][mode] = rank
    robust = _ranks(ROBUST, [line[ROBUST.name]['value'] for line in group])
    for line, rank in zip(group, robust, strict=True):
      line['rank'], line['robust_rank'] = line['ranks']['base'], rank
  return lines


def _by_set(lines: Sequence[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
  groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
  for line in lines:
    groups.setdefault((line['dataset'], line['preset']), []).append(line)
  return groups


def orders(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
  """Kendall's tau between standard and robust order of the models, a data set and preset each.

  1 means that the attack leaves the order as it is. Sets with fewer than two models whose D and
  BASE are known are left out.

  Args:
    lines: of `overview`.
  """
  out = []
  for (dataset, preset), group in _by_set(lines).items():
    known = [
      (_goodness(STANDARD, standard), _goodness(ROBUST, robust))
      for line in group
      if (standard := line[STANDARD.name]['base']) is not None
      and (robust := line[ROBUST.name]['value']) is not None
    ]
    if len(known) < 2:
      continue
    tau = statistics.kendall_tau(*np.array(known, np.float64).T)
    out.append({'dataset': dataset, 'preset': preset, 'n_models': len(known), 'kendall_tau': tau})
  return out


def pairs(
  runs: Sequence[Run], common: Sequence[Run] | None = None
) -> list[dict[str, Any]]:
  """D of two models under one preset, or of two presets on one model, over the same instances.

  Each has the mean of first - second with its paired bootstrap interval, n of the instances that
  both measured, and the p-value of a permutation test. Runs of other instances are not compared.

  Args:
    runs: whole runs.
    common: the same, those of one data set and preset on the instances that all of them have; two
      models are compared on these.
  """
  out = []
  scores = [instance_scores(run) for run in runs]
  for i, j in itertools.combinations(range(len(runs)), 2):
    one, other = runs[i], runs[j]
    alike = [a == b for a, b in ((one.model, other.model), (one.preset, other.preset))]
    if common is not None and alike[1]:
      one, other = common[i], common[j]
    same = one.config['instances'] == other.config['instances']
    same = same and one.config['preset']['num_clicks'] == other.config['preset']['num_clicks']
    if one.dataset != other.dataset or sum(alike) != 1 or not same:
      continue
    names = [row['instance'] for row in one.rows]
    shared = [name for name in names if name in scores[i] and name in scores[j]]
    first = np.array([scores[i][name]['d'] for name in shared], np.float64)
    second = np.array([scores[j][name]['d'] for name in shared], np.float64)
    estimate = statistics.paired_difference(first, second)
    if not estimate.n:
      continue
    key = 'preset' if alike[0] else 'model'
    out.append(
      {
        'dataset': one.dataset,
        'models': sorted({one.model, other.model}),
        'presets': sorted({one.preset, other.preset}),
        'same': one.model if alike[0] else one.preset,
        'first': getattr(one, key),
        'second': getattr(other, key),
        'difference': estimate._asdict(),
        'p_value': statistics.permutation_test(first, second),
      }
    )
  return out
