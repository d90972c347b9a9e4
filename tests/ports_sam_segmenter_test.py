"""MobileSAM as a segmenter: the whole model against PyTorch's numbers, and what rounds remember."""

import json
import pathlib

import golden_weights
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ports.sam import segmenter, tiny_vit, weights
from tetris_jax.types import Clicks

GOLDEN = pathlib.Path(__file__).parent / 'golden'


@pytest.fixture(scope='module')
def params():
  listing = json.loads((GOLDEN / 'mobilesam_vit_t.json').read_text())
  return weights.mobile_sam_tree(golden_weights.golden_state_dict(listing))


@pytest.fixture(scope='module')
def model(params):
  return segmenter.mobile_sam(params, {'made up': '0'})


def largest(found, wanted):
  assert np.shape(found) == np.shape(wanted)
  return np.abs(np.asarray(found) - wanted).max() / np.abs(wanted).max()


def clicks_of(rows, slots):
  yx, label = np.zeros((slots, 2), np.float32), np.full(slots, -1, np.int32)
  for i, (y, x, kind) in enumerate(rows):
    yx[i], label[i] = (y, x), kind
  return Clicks(jnp.asarray(yx), jnp.asarray(label))


def photograph(height, width):
  rows, columns = np.mgrid[:height, :width]
  waves = [np.sin(rows / 9) * np.cos(columns / 13), np.cos(rows / 31), np.sin(columns / 7)]
  return (0.5 + 0.4 * np.stack(waves, -1)).astype(np.float32)


def features_of(model, image, canvas):
  padded = np.zeros((*canvas, 3), np.float32)
  padded[: image.shape[0], : image.shape[1]] = image
  size = jnp.asarray(image.shape[:2], jnp.int32)
  return jax.jit(model.encode)(model.params, padded, size)


def round_of(model, features, state, clicks):
  context = model.prepare(model.params, features, state)
  return model.decode(model.params, context, clicks)


@pytest.mark.slow
def test_the_whole_model_equals_the_goldens(params):
  golden = np.load(GOLDEN / 'mobilesam_vit_t_1024.npz')
  small = golden['in/image_small'][0].transpose(1, 2, 0)
  repeat = int(golden['in/repeat'])
  image = small.repeat(repeat, 0).repeat(repeat, 1)
  mean = np.array([123.675, 116.28, 103.53], np.float32)
  image = (image - mean) / np.array([58.395, 57.12, 57.375], np.float32)
  cut = np.float32(image.shape[:2])
  image = np.pad(image, ((0, 1024 - image.shape[0]), (0, 1024 - image.shape[1]), (0, 0)))
  height, width = map(int, golden['in/original_size'])
  labels = jnp.asarray(golden['in/labels'][0], jnp.int32)

  def logits(params, image, coords, first):
    module = segmenter.prompted(params)
    embedding = tiny_vit.apply(params, image).reshape(-1, 256)
    position = module.prompt_encoder.grid_position()
    tokens, use = module.prompt_encoder.encode_clicks(coords, labels)
    dense = module.prompt_encoder.no_mask_embed.embedding[...]
    context = module.mask_decoder.transformer.prepare(embedding + dense, position)
    masks, predicted = module.mask_decoder.predict(context, position, tokens, use)
    weight = golden_weights.grad_weight(*masks.shape[1:])
    return jnp.mean(jax.nn.sigmoid(masks[first]) * weight), (masks, predicted)

  evaluate = jax.jit(jax.value_and_grad(logits, argnums=2, has_aux=True), static_argnums=3)
  rows = segmenter.upsampling(height, np.float32(height), 256, cut[0])
  columns = segmenter.upsampling(width, np.float32(width), 256, cut[1])
  coords = jnp.asarray(golden['in/coords'][0])
  for kind, kept in (('single', slice(0, 1)), ('multi', slice(1, 4))):
    (value, (masks, predicted)), slope = evaluate(params, image, coords, kept.start)
    assert largest(masks[kept, ::5, ::5], golden[f'{kind}/low_res_logits_every5'][0]) < 1e-4
    assert largest(predicted[kept], golden[f'{kind}/iou'][0]) < 1e-4
    assert abs(value - golden[f'{kind}/scalar']) < 1e-5
    assert largest(slope, golden[f'{kind}/grad_coords'][0]) < 1e-3
    full = np.asarray(rows @ masks[kept] @ columns.T)
    assert largest(full[:, ::5, ::5], golden[f'{kind}/logits_every5'][0]) < 1e-4
    share = (full > 0).mean(axis=(1, 2))
    np.testing.assert_allclose(share, golden[f'{kind}/fraction_over_0'], atol=1e-4)


@pytest.mark.slow
def test_the_canvas_does_not_matter(model):
  image = photograph(150, 220)
  clicks = clicks_of([(40.0, 60.5, 1), (100.0, 30.0, 0)], 3)
  found = []
  for canvas in ((150, 220), (256, 384)):
    features = features_of(model, image, canvas)
    logits, _ = round_of(model, features, model.init(model.params, features), clicks)
    assert logits.shape == canvas and np.isfinite(logits).all()
    found.append(np.asarray(logits)[:150, :220])
  assert largest(found[1], found[0]) < 1e-4


@pytest.mark.slow
def test_the_mask_is_given_back_at_every_later_click(model, params):
  forgetful = segmenter.mobile_sam(params, {}, forget_at_negative_second=True)
  assert forgetful.info.name != model.info.name
  features = features_of(model, photograph(128, 128), (128, 128))
  start = model.init(model.params, features)
  first = clicks_of([(40.0, 60.0, 1)], 3)
  _, state = round_of(model, features, start, first)
  assert not start.given and state.given
  for label, forgets in ((1, False), (0, True)):
    second = clicks_of([(40.0, 60.0, 1), (90.0, 20.0, label)], 3)
    fed, after = round_of(model, features, state, second)
    alone, _ = round_of(model, features, start, second)
    assert largest(alone, fed) > 1e-2
    quirk, _ = round_of(forgetful, features, state, second)
    assert largest(quirk, alone if forgets else fed) < 1e-5
    third = clicks_of([(40.0, 60.0, 1), (90.0, 20.0, label), (64.0, 64.0, 0)], 3)
    usual, _ = round_of(model, features, after, third)
    quirk, _ = round_of(forgetful, features, after, third)
    assert largest(quirk, usual) < 1e-5


@pytest.mark.slow
def test_the_predicted_iou_is_that_of_the_mask_that_is_chosen(model, params):
  features = features_of(model, photograph(128, 128), (128, 128))
  start = model.init(model.params, features)
  assert model.predicted_iou(start) == 0
  clicks = clicks_of([(40.0, 60.0, 1)], 2)
  _, state = round_of(model, features, start, clicks)
  module = segmenter.prompted(params)
  context, _ = model.prepare(model.params, features, start)
  tokens, use = module.prompt_encoder.encode_clicks(
    (clicks.yx * features.scale[None])[:, ::-1], clicks.label
  )
  position = module.prompt_encoder.grid_position()
  masks, predicted = module.mask_decoder.predict(context, position, tokens, use)
  best = 1 + int(np.argmax(predicted[1:]))
  np.testing.assert_allclose(model.predicted_iou(state), predicted[best], rtol=1e-5)
  assert largest(state.logits, np.asarray(masks[best])) < 1e-5


def test_the_frame_is_the_resized_picture(model):
  frame = model.frame(model.params, None, None, jnp.array([300, 400]))
  assert frame.offset.tolist() == [0, 0] and frame.extent.tolist() == [300, 400]
  assert frame.size.tolist() == [768, 1024]
