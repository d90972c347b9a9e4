"""Runs beside each other: scores and ranks of models, and what differs between two of them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tetris_jax.report.attack.summary import ORDER
from tetris_jax.runs.merge import Run
from tetris_jax.scores import metrics

__all__ = ['QUALITY', 'instance_scores', 'orders', 'overview', 'pairs']

QUALITY = '90'
"""The NoC that the overview shows, as the field does."""


def instance_scores(run: Run) -> dict[str, dict[str, float | None]]:
  """Scores of each measured instance of a run, by name, every one in [0, 1].

  They are "auc" of BASE, "d", and "min", "base" and "max" after the first click; None where the run
  had no search.
  """
  scores: dict[str, dict[str, float | None]] = {}
  for row in run.rows:
    if row['status'] != 'ok':
      continue
    iou = row['iou']
    searched = iou['min'] is not None and iou['max'] is not None
    scores[row['instance']] = {
      'auc': float(metrics.iou_auc(iou['base'])),
      'd': float(metrics.robustness(iou['min'], iou['max'])) if searched else None,
      **{mode: iou[mode] and iou[mode][0] for mode in ('min', 'base', 'max')},
    }
  return scores


def _ranks(values: Sequence[float | None], highest_first: bool) -> list[int | None]:
  """1 for the best; ties share the better rank; None where there is no value."""
  known = [value for value in values if value is not None]
  better = (lambda a, b: a > b) if highest_first else (lambda a, b: a < b)
  return [
    None if value is None else 1 + sum(better(other, value) for other in known)
    for value in values
  ]


def overview(
  runs: Sequence[Run], summaries: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
  """One line a run: its scores, and its model's ranks among those of its data set and preset.

  "ranks" are by IoU-AuC of MIN, BASE and MAX, "rank" is that of BASE, the standard evaluation, and
  "robust_rank" is by D, where a lower D is better. None where only one model was run.

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
        'iou_auc': summary['iou_auc'],
        'biou_auc': summary['biou_auc'],
        'd': summary['d'],
        'noc': {mode: value for mode, value in summary['noc'][QUALITY].items()},
        'ranks': dict.fromkeys(ORDER),
        'rank': None,
        'robust_rank': None,
      }
    )
  for group in _by_set(lines).values():
    if len(group) < 2:
      continue
    for mode in ORDER:
      found = _ranks([line['iou_auc'][mode] for line in group], highest_first=True)
      for line, rank in zip(group, found, strict=True):
        line['ranks'][mode] = rank
    robust = _ranks([line['d'] and line['d']['value'] for line in group], highest_first=False)
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
      (line['iou_auc']['base'], line['d']['value'])
      for line in group
      if line['iou_auc']['base'] is not None and line['d'] and line['d']['value'] is not None
    ]
    if len(known) < 2:
      continue
    standard, difference = np.array(known, np.float64).T
    tau = metrics.kendall_tau(standard, -difference)
    out.append({'dataset': dataset, 'preset': preset, 'n_models': len(known), 'kendall_tau': tau})
  return out


def pairs(runs: Sequence[Run]) -> list[dict[str, Any]]:
  """D of two models under one preset, or of two presets on one model, over the same instances.

  Each has the mean of first - second with its paired bootstrap interval, n of the instances that
  both measured, and the p-value of a permutation test. Runs of other instances are not compared.
  """
  out = []
  scores = [instance_scores(run) for run in runs]
  for (i, one), (j, other) in itertools.combinations(enumerate(runs), 2):
    alike = [a == b for a, b in ((one.model, other.model), (one.preset, other.preset))]
    same = one.config['instances'] == other.config['instances']
    same = same and one.config['preset']['num_clicks'] == other.config['preset']['num_clicks']
    if one.dataset != other.dataset or sum(alike) != 1 or not same:
      continue
    shared = [name for name in scores[i] if name in scores[j]]
    first = np.array([scores[i][name]['d'] for name in shared], np.float64)
    second = np.array([scores[j][name]['d'] for name in shared], np.float64)
    estimate = metrics.paired_difference(first, second)
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
        'difference': dict(zip(('value', 'low', 'high', 'n'), estimate, strict=True)),
        'p_value': metrics.permutation_test(first, second),
      }
    )
  return out
