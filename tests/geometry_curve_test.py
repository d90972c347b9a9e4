"""Draws along the Hilbert curve: the curve itself, proportions to weights, and padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tetris_jax.geometry import curve


def places(weight, shares):
  levels = curve.pyramid(weight)
  found = jax.vmap(curve.at_share, (None, 0))(levels, jnp.asarray(shares, jnp.float32))
  return np.asarray(found).astype(int)


def test_the_curve_passes_every_pixel_once_and_only_steps_to_neighbours():
  count = 16 * 16
  found = places(np.ones((16, 16), np.float32), (np.arange(count) + 0.5) / count)
  assert len({tuple(yx) for yx in found}) == count
  assert (np.abs(np.diff(found, axis=0)).sum(1) == 1).all()
  assert found[0].tolist() == [0, 0]


@pytest.mark.parametrize('shape', [(7, 5), (1, 9), (6, 1), (1, 1)])
def test_places_are_drawn_in_proportion_to_their_weights(shape):
  rng = np.random.default_rng(0)
  weight = (rng.integers(0, 4, shape) + (np.arange(shape[1]) == 0)).astype(np.float32)
  total = int(weight.sum())
  found = places(weight, (np.arange(8 * total) + 0.5) / (8 * total))
  counts = np.zeros(shape)
  np.add.at(counts, (found[:, 0], found[:, 1]), 1)
  np.testing.assert_array_equal(counts / 8, weight)


def test_every_share_falls_on_a_pixel_with_weight():
  rng = np.random.default_rng(1)
  weight = np.where(rng.random((37, 53)) < 0.1, rng.random((37, 53)), 0).astype(np.float32)
  edge = np.nextafter(np.float32(1), np.float32(0))
  found = places(weight, np.append(rng.random(500), [0, edge]))
  assert (weight[found[:, 0], found[:, 1]] > 0).all()
  assert places(np.zeros((4, 6), np.float32), [0.3, edge]).tolist() == [[0, 0], [0, 0]]


def test_padding_changes_no_place():
  rng = np.random.default_rng(2)
  weight, shares = rng.random((20, 27)).astype(np.float32), rng.random(200)
  expected = places(weight, shares)
  for more in ((0, 5), (13, 0), (44, 37), (110, 3)):
    padded = np.pad(weight, [(0, more[0]), (0, more[1])])
    np.testing.assert_array_equal(places(padded, shares), expected)


def test_near_shares_are_near_places():
  found = places(np.ones((64, 64), np.float32), np.linspace(0, 0.999, 65))
  # A 64th of the square is 8 pixels wide.
  assert np.hypot(*np.diff(found, axis=0).T).max() <= 24
