"""Evaluates users' clicks, real or sampled, beside the robot user's and beside attacks.

  python -m experiments.users --dataset=grabcut --data_dir=D --clicks=clicks.csv
  python -m experiments.users --dataset=folder --data_dir=D --num_users=20 --groups=distance
  python -m experiments.users --compare=runs/a,runs/b,runs/c --workdirs='runs/at*' --workdir=out

--clicks is a CSV file in RClicks' columns, or with instance,y,x[,user,label]; every click is scored
as the first, positive one, in one pass over one encoding of the picture. Without it users are
sampled: --num_users first clicks of every one of --priors, and --num_clicks rounds of RClicks' ten
groups G1 to G10, for whose clickability model the prior --groups stands in. --workdirs names
finished runs of experiments.attack on the same model and data: the report then has the share of
users' outcomes inside their [MIN@1, MAX@1]. --compare merges finished runs of this program, shards
included, and ranks models.

The work folder has the files of experiments.attack. The same command resumes a run that was
stopped, or whose pictures and masks were mended since, as that of experiments.attack does. Ends
with 0 when no instance failed, 3 when some did (their rows say why), 2 when a flag, the data, the
clicks, the weights or a work folder cannot be used or every instance was skipped, 130 when
interrupted.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.lib import describe, fitting, guard, interrupts, launch, missed, opening, users_job
from experiments.lib import settings as lib
from experiments.lib.programs import Programs
from experiments.lib.settings import UsageError
from tetris_jax import data
from tetris_jax import users as sampled_user
from tetris_jax.report import style
from tetris_jax.report.users import write as user_report
from tetris_jax.runs import files, merge, staging
from tetris_jax.runs import workdirs as results
from tetris_jax.scores import priors

__all__ = ['Settings', 'compare', 'execute', 'main']

# What --compare goes by; all else was settled when the runs were made.
_COMPARING = ('compare', 'workdirs', 'workdir', 'plugins')
_SAMPLED_USERS = 20
_SAMPLED_PRIORS = ('uniform', 'distance', 'gaussian_0.05')
_NO_GROUPS = 'none'
_COMPARED_IN = 'users'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(
  lib.Plugins,
  lib.Run,
  lib.Batches,
  lib.Rounds,
  lib.Data,
  lib.Model,
):
  """What may be asked of users; see this program's `--help`."""

  seed: int = lib.setting(0, 'Of all draws.', least=0, most=lib.LARGEST_SEED)
  # Who clicks stands under "users" in config.json.
  clicks: str | None = lib.setting(
    None,
    "CSV file of users' first clicks: RClicks' columns or instance,y,x[,user,label].",
    path=True,
    recorded='never',
  )
  clicks_dataset: str | None = lib.setting(
    None,
    "Whose rows of RClicks' column dataset are meant; by default those of --dataset, where RClicks "
    'has it.',
    recorded='never',
  )
  priors: tuple[str, ...] | None = lib.setting(
    None,
    f'Click priors of sampled users: {", ".join(priors.PRIORS)}, or another gaussian_S with S a '
    f'share of the diagonal; by default {",".join(_SAMPLED_PRIORS)}.',
    recorded='never',
  )
  num_users: int | None = lib.setting(
    None,
    f'Sampled first clicks an instance and prior; by default {_SAMPLED_USERS}, or 0 with --clicks.',
    least=0,
    recorded='never',
  )
  groups: str | None = lib.setting(
    None,
    "Click prior that stands in for RClicks' clickability model in G1 to G10, or none; by default "
    'distance, or none with --clicks.',
    recorded='never',
  )
  workdirs: tuple[str, ...] = lib.setting(
    (),
    'Finished work folders of experiments.attack, by commas; patterns are expanded.',
    path=True,
    recorded='never',
  )
  compare: tuple[str, ...] = lib.setting(
    (),
    'Merges these finished work folders of this program; patterns are expanded.',
    path=True,
    recorded='never',
  )

  def __post_init__(self) -> None:
    """Raises UsageError also for what says nothing beside --compare."""
    super().__post_init__()
    if not self.compare:
      return
    for field in dataclasses.fields(self):
      if field.name not in _COMPARING and getattr(self, field.name) != field.default:
        raise UsageError(
          f'--{field.name} says nothing beside --compare, which evaluates nothing and merges '
          'finished runs; leave it out'
        )

  @property
  def name(self) -> str:
    """Of the work folder, by default."""
    return f'{self.model}-{self.dataset}-users'

  @property
  def uses_device(self) -> bool:
    """Not where finished runs are compared."""
    return not self.compare

  @property
  def doing(self) -> str:
    """What the program is asked to do."""
    if self.compare:
      return f'users: comparing {", ".join(self.compare)} -> {self.workdir or _COMPARED_IN}'
    return f"users: {self.clicks or 'sampled'} on {self.model}, {self.dataset} -> {self.whole}"

  @property
  def plan(self) -> users_job.Plan:
    """Who clicks; raises UsageError for what cannot be."""
    count = self.num_users
    if count is None:
      count = 0 if self.clicks else _SAMPLED_USERS
    group = self.groups or (_NO_GROUPS if self.clicks else 'distance')
    walks: dict[str, sampled_user.User] = {}
    if group != _NO_GROUPS:
      try:
        sliced = sampled_user.groups(group)
      except ValueError as error:
        raise UsageError(f'--groups={group}: {error}') from error
      walks['base'] = sampled_user.BASE
      walks |= {f'G{number}': user for number, user in enumerate(sliced, 1)}
    named = _SAMPLED_PRIORS if self.priors is None else self.priors
    for prior in named:
      try:
        sampled_user.check_prior(prior)
      except ValueError as error:
        raise UsageError(f'--priors={prior}: {error}') from error
    if len(set(named)) < len(named):
      raise UsageError(f'--priors={",".join(named)} names a prior twice')
    if self.priors and not count:
      why = '--num_users=0' if self.num_users == 0 else '--clicks without --num_users'
      raise UsageError(
        f'--priors={",".join(named)}: {why} samples no user of a prior; give --num_users above 0, '
        'or leave --priors out'
      )
    sampled = tuple(named) if count else ()
    if walks:
      walks |= {prior: sampled_user.User(prior) for prior in sampled}
    if not (self.clicks or sampled or walks):
      raise UsageError('nobody clicks: give --clicks, --num_users above 0 or --groups')
    return users_job.Plan(sampled, count, walks, self.num_clicks, self.seed)


