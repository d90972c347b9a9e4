"""The SAM family as segmenters: whole models against PyTorch's numbers, and sessions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sam_golden
from PIL import Image
from sam_golden import clicks_of, largest

from ports.sam import network, preprocess, segmenter, tiny_vit, vit
from tetris_jax.types import Clicks

# Every model compiles for seconds.
pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def params():
  return sam_golden.params('mobilesam_vit_t')


@pytest.fixture(scope='module')
def model(params):
  return segmenter.mobile_sam(params, {'made up': '0'})


@pytest.fixture
def reduced(monkeypatch):
  """Makes segmenters with the encoder of the reduced goldens."""
  monkeypatch.setitem(segmenter.ENCODERS, 'reduced', sam_golden.REDUCED)

  def make(**chosen):
    if 'hq' in chosen:
      params, build = sam_golden.params('samhq_reduced'), segmenter.sam_hq
    else:
      params, build = sam_golden.params('sam_reduced'), segmenter.sam
    return build(params, {}, name='reduced', size='reduced', **chosen)

  return make


def photograph(height, width):
  rows, columns = np.mgrid[:height, :width]
  waves = [np.sin(rows / 9) * np.cos(columns / 13), np.cos(rows / 31), np.sin(columns / 7)]
  return (0.5 + 0.4 * np.stack(waves, -1)).astype(np.float32)


def features_of(model, image, canvas):
  padded = np.zeros((*canvas, 3), np.float32)
  padded[: image.shape[0], : image.shape[1]] = image
  size = jnp.asarray(image.shape[:2], jnp.int32)
  return jax.jit(lambda *given: model.encode(*given))(model.params, padded, size)


def round_of(model, features, state, clicks):
  context = model.prepare(model.params, features, state)
  return model.decode(model.params, context, clicks)


def embed(variant, params, image):
  """(positions, 256) image embedding of a picture in its frame."""
  if variant == 'mobilesam_vit_t':
    return tiny_vit.apply(params, image).reshape(-1, 256)
  return vit.apply(sam_golden.config(variant), params, image)[0].reshape(-1, 256)


def check_whole(name, variant, within):
  """Logits at both sizes, predicted IoU and click gradients of a golden."""
  golden, params = sam_golden.golden(name), sam_golden.params(variant)
  side = 256 if name.endswith('_256') else 1024
  image, cut = sam_golden.picture(golden, side)
  height, width = map(int, golden['in/original_size'])
  labels = jnp.asarray(golden['in/labels'][0], jnp.int32)
  embedding = jax.jit(lambda params, image: embed(variant, params, image))(params, image)
  grid = side // 16

  def logits(params, coords, first):
    module = segmenter.prompted(params)
    position = module.prompt_encoder.grid_position(grid)
    tokens, use = module.prompt_encoder.encode_clicks(coords, labels, side)
    dense = module.prompt_encoder.no_mask_embed.embedding[...]
    context = module.mask_decoder.transformer.prepare(embedding + dense, position)
    masks, predicted = module.mask_decoder.predict(context, position, tokens, use)
    return sam_golden.scalar(masks[first]), (masks, predicted)

  evaluate = jax.jit(jax.value_and_grad(logits, argnums=1, has_aux=True), static_argnums=2)
  rows = segmenter.upsampling(height, np.float32(height), 4 * grid, cut[0], side=side)
  columns = segmenter.upsampling(width, np.float32(width), 4 * grid, cut[1], side=side)
  coords = jnp.asarray(golden['in/coords'][0])
  for kind, kept in (('single', slice(0, 1)), ('multi', slice(1, 4))):
    (value, (masks, predicted)), slope = evaluate(params, coords, kept.start)
    # One of the four alone may be next to 0.
    every_score = np.concatenate([golden['single/iou'][0], golden['multi/iou'][0]])
    assert largest(predicted, every_score) < within
    assert abs(value - golden[f'{kind}/scalar']) < within
    assert largest(slope, golden[f'{kind}/grad_coords'][0]) < 1e-4
    full = np.asarray(rows @ masks[kept] @ columns.T)
    for size, found in (('low_res_logits', np.asarray(masks[kept])), ('logits', full)):
      (key,) = (key for key in golden if key.startswith(f'{kind}/{size}_every'))
      every = int(key.rsplit('every', 1)[1])
      assert largest(found[:, ::every, ::every], golden[key][0]) < within, key
    share = (full > 0).mean(axis=(1, 2))
    np.testing.assert_allclose(share, golden[f'{kind}/fraction_over_0'], atol=1e-4)


def test_the_reduced_model_equals_the_goldens():
  check_whole('sam_reduced_256', 'sam_reduced', 1e-5)  # measured: 1.1e-6


@pytest.mark.slow
@pytest.mark.parametrize(
  ('name', 'variant'),
  [('mobilesam_vit_t_1024', 'mobilesam_vit_t'), ('sam_vit_b_1024', 'sam_vit_b')],
)
def test_the_published_models_equal_the_goldens(name, variant):
  check_whole(name, variant, 1e-5)


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
  forgetful = segmenter.mobile_sam(params, {}, feedback='forget_at_negative_second')
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


def test_the_frame_is_the_resized_picture(model):
  frame = model.frame(model.params, None, None, jnp.array([300, 400]))
  assert frame.offset.tolist() == [0, 0] and frame.extent.tolist() == [300, 400]
  assert frame.size.tolist() == [768, 1024]


SESSIONS = ('sam_session', 'sam_session_negative_second')


def play(model, golden):
  """(logits, state, previous state) of every round of a session, one click more each."""
  image, rows = golden['in/image_u8'].astype(np.float32) / 255, golden['in/clicks']
  features = features_of(model, image, image.shape[:2])
  state = model.init(model.params, features)
  step = jax.jit(lambda *given: round_of(model, *given))
  for count in range(1, len(rows) + 1):
    logits, after = step(features, state, clicks_of(rows[:count], len(rows)))
    yield np.asarray(logits), after, state
    state = after


def normalised(pixels):
  """SAM's input, (side, side, 3) float32, of the resized picture's levels."""
  height, width = pixels.shape[:2]
  inputs = (np.float32(pixels) - preprocess._MEAN) / preprocess._DEVIATION
  side = sam_golden.REDUCED.side
  return jnp.pad(inputs, ((0, side - height), (0, side - width), (0, 0)))


@pytest.mark.parametrize('name', SESSIONS)
def test_a_published_session_is_played_again(monkeypatch, reduced, name):
  """The predictor of RClicks from click to click: which mask, what is fed back, probabilities.

  It resizes the picture in floats, where Pillow, and so we, round to whole levels behind each
  pass. That rounding, which moves these logits by up to 0.02, is left out here.
  """
  monkeypatch.setattr(
    preprocess, '_rounded', lambda upper, lower: (upper * 2.0**11 + lower) * 2.0**-22
  )
  model = reduced(feedback='forget_at_negative_second')
  golden = sam_golden.golden(name)
  for index, (logits, state, _) in enumerate(play(model, golden)):
    chosen = golden[f'{index}/scores'][0, golden[f'{index}/chosen']]
    assert chosen == golden[f'{index}/scores'].max()
    assert abs(model.predicted_iou(state) - chosen) < 2e-5
    assert largest(state.logits, golden[f'{index}/low_res_chosen'][0]) < 2e-5
    probabilities = np.asarray(jax.nn.sigmoid(logits))
    np.testing.assert_allclose(probabilities, golden[f'{index}/probs'], rtol=0, atol=2e-5)


def test_a_session_sees_the_picture_that_pillow_resizes(monkeypatch, reduced):
  golden = sam_golden.golden(SESSIONS[0])
  image = golden['in/image_u8']
  model = reduced(feedback='forget_at_negative_second')
  ours = list(play(model, golden))
  size = tuple(int(n) for n in preprocess.resized_size(
    jnp.array(image.shape[:2], jnp.int32), side=sam_golden.REDUCED.side))
  resized = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))
  monkeypatch.setattr(preprocess, 'preprocess', lambda *_, **__: normalised(resized))
  for (logits, state, _), (theirs, after, _) in zip(ours, play(model, golden), strict=True):
    assert largest(state.logits, after.logits) < 2e-5
    assert largest(logits, theirs) < 1e-4


def test_sessions_differ_only_in_the_mask_that_is_forgotten(reduced):
  usual, forgetful = reduced(), reduced(feedback='forget_at_negative_second')
  for name in SESSIONS:
    golden = sam_golden.golden(name)
    rows, forgotten = golden['in/clicks'], []
    for index, (one, two) in enumerate(
      zip(play(usual, golden), play(forgetful, golden), strict=True)
    ):
      forgotten.append(largest(one[0], two[0]) > 1e-3)
      used = bool(golden[f'{index}/used_mask_input'])
      assert used == (index > 0 and not (index == 1 and rows[1, 2] == 0))
    # From where the mask is forgotten on, since what comes after is fed another one.
    assert any(forgotten) == (rows[1, 2] == 0) and not forgotten[0]


@pytest.mark.parametrize('choice', network.MASK_CHOICES)
@pytest.mark.parametrize('hq', ['', 'added', 'hq_only'])
def test_the_mask_is_the_one_of_the_four_that_is_asked_for(reduced, choice, hq):
  """At the first click and at later ones, against the four masks of `predict`."""
  model = reduced(mask_choice=choice, **({'hq': hq} if hq else {}))
  features = features_of(model, photograph(96, 128), (96, 128))
  state = model.init(model.params, features)
  assert model.predicted_iou(state) == 0
  rows = [(40, 60, 1), (80, 20, 0), (20, 100, 1)]
  early = 96 if hq else 0

  @jax.jit
  def both(features, state, clicks):
    context = model.prepare(model.params, features, state)
    module = segmenter.prompted(model.params, early=early)
    prompts, decoder = module.prompt_encoder, module.mask_decoder
    xy = (clicks.yx * features.scale[None])[:, ::-1]
    given = (
      context[0], prompts.grid_position(16), *prompts.encode_clicks(xy, clicks.label, 256)
    )
    added = jnp.zeros((64, 64))
    if hq:
      tokens, image = decoder.tokens(*given)
      added = decoder.refined(tokens, decoder.upscale(image), features.hq)
    logits, after = model.decode(model.params, context, clicks)
    return logits, after, decoder.predict(*given), added

  for count in (1, 2, 3):
    logits, after, (masks, predicted), added = both(features, state, clicks_of(rows[:count], 4))
    single = choice == 'single' or (choice == 'advised' and count > 1)
    chosen = 0 if single else 1 + int(np.argmax(predicted[1:]))
    wanted = np.asarray(added) + (0 if hq == 'hq_only' else np.asarray(masks[chosen]))
    assert largest(after.logits, wanted) < 1e-5
    np.testing.assert_allclose(model.predicted_iou(after), predicted[chosen], rtol=1e-5)
    full = np.asarray(features.rows @ after.logits @ features.columns)
    np.testing.assert_allclose(logits, full, rtol=0, atol=1e-5 * np.abs(full).max())
    state = after


def test_empty_slots_and_the_canvas_change_nothing(reduced):
  for chosen in ({}, {'mask_choice': 'advised', 'feedback': 'forget_at_negative_second'},
                 {'hq': 'added'}):
    model, found = reduced(**chosen), []
    image, rows = photograph(70, 90), [(40, 60, 1), (60, 20, 0)]
    for canvas, slots in (((70, 90), 2), ((96, 128), 2), ((70, 90), 5)):
      features = features_of(model, image, canvas)
      state = model.init(model.params, features)
      for count in (1, 2):
        clicks = clicks_of(rows[:count], slots)
        # What stands in an empty slot is nowhere.
        odd = jnp.where(clicks.label[:, None] < 0, jnp.float32(31), clicks.yx)
        logits, state = round_of(model, features, state, Clicks(odd, clicks.label))
      found.append(np.asarray(logits)[:70, :90])
    assert largest(found[1], found[0]) < 1e-4 and largest(found[2], found[0]) < 2e-5


def test_models_are_named_by_what_was_chosen(params, reduced):
  assert segmenter.mobile_sam(params, {}).info.name == 'mobile_sam'
  assert segmenter.mobile_sam(params, {}, mask_choice='single').info.name == 'mobile_sam_single'
  assert reduced(mask_choice='advised').info.name == 'reduced_advised'
  assert reduced(precision='bfloat16').info.name == 'reduced_bfloat16'
  assert reduced(hq='added').info.name == 'reduced'
  assert reduced(hq='hq_only', mask_choice='single').info.name == 'reduced_single_hq_only'


def test_unknown_sizes_and_choices_are_refused(params):
  with pytest.raises(ValueError, match=r"size is 'vit_x'; known: vit_tiny, vit_b, vit_l, vit_h"):
    segmenter.sam(params, {}, name='sam', size='vit_x')
  with pytest.raises(ValueError, match="hq is ''; known: added, hq_only"):
    segmenter.sam_hq(params, {}, name='sam_hq', size='vit_tiny', hq='')
  for option in ('mask_choice', 'feedback', 'precision'):
    with pytest.raises(ValueError, match=f"{option} is 'none'; known: "):
      segmenter.mobile_sam(params, {}, **{option: 'none'})


def test_two_builds_of_a_kind_share_their_functions(reduced):
  """Compiled programs go by the functions, so a sweep over checkpoints compiles once."""
  functions = ('encode', 'init', 'prepare', 'decode', 'frame')
  kinds = [
    {}, {'mask_choice': 'single'}, {'feedback': 'forget_at_negative_second'}, {'hq': 'added'}
  ]
  found = []
  for chosen in kinds:
    one, two = reduced(**chosen), reduced(**chosen)
    assert all(getattr(one, name) is getattr(two, name) for name in functions)
    assert one.params is not two.params
    found.append(one.decode)
  assert len({id(function) for function in found}) == len(kinds)


def test_the_encoder_in_bfloat16_is_near_and_gives_float32(reduced):
  exact, rough = reduced(), reduced(precision='bfloat16')
  image, clicks = photograph(96, 128), clicks_of([(40, 60, 1)], 2)
  found = []
  for model in (exact, rough):
    features = features_of(model, image, image.shape[:2])
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(features))
    logits, _ = round_of(model, features, model.init(model.params, features), clicks)
    found.append(np.asarray(logits))
  # eight bits of a number are kept, of which a sum over many loses some
  assert 1e-4 < largest(found[1], found[0]) < 5e-2
