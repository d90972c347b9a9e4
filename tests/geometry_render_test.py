"""Click maps against the published encodings, supersampled disks and finite differences."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tetris_jax.geometry.render import distance_maps, hard_disks, soft_disks
from tetris_jax.types import Clicks

GOLDEN = pathlib.Path(__file__).parent / 'golden' / 'ritm_click_maps.npz'
soft_jit = jax.jit(soft_disks, static_argnums=(1, 2, 3))


def maps(clicks, height, width, norm_radius):
  return distance_maps(clicks, height, width, norm_radius=norm_radius)


def one_click(y, x, label=1):
  return Clicks(jnp.array([[y, x]], jnp.float32), jnp.array([label]))


def golden_clicks(points):
  """Half of the rows are positive, then the negative ones; both coordinates below 0 is padding."""
  label = np.repeat([1, 0], len(points) // 2)
  empty = np.max(points[:, :2], axis=1) < 0
  return Clicks(jnp.asarray(points[:, :2]), jnp.asarray(np.where(empty, -1, label)))


def covered(y, x, height, width, radius, lines=1000):
  """Area of every pixel inside of one disk: chords on many lines a pixel, in float64."""
  area = np.zeros((height, width))
  rows = np.arange(max(0, int(y - radius) - 1), min(height, int(y + radius) + 3))
  if rows.size:
    at = rows[:, None] - 0.5 + (np.arange(lines) + 0.5) / lines
    half = np.sqrt(np.maximum(radius**2 - (at - y) ** 2, 0))[..., None]
    left, right = np.arange(width) - 0.5, np.arange(width) + 0.5
    inside = np.minimum(x + half, right) - np.maximum(x - half, left)
    area[rows] = np.maximum(inside, 0).mean(axis=1)
  return area


def dense_disks(yx, label, height, width, radius, lines=1000):
  """Both maps, by `covered`."""
  maps = [[np.zeros((height, width))], [np.zeros((height, width))]]
  for (y, x), sign in zip(yx, label, strict=True):
    if sign >= 0:
      maps[1 - sign].append(covered(y, x, height, width, radius, lines))
  return np.stack([np.minimum(np.sum(disks, axis=0), 1) for disks in maps])


@pytest.mark.parametrize('batch', [0, 1])
def test_golden_maps(batch):
  golden = np.load(GOLDEN)
  clicks = golden_clicks(golden['in/points'][batch])
  for radius in (3, 5):
    found = hard_disks(clicks, 41, 56, radius)
    np.testing.assert_array_equal(found, golden[f'disks_radius{radius}'][batch])
  for norm_radius in (20, 260):
    found = distance_maps(clicks, 41, 56, norm_radius=norm_radius)
    np.testing.assert_allclose(
      found, golden[f'tanh_radius{norm_radius}'][batch], rtol=1e-6, atol=1e-7
    )


@pytest.mark.slow
def test_without_clicks():
  nothing = Clicks(jnp.full((2, 2), 3.0), jnp.full(2, -1))
  np.testing.assert_array_equal(soft_disks(nothing, 8, 9, 5.0), 0)
  np.testing.assert_array_equal(hard_disks(nothing, 8, 9, 5.0), 0)
  np.testing.assert_array_equal(distance_maps(nothing, 8, 9), 1)


@pytest.mark.parametrize('radius', [0.3, 1.0, 2.3, 5.0])
def test_soft_disks_equal_the_area_that_disks_cover(radius):
  rng = np.random.default_rng(0)
  yx = rng.uniform(-12, 52, (20, 2)).astype(np.float32)
  yx[:4] = [[10, 10], [1e7, 3], [-1e7, 3], [39, 39.5]]
  label = rng.integers(-1, 2, 20)
  found = soft_jit(Clicks(yx, label), 40, 44, radius)
  wanted = dense_disks(yx.astype(float), label, 40, 44, radius)
  np.testing.assert_allclose(found, wanted, atol=1e-4)
  np.testing.assert_array_equal(found[wanted == 0], 0)


@pytest.mark.slow
def test_empty_slots_change_nothing():
  few = Clicks(jnp.array([[10.2, 7.0], [4.0, 9.9]]), jnp.array([1, 0]))
  many = Clicks(
    jnp.concatenate([few.yx, jnp.array([[10.0, 8.0], [5.0, 5.0]])]), jnp.array([1, 0, -1, -1])
  )
  for draw in (soft_jit, hard_disks, maps):
    np.testing.assert_array_equal(draw(few, 20, 21, 5.0), draw(many, 20, 21, 5.0))
  total = lambda yx: soft_disks(Clicks(yx, many.label), 20, 21, 5.0).sum()
  gradient = jax.jit(jax.grad(total))(many.yx)
  np.testing.assert_array_equal(gradient[2:], 0)


@pytest.mark.slow
def test_overlapping_clicks_of_one_label_are_clipped_to_one():
  both = Clicks(jnp.array([[10.0, 10.0], [10.0, 12.0]]), jnp.array([1, 1]))
  maps = soft_disks(both, 20, 24, 5.0)
  assert maps.max() == 1 and maps[0, 10, 11] == 1
  np.testing.assert_array_equal(maps[1], 0)


def test_the_inside_of_a_disk_is_exactly_1_and_its_outside_exactly_0():
  rng = np.random.default_rng(1)
  away = lambda y, x: np.hypot(*(np.indices((21, 21)) - np.array([y, x])[:, None, None]))
  for y, x in [(10, 10), (10.5, 10), (9.5, 10.5), *rng.uniform(8, 12, (5, 2))]:
    soft = np.asarray(soft_jit(one_click(y, x), 21, 21, 5.0)[0])
    assert np.all(soft[away(y, x) < 5 - np.sqrt(0.5) - 1e-4] == 1)
    assert np.all(soft[away(y, x) > 5 + np.sqrt(0.5) + 1e-4] == 0)
    assert soft.sum() == pytest.approx(np.pi * 25, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize('radius', [1.0, 5.0])
def test_gradient_equals_finite_differences(radius):
  rng = np.random.default_rng(2)
  yx = rng.uniform(-3, 33, (6, 2)).astype(np.float32)
  # Two that overlap, one on a pixel's centre.
  yx[2:5] = [[12, 14], [15.2, 16.1], [20.7, 9.3]]
  label = np.array([1, 0, 1, 1, 0, -1])
  weight = rng.normal(size=(2, 30, 32))

  def loss(yx):
    return jnp.sum(soft_disks(Clicks(yx, label), 30, 32, radius) * jnp.asarray(weight, jnp.float32))

  found = jax.jit(jax.grad(loss))(yx)
  step = 1e-3
  wanted = np.zeros((6, 2))
  for i in np.ndindex(6, 2):
    moved = np.zeros((6, 2))
    moved[i] = step
    high, low = (dense_disks(yx + s * moved, label, 30, 32, radius, 5000) for s in (1, -1))
    wanted[i] = ((high - low) * weight).sum() / (2 * step)
  np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=1e-2)
  np.testing.assert_allclose(jax.jit(jax.jacfwd(loss))(yx), found, rtol=1e-4, atol=1e-4)


def test_where_disks_overlap_fully_no_gradient_passes():
  yx = jnp.array([[10.0, 10.0], [10.3, 10.2]])
  at_rim = jnp.zeros((20, 20)).at[10, 15].set(1)

  def both(yx):
    return jnp.sum(soft_disks(Clicks(yx, jnp.array([1, 1])), 20, 20, 5.0)[0] * at_rim)

  # There one covers 0.49, the other 0.71 of the pixel: together more than all of it.
  np.testing.assert_array_equal(jax.jit(jax.grad(both))(yx), 0)


def test_gradient_is_finite_on_a_pixel_centre():
  loss = lambda yx: soft_disks(Clicks(yx, jnp.array([1])), 20, 20, 5.0)[0, :, 10:].sum()
  assert np.isfinite(jax.jit(jax.grad(loss))(jnp.array([[10.0, 10.0]]))).all()


def test_maps_over_trajectories():
  rng = np.random.default_rng(4)
  yx = jnp.asarray(rng.uniform(0, 30, (5, 4, 2)), jnp.float32)
  clicks = Clicks(yx, jnp.asarray(rng.integers(-1, 2, (5, 4))))
  for draw in (soft_jit, hard_disks, maps):
    mapped = jax.jit(jax.vmap(lambda c, draw=draw: draw(c, 30, 31, 5.0)))(clicks)
    for i in range(5):
      single = draw(jax.tree.map(lambda a, i=i: a[i], clicks), 30, 31, 5.0)
      np.testing.assert_allclose(mapped[i], single, atol=1e-6)
