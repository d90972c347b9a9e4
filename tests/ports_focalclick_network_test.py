"""Parity of FocalClick's two passes with PyTorch's numbers on made-up weights."""

import focalclick_golden
import golden_weights
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import ritm_golden

from ports.focalclick import network
from tetris_jax.geometry.render import hard_disks

SIDE = 128


def disks(points, radius):
  drawn = hard_disks(ritm_golden.clicks_of_points(points[0]), SIDE, SIDE, radius)
  return np.asarray(drawn).transpose(1, 2, 0)[None]


def largest(found, wanted):
  assert np.shape(found) == np.shape(wanted)
  return np.abs(np.asarray(found) - wanted).max() / np.abs(wanted).max()


# The goldens have the features' and the logits' taps under the names of each reference class.
TAPS = {'features': ('feature', 'linear_fuse'), 'logits': ('cls_head', 'linear_pred')}


@pytest.mark.slow
@pytest.mark.parametrize('size', [
  'hrnet18s_s1', 'hrnet18s_s2', 'segformer_b0_s1', 'segformer_b0_s2', 'segformer_b3_s2',
])
def test_both_passes_and_the_gradient_of_the_maps(size):
  variant, golden = network.VARIANTS[size], focalclick_golden.load(size)
  params = focalclick_golden.params(size)
  image = golden['in/image'].transpose(0, 2, 3, 1)
  drawn = disks(golden['in/points'], variant.radius)
  packed = np.packbits(drawn[0].transpose(2, 0, 1) > 0)
  np.testing.assert_array_equal(packed, golden['clicks_packed'])
  maps = np.concatenate([golden['in/prev_mask'].transpose(0, 2, 3, 1), drawn], axis=-1)

  @jax.jit
  def run(params, maps):
    def scalar(maps):
      found = network.coarse(variant, params, image, maps)
      weight = golden_weights.grad_weight(SIDE, SIDE)
      return jnp.mean(jax.nn.sigmoid(found.logits[0]) * weight), found

    return jax.value_and_grad(scalar, has_aux=True)(maps)

  (value, found), slope = run(params, maps)
  assert abs(float(value) - golden['scalar']) < 1e-5
  assert largest(found.logits[:, ::3, ::3], golden['logits_every3'][:, 0]) < 1e-4
  features = np.asarray(found.features).transpose(0, 3, 1, 2)
  for name in TAPS['features']:
    if f'tap/{name}' in golden.files:
      strides = golden[f'tapstride/{name}']
      cut = features[tuple(slice(None, None, int(s)) for s in strides)]
      assert largest(cut, golden[f'tap/{name}']) < 1e-4
  slope = np.asarray(slope).transpose(0, 3, 1, 2)[..., ::3, ::3].ravel()
  wanted = golden['grad/coord_features_every3'].ravel()
  assert np.linalg.norm(slope - wanted) < 2e-2 * np.linalg.norm(wanted)
  assert slope @ wanted > 0.999 * np.linalg.norm(slope) * np.linalg.norm(wanted)

  box = golden['in/focus_box'].astype(np.float32)
  crop = golden['in/cropped_image'].transpose(0, 2, 3, 1)
  clicks = disks(golden['in/cropped_points'], 5.0)
  refined = jax.jit(network.refine)(params, crop, clicks, found, box[::2], box[1::2])
  for name, one in (
    ('logits', refined.logits), ('trimap', refined.trimap), ('coarse_crop', refined.before)
  ):
    assert largest(one[:, ::3, ::3], golden[f'refine/{name}_every3'][:, 0]) < 1e-4


def test_radii_and_channels_of_the_published_variants():
  found = {name: (v.radius, v.channels) for name, v in network.VARIANTS.items()}
  assert found == {
    'hrnet18s_s1': (2, 96), 'hrnet18s_s2': (5, 96), 'hrnet32_s2': (5, 256),
    'segformer_b0_s1': (3, 256), 'segformer_b0_s2': (5, 256), 'segformer_b3_s2': (5, 512),
  }


def test_bins_average_nothing_and_take_the_nearest_outside():
  # Of a line the sample in the middle of a bin is its value there, by halves from the edge.
  line = np.arange(16, dtype=np.float32)
  found = np.asarray(network._bins(8, 16, jnp.float32(4), jnp.float32(12))) @ line
  np.testing.assert_allclose(found, 4 - 0.5 + 0.5 + np.arange(8), atol=1e-6)
  beyond = np.asarray(network._bins(16, 16, jnp.float32(0), jnp.float32(4))) @ line
  np.testing.assert_allclose(beyond, np.maximum((np.arange(16) + 0.5) / 4 - 0.5, 0), atol=1e-6)
