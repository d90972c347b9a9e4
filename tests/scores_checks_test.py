"""Each warning, on trajectories that deserve it and on ones that do not."""

import dataclasses

import attack_test
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tetris_jax import types
from tetris_jax.scores import checks


def trajectories(iou, gradient=None, outlook=None):
  iou = np.asarray(iou, np.float32)[None, :, None]
  clicks = types.Clicks(np.zeros((1, 3, 1, 2), np.float32), np.ones((1, 3, 1), np.int32))
  count = np.ones(1, np.int32)
  gradient = None if gradient is None else np.float32([gradient])
  return types.Trajectories(
    clicks, iou, iou, None, count, count, types.Byproducts(None, outlook, gradient)
  )


def test_a_sound_evaluation_gives_no_warning():
  assert checks.warnings(trajectories([0.5, 0.2, 0.9], [0.1, 0.0]), 0) == []


def test_each_fault_is_named():
  for iou, gradient, words in (
    ([np.nan, 0.2, 0.9], None, 'BASE has no IoU after click 1'),
    ([0.5, 0.6, 0.9], None, 'out of order'),
    ([0.5, 0.2, 0.4], None, 'out of order'),
    ([0.5, 0.5, 0.5], None, 'one point'),
    ([0.5, 0.2, 0.9], [0.0, 0.0], 'is zero'),
    ([0.5, 0.2, 0.9], [np.nan, 1.0], 'not finite'),
  ):
    said = checks.warnings(trajectories(iou, gradient), 0)
    assert len(said) == 1 and words in said[0]


def test_clicks_outside_of_the_picture_are_counted_by_mode():
  found = trajectories([0.5, 0.2, 0.9])
  yx = np.zeros((1, 3, 4, 2), np.float32)
  yx[0, 1, 2] = 7.6, 3
  yx[0, 2] = [[0, 0], [-0.6, 1], [3, 9.51], [-0.5, 9.5]]
  found = found._replace(clicks=found.clicks._replace(yx=yx))
  assert checks.outside(yx[0, 2], (8, 10)).tolist() == [False, True, True, False]
  assert checks.warnings(found, 0, size=(8, 10)) == [
    "1 of MIN's 4 clicks lies outside of the picture, the first is click 3",
    "2 of MAX's 4 clicks lie outside of the picture, the first is click 2",
  ]
  assert checks.warnings(found, 0, size=(9, 11)) == [
    "1 of MAX's 4 clicks lies outside of the picture, the first is click 2"
  ]
  assert checks.warnings(found, 0) == []


def test_answers_that_a_search_passed_over_are_counted():
  iou = np.float32([[0.2, np.nan, 0.9, np.nan, np.nan]])
  made = np.array([[True, True, True, True, False]])
  outlook = types.Outlook(np.zeros((1, 5, 2)), made, ~made, iou, iou, np.zeros(1))
  said = checks.warnings(trajectories([0.5, 0.2, 0.9], outlook=outlook), 0)
  assert len(said) == 1 and 'to 2 of the 4 first clicks' in said[0]


@pytest.mark.slow
def test_a_local_search_tells_the_gradient_that_it_starts_from():
  model = attack_test.wall(14.0)
  found = attack_test.run(model, attack_test.batch_of((34, 40), 2))

  def loss(x):
    at = np.arange(32)[None]
    probability = 1 / (1 + np.exp(-(14 + x - at) / 3)) * np.ones((24, 1))
    rows_off = 8 * 32 / (1 + np.exp(10.0))
    object_ = at < attack_test.WIDTH
    overlap = (probability * object_).sum()
    return 1 - 2 * overlap / (probability.sum() + rows_off + 24 * attack_test.WIDTH)

  x = float(found.clicks.yx[0, 0, 0, 1])
  expected = 1e-3 * abs(loss(x + 1e-4) - loss(x - 1e-4)) / 2e-4
  np.testing.assert_allclose(found.byproducts.gradient[0], expected, rtol=1e-3)
  still = dataclasses.replace(model, decode=lambda p, c, k: (jnp.where(c[0], 1.0, -1.0), c[1]))
  found = attack_test.run(still, attack_test.batch_of())
  assert not np.any(found.byproducts.gradient)
  said = checks.warnings(jax.device_get(found), 0)
  assert ['is one point' in said[0], 'is zero' in said[1]] == [True, True]


def test_hidden_range_repeats_the_last_step_at_each_end():
  tried = np.array([[0.5, 0.3, 0.4, 0.8, np.nan], [0.05, 0.9, 0.99, 0.5, 0.4]])
  np.testing.assert_allclose(checks.hidden_range(tried), [0.1 + 0.2, 0.05 + 0.01])
  beyond = checks.hidden_range(tried, found=np.array([0.6, 1.0]))
  np.testing.assert_allclose(beyond, [0.5 + 0.3 - 0.6, 0.94 + 0.06 - 1], atol=1e-12)
  assert np.isnan(checks.hidden_range(np.array([0.5, np.nan])))
  assert np.isnan(checks.hidden_range(np.array([0.5])))


def test_hidden_range_is_nearly_unbiased_for_independent_draws():
  rng = np.random.default_rng(0)
  draws = rng.uniform(0.2, 0.7, (4000, 20))
  missing = 0.5 - np.ptp(draws, axis=1)
  np.testing.assert_allclose(checks.hidden_range(draws).mean(), missing.mean(), rtol=0.05)
