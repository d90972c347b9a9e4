"""Tests of zooming in: boxes, crops and clicks equal the released code's."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ports.clicks.zoom import Box, View, Zoom, _expanded, _scaled, choose, surround, to_view
from ports.nn.resize import aligned, crop
from tetris_jax.types import Clicks

GOLDEN = pathlib.Path(__file__).parent / 'golden' / 'ritm_zoom_in.npz'


def rules(text):
  given = json.loads(text)
  target = given['target_size']
  return Zoom(
    target=tuple(target) if isinstance(target, list) else target,
    skip_clicks=given['skip_clicks'],
    expansion=given['expansion_ratio'],
    min_crop=given['min_crop_size'],
    keep_iou=given['recompute_thresh_iou'],
    threshold=given['prob_thresh'],
  )


def clicks_of(rows, slots=5):
  yx, label = np.zeros((slots, 2), np.float32), np.full(slots, -1, np.int32)
  yx[: len(rows)], label[: len(rows)] = rows[:, :2], rows[:, 2]
  return Clicks(jnp.asarray(yx), jnp.asarray(label))


def plain(view):
  return np.asarray(jnp.stack([view.box.low, view.box.high], axis=1)).ravel()


@pytest.mark.slow
@pytest.mark.parametrize('sequence', range(11))
@pytest.mark.parametrize('padding', [(0, 0), (30, 11)])
def test_boxes_crops_and_clicks_of_the_released_code(sequence, padding):
  golden = np.load(GOLDEN)
  zoom = rules(str(golden[f'in/{sequence}/params']))
  image = golden['in/image'][0].transpose(1, 2, 0)
  size = jnp.array(image.shape[:2], jnp.int32)
  image = np.pad(image, ((0, padding[0]), (0, padding[1]), (0, 0)), constant_values=9)
  canvas = image.shape[:2]

  @jax.jit
  def step(mask, clicks, box, zoomed):
    seen = surround(mask, zoom.threshold)
    return choose(zoom, box, zoomed, seen, clicks, size, canvas)

  box, zoomed = Box(jnp.zeros(2, jnp.int32), jnp.zeros(2, jnp.int32)), jnp.array(False)
  for i in range(int(golden[f'in/{sequence}/n_steps'])):
    wanted = {k: golden[f'{sequence}/{i}/{k}'] for k in (
      'roi', 'image_changed', 'crop_shape', 'crop_every7', 'clicks', 'inverse_every5'
    )}
    mask = np.pad(golden[f'in/{sequence}/{i}/mask'], ((0, padding[0]), (0, padding[1])))
    rows = golden[f'in/{sequence}/{i}/clicks']
    clicks = clicks_of(rows)
    before = (bool(zoomed), *np.asarray(box.low), *np.asarray(box.high))
    view = step(mask.astype(np.float32), clicks, box, zoomed)
    box, zoomed = view.box, view.zoomed

    assert bool(zoomed) == (wanted['roi'][0] >= 0)
    if zoomed:
      np.testing.assert_array_equal(plain(view), wanted['roi'])
      # What is reported as changed there is a box chosen in this step.
      same = before == (True, *np.asarray(box.low), *np.asarray(box.high))
      assert same or wanted['image_changed']
    height, width = wanted['crop_shape'][2:]
    np.testing.assert_array_equal(view.size, [height, width])
    moved = np.asarray(to_view(clicks.yx, view))[: len(rows)]
    np.testing.assert_allclose(moved, wanted['clicks'], rtol=1e-7)

    room = (height + 3, width + 5)
    cut = np.asarray(crop(image, room, view.start, view.extent, view.size, False))
    assert np.all(cut[height:] == 0) and np.all(cut[:, width:] == 0)
    cut = cut[:height, :width]
    np.testing.assert_allclose(
      cut[::7, ::7].transpose(2, 0, 1), wanted['crop_every7'][0], atol=2e-5
    )
    turned = np.asarray(crop(image, room, view.start, view.extent, view.size, True))
    np.testing.assert_array_equal(turned[:height, :width], cut[:, ::-1])

    r, c = np.mgrid[:height, :width]
    made = (0.5 + 0.45 * np.sin(0.11 * r + 0.05 * c)).astype(np.float32)
    extent = view.paste.high - view.paste.low + 1
    vertical = aligned(canvas[0], height, extent[0], height, into=view.paste.low[0])
    horizontal = aligned(canvas[1], width, extent[1], width, into=view.paste.low[1])
    back = np.asarray(vertical @ made @ horizontal.T)
    assert np.all(back[size[0] :] == 0) and np.all(back[:, size[1] :] == 0)
    back = back[: size[0], : size[1]]
    np.testing.assert_allclose(back[::5, ::5], wanted['inverse_every5'][0, 0], atol=1e-5)


def expanded(low, high, zoom, size):
  """The released rule for one axis, in Python's own float64."""
  centre = 0.5 * (low + high)
  length = max(zoom.expansion * (high - low + 1), zoom.min_crop)
  return (
    max(0, round(centre - 0.5 * length)), min(size - 1, round(centre + 0.5 * length))
  )


