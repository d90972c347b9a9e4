"""THE round engine: propose, search, choose lanes, commit. Every trajectory goes through it.

What a round is made of stands in `tetris_jax.stage`. A search (`tetris_jax.search`) moves the click
that was proposed, `tetris_jax.lanes` says which trajectories go on, and what is committed is the
evaluation that is reported and carried on.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tetris_jax import lanes
from tetris_jax.mesh import varying
from tetris_jax.scene import each_row, in_parts, repeat_target
from tetris_jax.search.base import Asked, Cost, Found, Known, Rows, Search
from tetris_jax.stage import (
  Proposer,
  Round,
  Stage,
  Turn,
  Walk,
  begin,
  commit,
  flat,
  given,
  legal_regions,
  open_round,
  robot_user,
)
from tetris_jax.types import MODES, Byproducts, Clicks

__all__ = ['Played', 'cast_of', 'cost', 'keep_order', 'play', 'search_clicks', 'search_rounds']


class Played(NamedTuple):
  """What rounds with a search left behind.

  Attributes:
    rounds: `Round` with a leading (num_clicks,) dimension; lanes are the modes asked for.
    byproducts: of the first round's search.
  """

  rounds: Round
  byproducts: Byproducts


def play(
  stage: Stage,
  walk: Walk,
  num_rounds: int,
  propose: Proposer,
  *,
  keep: Callable[[Round], Any] = lambda found: found,
  first: int = 0,
) -> tuple[Walk, Any]:
  """Rounds without a search.

  Args:
    stage: what they share.
    walk: where the trajectories stand; the clicks go into their first slots.
    num_rounds: clicks of each.
    propose: who clicks.
    keep: what of each `Round` is returned.
    first: clicks of each that were made before.

  Returns:
    The walk after the last round, and what was kept with a leading dimension of the rounds played.
  """

  def one_round(walk: Walk, slot: jax.Array) -> tuple[Walk, Any]:
    found, after = commit(stage, open_round(stage, walk, slot, propose), slot)
    return after, keep(found)

  return lax.scan(one_round, walk, jnp.arange(first, num_rounds, dtype=jnp.int32))


def keep_order(
  found: Round, walk: Walk, *, senses: tuple[float, ...] = (-1.0, 1.0)
) -> tuple[Round, Walk]:
  """Puts the robot user's click in place of one that is not the extreme it was taken for.

  Judged at the first click, where BASE is a candidate of MIN and of MAX: a search compares
  evaluations among themselves, and another program may round a pixel the other way. Lanes are
  BASE, then as many of each side, which is wanted low (-1) or high (1).
  """
  each = (found.iou.shape[1] - 1) // len(senses)
  sign = jnp.array([[0.0, *(sense for sense in senses for _ in range(each))]], jnp.float32)
  wrong = sign * (found.iou - found.iou[:, :1]) < 0

  def pick(x):
    return jnp.where(wrong.reshape(wrong.shape + (1,) * (x.ndim - 2)), x[:, :1], x)

  return jax.tree.map(pick, (found, walk))


def cast_of(search: Search, modes: tuple[str, ...]) -> lanes.Cast:
  """The lanes that a search for these modes needs, the robot user's where it has a say."""
  competes = search.shares_first_round or search.robot_competes
  sides = tuple(mode for mode in MODES[1:] if mode in modes)
  return lanes.Cast(search.num_beams, sides, competes or MODES[0] in modes)


def cost(search: Search | None, num_clicks: int, *, modes: tuple[str, ...] = MODES) -> Cost:
  """Decoder evaluations of an attack on one instance: of its searches, and all that are kept."""
  if search is None or modes == MODES[:1]:
    return Cost(num_clicks, 0)
  cast = cast_of(search, modes)
  first = search.cost(1) if search.shares_first_round else Cost(0, 0)
  # MIN and MAX cost the same, but for a first round that serves both.
  searched = [
    once + (every - once) * len(cast.sides) // 2
    for once, every in zip(first, search.cost(num_clicks), strict=True)
  ]
  # One a lane, and of beams the final replay.
  kept = cast.num_lanes + (len(modes) if search.num_beams > 1 else 0)
  return Cost(searched[0] + num_clicks * kept, searched[1])


class _Quest(NamedTuple):
  """Rounds with a search, as static as `Stage`."""

  stage: Stage
  search: Search
  num_clicks: int
  view: Any
  key: jax.Array | None
  cast: lanes.Cast


