"""IoU and boundary IoU against NumPy counts and SciPy's repeated erosion."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from tetris_jax.geometry.overlap import band_width, boundary_band, boundary_iou, inside_image, iou

seeds = st.integers(0, 2**32 - 1)
band_jit, biou_jit = jax.jit(boundary_band), jax.jit(boundary_iou)


def band_by_scipy(mask):
  width = max(1, round(0.02 * np.hypot(*mask.shape)))
  padded = np.pad(mask, 1)
  eroded = ndimage.binary_erosion(padded, np.ones((3, 3)), iterations=width)[1:-1, 1:-1]
  return mask & ~eroded


def random_mask(rng, shape):
  noise = ndimage.gaussian_filter(rng.normal(size=shape), rng.uniform(0, 9))
  return noise > np.quantile(noise, rng.uniform(0, 1))


def iou_by_counting(a, b, valid):
  union = ((a | b) & valid).sum()
  return (a & b & valid).sum() / union if union else 1.0


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_iou_counts_exactly(seed):
  rng = np.random.default_rng(seed)
  a, b, valid = (rng.uniform(size=(17, 23)) < rng.uniform(0, 1) for _ in range(3))
  assert iou(a, b, valid) == np.float32(iou_by_counting(a, b, valid))


def test_iou_of_a_tall_and_a_wide_canvas():
  for shape in ((5000, 3), (3, 5000)):
    full = np.ones(shape, bool)
    part = full.copy()
    part[0, 0] = False
    assert iou(part, full, full) == np.float32(14999 / 15000)


def test_iou_of_an_empty_union_is_one():
  empty, full = np.zeros((4, 5), bool), np.ones((4, 5), bool)
  assert iou(empty, empty, full) == 1
  assert iou(full, full, empty) == 1
  assert iou(empty, full, full) == 0


@settings(max_examples=30, deadline=None)
@given(seed=seeds)
def test_band_equals_repeated_erosion_at_the_true_border(seed):
  rng = np.random.default_rng(seed)
  height, width = rng.integers(1, 150), rng.integers(1, 180)
  mask = random_mask(rng, (height, width))
  # The padding holds anything.
  canvas = rng.uniform(size=(150, 180)) < 0.5
  canvas[:height, :width] = mask
  band = band_jit(canvas, np.array([height, width], np.int32))
  np.testing.assert_array_equal(band[:height, :width], band_by_scipy(mask))
  assert not np.asarray(band)[height:].any() and not np.asarray(band)[:, width:].any()


def test_band_of_a_full_image_is_a_frame():
  full = np.ones((300, 400), bool)
  band = np.asarray(band_jit(full, np.array([300, 400], np.int32)))
  inner = np.zeros_like(full)
  inner[10:-10, 10:-10] = True
  np.testing.assert_array_equal(band, ~inner)


def test_band_width_equals_the_rounded_diagonal():
  rng = np.random.default_rng(0)
  sizes = rng.integers(1, 4200, (2000, 2))
  # Pythagorean sizes whose diagonals are 25, 75, 125, ...: exact halves.
  halves = np.array([[15, 20], [7, 24], [45, 60], [75, 100], [117, 44], [105, 140], [165, 280]])
  sizes = np.concatenate([sizes, halves, np.outer(np.arange(1, 140, 2), [15, 20])])
  wanted = [max(1, round(0.02 * np.hypot(*size))) for size in sizes.tolist()]
  np.testing.assert_array_equal(band_width(sizes.astype(np.int32), (4200, 4200)), wanted)


@pytest.mark.parametrize('seed', range(3))
def test_boundary_iou_skips_ignored_pixels_after_taking_the_bands(seed):
  rng = np.random.default_rng(seed)
  a, b = random_mask(rng, (90, 120)), random_mask(rng, (90, 120))
  valid = ~random_mask(rng, (90, 120))
  wanted = iou_by_counting(band_by_scipy(a), band_by_scipy(b), valid)
  padding = ((0, 60), (0, 60))
  canvas = np.pad(a, padding, constant_values=True), np.pad(b, padding), np.pad(valid, padding)
  found = biou_jit(*canvas, np.array([90, 120], np.int32))
  assert found == np.float32(wanted)


@pytest.mark.slow
def test_leading_dimensions_and_vmap_equal_single_calls():
  rng = np.random.default_rng(5)
  a = np.stack([random_mask(rng, (60, 70)) for _ in range(4)])
  b = np.stack([random_mask(rng, (60, 70)) for _ in range(4)])
  size = np.array([[60, 70], [50, 60], [1, 1], [60, 2]], np.int32)
  valid = inside_image(size, a.shape)
  batched = biou_jit(a, b, valid, size)
  mapped = jax.vmap(boundary_iou)(a, b, valid, size)
  for i in range(4):
    single = biou_jit(a[i], b[i], valid[i], size[i])
    assert batched[i] == single == mapped[i]


def test_inside_image():
  inside = inside_image(jnp.array([2, 3]), (4, 5))
  wanted = np.zeros((4, 5), bool)
  wanted[:2, :3] = True
  np.testing.assert_array_equal(inside, wanted)
