"""Scores of IoU curves: hand-computed values, the reference's NoC, properties of the bootstrap."""

import pathlib

import hypothesis
import hypothesis.extra.numpy
import hypothesis.strategies as st
import numpy as np
import pytest

from tetris_jax.scores import metrics

GOLDEN = pathlib.Path(__file__).parent / 'golden'


def test_iou_auc_is_the_trapezoid_over_the_intervals():
  # (0.2 + 0.6) / 2 + (0.6 + 1.0) / 2 = 1.2 over two intervals.
  assert metrics.iou_auc(np.array([0.2, 0.6, 1.0])) == pytest.approx(0.6)
  assert metrics.iou_auc(np.array([0.0, 0.0, 1.0])) == pytest.approx(0.25)


def test_iou_auc_of_one_click_is_its_iou():
  np.testing.assert_array_equal(metrics.iou_auc(np.array([[0.25], [0.75]])), [0.25, 0.75])


@pytest.mark.parametrize('score', [metrics.iou_auc, lambda iou: metrics.noc(iou, 0.9)])
def test_a_curve_needs_a_click(score):
  with pytest.raises(ValueError, match='at least one click'):
    score(np.zeros((3, 0)))


@hypothesis.given(
  hypothesis.extra.numpy.arrays(
    np.float64, st.tuples(st.integers(1, 4), st.integers(2, 9)), elements=st.floats(0, 1)
  )
)
def test_iou_auc_equals_numpy_and_stays_within_the_curve(iou):
  auc = metrics.iou_auc(iou)
  np.testing.assert_allclose(auc, np.trapezoid(iou, axis=-1) / (iou.shape[-1] - 1), atol=1e-12)
  assert np.all(auc >= iou.min(-1) - 1e-12)
  assert np.all(auc <= iou.max(-1) + 1e-12)


def test_noc_is_the_first_click_that_reaches_the_quality():
  iou = np.array([[0.5, 0.9, 0.7], [0.95, 0.1, 0.1], [0.1, 0.2, 0.3], [0.1, 0.2, 0.95]])
  np.testing.assert_array_equal(metrics.noc(iou, 0.9), [2, 1, 3, 3])
  # The last curve succeeds exactly at the last click and is a failure all the same.
  assert metrics.nof(iou, 0.9) == 2


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_nine_tenths_reach_090_in_either_precision(dtype):
  assert metrics.noc(np.array([0.1, 9 / 10, 1.0], dtype), 0.9) == 2


def test_noc_equals_the_reference():
  # Its thresholds are np.float64, so that the golden's curve of float32(0.9) misses 0.9.
  golden = np.load(GOLDEN / 'ritm_noc.npz')
  for quality, noc, over_max in zip(
    golden['quality'], golden['noc'], golden['over_max'], strict=True
  ):
    assert metrics.noc(golden['iou'], quality).mean() == pytest.approx(noc, abs=1e-12)
    assert metrics.nof(golden['iou'], quality) == over_max


def test_a_curve_with_a_nan_has_no_score():
  iou = np.array([[0.2, np.nan], [0.2, 0.4]])
  np.testing.assert_allclose(metrics.iou_auc(iou), [np.nan, 0.3])
  np.testing.assert_array_equal(metrics.noc(iou, 0.9), [np.nan, 2])
  assert metrics.nof(iou, 0.9) == 1
  np.testing.assert_allclose(metrics.robustness(iou, np.ones((2, 2))), [np.nan, 0.7])


def test_robustness_is_max_minus_min():
  low, high = np.array([[0.1, 0.3]]), np.array([[0.7, 0.9]])
  np.testing.assert_allclose(metrics.robustness(low, high), [0.6])


def test_mean_leaves_out_nan_and_says_so():
  estimate = metrics.mean(np.array([1.0, np.nan, 3.0]))
  assert estimate.value == 2.0
  assert estimate.n == 2


def test_mean_of_nothing_and_of_one():
  assert metrics.mean(np.array([])) == metrics.Estimate(None, None, None, 0)
  assert metrics.mean(np.array([np.nan])) == metrics.Estimate(None, None, None, 0)
  assert metrics.mean(np.array([0.5])) == metrics.Estimate(0.5, None, None, 1)


def test_mean_wants_one_number_an_instance():
  with pytest.raises(ValueError, match=r'found shape \(2, 2\)'):
    metrics.mean(np.zeros((2, 2)))


