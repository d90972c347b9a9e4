"""Means, intervals, tests and orders: closed forms, SciPy, properties of the bootstrap."""

import hypothesis
import hypothesis.extra.numpy
import hypothesis.strategies as st
import numpy as np
import pytest

from tetris_jax.scores import statistics


def test_mean_leaves_out_nan_and_says_so():
  estimate = statistics.mean(np.array([1.0, np.nan, 3.0]))
  assert estimate.value == 2.0
  assert estimate.n == 2


def test_mean_of_nothing_and_of_one():
  assert statistics.mean(np.array([])) == statistics.Estimate(None, None, None, 0)
  assert statistics.mean(np.array([np.nan])) == statistics.Estimate(None, None, None, 0)
  assert statistics.mean(np.array([0.5])) == statistics.Estimate(0.5, None, None, 1)


def test_mean_wants_one_number_an_instance():
  with pytest.raises(ValueError, match=r'found shape \(2, 2\)'):
    statistics.mean(np.zeros((2, 2)))


def test_means_treat_columns_as_mean_treats_one():
  values = np.random.default_rng(3).uniform(size=(6, 3))
  values[1, 2] = np.nan
  columns = statistics.means(values)
  assert [column.n for column in columns] == [6, 6, 5]
  assert columns == [statistics.mean(column) for column in values.T]
  with pytest.raises(ValueError, match=r'found shape \(6,\)'):
    statistics.means(values[:, 0])


def test_interval_of_a_constant_is_the_constant():
  estimate = statistics.mean(np.full(7, 0.25))
  assert estimate == statistics.Estimate(0.25, 0.25, 0.25, 7)


def test_interval_matches_the_exact_bootstrap_of_two_values():
  # The mean of two draws from {0, 1} is 0, 1/2, 1 with probability 1/4, 1/2, 1/4.
  means = statistics.bootstrap_means(np.array([[0.0], [1.0]]), num_resamples=20000)[:, 0]
  shares = [np.mean(means == value) for value in (0.0, 0.5, 1.0)]
  np.testing.assert_allclose(shares, [0.25, 0.5, 0.25], atol=0.015)
  assert statistics.mean(np.array([0.0, 1.0]))[1:3] == (0.0, 1.0)


def test_interval_matches_the_normal_theory():
  values = np.random.default_rng(1).normal(size=400)
  estimate = statistics.mean(values, num_resamples=4000)
  half_width = 1.96 * values.std() / np.sqrt(400)
  assert estimate.low == pytest.approx(values.mean() - half_width, abs=0.1 * half_width)
  assert estimate.high == pytest.approx(values.mean() + half_width, abs=0.1 * half_width)


@hypothesis.given(
  hypothesis.extra.numpy.arrays(np.float64, st.integers(2, 12), elements=st.floats(0, 1)),
  st.integers(0, 5),
)
@hypothesis.settings(deadline=None, max_examples=30)
def test_interval_is_reproducible_and_holds_the_mean(values, seed):
  estimate = statistics.mean(values, num_resamples=400, seed=seed)
  assert estimate == statistics.mean(values, num_resamples=400, seed=seed)
  assert values.min() - 1e-12 <= estimate.low <= estimate.high <= values.max() + 1e-12


def test_columns_are_resampled_alike():
  values = np.random.default_rng(0).uniform(size=(9, 2))
  means = statistics.bootstrap_means(np.c_[values, values[:, 1] - values[:, 0]], num_resamples=300)
  np.testing.assert_allclose(means[:, 2], means[:, 1] - means[:, 0], atol=1e-12)


def test_a_paired_difference_is_that_of_the_differences():
  rng = np.random.default_rng(0)
  hardness = rng.uniform(size=50)
  first, second = hardness + 0.1, hardness + rng.normal(0, 0.01, 50)
  first[3] = second[7] = np.nan
  estimate = statistics.paired_difference(first, second)
  kept = np.delete(first - second, [3, 7])
  assert estimate == statistics.mean(kept)
  assert estimate.n == 48
  # Instances vary by 0.3, the difference by 0.01: only pairing makes the interval this narrow.
  assert estimate.high - estimate.low < 0.01
  swapped = statistics.paired_difference(second, first)
  assert swapped.value == -estimate.value
  for compare in (statistics.paired_difference, statistics.permutation_test):
    with pytest.raises(ValueError, match=r'found shapes \(3,\) and \(2,\)'):
      compare(np.zeros(3), np.zeros(2))


