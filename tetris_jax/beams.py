"""Rounds of a global search: one serves MIN and MAX of the first click, later ones each their own.

The greedy choice of a round is not always the start of the best trajectory, so several may be
carried: after each round the greedy one and the best of all other continuations, judged by the sum
that the IoU-AuC takes of a trajectory so far. No two are the same: a lane for which there is no
other continuation rests, and may take up one of another lane later. At the end the robot user's own
trajectory competes too, so MIN and MAX are never on the wrong side of BASE in IoU-AuC.
"""

from __future__ import annotations

import numbers
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from tetris_jax import trajectory
from tetris_jax.geometry.region import inner_depth, legal_region
from tetris_jax.geometry.robot import next_click
from tetris_jax.scene import Scene, each_row, hard_score, in_parts, repeat_target
from tetris_jax.search import wide
from tetris_jax.search.candidates import choose, smooth_colour
from tetris_jax.trajectory import Round
from tetris_jax.types import MODES, AttackConfig, Clicks, Outlook, Segmenter

__all__ = ['evaluations', 'plan', 'run']


def plan(config: AttackConfig) -> tuple[int, int]:
  """Decoder calls of the first round's search and of each search of a later round.

  Raises:
    ValueError: settings out of range, or a budget that is too small for them.
  """
  beams, per_turn = config.num_beams, config.per_turn
  whole = beams, per_turn, config.pool_size, config.budget
  if not all(isinstance(number, numbers.Integral) for number in whole):
    raise ValueError('num_beams, per_turn, pool_size and budget are whole numbers')
  if per_turn < 1 or config.pool_size < 2 or beams < 1 or not 0 <= config.depth < 1:
    raise ValueError(
      f'per_turn is {per_turn}, pool_size {config.pool_size}, num_beams {beams} and depth '
      f'{config.depth}; expected at least 1, 2 and 1, and a depth from 0 to below 1'
    )
  if not (0 <= config.explore <= 1 and 0 <= config.follow <= 1):
    raise ValueError(
      f'explore is {config.explore} and follow {config.follow}; both are shares from 0 to 1'
    )
  # The same for every number of beams, so that the first beam is the greedy trajectory.
  turns = (config.budget - len(MODES)) // per_turn
  if turns < 2:
    raise ValueError(
      f'budget is {config.budget}; at least {len(MODES) + 2 * per_turn} evaluations a round are '
      f'needed with per_turn {per_turn}'
    )
  return turns, (config.budget - len(MODES)) // (2 * per_turn)


def _kept(config: AttackConfig) -> int:
  """Evaluations of a round that are no search: one a lane, and of beams the final replay."""
  return len(MODES) if config.num_beams == 1 else 1 + 2 * config.num_beams + len(MODES)


def evaluations(config: AttackConfig) -> int:
  """Decoder evaluations of an attack on one instance."""
  first, later = (turns * config.per_turn for turns in plan(config))
  rounds = config.num_clicks
  return rounds * _kept(config) + first + (rounds - 1) * 2 * config.num_beams * later


class _Found(NamedTuple):
  """Of each search: (batch, searches, 2, num_beams, ...) lowest and highest.

  The rest only of the first round: IoUs of the clicks that were spread evenly, and the outlook.
  """

  yx: jax.Array
  iou: jax.Array
  new: jax.Array
  tried: jax.Array | None
  outlook: Outlook | None


