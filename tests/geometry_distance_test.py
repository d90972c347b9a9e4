"""Distances against SciPy's exact transform and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from tetris_jax.geometry import distance
from tetris_jax.geometry.distance import (
  FAR,
  column_distance,
  edt,
  error_distance,
  squared_distance_at,
  squared_distance_grid,
)

SHAPES = [(1, 1), (1, 9), (9, 1), (17, 40), (40, 23)]
seeds = st.integers(0, 2**32 - 1)
edt_jit, error_jit, column_jit = jax.jit(edt), jax.jit(error_distance), jax.jit(column_distance)
by_scan_jit = jax.jit(distance._rows_to_nearest_by_scan)
by_maximum_jit = jax.jit(distance._rows_to_nearest_by_maximum)
at_once_jit = jax.jit(distance._lower_envelope_at_once, static_argnums=1)
by_block_jit = jax.jit(distance._lower_envelope_by_block, static_argnums=1)


def random_labels(seed, shape):
  """0, 1, -1 in blobs and specks, from almost nothing to almost everything."""
  rng = np.random.default_rng(seed)
  noise = ndimage.gaussian_filter(rng.normal(size=shape), rng.uniform(0, 4))
  low, high = np.quantile(noise, np.sort(rng.uniform(0, 1, 2)))
  return np.where(noise > high, 1, np.where(noise < low, -1, 0))


def inner_distance_squared(region):
  return np.square(ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1])


def check_error_distance(labels):
  found = error_jit(labels == 1, labels == -1)
  wanted = inner_distance_squared(labels == 1) - inner_distance_squared(labels == -1)
  np.testing.assert_array_equal(found, np.round(wanted))


@pytest.mark.parametrize('shape', SHAPES)
@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_error_distance_equals_scipy(shape, seed):
  check_error_distance(random_labels(seed, shape))


@pytest.mark.parametrize('fill', [0, 1, -1])
@pytest.mark.parametrize('shape', SHAPES)
def test_error_distance_of_a_filled_canvas_grows_from_the_border(shape, fill):
  check_error_distance(np.full(shape, fill))
  y, x = np.indices(shape)
  depth = np.minimum.reduce([y + 1, x + 1, shape[0] - y, shape[1] - x])
  filled = np.full(shape, True)
  np.testing.assert_array_equal(error_jit(filled, ~filled), depth**2)


def test_error_distance_of_a_large_disk_and_thin_lines():
  y, x = np.indices((130, 300))
  labels = np.zeros(y.shape, int)
  labels[(y - 60) ** 2 + (x - 90) ** 2 < 55**2] = 1
  labels[(y - 60) ** 2 + (x - 120) ** 2 < 30**2] = -1
  labels[100:103, 160:] = 1
  labels[:, 200] = -1
  labels[y + x == 330] = 1
  check_error_distance(labels)


def test_error_distance_of_pixels_that_are_in_both_regions_is_zero():
  both = jnp.ones((3, 4), bool)
  np.testing.assert_array_equal(error_distance(both, both), 0)


@pytest.mark.slow
def test_leading_dimensions_and_vmap_equal_single_calls():
  labels = np.stack([random_labels(seed, (33, 21)) for seed in range(6)]).reshape(2, 3, 33, 21)
  batched = error_jit(labels == 1, labels == -1)
  mapped = jax.jit(jax.vmap(jax.vmap(error_distance)))(labels == 1, labels == -1)
  shared = jax.vmap(error_distance, (0, None))(labels[0] == 1, jnp.zeros((33, 21), bool))
  for i in np.ndindex(2, 3):
    single = error_jit(labels[i] == 1, labels[i] == -1)
    np.testing.assert_array_equal(batched[i], single)
    np.testing.assert_array_equal(mapped[i], single)
  for i in range(3):
    np.testing.assert_array_equal(shared[i], inner_distance_squared(labels[0, i] == 1).round())


@pytest.mark.parametrize('shape', SHAPES)
@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_edt_equals_scipy(shape, seed):
  mask = random_labels(seed, shape) == 1
  mask.flat[seed % mask.size] = False
  np.testing.assert_allclose(edt_jit(mask), ndimage.distance_transform_edt(mask), rtol=1e-6)


def test_edt_has_no_border_rule():
  mask = np.ones((30, 70), bool)
  mask[3, 69] = False
  y, x = np.indices(mask.shape)
  np.testing.assert_allclose(edt_jit(mask), np.hypot(y - 3, x - 69), rtol=1e-6)


def test_edt_of_empty_and_full_masks():
  np.testing.assert_array_equal(edt(jnp.zeros((5, 7), bool)), 0)
  np.testing.assert_array_equal(edt(jnp.ones((5, 7), bool)), FAR)


def test_column_distance():
  target = np.zeros((6, 3), bool)
  target[2, 0] = target[0, 1] = target[5, 1] = True
  wanted = np.stack([[2, 1, 0, 1, 2, 3], [0, 1, 2, 2, 1, 0], [FAR] * 6], axis=1)
  np.testing.assert_array_equal(column_jit(target), wanted)
  assert np.isfinite(np.square(np.float32(FAR)) + np.square(np.float32(1e5)))


@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_window_equals_the_full_map_with_its_border_repeated(seed):
  rng = np.random.default_rng(seed)
  target = rng.uniform(size=(24, 31)) < rng.choice([0.003, 0.05, 0.5])
  target[rng.integers(24), rng.integers(31)] = True
  full = np.square(ndimage.distance_transform_edt(~target)).round()
  y0, x0 = rng.integers(-20, 40, 2)
  window = jax.jit(squared_distance_at, static_argnums=(3, 4))(column_jit(target), y0, x0, 15, 13)
  rows, columns = np.clip(y0 + np.arange(15), 0, 23), np.clip(x0 + np.arange(13), 0, 30)
  np.testing.assert_array_equal(window, full[np.ix_(rows, columns)])


def test_window_without_a_target_is_far():
  column = column_distance(jnp.zeros((8, 9), bool))
  assert (np.asarray(squared_distance_grid(column, jnp.arange(8), jnp.arange(9))) >= FAR**2).all()


def test_window_maps_over_instances():
  targets = np.random.default_rng(0).uniform(size=(3, 12, 14)) < 0.1
  at = lambda column, y0: squared_distance_at(column, y0, 3, 4, 5)
  windows = jax.vmap(at)(column_jit(targets), jnp.arange(3))
  for i, target in enumerate(targets):
    full = np.square(ndimage.distance_transform_edt(~target)).round()
    np.testing.assert_array_equal(windows[i], full[i : i + 4, 3:8])


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_every_platform_gets_the_same_numbers(seed):
  labels = np.stack([random_labels(seed, (35, 20)), random_labels(seed + 1, (35, 20))])
  above, below = jnp.asarray(labels == 1), jnp.asarray(labels == -1)
  by_scan, by_maximum = by_scan_jit(above, below), by_maximum_jit(above, below)
  np.testing.assert_array_equal(by_scan, by_maximum)
  value = jnp.asarray(labels, jnp.float32) * jnp.square(by_scan + 1)
  for outside in (0.0, FAR * FAR):
    np.testing.assert_array_equal(at_once_jit(value, outside), by_block_jit(value, outside))


def test_no_gradient_is_needed_through_a_distance():
  target = jnp.zeros((9, 9), bool).at[4, 4].set(True)

  def loss(x):
    distance_there = edt(~target)[2, 4] + squared_distance_at(column_distance(target), 1, 4, 1, 1)
    return x * distance_there[0, 0]

  value, gradient = jax.jit(jax.value_and_grad(loss))(2.0)
  assert value == 2 * (2 + 9) and gradient == 2 + 9
