"""Each warning, on trajectories that deserve it and on ones that do not."""

import attack_test
import jax
import jax.numpy as jnp
import numpy as np

from tetris_jax import checks, types


def trajectories(iou):
  iou = np.asarray(iou, np.float32)[None, :, None]
  clicks = types.Clicks(np.zeros((1, 3, 1, 2), np.float32), np.ones((1, 3, 1), np.int32))
  count = np.ones(1, np.int32)
  return types.Trajectories(clicks, iou, iou, None, count, count)


def test_a_sound_evaluation_gives_no_warning():
  assert checks.warnings(trajectories([0.5, 0.2, 0.9]), np.float32([0.1])) == []


def test_each_fault_is_named():
  for iou, gradient, words in (
    ([np.nan, 0.2, 0.9], 1.0, 'BASE has no IoU after click 1'),
    ([0.5, 0.6, 0.9], 1.0, 'out of order'),
    ([0.5, 0.2, 0.4], 1.0, 'out of order'),
    ([0.5, 0.5, 0.5], 1.0, 'one point'),
    ([0.5, 0.2, 0.9], 0.0, 'is zero'),
    ([0.5, 0.2, 0.9], np.nan, 'not finite'),
  ):
    said = checks.warnings(trajectories(iou), np.float32([gradient]), ['this one'])
    assert len(said) == 1 and said[0].startswith('this one: ') and words in said[0]


def test_gradient_norms_are_those_of_the_loss():
  model, batch = attack_test.wall(14.0), attack_test.batch_of((34, 40), 2)
  norms = jax.jit(lambda b: checks.gradient_norms(model, b))(batch)

  def loss(x):
    at = np.arange(32)[None]
    probability = 1 / (1 + np.exp(-(14 + x - at) / 3)) * np.ones((24, 1))
    rows_off = 8 * 32 / (1 + np.exp(10.0))
    object_ = at < attack_test.WIDTH
    overlap = (probability * object_).sum()
    return 1 - 2 * overlap / (probability.sum() + rows_off + 24 * attack_test.WIDTH)

  x = float(attack_test.run(model, attack_test.batch_of(), preset='baseline').clicks.yx[0, 0, 0, 1])
  expected = abs(loss(x + 1e-4) - loss(x - 1e-4)) / 2e-4
  np.testing.assert_allclose(norms, expected, rtol=1e-3)
  still = model._replace(decode=lambda p, c, k: (jnp.where(c[0], 1.0, -1.0), c[1]))
  assert jnp.all(checks.gradient_norms(still, batch) == 0)


def test_hidden_range_repeats_the_last_step_at_each_end():
  tried = np.array([[0.5, 0.3, 0.4, 0.8, np.nan], [0.05, 0.9, 0.99, 0.5, 0.4]])
  np.testing.assert_allclose(checks.hidden_range(tried), [0.1 + 0.2, 0.05 + 0.01])
  beyond = checks.hidden_range(tried, np.array([0.6, 1.0]))
  np.testing.assert_allclose(beyond, [0.5 + 0.3 - 0.6, 0.94 + 0.06 - 1], atol=1e-12)
  assert np.isnan(checks.hidden_range(np.array([0.5, np.nan])))
  assert np.isnan(checks.hidden_range(np.array([0.5])))


def test_hidden_range_is_nearly_unbiased_for_independent_draws():
  rng = np.random.default_rng(0)
  draws = rng.uniform(0.2, 0.7, (4000, 20))
  missing = 0.5 - np.ptp(draws, axis=1)
  np.testing.assert_allclose(checks.hidden_range(draws).mean(), missing.mean(), rtol=0.05)
