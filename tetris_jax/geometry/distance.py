"""Exact Euclidean distances on device: transforms inside regions, and lazily near a click.

Both are separable (Felzenszwalb and Huttenlocher, "Distance Transforms of Sampled Functions",
2012): first the distance g along each column, then in each row the lower envelope of
`g(x')^2 + (x - x')^2`. Squared distances are integers and exact in float32 up to 2^24 (4096 px).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap

from tetris_jax.types import Array

__all__ = [
  'FAR',
  'column_distance',
  'edt',
  'error_distance',
  'squared_distance_at',
  'squared_distance_grid',
]

FAR = 1e6
"""The distance, in pixels, that stands for "there is none"; its square is finite in float32."""

# 480x854, a disk of radius 100, two CPU cores: 2.9 ms with blocks of 16 rows and 4 shifts a turn,
# against 8.5 ms as one block (which no longer fits the cache, and stops only when its deepest row
# does) and 4.7 ms with one shift a turn.
_BLOCK_ROWS = 16
_SHIFTS = 4


def column_distance(target: Array) -> jax.Array:
  """Vertical distance of each pixel to the nearest True pixel of its column.

  Args:
    target: (..., height, width) bool.

  Returns:
    (..., height, width) float32 pixels; `FAR` in columns without a True pixel.
  """
  target = jnp.asarray(target)
  return _rows_to_nearest(target, target)


def squared_distance_grid(column: Array, rows: Array, columns: Array) -> jax.Array:
  """Squared Euclidean distances to the nearest target at the crossings of some rows and columns.

  This is the exact transform, evaluated only where it is needed.

  Args:
    column: (height, width) float32, `column_distance` of the target.
    rows: (num_rows,) int, may be traced; clamped to the canvas.
    columns: (num_columns,) int, may be traced; clamped to the canvas.

  Returns:
    (num_rows, num_columns) float32 squared pixels, at least FAR^2 where there is no target.
  """
  column = jnp.asarray(column)
  height, width = column.shape
  squared = jnp.square(column[jnp.clip(rows, 0, height - 1)])
  columns = jnp.clip(jnp.asarray(columns, jnp.int32), 0, width - 1)
  offset = columns[:, None] - jnp.arange(width, dtype=jnp.int32)[None, :]
  horizontal = jnp.square(offset.astype(jnp.float32))
  return jnp.min(squared[:, None, :] + horizontal[None, :, :], axis=-1)


def squared_distance_at(column: Array, y0: Array, x0: Array, height: int, width: int) -> jax.Array:
  """Squared Euclidean distances to the nearest target in a small window.

  Args:
    column: (canvas_height, canvas_width) float32, `column_distance` of the target.
    y0: () int, first row of the window; may be traced and may lie outside of the canvas.
    x0: () int, first column, likewise.
    height: rows of the window.
    width: columns of the window.

  Returns:
    (height, width) float32 squared pixels; a window pixel outside of the canvas has the value of
    the nearest canvas pixel.
  """
  rows, columns = (jnp.arange(count, dtype=jnp.int32) for count in (height, width))
  return squared_distance_grid(column, y0 + rows, x0 + columns)


def error_distance(positive_errors: Array, negative_errors: Array) -> jax.Array:
  """Squared distances to the border inside two disjoint regions at once, told apart by sign.

  A pixel's distance is that to the nearest pixel outside of its own region; all that lies outside
  of the canvas counts as such (the pad by one pixel of zeros of the RITM protocol, Sofiiuk et al.,
  2021).

  Args:
    positive_errors: (..., height, width) bool, such as the false negatives.
    negative_errors: (..., height, width) bool, disjoint from it, such as the false positives.

  Returns:
    (..., height, width) float32: +d^2 in the first region, -d^2 in the second, 0 elsewhere.
  """
  positive_errors, negative_errors = jnp.asarray(positive_errors), jnp.asarray(negative_errors)
  label = positive_errors.astype(jnp.int8) - negative_errors.astype(jnp.int8)
  padding = [(0, 0)] * (label.ndim - 2) + [(1, 1), (0, 0)]
  change = jnp.diff(jnp.pad(label, padding), axis=-2) != 0
  run = _rows_to_nearest(change[..., :-1, :], change[..., 1:, :]) + 1
  return _lower_envelope(label.astype(jnp.float32) * jnp.square(run))


def edt(mask: Array) -> jax.Array:
  """Distance of each pixel to the nearest False pixel of the canvas, which has no border rule.

  Equals `scipy.ndimage.distance_transform_edt` wherever a False pixel exists.

  Args:
    mask: (..., height, width) bool.

  Returns:
    (..., height, width) float32 pixels, 0 where False; `FAR` everywhere in an all-True mask.
  """
  squared = jnp.square(column_distance(~jnp.asarray(mask)))
  return jnp.sqrt(_lower_envelope_unbounded(squared))


def _map_over_leading(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
  """Makes `jax.vmap` of a function of images call it once, with one more leading dimension.

  Mapped as they stand, the loops would run until every image's block is done, in a layout that
  does not fit the cache: 18 instead of 7 ms for three boundary IoUs at 480x854 on two CPU cores.
  """
  mapped = custom_vmap(function)

  @mapped.def_vmap
  def rule(axis_size: int, batched: Sequence[bool], *images: jax.Array) -> tuple[jax.Array, bool]:
    full = [
      image if here else jnp.broadcast_to(image, (axis_size, *image.shape))
      for image, here in zip(images, batched, strict=True)
    ]
    return mapped(*full), True

  return mapped


@_map_over_leading
def _rows_to_nearest(above: jax.Array, below: jax.Array) -> jax.Array:
  """Rows from each pixel to the nearest event in its column; 0 on an event.

  Args:
    above: (..., height, width) bool, the events that count for pixels at and below them.
    below: (..., height, width) bool, the events that count for pixels at and above them.
  """
  # Scans over rows are 5x faster than cumulative maxima on CPU (0.3 against 1.8 ms for 480x854),
  # where each step stays in the cache; elsewhere a step per row is only latency.
  return lax.platform_dependent(
    above, below, cpu=_rows_to_nearest_by_scan, default=_rows_to_nearest_by_maximum
  )


def _rows_to_nearest_by_scan(above: jax.Array, below: jax.Array) -> jax.Array:
  def down(since: jax.Array, event: jax.Array) -> tuple[jax.Array, jax.Array]:
    since = jnp.where(event, 0.0, jnp.minimum(since + 1, FAR))
    return since, since

  # The second scan reads the first: 0.27 ms for 480x854, against 0.5 for two that do not depend on
  # each other and a minimum after them.
  def up(since: jax.Array, row: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
    event, downwards = row
    since = jnp.where(event, 0.0, since + 1)
    return since, jnp.minimum(since, downwards)

  def one(events: tuple[jax.Array, jax.Array]) -> jax.Array:
    # Made from the data, so that under shard_map it varies over devices as the rows do.
    none = jnp.where(events[0][0], jnp.float32(FAR), jnp.float32(FAR))
    _, downwards = lax.scan(down, none, events[0])
    return lax.scan(up, none, (events[1], downwards), reverse=True)[1]

  height, width = above.shape[-2:]
  # Image by image, because one fits the cache.
  images = above.reshape(-1, height, width), below.reshape(-1, height, width)
  return lax.map(one, images).reshape(above.shape)


def _rows_to_nearest_by_maximum(above: jax.Array, below: jax.Array) -> jax.Array:
  axis = above.ndim - 2
  row = lax.broadcasted_iota(jnp.int32, above.shape, axis)
  none = int(FAR) + above.shape[axis]
  last = lax.cummax(jnp.where(above, row, -none), axis=axis)
  following = lax.cummin(jnp.where(below, row, none), axis=axis, reverse=True)
  nearest = jnp.minimum(row - last, following - row)
  return jnp.minimum(nearest, int(FAR)).astype(jnp.float32)


@_map_over_leading
def _lower_envelope(value: jax.Array) -> jax.Array:
  return _lower_envelope_within(value, 0.0)


@_map_over_leading
def _lower_envelope_unbounded(value: jax.Array) -> jax.Array:
  return _lower_envelope_within(value, FAR * FAR)


def _lower_envelope_within(value: jax.Array, outside: float) -> jax.Array:
  """For each pixel: sign(v) * min over x' of (value of x' where it has that sign, else 0) + dx^2.

  Args:
    value: (..., height, width) float32, signed squared column distances.
    outside: the value to the left and to the right of the canvas.
  """
  return lax.platform_dependent(
    value,
    cpu=functools.partial(_lower_envelope_by_block, outside=outside),
    default=functools.partial(_lower_envelope_at_once, outside=outside),
  )


def _lower_envelope_by_block(value: jax.Array, outside: float) -> jax.Array:
  height, width = value.shape[-2:]
  count = -(-height // _BLOCK_ROWS)
  images = value.reshape(-1, height, width)
  padded = jnp.pad(images, ((0, 0), (0, count * _BLOCK_ROWS - height), (0, 0)))
  blocks = padded.reshape(-1, _BLOCK_ROWS, width)
  result = lax.map(functools.partial(_lower_envelope_at_once, outside=outside), blocks)
  return result.reshape(-1, count * _BLOCK_ROWS, width)[:, :height].reshape(value.shape)


def _lower_envelope_at_once(value: jax.Array, outside: float) -> jax.Array:
  width = value.shape[-1]
  sign = jnp.sign(value)
  # Zeros outside are at most half the width away.
  reach = (width if outside else (width + 1) // 2) + _SHIFTS
  padding = [(0, 0)] * (value.ndim - 1) + [(reach, reach)]
  padded = jnp.pad(value, padding, constant_values=outside)

  def cond(carry: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
    shift, _, largest = carry
    # A value from `shift` columns away adds at least shift^2, so no pixel can change any more.
    return (jnp.square(shift.astype(jnp.float32)) < largest) & (shift <= width)

  def body(
    carry: tuple[jax.Array, jax.Array, jax.Array],
  ) -> tuple[jax.Array, jax.Array, jax.Array]:
    shift, best, _ = carry
    for step in range(_SHIFTS):
      here = shift + step
      right = lax.dynamic_slice_in_dim(padded, reach + here, width, axis=-1)
      left = lax.dynamic_slice_in_dim(padded, reach - here, width, axis=-1)
      nearest = jnp.maximum(jnp.minimum(sign * left, sign * right), 0)
      best = jnp.minimum(best, nearest + jnp.square(here.astype(jnp.float32)))
    return shift + _SHIFTS, best, jnp.max(best)

  best = jnp.abs(value)
  _, best, _ = lax.while_loop(cond, body, (jnp.int32(1), best, jnp.max(best)))
  return sign * best
