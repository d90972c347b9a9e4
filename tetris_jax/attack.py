"""The entry points: trajectories of a batch, searched or given, in one traceable function."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from tetris_jax import click_priors, crowd, presets, rounds
from tetris_jax.mesh import over_instances
from tetris_jax.presets import AttackConfig
from tetris_jax.scene import full_precision, rows_at_once, undifferentiated
from tetris_jax.search.base import Cost, Search
from tetris_jax.stage import Round, begin, checked, given, robot_user, set_stage
from tetris_jax.types import (
  MODES,
  Array,
  Batch,
  Byproducts,
  Clicks,
  Segmenter,
  Trajectories,
  check_shape,
)

__all__ = ['attack', 'replay', 'worst_clicks']


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


def _constant(function: Callable[[Any, Any], Any], shared: Any, divided: Any) -> Any:
  """`over_instances` without any gradient."""
  given = undifferentiated((shared, divided))
  return undifferentiated(over_instances(function, *given))


class _Plan(NamedTuple):
  """What is looked for; static."""

  config: AttackConfig
  modes: tuple[str, ...]
  at_once: int | None
  users: crowd.Crowd | None = None

  @property
  def search(self) -> Search | None:
    """None where the robot user alone is asked for."""
    return None if self.modes == MODES[:1] else self.config.search


def _plan(
  config: AttackConfig | Search | str,
  num_clicks: int | None,
  modes: Sequence[str] | None,
  at_once: int | None,
  users: crowd.Crowd | None = None,
) -> _Plan:
  """Raises ValueError or TypeError for what is no attack, or modes that it does not have."""
  config = presets.of(config, num_clicks=num_clicks)
  known = MODES if config.search is not None else MODES[:1]
  asked = known if modes is None else modes
  if isinstance(asked, str) or not isinstance(asked, Sequence):
    raise TypeError(f"modes is {asked!r}; expected a tuple such as ('min',)")
  if not asked or len(set(asked)) < len(asked) or not set(asked) <= set(known):
    shown = ', '.join(map(repr, known))
    raise ValueError(
      f'modes is {tuple(asked)}; expected some of those that {config.name} has, each once: {shown}'
    )
  return _Plan(config, tuple(asked), rows_at_once(at_once), users)


def _check_drawn(plan: _Plan, key: jax.Array | None, click_maps: Array | None) -> None:
  """Raises ValueError for a key or maps that nobody needs, or that are needed and missing."""
  config, users = plan.config, plan.users
  draws = plan.search is not None and plan.search.draws
  if (draws or users is not None) != (key is not None):
    raise ValueError(
      f'{config.name} draws nothing, so a key changes nothing; leave it out' if key is not None
      else f'{config.name if draws else "users"} draws at random and needs a key'
    )
  if (users is not None and users.prior == click_priors.MAPS) != (click_maps is not None):
    raise ValueError(f'click_maps and users of the prior {click_priors.MAPS!r} need each other')


_Shared = tuple[Segmenter, jax.Array | None]


def _attack(
  plan: _Plan, shared: _Shared, divided: tuple[Batch, Array | None]
) -> Trajectories:
  (segmenter, key), (batch, click_maps) = shared, divided
  search, num_clicks, modes = plan.search, plan.config.num_clicks, plan.modes
  spent = rounds.cost(search, num_clicks, modes=modes)
  with full_precision():
    stage = set_stage(segmenter, batch, plan.at_once)
    if click_maps is not None:
      check_shape('click_maps', jnp.asarray(click_maps), *stage.scene.mask.shape)
    if search is None:
      walk = begin(stage, 1, num_clicks)
      played = rounds.Played(
        rounds.play(stage, walk, num_clicks, robot_user)[1], Byproducts()
      )
    else:
      played = rounds.search_rounds(
        key if search.draws else None, stage, search, num_clicks, modes=modes
      )
    walked, answers = None, played.byproducts.answers
    if plan.users is not None and key is not None:
      walked = crowd.walk(key, stage, plan.users, num_clicks, click_maps, answers=answers)
  found = _collect(played.rounds, spent, played.byproducts._replace(answers=None))
  return found._replace(users=walked)


def attack(
  segmenter: Segmenter,
  batch: Batch,
  config: AttackConfig | Search | str,
  *,
  num_clicks: int | None = None,
  modes: Sequence[str] | None = None,
  key: jax.Array | None = None,
  at_once: int | None = None,
  users: crowd.Crowd | None = None,
  click_maps: Array | None = None,
) -> Trajectories:
  """Searches the clicks that lower and raise IoU, beside the robot user's.

  Pure and traceable: `jax.jit(attack, static_argnames=('config', 'num_clicks', 'modes', 'users'))`
  is a program whose argument the model is, with its parameters as leaves (constants would be folded
  into it). An image is encoded once for all trajectories. What is reported of a click is the
  evaluation of `replay`, so clicks restore it. Products are traced at precision "highest", unless
  JAX was configured otherwise: the parity of the ports holds for float32.

  What it returns is constant for `jax.grad`: clicks as well as scores, which are of hard masks.
  Train on a loss of the model's own logits at these clicks.

  Args:
    segmenter: the model.
    batch: padded instances.
    config: a preset or its name, a search such as `Local(num_steps=5)`, or an attack of one's own.
    num_clicks: rounds, in place of the config's.
    modes: those of `MODES` that are wanted, which alone are searched and paid for; MIN and MAX find
      what they find together. Default: all, or "base" alone without a search.
    key: of users, and of a search that draws at random, folded with each instance's id; none of
      the named presets does.
    at_once: rows (an instance's trajectory each) that go through the decoder together, which
      bounds memory; at most so many, for they have to divide the rows evenly. Default: one on a
      CPU, all elsewhere.
    users: who clicks beside the attack, on masks of their own. Default: nobody.
    click_maps: (batch, height, width) float32 of at least 0, how likely users click each pixel,
      where their prior is "maps".

  Returns:
    Trajectories of these modes, in this order; and those of users, which change nothing of them.

  Raises:
    ValueError: settings that cannot be, modes that the config does not have, arrays or logits of
      another shape than `Batch` tells, too large a canvas, a key or maps without need, or needed.
    TypeError: arrays of another kind, or what is no model, no batch or no attack.
  """
  plan = _plan(config, num_clicks, modes, at_once, users)
  _check_drawn(plan, key, click_maps)
  batch = checked(segmenter, batch)
  search = functools.partial(_attack, plan)
  return _constant(search, (segmenter, key), (batch, click_maps))


def worst_clicks(
  segmenter: Segmenter,
  batch: Batch,
  config: AttackConfig | Search | str,
  *,
  num_clicks: int = 1,
  key: jax.Array | None = None,
  at_once: int | None = None,
) -> Clicks:
  """The clicks of MIN alone, without scores, such as for training on them.

  They are those that `attack` finds. The published search makes 11 decoder evaluations a round and
  10 gradients for them, and one more evaluation after each click but the last.

  Args:
    segmenter: the model.
    batch: padded instances.
    config: as for `attack`.
    num_clicks: rounds.
    key: as for `attack`.
    at_once: as for `attack`.

  Returns:
    Clicks with yx (batch, num_clicks, 2) and label (batch, num_clicks), constant for `jax.grad`.

  Raises:
    ValueError: as for `attack`, or a config without a search.
    TypeError: as for `attack`.
  """
  plan = _plan(config, num_clicks, MODES[1:2], at_once)
  _check_drawn(plan, key, None)

  def found(shared: _Shared, batch: Batch) -> Clicks:
    assert plan.search is not None
    with full_precision():
      stage = set_stage(shared[0], batch, plan.at_once)
      return rounds.search_clicks(shared[1], stage, plan.search, num_clicks, mode=MODES[1])

  batch = checked(segmenter, batch)
  return _constant(found, (segmenter, key), batch)


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
  batch, clicks = checked(segmenter, batch), clicks.checked()
  check_shape('clicks.label', clicks.label, len(batch.id), 'modes', 'clicks')

  def found(segmenter: Segmenter, divided: tuple[Batch, Clicks]) -> Trajectories:
    modes, num_clicks = clicks.label.shape[1:]
    with full_precision():
      stage = set_stage(segmenter, divided[0], at_once)
      walk = begin(stage, modes, num_clicks)
      made = rounds.play(stage, walk, num_clicks, given(divided[1]))[1]
    return _collect(made, Cost(modes * num_clicks, 0), Byproducts())

  return _constant(found, segmenter, (batch, clicks))
