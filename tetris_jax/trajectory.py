"""Rounds of clicks: the robot user proposes, a search moves the click, the mask goes on."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from tetris_jax.distance import column_distance
from tetris_jax.objectives import dice_loss
from tetris_jax.overlap import iou
from tetris_jax.region import legal_region, location_loss
from tetris_jax.robot import next_click
from tetris_jax.scene import (
  Scene,
  boundary_score,
  each_row,
  hard_score,
  in_parts,
  look,
  repeat_target,
)
from tetris_jax.search import wide
from tetris_jax.search.candidates import choose, smooth_colour, spacing
from tetris_jax.search.local import Evaluation, local_search
from tetris_jax.types import EMPTY, MODES, Array, AttackConfig, Clicks, Frame, Segmenter

__all__ = [
  'Round',
  'Scene',
  'Walk',
  'advance',
  'begin',
  'follow',
  'look',
  'put',
  'run',
  'wide_turns',
]


class Round(NamedTuple):
  """What one click of each trajectory left behind, leading dimensions (batch, modes).

  Attributes:
    yx: (batch, modes, 2) float32, the click in image pixels.
    label: (batch, modes) int32.
    iou: (batch, modes) float32; NaN where the model's logits are not finite.
    biou: (batch, modes) float32, likewise.
    mask: (batch, modes, height, width) bool.
  """

  yx: jax.Array
  label: jax.Array
  iou: jax.Array
  biou: jax.Array
  mask: jax.Array


class Walk(NamedTuple):
  """What a trajectory carries from round to round, leading dimensions (batch, modes).

  Attributes:
    clicks: `Clicks`, of all rounds.
    state: what the model remembers.
    mask: (batch, modes, height, width) bool, the last mask at the model's threshold.
    half: likewise, where the probability exceeds 0.5.
  """

  clicks: Clicks
  state: Any
  mask: jax.Array
  half: jax.Array


def begin(segmenter: Segmenter, scene: Scene, modes: int, slots: int) -> Walk:
  """Before the first click, with room for `slots` of them."""
  rows = (scene.mask.shape[0], modes)
  state = jax.vmap(segmenter.init, (None, 0))(segmenter.params, scene.features)
  state = jax.tree.map(lambda x: jnp.repeat(x[:, None], modes, axis=1), state)
  clicks = Clicks(jnp.zeros((*rows, slots, 2)), jnp.full((*rows, slots), EMPTY, jnp.int32))
  nothing = jnp.zeros((*rows, *scene.mask.shape[1:]), bool)
  return Walk(clicks, state, nothing, nothing)


def put(clicks: Clicks, slot: jax.Array, yx: Array, label: Array) -> Clicks:
  """`clicks` with yx (..., 2) and label (...) in that slot."""
  return Clicks(
    jnp.asarray(clicks.yx).at[..., slot, :].set(yx),
    jnp.asarray(clicks.label).at[..., slot].set(label),
  )


def _flat(tree: Any) -> Any:
  """(batch, modes, ...) -> (rows, ...)."""
  return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree)


def _commit(
  segmenter: Segmenter,
  scene: Scene,
  context: Any,
  clicks: Clicks,
  slot: jax.Array,
  at_once: int | None,
) -> tuple[Round, Walk]:
  """Decodes the clicks as they stand: the evaluation that is reported and carried on."""
  threshold = segmenter.info.threshold

  def score(context, clicks, target):
    logits, state = segmenter.decode(segmenter.params, context, clicks)
    found = hard_score(logits, threshold, target)
    half = found.mask if threshold == 0.5 else jnp.asarray(logits) > 0
    boundary = jnp.where(found.finite, boundary_score(found.mask, target), jnp.nan)
    return found.iou, boundary, state, found.mask, half

  rows = clicks.label.shape[:2]
  found = in_parts(
    lambda each, *args: each(score)(*args),
    at_once,
    *_flat((context, clicks)),
    repeat_target(scene, rows[1]),
  )
  found, boundary, state, mask, half = jax.tree.map(
    lambda x: x.reshape(*rows, *x.shape[1:]), found
  )
  yx, label = jnp.asarray(clicks.yx)[..., slot, :], jnp.asarray(clicks.label)[..., slot]
  return Round(yx, label, found, boundary, mask), Walk(clicks, state, mask, half)


def _search(
  segmenter: Segmenter,
  scene: Scene,
  config: AttackConfig,
  walk: Walk,
  context: Any,
  clicks: Clicks,
  slot: jax.Array,
  at_once: int | None,
) -> jax.Array:
  """Moves the newest click of the MIN and MAX rows; returns it, (batch, 2, 2) image pixels."""
  params, info = segmenter.params, segmenter.info
  logit = math.log(info.threshold / (1 - info.threshold))
  label = clicks.label[..., slot]
  frame: Frame = each_row(segmenter.frame, ..., 0, 0, None)(params, context, clicks, scene.size)
  legal = each_row(legal_region, None, 0, None, 0)(scene.mask, walk.half, scene.valid, label)
  sign = jnp.broadcast_to(jnp.array([[-1.0, 1.0]]), label.shape)

  def score(position, context, clicks, column, legal_any, frame, sign, target):
    yx = frame.offset + position * frame.extent / frame.size
    moved = clicks._replace(yx=clicks.yx.at[slot].set(yx))
    logits, _ = segmenter.decode(params, context, moved)
    location = location_loss(position, column, frame, config.radius, legal_any)
    loss = location + sign * config.dice_weight * dice_loss(logits, target.mask, target.inside)
    hard = jnp.asarray(logits) > logit
    return loss, Evaluation(loss, location, iou(hard, target.mask, target.valid), hard)

  def search(each, context, clicks, legal, frame, sign, target):
    column = each(column_distance)(legal)
    legal_any = jnp.any(legal, axis=(-2, -1))
    data = (context, clicks, column, legal_any, frame, sign, target)
    evaluate = each(score)
    gradient = each(jax.value_and_grad(score, has_aux=True))

    def differentiate(position):
      (_, found), slope = gradient(position, *data)
      return found, slope

    extent = frame.size if info.step_diagonal == 'frame' else target.size.astype(jnp.float32)
    # 5 pixels for a 400x400 picture (arXiv 2402.06132).
    step = config.step_scale * 5 / (400 * math.sqrt(2)) * jnp.sqrt(jnp.sum(extent**2, axis=-1))
    robot = clicks.yx[..., slot, :]
    position, moves = local_search(
      lambda at: evaluate(at, *data)[1],
      differentiate,
      lambda mask: each(boundary_score)(mask, target),
      (robot - frame.offset) * frame.size / frame.extent,
      step,
      sign,
      legal_any,
      config,
    )
    yx = frame.offset + position * frame.extent / frame.size
    return jnp.where((moves > 0)[..., None], yx, robot)

  rows = label.shape
  flat = _flat((context, clicks, legal, frame, sign))
  return in_parts(search, at_once, *flat, repeat_target(scene, rows[1])).reshape(*rows, 2)


def wide_turns(config: AttackConfig) -> tuple[tuple[int, int], tuple[int, int]]:
  """Decoder calls of one global search: over all candidates, and around the best of them.

  Returns:
    Of the first round, which searches once for MIN and MAX; of each search of a later round.

  Raises:
    ValueError: the budget is too small.
  """
  if config.per_turn < 1 or config.pool_size < 2:
    raise ValueError(
      f'per_turn is {config.per_turn} and pool_size {config.pool_size}; at least 1 and 2 are needed'
    )
  found = []
  for searches in (1, 2):
    # One evaluation a mode is kept for what is reported.
    turns = (config.budget - len(MODES)) // (searches * config.per_turn)
    around = int(config.refine_share * turns)
    if turns - around < 1:
      raise ValueError(
        f'budget is {config.budget}; at least {len(MODES) + 2 * config.per_turn} evaluations a '
        f'round are needed with per_turn {config.per_turn}'
      )
    found.append((turns - around, around))
  return found[0], found[1]


def _search_wide(
  segmenter: Segmenter,
  scene: Scene,
  config: AttackConfig,
  rows: tuple[Any, Clicks, jax.Array, jax.Array],
  slot: jax.Array,
  turns: tuple[int, int],
  at_once: int | None,
) -> tuple[jax.Array, jax.Array]:
  """Searches the newest click of each row over the whole legal region.

  Args:
    segmenter: the model.
    scene: the instances.
    config: of a global search.
    rows: context, clicks, legal (batch, searches, height, width) bool and wanted
      (batch, searches, 2), the weights of a lower and of a higher IoU.
    slot: of the newest click.
    turns: decoder calls, see `wide_turns`.
    at_once: rows times clicks that are decoded together.

  Returns:
    (batch, searches, 2, 2) image pixels: the clicks of lowest and of highest IoU; and the IoUs
    (batch, searches, evaluations) that were met over the whole region.
  """
  threshold = segmenter.info.threshold
  lead = rows[2].shape[:2]
  together = None if at_once is None else max(1, at_once // config.per_turn)

  def search(context, clicks, legal, wanted, colour, target):
    robot = clicks.yx[slot]
    pool = choose(legal, colour, robot, config.pool_size, config.colour_weight)
    pixel = pool.yx.astype(jnp.int32)

    def score(yx):
      moved = clicks._replace(yx=clicks.yx.at[slot].set(yx))
      logits, _ = segmenter.decode(segmenter.params, context, moved)
      found = hard_score(logits, threshold, target)
      return wide.Evaluated(found.iou, found.mask[pixel[:, 0], pixel[:, 1]])

    def evaluate(yx):
      return in_parts(lambda each, some: each(score)(some), at_once, yx)

    tried = wide.wide_search(evaluate, pool, wanted, turns[0], config)
    best = wide.extremes(pool, tried)
    ring = spacing(jnp.sum(legal, dtype=jnp.int32), config.pool_size)
    best = wide.refine(evaluate, legal, best, wanted, ring, turns[1], config.per_turn)
    return best.yx, tried.iou

  colour = jax.vmap(smooth_colour)(scene.image, scene.inside)
  colour = jnp.repeat(colour, lead[1], axis=0)
  best, tried = in_parts(
    lambda each, *args: each(search)(*args),
    together,
    *_flat(rows),
    colour,
    repeat_target(scene, lead[1]),
  )
  return best.reshape(*lead, 2, 2), tried.reshape(*lead, -1)


def _keep_order(found: Round, walk: Walk) -> tuple[Round, Walk]:
  """Puts the robot user's click in place of one that is not the extreme it was taken for.

  Judged at the first click, where BASE is a candidate of MIN and of MAX: a search compares
  evaluations among themselves, and another program may round a pixel the other way.
  """
  sign = jnp.array([[0.0, -1.0, 1.0]])
  wrong = sign * (found.iou - found.iou[:, :1]) < 0

  def pick(x):
    return jnp.where(wrong.reshape(wrong.shape + (1,) * (x.ndim - 2)), x[:, :1], x)

  return jax.tree.map(pick, (found, walk))


def run(
  segmenter: Segmenter, scene: Scene, config: AttackConfig, at_once: int | None = None
) -> tuple[Round, jax.Array | None]:
  """Trajectories of every mode; fields of the `Round` get a leading (num_clicks,) dimension.

  Returns:
    The rounds, and the `Trajectories.tried` of a global search.
  """
  modes = 1 if config.search == 'none' else len(MODES)
  prepare = each_row(segmenter.prepare, ..., None, 0, rows=(scene.mask.shape[0], modes))

  def one_round(
    walk: Walk, slot: jax.Array, shared: bool = False
  ) -> tuple[Walk, Any]:
    tried = None
    propose = each_row(next_click, None, 0, None, 0, None)
    yx, label = propose(scene.mask, walk.mask, scene.valid, walk.clicks, scene.size)
    clicks = put(walk.clicks, slot, yx, label)
    context = prepare(segmenter.params, scene.features, walk.state)
    if config.search == 'local':
      mine, around, so_far = jax.tree.map(lambda x: x[:, 1:], (walk, context, clicks))
      best = _search(segmenter, scene, config, mine, around, so_far, slot, at_once)
    if config.search == 'global':
      # Before the first click all rows are the same, and one search serves MIN and MAX.
      lanes = slice(0, 1) if shared else slice(1, 3)
      wanted = jnp.ones((1, 2)) if shared else jnp.eye(2)
      mine, around, so_far, sign = jax.tree.map(
        lambda x: x[:, lanes], (walk, context, clicks, label)
      )
      legal = each_row(legal_region, None, 0, None, 0)(scene.mask, mine.half, scene.valid, sign)
      wanted = jnp.broadcast_to(wanted, (*sign.shape, 2))
      turns = wide_turns(config)[0 if shared else 1]
      rows = around, so_far, legal, wanted
      both, tried = _search_wide(segmenter, scene, config, rows, slot, turns, at_once)
      best = both[:, 0] if shared else jnp.stack([both[:, 0, 0], both[:, 1, 1]], axis=1)
    if modes > 1:
      yx = jnp.concatenate([yx[:, :1], best], axis=1)
      clicks = put(walk.clicks, slot, yx, label)
    found, after = _commit(segmenter, scene, context, clicks, slot, at_once)
    if modes > 1:
      found, after = lax.cond(
        slot == 0, _keep_order, lambda *unchanged: unchanged, found, after
      )
    return after, (found, tried) if shared else found

  start = begin(segmenter, scene, modes, config.num_clicks)
  slots = jnp.arange(config.num_clicks, dtype=jnp.int32)
  if config.search != 'global':
    return lax.scan(one_round, start, slots)[1], None
  walk, (first, tried) = one_round(start, slots[0], shared=True)
  later = lax.scan(one_round, walk, slots[1:])[1] if config.num_clicks > 1 else None
  first = jax.tree.map(lambda x: x[None], first)
  if later is not None:
    first = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, later)
  return first, tried[:, 0]


def follow(
  segmenter: Segmenter, scene: Scene, clicks: Clicks, at_once: int | None = None
) -> Round:
  """Evaluates given clicks, round by round from the first; the result is as that of `run`."""
  modes, rounds = clicks.label.shape[1:]
  walk = begin(segmenter, scene, modes, rounds)
  return advance(segmenter, scene, walk, clicks, at_once)[1]


def advance(
  segmenter: Segmenter, scene: Scene, walk: Walk, clicks: Clicks, at_once: int | None = None
) -> tuple[Walk, Round]:
  """Makes given clicks, yx (batch, modes, rounds, 2), in the first slots of a walk."""
  batch, modes, rounds = clicks.label.shape
  prepare = each_row(segmenter.prepare, ..., None, 0, rows=(batch, modes))

  def one_round(walk: Walk, slot: jax.Array) -> tuple[Walk, Round]:
    so_far = put(walk.clicks, slot, clicks.yx[..., slot, :], clicks.label[..., slot])
    context = prepare(segmenter.params, scene.features, walk.state)
    found, after = _commit(segmenter, scene, context, so_far, slot, at_once)
    return after, found

  return lax.scan(one_round, walk, jnp.arange(rounds, dtype=jnp.int32))
