"""Parity of GPCIS's network with PyTorch's numbers on made-up weights."""

import deeplab_golden
import golden_weights
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import ritm_golden

from ports.gpcis import network, weights
from tetris_jax.geometry.render import hard_disks

CONFIG = network.CONFIGS['resnet50']


@pytest.mark.slow
def test_the_network_equals_the_golden():
  golden = np.load(deeplab_golden.FOLDER / 'gpcis_resnet50_96x128.npz')
  params = weights.tree(deeplab_golden.state('gpcis_resnet50'), CONFIG)
  image = golden['in/image'].transpose(0, 2, 3, 1)
  height, width = image.shape[1:3]
  clicks = ritm_golden.clicks_of_points(golden['in/points'][0])
  disks = np.asarray(hard_disks(clicks, height, width, 5.0))[None]
  maps = np.concatenate([golden['in/prev_mask'], disks], axis=1)
  np.testing.assert_array_equal(maps, golden['coord_features'])

  @jax.jit
  def run(maps, params, image, clicks):
    def scalar(maps):
      out = network.apply(CONFIG, params, image, maps, clicks, with_taps=True)
      weight = golden_weights.grad_weight(height, width)
      return jnp.mean(jax.nn.sigmoid(out.logits[0]) * weight), out

    return jax.value_and_grad(scalar, has_aux=True)(maps)

  batch = jax.tree.map(lambda leaf: leaf[None], clicks)
  (value, out), slope = run(maps.transpose(0, 2, 3, 1), params, image, batch)
  assert abs(float(value) - golden['scalar']) < 1e-6
  # measured: 5.8e-6 of the largest value, inner tensors at most 2.8e-6
  assert deeplab_golden.largest(out.logits, golden['logits'][0]) < 2e-5
  deeplab_golden.check_taps(golden, out.taps, 2e-5)
  slope = np.asarray(slope).transpose(0, 3, 1, 2)
  # measured: 1.1e-3 in relative L2
  deeplab_golden.check_gradient(slope[..., ::2, ::2], golden['grad/coord_features_every2'])
