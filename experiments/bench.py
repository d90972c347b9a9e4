"""Measures evaluations per second of the bare decoder and of the whole attack, and memory.

  python -m experiments.bench --batch_sizes=1,2,4 --num_clicks=3
  python -m experiments.bench --model=ritm_h18s_it_cl --weights=PATH --zoom=fixed --num_clicks=3
  python -m experiments.bench --suite=renderer
  python -m experiments.bench --suite=device --minutes=8
  python -m experiments.bench --suite=sweep --num_clicks=3

The bare decoder is timed as an attack uses it, many evaluations in one program, with the Dice loss
behind it and nothing else: no search, no legal region, no metric. --suite=renderer times the
drawing of clicks as maps, 20 clicks of 64 trajectories at 400x400, and needs no model.
--suite=device tells what a device makes of all this: the decoder by batch, whole attacks of three
presets, products in float32, TF32 and bf16, hours for whole data sets; it ends after --minutes and
prints tables. --suite=sweep tells what experiments.sweep costs (it needs Ray): the memory of a
driver that gets --rows, what --workers that only wait reach of as many times one, and two workers
that attack beside one on the same cores, in tables. Otherwise one JSON object is printed. It is
written to --out where that is given, by --suite=device after every measurement. Compile times stand
apart. Ends with 0, with 3 when memory ran out for a batch size, with 2 when a flag, the data, the
weights or the file cannot be used, and with 130 when interrupted.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from experiments.lib import (
  fitting,
  launch,
  opening,
  programs,
  progress,
  rates,
  renderer,
  suite,
  timing,
)
from experiments.lib import settings as lib
from experiments.lib.settings import UsageError
from tetris_jax import data, presets, types

__all__ = ['Settings', 'execute', 'main', 'measure']


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(lib.Plugins, lib.Attack, lib.Data, lib.Model):
  """What may be timed; see this program's `--help`."""

  suite: str = lib.setting(
    'attack',
    'An attack and its decoder, the click maps, all that tells how fast a device is, or what a '
    'sweep costs beside its models.',
    choices=('attack', 'renderer', 'device', 'sweep'),
  )
  minutes: float = lib.setting(
    8.0, 'Of --suite=device, after which no measurement begins.', least=0, most=10_000
  )
  batch_sizes: tuple[str, ...] = lib.setting(
    ('1', '2'),
    'Instances attacked at once, by commas; "auto" is the most that a GPU or TPU has memory for, '
    'and 1 on a CPU.',
  )
  workers: int = lib.setting(64, 'Of --suite=sweep, that only wait.', least=1)
  rows: int = lib.setting(100_000, 'Of --suite=sweep, that one driver gets.', least=1)
  repeats: int = lib.setting(3, 'Timed calls; the median counts.', least=1)
  out: str | None = lib.setting(None, 'File for the JSON.', path=True)

  @property
  def doing(self) -> str:
    """What the program is asked to do."""
    if self.suite == 'renderer':
      return 'bench: drawing of clicks'
    if self.suite == 'device':
      return f'bench: {self.model} on this device, up to {self.minutes:g} minutes'
    if self.suite == 'sweep':
      return f'bench: a sweep of {self.workers} workers, and {self.rows:,} rows'
    return f'bench: {self.model} on {self.dataset} with {self.preset}'

  def __post_init__(self) -> None:
    """Raises UsageError also for batch sizes that are none."""
    super().__post_init__()
    asked = ','.join(self.batch_sizes)
    numbers = [size for size in self.batch_sizes if size != lib.AUTO]
    if not all(size.isdigit() and int(size) for size in numbers) or not asked:
      raise UsageError(
        f'--batch_sizes={asked}: expected whole numbers of at least 1, or {lib.AUTO}'
      )


def _check_out(out: str | None) -> None:
  """Raises UsageError for a file that cannot be written, before anything is timed."""
  try:
    if out:
      pathlib.Path(out).write_text('')
  except OSError as error:
    raise UsageError(f'--out={out}: {error.strerror}') from error


