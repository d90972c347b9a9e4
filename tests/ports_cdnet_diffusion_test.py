"""CDNet's pixel diffusion: PyTorch's numbers, and the formula pixel by pixel."""

import deeplab_golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import ritm_golden

from ports.cdnet import diffusion
from tetris_jax.geometry.render import hard_disks


@pytest.mark.slow
def test_it_equals_the_golden():
  golden = np.load(deeplab_golden.FOLDER / 'cdnet_resnet34_96x128.npz')
  image, logits = golden['in/image'][0].transpose(1, 2, 0), golden['logits'][0, 0]
  clicks = ritm_golden.clicks_of_points(golden['in/points'][0])
  maps = np.asarray(hard_disks(clicks, *logits.shape, 5.0)).transpose(1, 2, 0)
  found = jax.jit(diffusion.diffuse)(image, logits, maps)
  assert deeplab_golden.largest(found, golden['pixel_diffusion'][0, 0]) < 1e-5


def by_hand(image, logits, maps):
  """As in the docstring, in float64."""
  height, width = logits.shape
  clamp = lambda y, x: (min(max(y, 0), height - 1), min(max(x, 0), width - 1))
  mask = 2 / (1 + np.exp(-logits.astype(np.float64))) - 1
  x = np.where(np.abs(mask) > 0.25, mask, 0) + 10 * maps[..., 0] - 10 * maps[..., 1]
  weights = {}
  for at in np.ndindex(height, width):
    near = [
      clamp(at[0] + reach * i, at[1] + reach * j)
      for reach in (1, 2, 4, 8)
      for i in (-1, 0, 1)
      for j in (-1, 0, 1)
    ]
    deviation = np.std([image[n] for n in near], axis=0, ddof=1)
    near = [n for k, n in enumerate(near) if k % 9 != 4]
    apart = np.array([np.mean(np.abs(image[n] - image[at]) / (0.1 * deviation)) for n in near])
    alike = np.exp(-apart)
    weights[at] = near, alike / alike.sum()
  for _ in range(5):
    x = np.array([
      sum(w * x[n] for n, w in zip(*weights[at], strict=True)) for at in np.ndindex(height, width)
    ]).reshape(height, width)
  return x + mask


@pytest.mark.slow
def test_it_is_the_formula_with_the_border_repeated():
  rng = np.random.default_rng(0)
  image = rng.random((7, 9, 3), np.float32)
  logits, maps = 2 * rng.standard_normal((7, 9), np.float32), rng.random((7, 9, 2), np.float32)
  found = jax.jit(diffusion.diffuse)(image, logits, maps)
  np.testing.assert_allclose(found, by_hand(image, logits, maps), atol=1e-4)


@pytest.mark.slow
def test_a_click_draws_what_has_its_colour_and_pulls_through_its_map():
  image = np.zeros((16, 24, 3), np.float32)
  image[:, 12:] = 1
  image += np.random.default_rng(0).random(image.shape, np.float32) / 50
  maps = np.zeros((16, 24, 2), np.float32)
  maps[7:9, 5:7, 0] = 1

  def inside(maps):
    out = diffusion.diffuse(jnp.asarray(image), jnp.zeros((16, 24)), maps)
    return jnp.sum(out[:, :12]) - jnp.sum(out[:, 12:]), out

  (_, out), slope = jax.jit(jax.value_and_grad(inside, has_aux=True))(maps)
  assert float(out[:, :11].sum()) > 20 * float(jnp.abs(out[:, 13:]).sum())
  assert float(slope[8, 5, 0]) > 0 and float(slope[8, 5, 1]) == -float(slope[8, 5, 0])