def _search(
  segmenter: Segmenter,
  scene: Scene,
  config: AttackConfig,
  rows: tuple[Any, Clicks, jax.Array, jax.Array],
  slot: jax.Array,
  turns: int,
  at_once: int | None,
  colour: jax.Array,
  base: Round | None = None,
) -> _Found:
  """Searches the newest click of each row over the whole legal region.

  `rows` are context, clicks, legal (batch, searches, height, width) bool, and wanted
  (batch, searches, 2), the weights of a lower and of a higher IoU. `colour` is the
  `smooth_colour` of each image. `base` is what is known of the robot user's click in each row, in
  the first round.
  """
  threshold = segmenter.info.threshold
  lead = rows[2].shape[:2]
  together = None if at_once is None else max(1, at_once // config.per_turn)

  def search(context, clicks, legal, wanted, base, colour, target):
    robot = clicks.yx[slot]
    depth = inner_depth(legal) if config.depth or base is not None else legal
    if config.depth:
      legal = legal & (depth > config.depth)
    pool = choose(legal, colour, robot, config.pool_size, config.colour_weight)
    pixel = pool.yx.astype(jnp.int32)

    def score(yx):
      moved = clicks._replace(yx=clicks.yx.at[slot].set(yx))
      logits, _ = segmenter.decode(segmenter.params, context, moved)
      found = hard_score(logits, threshold, target)
      return wide.Evaluated(found.iou, found.mask[pixel[:, 0], pixel[:, 1]])

    def evaluate(yx):
      return in_parts(lambda each, some: each(score)(some), at_once, yx)

    known = None
    if base is not None:
      known = wide.Evaluated(base.iou, base.mask[pixel[:, 0], pixel[:, 1]])
    tried = wide.wide_search(evaluate, pool, legal, wanted, turns, config, known)
    area = jnp.sum(legal, dtype=jnp.int32)
    best = wide.extremes(pool, tried, config.num_beams, area)
    if base is None:
      return _Found(*best, None, None)
    answer = tried.iou[wide.nearest(pool, tried, config)]
    yx = jnp.concatenate([tried.yx, pool.yx])
    made = jnp.arange(yx.shape[0]) < tried.yx.shape[0]
    # The robot user's click, the first, lies where it lies. Below a depth there are no candidates,
    # so none stand for the whole region.
    alone = jnp.sum(pool.exists, dtype=jnp.int32) == 1
    even = pool.exists.at[0].set(alone) & (config.depth == 0)
    even = jnp.concatenate([jnp.zeros_like(tried.iou, bool), even])
    at = yx.astype(jnp.int32)
    answer = jnp.concatenate([tried.iou, answer])
    searched = jnp.float32(config.depth)
    outlook = Outlook(yx, made, even, answer, depth[at[:, 0], at[:, 1]], searched)
    spread = tried.iou[: wide.explored(config, tried.iou.shape[0])]
    return _Found(*best, spread, outlook)

  found = in_parts(
    lambda each, *args: each(search)(*args),
    together,
    *trajectory.flat((*rows, base)),
    jnp.repeat(colour, lead[1], axis=0),
    repeat_target(scene, lead[1]),
  )
  return jax.tree.map(lambda x: x.reshape(*lead, *x.shape[1:]), found)


def _take(tree: Any, parent: jax.Array) -> Any:
  """Lanes (batch, lanes, ...) in another order, `parent` (batch, lanes)."""
  def take(x):
    at = parent.reshape(parent.shape + (1,) * (x.ndim - 2))
    return jnp.take_along_axis(x, at, axis=1)

  return jax.tree.map(take, tree)


def run(
  segmenter: Segmenter, scene: Scene, config: AttackConfig, at_once: int | None = None
) -> tuple[Round, jax.Array, Outlook]:
  """Trajectories of every mode; fields of the `Round` get a leading (num_clicks,) dimension.

  Returns:
    The rounds, the `Trajectories.tried` and its `outlook`.
  """
  batch, beams, rounds = scene.mask.shape[0], config.num_beams, config.num_clicks
  lanes = 1 + 2 * beams
  prepare = each_row(segmenter.prepare, ..., None, 0, rows=(batch, lanes))
  first_turns, later_turns = plan(config)
  colour = jax.vmap(smooth_colour)(scene.image, scene.inside)

  def one_round(carry, slot, shared=False):
    walk, total, distinct = carry
    propose = each_row(next_click, None, 0, None, 0, None)
    yx, label = propose(scene.mask, walk.mask, scene.valid, walk.clicks, scene.size)
    clicks = trajectory.put(walk.clicks, slot, yx, label)
    context = prepare(segmenter.params, scene.features, walk.state)
    # Before the first click all lanes are the same, and one search serves MIN and MAX.
    mine, around, so_far, sign = jax.tree.map(
      lambda x: x[:, :1] if shared else x[:, 1:], (walk, context, clicks, label)
    )
    legal = each_row(legal_region, None, 0, None, 0)(scene.mask, mine.half, scene.valid, sign)
    wanted = (
      jnp.ones((1, 2), jnp.float32)
      if shared
      else jnp.repeat(jnp.eye(2, dtype=jnp.float32), beams, axis=0)
    )
    rows = around, so_far, legal, jnp.broadcast_to(wanted, (*sign.shape, 2))
    turns = first_turns if shared else later_turns
    done = None
    if shared:
      # What is kept of the robot user's click is what the search knows of it.
      one, its_clicks = jax.tree.map(lambda x: x[:, :1], (context, clicks))
      done = trajectory.commit(segmenter, scene, one, its_clicks, slot, at_once)
    known = None if done is None else done[0]
    found = _search(segmenter, scene, config, rows, slot, turns, at_once, colour, known)
    if shared:
      best, parent = found.yx[:, 0].reshape(batch, -1, 2), None
      distinct = found.new.reshape(batch, -1)
    else:
      chosen, parents, news = [], [jnp.zeros((batch, 1), jnp.int32)], []
      weight = jnp.where(slot == rounds - 1, 0.5, 1.0)
      for side, sense in ((0, -1.0), (1, 1.0)):
        some = slice(side * beams, (side + 1) * beams)
        promise = total[:, 1:][:, some, None] + weight * found.iou[:, some, side]
        # A model that answers NaN is scored so; what is chosen does not matter then.
        usable = jnp.isfinite(promise) & found.new[:, some, side] & distinct[:, some, None]
        value = jnp.where(usable, sense * promise, -jnp.inf)
        # The greedy trajectory stays, whatever the others promise: no beam ends worse.
        value = value.reshape(batch, -1).at[:, 0].set(-jnp.inf)
        value, others = lax.top_k(value, beams - 1)
        top = jnp.concatenate([jnp.zeros((batch, 1), others.dtype), others], axis=1)
        news += [jnp.ones((batch, 1), bool), value > -jnp.inf]
        parents.append(1 + side * beams + top // beams)
        flat = found.yx[:, some, side].reshape(batch, -1, 2)
        chosen.append(jnp.take_along_axis(flat, top[..., None], axis=1))
      best = jnp.concatenate(chosen, axis=1)
      distinct = jnp.concatenate(news, axis=1)
      parent = jnp.concatenate(parents, axis=1)
    if parent is not None and beams > 1:
      walk, context, yx, label, total = _take((walk, context, yx, label, total), parent)
    yx = jnp.concatenate([yx[:, :1], best], axis=1)
    clicks = trajectory.put(walk.clicks, slot, yx, label)
    if done is None:
      kept, after = trajectory.commit(segmenter, scene, context, clicks, slot, at_once)
    else:
      others, their_clicks = jax.tree.map(lambda x: x[:, 1:], (context, clicks))
      made = trajectory.commit(segmenter, scene, others, their_clicks, slot, at_once)
      both = jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis=1), done, made)
      kept, after = trajectory.keep_order(*both)
    # The trapezoid rule counts the two ends by half.
    total = total + jnp.where((slot == 0) | (slot == rounds - 1), 0.5, 1.0) * kept.iou
    return (after, total, distinct), (kept, found) if shared else kept

  start = (
    trajectory.begin(segmenter, scene, lanes, rounds),
    jnp.zeros((batch, lanes), jnp.float32),
    jnp.ones((batch, 2 * beams), bool),
  )
  slots = jnp.arange(rounds, dtype=jnp.int32)
  carry, (first, found) = one_round(start, slots[0], shared=True)
  tried, outlook = jax.tree.map(lambda x: x[:, 0], (found.tried, found.outlook))
  made = jax.tree.map(lambda x: x[None], first)
  if rounds > 1:
    carry, later = lax.scan(one_round, carry, slots[1:])
    made = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), made, later)
  walk, total, _ = carry
  sides = []
  for side, sense in ((0, -1.0), (1, 1.0)):
    # The robot user's own trajectory competes, after those that were searched. One in which the
    # model answered NaN comes first: it is told, not passed over.
    lane = jnp.append(1 + side * beams + jnp.arange(beams, dtype=jnp.int32), jnp.int32(0))
    score = jnp.where(jnp.isfinite(total), sense * total, jnp.inf)
    sides.append(lane[jnp.argmax(score[:, lane], axis=1)])
  winner = jnp.stack([jnp.zeros_like(sides[0]), *sides], axis=1)
  if beams == 1:
    return jax.vmap(lambda rounds: _take(rounds, winner))(made), tried, outlook
  # Lanes changed parents on the way, so the rounds are told by the clicks alone.
  best = _take(walk.clicks, winner)
  return trajectory.follow(segmenter, scene, best, at_once), tried, outlook
