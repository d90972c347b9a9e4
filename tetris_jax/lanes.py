"""Which trajectories go on: lanes side by side, greedy or several beams of each side.

Lanes are ordered BASE, then those of MIN, then as many of MAX; a `Cast` tells which of them there
are, where not all are asked for. The greedy choice of a round is not
always the start of the best trajectory, so several may be carried: after each round the greedy one
and the best of all other continuations, judged by the sum that the IoU-AuC takes of a trajectory so
far. No two are the same: a lane for which there is no other continuation rests, and may take up one
of another lane later.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tetris_jax.search.base import Found

__all__ = ['Cast', 'Choice', 'Standing', 'add', 'choose', 'start', 'take', 'winners']

# MIN is wanted low and MAX high.
_SENSE = {'min': -1.0, 'max': 1.0}


class Cast(NamedTuple):
  """Which lanes there are; static.

  Attributes:
    num_beams: lanes of each side.
    sides: "min", "max" or both, in this order.
    base: whether the robot user's own trajectory is carried.
  """

  num_beams: int = 1
  sides: tuple[str, ...] = ('min', 'max')
  base: bool = True

  @property
  def first(self) -> int:
    """The first lane that is searched."""
    return int(self.base)

  @property
  def num_lanes(self) -> int:
    """How many lanes there are."""
    return self.first + len(self.sides) * self.num_beams

  @property
  def names(self) -> tuple[str, ...]:
    """Modes of which there are lanes, in their order."""
    return ('base',) * self.base + self.sides

  @property
  def senses(self) -> tuple[float, ...]:
    """-1 for each side that is wanted low, 1 for one that is wanted high."""
    return tuple(_SENSE[side] for side in self.sides)

  @property
  def wanted(self) -> np.ndarray:
    """(lanes searched, 2) float32, what a search of each lane wants, as `Rows.wanted` has it."""
    rows = [[float(sense < 0), float(sense > 0)] for sense in self.senses]
    return np.repeat(np.array(rows, np.float32), self.num_beams, axis=0)

  def of_sides(self, x: jax.Array) -> jax.Array:
    """What answers for MIN and MAX, (batch, 1, 2, ...), of these sides alone."""
    if len(self.sides) == len(_SENSE):
      return x
    return x[:, :, np.array([list(_SENSE).index(side) for side in self.sides])]


class Standing(NamedTuple):
  """What lanes are chosen by.

  Attributes:
    total: (batch, lanes) float32, what the trapezoid rule has summed of each trajectory's IoU.
    distinct: (batch, lanes searched) bool, lanes of MIN and MAX that are no copy of another.
  """

  total: jax.Array
  distinct: jax.Array


class Choice(NamedTuple):
  """The continuations that go on.

  Attributes:
    yx: (batch, lanes searched, 2) float32, the clicks of MIN and MAX lanes.
    parent: (batch, lanes) int32, the lane that each continues; None where it is its own.
    distinct: (batch, lanes searched) bool.
  """

  yx: jax.Array
  parent: jax.Array | None
  distinct: jax.Array


def start(batch: int, cast: Cast) -> Standing:
  """Before the first click."""
  total = jnp.zeros((batch, cast.num_lanes), jnp.float32)
  return Standing(total, jnp.ones((batch, cast.num_lanes - cast.first), bool))


def add(standing: Standing, iou: jax.Array, slot: jax.Array, num_clicks: int) -> Standing:
  """Counts the IoU (batch, lanes) after the click in `slot`."""
  # The trapezoid rule counts the two ends by half.
  weight = jnp.where((slot == 0) | (slot == num_clicks - 1), 0.5, jnp.float32(1))
  return standing._replace(total=standing.total + weight * iou)


def take(tree: Any, parent: jax.Array) -> Any:
  """Lanes (batch, lanes, ...) in another order, `parent` (batch, lanes)."""

  def pick(x: jax.Array) -> jax.Array:
    at = parent.reshape(parent.shape + (1,) * (x.ndim - 2))
    return jnp.take_along_axis(x, at, axis=1)

  return jax.tree.map(pick, tree)


def choose(
  found: Found, standing: Standing, slot: jax.Array, num_clicks: int, cast: Cast
) -> Choice:
  """The continuations that go on after a round in which each lane was searched by itself.

  Args:
    found: fields (batch, lanes searched, 1, num_beams, ...).
    standing: before this round.
    slot: () int32, of the newest click.
    num_clicks: rounds of a trajectory.
    cast: which lanes there are.

  Raises:
    ValueError: several beams, and the search does not say what they are chosen by.
  """
  num_beams, first = cast.num_beams, cast.first
  if num_beams == 1:
    return Choice(found.yx[:, :, 0, 0], None, standing.distinct)
  if found.iou is None or found.new is None:
    raise ValueError('a search with several beams has to say iou and new of its clicks')
  batch = found.yx.shape[0]
  weight = jnp.where(slot == num_clicks - 1, 0.5, jnp.float32(1))
  chosen, parents, news = [], [jnp.zeros((batch, 1), jnp.int32)] * first, []
  for side, sense in enumerate(cast.senses):
    some = slice(side * num_beams, (side + 1) * num_beams)
    promise = standing.total[:, first:][:, some, None] + weight * found.iou[:, some, 0]
    # A model that answers NaN is scored so; what is chosen does not matter then.
    usable = jnp.isfinite(promise) & found.new[:, some, 0] & standing.distinct[:, some, None]
    value = jnp.where(usable, sense * promise, -jnp.inf)
    # The greedy trajectory stays, whatever the others promise: no beam ends worse.
    value = value.reshape(batch, -1).at[:, 0].set(-jnp.inf)
    value, others = lax.top_k(value, num_beams - 1)
    top = jnp.concatenate([jnp.zeros((batch, 1), others.dtype), others], axis=1)
    news += [jnp.ones((batch, 1), bool), value > -jnp.inf]
    parents.append(first + side * num_beams + top // num_beams)
    flat = found.yx[:, some, 0].reshape(batch, -1, 2)
    chosen.append(jnp.take_along_axis(flat, top[..., None], axis=1))
  return Choice(
    jnp.concatenate(chosen, axis=1),
    jnp.concatenate(parents, axis=1),
    jnp.concatenate(news, axis=1),
  )


def winners(standing: Standing, cast: Cast, robot_competes: bool) -> jax.Array:
  """(batch, modes) int32, the lanes that are reported of the modes `cast.names`.

  Where the robot user's own trajectory competes, after those that were searched, MIN and MAX are
  never on the wrong side of BASE in IoU-AuC. A trajectory in which the model answered NaN comes
  first: it is told, not passed over.
  """
  total, sides = standing.total, []
  for side, sense in enumerate(cast.senses):
    lane = cast.first + side * cast.num_beams + jnp.arange(cast.num_beams, dtype=jnp.int32)
    if robot_competes:
      lane = jnp.append(lane, jnp.int32(0))
    score = jnp.where(jnp.isfinite(total), sense * total, jnp.inf)
    sides.append(lane[lax.argmax(score[:, lane], 1, jnp.int32)])
  return jnp.stack([jnp.zeros_like(sides[0])] * cast.first + sides, axis=1)