def test_means_treat_columns_as_mean_treats_one():
  values = np.random.default_rng(3).uniform(size=(6, 3))
  values[1, 2] = np.nan
  columns = metrics.means(values)
  assert [column.n for column in columns] == [6, 6, 5]
  assert columns == [metrics.mean(column) for column in values.T]
  with pytest.raises(ValueError, match=r'found shape \(6,\)'):
    metrics.means(values[:, 0])


def test_interval_of_a_constant_is_the_constant():
  estimate = metrics.mean(np.full(7, 0.25))
  assert estimate == metrics.Estimate(0.25, 0.25, 0.25, 7)


def test_interval_matches_the_exact_bootstrap_of_two_values():
  # The mean of two draws from {0, 1} is 0, 1/2, 1 with probability 1/4, 1/2, 1/4.
  means = metrics.bootstrap_means(np.array([[0.0], [1.0]]), num_resamples=20000)[:, 0]
  shares = [np.mean(means == value) for value in (0.0, 0.5, 1.0)]
  np.testing.assert_allclose(shares, [0.25, 0.5, 0.25], atol=0.015)
  assert metrics.mean(np.array([0.0, 1.0]))[1:3] == (0.0, 1.0)


def test_interval_matches_the_normal_theory():
  values = np.random.default_rng(1).normal(size=400)
  estimate = metrics.mean(values, num_resamples=4000)
  half_width = 1.96 * values.std() / np.sqrt(400)
  assert estimate.low == pytest.approx(values.mean() - half_width, abs=0.1 * half_width)
  assert estimate.high == pytest.approx(values.mean() + half_width, abs=0.1 * half_width)


@hypothesis.given(
  hypothesis.extra.numpy.arrays(np.float64, st.integers(2, 12), elements=st.floats(0, 1)),
  st.integers(0, 5),
)
@hypothesis.settings(deadline=None, max_examples=30)
def test_interval_is_reproducible_and_holds_the_mean(values, seed):
  estimate = metrics.mean(values, num_resamples=400, seed=seed)
  assert estimate == metrics.mean(values, num_resamples=400, seed=seed)
  assert values.min() - 1e-12 <= estimate.low <= estimate.high <= values.max() + 1e-12


def test_columns_are_resampled_alike():
  values = np.random.default_rng(0).uniform(size=(9, 2))
  means = metrics.bootstrap_means(np.c_[values, values[:, 1] - values[:, 0]], num_resamples=300)
  np.testing.assert_allclose(means[:, 2], means[:, 1] - means[:, 0], atol=1e-12)


def test_a_paired_difference_is_that_of_the_differences():
  rng = np.random.default_rng(0)
  hardness = rng.uniform(size=50)
  first, second = hardness + 0.1, hardness + rng.normal(0, 0.01, 50)
  first[3] = second[7] = np.nan
  estimate = metrics.paired_difference(first, second)
  kept = np.delete(first - second, [3, 7])
  assert estimate == metrics.mean(kept)
  assert estimate.n == 48
  # Instances vary by 0.3, the difference by 0.01: only pairing makes the interval this narrow.
  assert estimate.high - estimate.low < 0.01
  swapped = metrics.paired_difference(second, first)
  assert swapped.value == -estimate.value
  for compare in (metrics.paired_difference, metrics.permutation_test):
    with pytest.raises(ValueError, match=r'found shapes \(3,\) and \(2,\)'):
      compare(np.zeros(3), np.zeros(2))


def test_a_permutation_test_of_few_pairs_is_exact():
  # Of 2**5 exchanges only two leave all five differences with one sign.
  assert metrics.permutation_test(np.arange(5) + 1.0, np.zeros(5)) == 2 / 32
  # Sums of +-1 +-2: |3| twice of four.
  assert metrics.permutation_test(np.array([1.0, 2.0]), np.zeros(2)) == 0.5
  assert metrics.permutation_test(np.array([1.0, -1.0]), np.zeros(2)) == 1.0
  assert metrics.permutation_test(np.full(4, 0.3), np.full(4, 0.3)) == 1.0
  assert metrics.permutation_test(np.array([np.nan]), np.zeros(1)) is None


def test_a_permutation_test_equals_scipy():
  import scipy.stats

  rng = np.random.default_rng(1)
  for n in (8, 40):
    first, second = rng.normal(0.3, 1, n), rng.normal(0, 1, n)
    expected = scipy.stats.permutation_test(
      (first, second), lambda a, b, axis: np.mean(a - b, axis=axis), vectorized=True,
      permutation_type='samples', n_resamples=20000, rng=np.random.default_rng(2),
    ).pvalue  # fmt: skip
    found = metrics.permutation_test(first, second)
    assert found == pytest.approx(expected, abs=1e-12 if n == 8 else 0.015)
    assert found == metrics.permutation_test(first, second)
    assert found == metrics.permutation_test(second, first)


