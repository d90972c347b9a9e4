"""The loop behind experiments.users: who clicks where, and what the model answers."""

from __future__ import annotations

import contextlib
import dataclasses
import time
import traceback
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import runner
from experiments.runner import listed
from tetris_jax import data, mesh, types
from tetris_jax import truth as grid
from tetris_jax import users as sampled_user
from tetris_jax.geometry import region, robot
from tetris_jax.report.users.summary import FILE
from tetris_jax.runs import rows
from tetris_jax.runs import workdirs as results
from tetris_jax.scores import priors

__all__ = ['BY_DEPTH', 'Evaluator', 'Plan', 'listed', 'run', 'sample_first']

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
  walks: Mapping[str, sampled_user.User]
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


class Evaluator:
  """First clicks and rounds of users, compiled once per shape, on all devices of this process.

  Attributes:
    plan: who clicks, apart from users of a file.
    compile_seconds: spent on compiling so far.
    programs: compiled in that time, one for first clicks and one for rounds of each shape.
  """

  def __init__(self, segmenter: types.Segmenter, plan: Plan):
    """Puts the parameters on the devices."""
    self.plan = plan
    self.compile_seconds = 0.0
    self.programs = 0
    self._devices = jax.local_devices()
    self._params = mesh.replicate(dict(segmenter.params), self._devices)
    self._key = jax.random.key(plan.seed)
    self._compiled: dict[Any, Callable[..., Any]] = {}
    users = list(plan.walks.values())

    def first(params: types.Params, given: Any, key: jax.Array) -> grid.Grid:
      del key
      return grid.at(segmenter.with_params(params), *given)

    def walk(params: types.Params, batch: types.Batch, key: jax.Array) -> sampled_user.Walked:
      used = segmenter.with_params(params)
      return sampled_user.walk(key, used, batch, users, plan.num_clicks)

    self._first, self._walk = (
      jax.jit(mesh.over_devices(one, self._devices)) for one in (first, walk)
    )
    self._centre = jax.jit(_robot_click)
    self._depth = jax.jit(region.inner_depth)

  def slots(self, batch_size: int) -> int:
    """The smallest batch that holds `batch_size` instances and divides over the devices."""
    return -(-batch_size // len(self._devices)) * len(self._devices)

  def centre(self, mask: np.ndarray, ignore: np.ndarray, size: np.ndarray) -> np.ndarray:
    """(2,) the robot user's first click on (height, width) masks in their canvas."""
    return np.asarray(self._centre(mask, ~ignore, size))

  def depth(self, legal: np.ndarray) -> np.ndarray | None:
    """`region.inner_depth` of (height, width) legal pixels; None where no prior asks for it."""
    if not set(self.plan.priors) & set(BY_DEPTH):
      return None
    return np.asarray(self._depth(legal))

  def _call(self, name: str, function: Any, given: Any) -> tuple[Any, float]:
    shape = name, tuple(leaf.shape for leaf in jax.tree.leaves(given))
    if shape not in self._compiled:
      start = time.perf_counter()
      self._compiled[shape] = function.lower(self._params, given, self._key).compile()
      self.compile_seconds += time.perf_counter() - start
      self.programs += 1
    start = time.perf_counter()
    found = jax.device_get(self._compiled[shape](self._params, given, self._key))
    return found, time.perf_counter() - start

  def first(
    self, batch: types.Batch, clicks: Sequence[np.ndarray]
  ) -> tuple[grid.Grid, float]:
    """IoU of first clicks, (n, 2) of each real instance of the batch, and the seconds taken."""
    count = _FEWEST_SLOTS
    while count < max(map(len, clicks)):
      count *= 2
    yx = np.zeros((len(batch.size), count, 2), np.float32)
    exists = np.zeros((len(batch.size), count), bool)
    for slot, some in enumerate(clicks):
      yx[slot, : len(some)] = some
      exists[slot, : len(some)] = True
    return self._call('first', self._first, (batch, yx, exists))

  def walk(self, batch: types.Batch) -> tuple[sampled_user.Walked | None, float]:
    """Trajectories of the plan's users, None where there are none, and the seconds taken."""
    return self._call('walk', self._walk, batch) if self.plan.walks else (None, 0.0)


def _robot_click(mask: jax.Array, valid: jax.Array, size: jax.Array) -> jax.Array:
  nothing = types.Clicks(jnp.zeros((1, 2), jnp.float32), jnp.full((1,), types.EMPTY, jnp.int32))
  return robot.next_click(mask, jnp.zeros_like(mask), valid, nothing, size)[0]


def _empty(
  instance: str, status: str, reason: str, size: tuple[int, int] | None
) -> dict[str, Any]:
  """The row of an instance without numbers."""
  named = rows.empty_row(instance, status, reason, size)
  named = {key: named[key] for key in ('instance', 'status', 'reason', 'size')}
  keys = ('robot', 'users', 'trajectories', 'forward', 'backward')
  return named | dict.fromkeys(keys)


@dataclasses.dataclass(frozen=True)
class _Asked:
  """First clicks on one instance.

  Attributes:
    sample: the instance.
    sources: name -> clicks (n, 2), which of them were clamped (n,), and lines and users of a file.
  """

  sample: data.Sample
  sources: Mapping[str, tuple[np.ndarray, np.ndarray, list[int] | None, list[str] | None]]

  @property
  def yx(self) -> np.ndarray:
    """All clicks, (n, 2)."""
    clicks = [yx for yx, *_ in self.sources.values()]
    return np.concatenate([np.zeros((0, 2), np.float32), *clicks])


class _Run:
  """What becomes of one group of instances."""

  def __init__(
    self,
    dataset: data.Dataset,
    evaluator: Evaluator,
    batch_size: int,
    clicks: Mapping[str, Sequence[data.UserClick]] | None,
  ):
    self.dataset, self.evaluator, self.clicks = dataset, evaluator, clicks
    self.slots = evaluator.slots(batch_size)

  def ask(self, index: int, canvas: tuple[int, int]) -> _Asked | dict[str, Any]:
    """Where the users click on an instance, or its row if it has no numbers."""
    sample = self.dataset[index]
    if isinstance(sample, data.Rejected):
      return _empty(sample.instance, sample.status, sample.reason, sample.size)
    name, plan = sample.instance, self.evaluator.plan
    legal = sample.mask & ~sample.ignore
    if not legal.any():
      return _empty(name, 'skipped', 'every pixel of its object is ignored', sample.size)
    sources: dict[str, Any] = {}
    if self.clicks is not None:
      given = self.clicks.get(name, ())
      if given:
        try:
          placed = data.place(given, sample.size)
        except ValueError as error:
          return _empty(name, 'failed', f'clicks of the file: {error}', sample.size)
        lines, users = [click.line for click in given], [click.user for click in given]
        sources[FILE] = placed.yx, placed.clamped, lines, users
      elif not plan.priors and not plan.walks:
        return _empty(name, 'skipped', 'the file has no first click on it', sample.size)
    if plan.priors:
      batch, _ = data.stack([sample], canvas, 1)
      mask, ignore = np.asarray(batch.mask[0]), np.array(batch.ignore[0])
      ignore[sample.size[0] :] = True
      ignore[:, sample.size[1] :] = True
      centre = self.evaluator.centre(mask, ignore, np.asarray(batch.size[0]))
      # In their canvas masks of all sizes share a program.
      depth = self.evaluator.depth(mask & ~ignore)
      for prior in plan.priors:
        seed = plan.seed, data.instance_id(name), zlib.crc32(prior.encode())
        yx = sample_first(prior, plan.num_users, legal, depth, centre, seed)
        sources[prior] = yx, np.zeros(len(yx), bool), None, None
    return _Asked(sample, sources)

  def shard(self, group: data.Group) -> results.Shard:
    """Rows of a group and its facts."""
    facts: dict[str, Any] = {
      'seconds': 0.0, 'compile_seconds': 0.0, 'programs': 0, 'evaluations': 0
    }
    made: list[dict[str, Any]] = []
    asked: list[_Asked] = []
    for index in group.indices:
      found = self.ask(index, group.canvas)
      if isinstance(found, _Asked):
        asked.append(found)
      else:
        made.append(found)
    if asked:
      before, programs = self.evaluator.compile_seconds, self.evaluator.programs
      batch, _ = data.stack([one.sample for one in asked], group.canvas, self.slots)
      first, seconds = self.evaluator.first(batch, [one.yx for one in asked])
      walked, more = self.evaluator.walk(batch)
      made += [self.row(one, slot, first, walked) for slot, one in enumerate(asked)]
      facts['seconds'] = seconds + more
      facts['compile_seconds'] = self.evaluator.compile_seconds - before
      facts['programs'] = self.evaluator.programs - programs
      facts['evaluations'] = sum(row['forward'] or 0 for row in made)
    by_name = {row['instance']: row for row in made}
    return results.Shard([by_name[self.dataset.names[index]] for index in group.indices], facts)

  def row(
    self, asked: _Asked, slot: int, first: grid.Grid, walked: sampled_user.Walked | None
  ) -> dict[str, Any]:
    """The row of a measured instance."""
    sample, plan = asked.sample, self.evaluator.plan
    iou, biou = np.asarray(first.iou[slot]), np.asarray(first.biou[slot])
    used = 1 + len(asked.yx)
    scores = [iou[:used], biou[:used]]
    if walked is not None:
      scores += [np.asarray(walked.iou[slot]).ravel(), np.asarray(walked.biou[slot]).ravel()]
    if not all(np.isfinite(some).all() for some in scores):
      reason = 'IoU of a click is not a finite number'
      return _empty(sample.instance, 'failed', reason, sample.size)
    users, start = {}, 1
    for name, (yx, clamped, lines, names) in asked.sources.items():
      end = start + len(yx)
      at = np.rint(yx).astype(int)
      on_object = sample.mask[at[:, 0], at[:, 1]]
      users[name] = {
        'yx': rows.floats(yx),
        'iou': rows.floats(iou[start:end]),
        'biou': rows.floats(biou[start:end]),
        'on_object': on_object.tolist(),
        'clamped': clamped.tolist(),
        **({} if lines is None else {'line': lines, 'user': names}),
      }
      start = end
    walks = {}
    for lane, name in enumerate(plan.walks if walked is not None else ()):
      assert walked is not None
      yx, label = np.asarray(walked.clicks.yx)[slot, lane], np.asarray(walked.clicks.label)
      clicks = zip(rows.floats(yx), label[slot, lane].tolist(), strict=True)
      walks[name] = {
        'iou': rows.floats(walked.iou[slot, lane]),
        'biou': rows.floats(walked.biou[slot, lane]),
        'clicks': [[*position, sign] for position, sign in clicks],
      }
    return {
      'instance': sample.instance,
      'status': 'ok',
      'reason': '',
      'size': [int(side) for side in sample.size],
      'robot': {
        'yx': rows.floats(first.yx[slot, 0]),
        'iou': rows.floats(iou[0]),
        'biou': rows.floats(biou[0]),
      },
      'users': users,
      'trajectories': walks,
      'forward': used + len(walks) * plan.num_clicks,
      'backward': 0,
    }

  def failed(self, group: data.Group, error: Exception) -> results.Shard:
    """A shard that says why a group raised; resuming the run tries it again."""
    reason = runner.reason_of(error)
    made = [
      _empty(self.dataset.names[index], 'failed', reason, self.dataset.size(index))
      for index in group.indices
    ]
    facts = {'seconds': 0.0, 'compile_seconds': 0.0, 'evaluations': 0, 'raised': True}
    return results.Shard(made, facts)


def run(
  dataset: data.Dataset,
  evaluator: Evaluator,
  workdir: results.Workdir,
  batch_size: int,
  clicks: Mapping[str, Sequence[data.UserClick]] | None,
  shard: tuple[int, int] = (0, 1),
) -> tuple[list[Mapping[str, Any]], dict[str, float]]:
  """Evaluates every instance of a shard that has no row yet and merges its rows.

  Args:
    dataset: the instances.
    evaluator: who clicks, and the model.
    workdir: where shards are.
    batch_size: instances evaluated at once.
    clicks: of a file, by instance; None without one.
    shard: its number, and how many there are; see `experiments.runner.run`.

  Returns:
    The rows in data set order, and totals as of `experiments.runner.run`.

  Raises:
    results.WorkdirError: something cannot be written, or the shards are of other instances.
  """
  groups, unsized = data.plan(dataset, batch_size)
  order = dataset.names
  mine = range(shard[0], len(groups), shard[1])
  unsized = unsized if shard[0] == 0 else ()
  this = _Run(dataset, evaluator, batch_size, clicks)
  names = {number: [order[index] for index in groups[number].indices] for number in mine}
  done, progress = runner.resume(workdir, names, len(unsized))
  with contextlib.closing(progress):
    for number in mine:
      if number in done:
        continue
      try:
        made = this.shard(groups[number])
      except Exception as error:  # Whatever it is, it ends as rows with a reason.
        progress.say(''.join(traceback.format_exception(error)).rstrip())
        made = this.failed(groups[number], error)
      workdir.write_shard(number, made)
      done[number] = made
      progress.advance(len(names[number]), made.facts['evaluations'], made.facts['seconds'])
  beside = runner.unsized_rows(dataset, unsized, _empty)
  return runner.merge(workdir, order, done, beside, shard[1])
