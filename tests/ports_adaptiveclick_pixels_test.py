"""The pixel decoder's parts against their formulas."""

import jax.numpy as jnp
import numpy as np
import pytest

from ports.adaptiveclick import pixels


def test_positions_are_sines_of_rows_then_of_columns():
  found = pixels.sines(3, 5, 8)
  assert found.shape == (3, 5, 8)
  for row, column, place in np.ndindex(3, 5, 8):
    count, total = (row + 1, 3) if place < 4 else (column + 1, 5)
    angle = 2 * np.pi * count / total / 10000 ** (2 * (place % 4 // 2) / 4)
    wanted = np.sin(angle) if place % 2 == 0 else np.cos(angle)
    assert found[row, column, place] == pytest.approx(wanted, abs=1e-5)


def test_groups_are_normed_over_their_pixels():
  norm = pixels.GroupNorm(64)
  norm.bias[...] = jnp.arange(64, dtype=jnp.float32)
  x = np.random.default_rng(0).standard_normal((3, 4, 64), np.float32) * 3 + 1
  groups = x.reshape(3, 4, 32, 2)
  wanted = (groups - groups.mean((0, 1, 3), keepdims=True)) / np.sqrt(
    groups.var((0, 1, 3), keepdims=True) + 1e-5
  )
  wanted = wanted.reshape(x.shape) + np.arange(64)
  np.testing.assert_allclose(norm(jnp.asarray(x)), wanted, atol=1e-4)
