"""Parity of RITM's networks with PyTorch's numbers on made-up weights."""

import functools

import golden_weights
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import ritm_golden

from ports.hrnet import network, weights
from ports.nn.resize import aligned, resize
from ports.ritm.segmenter import VARIANTS
from tetris_jax.geometry.render import hard_disks

LEVELS = {'maps_transform': 1, 'stage4.b3': 5}


def load(size, case):
  return np.load(ritm_golden.FOLDER / f'ritm_{ritm_golden.NAMES[size]}_{case}.npz')


def inputs(golden):
  """Image and maps, (1, height, width, channels)."""
  image = golden['in/image'].transpose(0, 2, 3, 1)
  clicks = ritm_golden.clicks_of_points(golden['in/points'][0])
  drawn = np.asarray(hard_disks(clicks, *image.shape[1:3], 5.0)).transpose(1, 2, 0)[None]
  if 'in/prev_mask' in golden.files:
    drawn = np.concatenate([golden['in/prev_mask'].transpose(0, 2, 3, 1), drawn], axis=-1)
  return image, drawn


@functools.cache
def program(variant, height, width):
  """(maps, params, image, size) -> (scalar, (logits, taps)) and the gradient of the maps."""

  def scalar(maps, params, image, size):
    out = network.apply(VARIANTS[variant], params, image, maps, size, with_taps=True)
    up = [
      aligned(n, out.logits.shape[i + 1], n, out.size[i]) for i, n in enumerate((height, width))
    ]
    logits = resize(out.logits[..., None], *up)[0, ..., 0]
    value = jnp.mean(jax.nn.sigmoid(logits) * golden_weights.grad_weight(height, width))
    return value, (logits, out.taps)

  return jax.jit(jax.value_and_grad(scalar, has_aux=True))


def largest(found, wanted):
  assert np.shape(found) == np.shape(wanted)
  return np.abs(np.asarray(found) - wanted).max() / np.abs(wanted).max()


def check(size, case, padding=None):
  golden = load(size, case)
  image, maps = inputs(golden)
  height, width = image.shape[1:3]
  given = None
  if padding is not None:
    widths = ((0, 0), (0, padding[0]), (0, padding[1]), (0, 0))
    image, maps = (np.pad(x, widths, constant_values=0.7) for x in (image, maps))
    given = jnp.array([height, width], jnp.int32)
  run = program(size, height, width)
  (value, (logits, taps)), slope = run(maps, ritm_golden.params(size), image, given)
  assert abs(float(value) - golden['scalar']) < 1e-5

  slope = np.asarray(slope).transpose(0, 3, 1, 2)
  assert np.all(slope[:, :, height:] == 0) and np.all(slope[..., width:] == 0)
  slope = slope[:, :, :height, :width]
  for name in golden.files:
    stem, _, step = name.partition('_every')
    step = int(step or 1)
    if stem == 'logits':
      assert largest(logits[::step, ::step], golden[name][0, 0]) < 1e-4
    elif stem == 'grad/coord_features':
      found, wanted = slope[..., ::step, ::step].ravel(), golden[name].ravel()
      assert np.linalg.norm(found - wanted) < 2e-2 * np.linalg.norm(wanted)
      assert found @ wanted > 0.999 * np.linalg.norm(found) * np.linalg.norm(wanted)
    elif stem.startswith('tap/'):
      inner = stem.removeprefix('tap/')
      scale = 2 ** LEVELS.get(inner, 2)
      x = np.asarray(taps[inner]).transpose(0, 3, 1, 2)
      x = x[:, :, : -(-height // scale), : -(-width // scale)]
      strides = golden[f'tapstride/{inner}']
      assert largest(x[tuple(slice(None, None, int(s)) for s in strides)], golden[name]) < 1e-4


@pytest.mark.slow
def test_hrnet18s():
  check('h18s', '96x128')


@pytest.mark.slow
def test_hrnet18s_at_a_size_that_32_does_not_divide():
  check('h18s', '120x152')


@pytest.mark.slow
@pytest.mark.parametrize('padding', [(5, 17), (40, 0)])
def test_a_picture_on_a_larger_canvas(padding):
  check('h18s', '96x128', padding)


@pytest.mark.slow
def test_without_the_previous_mask_a_network_sees_an_empty_one():
  state = dict(ritm_golden.state('h18s'))
  state['maps_transform.0.weight'] = state['maps_transform.0.weight'][:, 1:]
  baseline = weights.tree(state, VARIANTS['h18s_baseline'])
  image, maps = inputs(load('h18s', '96x128'))
  image, maps = image[:, :33, :47], maps[:, :33, :47]
  maps[..., 0] = 0

  @functools.partial(jax.jit, static_argnums=0)
  def run(size, params, maps):
    return network.apply(VARIANTS[size], params, image, maps).logits

  found, wanted = run('h18s_baseline', baseline, maps[..., 1:]), ritm_golden.params('h18s')
  wanted = run('h18s', wanted, maps)
  assert np.abs(wanted).max() > 0.1 and largest(found, np.asarray(wanted)) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize('size', ['h18_baseline', 'h18', 'h32'])
def test_the_larger_networks(size):
  check(size, '96x128')
