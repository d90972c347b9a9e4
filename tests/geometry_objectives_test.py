"""Dice and soft IoU against closed forms; what lies outside of the image does not count."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tetris_jax.geometry.objectives import dice_loss, soft_iou_loss

LOSSES = [dice_loss, soft_iou_loss]


def random_case(seed=0, shape=(9, 12)):
  rng = np.random.default_rng(seed)
  return (
    rng.normal(0, 4, shape).astype(np.float32),
    rng.uniform(size=shape) < 0.4,
    rng.uniform(size=shape) < 0.8,
  )


def test_values_equal_the_formulas_in_float64():
  logits, mask, inside = random_case()
  p, g = 1 / (1 + np.exp(-logits[inside].astype(float))), mask[inside].astype(float)
  dice = 1 - 2 * (p * g).sum() / (p.sum() + g.sum() + 1e-7)
  soft = 1 - (p * g).sum() / (p.sum() + g.sum() - (p * g).sum() + 1e-7)
  np.testing.assert_allclose(dice_loss(logits, mask, inside), dice, rtol=1e-6)
  np.testing.assert_allclose(soft_iou_loss(logits, mask, inside), soft, rtol=1e-6)


@pytest.mark.parametrize('loss', LOSSES)
def test_extremes(loss):
  _, mask, inside = random_case()
  right = np.where(mask, 100.0, -100.0).astype(np.float32)
  assert abs(loss(right, mask, inside)) < 1e-6
  assert abs(loss(-right, mask, inside) - 1) < 1e-6
  nothing = np.zeros_like(mask)
  assert np.isfinite(loss(right, nothing, nothing))


@pytest.mark.parametrize('loss', LOSSES)
def test_gradient(loss):
  logits, mask, inside = random_case()
  gradient = jax.grad(loss)(logits, mask, inside)
  np.testing.assert_array_equal(gradient[~inside], 0)
  assert (np.asarray(gradient)[inside & mask] < 0).all()
  assert (np.asarray(gradient)[inside & ~mask] > 0).all()
  direction = np.random.default_rng(1).normal(size=logits.shape).astype(np.float32)
  p = lambda t: 1 / (1 + np.exp(-(logits + t * direction)[inside].astype(float)))
  g = mask[inside].astype(float)

  def formula(t):
    both, total = (p(t) * g).sum(), p(t).sum() + g.sum()
    return 1 - (2 * both / total if loss is dice_loss else both / (total - both))

  slope = (formula(1e-3) - formula(-1e-3)) / 2e-3
  np.testing.assert_allclose((gradient * direction).sum(), slope, rtol=1e-3)


@pytest.mark.parametrize('loss', LOSSES)
def test_extreme_logits_have_finite_gradients(loss):
  _, mask, inside = random_case()
  for logits in (np.full(mask.shape, 1e4, np.float32), np.full(mask.shape, -1e4, np.float32)):
    assert np.isfinite(jax.grad(loss)(logits, mask, inside)).all()


@pytest.mark.parametrize('loss', LOSSES)
def test_what_lies_outside_of_the_image_does_not_count(loss):
  logits, mask, _ = random_case()
  inside = np.ones_like(mask)
  padding = ((0, 3), (0, 5))
  padded = (
    np.pad(logits, padding, constant_values=3e38),
    np.pad(mask, padding, constant_values=True),
    np.pad(inside, padding),
  )
  np.testing.assert_allclose(loss(*padded), loss(logits, mask, inside), rtol=1e-6)
  found = jax.grad(loss)(*padded)
  np.testing.assert_allclose(found[:9, :12], jax.grad(loss)(logits, mask, inside), rtol=1e-5)
  np.testing.assert_array_equal(found[9:], 0)


@pytest.mark.parametrize('loss', LOSSES)
def test_leading_dimensions(loss):
  cases = [random_case(seed) for seed in range(3)]
  stacked = [jnp.stack(part) for part in zip(*cases, strict=True)]
  values = loss(*stacked)
  for i, case in enumerate(cases):
    np.testing.assert_allclose(values[i], loss(*case), rtol=1e-6)
