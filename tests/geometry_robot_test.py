"""The robot user against the published code's answers and a SciPy restatement of the rule."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from tetris_jax.geometry.robot import clicked_pixels, error_regions, next_click
from tetris_jax.types import Clicks

GOLDEN = pathlib.Path(__file__).parent / 'golden' / 'ritm_next_click.npz'
SHAPE = (26, 34)
seeds = st.integers(0, 2**32 - 1)
next_click_jit = jax.jit(next_click)


def whole(mask):
  """(height, width) of an image that fills its canvas, an entry a mask."""
  return np.broadcast_to(np.int32(mask.shape[-2:]), (*mask.shape[:-2], 2))


def no_clicks(*lead, slots=3):
  return Clicks(jnp.zeros((*lead, slots, 2)), jnp.full((*lead, slots), -1))


def rule(mask, prediction, valid, clicked):
  """The same click by SciPy, pixel by pixel as the protocol states it."""

  def depth(region):
    squared = np.square(ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]).round()
    for y, x in clicked:
      squared[np.clip(round(float(y)), 0, len(mask) - 1), np.clip(round(float(x)), 0, 33)] = 0
    return squared

  negatives, positives = depth(mask & ~prediction & valid), depth(~mask & prediction & valid)
  positive = negatives.max() > positives.max()
  chosen = negatives if positive else positives
  return np.argwhere(chosen == chosen.max())[0], int(positive)


def random_case(seed):
  rng = np.random.default_rng(seed)
  blob = lambda: ndimage.gaussian_filter(rng.normal(size=SHAPE), rng.uniform(0, 3)) > 0
  valid = ~(blob() & blob() & blob())
  yx = rng.uniform(-3, 37, (3, 2)).astype(np.float32)
  yx[0] = rng.integers(0, 20, 2) + 0.5
  label = np.array([1, 0, -1])[rng.integers(0, 3, 3)]
  return blob(), blob(), valid, yx, label.astype(np.int32)


def test_golden_next_clicks():
  golden = np.load(GOLDEN)
  mask, points = golden['in/gt'], golden['in/clicked']
  label = np.where(points.max(-1) < 0, -1, points[..., 2]).astype(np.int32)
  clicked = Clicks(points[..., :2].astype(np.float32), label)
  yx, found = next_click_jit(mask == 1, golden['in/pred'], mask != -1, clicked, whole(mask))
  np.testing.assert_array_equal(yx, golden['next_click'][:, :2])
  np.testing.assert_array_equal(found, golden['next_click'][:, 2])
  assert yx.dtype == jnp.float32 and found.dtype == jnp.int32


@settings(max_examples=60, deadline=None)
@given(seed=seeds)
def test_equals_the_rule_by_scipy(seed):
  mask, prediction, valid, yx, label = random_case(seed)
  found_yx, found_label = next_click_jit(mask, prediction, valid, Clicks(yx, label), whole(mask))
  wanted_yx, wanted_label = rule(mask, prediction, valid, yx[label >= 0])
  np.testing.assert_array_equal(found_yx, wanted_yx)
  assert found_label == wanted_label


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_padding_changes_nothing(seed):
  mask, prediction, valid, yx, label = random_case(seed)
  plain = next_click_jit(mask, prediction, valid, Clicks(yx, label), whole(mask))
  padding = ((0, 9), (0, 22))
  canvas = [np.pad(mask, padding), np.pad(prediction, padding, constant_values=True)]
  padded = next_click_jit(
    *canvas, np.pad(valid, padding), Clicks(yx, label), np.array(SHAPE, np.int32)
  )
  np.testing.assert_array_equal(plain[0], padded[0])
  assert plain[1] == padded[1]


def test_batches_equal_single_calls():
  cases = [random_case(seed) for seed in range(4)]
  mask, prediction, valid, yx, label = (np.stack(part) for part in zip(*cases, strict=True))
  batched = next_click_jit(mask, prediction, valid, Clicks(yx, label), whole(mask))
  many = jax.jit(jax.vmap(next_click))
  mapped = many(mask, prediction, valid, Clicks(yx, label), whole(mask))
  for i, case in enumerate(cases):
    single = next_click_jit(*case[:3], Clicks(*case[3:]), whole(case[0]))
    for many in (batched, mapped):
      np.testing.assert_array_equal(many[0][i], single[0])
      assert many[1][i] == single[1]


@pytest.mark.parametrize('fill', [False, True])
def test_a_perfect_mask_gives_a_negative_click_at_the_origin(fill):
  mask = np.full((5, 6), fill)
  yx, label = next_click(mask, mask, np.ones_like(mask), no_clicks(), whole(mask))
  np.testing.assert_array_equal(yx, [0, 0])
  assert label == 0


def test_a_tie_is_negative_and_takes_the_first_maximum():
  mask, prediction = np.zeros((12, 20), bool), np.zeros((12, 20), bool)
  mask[1:4, 1:4] = True
  prediction[6:9, 10:13] = prediction[6:9, 14:17] = True
  yx, label = next_click(mask, prediction, np.ones_like(mask), no_clicks(), whole(mask))
  np.testing.assert_array_equal(yx, [7, 11])
  assert label == 0


def test_ignored_pixels_are_no_errors():
  mask = np.zeros((12, 20), bool)
  mask[2:9, 2:9] = mask[2:5, 12:15] = True
  valid = np.ones_like(mask)
  valid[2:9, 2:9] = False
  yx, label = next_click(mask, np.zeros_like(mask), valid, no_clicks(), whole(mask))
  np.testing.assert_array_equal(yx, [3, 13])
  assert label == 1


def test_error_regions():
  mask, prediction, valid = np.indices((2, 2, 2)).reshape(3, 1, 8).astype(bool)
  negatives, positives = error_regions(mask, prediction, valid)
  np.testing.assert_array_equal(np.flatnonzero(negatives), [5])
  np.testing.assert_array_equal(np.flatnonzero(positives), [3])


def test_clicked_pixels_round_half_to_even_and_stay_in_the_image():
  yx = jnp.array([[0.5, 1.5], [2.5, 3.5], [-7.0, 99.0], [4.0, 4.0]])
  pixels = clicked_pixels(Clicks(yx, jnp.array([1, 0, 1, -1])), jnp.array([6, 8]))
  np.testing.assert_array_equal(pixels, [[0, 2], [2, 4], [0, 7], [-1, -1]])
