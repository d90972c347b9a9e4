"""Attacks a click model on a data set: MIN, BASE and MAX curves, the robustness score, pictures.

  python -m experiments.attack
  python -m experiments.attack --dataset=folder --data_dir=D --preset=tetris --workdir=runs/mine
  tetris-jax attack --model=ritm_h18s_it_cl --weights=PATH --workdir=runs/ritm

The work folder gets report.html, a page to look at, report.md, rows.jsonl, summary.json, figures/,
config.json and instances.json; with --masks also masks/, from which `python -m experiments.export`
makes COCO's results.

Several machines share a run by --num_shards=4 and --shard_id=0 to 3, each with the same --workdir,
below which every shard has a folder; `python -m experiments.report` merges them. The processes of
`jax.distributed` (--coordinator, --num_processes, --process_id) are such shards by themselves.

The same command resumes a run that was stopped, or whose pictures and masks were mended since: what
failed, was skipped or has changed is done again, and the rest is not. Ends with 0 when no instance
failed, 3 when some did (their rows say why), 2 when a flag, the data, the weights, the device or
the work folder cannot be used or every instance was skipped, 130 when interrupted.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.lib import attack_job, describe, guard, launch, loop, opening
from experiments.lib import settings as lib
from experiments.lib.programs import Programs
from tetris_jax import data, presets
from tetris_jax.report.attack import write
from tetris_jax.report.comparison import compare, page
from tetris_jax.runs import merge
from tetris_jax.runs import workdirs as results

__all__ = ['Settings', 'execute', 'main']


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(
  lib.Plugins,
  lib.Processes,
  lib.Run,
  lib.Seed,
  lib.Users,
  lib.Batches,
  lib.Attack,
  lib.Data,
  lib.Model,
):
  """What may be asked of an attack; see this program's `--help`."""

  pictures: int = lib.setting(
    -1, 'How many instances are drawn, the first ones; -1 for all.', least=-1, recorded='never'
  )

  masks: bool = lib.setting(
    False,
    'Keeps the masks after the last click, and the objects, for experiments.export.',
    recorded='never',
  )

  @property
  def name(self) -> str:
    """Of the work folder, by default."""
    return f'{self.model}-{self.dataset}-{self.preset}{self.suffix()}'

  @property
  def doing(self) -> str:
    """What the program is asked to do."""
    return f'attack: {self.model} on {self.dataset} with {self.preset} -> {self.whole}'


def _headline(made: Mapping[str, Any]) -> str:
  found = {mode: value for mode, value in made['iou_auc'].items() if value is not None}
  scores = [f'{mode.upper()} {100 * value:.1f}' for mode, value in found.items()]
  if made['d']['value'] is not None:
    scores.append(f'D {100 * made["d"]["value"]:.1f}')
  counts = f'{made["n_ok"]} ok, {made["n_failed"]} failed, {made["n_skipped"]} skipped'
  if made['n_warned']:
    counts += f', {made["n_warned"]} with a warning (see the report)'
  return f'IoU-AuC x100: {", ".join(scores) or "-"}. Instances: {counts}.'


def _write(
  settings: Settings,
  workdir: results.Workdir,
  described: Mapping[str, Any],
  dataset: data.Dataset,
  found: tuple[Sequence[Mapping[str, Any]], Mapping[str, float]],
) -> dict[str, Any]:
  """Writes the reports of rows and totals, report.html among them; returns the summary."""
  rows, totals = found
  drawn = {
    name: pathlib.Path('figures') / loop.picture_name(index, name)
    for index, name in enumerate(dataset.names)
  }
  picture = lambda name: drawn[name] if (workdir.path / drawn[name]).exists() else None
  run = merge.Run(
    described['model']['name'],
    merge.dataset_name(settings.dataset, settings.data_dir),
    described['preset']['name'],
    described,
    loop.listed(dataset),
    rows,
    totals,
    {name: workdir.path / file for name in drawn if (file := picture(name)) is not None},
  )

  def look(made: Mapping[str, Any]) -> None:
    # What experiments.report makes of several runs, of this one alone.
    html = page.render([run], [made], compare.overview([run], [made]), [], [])
    results.write_atomically(workdir.path / 'report.html', html.encode(errors='replace'))

  return write.write_run(workdir, rows, described, totals, picture, beside=look)


def execute(settings: Settings) -> int:
  """Runs or resumes an attack and writes its report.

  Returns:
    The exit status; see `launch.exit_status`.

  Raises:
    UsageError: a flag, the data or the weights cannot be used.
    results.WorkdirError: the work folder cannot be used.
  """
  opening.check_drawing()
  config = opening.open_preset(settings.preset, settings.num_clicks, settings)
  users, click_maps = opening.open_users(settings)
  seed = opening.seed_of(settings, [config], users)
  settings = opening.completed(settings, opening.searches(config))
  dataset = opening.open_dataset(settings)
  segmenter = opening.open_segmenter(settings)
  opening.keep_compiled_programs()
  attacks = {'preset': presets.describe(config)}
  if users is not None:
    attacks['users'] = dataclasses.asdict(users)
    if click_maps is not None:
      attacks['users']['maps'] = str(click_maps.folder.resolve())
  described = describe.configuration(settings, attacks, segmenter.info, dataset)
  # Once kept they stay in step with the rows.
  masks = settings.masks or (settings.folder / 'masks').is_dir()
  folders = ('results', 'figures', *(['masks'] if masks else []))
  with results.open_workdir(settings.folder, described, folders) as workdir:
    pictures = len(dataset) if settings.pictures < 0 else settings.pictures
    programs, figures = Programs(segmenter, seed), workdir.path / 'figures'
    kept = workdir.path / 'masks' if masks else None
    job = attack_job.AttackJob(
      programs, dataset, config, settings.batch_size, pictures, figures, users, click_maps,
      masks=kept,
    )
    found = guard.run(job, dataset, workdir, settings.batch_size, settings.shard)
    made = _write(settings, workdir, described, dataset, found)
  print(f'{_headline(made)}\n{settings.folder / "report.html"}')
  return launch.exit_status(found[0], made, settings.folder / 'report.md')


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the program; returns the exit status that the module's docstring lists."""
  return launch.run(__doc__, Settings, execute, argv, resumes=True)


if __name__ == '__main__':
  sys.exit(main())