def test_a_permutation_test_is_calibrated():
  rng = np.random.default_rng(3)
  values = [metrics.permutation_test(*rng.normal(size=(2, 9))) for _ in range(400)]
  # P(p <= alpha) <= alpha where nothing differs; the margin is three standard deviations.
  for alpha in (0.05, 0.2, 0.5):
    assert abs(np.mean(np.array(values) <= alpha) - alpha) < 3 * np.sqrt(alpha * (1 - alpha) / 400)


def test_kendall_tau_of_known_orders():
  scores = np.array([3.0, 1.0, 2.0, 9.0])
  assert metrics.kendall_tau(scores, 2 * scores + 1) == 1.0
  assert metrics.kendall_tau(scores, -scores) == -1.0
  # One of six pairs is turned round.
  turned = metrics.kendall_tau(np.arange(4), np.array([0, 2, 1, 3]))
  assert turned == pytest.approx(4 / 6)
  assert metrics.kendall_tau(np.array([1.0]), np.array([1.0])) is None
  assert metrics.kendall_tau(np.ones(3), np.arange(3)) is None
  with pytest.raises(ValueError, match='equal lengths'):
    metrics.kendall_tau(np.ones(3), np.ones(2))


@hypothesis.given(
  st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=12)
)
def test_kendall_tau_with_ties_equals_scipy(pairs):
  import scipy.stats

  first, second = np.array(pairs, np.float64).T
  expected = scipy.stats.kendalltau(first, second).statistic
  found = metrics.kendall_tau(first, second)
  assert (found is None) == bool(np.isnan(expected))
  if found is not None:
    assert found == pytest.approx(expected, abs=1e-12)


def test_spearman_of_orders_by_hand():
  rising = np.array([0.1, 0.2, 0.3, 0.4])
  assert metrics.spearman(rising, np.exp(9 * rising)) == 1
  assert metrics.spearman(rising, -(rising**3)) == -1
  # One exchange of neighbours: 1 - 6 * (1 + 1) / (4 * 15).
  assert metrics.spearman(rising, np.array([1, 3, 2, 4])) == pytest.approx(0.8)
  assert metrics.spearman(rising, np.ones(4)) is None
  assert metrics.spearman(rising[:1], rising[:1]) is None
  with pytest.raises(ValueError, match='equal lengths'):
    metrics.spearman(rising, rising[:2])


@hypothesis.given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=9))
def test_spearman_equals_scipy_with_ties(pairs):
  import scipy.stats

  first, second = np.array(pairs, float).T
  found = metrics.spearman(first, second)
  if np.ptp(first) == 0 or np.ptp(second) == 0:
    assert found is None
  else:
    assert found == pytest.approx(scipy.stats.spearmanr(first, second).statistic, abs=1e-12)


def test_nsr_is_std_over_mean_of_the_users_themselves():
  # Mean 0.5, deviations 0.3 and -0.3.
  np.testing.assert_allclose(metrics.nsr(np.array([[0.2, 0.8], [0.4, 0.4]])), [0.6, 0], atol=1e-8)
  assert metrics.nsr(np.zeros(3)) == 0
  with pytest.raises(ValueError, match='at least one user'):
    metrics.nsr(np.zeros((2, 0)))


def test_group_scores_are_means_of_ratios():
  # Instance 1: groups 4, 2 beside base 2; instance 2: groups 6, 6 beside base 3.
  found = metrics.group_scores(np.array([[4, 6], [2, 6]]), np.array([2, 3]))
  assert found.mean.value == pytest.approx((3 + 6) / 2)
  assert found.std.value == pytest.approx((1 + 0) / 2)
  assert found.delta_base.value == pytest.approx((0.5 + 1) / 2)
  assert found.delta_groups.value == pytest.approx((1 + 0) / 2)
  gap = metrics.group_scores(np.array([[4, np.nan], [2, 6]]), np.array([2, 3]))
  assert gap.mean == metrics.Estimate(3.0, None, None, 1)
  with pytest.raises(ValueError, match='groups, instances'):
    metrics.group_scores(np.zeros((2, 3)), np.zeros(2))
