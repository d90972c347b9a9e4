"""Rounds of clicks: the robot user proposes, a search moves the click, the mask goes on."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from tetris_jax.geometry.distance import column_distance
from tetris_jax.geometry.objectives import dice_loss
from tetris_jax.geometry.overlap import iou
from tetris_jax.geometry.region import legal_region, location_loss
from tetris_jax.geometry.robot import next_click
from tetris_jax.scene import (
  Scene,
  boundary_score,
  each_row,
  hard_score,
  in_parts,
  look,
  repeat_target,
)
from tetris_jax.search.local import Evaluation, local_search
from tetris_jax.types import EMPTY, MODES, Array, AttackConfig, Clicks, Frame, Segmenter

__all__ = [
  'Round',
  'Scene',
  'Walk',
  'advance',
  'begin',
  'commit',
  'flat',
  'follow',
  'keep_order',
  'look',
  'put',
  'run',
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
  yx = jnp.zeros((*rows, slots, 2), jnp.float32)
  clicks = Clicks(yx, jnp.full((*rows, slots), EMPTY, jnp.int32))
  nothing = jnp.zeros((*rows, *scene.mask.shape[1:]), bool)
  return Walk(clicks, state, nothing, nothing)


def put(clicks: Clicks, slot: jax.Array, yx: Array, label: Array) -> Clicks:
  """`clicks` with yx (..., 2) and label (...) in that slot."""
  return Clicks(
    jnp.asarray(clicks.yx).at[..., slot, :].set(yx),
    jnp.asarray(clicks.label).at[..., slot].set(label),
  )


def flat(tree: Any) -> Any:
  """(batch, modes, ...) -> (batch * modes, ...)."""
  return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree)


def commit(
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
    *flat((context, clicks)),
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
) -> tuple[jax.Array, jax.Array]:
  """Moves the newest click of the MIN and MAX rows.

  Returns:
    It, (batch, 2, 2) image pixels, and the gradient's norm at the robot user's click, (batch, 2).
  """
  params, info = segmenter.params, segmenter.info
  logit = math.log(info.threshold / (1 - info.threshold))
  label = clicks.label[..., slot]
  frame: Frame = each_row(segmenter.frame, ..., 0, 0, None)(params, context, clicks, scene.size)
  legal = each_row(legal_region, None, 0, None, 0)(scene.mask, walk.half, scene.valid, label)
  sign = jnp.broadcast_to(jnp.array([[-1.0, 1.0]], jnp.float32), label.shape)

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
    position, moves, norm = local_search(
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
    return jnp.where((moves > 0)[..., None], yx, robot), norm

  rows = label.shape
  parts = flat((context, clicks, legal, frame, sign))
  best, norm = in_parts(search, at_once, *parts, repeat_target(scene, rows[1]))
  return best.reshape(*rows, 2), norm.reshape(rows)


def keep_order(found: Round, walk: Walk) -> tuple[Round, Walk]:
  """Puts the robot user's click in place of one that is not the extreme it was taken for.

  Judged at the first click, where BASE is a candidate of MIN and of MAX: a search compares
  evaluations among themselves, and another program may round a pixel the other way. Lanes are
  BASE, then as many of MIN as of MAX.
  """
  each = found.iou.shape[1] // 2
  sign = jnp.array([[0.0] + [-1.0] * each + [1.0] * each], jnp.float32)
  wrong = sign * (found.iou - found.iou[:, :1]) < 0

  def pick(x):
    return jnp.where(wrong.reshape(wrong.shape + (1,) * (x.ndim - 2)), x[:, :1], x)

  return jax.tree.map(pick, (found, walk))


def run(
  segmenter: Segmenter, scene: Scene, config: AttackConfig, at_once: int | None = None
) -> tuple[Round, jax.Array | None]:
  """Trajectories of every mode, by the local search or without one.

  Returns:
    The rounds, whose fields get a leading (num_clicks,) dimension, and of a local search the norms
    of the gradients at the robot user's clicks, (num_clicks, batch, 2).
  """
  modes = 1 if config.search == 'none' else len(MODES)
  prepare = each_row(segmenter.prepare, ..., None, 0, rows=(scene.mask.shape[0], modes))

  def one_round(walk: Walk, slot: jax.Array) -> tuple[Walk, tuple[Round, jax.Array | None]]:
    norm = None
    propose = each_row(next_click, None, 0, None, 0, None)
    yx, label = propose(scene.mask, walk.mask, scene.valid, walk.clicks, scene.size)
    clicks = put(walk.clicks, slot, yx, label)
    context = prepare(segmenter.params, scene.features, walk.state)
    if config.search == 'local':
      mine, around, so_far = jax.tree.map(lambda x: x[:, 1:], (walk, context, clicks))
      best, norm = _search(segmenter, scene, config, mine, around, so_far, slot, at_once)
      yx = jnp.concatenate([yx[:, :1], best], axis=1)
      clicks = put(walk.clicks, slot, yx, label)
    found, after = commit(segmenter, scene, context, clicks, slot, at_once)
    if modes > 1:
      found, after = lax.cond(
        slot == 0, keep_order, lambda *unchanged: unchanged, found, after
      )
    return after, (found, norm)

  start = begin(segmenter, scene, modes, config.num_clicks)
  slots = jnp.arange(config.num_clicks, dtype=jnp.int32)
  return lax.scan(one_round, start, slots)[1]


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
    found, after = commit(segmenter, scene, context, so_far, slot, at_once)
    return after, found

  return lax.scan(one_round, walk, jnp.arange(rounds, dtype=jnp.int32))
