"""Draws from a map of weights along a space-filling curve, so that near shares are near places."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tetris_jax.mesh import varying
from tetris_jax.types import LARGEST_SIDE, Array

__all__ = ['Pyramid', 'at_share', 'pyramid']

# Of the Hilbert curve, the quadrants (down, right) in the order in which it passes them.
_ORDER = ((0, 0), (0, 1), (1, 1), (1, 0))


class Pyramid(NamedTuple):
  """Weights of single pixels, of blocks of 2 x 2, of 4 x 4 and so on up to the whole.

  Attributes:
    weight: (sum of the levels' sizes,) float32, row by row, the single pixels first.
    start: (num_levels,) int32, where a level begins.
    width: (num_levels,) int32, of its rows.
    total: () float32, the weight of all.
  """

  weight: jax.Array
  start: jax.Array
  width: jax.Array
  total: jax.Array


def pyramid(weight: Array) -> Pyramid:
  """Sums of weights over ever larger blocks, for `at_share`.

  Args:
    weight: (height, width) float32, at least 0; sides up to `types.LARGEST_SIDE`.
  """
  level = jnp.asarray(weight, jnp.float32)
  levels = []
  while max(level.shape) > 1:
    level = jnp.pad(level, [(0, side % 2) for side in level.shape])
    levels.append(level)
    rows = level[0::2] + level[1::2]
    level = rows[:, 0::2] + rows[:, 1::2]
  sizes = np.array([one.size for one in levels], np.int32)
  return Pyramid(
    jnp.concatenate([one.reshape(-1) for one in (*levels, level)]),
    jnp.asarray(np.cumsum(sizes) - sizes, jnp.int32),
    jnp.array([one.shape[1] for one in levels], jnp.int32),
    level[0, 0],
  )


def at_share(levels: Pyramid, share: Array) -> jax.Array:
  """The pixel at which a share of the weight is reached along the Hilbert curve.

  The inverse of the distribution function along that curve: for a share drawn uniformly the pixel
  is drawn with probability in proportion to its weight, and strata of the share are compact strata
  of the map that hold equal weight (Gerber and Chopin, "Sequential quasi Monte Carlo", 2015, for
  what that does to the variance). The curve is that of the largest canvas, so padding changes
  nothing.

  Args:
    levels: of `pyramid`.
    share: () float32 in [0, 1).

  Returns:
    (2,) float32 (row, column) of a pixel with weight; (0, 0) if none has.
  """
  count = levels.start.shape[0]
  # The curve enters at the first pixel. Each level above this canvas would have turned it once.
  turned = jnp.int32((LARGEST_SIDE.bit_length() - 1 - count) % 2)
  base = jnp.array(_ORDER, jnp.int32)

  def descend(step: jax.Array, state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    at, left, turned, flipped = state
    level = count - 1 - step
    quadrants = 2 * at[None] + (jnp.where(turned == 1, base[:, ::-1], base) ^ flipped)
    place = levels.start[level] + quadrants[:, 0] * levels.width[level] + quadrants[:, 1]
    mass = levels.weight[place]
    first, second = mass[0], mass[0] + mass[1]
    reached = jnp.stack([jnp.zeros_like(first), first, second, second + mass[2]])
    # What rounding leaves beyond the last quadrant with weight belongs to it.
    last = 3 - lax.argmax(mass[::-1] > 0, 0, jnp.int32)
    chosen = jnp.minimum(jnp.sum(left >= reached[1:], dtype=jnp.int32), last)
    ends = jnp.asarray((chosen == 0) | (chosen == 3), jnp.int32)
    third = jnp.asarray(chosen == 3, jnp.int32)
    return quadrants[chosen], left - reached[chosen], turned ^ ends, flipped ^ third

  start = jnp.zeros(2, jnp.int32), jnp.asarray(share, jnp.float32) * levels.total
  if count:
    state = varying((*start, turned, jnp.int32(0)), (levels, share))
    at = lax.fori_loop(jnp.int32(0), jnp.int32(count), descend, state)[0]
  else:
    at = start[0]
  return jnp.where(levels.total > 0, at, 0).astype(jnp.float32)