def _device(settings: Settings) -> int:
  """Measures what the device can do, prints tables and keeps the numbers; returns the status."""
  samples = _samples(settings)
  _check_out(settings.out)
  segmenter = opening.open_segmenter(settings)
  facts: dict[str, Any] = {'suite': 'device', 'model': segmenter.info.name, **timing.machine()}

  def keep(found: Mapping[str, Any]) -> None:
    if settings.out:
      pathlib.Path(settings.out).write_text(json.dumps({**facts, **found}, indent=2) + '\n')

  clicks = settings.num_clicks or suite.CLICKS
  found = suite.measure(
    segmenter, samples, clicks, settings.repeats, minutes=settings.minutes, keep=keep
  )
  print(suite.table(facts | found), end='')
  return launch.DONE


def _sweep(settings: Settings) -> int:
  """Measures what a sweep costs, prints tables and keeps the numbers; returns the status."""
  from experiments import attack  # Not all suites need them, nor Ray.
  from experiments.sweeps import strain

  opening.open_preset(settings.preset, settings.num_clicks, settings)
  _check_out(settings.out)
  given = {
    field.name: getattr(settings, field.name)
    for group in (lib.Attack, lib.Model, lib.Plugins)
    for field in dataclasses.fields(group)
  }
  found = {'suite': 'sweep', **strain.measure(
    attack.Settings(**given, users=0), settings.workers, settings.rows
  )}  # fmt: skip
  if settings.out:
    pathlib.Path(settings.out).write_text(json.dumps(found, indent=2) + '\n')
  print(strain.table(found), end='')
  return launch.DONE


def _samples(settings: Settings) -> list[data.Sample]:
  """The instances that can be read; raises UsageError where there are none."""
  dataset = opening.open_dataset(settings)
  samples = [one for one in dataset if isinstance(one, data.Sample)]
  if not samples:
    raise UsageError(f'--dataset={dataset.name}: no instance can be read')
  return samples


def _size(
  asked: str,
  segmenter: types.Segmenter,
  config: presets.AttackConfig,
  canvas: tuple[int, int],
) -> int:
  """A batch size as a number; of `lib.AUTO` the largest that fits, which is said."""
  if asked != lib.AUTO:
    return int(asked)
  made = programs.Programs(segmenter, 0, jax.local_devices()[:1])
  need = lambda size: made.need(programs.attack, fitting.shapes(canvas, size), config=config)
  fit = fitting.largest(made.device, need)
  progress.STDERR.say(f'{asked}: {fit.size}, {fit.why}')
  return fit.size


def measure(settings: Settings) -> dict[str, Any]:
  """Rates of every batch size, or of the click maps, with the device and the versions.

  Raises:
    UsageError: a flag, the data, the weights or the file cannot be used.
  """
  if settings.suite == 'renderer':
    _check_out(settings.out)
    results = renderer.measure(settings.repeats)
    return {'suite': 'renderer', **timing.machine(), 'results': results}
  config = opening.open_preset(settings.preset, settings.num_clicks, settings)
  settings = opening.completed(settings, opening.searches(config))
  samples = _samples(settings)
  _check_out(settings.out)
  segmenter = opening.open_segmenter(settings)
  canvas = data.canvas_for(samples[0].size)
  sizes = dict.fromkeys(_size(one, segmenter, config, canvas) for one in settings.batch_sizes)
  batches = [batch for size in sizes if (batch := rates.first_batch(samples, size)) is not None]
  return {
    'model': segmenter.info.name,
    'preset': config.name,
    'num_clicks': config.num_clicks,
    **timing.machine(),
    'results': [rates.measure(segmenter, config, batch, settings.repeats) for batch in batches],
  }


def execute(settings: Settings) -> int:
  """Measures, prints and writes; returns the exit status. Raises UsageError as `measure`."""
  if settings.suite in ('device', 'sweep'):
    return {'device': _device, 'sweep': _sweep}[settings.suite](settings)
  found = measure(settings)
  text = json.dumps(found, indent=2)
  print(text)
  if settings.out:
    pathlib.Path(settings.out).write_text(text + '\n')
  rows = found['results'] if settings.suite != 'renderer' else ()
  short = [one['failed'] for one in rows if 'failed' in one]
  for reason in short:
    print(f'failed: {reason}', file=sys.stderr)
  return launch.FAILED if short else launch.DONE


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the program; returns the exit status that the module's docstring lists."""
  return launch.run(__doc__, Settings, execute, argv)


if __name__ == '__main__':
  sys.exit(main())
