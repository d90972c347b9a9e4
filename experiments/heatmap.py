"""Maps IoU over where the first click is made, and shows what each preset finds of its range.

  python -m experiments.heatmap --dataset=folder --data_dir=D --preset=tetris --preset=strong_v1

Model and data are chosen by the flags of experiments.attack. Per instance into the work folder's
maps/: an .npz (positions `yx` with their `iou`, `biou` and `predicted` IoU, NaN where a model
expects none; `legal`; and `<preset>/yx`, `<preset>/iou`, `<preset>/spent`) and a picture.
`rows.jsonl` and `shares.json` have a row an instance with the share of the true range that each
preset found, or the reason why it has no numbers; `shares.md` is their table. `summary.json` has
the means over instances of the extremes by depth in the legal region (`levels`) and of IoU
quantiles under click priors (`quantiles`); instances whose lattice has few positions are left out
of means and named.

The same command resumes a run that was stopped. Several machines share a run as they share one of
experiments.attack, each with the same --workdir; `experiments.report --heatmaps=` merges what lies
below it. Ends with 0, 1, 2, 3 or 130 as experiments.attack does.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from absl import app, flags

from experiments import attack, launch
from experiments.launch import UsageError
from experiments.lib import heatmap_job, loop
from experiments.lib.programs import Programs
from tetris_jax import data, types
from tetris_jax.report.heatmaps import summary as heatmaps
from tetris_jax.runs import workdirs as results

__all__ = ['Settings', 'configuration', 'execute', 'main']

_PRESETS = ('tetris', 'strong_v1')
_UNUSED = ('num_clicks', 'pictures')


@dataclasses.dataclass(frozen=True)
class Settings:
  """What the flags ask for; see this program's `--help`.

  Attributes:
    base: the flags that are those of experiments.attack; its `preset` names the program instead.
    presets: names of the attacks.
    stride: rows and columns between positions, in pixels; 0 to choose one for each instance.
    every: only every so-manieth instance, from the first.
  """

  base: attack.Settings
  presets: tuple[str, ...] = _PRESETS
  stride: int = 0
  every: int = 1

  def __post_init__(self) -> None:
    """Raises UsageError for a number out of its range, or no preset."""
    for name, least in (('stride', 0), ('every', 1)):
      value = getattr(self, name)
      if value < least:
        raise UsageError(f'--{name}={value}: expected at least {least}')
    if not self.presets:
      raise UsageError('--preset names no attack')


def _open_presets(settings: Settings) -> tuple[list[types.AttackConfig], attack.Settings]:
  """The attacks, each once, and the base with what was left open."""
  # Only the first click is mapped, of one instance a device at a time if nothing else is asked.
  size = settings.base.batch_size or jax.local_device_count()
  base = dataclasses.replace(settings.base, num_clicks=1, batch_size=size)
  configs: dict[str, types.AttackConfig] = {}
  for name in settings.presets:
    config, completed = attack.open_preset(dataclasses.replace(base, preset=name))
    if config.search == 'none':
      raise UsageError(f'--preset={name} searches nothing; choose one that does')
    configs[config.name] = config
  # What is completed depends on whether there is a search, which all of them have.
  return list(configs.values()), dataclasses.replace(completed, preset='heatmap')


def configuration(
  settings: Settings,
  base: attack.Settings,
  configs: Sequence[types.AttackConfig],
  info: types.ModelInfo,
  dataset: data.Dataset,
) -> dict[str, Any]:
  """What `config.json` holds: as `attack.configuration`, with all presets and the lattice."""
  described = attack.configuration(base, configs[0], info, dataset)
  del described['preset']
  for name in ('preset', 'num_clicks'):
    del described['flags'][name]
  described['flags'] |= {'stride': settings.stride, 'every': settings.every}
  described['program'] = 'heatmap'
  described['presets'] = {config.name: dataclasses.asdict(config) for config in configs}
  return described


def _write(
  workdir: results.Workdir, rows: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> dict[str, Any]:
  """Writes shares.json, shares.md and, last, summary.json; returns the summary."""
  made = heatmaps.summarise(rows)
  counts = {key: made[key] for key in ('n_ok', 'n_failed', 'n_skipped')}
  workdir.write_json('shares.json', {**counts, 'rows': rows})
  table = heatmaps.share_table(rows, names)
  results.write_atomically(workdir.path / 'shares.md', table.encode())
  workdir.write_json('summary.json', made)
  print(table)
  return made


def execute(settings: Settings) -> int:
  """Runs or resumes the maps and writes what they amount to.

  Returns:
    The exit status: 0, or 3 when an instance failed, or 1 when none was measured.

  Raises:
    UsageError: a flag, the data or the weights cannot be used.
    results.WorkdirError: the work folder cannot be used.
  """
  if importlib.util.find_spec('matplotlib') is None:
    raise UsageError("pictures need matplotlib: pip install 'tetris_jax[demo]'")
  configs, base = _open_presets(settings)
  dataset = attack.open_dataset(dataclasses.replace(base, limit=0))
  chosen = range(0, len(dataset), settings.every)
  dataset = dataset.select(chosen[: base.limit] if base.limit else chosen)
  segmenter = attack.open_segmenter(base)
  attack.keep_compiled_programs()
  described = configuration(settings, base, configs, segmenter.info, dataset)
  folder = base.folder
  if not (folder / 'config.json').exists() and any((folder / 'maps').glob('*.npz')):
    raise results.WorkdirError(f'{folder} has maps but no config.json; use another workdir')
  with results.open_workdir(folder, described, ('results', 'maps')) as workdir:
    workdir.write_json('instances.json', {'instances': loop.listed(dataset)})
    programs, maps = Programs(segmenter, base.seed), workdir.path / 'maps'
    job = heatmap_job.HeatmapJob(
      programs, dataset, configs, settings.stride, base.batch_size, maps
    )
    rows, _ = loop.run(job, dataset, workdir, base.batch_size, base.shard)
    made = _write(workdir, rows, [config.name for config in configs])
  left_out = f' ({len(made["left_out"])} left out of means)' if made['left_out'] else ''
  counts = f'{made["n_ok"]} ok{left_out}, {made["n_failed"]} failed, {made["n_skipped"]} skipped'
  print(f'Instances: {counts}.\n{folder / "shares.md"}')
  return launch.exit_status(rows, made, 'summary.json')


def _settings_of_flags() -> Settings:
  asked = flags.FLAGS
  for name in _UNUSED:
    if asked[name].present:
      raise UsageError(f'--{name} says nothing to experiments.heatmap; leave it out')
  base = dataclasses.replace(attack.settings_of_flags(), preset='heatmap')
  return Settings(base, tuple(asked.preset), asked.stride, asked.every)


def main(argv: Sequence[str]) -> None:
  """Entry point of absl; exits with the status that the module's docstring lists."""

  def run() -> int:
    launch.join_by_flags()
    return execute(_settings_of_flags())

  launch.exit_with(argv, run)


if __name__ == '__main__':
  # Defined here, so that programs whose flags have the same names can be imported together.
  flags.DEFINE_multi_string(
    'preset', list(_PRESETS), 'Named attacks, each by a flag of its own.', allow_override=True
  )
  flags.DEFINE_integer(
    'stride', 0, 'Rows and columns between positions; 0 for about 2500 positions an instance.'
  )
  flags.DEFINE_integer(
    'every', 1, 'Only every so-manieth instance, from the first; --limit counts those.'
  )
  app.run(main)
