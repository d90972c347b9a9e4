"""Parity of CDNet's network with PyTorch's numbers on made-up weights."""

import deeplab_golden
import golden_weights
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import ritm_golden

from ports.cdnet import network, weights
from ports.nn.deeplab import stretch
from tetris_jax.geometry.render import hard_disks

CONFIG = network.CONFIGS['resnet34']
TOY = network.Config(deeplab_golden.TOY, 16)


@pytest.fixture(scope='module')
def golden():
  return np.load(deeplab_golden.FOLDER / 'cdnet_resnet34_96x128.npz')


def maps_of(golden, radius):
  """(1, height, width, 2), positive and negative disks."""
  clicks = ritm_golden.clicks_of_points(golden['in/points'][0])
  height, width = golden['in/image'].shape[2:]
  return np.asarray(hard_disks(clicks, height, width, radius)).transpose(1, 2, 0)[None]


@pytest.mark.slow
def test_the_network_equals_the_golden(golden):
  params = weights.tree(deeplab_golden.state('cdnet_resnet34'), CONFIG)
  image = golden['in/image'].transpose(0, 2, 3, 1)
  height, width = image.shape[1:3]

  @jax.jit
  def run(maps, params, image, wide):
    def scalar(maps):
      out = network.apply(CONFIG, params, image, maps, wide, with_taps=True)
      logits = stretch(out.logits[..., None], height, width)
      weight = golden_weights.grad_weight(height, width)
      return jnp.mean(jax.nn.sigmoid(logits[0, ..., 0]) * weight), (logits, out)

    return jax.value_and_grad(scalar, has_aux=True)(maps)

  maps, wide = maps_of(golden, 5.0), maps_of(golden, 24.0)
  (value, (logits, out)), slope = run(maps, params, image, wide)
  assert abs(float(value) - golden['scalar']) < 1e-6
  # measured: 3.3e-6 of the largest value, inner tensors at most 5.5e-6
  assert deeplab_golden.largest(logits[..., 0], golden['logits'][0]) < 2e-5
  deeplab_golden.check_taps(golden, out.taps, 2e-5)
  gate = stretch(out.gate[..., None], height, width)[..., 0]
  assert deeplab_golden.largest(gate, golden['fdm_instances'][0]) < 2e-5
  latent = np.asarray(stretch(out.latent, height, width)).transpose(0, 3, 1, 2)
  assert deeplab_golden.largest(latent[..., ::2, ::2], golden['latent_every2']) < 2e-5
  slope = np.asarray(slope).transpose(0, 3, 1, 2)
  deeplab_golden.check_gradient(slope, golden['grad/coord_features'])


def test_maps_of_clicks_equal_the_goldens(golden):
  maps = maps_of(golden, 5.0).transpose(0, 3, 1, 2)
  np.testing.assert_array_equal(maps, golden['coord_features'])
  height, width = golden['fdm_clicks'].shape[2:]
  wide = np.asarray(stretch(jnp.asarray(maps_of(golden, 24.0)), height, width))
  np.testing.assert_allclose(wide.transpose(0, 3, 1, 2), golden['fdm_clicks'], atol=1e-6)


@pytest.mark.slow
def test_features_diffuse_from_clicks_and_from_where_the_gate_is_sure():
  """Against the formula, pixel by pixel, in NumPy."""
  width = 3
  module = network.trees.define(lambda rngs: network.Diffusion(width, rngs))
  params = deeplab_golden.toy_params(dict(module.shapes))
  params['gate/last/kernel'] = 9 * params['gate/last/kernel']
  rng = np.random.default_rng(1)
  x = rng.standard_normal((1, 4, 5, width), np.float32)
  clicks = rng.random((1, 4, 5, 2), np.float32)
  found, gate = jax.jit(lambda *a: network.trees.bind(module, params)(*a))(x, clicks)
  gate = np.asarray(gate)
  assert (gate > 0.8).any() and (gate < 0.2).any() and ((gate > 0.2) & (gate < 0.8)).any()
  t, p, g = (x.reshape(20, width) @ params[f'{name}/kernel'] for name in 'tpg')
  wanted = x.reshape(20, width).copy()
  for i, name, share in ((0, 'z', gate.reshape(-1)), (1, 'z2', 1 - gate.reshape(-1))):
    for pixel in range(20):
      scores = np.array([
        t[pixel] @ p[other] * (clicks.reshape(20, 2)[other, i] + (share[other] > 0.8))
        for other in range(20)
      ])
      attention = np.exp(scores - scores.max())
      mean = attention / attention.sum() @ g
      wanted[pixel] += share[pixel] * mean @ params[f'{name}/kernel'] + params[f'{name}/bias']
  np.testing.assert_allclose(found.reshape(20, width), wanted, atol=1e-5)


@pytest.mark.slow
def test_a_batch_gives_what_its_pictures_give_and_sizes_round_up():
  params = deeplab_golden.toy_params(network.shapes(TOY))
  rng = np.random.default_rng(0)
  image = rng.random((2, 33, 50, 3), np.float32)
  maps, wide = (rng.random((2, 33, 50, 2), np.float32) for _ in range(2))
  run = jax.jit(lambda *a: network.apply(TOY, *a).logits)
  both = run(params, image, maps, wide)
  assert both.shape == (2, 9, 13)
  for i in range(2):
    one = run(params, image[i : i + 1], maps[i : i + 1], wide[i : i + 1])
    assert deeplab_golden.largest(one[0], np.asarray(both[i])) < 1e-5
