"""Attacks of many models on many data sets with many presets, on machines that come and go.

  python -m experiments.sweep --models=mobile_sam,sam_vit_b --datasets=samples --presets=tetris
  python -m experiments.sweep --file=zoo.toml --workdir=runs/zoo --address=auto

A sweep file is TOML: a table for every model, data set and preset, whose name is the flag of
experiments.attack of that name unless the table says otherwise, with further flags of that program
for it; and [all] for what all runs have in common:

  [all]
  num_clicks = 5
  [models.mobile_sam]
  [models.mine]
  model = "ritm_h18s_it_cl"
  weights = "checkpoints/mine.pth"
  [datasets.berkeley]
  data_dir = "/data/Berkeley"
  [presets.tetris]

Below --workdir every run has a work folder as experiments.attack makes it, named
model-dataset-preset; the same command resumes the sweep, and either program goes on where the other
stopped, also where shards of a run were made by hand (--workdir of experiments.attack is then that
work folder): their finished batches are taken over.
At the end report/ there has all runs side by side, as experiments.report makes it.

Workers are actors of Ray, one a GPU, one a host of TPUs, or one a machine without either; they are
hired wherever the cluster has room. Machines may join and leave at any time: what a lost worker had
in hand is done by another. Data and weights have to be at the same place on all of them; only this
process writes. Without --address everything runs on this machine. Ends with 0 when no instance
failed, 3 when some did or a run could not be done, 2 when a flag, the data or a folder cannot be
used, 130 when interrupted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from experiments import report
from experiments.lib import interrupts, launch, opening
from experiments.lib import progress as progress_lib
from experiments.lib import settings as lib
from experiments.sweeps import asked, conductor, driven, ray_crew

__all__ = ['Settings', 'execute', 'main', 'planned']


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(lib.Plugins, lib.Seed, lib.Users, lib.Batches, lib.Search, lib.Rounds):
  """What may be asked of a sweep; see this program's `--help`."""

  models: tuple[str, ...] = lib.setting((), 'Models of the zoo, by commas.')
  datasets: tuple[str, ...] = lib.setting(
    (), 'Data sets, by commas; NAME=FOLDER where one has to be told where it lies.'
  )
  presets: tuple[str, ...] = lib.setting((), 'Named attacks, by commas.')
  file: str | None = lib.setting(
    None, 'A sweep file, TOML; see above. Flags that are given beside it hold for all runs.',
    path=True,
  )  # fmt: skip
  workdir: str = lib.setting('runs/sweep', 'Folder of all work folders.', path=True)
  limit: int = lib.setting(
    0, 'Only the first so many instances of every data set; 0 for all.', least=0
  )
  pictures: int = lib.setting(
    -1, 'How many instances of a run are drawn, the first ones; -1 for all.', least=-1
  )
  address: str | None = lib.setting(
    None,
    'A Ray cluster: HOST:PORT of its head, or "auto" on one of its nodes; by default this machine.',
  )
  workers: int = lib.setting(0, 'Workers at most; 0 for as many as there is room for.', least=0)
  worker_cpus: float = lib.setting(
    0.0,
    'Processors of a worker; 0 for one beside an accelerator, and all of a machine without one.',
  )
  worker_gpus: float = lib.setting(0.0, 'GPUs of a worker; 0 for one where a machine has some.')
  worker_tpus: float = lib.setting(
    0.0, 'TPU chips of a worker; 0 for all of a host where it has some.'
  )

  @property
  def doing(self) -> str:
    """What the program is asked to do."""
    what = self.file or ' x '.join(
      ','.join(names) for names in (self.models, self.datasets, self.presets)
    )
    return f'sweep: {what} -> {self.workdir}'


def _common(settings: Settings) -> dict[str, Any]:
  """What the flags ask of all runs, where they say other than the default."""
  given = {
    'seed': settings.seed,
    'users': settings.users,
    'prior': settings.prior,
    'batch_size': settings.batch_size,
    'depth': settings.depth,
    'num_beams': settings.num_beams,
    'num_clicks': settings.num_clicks,
    'limit': settings.limit,
    'pictures': settings.pictures,
  }
  defaults = {field.name: field.default for field in dataclasses.fields(Settings)}
  return {name: value for name, value in given.items() if value != defaults[name]}


def planned(settings: Settings) -> list[driven.Driven]:
  """The runs that are asked for.

  Raises:
    UsageError: a flag, the file, a model or a preset cannot be used.
  """
  axes: dict[str, dict[str, Any]] = {axis: {} for axis in asked.AXES}
  common: Mapping[str, Any] = {}
  if settings.file is not None:
    found, common = asked.read(settings.file)
    axes = {axis: dict(entries) for axis, entries in found.items()}
  axes['models'].update((name, {}) for name in settings.models)
  axes['presets'].update((name, {}) for name in settings.presets)
  for given in settings.datasets:
    name, sign, folder = given.partition('=')
    axes['datasets'][name] = {'data_dir': str(pathlib.Path(folder).expanduser())} if sign else {}
  made = asked.runs(axes, {**common, **_common(settings)}, settings.workdir)
  runs = [dataclasses.replace(one, plugins=settings.plugins) for one in made]
  for one in runs:
    # What is wrong with a flag is told before any machine is asked for.
    config = opening.open_preset(one.preset, one.num_clicks, one)
    users, _ = opening.open_users(one)
    opening.seed_of(one, [config], users)
    opening.completed(dataclasses.replace(one, batch_size=1), opening.searches(config))
  return [driven.Driven(number, one) for number, one in enumerate(runs)]


def _conduct(settings: Settings, runs: Sequence[driven.Driven]) -> None:
  """Does the runs on a crew of Ray's."""
  resources = {'TPU': settings.worker_tpus} if settings.worker_tpus else {}
  room = ray_crew.Room(settings.worker_cpus, settings.worker_gpus, resources)
  crew = ray_crew.RayCrew(settings.plugins, settings.address, settings.workers, room)

  def told() -> str:
    workers = len(crew.workers())
    return f'{ended.ended}/{len(runs)} runs, {workers} worker{"" if workers == 1 else "s"}'

  progress = progress_lib.Progress(0, beside=told)
  ended = conductor.Conductor(runs, crew, progress)
  kept = f'what is finished is kept in {settings.workdir}; the same command resumes the sweep'
  interrupts.keeps(lambda: kept)
  with contextlib.closing(crew), contextlib.closing(progress):
    ended.conduct()


def execute(settings: Settings) -> int:
  """Runs or resumes a sweep and writes its report.

  Returns:
    The exit status that the module's docstring lists.

  Raises:
    UsageError: a flag, the data or the cluster cannot be used.
    results.WorkdirError: a work folder cannot be used.
  """
  opening.check_drawing()
  runs = planned(settings)
  with contextlib.ExitStack() as held:
    for run in runs:
      held.callback(run.close)
    _conduct(settings, runs)
  bad = [run for run in runs if run.error]
  done = [str(run.folder) for run in runs if not run.error]
  rows = [row for run in runs for row in run.bad]
  out = pathlib.Path(settings.workdir) / 'report'
  if done:
    report.report(done, out, pictures_per_run=12)
  for run in bad:
    print(f'error: {run.name}: {run.error}', file=sys.stderr)
  status = launch.merged_status(rows, out / 'comparison.md')
  if not done:
    return launch.UNUSABLE
  return launch.FAILED if bad else status


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the program; returns the exit status that the module's docstring lists."""
  return launch.run(__doc__, Settings, execute, argv, resumes=True)


if __name__ == '__main__':
  sys.exit(main())
