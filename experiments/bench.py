"""Measures evaluations per second of the bare decoder and of the whole attack, and memory.

  python -m experiments.bench --batch_sizes=1,2,4 --num_clicks=3

The bare decoder is timed as an attack uses it, many evaluations in one program, with the Dice loss
behind it and nothing else: no search, no legal region, no metric. One JSON object is printed, and
written to --out where that is given. Compile times stand apart.
"""

from __future__ import annotations

import functools
import json
import pathlib
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp
from absl import app, flags, logging
from jax import lax

import tetris_jax
from ports import errors, zoo
from tetris_jax import data, objectives, presets, types

__all__ = ['bench', 'main']

flags.DEFINE_string('model', 'mobile_sam', 'Model of the zoo.')
flags.DEFINE_string('weights', None, 'File with the weights; see experiments.attack.')
flags.DEFINE_string('zoom', None, 'Of models that read click maps; see experiments.attack.')
flags.DEFINE_string('dataset', 'samples', f'One of {", ".join(data.DATASETS)}.')
flags.DEFINE_string('data_dir', None, 'Folder of --dataset=folder.')
flags.DEFINE_string('preset', 'tetris', 'Named attack.')
flags.DEFINE_integer('num_clicks', 3, 'Rounds of a trajectory.')
flags.DEFINE_list('batch_sizes', ['1', '2'], 'Instances attacked at once.')
flags.DEFINE_integer('repeats', 3, 'Timed calls; the median counts.')
flags.DEFINE_string('out', None, 'File for the JSON.')

STEPS = 8


def _timed(
  function: Callable[..., Any], args: tuple[Any, ...], repeats: int
) -> tuple[float, dict[str, float]]:
  """Median seconds of a call, and what compiling took and needs."""
  start = time.perf_counter()
  compiled = jax.jit(function).lower(*args).compile()
  facts = {'compile_seconds': round(time.perf_counter() - start, 2)}
  memory = compiled.memory_analysis()
  if memory is not None:
    facts['temporary_mib'] = round(memory.temp_size_in_bytes / 2**20, 1)
  jax.block_until_ready(compiled(*args))
  seconds = []
  for _ in range(repeats):
    start = time.perf_counter()
    jax.block_until_ready(compiled(*args))
    seconds.append(time.perf_counter() - start)
  return statistics.median(seconds), facts


def _decoder(
  segmenter: types.Segmenter, num_clicks: int, gradient: bool, one_by_one: bool
) -> Callable[..., Any]:
  """A program that decodes every row `STEPS` times, each time at another last click."""

  def value(params, context, clicks, mask, inside, yx):
    at = clicks._replace(yx=jnp.asarray(clicks.yx).at[num_clicks - 1].set(yx))
    logits, _ = segmenter.decode(params, context, at)
    return objectives.dice_loss(logits, mask, inside)

  one = jax.value_and_grad(value, argnums=5) if gradient else value

  def program(params, features, clicks, mask, inside):
    state = jax.vmap(segmenter.init, (None, 0))(params, features)
    context = jax.vmap(segmenter.prepare, (None, 0, 0))(params, features, state)

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
  samples = [entry for entry in (dataset[i] for i in range(len(dataset)))
             if isinstance(entry, data.Sample)]
  first = data.canvas_for(samples[0].size)
  fitting = [s for s in samples if data.canvas_for(s.size) == first][:batch_size]
  return data.stack(fitting, first, batch_size)[0]


