"""The location loss against a brute-force evaluation of the whole map in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from tetris_jax.geometry.distance import column_distance
from tetris_jax.geometry.region import (
  first_pixels,
  inner_depth,
  legal_region,
  location_loss,
  within,
)
from tetris_jax.types import Frame

# (offset, extent, size): the whole image as it is, enlarged, reduced by a non-integer factor and
# by four, and a crop that is enlarged.
FRAMES = {
  'same': ((0, 0), (60, 80), (60, 80)),
  'enlarged': ((0, 0), (60, 80), (96, 128)),
  'reduced': ((0, 0), (60, 80), (37, 50)),
  'quarter': ((0, 0), (60, 80), (15, 20)),
  'crop': ((11, 20), (33, 41), (64, 64)),
}
loss_jit = jax.jit(location_loss, static_argnums=3)
gradient_jit = jax.jit(jax.grad(location_loss), static_argnums=3)


def make_frame(name):
  return Frame(*(np.array(part, np.float32) for part in FRAMES[name]))


def aligned_weights(offset, extent, size, count):
  """(size, count) matrix that resizes one axis of an image, bilinear with aligned corners."""
  matrix = np.zeros((size, count))
  for i in range(size):
    position = i * (extent - 1) / (size - 1)
    low = min(int(position), extent - 1)
    matrix[i, offset + low] += 1 - (position - low)
    matrix[i, offset + min(low + 1, extent - 1)] += position - low
  return matrix


def brute_force(yx, legal, name, radius=5.0):
  offset, extent, size = FRAMES[name]
  full = ndimage.distance_transform_edt(~legal)
  rows, columns = (
    aligned_weights(offset[a], extent[a], size[a], legal.shape[a]) for a in (0, 1)
  )
  resized = rows @ full @ columns.T
  yx = np.clip(yx, 0, np.array(size) - 1)
  y, x = np.indices(size)
  away = np.sqrt((y - yx[0]) ** 2 + (x - yx[1]) ** 2 + 1e-9)
  return (np.clip(radius + 0.5 - away, 0, 1) * resized).mean()


def make_legal(shape=(60, 80)):
  y, x = np.indices(shape)
  return ((y - 25) ** 2 + (x - 33) ** 2 < 90) | ((y > 50) & (x > 70))


def clicks_in(name, count=12):
  """Clicks all over the frame, some beyond its border and some on pixel centres."""
  rng = np.random.default_rng(3)
  size = np.array(FRAMES[name][2])
  clicks = rng.uniform(-4, size + 4, (count, 2))
  clicks[:3] = np.round(clicks[:3])
  return clicks.astype(np.float32)


@pytest.mark.parametrize('name', FRAMES)
def test_value_equals_brute_force(name):
  legal = make_legal()
  column = column_distance(legal)
  for yx in clicks_in(name):
    wanted = brute_force(yx.astype(float), legal, name)
    np.testing.assert_allclose(
      loss_jit(yx, column, make_frame(name), 5.0, True), wanted, rtol=1e-5, atol=1e-9
    )


@pytest.mark.parametrize('name', FRAMES)
def test_gradient_equals_finite_differences(name):
  legal = make_legal()
  column = column_distance(legal)
  for yx in clicks_in(name)[3:]:
    found = gradient_jit(yx, column, make_frame(name), 5.0, True)
    yx, step = yx.astype(float), 1e-6
    wanted = [
      (brute_force(yx + e, legal, name) - brute_force(yx - e, legal, name)) / (2 * step)
      for e in step * np.eye(2)
    ]
    scale = max(np.abs(wanted).max(), 1e-6)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3 * scale)


def test_a_click_beyond_the_frame_pays_for_a_disk_at_the_border():
  legal = make_legal()
  column, frame = column_distance(legal), make_frame('enlarged')
  height, width = FRAMES['enlarged'][2]
  for far, near in (
    ((-300, 40.5), (0, 40.5)),
    ((30.25, width + 9.0), (30.25, width - 1)),
    ((height - 0.75, -0.25), (height - 1, 0)),
  ):
    far, near = np.float32(far), np.float32(near)
    paid = loss_jit(far, column, frame, 5.0, True)
    assert paid == loss_jit(near, column, frame, 5.0, True) > 0
    gradient, there = (np.asarray(gradient_jit(at, column, frame, 5.0, True)) for at in (far, near))
    # Where it is clamped it does not move; on the border it does.
    np.testing.assert_array_equal(gradient, np.where(far == near, there, 0))
    assert np.all(there != 0)
  inside = np.float32([[0, 0], [height - 1, width - 1], [3.5, 7.25]])
  np.testing.assert_array_equal(within(inside, np.float32([[height, width]])), inside)


def test_the_first_pixels_of_a_region_come_row_by_row():
  region = np.zeros((3, 4), bool)
  region[[0, 2, 2], [3, 0, 2]] = True
  found, there = first_pixels(region, 5)
  np.testing.assert_array_equal(there, [True] * 3 + [False] * 2)
  np.testing.assert_array_equal(found[:3], [[0, 3], [2, 0], [2, 2]])
  np.testing.assert_array_equal(first_pixels(region, 2)[0], [[0, 3], [2, 0]])


@pytest.mark.parametrize('radius', [0.5, 1.0, 3.0, 7.25])
def test_other_radii(radius):
  legal = make_legal()
  for yx in clicks_in('enlarged', 6):
    found = loss_jit(yx, column_distance(legal), make_frame('enlarged'), radius, True)
    wanted = brute_force(yx.astype(float), legal, 'enlarged', radius)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-9)


def test_padding_of_the_canvas_changes_nothing():
  legal = make_legal()
  padded = np.pad(legal, ((0, 13), (0, 40)))
  for name in FRAMES:
    for yx in clicks_in(name, 5):
      plain = loss_jit(yx, column_distance(legal), make_frame(name), 5.0, True)
      np.testing.assert_array_equal(
        plain, loss_jit(yx, column_distance(padded), make_frame(name), 5.0, True)
      )


def test_a_large_photograph_keeps_its_digits():
  legal = np.zeros((1, 4000), bool)
  legal[0, 1000] = True
  frame = Frame(*np.array([[0, 0], [1, 4000], [1, 1023]], np.float32))
  yx = np.array([0.0, 255.0], np.float32)
  found = loss_jit(yx, column_distance(legal), frame, 5.0, True)
  position = np.arange(1023) * 3999 / 1022
  low = np.floor(position)
  here = lambda p: np.abs(p - 1000)
  resized = here(low) * (1 - position + low) + here(low + 1) * (position - low)
  disk = np.clip(5.5 - np.abs(np.arange(1023) - 255.0), 0, 1)
  np.testing.assert_allclose(found, (disk * resized).mean(), rtol=1e-5)


def test_zero_inside_the_legal_region_and_without_one():
  legal = np.zeros((60, 80), bool)
  legal[10:50, 10:50] = True
  frame, yx = make_frame('same'), np.array([30.3, 30.0], np.float32)
  inside = loss_jit(yx, column_distance(legal), frame, 5.0, True)
  assert inside == 0
  empty = column_distance(np.zeros_like(legal))
  assert loss_jit(yx, empty, frame, 5.0, False) == 0
  np.testing.assert_array_equal(gradient_jit(yx, empty, frame, 5.0, False), 0)


def test_gradient_points_away_from_the_legal_region_and_is_finite_on_a_pixel_centre():
  legal = np.zeros((60, 80), bool)
  legal[:, :20] = True
  gradient = gradient_jit(
    jnp.array([30.0, 40.0]), column_distance(legal), make_frame('same'), 5.0, True
  )
  assert np.isfinite(gradient).all()
  assert gradient[1] > 0 and abs(gradient[0]) < 1e-6


@pytest.mark.slow
def test_maps_over_trajectories():
  legal = np.stack([make_legal(), make_legal()[::-1, ::-1]])
  column = column_distance(legal)
  yx = clicks_in('crop', 2)
  one = lambda yx, column: location_loss(yx, column, make_frame('crop'), 5.0, jnp.array(True))
  values = jax.vmap(one)(yx, column)
  for i in range(2):
    np.testing.assert_allclose(values[i], one(yx[i], column[i]), rtol=1e-6)


def test_legal_region_is_the_error_that_the_label_corrects():
  mask, previous, valid = np.indices((2, 2, 2)).reshape(3, 1, 8).astype(bool)
  legal = legal_region(*(np.stack([a, a]) for a in (mask, previous, valid)), np.array([1, 0]))
  np.testing.assert_array_equal(np.flatnonzero(legal[0]), [5])
  np.testing.assert_array_equal(np.flatnonzero(legal[1]), [3])
  first_round = legal_region(mask, np.zeros_like(mask), np.ones_like(mask), 1)
  np.testing.assert_array_equal(first_round, mask)


def test_depth_is_one_at_the_deepest_pixel_and_counts_the_image_border():
  y, x = np.mgrid[:41, :41] - 20
  disk = y**2 + x**2 <= 15**2
  depth = np.asarray(inner_depth(disk))
  assert depth.max() == depth[20, 20] == pytest.approx(1)
  inside = ndimage.distance_transform_edt(disk)
  np.testing.assert_allclose(depth, inside / inside.max(), rtol=1e-6)
  whole = inner_depth(np.ones((5, 9), bool))
  np.testing.assert_allclose(whole[:, 4] * 3, [1, 2, 3, 2, 1])
  assert not inner_depth(np.zeros((4, 4), bool)).any()
