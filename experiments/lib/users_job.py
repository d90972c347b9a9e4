"""Users' clicks as a job: who clicks where on an instance, and what the model answers."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lib import fitting, guard, loop, named, programs
from experiments.lib.programs import Say
from tetris_jax import data, truth, types, users
from tetris_jax.geometry import region, robot
from tetris_jax.report.users.summary import FILE
from tetris_jax.runs import rows, schema
from tetris_jax.scores import priors

__all__ = ['BY_DEPTH', 'Plan', 'UsersJob', 'sample_first']

BY_DEPTH = ('distance',)
"""Priors that weigh a pixel by how deep in the object it lies."""

_FEWEST_SLOTS = 16


@dataclasses.dataclass(frozen=True)
class Plan:
  """Who clicks.

  Attributes:
    priors: of users whose first clicks are sampled.
    num_users: how many of each prior.
    walks: users who click in all rounds, by name.
    num_clicks: rounds.
    seed: of all draws.
  """

  priors: tuple[str, ...]
  num_users: int
  walks: Mapping[str, users.User]
  num_clicks: int
  seed: int


def sample_first(
  prior: str,
  count: int,
  legal: np.ndarray,
  depth: np.ndarray | None,
  centre: np.ndarray,
  seed: Sequence[int],
) -> np.ndarray:
  """First clicks drawn from a prior.

  Args:
    prior: see `tetris_jax.scores.priors.weights`.
    count: how many.
    legal: (height, width) bool, with a pixel at least.
    depth: (height, width) of `region.inner_depth`; None is enough for a prior not of `BY_DEPTH`.
    centre: (2,) the robot user's click.
    seed: numbers that name the draw.

  Returns:
    (count, 2) float32 pixels.
  """
  yx = np.argwhere(legal)
  deep = np.zeros(len(yx)) if depth is None else depth[yx[:, 0], yx[:, 1]]
  weight = priors.weights(prior, yx, deep, centre, float(np.hypot(*legal.shape)))
  mass = np.cumsum(weight)
  share = np.random.default_rng(list(seed)).random(count)
  index = np.searchsorted(mass, share * mass[-1], side='right')
  return yx[np.minimum(index, len(yx) - 1)].astype(np.float32)


@jax.jit
def _robot_click(mask: jax.Array, valid: jax.Array, size: jax.Array) -> jax.Array:
  nothing = types.Clicks(jnp.zeros((1, 2), jnp.float32), jnp.full((1,), types.EMPTY, jnp.int32))
  return robot.next_click(mask, jnp.zeros_like(mask), valid, nothing, size)[0]


_inner_depth = jax.jit(region.inner_depth)


def _first(
  key: jax.Array, segmenter: types.Segmenter, batch: types.Batch, yx: Any, exists: Any
) -> truth.Grid:
  del key
  return truth.at(segmenter, batch, yx, exists)


def _walk(
  key: jax.Array,
  segmenter: types.Segmenter,
  batch: types.Batch,
  *,
  walkers: tuple[users.User, ...],
  num_clicks: int,
) -> users.Walked:
  return users.walk(key, segmenter, batch, walkers, num_clicks)


@dataclasses.dataclass(frozen=True)
class _Clicked:
  """First clicks on one instance, by source."""

  sample: data.Sample
  sources: Mapping[str, rows.Given]

  @property
  def yx(self) -> np.ndarray:
    """All clicks, (n, 2)."""
    clicks = [given.yx for given in self.sources.values()]
    return np.concatenate([np.zeros((0, 2), np.float32), *clicks])


@dataclasses.dataclass(frozen=True)
class _Asked:
  """Instances of one batch with clicks, and the batch."""

  clicked: list[_Clicked]
  batch: types.Batch


class UsersJob(loop.Job):
  """Evaluates first clicks of all sources, and rounds of the plan's users.

  Attributes:
    kind: of its rows.
    programs: on which it measures.
  """

  kind: schema.Kind = 'users'

  def __init__(
    self,
    made: programs.Programs,
    dataset: data.Dataset,
    plan: Plan,
    batch_size: int,
    clicks: Mapping[str, Sequence[data.UserClick]] | None,
  ):
    """Takes what stays the same over batches.

    Args:
      made: the model's programs.
      dataset: the instances.
      plan: who clicks, apart from users of a file.
      batch_size: instances evaluated at once.
      clicks: of a file, by instance; None without one.
    """
    self.programs = made
    self._dataset, self._plan, self._slots = dataset, plan, batch_size
    self._clicks = clicks

  def prepare(self, group: data.Group) -> loop.Prepared:
    """Reads the instances and says where users click on them."""
    clicked, made = [], []
    for index in group.indices:
      found = self._ask(self._dataset[index], group.canvas)
      if isinstance(found, _Clicked):
        clicked.append(found)
      else:
        made.append(named.rejected_row(self.kind, found))
    if not clicked:
      return loop.Prepared(group, made, None)
    batch, _ = data.stack([one.sample for one in clicked], group.canvas, self._slots)
    return loop.Prepared(group, made, _Asked(clicked, batch))

  def _ask(
    self, sample: data.Sample | data.Rejected, canvas: tuple[int, int]
  ) -> _Clicked | data.Rejected:
    """Where users click on an instance, or why it has no numbers."""
    if isinstance(sample, data.Rejected):
      return sample
    without = lambda status, reason: data.Rejected(sample.instance, status, reason, sample.size)
    if not (sample.mask & ~sample.ignore).any():
      return without('skipped', 'every pixel of its object is ignored')
    sources: dict[str, rows.Given] = {}
    if self._clicks is not None:
      given = self._clicks.get(sample.instance, ())
      if given:
        try:
          placed = data.place(given, sample.size)
        except ValueError as error:
          return without('failed', f'clicks of the file: {error}')
        lines, names = [click.line for click in given], [click.user for click in given]
        sources[FILE] = rows.Given(placed.yx, placed.clamped, lines, names)
      elif not self._plan.priors and not self._plan.walks:
        return without('skipped', 'the file has no first click on it')
    return _Clicked(sample, sources | self._sampled(sample, canvas))

  def _sampled(self, sample: data.Sample, canvas: tuple[int, int]) -> dict[str, rows.Given]:
    """First clicks of sampled users, by prior."""
    plan, sources = self._plan, {}
    if not plan.priors:
      return {}
    legal = sample.mask & ~sample.ignore
    # In their canvas masks of all sizes share a program.
    batch, _ = data.stack([sample], canvas, 1)
    mask, ignore = np.asarray(batch.mask[0]), np.array(batch.ignore[0])
    ignore[sample.size[0] :] = True
    ignore[:, sample.size[1] :] = True
    centre = np.asarray(_robot_click(mask, ~ignore, np.asarray(batch.size[0])))
    depth = self.depth(mask & ~ignore)
    for prior in plan.priors:
      seed = plan.seed, data.instance_id(sample.instance), zlib.crc32(prior.encode())
      yx = sample_first(prior, plan.num_users, legal, depth, centre, seed)
      sources[prior] = rows.Given(yx, np.zeros(len(yx), bool))
    return sources

  def depth(self, legal: np.ndarray) -> np.ndarray | None:
    """`region.inner_depth` of (height, width) legal pixels; None where no prior asks for it."""
    if not set(self._plan.priors) & set(BY_DEPTH):
      return None
    return np.asarray(_inner_depth(legal))

  def need(self, canvas: tuple[int, int]) -> int | None:
    """As `Programs.need`, of a batch on a canvas (height, width) whose instances all users click.
    """
    plan, batch = self._plan, fitting.shapes(canvas, self._slots)
    most = max(map(len, (self._clicks or {}).values()), default=0)
    count = programs.slots_for(len(plan.priors) * plan.num_users + most, _FEWEST_SLOTS)
    yx = fitting.like(batch.id, count, 2, kind=np.float32)
    needs = [self.programs.need(_first, batch, yx, fitting.like(batch.id, count, kind=np.bool_))]
    if plan.walks:
      needs.append(self.programs.need(_walk, batch, **self._walking))
    return fitting.most_of(needs)

  @property
  def _walking(self) -> dict[str, Any]:
    """What the program of trajectories is asked for."""
    return {'walkers': tuple(self._plan.walks.values()), 'num_clicks': self._plan.num_clicks}

  def first(self, batch: types.Batch, clicks: Sequence[np.ndarray], say: Say) -> truth.Grid:
    """IoU of first clicks, (n, 2) of each real instance of the batch."""
    count = programs.slots_for(max(map(len, clicks)), _FEWEST_SLOTS)
    yx = np.zeros((len(batch.size), count, 2), np.float32)
    exists = np.zeros((len(batch.size), count), bool)
    for slot, some in enumerate(clicks):
      yx[slot, : len(some)] = some
      exists[slot, : len(some)] = True
    return self.programs.call(say, _first, batch, yx, exists)

  def walk(self, batch: types.Batch, say: Say) -> users.Walked | None:
    """Trajectories of the plan's users; None where there are none."""
    if not self._plan.walks:
      return None
    return self.programs.call(say, _walk, batch, **self._walking)

  def measure(self, given: _Asked, say: Say) -> loop.Found:
    """Evaluates the clicks of a batch."""
    first = self.first(given.batch, [one.yx for one in given.clicked], say)
    walked = self.walk(given.batch, say)
    made = [
      guard.row(self.kind, one.sample, functools.partial(self._row, one, slot, first, walked), say)
      for slot, one in enumerate(given.clicked)
    ]
    return loop.Found(made, sum(row['forward'] or 0 for row in made))

  def _row(
    self, one: _Clicked, slot: int, first: truth.Grid, walked: users.Walked | None
  ) -> loop.Row:
    scores = first.yx[slot], first.iou[slot], first.biou[slot]
    walks = {}
    if walked is not None:
      (yx, label), iou, biou = walked.clicks, walked.iou, walked.biou
      walks = {
        name: (yx[slot, lane], label[slot, lane], iou[slot, lane], biou[slot, lane])
        for lane, name in enumerate(self._plan.walks)
      }
    sample = one.sample
    return rows.users_row(
      sample.instance, sample.mask, one.sources, scores, walks, sample.warnings
    )

  def finish(self, found: loop.Found, say: Say) -> Sequence[loop.Row]:
    """The rows; nothing lies beside them."""
    del say
    return found.rows

  @functools.cached_property
  def _names(self) -> tuple[str, ...]:
    return self._dataset.names

  def content(self, index: int) -> str:
    """The clicks of a file on an instance."""
    clicks = (self._clicks or {}).get(self._names[index], ())
    return hashlib.sha256(repr(list(clicks)).encode()).hexdigest() if clicks else ''
