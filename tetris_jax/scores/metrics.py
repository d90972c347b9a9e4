"""What a set of IoU curves amounts to: IoU-AuC, NoC, NoF, robustness score, bootstrap intervals.

Everything here is NumPy on the host and every IoU is in [0, 1]; the field prints them x100. A curve
that holds a NaN has no score, and a mean names the number of instances behind it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = [
  'QUALITIES',
  'Estimate',
  'GroupScores',
  'bootstrap_means',
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

_RESAMPLES_AT_ONCE = 100
# Up to so many pairs all 2**n exchanges are counted, at most as many as are drawn otherwise.
_MOST_EXACT_PAIRS = 14


class Estimate(NamedTuple):
  """A mean over instances with its bootstrap interval.

  Attributes:
    value: the mean; None when no instance has a number.
    low: lower end of the interval; None below two instances, where resampling says nothing.
    high: upper end, likewise.
    n: instances behind the mean.
  """

  value: float | None
  low: float | None
  high: float | None
  n: int


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


def nof(iou: np.ndarray, quality: float) -> int:
  """Number of failures (NoF@quality): the curves whose NoC is the greatest possible.

  As in RITM's `over_max`, a curve that succeeds exactly at the last click counts too. Curves with
  a NaN do not count.

  Args:
    iou: (num_instances, num_clicks).
    quality: the IoU to reach, in [0, 1].
  """
  return int(np.sum(noc(iou, quality) == np.shape(iou)[-1]))


def robustness(iou_min: np.ndarray, iou_max: np.ndarray) -> np.ndarray:
  """D = Max - Min of each instance: how far its IoU-AuC moves with the clicks. Lower is better.

  Args:
    iou_min: (..., num_clicks), the curves of the MIN trajectories.
    iou_max: likewise, MAX.

  Returns:
    (...) float64 (TETRIS, arXiv 2402.06132); NaN where either curve holds a NaN.
  """
  return iou_auc(iou_max) - iou_auc(iou_min)


def bootstrap_means(values: np.ndarray, num_resamples: int = 2000, seed: int = 0) -> np.ndarray:
  """Means over instances drawn with replacement; every column is resampled alike.

  Args:
    values: (num_instances, num_columns), finite, at least one instance.
    num_resamples: how often all instances are drawn.
    seed: of the draw; the same seed and shape give the same result.

  Returns:
    (num_resamples, num_columns) float64.
  """
  values = np.asarray(values, np.float64)
  n = len(values)
  rng = np.random.default_rng(seed)
  means = []
  for start in range(0, num_resamples, _RESAMPLES_AT_ONCE):
    rows = min(_RESAMPLES_AT_ONCE, num_resamples - start)
    drawn = rng.integers(n, size=(rows, n)) + n * np.arange(rows)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)
    means.append(counts @ values / n)
  return np.concatenate(means)


def means(
  values: np.ndarray, level: float = 0.95, num_resamples: int = 2000, seed: int = 0
) -> list[Estimate]:
  """Means over instances, column by column, with percentile bootstrap intervals.

  Instances without a number (NaN) are left out of their column's mean and of its n. The intervals
  are those of Efron and Tibshirani (An Introduction to the Bootstrap, 1993), section 13.3.

  Args:
    values: (num_instances, num_columns).
    level: share of the resampled means inside the interval.
    num_resamples: how often all instances are drawn.
    seed: of the draw.

  Raises:
    ValueError: `values` is not a table.
  """
  values = np.asarray(values, np.float64)
  if values.ndim != 2:
    raise ValueError(f'values: expected (num_instances, num_columns), found shape {values.shape}')
  if np.isnan(values).any():
    columns = [column[~np.isnan(column)][:, None] for column in values.T]
    return [means(column, level, num_resamples, seed)[0] for column in columns]
  n, num_columns = values.shape
  if not n:
    return [Estimate(None, None, None, 0)] * num_columns
  averages = values.mean(0)
  if n == 1:
    return [Estimate(float(average), None, None, 1) for average in averages]
  resampled = bootstrap_means(values, num_resamples, seed)
  low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2], axis=0)
  return [
    Estimate(float(average), float(start), float(end), n)
    for average, start, end in zip(averages, low, high, strict=True)
  ]


def mean(
  values: np.ndarray, level: float = 0.95, num_resamples: int = 2000, seed: int = 0
) -> Estimate:
  """Mean over instances with its percentile bootstrap interval; see `means`.

  Args:
    values: (num_instances,); NaN where an instance has no number.
    level: share of the resampled means inside the interval.
    num_resamples: how often all instances are drawn.
    seed: of the draw.

  Raises:
    ValueError: `values` is not one number an instance.
  """
  values = np.asarray(values)
  if values.ndim != 1:
    raise ValueError(f'values: expected one number an instance, found shape {values.shape}')
  return means(values[:, None], level, num_resamples, seed)[0]


def _differences(first: np.ndarray, second: np.ndarray) -> np.ndarray:
  """first - second of the instances that have a number in both."""
  first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
  if first.ndim != 1 or first.shape != second.shape:
    raise ValueError(
      f'first, second: expected one number an instance in both, in the same order, found shapes '
      f'{first.shape} and {second.shape}'
    )
  difference = first - second
  return difference[~np.isnan(difference)]


def paired_difference(
  first: np.ndarray,
  second: np.ndarray,
  level: float = 0.95,
  num_resamples: int = 2000,
  seed: int = 0,
) -> Estimate:
  """Mean of first - second with its bootstrap interval, both resampled by the same instances.

  What two models or presets share of an instance's difficulty cancels, so the interval is narrower
  than those of the two means suggest.

  Args:
    first: (num_instances,), such as D of one model; NaN where an instance has no number.
    second: likewise of the other, of the same instances in the same order.
    level: share of the resampled means inside the interval.
    num_resamples: how often all instances are drawn.
    seed: of the draw.

  Raises:
    ValueError: they are not one number an instance each.
  """
  return mean(_differences(first, second), level, num_resamples, seed)


def permutation_test(
  first: np.ndarray, second: np.ndarray, num_permutations: int = 20000, seed: int = 0
) -> float | None:
  """Two-sided p-value of the mean of first - second, by exchanging the two within instances.

  Were the two alike, each instance's difference could as well have the other sign (Fisher's
  randomisation test). Up to 14 instances all exchanges are counted; beyond, the observed one and
  `num_permutations` random ones (Phipson and Smyth, 2010, for why it counts itself).

  Args:
    first: (num_instances,), such as D of one model; NaN where an instance has no number.
    second: likewise of the other, of the same instances in the same order.
    num_permutations: random exchanges.
    seed: of their draw.

  Returns:
    The share of exchanges whose mean lies as far from 0 as the observed one; None without pairs.

  Raises:
    ValueError: they are not one number an instance each.
  """
  difference = _differences(first, second)
  n = len(difference)
  if not n:
    return None
  # Sums that differ by rounding alone are equal.
  least = abs(difference.sum()) - 1e-12 * np.abs(difference).sum()
  if n <= _MOST_EXACT_PAIRS:
    signs = 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    return float(np.mean(np.abs(signs @ difference) >= least))
  rng = np.random.default_rng(seed)
  extreme = 0
  for start in range(0, num_permutations, _RESAMPLES_AT_ONCE):
    rows = min(_RESAMPLES_AT_ONCE, num_permutations - start)
    signs = 1.0 - 2.0 * rng.integers(2, size=(rows, n))
    extreme += int(np.sum(np.abs(signs @ difference) >= least))
  return (extreme + 1) / (num_permutations + 1)


def kendall_tau(first: np.ndarray, second: np.ndarray) -> float | None:
  """Kendall's tau-b of two orders, such as models by standard and by robust score.

  1 for the same order, -1 for the opposite one; ties count as in Kendall (The treatment of ties in
  ranking problems, 1945).

  Args:
    first: (num_models,) finite scores.
    second: likewise, of the same models in the same order.

  Returns:
    A number in [-1, 1]; None below two models, or where all scores of one kind are equal.

  Raises:
    ValueError: the shapes differ.
  """
  first, second = _two_orders(first, second)
  upper = np.triu_indices(len(first), 1)
  one = np.sign(first[:, None] - first[None, :])[upper]
  other = np.sign(second[:, None] - second[None, :])[upper]
  untied = np.sqrt(float(np.sum(one**2)) * float(np.sum(other**2)))
  return float(np.sum(one * other) / untied) if untied else None


def _two_orders(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
  if first.ndim != 1 or first.shape != second.shape:
    raise ValueError(f'first, second: expected equal lengths, found {first.shape}, {second.shape}')
  return first, second


def _average_ranks(values: np.ndarray) -> np.ndarray:
  """1 for the smallest; ties share the mean of the ranks that they take up."""
  below = np.sum(values[None, :] < values[:, None], axis=1)
  alike = np.sum(values[None, :] == values[:, None], axis=1)
  return below + (alike + 1) / 2


def spearman(first: np.ndarray, second: np.ndarray) -> float | None:
  """Spearman's rank correlation, such as of models' D under attack and under users.

  Pearson's correlation of the ranks; ties share the mean of the ranks that they take up.

  Args:
    first: (num_models,) finite scores.
    second: likewise, of the same models in the same order.

  Returns:
    A number in [-1, 1]; None below two models, or where all scores of one kind are equal.

  Raises:
    ValueError: the shapes differ.
  """
  first, second = _two_orders(first, second)
  if len(first) < 2:
    return None
  one, other = (ranks - ranks.mean() for ranks in map(_average_ranks, (first, second)))
  scale = np.sqrt(float(one @ one) * float(other @ other))
  return float(np.clip(one @ other / scale, -1, 1)) if scale else None


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
