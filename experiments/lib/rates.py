"""Rates of the bare decoder, of the encoder, of a heat map and of the whole attack on one batch.

The bare decoder is timed as an attack uses it, many evaluations in one program, with the Dice loss
behind it and nothing else: no search, no legal region, no metric.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

import tetris_jax
from experiments.lib import memory, timing
from tetris_jax import data, presets, types
from tetris_jax import truth as grid
from tetris_jax.geometry import objectives, overlap

__all__ = [
  'MAP_STRIDE',
  'STEPS',
  'WAYS',
  'Spent',
  'attack',
  'decoders',
  'encoder',
  'first_batch',
  'measure',
]

STEPS = 8
"""Evaluations of a row in one program."""
MAP_STRIDE = 8
"""Rows and columns between the positions of a timed heat map, in pixels."""
WAYS = {'one_at_a_time': True, 'together': False}
"""How rows go through the decoder, and whether that is one by one."""


def first_batch(
  dataset: Iterable[data.Sample | data.Rejected], batch_size: int
) -> types.Batch | None:
  """The first instances that share a canvas with the first one; None where none can be read."""
  samples = [entry for entry in dataset if isinstance(entry, data.Sample)]
  if not samples:
    return None
  first = data.canvas_for(samples[0].size)
  fitting = [s for s in samples if data.canvas_for(s.size) == first][:batch_size]
  return data.stack(fitting, first, batch_size)[0]


def _decoder(
  segmenter: types.Segmenter, num_clicks: int, gradient: bool, one_by_one: bool
) -> Callable[..., Any]:
  """A program that decodes every row `STEPS` times, each time at another last click."""

  def value(params, context, clicks, mask, inside, yx):
    at = clicks._replace(yx=jnp.asarray(clicks.yx).at[num_clicks - 1].set(yx))
    logits, _ = segmenter.decode(params, context, at)
    return objectives.dice_loss(logits, mask, inside)

  one = jax.value_and_grad(value, argnums=5) if gradient else value

  def program(params, context, clicks, mask, inside):
    def step(yx, _):
      rows = (context, clicks, mask, inside, yx)
      if one_by_one:
        found = lax.map(lambda row: one(params, *row), rows)
      else:
        found = jax.vmap(functools.partial(one, params))(*rows)
      return yx + 1, found

    start = jnp.asarray(clicks.yx)[:, num_clicks - 1]
    return lax.scan(step, start, length=STEPS)[1]

  return program


class Spent(NamedTuple):
  """Evaluations of an instance, and of these those with gradient."""

  forward: int
  backward: int

  def bare(self, decoder: Mapping[str, float], what: str = 'seconds') -> float:
    """What the bare decoder takes for as many evaluations."""
    plain = (self.forward - self.backward) * decoder[f'forward_{what}']
    return plain + self.backward * decoder[f'value_and_grad_{what}']


def attack(
  segmenter: types.Segmenter,
  params: types.Params,
  config: presets.AttackConfig,
  batch: types.Batch,
  repeats: int,
) -> tuple[dict[str, Any], Spent, Any]:
  """Rates of the whole attack, what an instance of it takes, and its result without masks."""
  size = len(batch.size)

  def whole(params, batch):
    return tetris_jax.attack(segmenter.with_params(params), batch, config)._replace(mask=None)

  seconds, facts, result = timing.timed(whole, (params, batch), repeats)
  spent = Spent(int(result.forward[0]), int(result.backward[0]))
  found = facts | {
    'seconds_per_instance': round(seconds / size, 4),
    'instances_per_minute': round(60 * size / seconds, 3),
    'forward': spent.forward,
    'backward': spent.backward,
    'evaluations_per_second': round(size * spent.forward / seconds, 2),
  }
  return found, spent, result


def encoder(
  segmenter: types.Segmenter, params: types.Params, batch: types.Batch, repeats: int
) -> tuple[dict[str, Any], Any]:
  """The time of encoding the batch, and its features."""
  encode = jax.vmap(segmenter.encode, (None, 0, 0))
  seconds, facts, features = timing.timed(encode, (params, batch.image, batch.size), repeats)
  return facts | {'seconds_per_instance': round(seconds / len(batch.size), 4)}, features


def decoders(
  segmenter: types.Segmenter,
  params: types.Params,
  features: Any,
  batch: types.Batch,
  num_clicks: int,
  repeats: int,
  ways: Mapping[str, bool] = WAYS,
) -> dict[str, dict[str, float]]:
  """The time of an evaluation of the bare decoder, in each of these `WAYS`."""
  size = len(batch.size)
  # As many rows as the attack searches: MIN and MAX of each instance.
  twice = lambda x: jnp.repeat(jnp.asarray(x), 2, axis=0)
  features, mask, extent = jax.tree.map(twice, (features, batch.mask, batch.size))

  @jax.jit
  def prepare(params, features):
    state = jax.vmap(segmenter.init, (None, 0))(params, features)
    return jax.vmap(segmenter.prepare, (None, 0, 0))(params, features, state)

  context = prepare(params, features)
  inside = overlap.inside_image(extent, mask.shape)
  middle = (extent[:, None] / 2).astype(jnp.float32)
  clicks = types.Clicks(
    jnp.repeat(middle, num_clicks, axis=1), jnp.ones((2 * size, num_clicks), jnp.int32)
  )
  bare: dict[str, dict[str, float]] = {}
  for rows, one_by_one in ways.items():
    bare[rows] = {}
    for name, gradient in (('forward', False), ('value_and_grad', True)):
      program = _decoder(segmenter, num_clicks, gradient, one_by_one)
      seconds, facts, _ = timing.timed(program, (params, context, clicks, mask, inside), repeats)
      bare[rows][f'{name}_seconds'] = round(seconds / (STEPS * 2 * size), 6)
      facts['cpu_seconds'] = round(facts['cpu_seconds'] / (STEPS * 2 * size), 6)
      bare[rows] |= {f'{name}_{fact}': value for fact, value in facts.items()}
  return bare


def _map(
  segmenter: types.Segmenter, params: Any, batch: types.Batch, repeats: int
) -> dict[str, Any]:
  """The time of a heat map: the first instance's legal pixels of every `MAP_STRIDE`-th row."""
  one = jax.tree.map(lambda x: x[:1], batch)
  legal = jnp.asarray(one.mask[0]) & ~jnp.asarray(one.ignore[0])
  stride = jnp.full(1, MAP_STRIDE, jnp.int32)
  count = int(jnp.sum(grid.lattice(legal, stride[0]))) + 1

  def whole(params, batch):
    return grid.grid(segmenter.with_params(params), batch, stride, count)

  seconds, facts, result = timing.timed(whole, (params, one), repeats)
  positions = int(jnp.sum(result.exists))
  return facts | {
    'stride': MAP_STRIDE,
    'positions': positions,
    'seconds': round(seconds, 4),
    'seconds_per_position': round(seconds / positions, 6),
  }


