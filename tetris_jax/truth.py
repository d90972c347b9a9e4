"""The truth that a search is measured against: every legal pixel of a lattice, exhaustively."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tetris_jax import rounds
from tetris_jax.geometry.region import first_pixels
from tetris_jax.mesh import varying
from tetris_jax.scene import (
  AT_ONCE,
  boundary_score,
  full_precision,
  hard_score,
  repeat_target,
  rows_at_once,
)
from tetris_jax.search.base import Asked, Rows, decode_at
from tetris_jax.stage import begin, given, legal_regions, open_round, robot_user, set_stage
from tetris_jax.types import Array, Batch, Clicks, Segmenter

__all__ = ['Grid', 'at', 'grid', 'lattice', 'small_mask', 'stride_for']

class Grid(NamedTuple):
  """IoU of one more click, by where it is made; leading dimension (batch,).

  Attributes:
    yx: (batch, count, 2) float32 image pixels, the robot user's click first.
    exists: (batch, count) bool; the other positions repeat the robot user's.
    label: (batch,) int32, of the click.
    iou: (batch, count) float32 at image resolution; NaN where `exists` is False.
    biou: (batch, count) float32, likewise; NaN if it was not asked for.
    predicted: (batch, count) float32, IoU that the model itself expects; NaN if it expects none.
    wanted: (batch,) int32, legal pixels of the lattice, also those that `count` left no room for.
    mask: (batch, count, bytes) uint8, the masks that the model answered as `small_mask` has them,
      eight pixels a byte in the order of `numpy.packbits`; None if they were not asked for.
  """

  yx: jax.Array
  exists: jax.Array
  label: jax.Array
  iou: jax.Array
  biou: jax.Array
  predicted: jax.Array
  wanted: jax.Array
  mask: jax.Array | None = None


def stride_for(legal: np.ndarray, *, wanted: int = 2500) -> int:
  """The whole stride, at least 1, at which about `wanted` legal pixels lie on the lattice."""
  return max(1, round(math.sqrt(np.count_nonzero(legal) / wanted)))


def lattice(legal: Array, stride: Array) -> jax.Array:
  """The legal pixels of every `stride`-th row and column, from row and column stride // 2 on.

  Args:
    legal: (..., height, width) bool.
    stride: (...) int32, may be traced; at least 1.

  Returns:
    (..., height, width) bool.
  """
  legal, stride = jnp.asarray(legal), jnp.asarray(stride, jnp.int32)[..., None, None]
  row = lax.broadcasted_iota(jnp.int32, legal.shape, legal.ndim - 2)
  column = lax.broadcasted_iota(jnp.int32, legal.shape, legal.ndim - 1)
  return legal & (row % stride == stride // 2) & (column % stride == stride // 2)


def grid(
  segmenter: Segmenter,
  batch: Batch,
  stride: Array,
  count: int,
  *,
  earlier: Clicks | None = None,
  at_once: int | None = None,
  with_boundary: bool = True,
  mask_side: int = 0,
) -> Grid:
  """Evaluates the next click at every legal pixel of a lattice, forward only.

  Pure and traceable, as `attack`. An image is encoded once and a round prepared once; memory grows
  with `at_once`, not with `count`; positions that do not exist cost nothing.

  Args:
    segmenter: the model.
    batch: padded instances.
    stride: (batch,) int32, of the lattice in pixels; see `stride_for`.
    count: room for positions, the robot user's click among them; the first in row-major order are
      evaluated, and `Grid.wanted` tells how many there are.
    earlier: clicks made before, yx (batch, num_earlier, 2) and label (batch, num_earlier). Default:
      none, so that the first round is evaluated.
    at_once: positions that are decoded together. Default: 1 on a CPU, 64 elsewhere.
    with_boundary: whether boundary IoU is evaluated as well.
    mask_side: rows, and columns, of the masks that are kept; 0 for none.

  Returns:
    Grid.

  Raises:
    ValueError: `count` or `at_once` is below 1.
  """

  def choose(robot: jax.Array, legal: jax.Array, stride: jax.Array) -> tuple[jax.Array, ...]:
    taken = lattice(legal, stride)
    found, there = first_pixels(taken, count - 1)
    # The robot user's click may lie on the lattice; it is not evaluated twice.
    other = there & jnp.any(found != robot[None], axis=-1)
    order = lax.sort_key_val(~other, lax.iota(jnp.int32, count - 1), is_stable=True)[1]
    return found[order], other[order], jnp.sum(taken, dtype=jnp.int32)

  places = _Places(choose, jnp.asarray(stride, jnp.int32), count)
  return _evaluate(segmenter, batch, places, earlier, at_once, _Wanted(with_boundary, mask_side))


def at(
  segmenter: Segmenter,
  batch: Batch,
  yx: Array,
  exists: Array,
  *,
  earlier: Clicks | None = None,
  at_once: int | None = None,
  with_boundary: bool = True,
) -> Grid:
  """Evaluates the next click at given positions, wherever they are, as `grid` does at a lattice's.

  Args:
    segmenter: the model.
    batch: padded instances.
    yx: (batch, positions, 2) float32 image pixels, the same one twice if so wished.
    exists: (batch, positions) bool, False where a position only fills the array; such ones last.
    earlier: as for `grid`.
    at_once: as for `grid`.
    with_boundary: as for `grid`.

  Returns:
    Grid with count = positions + 1, the robot user's click first and then `yx` in its order;
    `wanted` counts the positions that exist.

  Raises:
    ValueError: `at_once` is below 1.
  """
  given = jnp.asarray(yx, jnp.float32), jnp.asarray(exists)

  def choose(robot: jax.Array, legal: jax.Array, mine: Any) -> tuple[jax.Array, ...]:
    del robot, legal
    return *mine, jnp.sum(mine[1], dtype=jnp.int32)

  places = _Places(choose, given, given[1].shape[1] + 1)
  return _evaluate(segmenter, batch, places, earlier, at_once, _Wanted(with_boundary, 0))


def small_mask(mask: Array, size: Array, *, side: int) -> jax.Array:
  """A mask at low resolution: of each of side x side equal cells of the picture the centre's pixel.

  Args:
    mask: (height, width) bool on a canvas.
    size: (2,) int32, the picture's (height, width) on it.
    side: rows, and columns.

  Returns:
    (side, side) bool.
  """
  twice = 2 * lax.iota(jnp.int32, side) + 1
  rows, columns = ((twice * size[axis]) // (2 * side) for axis in (0, 1))
  return jnp.asarray(mask)[rows[:, None], columns[None, :]]


class _Wanted(NamedTuple):
  """What is kept of an evaluation beside IoU.

  Attributes:
    boundary: whether boundary IoU is.
    side: of the masks; 0 for none.
  """

  boundary: bool
  side: int


class _Places(NamedTuple):
  """Where the next click is evaluated.

  Attributes:
    choose: (robot user's click (2,), legal region (height, width), an instance's part of `given`)
      -> yx (room - 1, 2), exists (room - 1,), those that exist first, and `Grid.wanted`.
    given: tree of arrays with a leading dimension (batch,).
    room: for positions of an instance, the robot user's among them; static.
  """

  choose: Callable[..., tuple[jax.Array, ...]]
  given: Any
  room: int


def _evaluate(
  segmenter: Segmenter,
  batch: Batch,
  places: _Places,
  earlier: Clicks | None,
  at_once: int | None,
  kept: _Wanted,
) -> Grid:
  """`Grid` of one round, an instance after the other; arguments as for `grid`."""
  if places.room < 1:
    raise ValueError(f'count is {places.room}; at least 1')
  at_once = rows_at_once(at_once, elsewhere=AT_ONCE)
  assert at_once is not None
  with full_precision():
    stage = set_stage(segmenter, batch, at_once)
    made = 0 if earlier is None else jnp.asarray(earlier.label).shape[1]
    walk, slot = begin(stage, 1, made + 1), jnp.int32(made)
    if earlier is not None:
      lane = Clicks(*(jnp.asarray(x)[:, None] for x in earlier.checked()))
      walk, _ = rounds.play(stage, walk, made, given(lane))
    turn = open_round(stage, walk, slot, robot_user)
    legal = legal_regions(stage, walk, turn.label)
    asked = Asked(segmenter, slot, at_once, lambda f: f)
    alone = jax.tree.map(lambda x: x[:, 0], (turn.context, turn.clicks, legal))
    rows = (*alone, repeat_target(stage.scene, 1), places.given)

    def one(row: tuple[Any, ...]) -> tuple[Any, ...]:
      context, clicks, legal, target, mine = row
      seen = Rows(context, clicks, legal, jnp.ones(2, jnp.float32), target)
      return _one(asked, seen, places, mine, kept)

    yx, exists, (iou, biou, predicted, *masks), wanted = lax.map(one, rows)
  mask = masks[0] if masks else None
  return Grid(yx, exists, turn.label[:, 0], iou, biou, predicted, wanted, mask)


def _one(
  asked: Asked, row: Rows, places: _Places, mine: Any, kept: _Wanted
) -> tuple[jax.Array, jax.Array, tuple[jax.Array, ...], jax.Array]:
  """Positions, which exist, their scores and masks, and `Grid.wanted` of one instance."""
  count, at_once = places.room, asked.at_once
  assert at_once is not None
  chunks = -(-count // at_once)
  robot = row.clicks.yx[asked.slot]
  found, other, wanted = places.choose(robot, row.legal, mine)
  exists = jnp.append(True, other)
  yx = jnp.concatenate([robot[None], found])
  yx = jnp.where(exists[:, None], yx, robot[None])
  padded = jnp.concatenate([yx, jnp.broadcast_to(robot, (chunks * at_once - count, 2))])

  def score(at: jax.Array) -> tuple[jax.Array, ...]:
    logits, state = decode_at(asked, row, at)
    found = hard_score(logits, asked.segmenter.info.threshold, row.target)
    predicted = jnp.asarray(asked.segmenter.predicted_iou(state), jnp.float32)
    boundary: jax.Array = jnp.float32(jnp.nan)
    if kept.boundary:
      boundary = jnp.where(found.finite, boundary_score(found.mask, row.target), jnp.nan)
    if not kept.side:
      return found.iou, boundary, predicted
    small = small_mask(found.mask, row.target.size, side=kept.side)
    return found.iou, boundary, predicted, jnp.packbits(small)

  def evaluate(number: jax.Array, scores: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    some = lax.dynamic_slice_in_dim(padded, number * at_once, at_once)
    found = jax.vmap(score)(some) if at_once > 1 else jax.tree.map(
      lambda x: x[None], score(some[0])
    )
    return jax.tree.map(
      lambda all_, new: lax.dynamic_update_slice_in_dim(all_, new, number * at_once, 0),
      scores,
      found,
    )

  needed = -(-jnp.sum(exists, dtype=jnp.int32) // at_once)
  start: tuple[jax.Array, ...] = (jnp.full(chunks * at_once, jnp.nan, jnp.float32),) * 3
  if kept.side:
    start += (jnp.zeros((chunks * at_once, -(-(kept.side**2) // 8)), jnp.uint8),)
  start = varying(start, row)
  scores = tuple(x[:count] for x in lax.fori_loop(0, needed, evaluate, start))
  known = [jnp.where(exists, x, jnp.nan) for x in scores[:3]]
  masks = [jnp.where(exists[:, None], x, jnp.uint8(0)) for x in scores[3:]]
  return yx, exists, (*known, *masks), wanted