def _read_clicks(
  settings: Settings, names: Sequence[str], chosen: Sequence[str]
) -> data.ClickFile | None:
  """The file of --clicks, or None; raises UsageError where it cannot be used."""
  if settings.clicks is None:
    if settings.clicks_dataset is not None:
      raise UsageError(f'--clicks_dataset={settings.clicks_dataset} needs --clicks')
    return None
  title = settings.clicks_dataset or data.RCLICKS_NAMES.get(settings.dataset)
  try:
    file = data.read_clicks(settings.clicks, names, selected=chosen, clicks_dataset=title)
  except data.DataError as error:
    raise UsageError(str(error)) from error
  if file.layout == 'plain' and settings.clicks_dataset is not None:
    raise UsageError(
      f'--clicks_dataset={settings.clicks_dataset}: {settings.clicks} has no column dataset'
    )
  return file


def _described(
  settings: Settings, plan: users_job.Plan, file: data.ClickFile | None
) -> dict[str, Any]:
  """What `config.json` says of users."""
  about = None
  if file is not None:
    about = {
      'name': file.name,
      'sha256': file.sha256,
      'layout': file.layout,
      'dataset': settings.clicks_dataset,
      'repeated': file.repeated,
      # Where there are none, runs made before there were any go on.
      **({'notes': list(file.notes)} if file.notes else {}),
      'left_out': {
        reason: {'count': len(lines), 'first_line': lines[0]}
        for reason, lines in file.left_out.items()
      },
    }
  group = plan.walks.get('G1')
  return {
    'clicks': about,
    'priors': list(plan.priors),
    'num_users': plan.num_users,
    'groups': group and group.prior,
    'num_groups': sampled_user.NUM_GROUPS if group else 0,
  }


def _attacks(workdirs: Sequence[str]) -> list[merge.Run]:
  return merge.collect(merge.find_workdirs(workdirs, '--workdirs')) if workdirs else []


