"""Parity of SAM-HQ with PyTorch's numbers on made-up weights, in every mode."""

import golden_weights
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sam_golden

from ports.sam import hq, network, segmenter, vit

# How the goldens call the two switches, and what they are here.
MODES = {
  f'{"single" if choice == "single" else "multi"}_hq_{"only" if only else "added"}': (choice, only)
  for choice in ('best_of_three', 'single')
  for only in (False, True)
}


def encoded(config, params, image):
  """Inner tensors as the goldens name and order them, and what a decoder needs."""
  embedding, early = vit.apply(config, params, image)
  decoder = segmenter.prompted(params, early=config.width).mask_decoder
  return embedding, early, decoder.features(embedding, early)


def answer(config, params, embedding, features, coords, labels, choice, only):
  """(value, (logits, predicted IoU)): `value` is what the goldens' gradients are of."""
  module = segmenter.prompted(params, early=config.width)
  position = module.prompt_encoder.grid_position(config.grid)
  clicks = module.prompt_encoder.encode_clicks(coords, labels, config.side)
  dense = module.prompt_encoder.no_mask_embed.embedding[...]
  decoder = module.mask_decoder
  context = decoder.transformer.prepare(embedding.reshape(-1, 256) + dense, position)
  low, predicted = decoder.answer_hq(
    context, position, *clicks, choice, jnp.array(False), features, only
  )
  return sam_golden.scalar(low), (low, predicted)


def check_modes(name, variant, within):
  config, golden = sam_golden.config(variant), sam_golden.golden(name)
  params = jax.tree.map(jnp.asarray, sam_golden.params(variant))
  image, cut = sam_golden.picture(golden, config.side)
  embedding, early, features = jax.jit(lambda p, x: encoded(config, p, x))(params, image)
  sam_golden.check_tap(golden, 'image_embedding', embedding.transpose(2, 0, 1), within)
  sam_golden.check_tap(golden, 'interm_embeddings.0', early, within)
  labels = jnp.asarray(golden['in/labels'][0], jnp.int32)
  coords = jnp.asarray(golden['in/coords'][0])
  run = jax.jit(
    lambda p, coords, choice, only: jax.value_and_grad(
      lambda coords: answer(config, p, embedding, features, coords, labels, choice, only),
      has_aux=True,
    )(coords),
    static_argnums=(2, 3),
  )
  height, width = map(int, golden['in/original_size'])
  grid, side = 4 * config.grid, config.side
  rows = segmenter.upsampling(height, np.float32(height), grid, cut[0], side=side)
  columns = segmenter.upsampling(width, np.float32(width), grid, cut[1], side=side)
  for mode, (choice, only) in MODES.items():
    (value, (low, predicted)), slope = run(params, coords, choice, only)
    assert abs(value - golden[f'{mode}/scalar']) < within
    assert abs(predicted - golden[f'{mode}/iou'][0, 0]) < within
    assert sam_golden.largest(slope, golden[f'{mode}/grad_coords'][0]) < 1e-4
    full = np.asarray(rows @ low @ columns.T)
    for kind, found in (('low_res_logits', low), ('logits', full)):
      (key,) = (key for key in golden if key.startswith(f'{mode}/{kind}_every'))
      every = int(key.rsplit('every', 1)[1])
      assert sam_golden.largest(found[::every, ::every], golden[key][0, 0]) < within, key
    mean, deviation, low_end, high_end = golden[f'{mode}/low_res_stats']
    low, scale = np.asarray(low), max(-low_end, high_end)
    found = low.mean(), low.std(ddof=1), low.min(), low.max()
    np.testing.assert_allclose(
      found, (mean, deviation, low_end, high_end), rtol=0, atol=within * scale
    )


@pytest.mark.slow
def test_every_mode_equals_the_goldens():
  check_modes('samhq_reduced_256', 'samhq_reduced', 1e-5)  # measured: 1.6e-6


@pytest.mark.slow
def test_every_mode_of_the_published_size_equals_the_goldens():
  check_modes('samhq_vit_b_1024', 'samhq_vit_b', 2e-5)


@pytest.mark.slow
def test_inner_tensors_equal_the_goldens():
  golden = sam_golden.golden('samhq_reduced_256')
  image, _ = sam_golden.picture(golden, 256)

  @jax.jit
  def taps(params, image):
    embedding, early = vit.apply(sam_golden.REDUCED, params, image)
    decoder = segmenter.prompted(params, early=96).mask_decoder
    return {
      'embedding_encoder': hq._apply(decoder.embedding_encoder, embedding),
      'compress_vit_feat': hq._apply(decoder.compress_vit_feat, early),
    }

  for name, value in taps(sam_golden.params('samhq_reduced'), image).items():
    sam_golden.check_tap(golden, name, value.transpose(2, 0, 1), 1e-5)


@pytest.fixture(scope='module')
def decoder():
  params = jax.tree.map(jnp.asarray, sam_golden.params('samhq_reduced'))
  return segmenter.prompted(params, early=96).mask_decoder


def drawn(name, *shape):
  return jnp.asarray(golden_weights.golden_array(f'golden_input.{name}', shape))


def test_mixing_inside_the_last_convolution_is_mixing_behind_it(decoder):
  last = decoder.embedding_maskfeature['3']
  for shape in ((7, 9), (1, 1), (2, 16)):
    x, mixing = drawn('refined', *shape, 64), drawn('mixing', 32)
    wanted = np.asarray(last(x)) @ np.asarray(mixing)
    np.testing.assert_allclose(last.mixed(x, mixing), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_what_is_added_is_the_masks_own_logits(decoder):
  """"added" minus "hq_only" is the mask that SAM's own decoder answers with."""
  embedding, position = drawn('image', 64, 256), drawn('position', 64, 256)
  sparse, use = drawn('sparse', 3, 256), jnp.array([True, True, True])
  features = drawn('features', 32, 32, 32)
  context = decoder.transformer.prepare(embedding, position)
  tokens, image = decoder.tokens(context, position, sparse, use)
  masks = np.moveaxis(np.asarray(decoder.masks(image, decoder.hyper(tokens, 0).T)), -1, 0)
  predicted = np.asarray(decoder.iou_prediction_head(tokens[0]))
  best = 1 + int(np.argmax(predicted[1:]))
  for choice, first, index in (
    ('best_of_three', False, best), ('single', True, 0), ('advised', True, best),
    ('advised', False, 0),
  ):
    given = context, position, sparse, use, choice, jnp.array(first), features
    added, score = decoder.answer_hq(*given, False)
    alone, _ = decoder.answer_hq(*given, True)
    assert sam_golden.largest(np.asarray(added) - alone, masks[index]) < 1e-5
    np.testing.assert_allclose(score, predicted[index], rtol=1e-5)


def test_the_token_is_one_more_and_its_decoder_is_sams_otherwise(decoder):
  assert isinstance(decoder, network.MaskDecoder)
  own = decoder.own_tokens()
  assert own.shape == (6, 256)
  np.testing.assert_array_equal(own[5:], decoder.hf_token.embedding[...])
