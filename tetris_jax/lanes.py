"""Which trajectories go on: lanes side by side, greedy or several beams of each side.

Lanes are ordered BASE, then those of MIN, then as many of MAX. The greedy choice of a round is not
always the start of the best trajectory, so several may be carried: after each round the greedy one
and the best of all other continuations, judged by the sum that the IoU-AuC takes of a trajectory so
far. No two are the same: a lane for which there is no other continuation rests, and may take up one
of another lane later.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from tetris_jax.search.base import Found

__all__ = ['Choice', 'Standing', 'add', 'choose', 'count', 'start', 'take', 'winners']

# MIN is wanted low and MAX high.
_SIDES = ((0, -1.0), (1, 1.0))


class Standing(NamedTuple):
  """What lanes are chosen by.

  Attributes:
    total: (batch, lanes) float32, what the trapezoid rule has summed of each trajectory's IoU.
    distinct: (batch, lanes - 1) bool, lanes of MIN and MAX that are no copy of another.
  """

  total: jax.Array
  distinct: jax.Array


class Choice(NamedTuple):
  """The continuations that go on.

  Attributes:
    yx: (batch, lanes - 1, 2) float32, the clicks of MIN and MAX lanes.
    parent: (batch, lanes) int32, the lane that each continues; None where it is its own.
    distinct: (batch, lanes - 1) bool.
  """

  yx: jax.Array
  parent: jax.Array | None
  distinct: jax.Array


def count(num_beams: int) -> int:
  """How many lanes there are."""
  return 1 + 2 * num_beams


def start(batch: int, num_beams: int) -> Standing:
  """Before the first click."""
  total = jnp.zeros((batch, count(num_beams)), jnp.float32)
  return Standing(total, jnp.ones((batch, 2 * num_beams), bool))


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
  found: Found, standing: Standing, slot: jax.Array, num_clicks: int, num_beams: int
) -> Choice:
  """The continuations that go on after a round in which each lane was searched by itself.

  Args:
    found: fields (batch, lanes - 1, 1, num_beams, ...).
    standing: before this round.
    slot: () int32, of the newest click.
    num_clicks: rounds of a trajectory.
    num_beams: of MIN, and of MAX.

  Raises:
    ValueError: several beams, and the search does not say what they are chosen by.
  """
  if num_beams == 1:
    return Choice(found.yx[:, :, 0, 0], None, standing.distinct)
  if found.iou is None or found.new is None:
    raise ValueError('a search with several beams has to say iou and new of its clicks')
  batch = found.yx.shape[0]
  weight = jnp.where(slot == num_clicks - 1, 0.5, jnp.float32(1))
  chosen, parents, news = [], [jnp.zeros((batch, 1), jnp.int32)], []
  for side, sense in _SIDES:
    some = slice(side * num_beams, (side + 1) * num_beams)
    promise = standing.total[:, 1:][:, some, None] + weight * found.iou[:, some, 0]
    # A model that answers NaN is scored so; what is chosen does not matter then.
    usable = jnp.isfinite(promise) & found.new[:, some, 0] & standing.distinct[:, some, None]
    value = jnp.where(usable, sense * promise, -jnp.inf)
    # The greedy trajectory stays, whatever the others promise: no beam ends worse.
    value = value.reshape(batch, -1).at[:, 0].set(-jnp.inf)
    value, others = lax.top_k(value, num_beams - 1)
    top = jnp.concatenate([jnp.zeros((batch, 1), others.dtype), others], axis=1)
    news += [jnp.ones((batch, 1), bool), value > -jnp.inf]
    parents.append(1 + side * num_beams + top // num_beams)
    flat = found.yx[:, some, 0].reshape(batch, -1, 2)
    chosen.append(jnp.take_along_axis(flat, top[..., None], axis=1))
  return Choice(
    jnp.concatenate(chosen, axis=1),
    jnp.concatenate(parents, axis=1),
    jnp.concatenate(news, axis=1),
  )


def winners(standing: Standing, num_beams: int, robot_competes: bool) -> jax.Array:
  """(batch, 3) int32, the lanes of BASE, MIN and MAX that are reported.

  Where the robot user's own trajectory competes, after those that were searched, MIN and MAX are
  never on the wrong side of BASE in IoU-AuC. A trajectory in which the model answered NaN comes
  first: it is told, not passed over.
  """
  total, sides = standing.total, []
  for side, sense in _SIDES:
    lane = 1 + side * num_beams + jnp.arange(num_beams, dtype=jnp.int32)
    if robot_competes:
      lane = jnp.append(lane, jnp.int32(0))
    score = jnp.where(jnp.isfinite(total), sense * total, jnp.inf)
    sides.append(lane[lax.argmax(score[:, lane], 1, jnp.int32)])
  return jnp.stack([jnp.zeros_like(sides[0]), *sides], axis=1)