def _told(settings: Settings, file: data.ClickFile | None) -> data.ClickFile | None:
  """The file; what was left out of it is said, and how the rest was read."""
  for note in file.notes if file else ():
    print(f'note: --clicks={settings.clicks}: {note}', file=sys.stderr)
  for reason, lines in file.left_out.items() if file else ():
    count = f'{len(lines)} click{"" if len(lines) == 1 else "s"}'
    print(
      f'note: --clicks={settings.clicks}: {count} left out, {reason} (first in line {lines[0]})',
      file=sys.stderr,
    )
  return file


def execute(settings: Settings) -> int:
  """Runs or resumes an evaluation of users' clicks and writes its report; or compares.

  Returns:
    The exit status; see `launch.exit_status`.

  Raises:
    UsageError: a flag, the data, the clicks or the weights cannot be used.
    results.WorkdirError: a work folder cannot be used.
  """
  if settings.compare:
    interrupts.keeps(lambda: interrupts.AGAIN)
    out = settings.workdir or _COMPARED_IN
    merged = compare(settings.compare, settings.workdirs, out)
    return launch.merged_status(merged, pathlib.Path(out) / 'comparison.md')
  opening.check_drawing()
  plan = settings.plan
  # Nothing is searched, and models draw clicks as in their evaluation.
  settings = opening.completed(settings, searched=False)
  # Clicks may be on any instance of the data set.
  whole = opening.open_dataset(
    dataclasses.replace(settings, limit=0 if settings.clicks else settings.limit)
  )
  dataset = whole.select(range(min(settings.limit or len(whole), len(whole))))
  file = _told(settings, _read_clicks(settings, whole.names, dataset.names))
  attacked = _attacks(settings.workdirs)
  segmenter = opening.open_segmenter(settings)
  opening.keep_compiled_programs()
  programs, clicks = Programs(segmenter, plan.seed), file.clicks if file else None
  job_of = lambda sized: users_job.UsersJob(programs, dataset, plan, sized.slots, clicks)
  settings = fitting.resolved(
    settings, 'users', dataset, programs.device, lambda sized, on: job_of(sized).need(on)
  )
  asked = {'preset': {'name': 'users', 'num_clicks': settings.num_clicks}}
  described = describe.configuration(settings, asked, segmenter.info, dataset)
  described |= {'program': 'users', 'users': _described(settings, plan, file)}
  scores = user_report.matched(described, attacked)
  with results.open_workdir(settings.folder, described) as workdir:
    rows, totals = guard.run(job_of(settings), dataset, workdir, settings.slots, settings.part)
    cause = missed.told(settings.clicks, rows, clicks or {}, dataset)
    made = user_report.write_run(workdir, rows, described, totals, scores, cause=cause)
  page = settings.folder / 'report.md'
  print(f'{user_report.headline(made)}\n{page}')
  return launch.exit_status(rows, made, page)


def compare(
  folders: Sequence[str], workdirs: Sequence[str], out: str
) -> list[Mapping[str, Any]]:
  """Merges finished runs of this program, shards included, and compares their models.

  Returns the rows of all runs.

  Args:
    folders: as --compare has them.
    workdirs: of attacks, as --workdirs has them.
    out: folder for everything.

  Raises:
    results.WorkdirError: something is missing, does not merge or cannot be written.
  """
  found = merge.find_workdirs(folders, '--compare')
  sources = [*found, *(merge.find_workdirs(workdirs, '--workdirs') if workdirs else ())]
  root, called = pathlib.Path(out), f'--workdir={out}'
  staging.check_apart([root], sources, called)
  runs = merge.collect(found, 'users')
  if len(runs) > 1:
    names = files.distinct_names([run.name for run in runs])
    staging.check_apart([root / name for name in names], sources, called)
  page = user_report.write_comparison(root, runs, _attacks(workdirs))
  print(f'{len(runs)} run{"" if len(runs) == 1 else "s"} merged\n{style.plain(page)}')
  return [row for run in runs for row in run.rows]


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the program; returns the exit status that the module's docstring lists."""
  return launch.run(__doc__, Settings, execute, argv, resumes=True)


if __name__ == '__main__':
  sys.exit(main())
