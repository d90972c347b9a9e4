"""Parity of AdaptiveClick's network with PyTorch's numbers on made-up weights."""

import adaptiveclick_golden
import golden_weights
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import ritm_golden

from ports.adaptiveclick import network, pixels
from tetris_jax.geometry.render import hard_disks

pytestmark = pytest.mark.slow


@pytest.fixture(
  scope='module', params=['reduced_448', 'reduced_448_negative_only', 'vit_b_448']
)
def case(request):
  """(golden, ((scalar, (logits, masks, inner tensors)), gradient by the maps))."""
  golden = np.load(adaptiveclick_golden.FOLDER / f'adaptiveclick_{request.param}.npz')
  size = 'vit_b' if request.param.startswith('vit_b') else 'reduced'
  config, params = adaptiveclick_golden.CONFIGS[size], adaptiveclick_golden.params(size)
  small, repeat = golden['in/image_small'][0].transpose(1, 2, 0), int(golden['in/repeat'])
  image = small.repeat(repeat, 0).repeat(repeat, 1)
  clicks = ritm_golden.clicks_of_points(golden['in/points'][0])
  disks = np.asarray(hard_disks(clicks, 448, 448, 5.0))
  packed = np.packbits(disks.astype(bool), axis=-1)
  np.testing.assert_array_equal(packed, golden['clicks_map_packed'])
  maps = np.concatenate([golden['in/prev_mask'][0], disks]).transpose(1, 2, 0)

  def evaluate(maps, params, image):
    net, taps = network.bind(config, params), {}
    prepared = net.prepare(image)
    masks = net.masks(prepared, maps, taps)
    logits = network.joined(masks[-1], 448, 448)
    projected = [taps[f'input_proj.{i}'] for i in range(3)]
    sizes = tuple(x.shape[:2] for x in projected)
    source = jnp.concatenate([x.reshape(-1, config.width) for x in projected])
    positions = jnp.concatenate([
      pixels.sines(*size, config.width).reshape(-1, config.width)
      + net.pixel_decoder.level_embed[i][None]
      for i, size in enumerate(sizes)
    ])
    attention = net.pixel_decoder.layers[0].self_attn
    path = 'transformer.encoder.layers.0.self_attn'
    taps[path] = attention(source + positions, source, sizes)
    taps[f'{path}.sampling_offsets'] = attention.sampling_offsets(source + positions)
    taps['pe_layer'] = jnp.asarray(pixels.sines(*sizes[2], config.width))
    embedded = net.patch_embed_coords(maps)
    taps['patch_embed_coords'] = embedded.reshape(-1, config.trunk.width)
    blocks = net.backbone.block_outputs(prepared + embedded)
    taps |= {f'backbone.blocks.{i}': x for i, x in enumerate(blocks)}
    alone = prepared - net.backbone.positions(*prepared.shape[:2])
    taps['backbone.patch_embed'] = alone.reshape(-1, config.trunk.width)
    weight = golden_weights.grad_weight(448, 448)
    return jnp.mean(jax.nn.sigmoid(logits) * weight), (logits, masks, taps)

  run = jax.jit(jax.value_and_grad(evaluate, has_aux=True))
  return golden, jax.tree.map(np.asarray, run(maps, params, image))


def largest(found, wanted):
  assert np.shape(found) == np.shape(wanted)
  return np.abs(np.asarray(found) - wanted).max() / np.abs(wanted).max()


def test_where_queries_may_attend_is_equal(case):
  golden, ((_, (_, masks, _)), _) = case
  for i, said in enumerate(masks[:-1]):
    packed = np.packbits(said.blocked[None], axis=-1)
    np.testing.assert_array_equal(packed, golden[f'attn_blocked/{i}'])


def test_inner_tensors_equal_the_goldens(case):
  golden, ((_, (_, masks, taps)), _) = case
  classes = np.stack([said.classes for said in masks])[:, None]
  assert largest(classes, golden['class_logits']) < 2e-5
  found = np.stack([said.masks for said in masks])[:, None]
  assert largest(found[..., ::8, ::8], golden['masks_every8']) < 2e-5
  names = [key.removeprefix('tap/') for key in golden.files if key.startswith('tap/')]
  assert len(names) > 20
  for name in names:
    wanted, short = golden[f'tap/{name}'], name
    for prefix in ('pixel_decoder.', 'click_aware_decoder.'):
      short = short.removeprefix(prefix)
    x = taps[short]
    if wanted.ndim == 4:
      x = x.transpose(2, 0, 1)[None]
    elif short.startswith('transformer_'):
      x = x[:, None]
    elif x.ndim == 2:
      x = x[None]
    strides = tuple(slice(None, None, int(step)) for step in golden[f'tapstride/{name}'])
    # measured: below 4e-6
    assert largest(x[strides], wanted) < 2e-5, name


def test_logits_and_map_gradients_equal_the_goldens(case):
  golden, ((value, (logits, _, _)), slope) = case
  assert abs(value - golden['scalar']) < 1e-6
  assert largest(logits[::4, ::4], golden['logits_every4'][0, 0]) < 2e-5
  found = slope.transpose(2, 0, 1)[:, 1::4, 1::4].ravel()
  wanted = golden['grad/coord_features_every4_from1'].ravel()
  # measured: 1.2e-5 and 5.9e-4 in relative L2
  assert np.linalg.norm(found - wanted) < 2e-2 * np.linalg.norm(wanted)
  assert found @ wanted > 0.999 * np.linalg.norm(found) * np.linalg.norm(wanted)
