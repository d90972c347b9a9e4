"""What one round is made of: the trajectories as they stand, a proposed click, what is committed.

`tetris_jax.rounds` plays these parts in turn. A proposer says what is clicked next on each
trajectory's own mask: the robot user, a sampled user, or clicks that are given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from tetris_jax.geometry.region import legal_region
from tetris_jax.geometry.robot import next_click
from tetris_jax.mesh import varying
from tetris_jax.scene import (
  Scene,
  boundary_score,
  decoded,
  each_row,
  hard_score,
  in_parts,
  look,
  repeat_target,
  undifferentiated,
)
from tetris_jax.types import EMPTY, Array, Batch, Clicks, Segmenter

__all__ = [
  'Proposer',
  'Round',
  'Stage',
  'Turn',
  'Walk',
  'begin',
  'checked',
  'commit',
  'flat',
  'given',
  'legal_regions',
  'open_round',
  'put',
  'robot_user',
  'set_stage',
]


class Stage(NamedTuple):
  """What all rounds share.

  Attributes:
    segmenter: the model.
    scene: what no click changes.
    id: (batch,) uint32, of the instances; draws are folded with it.
    at_once: rows that go through the decoder together, at most; None for all.
    state: what the model remembers of ONE trajectory, as shapes and dtypes.
  """

  segmenter: Segmenter
  scene: Scene
  id: jax.Array
  at_once: int | None
  state: Any


class Round(NamedTuple):
  """What one click of each trajectory left behind, leading dimensions (batch, lanes).

  Attributes:
    yx: (batch, lanes, 2) float32, the click in image pixels.
    label: (batch, lanes) int32.
    iou: (batch, lanes) float32; NaN where the model's logits are not finite.
    biou: (batch, lanes) float32, likewise.
    mask: (batch, lanes, height, width) bool.
  """

  yx: jax.Array
  label: jax.Array
  iou: jax.Array
  biou: jax.Array
  mask: jax.Array


class Walk(NamedTuple):
  """What a trajectory carries from round to round, leading dimensions (batch, lanes).

  Attributes:
    clicks: `Clicks`, of all rounds.
    state: what the model remembers.
    mask: (batch, lanes, height, width) bool, the last mask at the model's threshold.
    half: likewise, where the probability exceeds 0.5.
  """

  clicks: Clicks
  state: Any
  mask: jax.Array
  half: jax.Array


class Turn(NamedTuple):
  """An open round, leading dimensions (batch, lanes).

  Attributes:
    yx: (batch, lanes, 2) float32, the proposed click in image pixels.
    label: (batch, lanes) int32, of that click.
    clicks: all slots, the newest among them.
    context: what the model prepared.
  """

  yx: jax.Array
  label: jax.Array
  clicks: Clicks
  context: Any

  def moved(self, slot: jax.Array, yx: jax.Array) -> Turn:
    """The round with its click at yx (batch, lanes, 2)."""
    return self._replace(yx=yx, clicks=put(self.clicks, slot, yx, self.label))


Proposer = Callable[[Stage, Walk, jax.Array], tuple[jax.Array, jax.Array]]
"""(stage, walk, slot) -> yx (batch, lanes, 2) and label (batch, lanes) of the next click."""


def checked(segmenter: Segmenter, batch: Batch) -> Batch:
  """The batch with the dtypes that `Batch` tells.

  Raises:
    ValueError: an array of another shape than `Batch` tells.
    TypeError: one of another kind, or something that is no model or no batch.
  """
  for name, given, kind in (('segmenter', segmenter, Segmenter), ('batch', batch, Batch)):
    if not isinstance(given, kind):
      found = type(given).__name__
      raise TypeError(f'{name} is a {found}; expected a tetris_jax.{kind.__name__}')
  return batch.checked()


def set_stage(segmenter: Segmenter, batch: Batch, at_once: int | None) -> Stage:
  """Encodes the images, once for all trajectories, none of which is differentiated.

  Raises:
    ValueError: as for `checked`.
    TypeError: as for `checked`.
  """
  segmenter, batch = undifferentiated((segmenter, checked(segmenter, batch)))
  # What is found in pictures differs between devices wherever the model does.
  batch = varying(batch, (segmenter, batch))
  scene = look(segmenter, batch, at_once)
  first = lambda features: jax.tree.map(lambda x: x[0], features)
  begun = lambda features: segmenter.init(segmenter.params, first(features))
  state = jax.eval_shape(begun, scene.features)
  return Stage(segmenter, scene, jnp.asarray(batch.id), at_once, state)


def _check_state(stage: Stage, found: Any) -> None:
  """Raises TypeError where `decode` returned another state than `init` began with."""
  shown = lambda tree: jax.tree.map(lambda x: f'{jnp.result_type(x)}{list(jnp.shape(x))}', tree)
  was, now = shown(stage.state), shown(found)
  if was != now:
    raise TypeError(
      f'the state that decode of {stage.segmenter.info.name} returned is {now}; expected {was}, '
      'which is what init began with'
    )


def begin(stage: Stage, num_lanes: int, slots: int) -> Walk:
  """Before the first click, with room for `slots` of them."""
  segmenter, scene = stage.segmenter, stage.scene
  rows = (scene.mask.shape[0], num_lanes)
  state = jax.vmap(segmenter.init, (None, 0))(segmenter.params, scene.features)
  state = jax.tree.map(lambda x: jnp.repeat(x[:, None], num_lanes, axis=1), state)
  yx = jnp.zeros((*rows, slots, 2), jnp.float32)
  clicks = Clicks(yx, jnp.full((*rows, slots), EMPTY, jnp.int32))
  nothing = jnp.zeros((*rows, *scene.mask.shape[1:]), bool)
  return varying(Walk(clicks, state, nothing, nothing), scene)


def put(clicks: Clicks, slot: jax.Array, yx: Array, label: Array) -> Clicks:
  """`clicks` with yx (..., 2) and label (...) in that slot."""
  return Clicks(
    jnp.asarray(clicks.yx).at[..., slot, :].set(yx),
    jnp.asarray(clicks.label).at[..., slot].set(label),
  )


def flat(tree: Any) -> Any:
  """(batch, lanes, ...) -> (batch * lanes, ...)."""
  return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree)


def robot_user(stage: Stage, walk: Walk, slot: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Proposes the centre of the largest error of each trajectory's own mask."""
  del slot
  scene = stage.scene
  propose = each_row(next_click, None, 0, None, 0, None)
  return propose(scene.mask, walk.mask, scene.valid, walk.clicks, scene.size)


