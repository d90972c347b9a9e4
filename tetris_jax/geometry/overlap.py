"""How much of a mask a prediction covers, on device: IoU and boundary IoU, counted exactly."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import lax

from tetris_jax.geometry.distance import column_distance
from tetris_jax.types import Array

__all__ = ['band_width', 'boundary_band', 'boundary_iou', 'inside_image', 'iou']


def iou(prediction: Array, mask: Array, valid: Array) -> jax.Array:
  """Intersection over union.

  Args:
    prediction: (..., height, width) bool.
    mask: (..., height, width) bool.
    valid: (..., height, width) bool; other pixels are not counted.

  Returns:
    (...) float32 in [0, 1]; 1 where the union is empty.
  """
  prediction, mask, valid = jnp.asarray(prediction), jnp.asarray(mask), jnp.asarray(valid)
  # Both counts in one int32 a pixel, by columns first (below 2^15 rows): one pass over the masks,
  # 0.4 instead of 1.9 ms for three of 480x854 on two CPU cores.
  both = (prediction & mask & valid).astype(jnp.int32)
  either = ((prediction | mask) & valid).astype(jnp.int32)
  counts = jnp.sum(both + (either << 16), axis=-2, dtype=jnp.int32)
  intersection, union = (
    jnp.sum(part, axis=-1, dtype=jnp.int32) for part in (counts & 0xFFFF, counts >> 16)
  )
  ratio = intersection.astype(jnp.float32) / jnp.maximum(union, 1).astype(jnp.float32)
  return jnp.where(union > 0, ratio, 1.0)


def band_width(size: Array, largest: tuple[int, int]) -> jax.Array:
  """Width of the boundary band: `max(1, round(0.02 * diagonal))`, half rounded to even.

  In integers, so that float32 cannot tip a half: 0.02 d rounds up past k + 1/2 when
  d^2 > (50 k + 25)^2, or when they are equal and k is odd.

  Args:
    size: (..., 2) int, (height, width).
    largest: (height, width) that bounds `size`, such as the canvas.

  Returns:
    (...) int32 pixels.
  """
  size = jnp.asarray(size).astype(jnp.int32)
  squared = jnp.sum(jnp.square(size), axis=-1, dtype=jnp.int32)[..., None]
  k = jnp.arange(int(0.02 * math.hypot(*largest)) + 1, dtype=jnp.int32)
  last_down = jnp.square(50 * k + 25) - k % 2
  up = squared > jnp.broadcast_to(last_down, (*squared.shape[:-1], k.size))
  return jnp.maximum(jnp.sum(up, axis=-1, dtype=jnp.int32), 1)


def boundary_band(mask: Array, size: Array) -> jax.Array:
  """The pixels of a mask that lie within `band_width` of its border or of the image's.

  The mask less its erosion, repeated `band_width` times by a 3x3 square with zeros around the
  image (Cheng et al., "Boundary IoU", 2021). That erosion is one by a large square: along columns,
  then along rows, a pixel stays if the nearest zero is farther than the width.

  Args:
    mask: (..., height, width) bool on a canvas; anything in the padding.
    size: (..., 2) int, (height, width) of the image, at the canvas's top left.

  Returns:
    (..., height, width) bool, False in the padding.
  """
  mask = jnp.asarray(mask)
  mask = mask & inside_image(size, mask.shape)
  reach = band_width(size, (mask.shape[-2], mask.shape[-1])).astype(jnp.float32)[..., None, None]
  columns = _erode_columns(mask, reach)
  eroded = _erode_columns(columns.swapaxes(-2, -1), reach).swapaxes(-2, -1)
  return mask & ~eroded


def inside_image(size: Array, shape: tuple[int, ...]) -> jax.Array:
  """Where a canvas holds the image, not padding.

  Args:
    size: (..., 2) int, (height, width) of the image, at the canvas's top left.
    shape: (..., height, width) of the canvas, with the same leading dimensions.

  Returns:
    (..., height, width) bool.
  """
  size = jnp.asarray(size).astype(jnp.int32)
  row = lax.broadcasted_iota(jnp.int32, shape, len(shape) - 2)
  column = lax.broadcasted_iota(jnp.int32, shape, len(shape) - 1)
  return (row < size[..., 0, None, None]) & (column < size[..., 1, None, None])


def boundary_iou(prediction: Array, mask: Array, valid: Array, size: Array) -> jax.Array:
  """IoU of the boundary bands of two masks.

  Args:
    prediction: (..., height, width) bool.
    mask: (..., height, width) bool.
    valid: (..., height, width) bool; other pixels are not counted, but the bands are taken before.
    size: (..., 2) int, (height, width) of the image in the canvas.

  Returns:
    (...) float32 in [0, 1]; 1 where both bands are empty.
  """
  return iou(boundary_band(prediction, size), boundary_band(mask, size), valid)


def _erode_columns(mask: jax.Array, reach: jax.Array) -> jax.Array:
  padding = [(0, 0)] * (mask.ndim - 2) + [(1, 1), (0, 0)]
  return column_distance(~jnp.pad(mask, padding))[..., 1:-1, :] > reach
