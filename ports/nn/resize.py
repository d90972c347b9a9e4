"""Resizing as torch does it, one small matrix per axis: `rows @ image @ columns.T`.

A resize is linear and separable, and as two matrices it has a cheap transpose, for what a gradient
passes through. `linear` and `cubic` are for fixed sizes and made with NumPy while a program is
traced. `aligned`, `unaligned` and `antialiased` have the sizes as data, so that one compiled
program serves all sizes on a canvas. `aligned` is what torch calls `interpolate(...,
mode='bilinear', align_corners=True)`: sample i of `length` lies at `i * (source - 1) / (length -
1)`; `crop` gathers in place of that, for what no gradient passes through; `unaligned` is the same
with `align_corners=False`, and `antialiased` with `antialias=True` as well. Places are computed in
float32, because torch does so: where 512 samples become 448 its rounding of a place moves a weight
by up to 3e-5, which is its answer.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tetris_jax.types import Array

__all__ = [
  'aligned',
  'antialiased',
  'crop',
  'cubic',
  'linear',
  'resize',
  'triangles',
  'unaligned',
]


def _centres(count: int, size: int) -> np.ndarray:
  """(count,) float32, the places of new pixel centres among the old ones."""
  scale = np.float32(size) / np.float32(count)
  return scale * (np.arange(count, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5)


def linear(count: int, size: int, align_corners: bool) -> np.ndarray:
  """(count, size) float32: `size` samples, resampled bilinearly at `count` places, no antialias.

  With `align_corners` the first and last samples coincide, otherwise the outer edges of their
  pixels do; places outside the samples take the nearest one.
  """
  if align_corners:
    scale = np.float32(size - 1) / np.float32(max(count - 1, 1))
    at = scale * np.arange(count, dtype=np.float32)
  else:
    at = _centres(count, size)
  at = np.clip(at, 0, size - 1)
  weights = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(size)))
  return weights.astype(np.float32)


def cubic(count: int, size: int) -> np.ndarray:
  """(count, size) float32: the same by cubic convolution with a = -0.75, corners not aligned.

  The kernel of Keys, "Cubic convolution interpolation for digital image processing" (1981), with
  torch's parameter (`jax.image` has Keys' own, -0.5). Taps outside the samples take the nearest
  one. No antialias.
  """
  a = -0.75
  at = _centres(count, size)
  first = np.floor(at).astype(int)
  weights = np.zeros((count, size))
  for tap in range(-1, 3):
    distance = np.abs(at - (first + tap))
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = a * (((distance - 5) * distance + 8) * distance - 4)
    weight = np.where(distance <= 1, near, far)
    np.add.at(weights, (np.arange(count), np.clip(first + tap, 0, size - 1)), weight)
  return weights.astype(np.float32)


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
  lower = written.astype(jnp.float32) - upper
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


def unaligned(count: int, length: Array, size: int, source: Array | int) -> jax.Array:
  """(count, size) matrix: `source` samples stretched bilinearly over `length`, corners not aligned.

  Both lengths may be traced; rows from `length` on are meaningless but finite.
  """
  at = (jnp.arange(count, dtype=jnp.float32) + 0.5) * (source / length) - 0.5
  at = jnp.clip(at, 0, source - 1)[:, None]
  return jnp.maximum(0, 1 - jnp.abs(at - jnp.arange(size, dtype=jnp.float32)[None]))


def triangles(rows: int, columns: int, length: Array | int, source: Array) -> jax.Array:
  """What each new sample takes of each old one, when it averages where it shrinks, unscaled.

  New sample i of m, of n old ones x: the triangle max(0, 1 - |x + 0.5 - c| / s) with c = (i + 0.5)
  * n / m and s = max(n / m, 1). Times 2 * max(n, m) that is a whole number.

  Args:
    rows: samples on the canvas that is written.
    columns: samples on the canvas that is read.
    length: samples written, the first ones; may be traced.
    source: samples read, the first ones; may be traced.

  Returns:
    (rows, columns) int32; 0 outside of both.
  """
  i = jnp.arange(rows, dtype=jnp.int32)[:, None]
  x = jnp.arange(columns, dtype=jnp.int32)[None, :]
  distance = jnp.abs((2 * x + 1) * length - (2 * i + 1) * source)
  triangle = jnp.maximum(2 * jnp.maximum(source, length) - distance, 0)
  return jnp.where((x < source) & (i < length), triangle, 0)


def antialiased(length: int, columns: int, source: Array) -> jax.Array:
  """(length, columns) matrix that resamples the first `source` samples, see `triangles`."""
  weights = triangles(length, columns, length, source).astype(jnp.float32)
  return weights / jnp.sum(weights, axis=1, keepdims=True)


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