def test_a_permutation_test_of_few_pairs_is_exact():
  # Of 2**5 exchanges only two leave all five differences with one sign.
  assert statistics.permutation_test(np.arange(5) + 1.0, np.zeros(5)) == 2 / 32
  # Sums of +-1 +-2: |3| twice of four.
  assert statistics.permutation_test(np.array([1.0, 2.0]), np.zeros(2)) == 0.5
  assert statistics.permutation_test(np.array([1.0, -1.0]), np.zeros(2)) == 1.0
  assert statistics.permutation_test(np.full(4, 0.3), np.full(4, 0.3)) == 1.0
  assert statistics.permutation_test(np.array([np.nan]), np.zeros(1)) is None


def test_a_permutation_test_equals_scipy():
  import scipy.stats

  rng = np.random.default_rng(1)
  for n in (8, 40):
    first, second = rng.normal(0.3, 1, n), rng.normal(0, 1, n)
    expected = scipy.stats.permutation_test(
      (first, second), lambda a, b, axis: np.mean(a - b, axis=axis), vectorized=True,
      permutation_type='samples', n_resamples=20000, rng=np.random.default_rng(2),
    ).pvalue  # fmt: skip
    found = statistics.permutation_test(first, second)
    assert found == pytest.approx(expected, abs=1e-12 if n == 8 else 0.015)
    assert found == statistics.permutation_test(first, second)
    assert found == statistics.permutation_test(second, first)


def test_a_permutation_test_is_calibrated():
  rng = np.random.default_rng(3)
  values = [statistics.permutation_test(*rng.normal(size=(2, 9))) for _ in range(400)]
  # P(p <= alpha) <= alpha where nothing differs; the margin is three standard deviations.
  for alpha in (0.05, 0.2, 0.5):
    assert abs(np.mean(np.array(values) <= alpha) - alpha) < 3 * np.sqrt(alpha * (1 - alpha) / 400)


def test_kendall_tau_of_known_orders():
  scores = np.array([3.0, 1.0, 2.0, 9.0])
  assert statistics.kendall_tau(scores, 2 * scores + 1) == 1.0
  assert statistics.kendall_tau(scores, -scores) == -1.0
  # One of six pairs is turned round.
  turned = statistics.kendall_tau(np.arange(4), np.array([0, 2, 1, 3]))
  assert turned == pytest.approx(4 / 6)
  assert statistics.kendall_tau(np.array([1.0]), np.array([1.0])) is None
  assert statistics.kendall_tau(np.ones(3), np.arange(3)) is None
  with pytest.raises(ValueError, match='equal lengths'):
    statistics.kendall_tau(np.ones(3), np.ones(2))


@hypothesis.given(
  st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=12)
)
def test_kendall_tau_with_ties_equals_scipy(pairs):
  import scipy.stats

  first, second = np.array(pairs, np.float64).T
  expected = scipy.stats.kendalltau(first, second).statistic
  found = statistics.kendall_tau(first, second)
  assert (found is None) == bool(np.isnan(expected))
  if found is not None:
    assert found == pytest.approx(expected, abs=1e-12)


def test_spearman_of_orders_by_hand():
  rising = np.array([0.1, 0.2, 0.3, 0.4])
  assert statistics.spearman(rising, np.exp(9 * rising)) == 1
  assert statistics.spearman(rising, -(rising**3)) == -1
  # One exchange of neighbours: 1 - 6 * (1 + 1) / (4 * 15).
  assert statistics.spearman(rising, np.array([1, 3, 2, 4])) == pytest.approx(0.8)
  assert statistics.spearman(rising, np.ones(4)) is None
  assert statistics.spearman(rising[:1], rising[:1]) is None
  with pytest.raises(ValueError, match='equal lengths'):
    statistics.spearman(rising, rising[:2])


@hypothesis.given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=9))
def test_spearman_equals_scipy_with_ties(pairs):
  import scipy.stats

  first, second = np.array(pairs, float).T
  found = statistics.spearman(first, second)
  if np.ptp(first) == 0 or np.ptp(second) == 0:
    assert found is None
  else:
    assert found == pytest.approx(scipy.stats.spearmanr(first, second).statistic, abs=1e-12)
