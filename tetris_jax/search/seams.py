"""Seams: where the answer changes between two neighbouring clicks, and how to close in on them.

Two clicks are neighbours if no other click lies in the circle of which they are a diameter (the
Gabriel graph; Gabriel and Sokal, "A New Statistical Approach to Geographic Variation Analysis",
Systematic Zoology, 1969). A click in the middle of neighbours whose masks differ leaves two pairs
of half the length. Once they touch, the seam is known there, and pairs whose middle is near wait.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

__all__ = ['Seams', 'add', 'due', 'middle', 'none', 'promise']

# Masks differ from this share of the candidates on.
_DIFFERENT = 0.02
# Clicks touch up to this squared distance, in pixels.
_TOUCHING = 4
# A seam keeps others away as far as this share of the root of the legal region's area.
_REACH = 0.04
# What halving the length of a pair is worth beside the IoU of its better end, whose range is 1.
_HALVING = 0.1


class Seams(NamedTuple):
  """Pairs among `total` clicks.

  Attributes:
    yx: (total, 2) int32, image pixels.
    differs: (total, total) float32, share of the candidates that lie in one of two masks alone.
    open: (total, total) bool, neighbours.
    waits: (total, total) bool, pairs whose middle is near a known seam.
    known: (total,) bool, clicks that touch one of another answer.
  """

  yx: jax.Array
  differs: jax.Array
  open: jax.Array
  waits: jax.Array
  known: jax.Array


def none(total: int) -> Seams:
  """No click yet, with room for `total`."""
  no = jnp.zeros((total, total), bool)
  differs = jnp.zeros((total, total), jnp.float32)
  return Seams(jnp.zeros((total, 2), jnp.int32), differs, no, no, jnp.zeros(total, bool))


def _dot(first: jax.Array, second: jax.Array) -> jax.Array:
  """(..., 2) int32: exact on any canvas of fewer than 2^15 pixels a side."""
  return first[..., 0] * second[..., 0] + first[..., 1] * second[..., 1]


def _near(first: jax.Array, second: jax.Array, point: jax.Array, reach: jax.Array) -> jax.Array:
  """Whether the middle of two pixels is within `reach` (squared) of a third."""
  away = (first + second - 2 * point).astype(jnp.float32)
  return jnp.square(away[..., 0]) + jnp.square(away[..., 1]) <= 4 * reach


def add(
  seams: Seams, number: jax.Array, yx: jax.Array, differs: jax.Array, area: jax.Array
) -> Seams:
  """Enters the `number`-th click.

  Args:
    seams: of the clicks before it.
    number: () int32.
    yx: (2,) float32, whole pixels.
    differs: (total,) float32, how its mask differs from that of each click before.
    area: () int32, pixels of the legal region.
  """
  total = seams.yx.shape[0]
  order = jnp.arange(total, dtype=jnp.int32)
  before = order < number
  here = yx.astype(jnp.int32)
  every = seams.yx.at[number].set(here)
  reach = _REACH**2 * area.astype(jnp.float32)

  # It cuts the pairs whose circle it lies in: seen from it, their ends are more than 90 degrees
  # apart.
  ends = every - here[None]
  old = seams.open & ~(_dot(ends[:, None], ends[None]) < 0)
  # And of its own pairs, another click may lie in the circle: axis 0 counts the other ends.
  cut = _dot(here[None, None] - every[None], every[:, None] - every[None]) < 0
  cut = jnp.any(cut & before[None], axis=1)
  length = _dot(ends, ends)
  mine = before & ~cut & (length > 0)
  opened = old.at[number].set(mine).at[:, number].set(mine)
  apart = seams.differs.at[number].set(differs).at[:, number].set(differs)

  touches = mine & (length <= _TOUCHING) & (differs >= _DIFFERENT)
  new = jnp.any(touches)
  known = seams.known.at[number].set(new)
  waits = seams.waits | (
    new & _near(every[:, None], every[None], here[None, None], reach)
  )
  by_old = _near(every[:, None], here[None, None], every[None], reach) & (known & before)[None]
  by_old = jnp.any(by_old, axis=1) | (new & _near(every, here[None], here[None], reach))
  waits = waits.at[number].set(by_old).at[:, number].set(by_old)
  return Seams(every, apart, opened, waits, known)


def middle(seams: Seams, pair: jax.Array) -> jax.Array:
  """(2,) float32, the pixel in the middle of a pair, a flat index into (total, total)."""
  total = seams.yx.shape[0]
  return _middle(seams.yx[pair // total], seams.yx[pair % total]).astype(jnp.float32)


def _middle(first: jax.Array, second: jax.Array) -> jax.Array:
  return (first + second) // 2


def promise(
  seams: Seams, iou: jax.Array, tried: jax.Array, legal: jax.Array, wanted: jax.Array
) -> jax.Array:
  """How much a click in the middle of each pair promises; minus infinity where none is to be made.

  The nearer an end to the extreme of its side, and the closer the two, the more. A side counts by
  the room that is left to its extreme.

  Args:
    seams: of the clicks.
    iou: (total,) float32.
    tried: (total,) bool, clicks that there are.
    legal: (height, width) bool.
    wanted: (2,) float32, the weight of a lower and of a higher IoU.

  Returns:
    (total, total) float32; one of each pair and its mirror image.
  """
  total = iou.shape[0]
  known = tried & jnp.isfinite(iou)
  low = jnp.min(jnp.where(known, iou, jnp.inf), initial=1.0)
  high = jnp.max(jnp.where(known, iou, -jnp.inf), initial=0.0)
  room = jnp.maximum(wanted * jnp.stack([low, 1 - high]), 0)
  room = room / jnp.maximum(jnp.max(room), 1e-6)
  span = jnp.maximum(high - low, 1e-6)
  value = jnp.maximum(room[0] * (high - iou), room[1] * (iou - low)) / span
  value = jnp.where(known, value, 0.0)
  away = seams.yx[:, None] - seams.yx[None]
  length = _dot(away, away)
  at = _middle(seams.yx[:, None], seams.yx[None])
  fine = seams.open & ~seams.waits & (seams.differs >= _DIFFERENT) & (length > _TOUCHING)
  fine = fine & legal[at[..., 0], at[..., 1]] & known[:, None] & known[None]
  order = jnp.arange(total, dtype=jnp.int32)
  fine = fine & (order[:, None] < order[None])
  halvings = 0.5 * jnp.log2(jnp.maximum(length, 1).astype(jnp.float32))
  return jnp.where(
    fine, jnp.maximum(value[:, None], value[None]) - _HALVING * halvings, -jnp.inf
  )


def due(number: jax.Array, follow: float) -> jax.Array:
  """Whether the `number`-th click after the exploration goes to a seam, a share `follow` of them.

  The seams' clicks are spread evenly, the first click among them.
  """
  number = jnp.maximum(number, -1)
  step = lambda n: jnp.ceil(n.astype(jnp.float32) * follow - 1e-4)
  return (number >= 0) & (step(number + 1) > step(number))
