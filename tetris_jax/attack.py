"""The entry point: MIN, BASE and MAX trajectories of a batch, in one traceable function."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from tetris_jax import beams, trajectory
from tetris_jax.scene import full_precision
from tetris_jax.types import LARGEST_SIDE, AttackConfig, Batch, Clicks, Segmenter, Trajectories

__all__ = ['attack', 'replay']

SEARCHES = ('none', 'local', 'global')


def _collect(found: trajectory.Round, forward: int, backward: int) -> Trajectories:
  def rounds_last(x):
    return jnp.moveaxis(x, 0, 2)

  batch = found.iou.shape[1]
  return Trajectories(
    Clicks(rounds_last(found.yx), rounds_last(found.label)),
    rounds_last(found.iou),
    rounds_last(found.biou),
    rounds_last(found.mask),
    jnp.full((batch,), forward, jnp.int32),
    jnp.full((batch,), backward, jnp.int32),
  )


def _check(batch: Batch) -> None:
  height, width = batch.mask.shape[1:]
  if max(height, width) > LARGEST_SIDE:
    raise ValueError(
      f'a canvas of {height} x {width} pixels; sides up to {LARGEST_SIDE} are exact, so larger '
      'images have to be shrunk'
    )


def _at_once(given: int | None) -> int | None:
  # A CPU is fastest with one row at a time, which stays in its caches.
  if given is None:
    return 1 if jax.default_backend() == 'cpu' else None
  if given < 1:
    raise ValueError(f'at_once is {given}; at least 1 row is evaluated at a time')
  return given


def attack(
  segmenter: Segmenter,
  batch: Batch,
  config: AttackConfig,
  key: jax.Array | None = None,
  at_once: int | None = None,
) -> Trajectories:
  """Searches the clicks that lower and raise IoU, beside the robot user's.

  Pure and traceable: call it under `jax.jit`, with the segmenter's parameters as arguments of the
  jitted function (as constants they would be folded into the program). Every image is encoded
  once for all trajectories. What is reported of a click is the evaluation of `replay`, so the
  clicks alone restore it. Products are traced at precision "highest", unless JAX was configured
  otherwise: the parity of the ports holds for float32.

  Args:
    segmenter: the model.
    batch: padded instances.
    config: a preset, or settings of one's own.
    key: for searches that draw at random, folded with each instance's id; the presets named draw
      nothing.
    at_once: rows (an instance's trajectory each) that go through the decoder together, which
      bounds memory; at most so many, for they have to divide the rows evenly. Default: one on a
      CPU, all elsewhere.

  Returns:
    Trajectories of modes "base", "min" and "max", or of "base" alone with `search` "none".

  Raises:
    ValueError: unknown search, settings out of range, or a canvas with a side above
      `LARGEST_SIDE`.
  """
  del key
  if config.search not in SEARCHES:
    raise ValueError(f'search is {config.search!r}; known: {", ".join(SEARCHES)}')
  if config.num_clicks < 1 or config.num_steps < 1:
    raise ValueError(
      f'num_clicks is {config.num_clicks} and num_steps {config.num_steps}; both are at least 1'
    )
  if config.search != 'global' and (config.num_beams != 1 or config.depth):
    raise ValueError(
      f'num_beams is {config.num_beams} and depth {config.depth}, but search {config.search!r}; '
      'they are settings of a global search'
    )
  _check(batch)
  at_once = _at_once(at_once)
  with full_precision():
    scene = trajectory.look(segmenter, batch, at_once)
    if config.search == 'global':
      found, tried, outlook = beams.run(segmenter, scene, config, at_once)
      made = _collect(found, beams.evaluations(config), 0)
      return made._replace(tried=tried, outlook=outlook)
    found, norms = trajectory.run(segmenter, scene, config, at_once)
  if config.search == 'none':
    return _collect(found, config.num_clicks, 0)
  # Two searches of num_steps, the last step of each without a gradient; three evaluations that
  # are kept.
  forward = config.num_clicks * (2 * config.num_steps + 3)
  if config.num_steps == 1:
    forward = config.num_clicks * 3
  made = _collect(found, forward, config.num_clicks * 2 * (config.num_steps - 1))
  return made if norms is None or config.num_steps == 1 else made._replace(gradient=norms[0])


def replay(
  segmenter: Segmenter, batch: Batch, clicks: Clicks, at_once: int | None = None
) -> Trajectories:
  """Evaluates clicks from the first round on, as `attack` reports them.

  Args:
    segmenter: the model.
    batch: padded instances.
    clicks: yx (batch, modes, num_clicks, 2) float32 and label (batch, modes, num_clicks) int32.
    at_once: as for `attack`.

  Returns:
    Trajectories of these clicks.

  Raises:
    ValueError: `at_once` below 1, or a canvas with a side above `LARGEST_SIDE`.
  """
  clicks = Clicks(jnp.asarray(clicks.yx), jnp.asarray(clicks.label))
  _check(batch)
  at_once = _at_once(at_once)
  with full_precision():
    scene = trajectory.look(segmenter, batch, at_once)
    found = trajectory.follow(segmenter, scene, clicks, at_once)
  modes, rounds = clicks.label.shape[1:]
  return _collect(found, modes * rounds, 0)
