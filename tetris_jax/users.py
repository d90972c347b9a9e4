"""The sampled user: clicks anywhere in the largest kind of error, as likely as a prior says.

When to click with which sign is the robot user's rule, so that trajectories differ in positions
alone. Groups of users follow RClicks (arXiv 2410.11722): the probability mass is cut into slices,
from the least likely pixels to the likeliest. RClicks samples from its learned clickability model;
here a click prior of `tetris_jax.scores.priors` stands in for it, so numbers do not compare with
published ones.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from tetris_jax import click_priors, rounds
from tetris_jax.geometry.distance import error_distance
from tetris_jax.geometry.robot import clicked_pixels, error_regions
from tetris_jax.scene import AT_ONCE, each_row, full_precision, in_parts, rows_at_once
from tetris_jax.stage import Proposer, Stage, Walk, begin, flat, robot_user, set_stage
from tetris_jax.types import POSITIVE, Array, Batch, Clicks, Segmenter, Walked

__all__ = [
  'BASE',
  'NUM_GROUPS',
  'User',
  'Walked',
  'check_prior',
  'draw',
  'groups',
  'mass_slice',
  'sampled',
  'walk',
]

NUM_GROUPS = 10
"""G1, the least likely clicks, to G10, as in RClicks (arXiv 2410.11722)."""


class User(NamedTuple):
  """How a user chooses where to click.

  Attributes:
    prior: "robot" (the robot user), "uniform", "distance" or "gaussian_S" with a share S of the
      image diagonal, as in `tetris_jax.scores.priors`.
    low: probability mass below the user's slice, in [0, 1].
    high: probability mass up to its end.
    number: tells users of one prior and slice apart, who then click differently.
  """

  prior: str
  low: float = 0.0
  high: float = 1.0
  number: int = 0


BASE = User('robot')


class _Rule(NamedTuple):
  """Users as arrays, (users,) each, so that one program serves all of them."""

  robot: jax.Array
  by_distance: jax.Array
  sigma: jax.Array
  low: jax.Array
  high: jax.Array
  name: jax.Array


def groups(prior: str) -> list[User]:
  """G1 to G10 of a prior.

  Raises:
    ValueError: the prior makes all pixels alike, so that slices of its mass are the same.
  """
  _sigma(prior)
  if prior in ('robot', 'uniform'):
    raise ValueError(
      f'prior {prior!r} cannot be cut into groups: no pixel is likelier than another'
    )
  edges = [number / NUM_GROUPS for number in range(NUM_GROUPS + 1)]
  return [User(prior, low, high) for low, high in itertools.pairwise(edges)]


def check_prior(prior: str) -> None:
  """Raises ValueError for a name that is none of a click prior."""
  if prior == 'robot':
    raise ValueError('the robot user is no prior')
  _sigma(prior)


def _sigma(prior: str) -> float:
  """Of the Gaussian around the robot user's click, as a share of the diagonal."""
  return math.inf if prior == 'robot' else click_priors.sigma(prior)


def mass_slice(weight: Array, low: Array, high: Array) -> jax.Array:
  """Keeps the pixels of a slice of probability mass, counted from the least likely ones.

  As in RClicks (arXiv 2410.11722): with pixels in ascending order of weight, those from the one at
  which the mass reaches `low` to the one at which it exceeds `high`. Pixels as likely as these two
  belong to the slice, so neighbouring slices may share pixels, and all slices of equal weights are
  the whole.

  Args:
    weight: (height, width) float32, at least 0.
    low: () share of the mass in [0, 1].
    high: likewise, at least `low`.

  Returns:
    (height, width) float32: `weight`, 0 outside of the slice.
  """
  weight = jnp.asarray(weight, jnp.float32)
  values = jnp.sort(weight.reshape(-1))
  # In two levels, for one sum of float32 over all pixels would lose the small ones.
  rows = values.reshape(weight.shape)
  before = jnp.cumsum(jnp.sum(rows, axis=1)) - jnp.sum(rows, axis=1)
  mass = lax.cummax((jnp.cumsum(rows, axis=1) + before[:, None]).reshape(-1))
  total, last = mass[-1], values.size - 1
  first = jnp.searchsorted(mass, low * total, side='left')
  end = jnp.minimum(jnp.searchsorted(mass, high * total, side='right'), last)
  kept = (weight >= values[jnp.minimum(first, last)]) & (weight <= values[end])
  return jnp.where(kept, weight, 0.0)


def draw(weight: Array, uniform: Array) -> jax.Array:
  """A pixel drawn with probabilities in proportion to weights: first its row, then its column.

  Args:
    weight: (height, width) float32, at least 0 and somewhere above.
    uniform: (2,) float32 in [0, 1).

  Returns:
    (2,) float32 (row, column); (0, 0) if no weight is above 0.
  """
  weight, uniform = (jnp.asarray(x, jnp.float32) for x in (weight, uniform))

  def one(line: jax.Array, share: jax.Array) -> jax.Array:
    mass = lax.cummax(jnp.cumsum(line))
    index = jnp.searchsorted(mass, share * mass[-1], side='right')
    # share * mass may round up to the whole mass.
    last = line.size - 1 - lax.argmax(line[::-1] > 0, 0, jnp.int32)
    return jnp.minimum(index, last)

  row = one(jnp.sum(weight, axis=1), uniform[0])
  column = one(weight[row], uniform[1])
  found = jnp.stack([row, column]).astype(jnp.float32)
  return jnp.where(jnp.any(weight > 0), found, 0.0)


