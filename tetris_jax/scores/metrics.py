"""What IoU curves amount to: IoU-AuC, NoC, NoF, robustness, spread over users.

Everything here is NumPy on the host and every IoU is in [0, 1]; the field prints them x100. A curve
that holds a NaN has no score. The means, intervals and tests of `tetris_jax.scores.statistics` are
reached from here as well, so that one import has all that a comparison of scores needs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tetris_jax.scores.statistics import (
  Estimate,
  bootstrap_means,
  kendall_tau,
  mean,
  means,
  paired_difference,
  permutation_test,
  spearman,
)

__all__ = [
  'QUALITIES',
  'Estimate',
  'GroupScores',
  'bootstrap_means',
  'failed',
  'group_scores',
  'iou_auc',
  'kendall_tau',
  'mean',
  'means',
  'noc',
  'nof',
  'nsr',
  'paired_difference',
  'permutation_test',
  'robustness',
  'spearman',
]

QUALITIES = (0.80, 0.85, 0.90, 0.95)
"""The IoUs at which the field counts clicks, as in NoC@90."""


def iou_auc(iou: np.ndarray) -> np.ndarray:
  """Area under IoU curves over clicks, by the trapezoid rule, divided by the number of intervals.

  `trapz(iou[0..n-1]) / (n - 1)`, and the value itself for one click (TETRIS, arXiv 2402.06132).

  Args:
    iou: (..., num_clicks), IoU after each click.

  Returns:
    (...) float64 in [0, 1]; NaN where a curve holds a NaN.

  Raises:
    ValueError: a curve without clicks.
  """
  iou = np.asarray(iou, np.float64)
  if not iou.ndim or not iou.shape[-1]:
    raise ValueError(f'iou: a curve needs at least one click, found shape {iou.shape}')
  if iou.shape[-1] == 1:
    return iou[..., 0]
  inner = iou.sum(-1) - 0.5 * (iou[..., 0] + iou[..., -1])
  return inner / (iou.shape[-1] - 1)


def noc(iou: np.ndarray, quality: float) -> np.ndarray:
  """Number of clicks (NoC@quality): the first click count at which a curve reaches a quality.

  As in RITM (arXiv 2102.06583): a curve that never does so counts as all its clicks. The
  comparison is NumPy's, there as here: float32 IoUs meet a Python float in float32, where 9/10
  reaches 0.9, and an `np.float64` in float64, where it falls short by 2e-8.

  Args:
    iou: (..., num_clicks), IoU after each click.
    quality: the IoU to reach, in [0, 1].

  Returns:
    (...) float64, from 1 to num_clicks; NaN where a curve holds a NaN.

  Raises:
    ValueError: a curve without clicks.
  """
  iou = np.asarray(iou)
  if not iou.ndim or not iou.shape[-1]:
    raise ValueError(f'iou: a curve needs at least one click, found shape {iou.shape}')
  reached = iou >= quality
  count = np.where(reached.any(-1), reached.argmax(-1) + 1, iou.shape[-1]).astype(np.float64)
  return np.where(np.isnan(iou).any(-1), np.nan, count)


def failed(iou: np.ndarray, quality: float) -> np.ndarray:
  """Whether a curve's NoC is the greatest possible, so that it counts in NoF@quality.

  As in RITM's `over_max` (arXiv 2102.06583), a curve that succeeds exactly at the last click counts
  too. One with a NaN does not.

  Args:
    iou: (..., num_clicks), IoU after each click.
    quality: the IoU to reach, in [0, 1].

  Returns:
    (...) bool.

  Raises:
    ValueError: a curve without clicks.
  """
  return noc(iou, quality) == np.shape(iou)[-1]


def nof(iou: np.ndarray, quality: float) -> int:
  """Number of failures (NoF@quality): the curves that `failed`.

  Args:
    iou: (num_instances, num_clicks).
    quality: the IoU to reach, in [0, 1].
  """
  return int(np.sum(failed(iou, quality)))


def robustness(iou_min: np.ndarray, iou_max: np.ndarray) -> np.ndarray:
  """D = Max - Min of each instance: how far its IoU-AuC moves with the clicks. Lower is better.

  Args:
    iou_min: (..., num_clicks), the curves of the MIN trajectories.
    iou_max: likewise, MAX.

  Returns:
    (...) float64 (TETRIS, arXiv 2402.06132); NaN where either curve holds a NaN.
  """
  return iou_auc(iou_max) - iou_auc(iou_min)


def nsr(values: np.ndarray) -> np.ndarray:
  """Noise-to-signal ratio std / mean over the last axis, of users' IoUs on one instance.

  As in RClicks (arXiv 2410.11722): the standard deviation is that of the values themselves, not an
  estimate from them, and 1e-9 keeps a mean of 0 from dividing.

  Args:
    values: (..., num_users) in [0, 1], at least one user.

  Returns:
    (...) float64.

  Raises:
    ValueError: no user.
  """
  values = np.asarray(values, np.float64)
  if not values.ndim or not values.shape[-1]:
    raise ValueError(f'values: expected at least one user, found shape {values.shape}')
  return values.std(-1) / (values.mean(-1) + 1e-9)


class GroupScores(NamedTuple):
  """What click counts of groups of users amount to, each a mean over instances.

  Attributes:
    mean: clicks, over instances and groups.
    std: clicks, the standard deviation over groups.
    delta_base: how many times more clicks the mean of all groups needs than the robot user, less 1.
    delta_groups: likewise the first group, of the least likely clicks, beside the last.
  """

  mean: Estimate
  std: Estimate
  delta_base: Estimate
  delta_groups: Estimate


def group_scores(noc_of_groups: np.ndarray, noc_of_base: np.ndarray) -> GroupScores:
  """Sample NoC, its deviation, Delta-SB and Delta-GR of RClicks (arXiv 2410.11722).

  Every one is taken per instance and then averaged, as in the published evaluation, so that the
  deltas are means of ratios, not ratios of means; published ones are x100.

  Args:
    noc_of_groups: (num_groups, num_instances), G1 first; NaN where an instance has no number.
    noc_of_base: (num_instances,), of the robot user, at least 1.

  Raises:
    ValueError: the shapes do not belong together.
  """
  groups, base = np.asarray(noc_of_groups, np.float64), np.asarray(noc_of_base, np.float64)
  if groups.ndim != 2 or not len(groups) or base.shape != groups.shape[1:]:
    raise ValueError(
      f'noc_of_groups, noc_of_base: expected (groups, instances) and (instances,), found '
      f'{groups.shape} and {base.shape}'
    )
  average = groups.mean(0)
  return GroupScores(
    mean(average),
    mean(groups.std(0)),
    mean((average - base) / base),
    mean((groups[0] - groups[-1]) / groups[-1]),
  )
