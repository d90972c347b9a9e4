"""Where a global search may click: a thin, even sample of the legal pixels, and how they look."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from tetris_jax.geometry.region import first_pixels
from tetris_jax.types import Array

__all__ = ['Candidates', 'choose', 'smooth_colour']

# The inverses of the plastic number and its square, in 1 / 2^32: multiples of them fill the unit
# interval evenly along every line of pixels (Roberts, "The Unreasonable Effectiveness of
# Quasirandom Sequences", 2018).
_ROW = 3_242_174_889
_COLUMN = 2_447_445_414


class Candidates(NamedTuple):
  """Positions among which a search chooses.

  Attributes:
    yx: (count, 2) float32, whole image pixels.
    exists: (count,) bool; the others repeat the first.
    feature: (count, num_features) float32; the nearer two rows, the likelier the same answer.
  """

  yx: jax.Array
  exists: jax.Array
  feature: jax.Array


def smooth_colour(image: Array, inside: Array, *, radius: int = 3) -> jax.Array:
  """Mean colour of the square of side `2 radius + 1` around each pixel, of what lies inside.

  Args:
    image: (height, width, 3) float32.
    inside: (height, width) bool, False in the padding.
    radius: in pixels.

  Returns:
    (height, width, 3) float32.
  """
  image, inside = jnp.asarray(image), jnp.asarray(inside)[..., None]
  weighed = jnp.concatenate([jnp.where(inside, image, 0.0), inside.astype(jnp.float32)], axis=-1)
  for axis in (0, 1):
    length = weighed.shape[axis]
    padding = [(radius, radius) if a == axis else (0, 0) for a in range(3)]
    padded = jnp.pad(weighed, padding)
    # The same few terms in the same order on every canvas, as a running sum would not have.
    weighed = sum(
      (lax.slice_in_dim(padded, k, k + length, axis=axis) for k in range(2 * radius + 1)),
      start=jnp.zeros_like(weighed),
    )
  return weighed[..., :3] / jnp.maximum(weighed[..., 3:], 1.0)


def choose(
  legal: Array,
  colour: Array,
  robot: Array,
  count: int,
  colour_weight: float,
) -> Candidates:
  """Spreads `count` candidates over the legal pixels; the robot user's click is the first.

  A pixel is taken where the low 32 bits of `row * a + column * b` are below a threshold: a
  quasi-lattice whose density is the same along every line, also in regions one pixel thin. Every
  legal pixel is taken where they are no more than `count - 1`. Depends on positions in the image
  only, so neither on the canvas nor on the batch.

  Args:
    legal: (height, width) bool.
    colour: (height, width, 3) float32 in [0, 1].
    robot: (2,) float32, the robot user's click in image pixels.
    count: how many.
    colour_weight: of a difference in colour beside one in position, where 1 stands for the root
      of the legal region's area.

  Returns:
    Candidates with features (y, x, red, green, blue), scaled.
  """
  legal, robot = jnp.asarray(legal), jnp.asarray(robot)
  area = jnp.sum(legal, dtype=jnp.int32)
  wanted = count - 1
  row = lax.broadcasted_iota(jnp.uint32, legal.shape, 0)
  column = lax.broadcasted_iota(jnp.uint32, legal.shape, 1)
  dither = row * jnp.uint32(_ROW) + column * jnp.uint32(_COLUMN)

  def taken(level: jax.Array) -> jax.Array:
    # 2^32 itself is no uint32: at level 1 all pixels are taken.
    limit = (level * jnp.float32(2**16)).astype(jnp.uint32) * jnp.uint32(2**16)
    return legal & ((level >= 1) | (dither < limit))

  def too_many(level: jax.Array) -> jax.Array:
    return jnp.sum(taken(level), dtype=jnp.int32) > wanted

  share = jnp.float32(1.02 * wanted) / jnp.maximum(area, 1).astype(jnp.float32)
  start = jnp.where(area <= wanted, jnp.float32(1), jnp.minimum(share, 0.999))
  level = lax.while_loop(too_many, lambda level: level * 0.98, start)
  found, there = first_pixels(taken(level), wanted)
  exists = jnp.append(True, there & jnp.any(found != robot[None], axis=-1))
  yx = jnp.where(exists[:, None], jnp.concatenate([robot[None], found]), robot[None])
  pixel = yx.astype(jnp.int32)
  unit = jnp.sqrt(jnp.maximum(area, 1).astype(jnp.float32))
  tint = jnp.asarray(colour)[pixel[:, 0], pixel[:, 1]] * colour_weight
  return Candidates(yx, exists, jnp.concatenate([yx / unit, tint], axis=-1))
