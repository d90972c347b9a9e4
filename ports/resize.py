"""Bilinear resizing with aligned corners, with the sizes as data.

What PyTorch calls `interpolate(..., mode='bilinear', align_corners=True)`: sample i of `length`
lies at `i * (source - 1) / (length - 1)`. As two small matrices the resize is linear and has a
cheap transpose, for what a gradient passes through; `crop` gathers, for what none does. Either way
one compiled program serves all sizes on a canvas.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from tetris_jax.types import Array

__all__ = ['aligned', 'crop', 'resize']


class _Taps(NamedTuple):
  """The two samples that each new one lies between, (rows,) each, and their weights."""

  low: jax.Array
  high: jax.Array
  lower: jax.Array
  upper: jax.Array


def _taps(
  rows: int, length: Array | int, source: Array | int, into: Array | int, mirrored: bool
) -> _Taps:
  length, source = jnp.asarray(length, jnp.int32), jnp.asarray(source, jnp.int32)
  i = jnp.arange(rows, dtype=jnp.int32) - into
  written = (i >= 0) & (i < length)
  i = length - 1 - i if mirrored else i
  # Torch's arithmetic: the quotient first, in float32.
  scale = (source - 1).astype(jnp.float32) / jnp.maximum(length - 1, 1).astype(jnp.float32)
  at = jnp.where(length > 1, i.astype(jnp.float32) * scale, 0.0)
  floor = jnp.clip(jnp.floor(at), 0, (source - 1).astype(jnp.float32))
  low = floor.astype(jnp.int32)
  upper = jnp.where(written, at - floor, 0.0)
  lower = jnp.where(written, 1.0, 0.0) - upper
  return _Taps(low, jnp.minimum(low + 1, source - 1), lower, upper)


def aligned(
  rows: int,
  columns: int,
  length: Array | int,
  source: Array | int,
  *,
  into: Array | int = 0,
  mirrored: bool = False,
) -> jax.Array:
  """Matrix that stretches the first `source` samples over `length`, corners aligned.

  Args:
    rows: samples on the canvas that is written.
    columns: samples on the canvas that is read.
    length: samples written; all other rows are zero. May be traced, as all that follow.
    source: samples read, the first ones.
    into: where the first written one goes.
    mirrored: writes them in reverse order.

  Returns:
    (rows, columns) float32.
  """
  taps = _taps(rows, length, source, into, mirrored)
  k = jnp.arange(columns, dtype=jnp.int32)[None, :]
  low = jnp.where(k == taps.low[:, None], taps.lower[:, None], 0.0)
  return low + jnp.where(k == taps.high[:, None], taps.upper[:, None], 0.0)


def resize(x: Array, vertical: Array, horizontal: Array) -> jax.Array:
  """(..., h, w, channels) by matrices (H, h) and (W, w) -> (..., H, W, channels)."""
  x = jnp.einsum('ah,...hwc->...awc', vertical, x, precision='highest')
  return jnp.einsum('bw,...awc->...abc', horizontal, x, precision='highest')


def _between(x: Array, start: jax.Array, taps: _Taps, axis: int) -> jax.Array:
  shape = (1,) * axis + (-1,) + (1,) * (2 - axis)
  low = jnp.take(jnp.asarray(x), start + taps.low, axis=axis, mode='clip')
  high = jnp.take(jnp.asarray(x), start + taps.high, axis=axis, mode='clip')
  return low * taps.lower.reshape(shape) + high * taps.upper.reshape(shape)


def crop(
  image: Array, canvas: tuple[int, int], start: Array, extent: Array, size: Array, mirrored: bool
) -> jax.Array:
  """A rectangle of an image at another size, corners aligned, in the top left of a canvas.

  Args:
    image: (height, width, channels).
    canvas: (height, width) of the result; zeros outside of `size`.
    start: (2,) int32, first pixel of the rectangle.
    extent: (2,) int32, its height and width in pixels.
    size: (2,) int32, height and width that it gets.
    mirrored: left and right are swapped.
  """
  vertical = _taps(canvas[0], size[0], extent[0], 0, False)
  horizontal = _taps(canvas[1], size[1], extent[1], 0, mirrored)
  rows = _between(image, start[0], vertical, axis=0)
  return _between(rows, start[1], horizontal, axis=1)
