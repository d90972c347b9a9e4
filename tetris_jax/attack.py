"""The entry points: trajectories of a batch, searched or given, in one traceable function."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from tetris_jax import click_priors, crowd, rounds
from tetris_jax.presets import AttackConfig
from tetris_jax.scene import full_precision, rows_at_once, undifferentiated
from tetris_jax.search.base import Cost
from tetris_jax.stage import Round, begin, given, robot_user, set_stage
from tetris_jax.types import (
  Array,
  Batch,
  Byproducts,
  Clicks,
  Segmenter,
  Trajectories,
  check_shape,
)

__all__ = ['attack', 'replay']


def _collect(found: Round, spent: Cost, byproducts: Byproducts) -> Trajectories:
  def rounds_last(x: jax.Array) -> jax.Array:
    return jnp.moveaxis(x, 0, 2)

  batch = found.iou.shape[1]
  return Trajectories(
    Clicks(rounds_last(found.yx), rounds_last(found.label)),
    rounds_last(found.iou),
    rounds_last(found.biou),
    rounds_last(found.mask),
    jnp.full((batch,), spent.forward, jnp.int32),
    jnp.full((batch,), spent.backward, jnp.int32),
    byproducts,
  )


def _check_drawn(
  config: AttackConfig,
  key: jax.Array | None,
  users: crowd.Crowd | None,
  click_maps: Array | None,
) -> None:
  """Raises ValueError for a key or maps that nobody needs, or that are needed and missing."""
  draws = config.search is not None and config.search.draws
  if (draws or users is not None) != (key is not None):
    raise ValueError(
      f'{config.name} draws nothing, so a key changes nothing; leave it out' if key is not None
      else f'{config.name if draws else "users"} draws at random and needs a key'
    )
  if (users is not None and users.prior == click_priors.MAPS) != (click_maps is not None):
    raise ValueError(f'click_maps and users of the prior {click_priors.MAPS!r} need each other')


def attack(
  segmenter: Segmenter,
  batch: Batch,
  config: AttackConfig,
  *,
  key: jax.Array | None = None,
  at_once: int | None = None,
  users: crowd.Crowd | None = None,
  click_maps: Array | None = None,
) -> Trajectories:
  """Searches the clicks that lower and raise IoU, beside the robot user's.

  Pure and traceable: `jax.jit(attack, static_argnames=('config', 'users'))` is a program whose
  argument the model is, with its parameters as leaves (constants would be folded into the program).
  Every image is encoded once for all trajectories. What is reported of a click is the evaluation of
  `replay`, so the clicks alone restore it. Products are traced at precision "highest", unless JAX
  was configured otherwise: the parity of the ports holds for float32.

  What it returns is constant for `jax.grad`: clicks as well as scores, which are of hard masks.
  Train on a loss of the model's own logits at these clicks.

  Args:
    segmenter: the model.
    batch: padded instances.
    config: a preset, or settings of one's own.
    key: of users, and of a search that draws at random, folded with each instance's id; none of
      the named presets does.
    at_once: rows (an instance's trajectory each) that go through the decoder together, which
      bounds memory; at most so many, for they have to divide the rows evenly. Default: one on a
      CPU, all elsewhere.
    users: who clicks beside the attack, on masks of their own. Default: nobody.
    click_maps: (batch, height, width) float32 of at least 0, how likely users click each pixel,
      where their prior is "maps".

  Returns:
    Trajectories of modes "base", "min" and "max", or of "base" alone without a search; and those of
    users, which change nothing of the others.

  Raises:
    ValueError: `at_once` below 1, an array of another shape than `Batch` tells, a canvas with a
      side above `types.LARGEST_SIDE`, logits that are not those of the canvas, users or a search
      that draws without a `key`, or one where nothing is drawn; or maps without the prior that
      reads them, or the prior without maps.
    TypeError: an array of another kind than `Batch` tells, or something that is no model, no batch
      or no attack.
  """
  search, num_clicks = config.search, config.num_clicks
  draws = search is not None and search.draws
  _check_drawn(config, key, users, click_maps)
  at_once = rows_at_once(at_once)
  spent = rounds.cost(search, num_clicks)
  with full_precision():
    stage = set_stage(segmenter, batch, at_once)
    walked = None
    if users is not None and key is not None:
      walked = crowd.walk(key, stage, users, num_clicks, click_maps)
    if search is None:
      walk = begin(stage, 1, num_clicks)
      found = rounds.play(stage, walk, num_clicks, robot_user)[1]
      return undifferentiated(_collect(found, spent, Byproducts())._replace(users=walked))
    played = rounds.search_rounds(key if draws else None, stage, search, num_clicks)
  found = _collect(played.rounds, spent, played.byproducts)
  return undifferentiated(found._replace(users=walked))


def replay(
  segmenter: Segmenter, batch: Batch, clicks: Clicks, *, at_once: int | None = None
) -> Trajectories:
  """Evaluates clicks from the first round on, as `attack` reports them.

  Args:
    segmenter: the model.
    batch: padded instances.
    clicks: yx (batch, modes, num_clicks, 2) float32 and label (batch, modes, num_clicks) int32.
    at_once: as for `attack`.

  Returns:
    Trajectories of these clicks, constant for `jax.grad` as those of `attack`.

  Raises:
    ValueError: `at_once` below 1, an array of another shape than here or in `Batch`, or a canvas
      with a side above `types.LARGEST_SIDE`.
    TypeError: an array of another kind.
  """
  at_once = rows_at_once(at_once)
  clicks = undifferentiated(clicks.checked())
  with full_precision():
    stage = set_stage(segmenter, batch, at_once)
    check_shape('clicks.label', clicks.label, len(stage.id), 'modes', 'clicks')
    modes, num_clicks = clicks.label.shape[1:]
    walk = begin(stage, modes, num_clicks)
    found = rounds.play(stage, walk, num_clicks, given(clicks))[1]
  return undifferentiated(_collect(found, Cost(modes * num_clicks, 0), Byproducts()))