class _Place(NamedTuple):
  """What a trajectory's next click is drawn from, (rows...) each."""

  robot: jax.Array
  label: jax.Array
  positive: jax.Array
  negative: jax.Array
  clicked: Clicks
  size: jax.Array
  rule: _Rule
  uniform: jax.Array


def _drawn(place: _Place) -> jax.Array:
  """The next click of one trajectory (2,)."""
  robot, rule, size = place.robot, place.rule, place.size
  signed = error_distance(place.positive, place.negative)
  region = jnp.where(place.label == POSITIVE, place.positive, place.negative)
  height, width = region.shape
  pixel = clicked_pixels(place.clicked, size)
  row = jnp.where(pixel[:, 0] < 0, height, pixel[:, 0])
  free = region.at[row, pixel[:, 1]].set(False, mode='drop')
  y = lax.broadcasted_iota(jnp.float32, (height, width), 0) - robot[0]
  x = lax.broadcasted_iota(jnp.float32, (height, width), 1) - robot[1]
  sigma = rule.sigma * jnp.sqrt(jnp.sum(jnp.square(size.astype(jnp.float32))))
  near = jnp.exp(-(jnp.square(y) + jnp.square(x)) / (2 * jnp.square(sigma)))
  weight = jnp.where(rule.by_distance, jnp.sqrt(jnp.abs(signed)), near)
  weight = mass_slice(jnp.where(free, weight, 0.0), rule.low, rule.high)
  sampled = ~rule.robot & jnp.any(weight > 0)
  return jnp.where(sampled, draw(weight, place.uniform), robot)


def _rule(users: Sequence[User]) -> _Rule:
  """Raises ValueError: no user, a slice outside of [0, 1], or an unknown prior."""
  if not users:
    raise ValueError('no user; at least 1 is needed')
  for user in users:
    if not 0 <= user.low < user.high <= 1:
      raise ValueError(f'{user}: expected 0 <= low < high <= 1')
  column = lambda values, kind: jnp.array(list(values), kind)
  return _Rule(
    column((user.prior == 'robot' for user in users), bool),
    column((user.prior == 'distance' for user in users), bool),
    column((_sigma(user.prior) for user in users), jnp.float32),
    column((user.low for user in users), jnp.float32),
    column((user.high for user in users), jnp.float32),
    column((zlib.crc32(repr(tuple(user)).encode()) for user in users), jnp.uint32),
  )


def sampled(key: jax.Array, users: Sequence[User]) -> Proposer:
  """Proposes clicks of users for the round engine, a lane each.

  The robot user gives the sign, the user's prior times the error region the place; where no pixel
  is left to sample the robot user's click is made, as in RClicks.

  Args:
    key: folded with each instance's id, the user's fields and the round, so that a draw depends
      neither on the batch nor on the other users.
    users: of the lanes, in order.

  Raises:
    ValueError: no user, a slice outside of [0, 1], or an unknown prior.
  """
  rule = _rule(users)

  def propose(
    stage: Stage, walk: Walk, slot: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    scene, rows = stage.scene, (stage.scene.mask.shape[0], len(users))
    robot, label = robot_user(stage, walk, slot)
    errors = each_row(error_regions, None, 0, None)
    wrong, excess = errors(scene.mask, walk.mask, scene.valid)
    size = jnp.broadcast_to(scene.size[:, None], (*rows, *scene.size.shape[1:]))
    every = jax.tree.map(lambda x: jnp.broadcast_to(x, rows), rule)

    def uniform(instance: jax.Array, user: jax.Array) -> jax.Array:
      own = jax.random.fold_in(jax.random.fold_in(key, instance), user)
      return jax.random.uniform(jax.random.fold_in(own, slot), (2,), jnp.float32)

    uniforms = each_row(uniform, None, 0)(stage.id, every.name)
    places = _Place(robot, label, wrong, excess, walk.clicks, size, every, uniforms)
    yx = in_parts(
      lambda each, place: each(_drawn)(place), stage.at_once, flat(places)
    )
    return yx.reshape(*rows, 2), label

  return propose


def walk(
  key: jax.Array,
  segmenter: Segmenter,
  batch: Batch,
  users: Sequence[User],
  num_clicks: int,
  *,
  at_once: int | None = None,
) -> Walked:
  """Rounds of clicks of several users, every one on the mask of its own trajectory.

  Pure and traceable, as `tetris_jax.attack`. Every image is encoded once for all users.

  Args:
    key: of all draws, see `sampled`.
    segmenter: the model.
    batch: padded instances.
    users: of the trajectories, in order.
    num_clicks: rounds.
    at_once: trajectories that go through the decoder together, at most. Default: 1 on a CPU, 64
      elsewhere.

  Raises:
    ValueError: no user, no click, a slice outside of [0, 1], or an unknown prior.
  """
  if num_clicks < 1:
    raise ValueError(f'num_clicks is {num_clicks}; at least 1')
  propose = sampled(key, users)
  with full_precision():
    stage = set_stage(segmenter, batch, rows_at_once(at_once, elsewhere=AT_ONCE))
    start = begin(stage, len(users), num_clicks)
    # Masks of all users and rounds are not kept: they would take most of the memory.
    scores = lambda found: (found.iou, found.biou)
    last, found = rounds.play(stage, start, num_clicks, propose, keep=scores)
  iou, biou = (jnp.moveaxis(x, 0, 2) for x in found)
  return Walked(last.clicks, iou, biou)