def given(clicks: Clicks) -> Proposer:
  """Proposes known clicks: yx (batch, lanes, rounds, 2) and label (batch, lanes, rounds)."""
  yx, label = map(jnp.asarray, clicks.checked())

  def propose(stage: Stage, walk: Walk, slot: jax.Array) -> tuple[jax.Array, jax.Array]:
    del stage, walk
    return yx[..., slot, :], label[..., slot]

  return propose


def legal_regions(stage: Stage, walk: Walk, label: jax.Array) -> jax.Array:
  """(batch, lanes, height, width) bool, where clicks of these labels (batch, lanes) are legal."""
  scene = stage.scene
  regions = each_row(legal_region, None, 0, None, 0)
  return regions(scene.mask, walk.half, scene.valid, label)


def open_round(stage: Stage, walk: Walk, slot: jax.Array, propose: Proposer) -> Turn:
  """Makes the proposed clicks and prepares the model for their round."""
  segmenter = stage.segmenter
  yx, label = propose(stage, walk, slot)
  clicks = put(walk.clicks, slot, yx, label)
  prepare = each_row(segmenter.prepare, ..., None, 0, rows=(label.shape[0], label.shape[1]))
  context = prepare(segmenter.params, stage.scene.features, walk.state)
  return Turn(yx, label, clicks, context)


def commit(stage: Stage, turn: Turn, slot: jax.Array) -> tuple[Round, Walk]:
  """Decodes the clicks as they stand: the evaluation that is reported and carried on."""
  segmenter, clicks = stage.segmenter, turn.clicks
  threshold = segmenter.info.threshold

  def score(context, clicks, target):
    logits, state = decoded(segmenter, context, clicks, target.mask.shape)
    _check_state(stage, state)
    found = hard_score(logits, threshold, target)
    half = found.mask if threshold == 0.5 else logits > 0
    boundary = jnp.where(found.finite, boundary_score(found.mask, target), jnp.nan)
    return found.iou, boundary, state, found.mask, half

  rows = clicks.label.shape[:2]
  found = in_parts(
    lambda each, *args: each(score)(*args),
    stage.at_once,
    *flat((turn.context, clicks)),
    repeat_target(stage.scene, rows[1]),
  )
  found, boundary, state, mask, half = jax.tree.map(
    lambda x: x.reshape(*rows, *x.shape[1:]), found
  )
  yx, label = jnp.asarray(clicks.yx)[..., slot, :], jnp.asarray(clicks.label)[..., slot]
  return Round(yx, label, found, boundary, mask), Walk(clicks, state, mask, half)