def measure(
  segmenter: types.Segmenter,
  config: presets.AttackConfig,
  batch: types.Batch,
  repeats: int,
) -> dict[str, Any]:
  """Rates of one batch size.

  Args:
    segmenter: the model.
    config: the preset whose attack is timed.
    batch: the instances.
    repeats: timed calls of each program.

  Returns:
    By name: seconds per forward and per value-and-gradient of the bare decoder, one row at a time
    and all rows together; seconds per instance of the attack; both rates in evaluations per second;
    the share of the bare decoder's rate that the attack reaches, on a CPU also by the seconds of
    processor time that both take; seconds per instance of the encoder, which an attack runs once;
    and the seconds per position of a heat map, encoding included, also as a multiple of a bare
    forward. Compile times and the memory that a program needs beside its arguments stand with each;
    the peaks are the process's so far. Where memory runs out, "failed" says so and nothing else is
    there but the batch.
  """
  size = len(batch.size)
  found: dict[str, Any] = {'batch_size': size, 'canvas': list(batch.mask.shape[1:])}
  try:
    return found | _rates(segmenter, config, batch, repeats)
  except (MemoryError, jax.errors.JaxRuntimeError) as error:
    if not memory.ran_out(error):
      raise
    return found | {'failed': str(memory.explained(error, size))}


def _rates(
  segmenter: types.Segmenter, config: presets.AttackConfig, batch: types.Batch, repeats: int
) -> dict[str, Any]:
  params = jax.device_put(dict(segmenter.params))
  found: dict[str, Any] = {}
  found['attack'], spent, _ = attack(segmenter, params, config, batch, repeats)
  found['encoder'], features = encoder(segmenter, params, batch, repeats)
  bare = decoders(segmenter, params, features, batch, config.num_clicks, repeats)
  found['decoder'] = bare
  found['map'] = _map(segmenter, params, batch, repeats)
  quickest = min(rows['forward_seconds'] for rows in bare.values())
  found['map']['times_of_decoder'] = round(found['map']['seconds_per_position'] / quickest, 3)
  best = min(spent.bare(rows) for rows in bare.values())
  found['decoder_evaluations_per_second'] = round(spent.forward / best, 2)
  found['share_of_decoder'] = round(best / found['attack']['seconds_per_instance'], 3)
  if jax.default_backend() == 'cpu':
    least = min(spent.bare(rows, 'cpu_seconds') for rows in bare.values())
    used = found['attack']['cpu_seconds'] / len(batch.size)
    found['share_of_decoder_by_cpu_seconds'] = round(least / used, 3)
  return found | timing.peak_mib()
