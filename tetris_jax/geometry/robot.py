"""The robot user: clicks the centre of the largest error, the field's standard evaluation.

The rule is that of Sofiiuk et al., "Reviving Iterative Training with Mask Guidance for Interactive
Segmentation" (arXiv 2102.06583).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from tetris_jax.geometry.distance import error_distance
from tetris_jax.types import EMPTY, NEGATIVE, POSITIVE, Array, Clicks

__all__ = ['clicked_pixels', 'error_regions', 'largest_error', 'next_click']


def error_regions(mask: Array, prediction: Array, valid: Array) -> tuple[jax.Array, jax.Array]:
  """False negatives and false positives.

  Args:
    mask: (..., height, width) bool, the object.
    prediction: (..., height, width) bool.
    valid: (..., height, width) bool, False on ignored pixels and in the padding.

  Returns:
    Two (..., height, width) bool arrays, disjoint.
  """
  mask, prediction, valid = jnp.asarray(mask), jnp.asarray(prediction), jnp.asarray(valid)
  return mask & ~prediction & valid, ~mask & prediction & valid


def clicked_pixels(clicks: Clicks, size: Array) -> jax.Array:
  """The pixels that clicks fall on.

  Args:
    clicks: yx (..., num_slots, 2) in image pixels, label (..., num_slots).
    size: (..., 2) int, (height, width) of the image.

  Returns:
    (..., num_slots, 2) int32 (row, column): rounded half to even and clamped to the image; (-1, -1)
    for an empty slot.
  """
  last = jnp.asarray(size).astype(jnp.int32)[..., None, :] - 1
  pixel = jnp.clip(jnp.round(jnp.asarray(clicks.yx)).astype(jnp.int32), 0, last)
  return jnp.where((jnp.asarray(clicks.label) == EMPTY)[..., None], -1, pixel)


def next_click(
  mask: Array, prediction: Array, valid: Array, clicked: Clicks, size: Array
) -> tuple[jax.Array, jax.Array]:
  """The click that the robot user makes next.

  Both error regions get an exact Euclidean distance transform in which the outside of the image
  counts as correct. Pixels clicked before are set to 0. The click goes to the first maximum in
  row-major order, of the false negatives (positive click) if theirs is strictly the larger, else of
  the false positives. A perfect mask gives a negative click at (0, 0), as in the published code.

  Args:
    mask: (..., height, width) bool, the object.
    prediction: (..., height, width) bool.
    valid: (..., height, width) bool, False on ignored pixels and in the padding, which must lie at
      the bottom and the right: then it does not change the order of pixels.
    clicked: earlier clicks, yx (..., num_slots, 2) and label (..., num_slots).
    size: (..., 2) int, (height, width) of the image in the canvas, to which earlier clicks are
      clamped.

  Returns:
    yx (..., 2) float32 and label (...) int32.
  """
  distance = error_distance(*error_regions(mask, prediction, valid))
  return largest_error(distance, clicked, size)


def largest_error(distance: Array, clicked: Clicks, size: Array) -> tuple[jax.Array, jax.Array]:
  """The robot user's click where the distances inside of the errors are known; see `next_click`.

  Args:
    distance: (..., height, width) float32, of `distance.error_distance`.
    clicked: as for `next_click`, and so is `size`.
    size: see there.

  Returns:
    yx (..., 2) float32 and label (...) int32.
  """
  distance = jnp.asarray(distance)
  lead, (height, width) = distance.shape[:-2], distance.shape[-2:]
  pixel = clicked_pixels(clicked, size).reshape(-1, clicked.yx.shape[-2], 2)
  distance = distance.reshape(-1, height, width)
  instance = jnp.arange(distance.shape[0], dtype=jnp.int32)[:, None]
  # A negative index would count from the end; one past the end is dropped.
  row = jnp.where(pixel[..., 0] < 0, height, pixel[..., 0])
  distance = distance.at[instance, row, pixel[..., 1]].set(0.0, mode='drop')

  # The largest of each row first: a flat argmax of the canvas is scalar code on CPU.
  row_highest, row_lowest = jnp.max(distance, axis=-1), jnp.min(distance, axis=-1)
  positive = jnp.max(row_highest, axis=-1) > -jnp.min(row_lowest, axis=-1)
  row_largest = jnp.where(positive[:, None], row_highest, -row_lowest)
  y = lax.argmax(row_largest, 1, jnp.int32)
  line = jnp.take_along_axis(distance, y[:, None, None], axis=1)[:, 0]
  x = lax.argmax(jnp.where(positive[:, None], line, -line), 1, jnp.int32)
  yx = jnp.stack([y, x], axis=-1).astype(jnp.float32)
  label = jnp.where(positive, POSITIVE, NEGATIVE).astype(jnp.int32)
  return yx.reshape(*lead, 2), label.reshape(lead)
