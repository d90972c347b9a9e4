"""Rounds of clicks: the robot user proposes, a search moves the click, the mask goes on."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from tetris_jax.distance import column_distance
from tetris_jax.objectives import dice_loss
from tetris_jax.overlap import boundary_band, inside_image, iou
from tetris_jax.region import legal_region, location_loss
from tetris_jax.robot import next_click
from tetris_jax.search.local import Evaluation, local_search
from tetris_jax.types import EMPTY, MODES, Array, AttackConfig, Batch, Clicks, Frame, Segmenter

# Rounds from which on compiling two scans is repaid.
_LONG = 8

__all__ = ['Round', 'Scene', 'follow', 'look', 'run']


class Scene(NamedTuple):
  """Everything of a batch that no click changes; leading dimension (batch,).

  Attributes:
    features: what the model's encoder made of the images.
    mask: (batch, height, width) bool.
    valid: (batch, height, width) bool, pixels that metrics count.
    inside: (batch, height, width) bool, pixels that are not padding.
    band: (batch, height, width) bool, the mask's boundary band.
    size: (batch, 2) int32.
  """

  features: Any
  mask: jax.Array
  valid: jax.Array
  inside: jax.Array
  band: jax.Array
  size: jax.Array


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


class _Walk(NamedTuple):
  clicks: Clicks
  state: Any
  mask: jax.Array
  half: jax.Array


def _each(
  function: Callable[..., Any], *axes: Any, rows: tuple[int | None, int | None] = (None, None)
) -> Callable[..., Any]:
  """Maps over instances and, within them, over modes; `axes` are those of the inner map.

  An argument with inner axis None has only the batch dimension; `...` marks one without any.
  `rows` gives both sizes where the arguments may hold no array at all.
  """
  inner = tuple(None if axis is ... else axis for axis in axes)
  outer = tuple(None if axis is ... else 0 for axis in axes)
  return jax.vmap(jax.vmap(function, inner, axis_size=rows[1]), outer, axis_size=rows[0])


def look(segmenter: Segmenter, batch: Batch, at_once: int | None = None) -> Scene:
  """Encodes the images, once, and prepares what the metrics need."""
  size = jnp.asarray(batch.size)
  mask = jnp.asarray(batch.mask)
  inside = inside_image(size, mask.shape)
  encode = lambda image, size: segmenter.encode(segmenter.params, image, size)
  features = _in_parts(
    lambda each, *args: each(encode)(*args), at_once, jnp.asarray(batch.image), size
  )
  valid = inside & ~jnp.asarray(batch.ignore)
  return Scene(features, mask, valid, inside, boundary_band(mask, size), size)


def _begin(segmenter: Segmenter, scene: Scene, modes: int) -> _Walk:
  rows = (scene.mask.shape[0], modes)
  state = jax.vmap(segmenter.init, (None, 0))(segmenter.params, scene.features)
  state = jax.tree.map(lambda x: jnp.repeat(x[:, None], modes, axis=1), state)
  clicks = Clicks(jnp.zeros((*rows, 0, 2)), jnp.zeros((*rows, 0), jnp.int32))
  nothing = jnp.zeros((*rows, *scene.mask.shape[1:]), bool)
  return _Walk(clicks, state, nothing, nothing)


def _put(clicks: Clicks, slot: jax.Array, yx: Array, label: Array) -> Clicks:
  return Clicks(
    jnp.asarray(clicks.yx).at[..., slot, :].set(yx),
    jnp.asarray(clicks.label).at[..., slot].set(label),
  )


def _in_parts(function: Callable[..., Any], at_once: int | None, *args: Any) -> Any:
  """Applies `function` to at most `at_once` of the leading rows at a time.

  It is called as `function(each, *args)`, where `each` maps over the rows that it was given, or
  does nothing where it was given one row without a leading dimension.
  """
  rows = jax.tree.leaves(args)[0].shape[0]
  part = rows if at_once is None else max(n for n in range(1, at_once + 1) if rows % n == 0)
  if part == 1:
    return lax.map(lambda one: function(lambda f: f, *one), args)
  if part == rows:
    return function(jax.vmap, *args)
  cut = jax.tree.map(lambda x: x.reshape(rows // part, part, *x.shape[1:]), args)
  found = lax.map(lambda some: function(jax.vmap, *some), cut)
  return jax.tree.map(lambda x: x.reshape(rows, *x.shape[2:]), found)


class _Target(NamedTuple):
  """What a row is compared with: the fields of `Scene`, once per row."""

  mask: jax.Array
  valid: jax.Array
  inside: jax.Array
  band: jax.Array
  size: jax.Array


def _target(scene: Scene, modes: int) -> _Target:
  fields = _Target(scene.mask, scene.valid, scene.inside, scene.band, scene.size)
  return jax.tree.map(lambda x: jnp.repeat(x, modes, axis=0), fields)


def _flat(tree: Any) -> Any:
  """(batch, modes, ...) -> (rows, ...)."""
  return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree)


def _boundary_iou(mask: jax.Array, target: _Target) -> jax.Array:
  return iou(boundary_band(mask, target.size), target.band, target.valid)


def _commit(
  segmenter: Segmenter,
  scene: Scene,
  context: Any,
  clicks: Clicks,
  slot: jax.Array,
  at_once: int | None,
) -> tuple[Round, _Walk]:
  """Decodes the clicks as they stand: the evaluation that is reported and carried on."""
  threshold = segmenter.info.threshold

  def score(context, clicks, target):
    logits, state = segmenter.decode(segmenter.params, context, clicks)
    mask = jnp.asarray(logits) > math.log(threshold / (1 - threshold))
    half = mask if threshold == 0.5 else jnp.asarray(logits) > 0
    # A comparison with NaN is False: without this a broken model would score an empty mask.
    finite = jnp.all(jnp.isfinite(logits) | ~target.inside)
    found = jnp.where(finite, iou(mask, target.mask, target.valid), jnp.nan)
    boundary = jnp.where(finite, _boundary_iou(mask, target), jnp.nan)
    return found, boundary, state, mask, half

  rows = clicks.label.shape[:2]
  found = _in_parts(
    lambda each, *args: each(score)(*args),
    at_once,
    *_flat((context, clicks)),
    _target(scene, rows[1]),
  )
  found, boundary, state, mask, half = jax.tree.map(
    lambda x: x.reshape(*rows, *x.shape[1:]), found
  )
  yx, label = jnp.asarray(clicks.yx)[..., slot, :], jnp.asarray(clicks.label)[..., slot]
  return Round(yx, label, found, boundary, mask), _Walk(clicks, state, mask, half)


def _search(
  segmenter: Segmenter,
  scene: Scene,
  config: AttackConfig,
  walk: _Walk,
  context: Any,
  clicks: Clicks,
  slot: jax.Array,
  at_once: int | None,
) -> jax.Array:
  """Moves the newest click of the MIN and MAX rows; returns it, (batch, 2, 2) image pixels."""
  params, info = segmenter.params, segmenter.info
  logit = math.log(info.threshold / (1 - info.threshold))
  label = clicks.label[..., slot]
  frame: Frame = _each(segmenter.frame, ..., 0, 0, None)(params, context, clicks, scene.size)
  legal = _each(legal_region, None, 0, None, 0)(scene.mask, walk.half, scene.valid, label)
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
      lambda mask: each(_boundary_iou)(mask, target),
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
  return _in_parts(search, at_once, *flat, _target(scene, rows[1])).reshape(*rows, 2)


def _keep_order(found: Round, walk: _Walk) -> tuple[Round, _Walk]:
  """Puts the robot user's click in place of one that is not the extreme it was taken for.

  Judged at the first click, where BASE is a candidate of MIN and of MAX: a search compares
  evaluations among themselves, and another program may round a pixel the other way.
  """
  sign = jnp.array([[0.0, -1.0, 1.0]])
  wrong = sign * (found.iou - found.iou[:, :1]) < 0

  def pick(x):
    return jnp.where(wrong.reshape(wrong.shape + (1,) * (x.ndim - 2)), x[:, :1], x)

  return jax.tree.map(pick, (found, walk))


def _rounds(
  one_round: Callable[[_Walk, jax.Array], tuple[_Walk, Round]], start: _Walk, num_clicks: int
) -> Round:
  """Scans over rounds; the first half of a long trajectory goes with half of the click slots.

  An empty slot changes nothing but costs as much as a click.
  """
  half = num_clicks // 2 if num_clicks >= _LONG else 0
  found, walk = [], start
  for first, last in ((0, half), (half, num_clicks)):
    if first == last:
      continue
    slots = last - walk.clicks.label.shape[-1]
    pad = lambda x, value, slots=slots: jnp.pad(
      x, [(0, 0), (0, 0), (0, slots)] + [(0, 0)] * (x.ndim - 3), constant_values=value
    )
    walk = walk._replace(clicks=Clicks(pad(walk.clicks.yx, 0), pad(walk.clicks.label, EMPTY)))
    walk, made = lax.scan(one_round, walk, jnp.arange(first, last, dtype=jnp.int32))
    found.append(made)
  return jax.tree.map(lambda *parts: jnp.concatenate(parts), *found)


def run(
  segmenter: Segmenter, scene: Scene, config: AttackConfig, at_once: int | None = None
) -> Round:
  """Trajectories of every mode; fields of the `Round` get a leading (num_clicks,) dimension."""
  modes = 1 if config.search == 'none' else len(MODES)
  prepare = _each(segmenter.prepare, ..., None, 0, rows=(scene.mask.shape[0], modes))

  def one_round(walk: _Walk, slot: jax.Array) -> tuple[_Walk, Round]:
    propose = _each(next_click, None, 0, None, 0, None)
    yx, label = propose(scene.mask, walk.mask, scene.valid, walk.clicks, scene.size)
    clicks = _put(walk.clicks, slot, yx, label)
    context = prepare(segmenter.params, scene.features, walk.state)
    if config.search == 'local':
      mine, around, so_far = jax.tree.map(lambda x: x[:, 1:], (walk, context, clicks))
      best = _search(segmenter, scene, config, mine, around, so_far, slot, at_once)
      yx = jnp.concatenate([yx[:, :1], best], axis=1)
      clicks = _put(walk.clicks, slot, yx, label)
    found, after = _commit(segmenter, scene, context, clicks, slot, at_once)
    if modes > 1:
      found, after = lax.cond(
        slot == 0, _keep_order, lambda *unchanged: unchanged, found, after
      )
    return after, found

  return _rounds(one_round, _begin(segmenter, scene, modes), config.num_clicks)


def follow(
  segmenter: Segmenter, scene: Scene, clicks: Clicks, at_once: int | None = None
) -> Round:
  """Evaluates given clicks, round by round from the first; the result is as that of `run`."""
  modes, rounds = clicks.label.shape[1:]
  prepare = _each(segmenter.prepare, ..., None, 0, rows=(scene.mask.shape[0], modes))

  def one_round(walk: _Walk, slot: jax.Array) -> tuple[_Walk, Round]:
    so_far = _put(walk.clicks, slot, clicks.yx[..., slot, :], clicks.label[..., slot])
    context = prepare(segmenter.params, scene.features, walk.state)
    found, after = _commit(segmenter, scene, context, so_far, slot, at_once)
    return after, found

  return _rounds(one_round, _begin(segmenter, scene, modes), rounds)
