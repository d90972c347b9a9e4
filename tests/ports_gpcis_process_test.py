"""The Gaussian process over clicks: the formula in float64, gradients, slots that are empty."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ports.gpcis import process

COLOUR = 0.7


def prior_of(rng):
  return process.Prior(
    rng.standard_normal((8, 20), np.float32), rng.standard_normal(20, np.float32),
    rng.standard_normal(20, np.float32), rng.standard_normal(5, np.float32) / 3,
    np.float32(COLOUR),
  )


def covariance(prior, a, b):
  gaps = a[:, None].astype(np.float64) - b[None]
  near = np.exp(-0.5 * (np.exp(prior.log_scale) * gaps[..., :-3] ** 2).sum(-1))
  return near + COLOUR * np.exp(-0.5 * (gaps[..., -3:] ** 2).sum(-1))


def draw(prior, x):
  return np.sqrt(2 / 20) * np.sin(x.astype(np.float64) @ prior.phase + prior.shift) @ prior.omega


def scene():
  """(prior, features, clicked, wanted, counts): three clicks in five slots."""
  rng = np.random.default_rng(0)
  features = rng.standard_normal((21, 7, 8), np.float32)
  clicked = np.concatenate([features[[3, 9, 20], [2, 5, 0]], 9 * np.ones((2, 8), np.float32)])
  wanted = np.array([1.5, -0.4, 2.0, 50.0, 60.0], np.float32)
  return prior_of(rng), features, clicked, wanted, np.array([True, True, True, False, False])


def test_it_takes_the_wanted_values_at_the_clicks_and_follows_the_formula():
  prior, features, clicked, wanted, counts = scene()
  found = np.asarray(jax.jit(process.logits)(prior, features, clicked, wanted, counts))
  flat, some = features.reshape(-1, 8), clicked[:3]
  v = np.linalg.solve(
    covariance(prior, some, some) + 1e-7 * np.eye(3), wanted[:3] - draw(prior, some)
  )
  expected = draw(prior, flat) + covariance(prior, flat, some) @ v
  np.testing.assert_allclose(found.reshape(-1), expected, atol=1e-5)
  np.testing.assert_allclose(found[[3, 9, 20], [2, 5, 0]], wanted[:3], atol=1e-5)


@pytest.mark.slow
def test_a_batch_and_other_empty_slots_give_the_same():
  prior, features, clicked, wanted, counts = scene()
  alone = jax.jit(process.logits)(prior, features, clicked[:3], wanted[:3], counts[:3])
  order = [4, 2, 0, 3, 1]
  both = jax.jit(jax.vmap(lambda c, w, n: process.logits(prior, features, c, w, n)))(
    *(np.stack([x, x[order]]) for x in (clicked, wanted, counts))
  )
  np.testing.assert_allclose(both[0], alone, atol=1e-5)
  np.testing.assert_allclose(both[1], alone, atol=1e-5)


@pytest.mark.slow
def test_without_clicks_it_is_the_prior():
  prior, features, clicked, wanted, _ = scene()
  found = jax.jit(process.logits)(prior, features, clicked, wanted, np.zeros(5, bool))
  np.testing.assert_allclose(found.reshape(-1), draw(prior, features.reshape(-1, 8)), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('signs', [(1, 1), (1, -1)])
def test_two_clicks_on_one_pixel_have_a_finite_answer_and_slope(signs):
  matrix = np.full((3, 3), 2.0, np.float32)  # 1e-7 is lost beside 2
  matrix[2] = matrix[:, 2] = (0, 0, 1)
  counts = np.array([True, True, False])
  right = np.array([*signs, 9], np.float32)
  run = lambda matrix, right: process.solve(matrix, right, counts)
  found = np.asarray(jax.jit(run)(matrix, right))
  assert np.isfinite(found).all() and found[2] == 0
  if signs == (1, 1):
    np.testing.assert_allclose(found[:2], 0.25, atol=1e-3)
  slopes = jax.jit(jax.grad(lambda m, r: jnp.sum(run(m, r) ** 2), (0, 1)))(matrix, right)
  assert all(np.isfinite(slope).all() for slope in slopes)


def test_features_between_pixels_are_mixed_or_those_of_the_pixel():
  features = np.random.default_rng(0).standard_normal((4, 5, 2), np.float32)
  yx = np.array([[1.25, 2.5], [3, 4], [2.9, 4.4], [-0.5, 2], [4, 0], [1, 1]], np.float32)
  label = np.array([1, 0, 1, 1, 1, -1], np.int32)
  exact, counts = process.pick(jnp.asarray(features), yx, label, between=False)
  assert counts.tolist() == [True, True, True, False, False, False]
  np.testing.assert_array_equal(exact[:3], features[[1, 3, 2], [2, 4, 4]])
  mixed, _ = process.pick(jnp.asarray(features), yx, label, between=True)
  wanted = (features[1, 2] + features[1, 3]) * 3 / 8 + (features[2, 2] + features[2, 3]) / 8
  np.testing.assert_allclose(mixed[0], wanted, atol=1e-6)
  np.testing.assert_array_equal(mixed[1], features[3, 4])


@pytest.mark.slow
def test_the_gradient_by_a_clicks_place_is_what_the_logits_gain():
  prior, features, *_ = scene()
  weight = np.random.default_rng(5).standard_normal((21, 7), np.float32)
  label = np.array([1, 0, -1], np.int32)

  def value(at):
    yx = jnp.stack([at, jnp.array([15.0, 3.0]), jnp.array([0.0, 0.0])])
    clicked, counts = process.pick(jnp.asarray(features), yx, label, between=True)
    wanted = jnp.array([1.0, -2.0, 0.0])
    return jnp.sum(process.logits(prior, features, clicked, wanted, counts) * weight)

  both = jax.jit(jax.value_and_grad(value))
  start, way = jnp.array([6.2, 3.3]), jnp.array([0.5, 0.4])
  parts = [(i + 0.5) / 64 for i in range(64)]
  steps = [float(both(start + part * way)[1] @ way) / 64 for part in parts]
  gain = float(both(start + way)[0] - both(start)[0])
  assert abs(gain) > 0.1 and abs(sum(steps) - gain) < 0.01 * np.abs(steps).sum()