def _find(
  quest: _Quest, turn: Turn, walk: Walk, slot: jax.Array, known: Round | None = None
) -> Found:
  """The search's answer for the newest click of each lane that is given, (batch, lanes, ...)."""
  stage, search = quest.stage, quest.search
  lead = (turn.label.shape[0], turn.label.shape[1])
  shared = known is not None
  wanted = jnp.ones((1, 2), jnp.float32) if shared else jnp.asarray(quest.cast.wanted)
  repeated = lambda x: jnp.repeat(x, lead[1], axis=0)
  context, clicks, legal = flat(
    (turn.context, turn.clicks, legal_regions(stage, walk, turn.label))
  )
  rows = Rows(
    context,
    clicks,
    legal,
    flat(jnp.broadcast_to(wanted, (*lead, 2))),
    repeat_target(stage.scene, lead[1]),
    jax.tree.map(repeated, quest.view),
    None if known is None else flat(Known(known.iou, known.mask)),
    None if quest.key is None else flat(_keys(quest.key, stage, lead, slot)),
  )
  at_once = stage.at_once
  found = in_parts(
    lambda each, rows: search(Asked(stage.segmenter, slot, at_once, each), rows),
    None if at_once is None else max(1, at_once // search.together),
    rows,
  )
  return jax.tree.map(lambda x: x.reshape(*lead, *x.shape[1:]), found)


def _keys(
  key: jax.Array, stage: Stage, lead: tuple[int, int], slot: jax.Array
) -> jax.Array:
  """(batch, lanes) keys, by instance, round and lane."""

  def one(instance: jax.Array, lane: jax.Array) -> jax.Array:
    own = jax.random.fold_in(key, instance)
    return jax.random.fold_in(jax.random.fold_in(own, slot), lane)

  lane = jnp.broadcast_to(jnp.arange(lead[1], dtype=jnp.int32), lead)
  return each_row(one, None, 0)(stage.id, lane)


_Carry = tuple[Walk, lanes.Standing]


def _after(
  quest: _Quest, slot: jax.Array, standing: lanes.Standing, kept: Round, after: Walk
) -> _Carry:
  return after, lanes.add(standing, kept.iou, slot, quest.num_clicks)


def _shared_round(
  quest: _Quest, carry: _Carry, slot: jax.Array
) -> tuple[_Carry, tuple[Round, Byproducts]]:
  """The first round of a search that serves MIN and MAX together: all lanes are still the same."""
  (walk, standing), stage = carry, quest.stage
  turn = open_round(stage, walk, slot, robot_user)
  # What is kept of the robot user's click is what the search knows of it.
  first, before = jax.tree.map(lambda x: x[:, :1], (turn, walk))
  done = commit(stage, first, slot)
  found = _find(quest, first, before, slot, done[0])
  batch = turn.label.shape[0]
  robot, searched = turn.yx[:, :1], quest.cast.of_sides(found.yx)[:, 0]
  yx = jnp.concatenate([robot, searched.reshape(batch, -1, 2)], axis=1)
  made = commit(stage, jax.tree.map(lambda x: x[:, 1:], turn.moved(slot, yx)), slot)
  both = jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis=1), done, made)
  kept, after = keep_order(*both, senses=quest.cast.senses)
  if found.new is not None:
    distinct = quest.cast.of_sides(found.new).reshape(batch, -1)
    standing = standing._replace(distinct=distinct)
  return _after(quest, slot, standing, kept, after), (kept, found.byproducts)


def _own_round(
  quest: _Quest, carry: _Carry, slot: jax.Array, ordered: bool
) -> tuple[_Carry, tuple[Round, Byproducts]]:
  """A round in which each lane of MIN and MAX has its own search.

  `ordered` says that the first round may be among them, after which MIN <= BASE <= MAX must hold.
  """
  (walk, standing), stage, cast = carry, quest.stage, quest.cast
  turn = open_round(stage, walk, slot, robot_user)
  mine, before = jax.tree.map(lambda x: x[:, cast.first :], (turn, walk))
  found = _find(quest, mine, before, slot)
  choice = lanes.choose(found, standing, slot, quest.num_clicks, cast)
  if choice.parent is not None:
    turn, total = lanes.take((turn, standing.total), choice.parent)
    standing = lanes.Standing(total, choice.distinct)
  yx = choice.yx
  if cast.base:
    yx = jnp.concatenate([turn.yx[:, :1], yx], axis=1)
  kept, after = commit(stage, turn.moved(slot, yx), slot)
  if ordered and cast.base:
    order = functools.partial(keep_order, senses=cast.senses)
    kept, after = lax.cond(slot == 0, order, lambda *unchanged: unchanged, kept, after)
  return _after(quest, slot, standing, kept, after), (kept, found.byproducts)


