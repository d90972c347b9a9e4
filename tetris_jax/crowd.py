"""Many sampled users side by side, each on the mask of its own trajectory: what a profile is of.

The robot user says with which sign is clicked, and a click prior times the error region where.
Users are equally likely and spread: in every round the probability mass is cut into as many strata
as there are users, along a space-filling curve through the error region, and each user clicks in a
stratum of its own. A single user is distributed as one drawn by itself; together they miss less of
the prior, so scores of few of them err less (docs/measurements.md). Beside a search of the whole
legal region their first clicks are pooled with those of the search (`tetris_jax.pooled`).
"""

from __future__ import annotations

import dataclasses
import numbers
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from tetris_jax import click_priors, pooled, rounds
from tetris_jax.geometry import curve
from tetris_jax.geometry.distance import error_distance
from tetris_jax.geometry.robot import clicked_pixels, error_regions, largest_error
from tetris_jax.scene import AT_ONCE, each_row, in_parts
from tetris_jax.search.spread import Answers
from tetris_jax.stage import Stage, Walk, begin, commit, flat, open_round
from tetris_jax.types import POSITIVE, Array, Clicks, Pooled, Walked

__all__ = ['Crowd', 'shares', 'walk']

# Draws of users are others than those of a search with the same key.
_USERS = 0x75736572


@dataclasses.dataclass(frozen=True)
class Crowd:
  """The users of an instance.

  Attributes:
    prior: name of their click prior, of `tetris_jax.click_priors`.
    count: how many there are.
  """

  prior: str = 'distance'
  count: int = 64

  def __post_init__(self) -> None:
    """Raises ValueError for an unknown prior, or no user."""
    click_priors.get(self.prior)
    whole = isinstance(self.count, numbers.Integral) and not isinstance(self.count, bool)
    if not whole or self.count < 1:
      raise ValueError(f'count is {self.count}; expected a whole number of users, at least 1')


def shares(key: jax.Array, instance: Array, slot: Array, count: int) -> jax.Array:
  """Where in the mass users click: one in each of `count` equal strata, in random order.

  Args:
    key: of all draws.
    instance: () uint32, its id, so that a draw does not depend on the batch.
    slot: () int32, the round.
    count: of users.

  Returns:
    (count,) float32 in [0, 1), each of them uniformly distributed.
  """
  own = jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(key, _USERS), instance), slot)
  inside, order = jax.random.uniform(own, (2, count), jnp.float32)
  stratum = jnp.argsort(order).astype(jnp.float32)
  below_one = jnp.nextafter(jnp.float32(1), jnp.float32(0))
  return jnp.minimum((stratum + inside) / count, below_one)


class _Seen(NamedTuple):
  """What a trajectory's next click is drawn from, (rows...) each."""

  mask: jax.Array
  predicted: jax.Array
  valid: jax.Array
  clicked: Clicks
  size: jax.Array
  image: jax.Array
  map: jax.Array | None


def _weighed(
  prior: click_priors.Prior, seen: _Seen
) -> tuple[jax.Array, jax.Array, curve.Pyramid]:
  """The robot user's click (2,) and label () of one trajectory, and what pixels weigh."""
  wrong, excess = error_regions(seen.mask, seen.predicted, seen.valid)
  signed = error_distance(wrong, excess)
  robot, label = largest_error(signed, seen.clicked, seen.size)
  region = jnp.where(label == POSITIVE, wrong, excess)
  distance = jnp.where(region, jnp.sqrt(jnp.abs(signed)), 0.0)
  view = click_priors.View(seen.image, region, distance, robot, seen.size, seen.map)
  height = region.shape[0]
  pixel = clicked_pixels(seen.clicked, seen.size)
  row = jnp.where(pixel[:, 0] < 0, height, pixel[:, 0])
  free = region.at[row, pixel[:, 1]].set(False, mode='drop')
  # A comparison with NaN is False, so what a prior does not know counts as unlikely.
  weight = jnp.asarray(prior(view), jnp.float32)
  levels = curve.pyramid(jnp.where(free & (weight > 0), weight, 0.0))
  return robot, label, levels


def _clicked(robot: jax.Array, levels: curve.Pyramid, share: jax.Array) -> jax.Array:
  """A user's click (2,); where no pixel is left to sample, the robot user's, as in RClicks."""
  return jnp.where(levels.total > 0, curve.at_share(levels, share), robot)


