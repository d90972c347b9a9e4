"""FocalClick's sessions equal the released predictor's; its rules, with networks of few sums."""

import focalclick_golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import ritm_golden
from scipy import ndimage

from ports.clicks.zoom import Box, Zoom
from ports.focalclick import network, segmenter
from ports.nn.resize import linear
from tetris_jax.types import Clicks, ModelInfo

SIDE = 32
ZOOM = Zoom(target=SIDE, skip_clicks=1, min_crop=10, keep_iou=2.0, threshold=0.49)
SHAPE = 40, 56


def stepped(model):
  @jax.jit
  def step(params, features, state, clicks):
    return model.decode(params, model.prepare(params, features, state), clicks)

  return step


@pytest.mark.slow
def test_a_session_of_the_released_predictor():
  golden = np.load(focalclick_golden.FOLDER / 'focalclick_session.npz')
  size = 'hrnet18s_s2'
  zoom_in = Zoom(target=128, skip_clicks=1, min_crop=10, keep_iou=2.0, threshold=0.49)
  assert golden['in/infer_size'] == 128
  model = segmenter.segmenter(
    network.VARIANTS[size], focalclick_golden.params(size), ModelInfo('toy'), zoom_in=zoom_in,
    disks='hard',
  )
  image = golden['in/image_u8'].astype(np.float32) / np.float32(255)
  height, width = image.shape[:2]
  image = np.pad(image, ((0, 10), (0, 6), (0, 0)), constant_values=0.3)
  features = model.encode(model.params, image, jnp.array([height, width], jnp.int32))
  state, step = model.init(model.params, features), stepped(model)
  rows = golden['in/clicks']
  for i in range(len(rows)):
    clicks = ritm_golden.clicks_of_rows(rows[: i + 1])
    logits, state = step(model.params, features, state, clicks)
    if state.last.zoomed:
      box = np.stack([state.last.box.low, state.last.box.high + 1], axis=1).ravel()
      np.testing.assert_array_equal(box, golden[f'{i}/target_box'])
    found = np.asarray(state.last.probability)
    assert np.all(found[height:] == 0) and np.all(found[:, width:] == 0)
    found = found[:height, :width]
    np.testing.assert_allclose(found[::2, ::2], golden[f'{i}/probs_every2'], atol=1e-4)
    np.testing.assert_array_equal(np.asarray(logits)[:height, :width] > 0, found > 0.5)


@pytest.fixture
def toy(monkeypatch):
  """Networks of few sums: the coarse one spreads maps, the refiner sharpens and adds clicks."""

  def coarse(variant, params, image, maps):
    x = maps @ params['weights'] + 0.5 * image[..., 0]
    kernel = jnp.ones((9, 9)) / 81
    smooth = jax.scipy.signal.convolve(x[0], kernel, mode='same')
    logits = 2 * smooth - 2 + 5e-4 * jnp.sum(maps[..., 1:])  # every click moves all of them
    return network.Coarse(logits[None], smooth[None, ::4, ::4, None])

  def refine(params, image, clicks, found, low, high):
    rows, columns = (network._bins(SIDE, SIDE, low[i], high[i]) for i in range(2))
    before = rows @ found.logits[0] @ columns.T
    drawn = clicks[0, ..., 0] - clicks[0, ..., 1] + image[0, ..., 1] - 0.5
    return network.Refined((1.5 * before + drawn)[None], before[None], before[None])

  monkeypatch.setattr(segmenter.network, 'coarse', coarse)
  monkeypatch.setattr(segmenter.network, 'refine', refine)
  params = {'weights': np.array([1.0, 5.0, -5.0], np.float32)}

  def make(**settings):
    variant = network.VARIANTS['segformer_b0_s2']
    return segmenter.segmenter(variant, params, ModelInfo('toy'), zoom_in=ZOOM, **settings)

  return make


def picture(seed=0):
  return np.random.default_rng(seed).random((*SHAPE, 3), np.float32)


ROWS = [(20, 30, 1), (12, 40, 0), (27, 21, 1), (8, 9, 1)]


def session(model, image, size, rows, slots):
  """(logits, state) after every click, and the last features, state before, and clicks."""
  features = model.encode(model.params, image, jnp.array(size, jnp.int32))
  state, step, found = model.init(model.params, features), stepped(model), []
  for i in range(len(rows)):
    clicks = ritm_golden.clicks_of_rows(np.array(rows[: i + 1]), slots)
    before = state
    logits, state = step(model.params, features, before, clicks)
    found.append((np.asarray(logits), jax.tree.map(np.asarray, state)))
  return found, (features, before, clicks)