def bench(
  segmenter: types.Segmenter,
  config: types.AttackConfig,
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
    and the share of the bare decoder's rate that the attack reaches.
  """
  size = len(batch.size)
  canvas = batch.mask.shape[1:]
  found: dict[str, Any] = {'batch_size': size, 'canvas': list(canvas)}
  params = jax.device_put(dict(segmenter.params))

  def attack(params, batch):
    return tetris_jax.attack(segmenter._replace(params=params), batch, config)._replace(mask=None)

  seconds, facts = _timed(attack, (params, batch), repeats)
  result = jax.device_get(jax.jit(attack)(params, batch))
  forward, backward = int(result.forward[0]), int(result.backward[0])
  found['attack'] = facts | {
    'seconds_per_instance': round(seconds / size, 4),
    'instances_per_minute': round(60 * size / seconds, 3),
    'forward': forward,
    'backward': backward,
    'evaluations_per_second': round(size * forward / seconds, 2),
  }

  # As many rows as the attack searches: MIN and MAX of each instance.
  encode = jax.jit(jax.vmap(segmenter.encode, (None, 0, 0)))
  features = encode(params, batch.image, batch.size)
  twice = lambda x: jnp.repeat(jnp.asarray(x), 2, axis=0)
  features, mask, extent = jax.tree.map(twice, (features, batch.mask, batch.size))
  inside = jax.vmap(lambda s: (jnp.arange(canvas[0])[:, None] < s[0])
                    & (jnp.arange(canvas[1])[None] < s[1]))(extent)
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
      seconds, facts = _timed(program, (params, features, clicks, mask, inside), repeats)
      each = seconds / (STEPS * 2 * size)
      bare[rows][f'{name}_seconds'] = round(each, 6)
      bare[rows][f'{name}_temporary_mib'] = facts.get('temporary_mib', float('nan'))
  found['decoder'] = bare

  def needed(rows: dict[str, float]) -> float:
    values = forward - backward
    return values * rows['forward_seconds'] + backward * rows['value_and_grad_seconds']

  best = min(needed(rows) for rows in bare.values())
  found['decoder_evaluations_per_second'] = round(forward / best, 2)
  found['share_of_decoder'] = round(best / found['attack']['seconds_per_instance'], 3)
  return found


def _version(package: str) -> str:
  try:
    return metadata.version(package)
  except metadata.PackageNotFoundError:
    return 'not installed'


def _peak_mib() -> dict[str, float]:
  host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  host_mib = host / 2**20 if sys.platform == 'darwin' else host / 2**10
  found = {'host_peak_mib': round(host_mib, 1)}
  stats = jax.devices()[0].memory_stats()
  if stats and 'peak_bytes_in_use' in stats:
    found['device_peak_mib'] = round(stats['peak_bytes_in_use'] / 2**20, 1)
  return found


def main(argv: Sequence[str]) -> None:
  """Entry point of absl; exits with 0, or 2 where a flag, the data or the weights are unusable."""
  if not flags.FLAGS['verbosity'].present:
    logging.set_verbosity(logging.WARNING)
  try:
    if len(argv) > 1:
      raise ValueError(f'unexpected argument {argv[1]!r}; flags are given as --name=value')
    names = ['model', 'weights', 'zoom', 'dataset', 'data_dir', 'preset', 'num_clicks']
    names += ['repeats', 'out', 'batch_sizes']
    values: dict[str, Any] = {name: flags.FLAGS[name].value for name in names}
    if values['repeats'] < 1:
      raise ValueError(f'--repeats={values["repeats"]}: expected at least 1')
    sizes = [int(size) for size in values['batch_sizes']]
    if min(sizes, default=0) < 1:
      raise ValueError(f'--batch_sizes={",".join(values["batch_sizes"])}: each is at least 1')
    config = presets.get(values['preset'], num_clicks=values['num_clicks'])
    dataset = data.open_dataset(values['dataset'], values['data_dir'])
    chosen = {'zoom': values['zoom']} if values['zoom'] else {}
    segmenter = zoo.segmenter(values['model'], values['weights'], **chosen)
  except (ValueError, data.DataError, errors.CheckpointError) as error:
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)
  device = jax.devices()[0]
  report = {
    'model': segmenter.info.name,
    'preset': config.name,
    'num_clicks': config.num_clicks,
    'device': {'platform': device.platform, 'kind': device.device_kind, 'cpu': platform.machine()},
    'versions': {name: _version(name) for name in ('jax', 'jaxlib', 'flax', 'numpy')},
    'results': [bench(segmenter, config, _batch(dataset, size), values['repeats'])
                for size in sizes],
    **_peak_mib(),
  }
  text = json.dumps(report, indent=2)
  print(text)
  if values['out']:
    pathlib.Path(values['out']).write_text(text + '\n')


if __name__ == '__main__':
  app.run(main)
