"""Scores of IoU curves: hand-computed values, and the reference's NoC."""

import pathlib

import hypothesis
import hypothesis.extra.numpy
import hypothesis.strategies as st
import numpy as np
import pytest

from tetris_jax.scores import metrics, statistics

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
  assert gap.mean == statistics.Estimate(3.0, None, None, 1)
  with pytest.raises(ValueError, match='groups, instances'):
    metrics.group_scores(np.zeros((2, 3)), np.zeros(2))


def test_what_failed_is_counted_curve_by_curve():
  iou = np.array([[[0.95, 0.1], [0.1, 0.95]], [[0.1, 0.2], [np.nan, 0.99]]])
  np.testing.assert_array_equal(metrics.failed(iou, 0.9), [[False, True], [True, False]])
  assert metrics.nof(iou[0], 0.9) == 1


def test_statistics_are_reached_from_here():
  for name in statistics.__all__:
    assert getattr(metrics, name) is getattr(statistics, name) and name in metrics.__all__
