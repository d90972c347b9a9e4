"""Attacks a click model on a data set: MIN, BASE and MAX curves, the robustness score, pictures.

  python -m experiments.attack
  python -m experiments.attack --dataset=folder --data_dir=D --preset=tetris --workdir=runs/mine

Several machines share a run by --num_shards=4 and --shard_id=0 to 3, each with the same --workdir,
below which every shard has a folder; `python -m experiments.report` merges them. The processes of
`jax.distributed` (--coordinator, --num_processes, --process_id) are such shards by themselves.

The same command resumes a run that was stopped; finished instances are not done again. Ends with 0
when no instance failed, 3 when some did (their rows say why), 1 when none was measured, 2 when a
flag, the data, the weights or the work folder cannot be used, 130 when interrupted.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import pathlib
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import jax
from absl import app, flags

from experiments import launch
from experiments.launch import UsageError
from experiments.lib import attack_job, loop
from experiments.lib.programs import Programs
from ports import zoo
from ports.weights import errors
from tetris_jax import data, presets, types
from tetris_jax.report.attack import write
from tetris_jax.runs import workdirs as results

__all__ = [
  'Settings',
  'UsageError',
  'configuration',
  'execute',
  'keep_compiled_programs',
  'main',
  'open_dataset',
  'open_preset',
  'open_segmenter',
  'settings_of_flags',
  'version',
]

flags.DEFINE_string('model', 'mobile_sam', 'Model of the zoo.')
flags.DEFINE_string(
  'weights', None, 'File with the weights; by default they come from the cache or are fetched.'
)
flags.DEFINE_string(
  'zoom',
  None,
  'For models that read click maps: "exact" is the published evaluation (an aspect-keeping crop of '
  '400 pixels, "exact_600" on DAVIS), "fixed" sees one size at every click. Default: the first '
  "that ports/zoo.py lists of the model's.",
)
flags.DEFINE_string(
  'disks',
  None,
  'For models that read click maps: "soft" draws anti-aliased clicks, through which gradients '
  'pass, "hard" those of the published evaluation. Default: hard where nothing is searched.',
)
flags.DEFINE_string('dataset', 'samples', f'One of {", ".join(data.DATASETS)}.')
flags.DEFINE_string(
  'data_dir', None, 'Where the data set lies; --dataset=folder has images/ and masks/ in it.'
)
flags.DEFINE_list(
  'data_options', [], 'Options of a data set as key=value, such as split=val for --dataset=sbd.'
)
flags.DEFINE_string(
  'objects', 'binary', "For --dataset=folder: 'binary' masks, or 'ids' with an object a number."
)
flags.DEFINE_integer(
  'ignore_id', None, 'With --objects=ids: the number of pixels that no metric counts.'
)
flags.DEFINE_string('preset', 'tetris', 'Named attack.')
flags.DEFINE_integer('num_clicks', 10, 'Rounds of a trajectory.')
flags.DEFINE_float(
  'depth',
  0.0,
  'With a preset of a global search: clicks lie deeper in the legal region than this share of its '
  'largest inner distance.',
)
flags.DEFINE_integer(
  'num_beams',
  1,
  'With a preset of a global search: trajectories of MIN, and of MAX, carried through the rounds.',
)
flags.DEFINE_integer(
  'batch_size', 0, 'Instances attacked at once; 0 for 1 a CPU device, 8 a GPU or TPU.'
)
flags.DEFINE_integer('limit', 0, 'Only the first so many instances; 0 for all.')
flags.DEFINE_integer('seed', 0, 'Of whatever a preset draws at random.')
flags.DEFINE_string(
  'workdir', None, 'Where results go; by default runs/<model>-<dataset>-<preset>.'
)
flags.DEFINE_integer(
  'shard_id', None, 'Which part of the instances to attack; by default the JAX process\'s own.'
)
flags.DEFINE_string(
  'coordinator',
  None,
  'Runs as one of several JAX processes, each of which attacks a shard: host:port of the first, '
  'with --num_processes and --process_id; or "auto" where the cluster itself says who is who.',
)
flags.DEFINE_integer('num_processes', None, 'With --coordinator: how many.')
flags.DEFINE_integer('process_id', None, 'With --coordinator: which one, from 0.')
flags.DEFINE_integer('num_shards', None, 'In how many parts; by default the JAX processes.')
flags.DEFINE_integer(
  'pictures', -1, 'How many instances are drawn, the first ones; -1 for all.'
)


@dataclasses.dataclass(frozen=True)
class Settings:
  """The flags of this program, by name; see its `--help`."""

  model: str = 'mobile_sam'
  weights: str | None = None
  zoom: str | None = None
  disks: str | None = None
  dataset: str = 'samples'
  data_dir: str | None = None
  data_options: tuple[str, ...] = ()
  objects: str = 'binary'
  ignore_id: int | None = None
  preset: str = 'tetris'
  num_clicks: int = 10
  depth: float = 0.0
  num_beams: int = 1
  batch_size: int = 0
  limit: int = 0
  seed: int = 0
  workdir: str | None = None
  shard_id: int | None = None
  num_shards: int | None = None
  pictures: int = -1

  def __post_init__(self) -> None:
    """Raises UsageError for a number out of its range."""
    least_of = {'num_clicks': 1, 'num_beams': 1, 'batch_size': 0, 'limit': 0, 'pictures': -1}
    for name, least in least_of.items():
      value = getattr(self, name)
      if value < least:
        raise UsageError(f'--{name}={value}: expected at least {least}')
    if not 0 <= self.seed < 2**32:
      raise UsageError(f'--seed={self.seed}: expected 0 to {2**32 - 1}')
    if (self.shard_id is None) != (self.num_shards is None):
      raise UsageError('--shard_id and --num_shards are given together or not at all')
    number, count = self.shard
    if not 0 <= number < count:
      raise UsageError(f'--shard_id={number} of --num_shards={count}: expected 0 to {count - 1}')

  @property
  def shard(self) -> tuple[int, int]:
    """Its number and how many there are."""
    if self.shard_id is None or self.num_shards is None:
      return jax.process_index(), jax.process_count()
    return self.shard_id, self.num_shards

  @property
  def folder(self) -> pathlib.Path:
    """The work folder; each shard of several has one of its own below --workdir."""
    deep = f'-depth-{self.depth:g}' if self.depth else ''
    wide = f'-beams-{self.num_beams}' if self.num_beams > 1 else ''
    name = f'{self.model}-{self.dataset}-{self.preset}{deep}{wide}'
    whole = pathlib.Path(self.workdir or pathlib.Path('runs') / name)
    number, count = self.shard
    return whole if count == 1 else whole / f'shard-{number:05d}-of-{count:05d}'


def settings_of_flags() -> Settings:
  """What the command line asks for; raises UsageError for a number out of its range."""
  names = [field.name for field in dataclasses.fields(Settings)]
  asked: dict[str, Any] = {name: flags.FLAGS[name].value for name in names}
  asked['data_options'] = tuple(asked['data_options'])
  return Settings(**asked)


def open_dataset(settings: Settings) -> data.Dataset:
  """The instances that the flags ask for; raises UsageError where they cannot be had."""
  options: dict[str, Any] = {}
  if settings.objects != 'binary':
    options['objects'] = settings.objects
  if settings.ignore_id is not None:
    options['ignore_id'] = settings.ignore_id
  try:
    options.update(data.parse_options(settings.dataset, settings.data_options))
    dataset = data.open_dataset(settings.dataset, settings.data_dir, **options)
  except data.DataError as error:
    raise UsageError(str(error)) from error
  except ValueError as error:
    raise UsageError(f'--objects, --ignore_id, --data_options: {error}') from error
  for note in dataset.notes:
    print(f'note: {note}', file=sys.stderr)
  if settings.limit:
    dataset = dataset.select(range(min(settings.limit, len(dataset))))
  return dataset


def _preset(settings: Settings) -> types.AttackConfig:
  try:
    config = presets.get(settings.preset, num_clicks=settings.num_clicks)
  except ValueError as error:
    raise UsageError(f'--preset={settings.preset}: {error}') from error
  try:
    config = presets.at_depth(config, settings.depth)
  except ValueError as error:
    raise UsageError(f'--depth={settings.depth}: {error}') from error
  try:
    return presets.with_beams(config, settings.num_beams)
  except ValueError as error:
    raise UsageError(f'--num_beams={settings.num_beams}: {error}') from error


def _options(settings: Settings) -> Mapping[str, tuple[str, ...]]:
  """What may be chosen of the model; raises UsageError for an unknown model."""
  if settings.model not in zoo.MODELS:
    known = ', '.join(sorted(zoo.MODELS))
    raise UsageError(f'--model={settings.model} is unknown; known models: {known}')
  return zoo.options(settings.model)


def _completed(settings: Settings, config: types.AttackConfig) -> Settings:
  """Puts in what was left open, so that `config.json` says it."""
  changes: dict[str, Any] = {}
  if not settings.batch_size:
    one = 1 if jax.default_backend() == 'cpu' else 8
    changes['batch_size'] = one * jax.local_device_count()
  options = _options(settings)
  if 'zoom' in options and settings.zoom is None:
    changes['zoom'] = options['zoom'][0]
  if 'disks' in options and settings.disks is None:
    # The standard evaluation is defined with hard disks; through them no gradient passes.
    changes['disks'] = 'hard' if config.search == 'none' else 'soft'
  return dataclasses.replace(settings, **changes)


def open_preset(settings: Settings) -> tuple[types.AttackConfig, Settings]:
  """The preset, and the settings with what was left open; raises UsageError for unknown names."""
  config = _preset(settings)
  return config, _completed(settings, config)


def open_segmenter(settings: Settings) -> types.Segmenter:
  """The model that the flags ask for; raises UsageError where its weights cannot be had."""
  options = _options(settings)
  chosen = {name: getattr(settings, name) for name in ('zoom', 'disks')}
  chosen = {name: value for name, value in chosen.items() if value is not None}
  for name, value in chosen.items():
    if value not in options.get(name, ()):
      known = f'known: {", ".join(options[name])}' if name in options else 'it has no such choice'
      raise UsageError(f'--{name}={value} with --model={settings.model}: {known}')
  try:
    return zoo.segmenter(settings.model, weights=settings.weights, **chosen)
  except (errors.CheckpointError, OSError) as error:
    flag = f'--weights={settings.weights}' if settings.weights else f'--model={settings.model}'
    raise UsageError(f'{flag}: {error}') from error


def configuration(
  settings: Settings,
  config: types.AttackConfig,
  info: types.ModelInfo,
  dataset: data.Dataset,
) -> dict[str, Any]:
  """What `config.json` holds; all but Python's and NumPy's versions must agree on resuming."""
  asked = dataclasses.asdict(settings)
  for name in ('workdir', 'pictures', 'shard_id', 'num_shards'):
    del asked[name]  # They change no row.
  for name in ('data_dir', 'weights'):
    asked[name] = asked[name] and str(pathlib.Path(asked[name]).expanduser().resolve())
  packages = ('tetris_jax', 'jax', 'jaxlib', 'numpy')
  device = jax.devices()[0]
  return {
    'flags': asked,
    'preset': dataclasses.asdict(config),
    'model': {
      'name': info.name,
      'threshold': info.threshold,
      'step_diagonal': info.step_diagonal,
      'sha256': dict(info.sha256),
    },
    'instances': loop.fingerprint(dataset),
    'shard': dict(zip(('id', 'count'), settings.shard, strict=True)),
    'versions': {
      **{name: version(name) for name in packages},
      'python': platform.python_version(),
    },
    'devices': {
      'platform': device.platform,
      'kind': device.device_kind,
      'count': jax.device_count(),
    },
  }


def version(package: str) -> str:
  """Of an installed package, else \"not installed\"."""
  try:
    return metadata.version(package)
  except metadata.PackageNotFoundError:
    return 'not installed'


