"""Attacks a click model on a data set: MIN, BASE and MAX curves, the robustness score, pictures.

  python -m experiments.attack
  python -m experiments.attack --dataset=folder --data_dir=D --preset=tetris --workdir=runs/mine
  tetris-jax attack --model=ritm_h18s_it_cl --weights=PATH --workdir=runs/ritm

The work folder gets report.html, a page to look at, report.md, rows.jsonl, summary.json, figures/,
config.json and instances.json; with --masks also masks/, from which `python -m experiments.export`
makes COCO's results.

Several machines share a run by --num_shards=4 and --shard_id=0 to 3, or by --shard=auto where
SLURM, MPI, Kubernetes or a TPU slice says which process this is, each with the same --workdir,
below which every shard has a folder; `python -m experiments.report` merges them. No shard waits for
another.

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
from typing import Any, NamedTuple

from experiments.lib import attack_job, describe, fitting, guard, launch, named, opening
from experiments.lib import settings as lib
from experiments.lib.programs import Programs
from tetris_jax import crowd, data, presets, types
from tetris_jax.report.attack import write
from tetris_jax.report.comparison import compare, page
from tetris_jax.runs import merge
from tetris_jax.runs import workdirs as results

__all__ = ['Opened', 'Settings', 'execute', 'main', 'opened', 'write_run']


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(
  lib.Plugins,
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


def write_run(
  settings: Settings,
  workdir: results.Workdir,
  described: Mapping[str, Any],
  dataset: data.Dataset,
  found: tuple[Sequence[Mapping[str, Any]], Mapping[str, float]],
) -> dict[str, Any]:
  """Writes the reports of rows and totals, report.html among them; returns the summary."""
  rows, totals = found
  drawn = {
    name: pathlib.Path('figures') / named.picture_name(index, name)
    for index, name in enumerate(dataset.names)
  }
  picture = lambda name: drawn[name] if (workdir.path / drawn[name]).exists() else None
  run = merge.Run(
    described['model']['name'],
    merge.dataset_name(settings.dataset, settings.data_dir),
    described['preset']['name'],
    described,
    named.listed(dataset),
    rows,
    totals,
    {name: workdir.path / file for name in drawn if (file := picture(name)) is not None},
  )

  def look(made: Mapping[str, Any]) -> None:
    # What experiments.report makes of several runs, of this one alone.
    html = page.render([run], [made], compare.overview([run], [made]), [], [])
    results.write_atomically(workdir.path / 'report.html', html.encode(errors='replace'))

  return write.write_run(workdir, rows, described, totals, picture, beside=look)


class Opened(NamedTuple):
  """All that a run needs beside the model and a device.

  Attributes:
    settings: with what was left open.
    config: the preset.
    users: who clicks beside the attack; None for nobody.
    click_maps: that they follow; None for none.
    seed: of what is drawn.
    dataset: the instances.
  """

  settings: Settings
  config: presets.AttackConfig
  users: crowd.Crowd | None
  click_maps: data.ClickMaps | None
  seed: int
  dataset: data.Dataset

  @property
  def masks(self) -> bool:
    """Whether masks are kept; once kept they stay in step with the rows."""
    return self.settings.masks or (self.settings.folder / 'masks').is_dir()

  @property
  def folders(self) -> tuple[str, ...]:
    """Of the work folder."""
    return ('results', 'figures', *(['masks'] if self.masks else []))

  def described(self, info: types.ModelInfo) -> dict[str, Any]:
    """What `config.json` holds; asks for the device.

    Args:
      info: of the model.
    """
    attacks = {'preset': presets.describe(self.config)}
    if self.users is not None:
      attacks['users'] = dataclasses.asdict(self.users)
      if self.click_maps is not None:
        attacks['users']['maps'] = str(self.click_maps.folder.resolve())
    return describe.configuration(self.settings, attacks, info, self.dataset)

  def fitted(self, programs: Programs) -> Opened:
    """The same with a batch size that fits, where that was left to be found."""

    def need(settings: Settings, canvas: tuple[int, int]) -> int | None:
      return self._replace(settings=settings).job(programs, settings.folder).need(canvas)

    found = fitting.resolved(self.settings, 'attack', self.dataset, programs.device, need)
    return self._replace(settings=found)

  def job(self, programs: Programs | None, folder: pathlib.Path) -> attack_job.AttackJob:
    """What is done with a batch.

    Args:
      programs: on which it measures; None where it only looks at what was measured.
      folder: in which figures/ and masks/ lie.
    """
    pictures = self.settings.pictures
    return attack_job.AttackJob(
      programs,
      self.dataset,
      self.config,
      self.settings.slots,
      len(self.dataset) if pictures < 0 else pictures,
      folder / 'figures',
      self.users,
      self.click_maps,
      masks=folder / 'masks' if self.masks else None,
    )


def opened(settings: Settings) -> Opened:
  """Opens what is asked for; the device is asked for only where the batch size is left open.

  Raises:
    UsageError: a flag or the data cannot be used.
  """
  config = opening.open_preset(settings.preset, settings.num_clicks, settings)
  users, click_maps = opening.open_users(settings)
  seed = opening.seed_of(settings, [config], users)
  settings = opening.completed(settings, opening.searches(config))
  return Opened(settings, config, users, click_maps, seed, opening.open_dataset(settings))


def execute(settings: Settings) -> int:
  """Runs or resumes an attack and writes its report.

  Returns:
    The exit status; see `launch.exit_status`.

  Raises:
    UsageError: a flag, the data or the weights cannot be used.
    results.WorkdirError: the work folder cannot be used.
  """
  opening.check_drawing()
  one = opened(settings)
  segmenter = opening.open_segmenter(one.settings)
  opening.keep_compiled_programs()
  programs = Programs(segmenter, one.seed)
  one = one.fitted(programs)
  settings, described = one.settings, one.described(segmenter.info)
  with results.open_workdir(settings.folder, described, one.folders) as workdir:
    job = one.job(programs, workdir.path)
    found = guard.run(job, one.dataset, workdir, settings.slots, settings.part)
    made = write_run(settings, workdir, described, one.dataset, found)
  print(f'{_headline(made)}\n{settings.folder / "report.html"}')
  return launch.exit_status(found[0], made, settings.folder / 'report.md')


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the program; returns the exit status that the module's docstring lists."""
  return launch.run(__doc__, Settings, execute, argv, resumes=True)


if __name__ == '__main__':
  sys.exit(main())
