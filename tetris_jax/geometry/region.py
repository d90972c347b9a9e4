"""Where a click is legal, and what it costs to leave: the error region and the location loss."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import lax

from tetris_jax.geometry.distance import edt, squared_distance_grid
from tetris_jax.geometry.robot import error_regions
from tetris_jax.types import POSITIVE, Array, Frame

__all__ = ['first_pixels', 'inner_depth', 'legal_region', 'location_loss', 'within']


def first_pixels(region: Array, count: int) -> tuple[jax.Array, jax.Array]:
  """The first `count` pixels of a region, in row-major order.

  Args:
    region: (height, width) bool.
    count: how many.

  Returns:
    (count, 2) float32 (row, column), and (count,) bool, False past the last one; what stands there
    means nothing.
  """
  region = jnp.asarray(region)
  # The indices that JAX counts with are as wide as it was told; 32 bits hold any canvas.
  with jax.enable_x64(False):
    flat = jnp.nonzero(region.reshape(-1), size=count, fill_value=-1)[0]
  width = region.shape[1]
  return jnp.stack([flat // width, flat % width], axis=-1).astype(jnp.float32), flat >= 0


def inner_depth(legal: Array) -> jax.Array:
  """Distance of each pixel to outside of the region, as a share of the largest.

  The outside of the image counts as the outside of the region.

  Args:
    legal: (height, width) bool.

  Returns:
    (height, width) float32 in [0, 1]; 0 outside, and everywhere if the region is empty.
  """
  distance = edt(jnp.pad(jnp.asarray(legal), 1))[1:-1, 1:-1]
  return distance / jnp.maximum(jnp.max(distance), 1.0)


def legal_region(mask: Array, previous: Array, valid: Array, label: Array) -> jax.Array:
  """Pixels where a click of this label corrects the previous mask.

  Args:
    mask: (..., height, width) bool, the object.
    previous: (..., height, width) bool, where the previous probability exceeds 0.5; all False
      before the first click.
    valid: (..., height, width) bool, False on ignored pixels and in the padding.
    label: (...) int, of the click: 1 asks for the false negatives, 0 for the false positives.

  Returns:
    (..., height, width) bool.
  """
  false_negatives, false_positives = error_regions(mask, previous, valid)
  positive = (jnp.asarray(label) == POSITIVE)[..., None, None]
  return jnp.where(positive, false_negatives, false_positives)


def within(yx: Array, size: Array) -> jax.Array:
  """The pixel centre of a frame, or the place between them, that is nearest to a click.

  Where the published attack draws the click's disk: its renderer clamps the centre to [0, side - 1]
  (arXiv 2402.06132 and its released optimiser). What is clamped has no gradient; a click on the
  border has its own.

  Args:
    yx: (..., 2) float32, in frame pixels.
    size: (..., 2) float32, (height, width) of the frame.
  """
  yx = jnp.asarray(yx, jnp.float32)
  nearest = jnp.clip(lax.stop_gradient(yx), 0, jnp.asarray(size) - 1)
  return jnp.where(yx == nearest, yx, nearest)


def location_loss(
  yx: Array, column: Array, frame: Frame, radius: float, legal_any: Array
) -> jax.Array:
  """Mean over a network's frame of the click's disk times the distance to the legal region.

  The loss of the published attack (Moskalenko et al., "TETRIS", arXiv 2402.06132). The disk is
  `clip(radius + 0.5 - |p - yx|, 0, 1)` at frame pixel p, with yx clamped by `within`: a click that
  leaves the frame keeps its disk at the border. The distance map is exact in image pixels and
  resized to the frame, bilinear with aligned corners; no gradient flows through it. (The disks that
  models see, `tetris_jax.geometry.render`, are exact areas; the published loss has this one.) Only
  the few frame pixels that the disk covers are evaluated, so the cost does not grow with the frame.

  Args:
    yx: (2,) float32, the click in FRAME pixels.
    column: (height, width) float32, `distance.column_distance` of the legal region.
    frame: of the network, with fields of shape (2,).
    radius: of the disk, in frame pixels; a Python number.
    legal_any: () bool, whether the legal region has a pixel at all.

  Returns:
    () float32 in image pixels, 0 if there is no legal pixel.
  """
  yx = within(yx, frame.size)
  reach = math.floor(radius + 0.5)
  # With f the fraction of the click, |k - f| < radius + 0.5 only for these k.
  step = jnp.arange(-reach, reach + 2, dtype=jnp.float32)
  pixel = jnp.floor(lax.stop_gradient(yx))[:, None] + step[None, :]
  inside = (pixel >= 0) & (pixel < frame.size[:, None])

  offset = pixel - yx[:, None]
  squared = jnp.square(offset[0])[:, None] + jnp.square(offset[1])[None, :]
  # The guard keeps the gradient finite where the click sits on a pixel centre.
  disk = jnp.clip(radius + 0.5 - jnp.sqrt(squared + 1e-9), 0, 1)

  low, high, weight = _aligned_source(pixel, frame)
  rows = jnp.concatenate([low[0], high[0]])
  columns = jnp.concatenate([low[1], high[1]])
  corner = jnp.sqrt(squared_distance_grid(column, rows, columns))
  count = step.size
  vertical = weight[0][:, None]
  by_row = (1 - vertical) * corner[:count] + vertical * corner[count:]
  horizontal = weight[1][None, :]
  distance = (1 - horizontal) * by_row[:, :count] + horizontal * by_row[:, count:]
  counted = jnp.where(inside[0][:, None] & inside[1][None, :], distance, 0.0)
  loss = jnp.sum(disk * lax.stop_gradient(counted)) / (frame.size[0] * frame.size[1])
  return jnp.where(legal_any, loss, 0.0)


def _aligned_source(pixel: jax.Array, frame: Frame) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Image pixels between which frame pixels lie when the corners' centres coincide.

  Frame pixel i is at `offset + i (extent - 1) / (size - 1)`. The quotient is taken with its
  remainder: as one float32 number the position would lose the digits of the weight.

  Args:
    pixel: (2, count) float32, whole numbers; those outside of the frame give its border.
    frame: with fields of shape (2,).

  Returns:
    The lower and the upper neighbour, (2, count) int32, and the upper's weight, float32.
  """
  # One pixel, image or frame, has no spacing.
  steps = jnp.maximum(jnp.asarray(frame.size)[:, None] - 1, 1)
  span = jnp.asarray(frame.extent)[:, None] - 1
  start = jnp.asarray(frame.offset)[:, None]
  travelled = jnp.clip(pixel, 0, frame.size[:, None] - 1) * span
  whole = jnp.floor(travelled / steps)
  # The quotient may round up to the next whole number; the remainder tells, and the carry below
  # takes it back.
  fraction = (travelled - whole * steps) / steps + (start - jnp.floor(start))
  carry = jnp.floor(fraction)
  low = jnp.floor(start) + whole + carry
  high = jnp.minimum(low + 1, jnp.ceil(start + span))
  return low.astype(jnp.int32), high.astype(jnp.int32), fraction - carry