@pytest.mark.parametrize('zoom', [
  Zoom(), Zoom(min_crop=1), Zoom(min_crop=41), Zoom(expansion=1.1, min_crop=1),
  Zoom(expansion=1.7, min_crop=1),
])
def test_boxes_round_as_float64_does(zoom):
  size = 5000
  low, high = np.triu_indices(150)
  offset = np.array([0, 1, 6, 1023, 3000])[:, None]
  low, high = (low[None] + offset).ravel(), (high[None] + offset).ravel()

  def one(low, high):
    box = Box(jnp.stack([low, low]), jnp.stack([high, high]))
    return _expanded(box, zoom, jnp.full(2, size, jnp.int32), 300)

  found = jax.jit(jax.vmap(one))(jnp.asarray(low, jnp.int32), jnp.asarray(high, jnp.int32))
  wanted = [expanded(int(a), int(b), zoom, size) for a, b in zip(low, high, strict=True)]
  np.testing.assert_array_equal(np.stack([found.low[:, 0], found.high[:, 0]], 1), wanted)


@pytest.mark.parametrize('target', [400, 600, 96, 128])
def test_crops_are_sized_as_float64_does(target):
  longest, other = np.tril_indices(900)
  keep = (longest % 7 == 0) | (longest % 32 == 0)
  longest, other = longest[keep] + 1, other[keep] + 1

  scaled = jax.vmap(lambda a, b: _scaled(jnp.stack([a, b]), target, 900))
  found = jax.jit(scaled)(jnp.asarray(longest, jnp.int32), jnp.asarray(other, jnp.int32))
  pairs = [(int(a), int(b)) for a, b in zip(longest, other, strict=True)]
  wanted = [[max(1, round(n * (target / a))) for n in (a, b)] for a, b in pairs]
  np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize('setting', [
  {'skip_clicks': 0}, {'skip_clicks': -2}, {'target': 0}, {'target': (4, 4, 4)}, {'min_crop': 0},
  {'expansion': 0.9},
])
def test_settings_out_of_range_are_refused(setting):
  with pytest.raises(ValueError, match=next(iter(setting))):
    Zoom(**setting)


def test_places_of_whole_clicks_are_rounded_as_the_released_code_rounds_them():
  nothing = Box(jnp.zeros(2, jnp.int32), jnp.zeros(2, jnp.int32))
  pixels = np.arange(40, dtype=np.float32)

  @jax.jit
  def places(extent, size):
    pair = lambda n: jnp.stack([n, n])
    view = View(
      jnp.array(False), pair(0), pair(extent), pair(size), nothing, nothing, jnp.array(True)
    )
    yx = jnp.stack([jnp.asarray(pixels) * extent.astype(jnp.float32) / 40] * 2, axis=1)
    whole = jnp.floor(yx)
    return whole[:, 0], to_view(whole, view, exact=True)[:, 0]

  for size in (256, 400, 448):
    extents = np.arange(1, 600, dtype=np.int32)
    pixel, found = jax.vmap(places, (0, None))(extents, np.int32(size))
    wanted = size * np.asarray(pixel, np.float64) / extents[:, None]
    np.testing.assert_array_equal(found, wanted.astype(np.float32))
