"""Parity of SAM 2's prompt encoder and mask decoder with PyTorch's numbers on made-up weights."""

import golden_weights
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sam2_golden
import sam_golden
from sam2_golden import TOY
from sam_golden import largest

from ports.nn.resize import unaligned
from ports.sam2 import hiera, network


def thinned(golden, name):
  """(step, values) of a map that the golden holds thinned out, without its batch."""
  (key,) = (key for key in golden if key.startswith(f'{name}_every'))
  return int(key.rsplit('every', 1)[1]), golden[key][0]


def prepared(params, embedding, mask):
  module = network.bind(params)
  encoder = module.prompt_encoder
  position = encoder.grid_position(embedding.shape[0])
  dense = (
    encoder.no_mask_embed.embedding[...]
    if mask is None
    else encoder.encode_mask(jnp.asarray(mask))
  )
  image = embedding.reshape(-1, embedding.shape[-1]) + dense
  return module, module.mask_decoder.transformer.prepare(image, position), position


@pytest.mark.slow
@pytest.mark.parametrize(('case', 'variant'), sam2_golden.CASES)
def test_logits_scores_and_gradients_of_the_clicks(case, variant):
  golden = sam_golden.golden(case)
  image = sam2_golden.picture(golden)
  side, steadies = len(image), 'single/stability_of_token0' in golden
  config = hiera.CONFIGS[variant.split('_hiera_')[1]]
  params = sam2_golden.params(variant)
  encode = jax.jit(network.encode, static_argnums=0)
  embedding, fine = encode(config, params, image)
  labels = jnp.asarray(golden['in/labels'][0], jnp.int32)
  mask = golden['in/mask_input'][0, 0] if 'in/mask_input' in golden else None

  def evaluate(coords, kind):
    module, context, position = prepared(params, embedding, mask)
    given = context, position, *module.prompt_encoder.encode_clicks(coords, labels, side), fine
    masks, predicted, tokens = module.mask_decoder.predict_finer(*given)
    chosen = masks[1:], predicted[1:], tokens[3:]
    if kind == 'single':
      chosen = masks[:1], predicted[:1], tokens[2:3]
      if steadies:
        low, score = module.mask_decoder.answer_finer(*given, 'single', jnp.array(False))
        chosen = low[None], score[None], tokens[2:3]
    weight = golden_weights.grad_weight(*masks.shape[1:])
    scalar = jnp.mean(jax.nn.sigmoid(chosen[0][0]) * weight)
    return scalar, (*chosen, module.mask_decoder.object_score(tokens), network.stability(masks[0]))

  evaluate = jax.jit(jax.value_and_grad(evaluate, has_aux=True), static_argnums=1)
  height, width = map(int, golden['in/original_size'])
  low = side // 4
  rows = unaligned(height, np.float32(height), low, low)
  columns = unaligned(width, np.float32(width), low, low)
  for kind in ('multi', 'single'):
    (value, found), slope = evaluate(jnp.asarray(golden['in/coords'][0]), kind)
    logits, predicted, tokens, score, stable = found
    step, wanted = thinned(golden, f'{kind}/low_res_logits')
    assert largest(logits[:, ::step, ::step], wanted) < 1e-5
    step, wanted = thinned(golden, f'{kind}/logits')
    assert largest((rows @ logits @ columns.T)[:, ::step, ::step], wanted) < 1e-5
    assert largest(predicted, golden[f'{kind}/iou'][0]) < 1e-5
    assert largest(tokens, golden[f'{kind}/tokens'][0]) < 1e-5
    assert largest(score[None], golden[f'{kind}/object_score'][0]) < 1e-5
    assert abs(value - golden[f'{kind}/scalar']) < 1e-6
    assert largest(slope, golden[f'{kind}/grad_coords'][0]) < 1e-4
    if steadies:
      assert abs(stable - golden['single/stability_of_token0'][0, 0]) < 1e-4
  if 'predictor/iou' in golden:
    (_, (logits, predicted, *_)), _ = evaluate(jnp.asarray(golden['in/coords'][0]), 'multi')
    assert largest(predicted, golden['predictor/iou']) < 1e-5
    fed_back = np.clip(logits, -32, 32)[:, ::7, ::7]
    assert largest(fed_back, golden['predictor/low_res_every7']) < 1e-5