class _Users(NamedTuple):
  """What all rounds of all users share."""

  key: jax.Array
  stage: Stage
  crowd: Crowd
  maps: jax.Array | None

  def seen(self, walk: Walk) -> _Seen:
    """(batch, lanes, ...) of what trajectories look at."""
    scene, lanes = self.stage.scene, walk.mask.shape[1]
    wide = lambda x: jnp.broadcast_to(x[:, None], (x.shape[0], lanes, *x.shape[1:]))
    mask, valid, size, image = map(wide, (scene.mask, scene.valid, scene.size, scene.image))
    maps = None if self.maps is None else wide(self.maps)
    return _Seen(mask, walk.mask, valid, walk.clicks, size, image, maps)

  def shares(self, slot: jax.Array) -> jax.Array:
    """(batch, users)."""
    draw = lambda instance: shares(self.key, instance, slot, self.crowd.count)
    return jax.vmap(draw)(self.stage.id)

  def proposer(self, numbers: jax.Array):
    """Proposes clicks of the users of these numbers (lanes,), a lane each."""
    prior = click_priors.get(self.crowd.prior)

    def propose(stage: Stage, walk: Walk, slot: jax.Array) -> tuple[jax.Array, jax.Array]:
      share = self.shares(slot)[:, numbers]

      def one(seen: _Seen, share: jax.Array) -> tuple[jax.Array, jax.Array]:
        robot, label, levels = _weighed(prior, seen)
        return _clicked(robot, levels, share), label

      found = in_parts(
        lambda each, *args: each(one)(*args), stage.at_once, *flat((self.seen(walk), share))
      )
      yx, label = jax.tree.map(lambda x: x.reshape(*share.shape, *x.shape[1:]), found)
      return yx, label

    return propose

  def first(self, walk: Walk) -> tuple[jax.Array, jax.Array, curve.Pyramid]:
    """Of one lane for all users the robot user's first click, its label, and what pixels weigh."""
    weighed = each_row(lambda seen: _weighed(click_priors.get(self.crowd.prior), seen), 0)
    robot, label, levels = jax.tree.map(lambda x: x[:, 0], weighed(self.seen(walk)))
    return robot, label[:, None], levels


# Clicks of an instance (shares, 2) at shares of its mass.
_clicks_at = jax.vmap(_clicked, (None, None, 0))


def walk(
  key: jax.Array,
  stage: Stage,
  crowd: Crowd,
  num_clicks: int,
  maps: Array | None,
  *,
  answers: Answers | None = None,
) -> Walked:
  """Trajectories of all users; few of them at a time, so that memory does not grow with them.

  Args:
    key: folded with each instance's id and the round, so that draws do not depend on the batch.
    stage: whose pictures are encoded.
    crowd: who clicks.
    num_clicks: rounds.
    maps: (batch, height, width) float32, of each instance for the prior; None for priors that need
      none.
    answers: of a search of the first click, leading dimension (batch,); None for none.
  """
  # What users look at is a value of its own, so that they change nothing of an attack beside them.
  stage = stage._replace(scene=lax.optimization_barrier(stage.scene))
  answers = lax.optimization_barrier(answers)
  batch, count = stage.scene.mask.shape[0], crowd.count
  maps = None if maps is None else jnp.asarray(maps, jnp.float32)
  users, slot = _Users(key, stage, crowd, maps), jnp.int32(0)
  # Before the first click all users stand at the same place.
  start = begin(stage, 1, num_clicks)
  robot, label, levels = users.first(start)
  yx = jax.vmap(_clicks_at)(robot, levels, users.shares(slot))
  turn = open_round(stage, start, slot, lambda *_: (yx[:, :1], label))
  most = max(1, (stage.at_once or AT_ONCE) // batch)
  lanes = max(n for n in range(1, most + 1) if count % n == 0)

  def some(given: tuple[jax.Array, jax.Array]) -> tuple[Clicks, jax.Array, jax.Array, Any]:
    numbers, places = given
    mine = jax.tree.map(lambda x: jnp.repeat(x, lanes, axis=1), turn).moved(slot, places)
    found, walk = commit(stage, mine, slot)
    iou, biou = found.iou[None], found.biou[None]
    held = None if answers is None else _held(found.mask, answers)
    if num_clicks > 1:
      walk, later = rounds.play(
        stage, walk, num_clicks, users.proposer(numbers), first=1,
        keep=lambda found: (found.iou, found.biou),
      )  # fmt: skip
      iou, biou = (jnp.concatenate(pair) for pair in zip((iou, biou), later, strict=True))
    return walk.clicks, jnp.moveaxis(iou, 0, 2), jnp.moveaxis(biou, 0, 2), held

  numbers = jnp.arange(count, dtype=jnp.int32).reshape(-1, lanes)
  places = jnp.moveaxis(yx.reshape(batch, -1, lanes, 2), 1, 0)
  found = lax.map(some, (numbers, places))
  join = lambda x: jnp.moveaxis(x, 0, 1).reshape(batch, count, *x.shape[3:])
  clicks, iou, biou, held = jax.tree.map(join, found)
  if answers is None:
    return Walked(clicks, iou, biou)
  given = (answers, pooled.Clicked(yx, iou[..., 0], held), robot, levels)
  return Walked(clicks, iou, biou, lax.map(_pooled, given))


def _pooled(given: tuple[Answers, pooled.Clicked, jax.Array, curve.Pyramid]) -> Pooled:
  """Of one instance."""
  answers, clicked, robot, levels = given
  return pooled.pool(answers, clicked, lambda share: _clicks_at(robot, levels, share))


def _held(mask: jax.Array, answers: Answers) -> jax.Array:
  """Masks (batch, lanes, height, width) at the search's candidates: (batch, lanes, candidates)."""
  at = answers.candidates.yx.astype(jnp.int32)
  return jax.vmap(lambda mask, at: mask[:, at[:, 0], at[:, 1]])(mask, at)