def keep_compiled_programs() -> None:
  """Lets JAX keep compiled programs between runs, unless the user has chosen a folder for them."""
  if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
    jax.config.update('jax_compilation_cache_dir', str(zoo.cache_dir() / 'xla'))


def _headline(made: Mapping[str, Any]) -> str:
  found = {mode: value for mode, value in made['iou_auc'].items() if value is not None}
  scores = [f'{mode.upper()} {100 * value:.1f}' for mode, value in found.items()]
  if made['d']['value'] is not None:
    scores.append(f'D {100 * made["d"]["value"]:.1f}')
  counts = f'{made["n_ok"]} ok, {made["n_failed"]} failed, {made["n_skipped"]} skipped'
  if made['n_warned']:
    counts += f', {made["n_warned"]} with a warning (see the report)'
  return f'IoU-AuC x100: {", ".join(scores) or "-"}. Instances: {counts}.'


def execute(settings: Settings) -> int:
  """Runs or resumes an attack and writes its report.

  Returns:
    The exit status: 0, or 3 when an instance failed, or 1 when none was measured.

  Raises:
    UsageError: a flag, the data or the weights cannot be used.
    results.WorkdirError: the work folder cannot be used.
  """
  for package, name in (('PIL', 'Pillow'), ('matplotlib', 'matplotlib')):
    if importlib.util.find_spec(package) is None:
      raise UsageError(f"pictures and curves need {name}: pip install 'tetris_jax[demo]'")
  config, settings = open_preset(settings)
  dataset = open_dataset(settings)
  segmenter = open_segmenter(settings)
  keep_compiled_programs()
  described = configuration(settings, config, segmenter.info, dataset)
  with results.open_workdir(settings.folder, described) as workdir:
    pictures = len(dataset) if settings.pictures < 0 else settings.pictures
    workdir.write_json('instances.json', {'instances': loop.listed(dataset)})
    programs, figures = Programs(segmenter, settings.seed), workdir.path / 'figures'
    job = attack_job.AttackJob(
      programs, dataset, config, settings.batch_size, pictures, figures
    )
    rows, totals = loop.run(job, dataset, workdir, settings.batch_size, settings.shard)
    drawn = {
      name: pathlib.Path('figures') / loop.picture_name(index, name)
      for index, name in enumerate(dataset.names)
    }
    picture = lambda name: drawn[name] if (workdir.path / drawn[name]).exists() else None
    made = write.write_run(workdir, rows, described, totals, picture)
  print(f'{_headline(made)}\n{settings.folder / "report.md"}')
  return launch.exit_status(rows, made, 'report.md')


def main(argv: Sequence[str]) -> None:
  """Entry point of absl; exits with the status that the module's docstring lists."""

  def run() -> int:
    launch.join_by_flags()
    return execute(settings_of_flags())

  launch.exit_with(argv, run)


if __name__ == '__main__':
  app.run(main)
