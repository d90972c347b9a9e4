"""Tests of the protocol around a network of click maps, with a network of one convolution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import ritm_golden

from ports.clicks.maps import Protocol, _maps, segmenter, view
from ports.clicks.zoom import Zoom
from tetris_jax.types import Clicks, ModelInfo

EXACT = Zoom(target=48, min_crop=16)
FIXED = Zoom(target=(40, 56), skip_clicks=-1, min_crop=16)


def forward(params, image, maps, size):
  """Smooth maps times weights plus brightness, at a quarter of the resolution."""
  x = jnp.concatenate([image, maps], axis=-1)
  height, width = x.shape[1:3]
  if size is not None:
    rows = jnp.arange(height, dtype=jnp.int32) < size[0]
    columns = jnp.arange(width, dtype=jnp.int32) < size[1]
    x = x * (rows[:, None] & columns[None, :])[None, :, :, None].astype(jnp.float32)
  smooth = jax.lax.conv_general_dilated(
    x @ params['weights'][:, None], jnp.ones((9, 9, 1, 1)) / 9, (4, 4), [(4, 4), (4, 4)],
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )
  low = (-(-height // 4), -(-width // 4)) if size is None else (size + 3) // 4
  return smooth[..., 0] - 8.0, low


PARAMS = {'weights': np.array([1.0, 0.5, -0.5, 0.7, 3.0, -3.0], np.float32)}


def image_of(height, width, seed=0):
  return np.random.default_rng(seed).random((height, width, 3), np.float32)


def model(zoom, **settings):
  return segmenter(forward, PARAMS, ModelInfo('toy'), Protocol(zoom, **settings))


def run(model, image, size, rows, slots=4):
  """Logits and states after every click; and the last context."""
  features = model.encode(model.params, image, jnp.array(size, jnp.int32))
  state, out = model.init(model.params, features), []

  @jax.jit
  def step(features, state, clicks):
    context = model.prepare(model.params, features, state)
    return context, *model.decode(model.params, context, clicks)

  for i in range(len(rows)):
    clicks = ritm_golden.clicks_of_rows(np.array(rows[: i + 1]), slots)
    context, logits, state = step(features, state, clicks)
    out.append((np.asarray(logits), jax.tree.map(np.asarray, state)))
  return out, context, clicks


ROWS = [(20, 30, 1), (40, 60, 0), (24, 33, 1)]


@pytest.mark.slow
@pytest.mark.parametrize('zoom', [EXACT, FIXED])
@pytest.mark.parametrize('flip', [False, True])
def test_padding_and_empty_slots_change_nothing(zoom, flip):
  image = image_of(60, 80)
  toy = model(zoom, flip=flip)
  plain, _, _ = run(toy, image, (60, 80), ROWS, slots=3)
  padded = np.pad(image, ((0, 4), (0, 16), (0, 0)), constant_values=0.9)
  other, _, _ = run(toy, padded, (60, 80), ROWS, slots=6)
  for (a, before), (b, after) in zip(plain, other, strict=True):
    np.testing.assert_allclose(b[:60, :80], a, atol=2e-5)
    np.testing.assert_array_equal(before.box.low, after.box.low)
    np.testing.assert_array_equal(before.box.high, after.box.high)
    assert np.all(after.probability[60:] == 0) and np.all(np.isfinite(b))
  assert plain[-1][1].zoomed


@pytest.mark.slow
def test_the_mirrored_image_gives_the_mirrored_mask():
  image = image_of(40, 50)
  toy = model(Zoom(target=64, skip_clicks=9), flip=True)
  plain, _, _ = run(toy, image, (40, 50), ROWS[:1])
  rows = [(20, 49 - 30, 1)]
  turned, _, _ = run(toy, np.ascontiguousarray(image[:, ::-1]), (40, 50), rows)
  np.testing.assert_allclose(turned[0][0][:, ::-1], plain[0][0], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('zoom', [EXACT, FIXED])
def test_gradients_of_a_click_in_a_crop_add_up_to_what_the_probabilities_gain(zoom):
  image = image_of(60, 80)
  toy = model(zoom)
  out, context, clicks = run(toy, image, (60, 80), [*ROWS, (27, 30, 1)])
  assert out[-1][1].zoomed
  seen = view(Protocol(zoom), context, clicks)
  assert np.any(np.asarray(seen.extent) < 60)
  weight = np.random.default_rng(5).normal(size=(60, 80)).astype(np.float32)

  def loss(yx):
    moved = clicks._replace(yx=clicks.yx.at[3].set(yx))
    logits = toy.decode(toy.params, context, moved)[0]
    return jnp.sum(jax.nn.sigmoid(logits) * jnp.asarray(weight))

  value, slopes_of = jax.jit(loss), jax.jit(lambda at: jax.lax.map(jax.grad(loss), at))
  # A disk's pixels have kinks, so the gradient is compared with the gain over a way, not at a
  # point: the integral along it by the midpoint rule.
  count = 32
  for way in ([0.9, 0.0], [0.0, -0.8], [0.5, 0.6]):
    start, way = jnp.array([27.3, 30.4]), jnp.array(way)
    at = start[None] + (jnp.arange(count, dtype=jnp.float32)[:, None] + 0.5) / count * way[None]
    slopes = slopes_of(at)
    gain = value(start + way) - value(start)
    steps = slopes @ way / count
    # At a kink the rule errs by up to one step.
    assert abs(jnp.sum(steps) - gain) < 0.02 * jnp.sum(jnp.abs(steps)) + jnp.max(jnp.abs(steps))
    assert np.all(np.any(slopes != 0, axis=0))


@pytest.mark.slow
def test_the_frame_is_where_the_click_is_drawn():
  image = image_of(60, 80)
  toy = model(EXACT)
  _, context, clicks = run(toy, image, (60, 80), ROWS)
  frame = toy.frame(toy.params, context, clicks, jnp.array([60, 80], jnp.int32))
  seen = view(Protocol(EXACT), context, clicks)
  np.testing.assert_array_equal(frame.offset, seen.box.low)
  np.testing.assert_array_equal(frame.extent, seen.box.high - seen.box.low + 1)
  assert int(np.max(frame.size)) == 48
  first = Clicks(clicks.yx, jnp.array([1, -1, -1, -1], jnp.int32))
  frame = toy.frame(toy.params, context._replace(
    state=toy.init(toy.params, context.features)), first, jnp.array([60, 80], jnp.int32))
  np.testing.assert_array_equal(frame.extent, [60, 80])
  np.testing.assert_array_equal(frame.size, [60, 80])


@pytest.mark.slow
def test_a_vanished_mask_shows_the_whole_image_and_pastes_into_the_last_box():
  image = image_of(60, 80)
  toy = model(EXACT)
  _, context, clicks = run(toy, image, (60, 80), ROWS)
  state = context.state._replace(
    probability=jnp.zeros((60, 80)), zoomed=jnp.array(True)
  )
  again = toy.prepare(toy.params, context.features, state)
  seen = view(Protocol(EXACT), again, clicks)
  assert bool(seen.whole)
  _, after = toy.decode(toy.params, again, clicks)
  (top, left), (bottom, right) = np.asarray(state.box.low), np.asarray(state.box.high)
  found = np.array(after.probability)
  assert np.all(found[top : bottom + 1, left : right + 1] > 0)
  found[top : bottom + 1, left : right + 1] = 0
  assert np.all(found == 0)
  np.testing.assert_array_equal(after.box.low, state.box.low)


def test_hard_disks_skip_clicks_that_the_released_code_takes_for_padding():
  protocol = Protocol(EXACT, disks='hard')
  yx = jnp.array([[-1.0, -2.0], [-3.0, 7.0]])
  maps = _maps(protocol, yx, jnp.array([1, 1], jnp.int32), (12, 16))
  alone = _maps(protocol, yx[1:], jnp.array([1], jnp.int32), (12, 16))
  np.testing.assert_array_equal(maps, alone)
  assert maps[..., 0].sum() > 0


def test_disks_of_further_radii_follow():
  protocol = Protocol(EXACT, disks='hard', more_radii=(3.0,))
  yx, label = jnp.array([[5.0, 6.0], [8.0, 2.0]]), jnp.array([1, 0], jnp.int32)
  maps = _maps(protocol, yx, label, (12, 16))
  small = _maps(Protocol(EXACT, disks='hard', radius=3.0), yx, label, (12, 16))
  assert maps.shape == (12, 16, 4)
  np.testing.assert_array_equal(maps[..., 2:], small)
  np.testing.assert_array_equal(
    maps[..., :2], _maps(Protocol(EXACT, disks='hard'), yx, label, (12, 16))
  )


@pytest.mark.slow
def test_what_finishes_the_logits_sees_the_picture_as_it_is_and_the_maps():
  image, seen = image_of(40, 50), []

  def finish(image, maps, logits):
    seen.append((image.shape, maps.shape, logits.shape))
    return jnp.where(maps[..., 1] > 0, 5.0, -5.0) + 0 * logits

  plain = segmenter(forward, PARAMS, ModelInfo('toy'), Protocol(FIXED, disks='hard'), finish)
  (logits, state), *_ = run(plain, image, (40, 50), ROWS[:1])[0]
  assert seen[0] == ((40, 56, 3), (40, 56, 3), (40, 56))
  # not of the mirrored one: the disk is where the click is
  inside = np.argwhere(state.probability > 0.5)
  np.testing.assert_allclose(inside.mean(0), [20, 30], atol=1)
  assert logits.max() < 5.1


@pytest.mark.slow
def test_a_batch_gives_what_its_instances_give():
  toy = model(EXACT)
  images = np.stack([image_of(60, 80, seed) for seed in range(2)])
  size = jnp.array([[60, 80], [50, 61]], jnp.int32)
  clicks = ritm_golden.clicks_of_rows(np.array(ROWS[:1]))

  def one(image, size):
    features = toy.encode(toy.params, image, size)
    context = toy.prepare(toy.params, features, toy.init(toy.params, features))
    return toy.decode(toy.params, context, clicks)[0]

  both = jax.jit(jax.vmap(one))(images, size)
  for i in range(2):
    np.testing.assert_allclose(jax.jit(one)(images[i], size[i]), both[i], atol=1e-5)


def test_unknown_disks_are_refused():
  with pytest.raises(ValueError, match="disks is 'round'; known: soft, hard"):
    Protocol(EXACT, disks='round')
