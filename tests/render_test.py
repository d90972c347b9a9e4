"""Click maps against the published encodings, supersampled disks and finite differences."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tetris_jax.render import distance_maps, hard_disks, soft_disks
from tetris_jax.types import Clicks

GOLDEN = pathlib.Path(__file__).parent / 'golden' / 'ritm_click_maps.npz'
soft_jit = jax.jit(soft_disks, static_argnums=(1, 2, 3))


def one_click(y, x, label=1):
  return Clicks(jnp.array([[y, x]], jnp.float32), jnp.array([label]))


def golden_clicks(points):
  """Half of the rows are positive, then the negative ones; both coordinates below 0 is padding."""
  label = np.repeat([1, 0], len(points) // 2)
  empty = np.max(points[:, :2], axis=1) < 0
  return Clicks(jnp.asarray(points[:, :2]), jnp.asarray(np.where(empty, -1, label)))


def dense_disks(yx, label, height, width, radius):
  """The closed form in float64 at every pixel."""
  y, x = np.indices((height, width))
  away = np.sqrt((y - yx[:, 0, None, None]) ** 2 + (x - yx[:, 1, None, None]) ** 2)
  disk = np.clip(radius + 0.5 - away, 0, 1)
  return np.stack([np.minimum(disk[label == sign].sum(0), 1) for sign in (1, 0)])


@pytest.mark.parametrize('batch', [0, 1])
def test_golden_maps(batch):
  golden = np.load(GOLDEN)
  clicks = golden_clicks(golden['in/points'][batch])
  for radius in (3, 5):
    found = hard_disks(clicks, 41, 56, radius)
    np.testing.assert_array_equal(found, golden[f'disks_radius{radius}'][batch])
  for norm_radius in (20, 260):
    found = distance_maps(clicks, 41, 56, norm_radius)
    np.testing.assert_allclose(
      found, golden[f'tanh_radius{norm_radius}'][batch], rtol=1e-6, atol=1e-7
    )


def test_without_clicks():
  nothing = Clicks(jnp.full((2, 2), 3.0), jnp.full(2, -1))
  np.testing.assert_array_equal(soft_disks(nothing, 8, 9, 5.0), 0)
  np.testing.assert_array_equal(hard_disks(nothing, 8, 9, 5.0), 0)
  np.testing.assert_array_equal(distance_maps(nothing, 8, 9), 1)


@pytest.mark.parametrize('radius', [1.0, 2.3, 5.0])
def test_soft_disks_equal_the_closed_form_everywhere(radius):
  rng = np.random.default_rng(0)
  yx = rng.uniform(-12, 52, (20, 2)).astype(np.float32)
  yx[:4] = [[10, 10], [1e7, 3], [-1e7, 3], [39, 39.5]]
  label = rng.integers(-1, 2, 20)
  found = soft_jit(Clicks(yx, label), 40, 44, radius)
  wanted = dense_disks(yx.astype(float), label, 40, 44, radius)
  np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_empty_slots_change_nothing():
  few = Clicks(jnp.array([[10.2, 7.0], [4.0, 9.9]]), jnp.array([1, 0]))
  many = Clicks(
    jnp.concatenate([few.yx, jnp.array([[10.0, 8.0], [5.0, 5.0]])]), jnp.array([1, 0, -1, -1])
  )
  for draw in (soft_disks, hard_disks, distance_maps):
    np.testing.assert_array_equal(draw(few, 20, 21, 5.0), draw(many, 20, 21, 5.0))
  gradient = jax.grad(lambda yx: soft_disks(Clicks(yx, many.label), 20, 21, 5.0).sum())(many.yx)
  np.testing.assert_array_equal(gradient[2:], 0)


def test_overlapping_clicks_of_one_label_are_clipped_to_one():
  both = Clicks(jnp.array([[10.0, 10.0], [10.0, 12.0]]), jnp.array([1, 1]))
  maps = soft_disks(both, 20, 24, 5.0)
  assert maps.max() == 1 and maps[0, 10, 11] == 1
  np.testing.assert_array_equal(maps[1], 0)


def test_soft_disk_is_close_to_the_area_that_a_disk_covers():
  rng = np.random.default_rng(1)
  samples = 16
  for y, x in rng.uniform(9, 11, (8, 2)):
    soft = np.asarray(soft_jit(one_click(y, x), 21, 21, 5.0)[0])
    fine = (np.arange(21 * samples) + 0.5) / samples - 0.5
    covered = (fine[:, None] - y) ** 2 + (fine[None, :] - x) ** 2 <= 25
    area = covered.reshape(21, samples, 21, samples).mean((1, 3))
    difference = np.abs(soft - area)
    assert difference.mean() < 1e-2
    # A pixel whose square the rim leaves alone agrees; the others lie in a band along the rim.
    away = np.hypot(*(np.indices((21, 21)) - np.array([y, x])[:, None, None]))
    assert difference[np.abs(away - 5) > np.sqrt(0.5)].max() < 1e-5
    assert difference.max() < 0.15


def test_gradient_equals_finite_differences():
  rng = np.random.default_rng(2)
  yx = rng.uniform(-3, 33, (6, 2)).astype(np.float32)
  label = np.array([1, 0, 1, 0, 1, -1])
  weight = rng.normal(size=(2, 30, 32))

  def loss(yx):
    return jnp.sum(soft_disks(Clicks(yx, label), 30, 32, 5.0) * jnp.asarray(weight, jnp.float32))

  found = jax.jit(jax.grad(loss))(yx)
  step = 1e-6
  wanted = np.zeros((6, 2))
  for i in np.ndindex(6, 2):
    moved = np.zeros((6, 2))
    moved[i] = step
    high, low = (dense_disks(yx + s * moved, label, 30, 32, 5.0) for s in (1, -1))
    wanted[i] = ((high - low) * weight).sum() / (2 * step)
  np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)


def test_gradient_is_finite_on_a_pixel_centre():
  loss = lambda yx: soft_disks(Clicks(yx, jnp.array([1])), 20, 20, 5.0)[0, :, 10:].sum()
  assert np.isfinite(jax.grad(loss)(jnp.array([[10.0, 10.0]]))).all()


def test_maps_over_trajectories():
  rng = np.random.default_rng(4)
  yx = jnp.asarray(rng.uniform(0, 30, (5, 4, 2)), jnp.float32)
  clicks = Clicks(yx, jnp.asarray(rng.integers(-1, 2, (5, 4))))
  for draw in (soft_disks, hard_disks, distance_maps):
    mapped = jax.vmap(lambda c, draw=draw: draw(c, 30, 31, 5.0))(clicks)
    for i in range(5):
      single = draw(jax.tree.map(lambda a, i=i: a[i], clicks), 30, 31, 5.0)
      np.testing.assert_allclose(mapped[i], single, atol=1e-6)