@pytest.mark.slow
@pytest.mark.parametrize('merge', segmenter.MERGES)
def test_padding_and_empty_slots_change_nothing(toy, merge):
  model = toy(merge=merge)
  plain, _ = session(model, picture(), SHAPE, ROWS, 4)
  padded = np.pad(picture(), ((0, 8), (0, 8), (0, 0)), constant_values=0.9)
  other, _ = session(model, padded, SHAPE, ROWS, 6)
  height, width = SHAPE
  for (logits, state), (others, after) in zip(plain, other, strict=True):
    found = after.last.probability
    np.testing.assert_allclose(found[:height, :width], state.last.probability, atol=1e-5)
    np.testing.assert_array_equal(others[:height, :width] > 0, logits > 0)
    assert np.all(found[height:] == 0) and np.all(np.isfinite(others))
    np.testing.assert_array_equal(after.last.box.low, state.last.box.low)
    assert 0.02 < np.mean(state.last.probability > 0.5) < 0.98


@pytest.mark.slow
def test_a_gradient_reaches_the_newest_click(toy):
  model = toy()
  _, (features, before, clicks) = session(model, picture(), SHAPE, ROWS[:3], 4)
  weight = np.random.default_rng(5).normal(size=SHAPE).astype(np.float32)

  @jax.jit
  def loss(yx):
    moved = clicks._replace(yx=clicks.yx.at[2].set(yx))
    context = model.prepare(model.params, features, before)
    logits, _ = model.decode(model.params, context, moved)
    return jnp.sum(jax.nn.sigmoid(logits) * jnp.asarray(weight))

  slope = np.asarray(jax.jit(jax.grad(loss))(jnp.array([27.3, 21.4])))
  assert np.all(np.isfinite(slope)) and np.all(slope != 0)


@pytest.mark.slow
def test_after_ten_clicks_only_the_focus_crop_changes(toy):
  model = toy()
  random = np.random.default_rng(3)
  rows = [(int(random.integers(40)), int(random.integers(56)), i % 2) for i in range(1, 12)]
  found, _ = session(model, picture(), SHAPE, rows, 11)
  tenth, eleventh = found[-2][1].last.probability, found[-1][1].last.probability
  ninth = found[-3][1].last.probability
  assert np.mean(tenth == ninth) < 0.1 < np.mean(eleventh == tenth) < 1


@pytest.mark.slow
def test_joined_masks_are_the_change_that_was_clicked(toy):
  model = toy(merge='always')
  found, _ = session(model, picture(), SHAPE, ROWS, 4)
  before = np.zeros(SHAPE, bool)
  for (y, x, _), (logits, state) in zip(ROWS, found, strict=True):
    mask = state.last.probability > 0.5
    labels = ndimage.label(mask ^ before, np.ones((3, 3)))[0]
    part = labels == labels[y, x]
    before = before & ~part if before[y, x] else before | part
    np.testing.assert_array_equal(state.shown, before)
    np.testing.assert_array_equal(logits > 0, before)


def test_a_vanished_mask_is_pasted_by_way_of_the_image():
  random = np.random.default_rng(4)
  values = random.random((SIDE, SIDE), np.float32)
  pairs = lambda *numbers: jnp.array(numbers, jnp.int32)
  old = Box(pairs(5, 10), pairs(30, 33))
  seen = segmenter.View(
    jnp.array(False), pairs(0, 0), pairs(*SHAPE), pairs(SIDE, SIDE), old, old, jnp.array(True)
  )
  found = np.asarray(segmenter._pasted(jnp.asarray(values), seen, (48, 60)))
  image = linear(40, SIDE, True) @ values @ linear(56, SIDE, True).T
  wanted = np.zeros((48, 60), np.float32)
  wanted[5:31, 10:34] = linear(26, 40, True) @ image @ linear(24, 56, True).T
  np.testing.assert_allclose(found, wanted, atol=1e-5)
  # And where the rectangle is what was seen, straight into it.
  seen = seen._replace(start=old.low, extent=pairs(26, 24))
  wanted[5:31, 10:34] = linear(26, SIDE, True) @ values @ linear(24, SIDE, True).T
  found = np.asarray(segmenter._pasted(jnp.asarray(values), seen, (48, 60)))
  np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_the_frame_is_the_square_that_the_coarse_pass_sees(toy):
  model = toy()
  features = model.encode(model.params, picture(), jnp.array(SHAPE, jnp.int32))
  context = model.prepare(model.params, features, model.init(model.params, features))
  clicks = Clicks(jnp.array([[20.0, 30.0]]), jnp.array([1], jnp.int32))
  frame = model.frame(model.params, context, clicks, jnp.array(SHAPE, jnp.int32))
  np.testing.assert_array_equal(frame.offset, [0, 0])
  np.testing.assert_array_equal(frame.extent, SHAPE)
  np.testing.assert_array_equal(frame.size, [SIDE, SIDE])


def test_names_say_the_evaluation_and_unknown_ones_are_refused():
  make = lambda **changes: segmenter.focalclick(
    {}, {'a.pth': 'sum'}, **({'name': 'x', 'size': 'segformer_b0_s1'} | changes)
  )
  assert make().info == ModelInfo('x', 0.5, 'frame', {'a.pth': 'sum'})
  assert make(merge='always', cascade='acf4').info.name == 'x_merge_acf4'
  for changes in ({'size': 'b9'}, {'merge': 'no'}, {'disks': 'no'}, {'cascade': 'no'}):
    with pytest.raises(ValueError, match=next(iter(changes))):
      make(**changes)
