"""Bilinear resizing with aligned corners as two small matrices, with the sizes as data.

What PyTorch calls `interpolate(..., mode='bilinear', align_corners=True)`: sample i of `count` lies
at `i * (source - 1) / (count - 1)`. As matrices the resize is linear and has a cheap transpose,
and one compiled program serves all sizes on a canvas.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from tetris_jax.types import Array

__all__ = ['aligned', 'resize']


def aligned(
  rows: int,
  columns: int,
  length: Array | int,
  source: Array | int,
  start: Array | int = 0,
  *,
  into: Array | int = 0,
  mirrored: bool = False,
) -> jax.Array:
  """Matrix that stretches `source` samples over `length`, corners aligned.

  Sample `into + i`, for i below `length`, is read between samples `start + floor(x)` and the next,
  x = i * (source - 1) / (length - 1); all other rows are zero. Arithmetic as PyTorch's: the quotient
  is formed first, in float32.

  Args:
    rows: samples on the canvas that is written.
    columns: samples on the canvas that is read.
    length: samples written; may be traced, as all that follow.
    source: samples read.
    start: the first of them.
    into: where the first written one goes.
    mirrored: writes them in reverse order.

  Returns:
    (rows, columns) float32.
  """
  length, source = jnp.asarray(length, jnp.int32), jnp.asarray(source, jnp.int32)
  i = jnp.arange(rows, dtype=jnp.int32) - into
  written = (i >= 0) & (i < length)
  i = length - 1 - i if mirrored else i
  scale = (source - 1).astype(jnp.float32) / jnp.maximum(length - 1, 1).astype(jnp.float32)
  at = jnp.where(length > 1, i.astype(jnp.float32) * scale, 0.0)
  low = jnp.clip(jnp.floor(at), 0, (source - 1).astype(jnp.float32))
  upper = jnp.where(written, at - low, 0.0)[:, None]
  lower = jnp.where(written, 1.0, 0.0)[:, None] - upper
  low = low.astype(jnp.int32)
  high = jnp.minimum(low + 1, source - 1)
  k = jnp.arange(columns, dtype=jnp.int32)[None, :] - start
  return jnp.where(k == low[:, None], lower, 0.0) + jnp.where(k == high[:, None], upper, 0.0)


def resize(x: Array, vertical: Array, horizontal: Array) -> jax.Array:
  """(..., h, w, channels) by matrices (H, h) and (W, w) -> (..., H, W, channels)."""
  x = jnp.einsum('ah,...hwc->...awc', vertical, x, precision='highest')
  return jnp.einsum('bw,...awc->...abc', horizontal, x, precision='highest')
