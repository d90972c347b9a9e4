"""Maps IoU over where the first click is made, and shows what each preset finds of its range.

  python -m experiments.heatmap --dataset=folder --data_dir=D --preset=tetris --preset=strong_v1

Per instance into the work folder's maps/: an .npz (positions `yx` with their `iou`, `biou` and
`predicted` IoU, NaN where a model expects none; `legal`; and `<preset>/yx`, `<preset>/iou`,
`<preset>/spent`) and a picture.
`explorer.html` is a page of the maps: move over a photograph, and the mask and the numbers of a
click there appear; `masks` and `depth` in the .npz and the photographs are kept for it.
`rows.jsonl` and `shares.json` have a row an instance with the share of the true range that each
preset found, or the reason why it has no numbers; `shares.md` is their table. `summary.json` has
the means over instances of the extremes by depth in the legal region (`levels`) and of IoU
quantiles under click priors (`quantiles`); instances whose lattice has few positions are left out
of means and named.

The same command resumes a run that was stopped, or whose pictures and masks were mended since, as
that of experiments.attack does. Several machines share a run as they share one of
experiments.attack, each with the same --workdir; `experiments.report --heatmaps=` merges what lies
below it. Ends with 0 when no instance failed, 3 when some did (their rows say why), 2 when a flag,
the data, the weights or the work folder cannot be used or every instance was skipped, 130 when
interrupted.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.lib import describe, fitting, guard, heatmap_job, launch, opening
from experiments.lib import settings as lib
from experiments.lib.programs import Programs
from experiments.lib.settings import UsageError
from tetris_jax import presets
from tetris_jax.report.heatmaps import explorer
from tetris_jax.report.heatmaps import summary as heatmaps
from tetris_jax.runs import merge
from tetris_jax.runs import workdirs as results

__all__ = ['Settings', 'execute', 'main']


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(
  lib.Plugins, lib.Run, lib.Seed, lib.Batches, lib.Depth, lib.Data, lib.Model
):
  """What may be asked of maps; see this program's `--help`."""

  # They stand under "presets" in config.json, with all their numbers.
  preset: tuple[str, ...] = lib.setting(
    ('tetris', 'strong_v1'),
    'Named attacks, each by a flag of its own.',
    names=lambda: presets.PRESETS,
    multi=True,
    recorded='never',
  )
  stride: int = lib.setting(
    0,
    'Rows and columns between positions, in pixels; 0 for about 2500 positions an instance.',
    least=0,
  )
  explorer: bool = lib.setting(
    True,
    'Keeps every mask that the model answered, at low resolution, and the photographs, and makes a '
    'page of them to explore.',
    recorded='never',
  )
  every: int = lib.setting(
    1, 'Only every so-manieth instance, from the first; --limit counts those.', least=1
  )

  def __post_init__(self) -> None:
    """Raises UsageError also for no preset."""
    super().__post_init__()
    if not self.preset:
      raise UsageError('--preset names no attack')

  @property
  def name(self) -> str:
    """Of the work folder, by default."""
    return f'{self.model}-{self.dataset}-heatmap{self.suffix()}'

  @property
  def doing(self) -> str:
    """What the program is asked to do."""
    presets = ', '.join(self.preset)
    return f'heatmap: {self.model} on {self.dataset} with {presets} -> {self.whole}'


def _open_presets(settings: Settings) -> list[presets.AttackConfig]:
  """The attacks, each once; raises UsageError for one that cannot be mapped."""
  configs: dict[str, presets.AttackConfig] = {}
  for name in settings.preset:
    config = opening.open_preset(name, 1, settings)  # By its first click.
    if not opening.searches(config):
      raise UsageError(f'--preset={name} searches nothing; choose one that does')
    configs[config.name] = config
  return list(configs.values())


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


def _write_page(
  settings: Settings, workdir: results.Workdir, model: str, rows: Sequence[Mapping[str, Any]]
) -> bool:
  """Writes explorer.html; returns whether there is anything to show."""
  files = {row['instance']: workdir.path / 'maps' / (row.get('picture') or '') for row in rows}
  dataset = merge.dataset_name(settings.dataset, settings.data_dir)
  page = explorer.render(heatmaps.of_rows(model, dataset, rows, files))
  if page is not None:
    results.write_atomically(workdir.path / 'explorer.html', page.encode())
  return page is not None


def execute(settings: Settings) -> int:
  """Runs or resumes the maps and writes what they amount to.

  Returns:
    The exit status; see `launch.exit_status`.

  Raises:
    UsageError: a flag, the data or the weights cannot be used.
    results.WorkdirError: the work folder cannot be used.
  """
  opening.check_drawing()
  configs = _open_presets(settings)
  seed = opening.seed_of(settings, configs)
  settings = dataclasses.replace(settings, batch_size=settings.batch_size or 1)
  settings = opening.completed(settings, searched=True)
  reach = settings.limit * settings.every
  dataset = opening.open_dataset(dataclasses.replace(settings, limit=reach))
  chosen = range(0, len(dataset), settings.every)
  dataset = dataset.select(chosen[: settings.limit] if settings.limit else chosen)
  segmenter = opening.open_segmenter(settings)
  opening.keep_compiled_programs()
  programs = Programs(segmenter, seed)
  job_of = lambda sized: heatmap_job.HeatmapJob(
    programs, dataset, configs, sized.stride, sized.slots, sized.folder / 'maps',
    explorable=sized.explorer,
  )  # fmt: skip
  settings = fitting.resolved(
    settings, 'heatmap', dataset, programs.device, lambda sized, on: job_of(sized).need(on)
  )
  attacks = {'presets': {config.name: presets.describe(config) for config in configs}}
  described = describe.configuration(settings, attacks, segmenter.info, dataset)
  described['program'] = 'heatmap'
  folder = settings.folder
  known = (folder / 'config.json').exists() or any((folder / 'results').glob('*.jsonl'))
  if not known and any((folder / 'maps').glob('*.npz')):
    raise results.WorkdirError(f'{folder} has maps but no config.json; use another workdir')
  with results.open_workdir(folder, described, ('results', 'maps')) as workdir:
    rows, _ = guard.run(job_of(settings), dataset, workdir, settings.slots, settings.part)
    shown = settings.explorer and _write_page(settings, workdir, segmenter.info.name, rows)
    made = _write(workdir, rows, [config.name for config in configs])
  left_out = f' ({len(made["left_out"])} left out of means)' if made['left_out'] else ''
  counts = f'{made["n_ok"]} ok{left_out}, {made["n_failed"]} failed, {made["n_skipped"]} skipped'
  page = folder / ('explorer.html' if shown else 'shares.md')
  print(f'Instances: {counts}.\n{page}')
  return launch.exit_status(rows, made, folder / 'summary.json')


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the program; returns the exit status that the module's docstring lists."""
  return launch.run(__doc__, Settings, execute, argv, resumes=True)


if __name__ == '__main__':
  sys.exit(main())
