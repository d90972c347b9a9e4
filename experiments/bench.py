"""Measures evaluations per second of the bare decoder and of the whole attack, and memory.

  python -m experiments.bench --batch_sizes=1,2,4 --num_clicks=3
  python -m experiments.bench --model=ritm_h18s_it_cl --weights=PATH --zoom=fixed --num_clicks=3
  python -m experiments.bench --what=renderer

The bare decoder is timed as an attack uses it, many evaluations in one program, with the Dice loss
behind it and nothing else: no search, no legal region, no metric. --what=renderer times the drawing
of clicks as maps, 20 clicks of 64 trajectories at 400x400, and needs no model. One JSON object is
printed, and written to --out where that is given. Compile times stand apart. Model, data set and
preset are chosen by the flags of experiments.attack.
"""

from __future__ import annotations

import functools
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from absl import app, flags
from jax import lax

import tetris_jax
from experiments import attack, launch, renderer, timing
from tetris_jax import data, presets, types
from tetris_jax import truth as grid
from tetris_jax.geometry import objectives, overlap

__all__ = ['bench', 'main', 'measure', 'measure_renderer']

STEPS = 8
MAP_STRIDE = 8


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


def _batch(dataset: data.Dataset, batch_size: int) -> types.Batch:
  samples = [entry for entry in dataset if isinstance(entry, data.Sample)]
  if not samples:
    raise launch.UsageError(f'--dataset={dataset.name}: no instance can be read')
  first = data.canvas_for(samples[0].size)
  fitting = [s for s in samples if data.canvas_for(s.size) == first][:batch_size]
  return data.stack(fitting, first, batch_size)[0]


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


