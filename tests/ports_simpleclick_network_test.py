"""Parity of SimpleClick's network with PyTorch's numbers on made-up weights.

The files are the reference's, but for the gradients at 448 x 448, of which every second row and
column was left out to keep them small.
"""

import functools
import json
import pathlib

import golden_weights
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ports.simpleclick import network, weights
from tetris_jax.geometry.render import hard_disks
from tetris_jax.types import Clicks

pytestmark = pytest.mark.slow

GOLDEN = pathlib.Path(__file__).parent / 'golden'
# heads of the reduced networks, which no shape tells
HEADS = {96: 3}


@pytest.fixture(
  scope='module',
  params=[
    'reduced_448',
    'reduced_224x448',
    'reduced_x4_448',
    'vit_xt_448',
    pytest.param('vit_b_448', marks=pytest.mark.slow),
  ],
)
def case(request):
  """(golden, config, parameters, state dict)."""
  golden = np.load(GOLDEN / f'simpleclick_{request.param}.npz')
  listing = GOLDEN / json.loads(str(golden['meta']))['keys']
  state = golden_weights.golden_state_dict(json.loads(listing.read_text()))
  config = weights.config_of(state, HEADS.get(state['backbone.cls_token'].shape[-1]))
  return golden, config, weights.tree(state, config), state


def largest(found, wanted):
  assert np.shape(found) == np.shape(wanted)
  return np.abs(np.asarray(found) - wanted).max() / np.abs(wanted).max()


def image_of(golden):
  small, repeat = golden['in/image_small'][0].transpose(1, 2, 0), int(golden['in/repeat'])
  return small.repeat(repeat, 0).repeat(repeat, 1)


def maps_of(golden):
  """(previous mask, positive disks, negative disks) of the golden's points."""
  mask, points = golden['in/prev_mask'][0, 0], golden['in/points'][0]
  sign = np.arange(len(points)) < len(points) // 2
  label = np.where(points[:, :2].max(axis=1) < 0, -1, sign).astype(np.int32)
  disks = hard_disks(Clicks(points[:, :2], label), *mask.shape, radius=5.0)
  return np.stack([mask, *np.asarray(disks)], axis=-1)


def activations(net, config, prepared, maps):
  """By the reference's module names and in its layouts, (batch, tokens, width) or NCHW."""
  embedded = net.patch_embed_coords(maps)
  found = {'patch_embed_coords': embedded.reshape(1, -1, config.width)}
  blocks = list(net.backbone.block_outputs(prepared + embedded))
  found |= {f'blocks.{i}': x for i, x in enumerate(blocks)}
  levels = net.neck(blocks[-1].reshape(prepared.shape))
  for name, level in zip(('down_4', 'down_8', 'down_16', 'down_32'), levels, strict=True):
    found[f'neck.{name}'] = level.transpose(2, 0, 1)[None]
  found['fusion_conv'] = net.head.fuse(levels).transpose(2, 0, 1)[None]
  found['head'] = net.head(levels)[None, None]
  return found


@pytest.fixture(scope='module')
def computed(case):
  """((scalar, (logits, activations, positions)), gradient of the scalar by the maps)."""
  golden, config, params, _ = case

  def evaluate(maps, params, image):
    net = network.bind(config, params)
    prepared = network.prepare(config, params, image)
    positions = net.backbone.positions(*prepared.shape[:2])
    found = activations(net, config, prepared, maps)
    found['patch_embed'] = (prepared - positions).reshape(1, -1, config.width)
    logits = network.decode(config, params, prepared, maps)
    weight = golden_weights.grad_weight(*logits.shape)
    return jnp.mean(jax.nn.sigmoid(logits) * weight), (logits, found, positions)

  run = jax.jit(jax.value_and_grad(evaluate, has_aux=True))
  return jax.tree.map(np.asarray, run(maps_of(golden), params, image_of(golden)))


def test_activations_equal_the_goldens(case, computed):
  golden, config, _, state = case
  (_, (_, found, positions)), _ = computed
  names = [key.removeprefix('tap/') for key in golden.files if key.startswith('tap/')]
  assert len(names) == 10
  for name in names:
    value = found[name]
    sampled = value[tuple(slice(None, None, int(s)) for s in golden[f'tapstride/{name}'])]
    # measured: below 3e-6
    assert largest(sampled, golden[f'tap/{name}']) < 1e-5, name
    statistics = [value.mean(), value.std(ddof=1), value.min(), value.max()]
    assert largest(statistics, golden[f'tapstats/{name}']) < 1e-5, name
  if 'pos_embed_resized' in golden.files:
    table = positions.reshape(-1, config.width)
    table = np.concatenate([state['backbone.pos_embed'][0, :1], table])
    assert largest(table[None, ::3, ::2], golden['pos_embed_resized']) < 1e-6


