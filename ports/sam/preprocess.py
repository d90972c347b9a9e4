"""From a picture to SAM's input: Pillow's bilinear resize, normalisation and padding, on device.

Pillow (libImaging/Resample.c) resizes 8-bit pictures with a triangle filter, antialiased when it
shrinks: columns first, then rows, each pass in fixed point with 22 bits and rounded to 8 bits.
Its weights are ratios of whole numbers, so both passes are reproduced exactly, with the size as
data: one compiled program serves all pictures on a canvas. (Pillow 13 takes the rows first where
a picture much taller than wide is shrunk; published numbers are older, so we do not.)
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ports.nn.resize import triangles
from tetris_jax.types import Array

__all__ = ['SIDE', 'preprocess', 'resized_size']

SIDE = 1024
_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
_DEVIATION = np.array([58.395, 57.12, 57.375], np.float32)
# Pillow's 22 bits in two halves: for pictures of up to 16,000 pixels a side, a half times 8-bit
# pixels, summed, is exact in float32, and the long division below stays within int32.
_HALF_BITS = 11


def resized_size(size: Array, *, side: int = SIDE) -> jax.Array:
  """(height, width) whose longer side is `side`: int(x * side / max(height, width) + 0.5).

  Args:
    size: (2,) int32, height and width in pixels.
    side: of the frame, in pixels.
  """
  longest = jnp.max(size)
  return jnp.maximum((2 * side * size + longest) // (2 * longest), 1).astype(jnp.int32)


def _weights(length: Array, resized: Array, canvas: int, side: int) -> tuple[jax.Array, jax.Array]:
  """Upper and lower halves of Pillow's fixed-point weights, each (side, canvas) float32.

  Its weights are `ports.nn.resize.triangles`, divided by their sum over the input's pixels.
  """
  triangle = triangles(side, canvas, resized, length)
  total = jnp.maximum(jnp.sum(triangle, axis=1, keepdims=True, dtype=jnp.int32), 1)
  upper, rest = jnp.divmod(triangle << _HALF_BITS, total)
  lower, rest = jnp.divmod(rest << _HALF_BITS, total)
  lower = lower + (2 * rest >= total).astype(jnp.int32)
  return upper.astype(jnp.float32), lower.astype(jnp.float32)


def _rounded(upper: jax.Array, lower: jax.Array) -> jax.Array:
  """Weighted sums in fixed point, rounded to whole levels, float32."""
  total = (upper.astype(jnp.int32) << _HALF_BITS) + lower.astype(jnp.int32)
  levels = (total + (1 << (2 * _HALF_BITS - 1))) >> (2 * _HALF_BITS)
  return levels.astype(jnp.float32)


def preprocess(image: Array, size: Array, *, side: int = SIDE) -> jax.Array:
  """SAM's input, (side, side, 3) float32: normalised, zeros below and to the right of the picture.

  Args:
    image: (height, width, 3) float32 RGB in [0, 1], multiples of 1 / 255, on a padded canvas.
    size: (2,) int32, the picture's height and width in the top left corner; what lies outside
      has no influence.
    side: of the frame, in pixels.
  """
  height, width = image.shape[:2]
  new = resized_size(size, side=side)
  levels = jnp.round(jnp.asarray(image) * 255)
  columns = _weights(size[1], new[1], width, side)
  levels = _rounded(*(jnp.einsum('iw,hwc->hic', w, levels, precision='highest') for w in columns))
  rows = _weights(size[0], new[0], height, side)
  levels = _rounded(*(jnp.einsum('ih,hwc->iwc', w, levels, precision='highest') for w in rows))
  normalised = (levels - _MEAN[None, None]) / _DEVIATION[None, None]
  index = jnp.arange(side, dtype=jnp.int32)
  inside = (index < new[0])[:, None, None] & (index < new[1])[None, :, None]
  return jnp.where(inside, normalised, 0.0)
