"""Parity of SAM's mask decoder with PyTorch's numbers on made-up weights."""

import golden_weights
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sam_golden
from sam_golden import largest, scalar

from ports.sam import network, segmenter, weights

GRID, SIDE = 16, 256


@pytest.fixture(scope='module')
def params():
  return weights.decoder_tree(sam_golden.state('mobilesam_vit_t'))


@pytest.fixture(scope='module')
def golden():
  return sam_golden.golden('sam_prompt_decoder_16x16')


def embedding():
  drawn = golden_weights.golden_array('golden_input.image_embedding', (1, 256, GRID, GRID))
  return jnp.asarray(drawn[0].transpose(1, 2, 0).reshape(-1, 256))


def dense_of(module, mask):
  if mask is None:
    return module.prompt_encoder.no_mask_embed.embedding[...]
  return module.prompt_encoder.encode_mask(jnp.asarray(mask))


def decode(params, coords, labels, mask):
  """(4 masks at 64x64, their predicted IoU, clicks' tokens) as the reference computes them."""
  module = segmenter.prompted(params)
  position = module.prompt_encoder.grid_position(GRID)
  tokens, use = module.prompt_encoder.encode_clicks(coords, labels, SIDE)
  transformer = module.mask_decoder.transformer
  context = transformer.prepare(embedding() + dense_of(module, mask), position)
  masks, predicted = module.mask_decoder.predict(context, position, tokens, use)
  return masks, predicted, tokens


def case(golden, index, row):
  coords = jnp.asarray(golden[f'in/{index}/coords'][row])
  labels = jnp.asarray(golden[f'in/{index}/labels'][row], jnp.int32)
  name = f'in/{index}/mask_input'
  return coords, labels, golden[name][row, 0] if name in golden else None


# 1, 3 and 7 clicks, without a mask and with one, a batch of two; case 5 has a click that is none.
CASES = [(0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (6, 0), (6, 1)]


@pytest.mark.slow
@pytest.mark.parametrize('index, row', CASES)
def test_logits_and_predicted_iou(golden, params, index, row):
  coords, labels, mask = case(golden, index, row)
  masks, predicted, tokens = jax.jit(decode)(params, coords, labels, mask)
  assert largest(tokens, golden[f'{index}/sparse'][row]) < 1e-5
  for kind, chosen in (('single', slice(0, 1)), ('multi', slice(1, 4))):
    wanted = golden[f'{index}/{kind}/low_res_logits'][row]
    every = -(-masks.shape[-1] // wanted.shape[-1])  # the batch of two is stored thinned out
    assert largest(masks[chosen, ::every, ::every], wanted) < 1e-4
    assert largest(predicted[chosen], golden[f'{index}/{kind}/iou'][row]) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize('kind, first', [('single', 0), ('multi', 1)])
@pytest.mark.parametrize('index', [0, 1, 2, 3, 4])
def test_gradients_of_the_clicks(golden, params, index, kind, first):
  coords, labels, mask = case(golden, index, 0)

  def loss(coords):
    return scalar(decode(params, coords, labels, mask)[0][first])

  value, slope = jax.jit(jax.value_and_grad(loss))(coords)
  assert abs(value - golden[f'{index}/{kind}/scalar']) < 1e-5
  assert largest(slope, golden[f'{index}/{kind}/grad_coords'][0]) < 1e-3


def test_inner_values(params):
  golden = sam_golden.golden('sam_decoder_taps_16x16')
  coords, labels = golden['in/coords'][0], jnp.asarray(golden['in/labels'][0], jnp.int32)

  @jax.jit
  def taps(params):
    module = segmenter.prompted(params)
    decoder, transformer = module.mask_decoder, module.mask_decoder.transformer
    position = module.prompt_encoder.grid_position(GRID)
    sparse, use = module.prompt_encoder.encode_clicks(coords, labels, SIDE)
    context = transformer.prepare(embedding() + dense_of(module, None), position)
    own = [decoder.iou_token.embedding[...], decoder.mask_tokens.embedding[...]]
    prompt = jnp.concatenate([*own, sparse])
    use = jnp.concatenate([jnp.ones(5, bool), use])
    tokens0, image0 = transformer.layers[0].first(prompt, context, use)
    tokens1, image1 = transformer.layers[1].later(tokens0, prompt, image0, position, use)
    last, _ = decoder.tokens(context, position, sparse, use[5:])
    hyper = decoder.output_hypernetworks_mlps[0](last[1])
    return {
      'layer0.queries': tokens0, 'layer0.keys': image0[::4, ::4],
      'layer1.queries': tokens1, 'layer1.keys': image1[::4, ::4],
      'transformer.queries': last, 'hyper0': hyper,
    }

  for name, value in taps(params).items():
    # Of the last tokens only the five that are read are formed.
    assert largest(value, golden[f'tap/{name}'][0][: len(value)]) < 1e-4, name


@pytest.mark.slow
def test_empty_slots_change_nothing(golden, params):
  coords, labels, mask = case(golden, 1, 0)
  masks, predicted, _ = jax.jit(decode)(params, coords, labels, mask)
  more = jnp.concatenate([coords, jnp.array([[50.0, 60.0], [-1.0, 7.0], [0.0, 0.0]])])
  empty = jnp.concatenate([labels, jnp.full(3, -1, jnp.int32)])

  def total(coords):
    masks, predicted, _ = decode(params, coords, empty, mask)
    return scalar(masks[1]), (masks, predicted)

  (_, (padded, scores)), slope = jax.jit(jax.value_and_grad(total, has_aux=True))(more)
  assert largest(padded, masks) < 2e-5 and largest(scores, predicted) < 2e-5
  assert np.all(np.asarray(slope)[3:] == 0) and np.all(np.asarray(slope)[:3] != 0)


@pytest.mark.slow
@pytest.mark.parametrize('choice', network.MASK_CHOICES)
def test_the_chosen_mask_is_formed_alone(golden, params, choice):
  """One of the four, by the choice: the goldens' and `predict`'s."""

  @jax.jit
  def alone(coords, labels, mask, first):
    module = segmenter.prompted(params)
    position = module.prompt_encoder.grid_position(GRID)
    tokens, use = module.prompt_encoder.encode_clicks(coords, labels, SIDE)
    image = embedding() + dense_of(module, mask)
    context = module.mask_decoder.transformer.prepare(image, position)
    given = context, position, tokens, use
    return module.mask_decoder.answer(*given, choice, first), module.mask_decoder.predict(*given)

  # One click, three, and one with a mask: the choice goes by what is said of the click alone.
  for index in (0, 2, 3):
    coords, labels, mask = case(golden, index, 0)
    for first in (True, False):
      (low, score), (masks, predicted) = alone(coords, labels, mask, jnp.array(first))
      single = choice == 'single' or (choice == 'advised' and not first)
      best = int(np.argmax(golden[f'{index}/multi/iou'][0]))
      chosen, kind, entry = (0, 'single', 0) if single else (1 + best, 'multi', best)
      assert largest(low, np.asarray(masks[chosen])) < 1e-5
      assert largest(low, golden[f'{index}/{kind}/low_res_logits'][0, entry]) < 1e-5
      assert abs(score - predicted[chosen]) < 1e-5
      assert abs(score - golden[f'{index}/{kind}/iou'][0, entry]) < 1e-5