def bench(
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
    the peaks are the process's so far.
  """
  size = len(batch.size)
  canvas = batch.mask.shape[1:]
  found: dict[str, Any] = {'batch_size': size, 'canvas': list(canvas)}
  params = jax.device_put(dict(segmenter.params))

  def whole(params, batch):
    return tetris_jax.attack(segmenter.with_params(params), batch, config)._replace(mask=None)

  seconds, facts, result = timing.timed(whole, (params, batch), repeats)
  forward, backward = int(result.forward[0]), int(result.backward[0])
  found['attack'] = facts | {
    'seconds_per_instance': round(seconds / size, 4),
    'instances_per_minute': round(60 * size / seconds, 3),
    'forward': forward,
    'backward': backward,
    'evaluations_per_second': round(size * forward / seconds, 2),
  }

  # As many rows as the attack searches: MIN and MAX of each instance.
  encode = jax.vmap(segmenter.encode, (None, 0, 0))
  seconds, facts, features = timing.timed(encode, (params, batch.image, batch.size), repeats)
  found['encoder'] = facts | {'seconds_per_instance': round(seconds / size, 4)}
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
    jnp.repeat(middle, config.num_clicks, axis=1),
    jnp.ones((2 * size, config.num_clicks), jnp.int32),
  )
  bare: dict[str, dict[str, float]] = {}
  for rows, one_by_one in (('one_at_a_time', True), ('together', False)):
    bare[rows] = {}
    for name, gradient in (('forward', False), ('value_and_grad', True)):
      program = _decoder(segmenter, config.num_clicks, gradient, one_by_one)
      seconds, facts, _ = timing.timed(program, (params, context, clicks, mask, inside), repeats)
      bare[rows][f'{name}_seconds'] = round(seconds / (STEPS * 2 * size), 6)
      facts['cpu_seconds'] = round(facts['cpu_seconds'] / (STEPS * 2 * size), 6)
      bare[rows] |= {f'{name}_{fact}': value for fact, value in facts.items()}
  found['decoder'] = bare
  found['map'] = _map(segmenter, params, batch, repeats)
  quickest = min(rows['forward_seconds'] for rows in bare.values())
  found['map']['times_of_decoder'] = round(found['map']['seconds_per_position'] / quickest, 3)

  def needed(rows: dict[str, float], what: str = 'seconds') -> float:
    values = forward - backward
    return values * rows[f'forward_{what}'] + backward * rows[f'value_and_grad_{what}']

  best = min(needed(rows) for rows in bare.values())
  found['decoder_evaluations_per_second'] = round(forward / best, 2)
  found['share_of_decoder'] = round(best / found['attack']['seconds_per_instance'], 3)
  if jax.default_backend() == 'cpu':
    least = min(needed(rows, 'cpu_seconds') for rows in bare.values())
    used = found['attack']['cpu_seconds'] / size
    found['share_of_decoder_by_cpu_seconds'] = round(least / used, 3)
  return found | timing.peak_mib()


def _check_repeats(repeats: int) -> None:
  if repeats < 1:
    raise launch.UsageError(f'--repeats={repeats}: expected at least 1')


def _check_out(out: str | None) -> None:
  try:
    if out:
      pathlib.Path(out).write_text('')
  except OSError as error:
    raise launch.UsageError(f'--out={out}: {error.strerror}') from error


def measure_renderer(repeats: int, out: str | None) -> dict[str, Any]:
  """Time and memory of drawing clicks, with the device and the versions; flags as for `measure`.

  Raises:
    launch.UsageError: a flag or the file cannot be used.
  """
  _check_repeats(repeats)
  _check_out(out)
  return {'what': 'renderer', **timing.machine(), 'results': renderer.bench(repeats)}


def measure(
  settings: attack.Settings, batch_sizes: Sequence[str], repeats: int, out: str | None
) -> dict[str, Any]:
  """Rates of every batch size, with the device and the versions.

  Args:
    settings: model, data set, preset and clicks, as for experiments.attack.
    batch_sizes: whole numbers of at least 1, as written on the command line.
    repeats: timed calls of each program, at least 1.
    out: a file that will be written, checked before anything is timed; or None.

  Raises:
    launch.UsageError: a flag, the data, the weights or the file cannot be used.
  """
  asked = ','.join(batch_sizes)
  if not all(size.isdigit() and int(size) for size in batch_sizes) or not asked:
    raise launch.UsageError(f'--batch_sizes={asked}: expected whole numbers of at least 1')
  _check_repeats(repeats)
  config, settings = attack.open_preset(settings)
  dataset = attack.open_dataset(settings)
  batches = [_batch(dataset, int(size)) for size in batch_sizes]
  _check_out(out)
  segmenter = attack.open_segmenter(settings)
  return {
    'model': segmenter.info.name,
    'preset': config.name,
    'num_clicks': config.num_clicks,
    **timing.machine(),
    'results': [bench(segmenter, config, batch, repeats) for batch in batches],
  }


def main(argv: Sequence[str]) -> None:
  """Entry point of absl; exits with 0, or 2 where a flag, the data or the weights are unusable."""
  launch.exit_with(argv, _run, resumes=False)


def _run() -> int:
  names = ('batch_sizes', 'repeats', 'out')
  values: dict[str, Any] = {name: flags.FLAGS[name].value for name in names}
  if flags.FLAGS['what'].value == 'renderer':
    report = measure_renderer(values['repeats'], values['out'])
  else:
    report = measure(attack.settings_of_flags(), **values)
  text = json.dumps(report, indent=2)
  print(text)
  if values['out']:
    pathlib.Path(values['out']).write_text(text + '\n')
  return 0


if __name__ == '__main__':
  flags.DEFINE_enum(
    'what', 'attack', ['attack', 'renderer'], 'An attack and its decoder, or the click maps.'
  )
  flags.DEFINE_list('batch_sizes', ['1', '2'], 'Instances attacked at once.')
  flags.DEFINE_integer('repeats', 3, 'Timed calls; the median counts.')
  flags.DEFINE_string('out', None, 'File for the JSON.')
  app.run(main)