def test_logits_and_map_gradients_equal_the_goldens(case, computed):
  golden = case[0]
  (value, (logits, _, _)), gradient = computed
  # measured: below 6e-6 of the largest value
  assert largest(logits[::4, ::4], golden['logits_every4'][0, 0]) < 2e-5
  statistics = [logits.mean(), logits.std(ddof=1), logits.min(), logits.max()]
  assert largest(statistics, golden['logits_stats']) < 2e-5
  assert abs(value - golden['scalar']) < 1e-6
  (key,) = (key for key in golden.files if key.startswith('grad/'))
  step = int(key.removeprefix('grad/coord_features_every').removesuffix('_from1'))
  gradient = gradient.transpose(2, 0, 1)
  wanted, sampled = golden[key][0], gradient[:, 1::step, 1::step]
  norms = np.linalg.norm(wanted), np.linalg.norm(sampled)
  # measured: 2e-4 at most; one ReLU near zero that falls the other way may shift it by 1e-2
  assert np.linalg.norm(sampled - wanted) < 2e-2 * norms[0]
  assert np.vdot(sampled, wanted) > 0.999 * norms[0] * norms[1]
  spread = golden['gradstats/coord_features'][:, 1]
  np.testing.assert_allclose(gradient.std(axis=(1, 2), ddof=1), spread, rtol=2e-2)


@pytest.fixture(scope='module')
def small():
  """(config, parameters) of a reduced network."""
  listing = json.loads((GOLDEN / 'simpleclick_reduced.json').read_text())
  state = golden_weights.golden_state_dict(listing)
  config = weights.config_of(state, HEADS[96])
  return config, weights.tree(state, config)


@pytest.mark.slow
def test_apply_is_decode_over_prepare_and_is_mapped_over_batches(small):
  config, params = small
  random = np.random.default_rng(0)
  image = random.random((224, 224, 3), np.float32)
  maps = random.random((3, 224, 224, 3), np.float32)
  prepared = network.prepare(config, params, image)
  assert prepared.shape == (14, 14, config.width)
  decode = functools.partial(network.decode, config, params, prepared)
  apply = jax.jit(functools.partial(network.apply, config))
  batched = np.asarray(jax.jit(jax.vmap(decode))(maps))
  assert batched.shape == (3, 224, 224)
  for logits, one in zip(batched, maps, strict=True):
    assert largest(apply(params, image, one), logits) < 1e-5


def test_windows_do_not_see_each_other_and_global_blocks_see_all(small):
  config, params = small
  run = jax.jit(lambda params, x: list(network.bind(config, params).backbone.block_outputs(x))[:2])
  tokens = np.random.default_rng(0).standard_normal((28, 28, config.width), np.float32)
  other = tokens.copy()
  other[3, 20] += 1
  pairs = zip(run(params, tokens), run(params, other), strict=True)
  changed = [np.abs(np.asarray(a - b)).max(axis=(1, 2)) > 0 for a, b in pairs]
  # the second of the four windows, row by row
  assert changed[0].tolist() == [False, True, False, False]
  assert changed[1].tolist() == [True]


def test_sides_that_fill_no_whole_patch_are_left_out(small):
  config, params = small
  image = np.random.default_rng(0).random((230, 239, 3), np.float32)
  cut = image[:224, :224]
  apply = jax.jit(functools.partial(network.apply, config))
  logits, whole = apply(params, image, image), apply(params, cut, cut)
  assert logits.shape == (230, 239)
  corners = np.ix_([0, -1], [0, -1])
  # the last resize aligns the corners, whatever the size
  np.testing.assert_allclose(np.asarray(logits)[corners], np.asarray(whole)[corners], atol=1e-5)


@pytest.mark.parametrize('size', [(600, 448), (448, 208)])
def test_sizes_that_do_not_split_into_windows_are_refused(small, size):
  config, params = small
  image = np.zeros((*size, 3), np.float32)
  with pytest.raises(ValueError, match='multiples of 224'):
    network.apply(config, params, image, image)
