"""Means over instances with bootstrap intervals, paired differences, and orders of models.

Everything here is NumPy on the host. A mean names the number of instances behind it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = [
  'Estimate',
  'bootstrap_means',
  'kendall_tau',
  'mean',
  'means',
  'paired_difference',
  'permutation_test',
  'spearman',
]

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


def bootstrap_means(values: np.ndarray, *, num_resamples: int = 2000, seed: int = 0) -> np.ndarray:
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
  values: np.ndarray, *, level: float = 0.95, num_resamples: int = 2000, seed: int = 0
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
    columns = [column[~np.isnan(column)] for column in values.T]
    return [mean(x, level=level, num_resamples=num_resamples, seed=seed) for x in columns]
  n, num_columns = values.shape
  if not n:
    return [Estimate(None, None, None, 0)] * num_columns
  averages = values.mean(0)
  if n == 1:
    return [Estimate(float(average), None, None, 1) for average in averages]
  resampled = bootstrap_means(values, num_resamples=num_resamples, seed=seed)
  low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2], axis=0)
  return [
    Estimate(float(average), float(start), float(end), n)
    for average, start, end in zip(averages, low, high, strict=True)
  ]


def mean(
  values: np.ndarray, *, level: float = 0.95, num_resamples: int = 2000, seed: int = 0
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
  return means(values[:, None], level=level, num_resamples=num_resamples, seed=seed)[0]


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
  *,
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
  difference = _differences(first, second)
  return mean(difference, level=level, num_resamples=num_resamples, seed=seed)


def permutation_test(
  first: np.ndarray, second: np.ndarray, *, num_permutations: int = 20000, seed: int = 0
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


def _two_orders(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
  if first.ndim != 1 or first.shape != second.shape:
    raise ValueError(f'first, second: expected equal lengths, found {first.shape}, {second.shape}')
  return first, second


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