def test_stability_is_a_ratio_of_areas():
  logits = np.full((4, 5), -1, np.float32)
  assert network.stability(jnp.asarray(logits)) == 1
  logits[0] = 0.2
  logits[1, :2] = 0.01
  assert network.stability(jnp.asarray(logits)) == np.float32(5 / 7)
  logits[1, 0] = 0.05  # neither above 0.05
  assert network.stability(jnp.asarray(logits)) == np.float32(5 / 7)


def decoder_and_inputs(params):
  rng = np.random.default_rng(0)
  embedding = jnp.asarray(rng.standard_normal((4, 4, 256), np.float32))
  fine = network.Fine(
    jnp.asarray(rng.standard_normal((16, 4, 64), np.float32)),
    jnp.asarray(rng.standard_normal((16, 4, 4, 32), np.float32)),
  )
  module, context, position = prepared(params, embedding, None)
  coords, labels = jnp.array([[10.0, 20.0], [50.0, 40.0]]), jnp.array([1, 0], jnp.int32)
  clicks = module.prompt_encoder.encode_clicks(coords, labels, 64)
  return module.mask_decoder, (context, position, *clicks, fine)


@pytest.mark.slow
def test_which_mask_is_the_answer():
  params = dict(sam2_golden.toy_params())
  last = 'mask_decoder/output_hypernetworks_mlps/0/layers/2/'
  for factor, stable in ((30, True), (1e-3, False)):
    changed = params | {
      f'{last}{leaf}': params[f'{last}{leaf}'] * np.float32(factor) for leaf in ('kernel', 'bias')
    }

    @jax.jit
    def run(params):
      decoder, given = decoder_and_inputs(params)
      answers = {
        (choice, first): decoder.answer_finer(*given, choice, jnp.array(first))
        for choice in ('single', 'best_of_three', 'advised')
        for first in (True, False)
      }
      return decoder.predict_finer(*given)[:2], answers

    # keys of a jitted result have to be sortable; these are
    (masks, predicted), answers = run(changed)
    assert (network.stability(masks[0]) >= 0.98) == stable
    best = 1 + int(np.argmax(predicted[1:]))
    for (choice, first), (low, score) in answers.items():
      single = choice == 'single' or (choice == 'advised' and not first)
      wanted = 0 if single and stable else best
      assert largest(low, np.asarray(masks[wanted])) < 1e-5, (choice, first, stable)
      np.testing.assert_allclose(score, predicted[wanted], rtol=1e-5)


@pytest.mark.slow
def test_finer_features_are_added_where_they_lie():
  # A change of one pixel of them changes the mask around that pixel alone: nothing mixes pixels.
  params = sam2_golden.toy_params()

  @jax.jit
  def run(params, half, quarter):
    decoder, (context, position, sparse, use, _) = decoder_and_inputs(params)
    fine = network.Fine(
      network._in_blocks(half).reshape(16, 4, 64),
      network._in_blocks(network._in_blocks(quarter)).reshape(16, 4, 4, 32),
    )
    return decoder.predict_finer(context, position, sparse, use, fine)[0]

  half, quarter = np.zeros((8, 8, 64), np.float32), np.zeros((16, 16, 32), np.float32)
  # copies: on a CPU a program may still be reading what it was given
  before = run(params, half.copy(), quarter.copy())
  quarter[5, 9] = 1
  half[6, 2, :32] = 3
  moved = np.argwhere(np.abs(run(params, half, quarter) - before).max(axis=0) > 1e-6)
  wanted = [(5, 9)] + [(12 + i, 4 + j) for i in range(2) for j in range(2)]
  assert sorted(map(tuple, moved.tolist())) == sorted(wanted)


def test_parameters_by_name():
  shapes = network.shapes(TOY)
  assert shapes['no_mem_embed'] == (256,)
  assert shapes['mask_decoder/obj_score_token/embedding'] == (1, 256)
  assert shapes['mask_decoder/conv_s0/kernel'] == (1, 1, 256, 32)
  assert shapes['image_encoder/trunk/blocks/1/proj/kernel'] == (8, 16)
  assert 'image_encoder/trunk/blocks/0/proj/kernel' not in shapes