def _set_out(
  key: jax.Array | None, stage: Stage, search: Search, num_clicks: int, modes: tuple[str, ...]
) -> tuple[_Quest, jax.Array, _Carry]:
  """The rounds, their slots (num_clicks,), and where all stand before the first."""
  cast = cast_of(search, modes)
  quest = _Quest(stage, search, num_clicks, search.look(stage.scene), key, cast)
  slots = jnp.arange(num_clicks, dtype=jnp.int32)
  walk = begin(stage, cast.num_lanes, num_clicks)
  standing = lanes.start(stage.scene.mask.shape[0], cast)
  return quest, slots, (walk, varying(standing, stage.scene))


def search_rounds(
  key: jax.Array | None,
  stage: Stage,
  search: Search,
  num_clicks: int,
  *,
  modes: tuple[str, ...] = MODES,
) -> Played:
  """Trajectories of BASE, MIN and MAX, or of some of them.

  Args:
    key: of a search that draws, else None.
    stage: what the rounds share.
    search: how a click is found.
    num_clicks: rounds of a trajectory.
    modes: of `MODES`, those that are asked for, MIN or MAX among them; the lanes of what is
      returned, in this order.
  """
  quest, slots, carry = _set_out(key, stage, search, num_clicks, modes)
  cast = quest.cast
  shared = search.shares_first_round
  one_round = lambda carry, slot: _own_round(quest, carry, slot, not shared)
  if shared:
    carry, (first, byproducts) = _shared_round(quest, carry, slots[0])
    byproducts = jax.tree.map(lambda x: x[:, 0], byproducts)
    made = jax.tree.map(lambda x: x[None], first)
    if num_clicks > 1:
      carry, (later, _) = lax.scan(one_round, carry, slots[1:])
      made = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), made, later)
  else:
    carry, (made, byproducts) = lax.scan(one_round, carry, slots)
    byproducts = jax.tree.map(lambda x: x[0], byproducts)
  walk, standing = carry
  asked = np.array([cast.names.index(mode) for mode in modes])
  ordered = modes == cast.names
  if not search.robot_competes and cast.num_beams == 1:
    some = lambda x: x if ordered else x[:, :, asked]
    return Played(jax.tree.map(some, made), byproducts)
  winner = lanes.winners(standing, cast, search.robot_competes)
  winner = winner if ordered else winner[:, asked]
  if cast.num_beams == 1:
    return Played(jax.vmap(lambda rounds: lanes.take(rounds, winner))(made), byproducts)
  # Lanes changed parents on the way, so the rounds are told by the clicks alone.
  best = given(lanes.take(walk.clicks, winner))
  start = begin(stage, len(modes), num_clicks)
  return Played(play(stage, start, num_clicks, best)[1], byproducts)


def search_clicks(
  key: jax.Array | None, stage: Stage, search: Search, num_clicks: int, *, mode: str
) -> Clicks:
  """The clicks of one mode without scores: nothing evaluates the last, unless a choice hangs on it.

  Args:
    key: of a search that draws, else None.
    stage: what the rounds share.
    search: how a click is found.
    num_clicks: rounds of the trajectory.
    mode: "min" or "max".

  Returns:
    Clicks with yx (batch, num_clicks, 2) and label (batch, num_clicks).
  """
  if cast_of(search, (mode,)).num_lanes > 1:
    made = search_rounds(key, stage, search, num_clicks, modes=(mode,)).rounds
    return Clicks(*(jnp.moveaxis(x[:, :, 0], 0, 1) for x in (made.yx, made.label)))
  quest, slots, carry = _set_out(key, stage, search, num_clicks, (mode,))
  if num_clicks > 1:
    clicked = lambda carry, slot: (_own_round(quest, carry, slot, False)[0], None)
    carry, _ = lax.scan(clicked, carry, slots[:-1])
  walk, last = carry[0], slots[-1]
  turn = open_round(stage, walk, last, robot_user)
  found = _find(quest, turn, walk, last)
  clicks = turn.moved(last, found.yx[:, :, 0, 0]).clicks
  return Clicks(*(jnp.asarray(x)[:, 0] for x in clicks))
