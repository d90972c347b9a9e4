"""Parity of SAM's image encoder with PyTorch's numbers on made-up weights, block by block."""

import dataclasses

import golden_weights
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sam_golden

from ports.sam import vit, weights

REDUCED = sam_golden.REDUCED


def taps(config, params, image):
  """What every block gives, named and ordered as in the goldens."""
  encoder = vit.bind(config, params)
  found = {'patch_embed': encoder.patch_embed['proj'](image)}
  x = encoder.embed(image)
  for index, block in enumerate(encoder.blocks):
    x = found[f'blocks.{index}'] = block(x)
  return found | {'neck': encoder.finish(x).transpose(2, 0, 1)}


def check(name, variant):
  config, golden = sam_golden.config(variant), sam_golden.golden(name)
  image, _ = sam_golden.picture(golden, config.side)
  params = sam_golden.params(variant)
  found = jax.jit(lambda params, image: taps(config, params, image))(params, image)
  for tap in sam_golden.taps(golden):
    sam_golden.check_tap(golden, tap, found[tap], 1e-5)
  embedding, early = jax.jit(lambda params, image: vit.apply(config, params, image))(params, image)
  assert sam_golden.largest(embedding.transpose(2, 0, 1), found['neck']) < 1e-5
  assert sam_golden.largest(early, found[f'blocks.{config.global_blocks[0]}']) < 1e-5


@pytest.mark.slow
def test_every_block_equals_the_goldens():
  check('sam_reduced_256', 'sam_reduced')  # measured: 1.1e-6


@pytest.mark.slow
def test_every_block_of_the_published_size_equals_the_goldens():
  check('sam_vit_b_1024', 'sam_vit_b')  # measured: 2.3e-6


def reference(attention, config, x):
  """(n, side, side, width) in float64, one pair of tokens after the other's formula."""
  array = lambda leaf: np.asarray(leaf[...], np.float64)
  n, side, _, width = x.shape
  size = width // config.heads
  qkv = np.asarray(x, np.float64) @ array(attention.qkv.kernel) + array(attention.qkv.bias)
  query, key, value = (
    qkv[..., i * width : (i + 1) * width].reshape(n, side * side, config.heads, size)
    for i in range(3)
  )
  y, x_ = np.divmod(np.arange(side * side), side)
  above = array(attention.rel_pos_h)[y[:, None] - y[None, :] + side - 1]
  beside = array(attention.rel_pos_w)[x_[:, None] - x_[None, :] + side - 1]
  scores = np.einsum('nqhc,nkhc->nhqk', query, key) / np.sqrt(size)
  scores = scores + np.einsum('nqhc,qkc->nhqk', query, above + beside)
  weights = np.exp(scores - scores.max(-1, keepdims=True))
  weights = weights / weights.sum(-1, keepdims=True)
  found = np.einsum('nhqk,nkhc->nqhc', weights, value).reshape(n, side, side, width)
  return found @ array(attention.proj.kernel) + array(attention.proj.bias)


@pytest.mark.parametrize('queries', [1, 6, 12, 512])
def test_attention_is_its_formula_however_many_queries_are_taken_at_once(monkeypatch, queries):
  monkeypatch.setattr(vit, '_QUERIES', queries)
  config = vit.Config(width=12, depth=1, heads=3, global_blocks=(0,), side=96)
  shapes = vit.shapes(config)
  params = {n: jnp.asarray(golden_weights.golden_array(n, s)) for n, s in shapes.items()}
  attention = vit.bind(config, params).blocks[0].attn
  x = golden_weights.golden_array('golden_input.tokens', (2, 6, 6, 12))
  found = attention(jnp.asarray(x))
  assert sam_golden.largest(found, reference(attention, config, x)) < 1e-5


@pytest.mark.parametrize('window', [5, 14, 16])
@pytest.mark.slow
def test_windows_are_padded_behind_the_norm(window):
  """Where windows do not fill the grid, what pads them takes part with the biases alone."""
  config = dataclasses.replace(REDUCED, depth=1, global_blocks=(), window=window)
  prefix = 'image_encoder.blocks.0.'
  listing = [
    (name, [2 * window - 1, *shape[1:]] if 'rel_pos' in name else shape, dtype)
    for name, shape, dtype in sam_golden.listing('sam_reduced')
    if not name.startswith('image_encoder.blocks.') or name.startswith(prefix)
  ]
  params = weights.sam_tree(golden_weights.golden_state_dict(listing), config)
  block = vit.bind(config, params).blocks[0]
  x = golden_weights.golden_array('golden_input.grid', (16, 16, 96))
  found = np.asarray(jax.jit(block)(jnp.asarray(x)))
  count = -(-16 // window)
  padded = np.zeros((count * window, count * window, 96), np.float32)
  padded[:16, :16] = np.asarray(block.norm1(jnp.asarray(x)))
  attended = np.zeros_like(padded)
  for i in range(0, len(padded), window):
    for j in range(0, len(padded), window):
      one = padded[i : i + window, j : j + window]
      attended[i : i + window, j : j + window] = reference(block.attn, config, one[None])[0]
  between = x + attended[:16, :16]
  wanted = between + np.asarray(block.mlp(block.norm2(jnp.asarray(between))))
  assert sam_golden.largest(found, wanted) < 1e-5


@pytest.mark.slow
def test_is_mapped_over_batches():
  params = sam_golden.params('sam_reduced')
  image, _ = sam_golden.picture(sam_golden.golden('sam_reduced_256'), REDUCED.side)
  images = np.stack([image, image[::-1]])
  encode = jax.jit(lambda params, image: vit.apply(REDUCED, params, image))
  batched = jax.jit(jax.vmap(lambda image: vit.apply(REDUCED, params, image)))(images)
  for i, one in enumerate(images):
    for found, wanted in zip(batched, encode(params, one), strict=True):
      assert sam_golden.largest(found[i], np.asarray(wanted)) < 1e-5


def test_sizes_that_do_not_fit_are_refused():
  for changes in ({'width': 97}, {'side': 250}, {'side': 0}, {'window': 0}):
    with pytest.raises(ValueError, match='width must be a multiple of heads'):
      dataclasses.replace(REDUCED, **changes)
  assert REDUCED.grid == 16 and vit.CONFIGS['vit_h'].grid == 64
