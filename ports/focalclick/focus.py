"""Where FocalClick looks again after a click, and how it may join masks, as code that is traced.

Chen et al., "FocalClick: Towards Practical Interactive Image Segmentation" (arXiv 2204.02574) and
its released evaluation. Masks are (height, width) bool on a canvas, False outside of the picture.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from tetris_jax.types import Array

__all__ = ['component', 'focus_box', 'merged', 'spans']

# A mask of fewer pixels has no box of its own: the whole picture's is taken.
_FEWEST = 10


def _reached(mask: jax.Array, seeds: jax.Array, axis: int) -> jax.Array:
  """What of the mask lies on a run along an axis that holds a seed."""
  place = jax.lax.broadcasted_iota(jnp.int32, mask.shape, axis)

  def run(reverse: bool) -> jax.Array:
    at = 2 * (mask.shape[axis] - place if reverse else place + 1)
    # Of what was passed last, a seed (odd) or a gap (even), the number is the largest.
    passed = jnp.where(seeds, at + 1, jnp.where(mask, 0, at))
    return (jax.lax.cummax(passed, axis=axis, reverse=reverse) & 1) == 1

  return mask & (run(False) | run(True))


def component(mask: Array, pixel: Array) -> jax.Array:
  """The connected part of a mask that a pixel is of, corners count as connections.

  Args:
    mask: (height, width) bool.
    pixel: (2,) int32, (y, x).

  Returns:
    (height, width) bool; nothing where the pixel is not of the mask.
  """
  mask = jnp.asarray(mask)
  rows = jnp.arange(mask.shape[0], dtype=jnp.int32)[:, None] == pixel[0]
  columns = jnp.arange(mask.shape[1], dtype=jnp.int32)[None, :] == pixel[1]

  def spread(state: Any) -> Any:
    seeds, _ = state
    grown = _reached(mask, _reached(mask, seeds, 1), 0)
    near = jax.lax.reduce_window(grown, False, jnp.logical_or, (3, 3), (1, 1), 'SAME') & mask
    return near, jnp.any(near != seeds)

  first = mask & rows & columns
  return jax.lax.while_loop(lambda state: state[1], spread, (first, jnp.any(first)))[0]


def _changed(mask: jax.Array, before: jax.Array, pixel: jax.Array, size: jax.Array) -> jax.Array:
  """The part of what changed that a click is of; with no change there, all that did not change."""
  changed = mask ^ before
  rows = jnp.arange(mask.shape[0], dtype=jnp.int32)[:, None] < size[0]
  columns = jnp.arange(mask.shape[1], dtype=jnp.int32)[None, :] < size[1]
  part = component(changed, pixel)
  return jnp.where(jnp.any(part), part, ~changed & rows & columns)


def spans(mask: jax.Array, size: jax.Array) -> tuple[jax.Array, jax.Array]:
  """First and last row and column of a mask, (2,) int32 each (y, x).

  Of fewer than 10 pixels: 0 and `size`, which is one too far and the released code's.
  """
  ends = []
  for axis in (0, 1):
    some = jnp.any(mask, axis=1 - axis)
    ends.append((jnp.argmax(some), some.size - 1 - jnp.argmax(some[::-1])))
  low, high = (jnp.stack(end).astype(jnp.int32) for end in zip(*ends, strict=True))
  few = jnp.sum(mask, dtype=jnp.int32) < _FEWEST
  return jnp.where(few, 0, low), jnp.where(few, size, high)


def focus_box(
  mask: jax.Array,
  before: jax.Array,
  target: tuple[jax.Array, jax.Array],
  pixel: jax.Array,
  size: jax.Array,
) -> tuple[jax.Array, jax.Array]:
  """The rectangle that is refined after a click.

  It surrounds what the click changed; where that is less than a third of the mask along an axis, a
  square about the click; at the first mask, that mask. It is 1.4 times as long, all ends int() of
  float64's. As 1.4 = 7 / 5 they are quotients of whole numbers: `tests` compare all sizes.

  Args:
    mask: (height, width) bool, of the coarse pass.
    before: (height, width) bool, of the previous click.
    target: first pixels of what the coarse pass saw, and those behind its last, (2,) int32 (y, x).
    pixel: (2,) int32 (y, x), the click's.
    size: (2,) int32, the picture's height and width.

  Returns:
    First pixels and those behind the last, (2,) int32 (y, x); none where the second do not exceed
    the first, for a click far from the target.
  """
  low, high = spans(mask, size)
  part_low, part_high = spans(_changed(mask, before, pixel, size), size)
  begins = ~jnp.any(before)
  lengths = high - low
  small = jnp.any(3 * (part_high - part_low) < lengths)
  # Around a click: click -+ 0.2 * longest, then 1.4 times that and a pixel.
  half = 14 * jnp.max(lengths) + 35
  around = (50 * pixel - half) // 50, (50 * pixel + half) // 50
  low, high = jnp.where(begins, low, part_low), jnp.where(begins, high, part_high)
  centre, half = 5 * (low + high), 7 * (high - low + 1)
  low, high = (
    jnp.where(~begins & small, at, end)
    for at, end in zip(around, ((centre - half) // 10, (centre + half) // 10), strict=True)
  )
  return jnp.maximum(jnp.maximum(low, 0), target[0]), jnp.minimum(high, target[1])


def merged(
  mask: jax.Array, before: jax.Array, pixel: jax.Array, size: jax.Array
) -> jax.Array:
  """The previous mask with the one change that the click is of: progressive merge.

  Args:
    mask: (height, width) bool, predicted.
    before: (height, width) bool, shown before the click.
    pixel: (2,) int32 (y, x), the click's.
    size: (2,) int32, the picture's height and width.

  Returns:
    (height, width) bool: without that part where the click is on the previous mask, else with it.
    Where the click changed nothing, all that did not change counts as the part, as in the released
    code.
  """
  part = _changed(mask, before, pixel, size)
  return jnp.where(before[pixel[0], pixel[1]], before & ~part, before | part)
