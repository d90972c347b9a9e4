"""What an accelerator makes of an attack: rates by batch, presets, precisions, and whole data sets.

Everything is measured in the order of its worth, until the time is up; what was not is listed.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lib import memory, progress, rates, timing
from tetris_jax import data, presets, types
from tetris_jax.report import markdown

__all__ = ['ATTACKS', 'CLICKS', 'INSTANCES', 'PRECISIONS', 'measure', 'table']

ATTACKS = ('tetris', 'strong_v1_16', 'strong_v1')
"""Presets that are timed."""
PRECISIONS = {
  'float32': 'highest', 'TF32': 'TF32_TF32_F32', 'bf16': 'BF16_BF16_F32', 'default': 'default',
}  # fmt: skip
"""Of products, by what JAX calls it; the first is what rows are made with."""
INSTANCES = 1295
"""Of GrabCut (50), Berkeley (100), DAVIS (345) and COCO-MVal (800)."""

_T = TypeVar('_T')
CLICKS = 10
"""For which they are projected."""
_LARGEST_BATCH = 512
# A batch twice as large has to give so much more to be worth its memory.
_GAIN = 1.05


class _Bench(NamedTuple):
  """What all measurements share.

  Attributes:
    segmenter: the model.
    params: its parameters, on the device.
    samples: that fit the canvas of the first.
    num_clicks: of every attack.
    repeats: timed calls of a program.
    way: in which rows go through the decoder here, of `rates.WAYS`.
  """

  segmenter: types.Segmenter
  params: types.Params
  samples: Sequence[data.Sample]
  num_clicks: int
  repeats: int
  way: str

  def batch(self, size: int) -> types.Batch:
    """That many instances, the last again and again where there are too few."""
    batch = rates.first_batch(self.samples, size)
    assert batch is not None
    return batch

  def attack(self, preset: str, size: int) -> tuple[dict[str, Any], rates.Spent, Any]:
    """As `rates.attack`."""
    config = presets.get(preset, num_clicks=self.num_clicks)
    return rates.attack(self.segmenter, self.params, config, self.batch(size), self.repeats)


class _Clock:
  """Runs the steps that there is time for, by what steps of their kind have taken before.

  Attributes:
    missed: what was not measured, and why.
  """

  def __init__(self, seconds: float):
    self.missed: list[str] = []
    self._until = time.monotonic() + seconds
    self._taken: dict[str, float] = {}

  def run(self, kind: str, what: str, step: Callable[[], _T], growth: float = 1.0) -> _T | None:
    """What a step returns; None where time or memory is short, or the device cannot do it.

    Args:
      kind: of steps that take about as long.
      what: it measures.
      step: to be run.
      growth: how much longer it may take than the last of its kind.
    """
    begun = time.monotonic()
    if begun + growth * self._taken.get(kind, 0.0) >= self._until:
      self.missed.append(f'{what}: no time was left')
      return None
    progress.STDERR.say(what)
    try:
      found = step()
    except (MemoryError, NotImplementedError, ValueError, jax.errors.JaxRuntimeError) as error:
      out = memory.ran_out(error)
      if not out and not _is_unknown(error):
        raise
      self.missed.append(f'{what}: {"memory ran out" if out else "the device cannot do it"}')
      return None
    self._taken[kind] = time.monotonic() - begun
    return found


def _is_unknown(error: Exception) -> bool:
  """Whether an error says that a device has no such kind of product."""
  said = str(error)
  if isinstance(error, ValueError):  # As JAX refuses it while it lowers a product.
    return 'is not supported by dot_general' in said
  return isinstance(error, NotImplementedError) or 'UNIMPLEMENTED' in said or 'algorithm' in said


def _decoders(bench: _Bench, clock: _Clock, found: dict[str, Any]) -> Iterator[None]:
  """The bare decoder, twice as many instances at once until that gains nothing: "knee"."""
  batch = bench.batch(1)
  encoder = clock.run(
    'encoder', 'encoder', lambda: rates.encoder(bench.segmenter, bench.params, batch, bench.repeats)
  )
  if encoder is None:
    return
  found['encoder'], features = encoder
  way = {bench.way: rates.WAYS[bench.way]}
  size, best = 1, 0.0
  while size <= _LARGEST_BATCH:
    spread = jax.tree.map(lambda x, size=size: jnp.repeat(jnp.asarray(x), size, axis=0), features)
    step = functools.partial(
      rates.decoders, bench.segmenter, bench.params, spread, bench.batch(size), bench.num_clicks,
      bench.repeats, ways=way,
    )  # fmt: skip
    rows = clock.run('decoder', f'decoder, {_instances(size)}', step, growth=2.0)
    if rows is None:
      return
    one = rows[bench.way]
    found['decoder'].append({'batch_size': size} | one)
    yield
    rate = 1 / one['value_and_grad_seconds']
    if rate < best * _GAIN:
      return
    size, best, found['knee'] = 2 * size, rate, size


def _attacks(bench: _Bench, clock: _Clock, found: dict[str, Any]) -> Iterator[None]:
  """Whole attacks of all presets: at the knee, and when called again by themselves and at twice."""
  knee = found['knee']
  done = {one['batch_size'] for one in found['attacks']}
  for size in [one for one in (1, 2 * knee) if one not in done] if done else [knee]:
    for preset in ATTACKS:
      last = next((one for one in reversed(found['attacks']) if one['preset'] == preset), None)
      growth = size / last['batch_size'] if last else 1.0
      step = functools.partial(bench.attack, preset, size)
      what = f'{preset}, {_instances(size)}'
      one = clock.run(f'attack {preset}', what, step, max(growth, 1.0))
      if one is None:
        continue
      facts, spent, _ = one
      row = {'preset': preset, 'batch_size': size} | facts
      bare = [it for it in found['decoder'] if it['batch_size'] <= size]
      if bare:
        row['share_of_decoder'] = round(spent.bare(bare[-1]) / facts['seconds_per_instance'], 3)
      found['attacks'].append(row | timing.peak_mib())
      yield


def _precisions(bench: _Bench, clock: _Clock, found: dict[str, Any]) -> Iterator[None]:
  """One attack at several precisions of products: its time, and what becomes of its rows."""
  size = min(found['knee'], len(bench.samples))
  exact = None
  for name, precision in PRECISIONS.items():

    def attack(precision: str = precision) -> Any:
      with jax.default_matmul_precision(precision):
        return bench.attack(ATTACKS[0], size)

    one = clock.run('precision', f'{ATTACKS[0]} in {name}, {_instances(size)}', attack)
    if one is None:
      continue
    facts, _, result = one
    iou = np.asarray(result.iou)
    exact = iou if name == 'float32' else exact
    row = {'precision': name, 'batch_size': size, 'seconds': facts['seconds_per_instance']}
    if exact is not None:
      row |= _changes(iou - exact)
    found['precisions'].append(row)
    yield


def _changes(difference: np.ndarray) -> dict[str, float]:
  """How (num_instances, modes, num_clicks) IoUs have changed."""
  apart = {
    f'{mode}_change': round(float(np.abs(difference[:, k]).mean()), 6)
    for k, mode in enumerate(types.MODES)
  }
  d = difference[:, types.MODES.index('max')] - difference[:, types.MODES.index('min')]
  return apart | {
    'largest_change': round(float(np.abs(difference).max()), 6), 'd_change': round(d.mean(), 6),
  }  # fmt: skip


def _projected(bench: _Bench, found: Mapping[str, Any]) -> list[dict[str, Any]]:
  """How long each preset takes for `INSTANCES` at ten clicks, at the best batch."""
  rows = []
  encoder = found['encoder'].get('seconds_per_instance', 0.0)
  for preset in ATTACKS:
    tried = [one for one in found['attacks'] if one['preset'] == preset]
    if not tried:
      continue
    best = min(tried, key=lambda one: one['seconds_per_instance'])
    rounds = max(best['seconds_per_instance'] - encoder, 0.0) * CLICKS / bench.num_clicks
    each = best['seconds_per_instance'] if bench.num_clicks == CLICKS else encoder + rounds
    rows.append({
      'preset': preset, 'batch_size': best['batch_size'], 'instances': INSTANCES,
      'num_clicks': CLICKS, 'measured_at_clicks': bench.num_clicks,
      'hours': round(INSTANCES * each / 3600, 3),
    })  # fmt: skip
  return rows


def measure(
  segmenter: types.Segmenter,
  samples: Sequence[data.Sample],
  num_clicks: int,
  repeats: int,
  *,
  minutes: float,
  keep: Callable[[Mapping[str, Any]], None],
) -> dict[str, Any]:
  """Measures what there is time for.

  Args:
    segmenter: the model.
    samples: at least one; those that share its canvas are used.
    num_clicks: of the attacks.
    repeats: timed calls of each program.
    minutes: after which no measurement begins.
    keep: is told what is known so far, after every measurement.

  Returns:
    By name: "encoder", seconds an instance; "decoder", its rates by batch, in seconds an
    evaluation; "knee", the batch beyond which twice as many instances gain less than 5 %;
    "attacks", whole attacks by preset and batch, as in `rates.measure`, with peaks of memory;
    "precisions", one attack at `PRECISIONS`, the mean change of its IoU by mode against float32,
    the largest, and the change of the mean of D; "projected", hours for `INSTANCES`; and
    "not_measured", with reasons.
  """
  canvas = data.canvas_for(samples[0].size)
  fitting = [one for one in samples if data.canvas_for(one.size) == canvas]
  way = 'one_at_a_time' if jax.default_backend() == 'cpu' else 'together'
  params = jax.device_put(dict(segmenter.params))
  bench = _Bench(segmenter, params, fitting, num_clicks, repeats, way)
  clock = _Clock(60 * minutes)
  found: dict[str, Any] = {
    'minutes': minutes, 'canvas': list(canvas), 'num_clicks': num_clicks, 'rows': way,
    'encoder': {}, 'decoder': [], 'knee': 1, 'attacks': [], 'precisions': [], 'projected': [],
    'not_measured': clock.missed,
  }  # fmt: skip
  for part in (_decoders, _attacks, _precisions, _attacks):
    for _ in part(bench, clock, found):
      found['projected'] = _projected(bench, found)
      keep(found)
  keep(found)
  return found


def _instances(count: int) -> str:
  return f'{count} instance{"s" if count > 1 else ""} at once'


def _attack_cells(one: Mapping[str, Any]) -> list[str]:
  share = f'{one["share_of_decoder"]:.2f}' if 'share_of_decoder' in one else ''
  rates_of = [f'{one[name]:.1f}' for name in ('evaluations_per_second', 'instances_per_minute')]
  peak = one.get('device_peak_mib', one['host_peak_mib'])
  return [one['preset'], str(one['batch_size']), *rates_of, share, f'{peak:.0f}']


def _precision_cells(one: Mapping[str, Any]) -> list[str]:
  names = [*(f'{mode}_change' for mode in types.MODES), 'largest_change', 'd_change']
  changes = [f'{one[name]:.2g}' if name in one else '' for name in names]
  return [one['precision'], f'{one["seconds"]:.2f}', *changes]


def table(found: Mapping[str, Any]) -> str:
  """What `measure` returns as Markdown, with the "model", "device" and "versions" added to it."""
  rate = lambda seconds: f'{1 / seconds:.1f}'
  device, versions = found['device'], found['versions']
  parts = [
    f'# {found["model"]} on {device["kind"]} ({device["platform"]}, {device["cpu"]})',
    markdown.listed(versions),
    '## The bare decoder, evaluations a second',
    markdown.table(('instances', 'forward', 'value and gradient', 'temporary MiB'), [
      (str(one['batch_size']), rate(one['forward_seconds']), rate(one['value_and_grad_seconds']),
       str(one.get('value_and_grad_temporary_mib', '')))
      for one in found['decoder']
    ], left=0),
    f'## Whole attacks of {found["num_clicks"]} clicks',
    markdown.table(
      ('preset', 'instances', 'evaluations/s', 'instances/min', 'of the decoder', 'peak MiB'),
      [_attack_cells(one) for one in found['attacks']],
    ),
    f'## Precision of products, {ATTACKS[0]}, and the mean change of rows',
    markdown.table(
      ('products', 's/instance', *map(str.upper, types.MODES), 'largest', 'D'),
      [_precision_cells(one) for one in found['precisions']],
    ),
    f'## {INSTANCES} instances at {CLICKS} clicks',
    markdown.table(('preset', 'instances at once', 'hours'), [
      (one['preset'], str(one['batch_size']), f'{one["hours"]:.2f}') for one in found['projected']
    ]),
  ]  # fmt: skip
  if found['not_measured']:
    parts += ['## Not measured', '\n'.join(f'- {one}' for one in found['not_measured'])]
  return markdown.document(parts)
