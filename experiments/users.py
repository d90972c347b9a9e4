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
stopped, and ends with 0, 1, 2, 3 or 130 as experiments.attack does.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from absl import app, flags

from experiments import attack, launch
from experiments.launch import UsageError
from experiments.lib import loop, users_job
from experiments.lib.programs import Programs
from tetris_jax import data
from tetris_jax import users as sampled_user
from tetris_jax.report.users import write as user_report
from tetris_jax.runs import merge
from tetris_jax.runs import workdirs as results
from tetris_jax.scores import priors

__all__ = ['Settings', 'compare', 'execute', 'main']

_UNUSED = ('depth', 'num_beams', 'preset', 'pictures')
# What --compare goes by; all else was settled when the runs were made.
_COMPARING = ('compare', 'workdirs', 'workdir')
_SAMPLED_USERS = 20
_SAMPLED_PRIORS = ('uniform', 'distance', 'gaussian_0.05')
_NO_GROUPS = 'none'


@dataclasses.dataclass(frozen=True)
class Settings:
  """What the flags ask for; see this program's `--help`.

  Attributes:
    base: the flags that are those of experiments.attack.
    clicks: path of a CSV file, or None.
    clicks_dataset: what its column `dataset` has to say, or None.
    priors: of sampled users; None for uniform, distance and gaussian_0.05.
    num_users: how many of each; None for 20 without `clicks` and none with it.
    groups: prior of G1 to G10, "none", or None for "distance" without `clicks` and none with it.
    workdirs: of attacks.
  """

  base: attack.Settings
  clicks: str | None = None
  clicks_dataset: str | None = None
  priors: tuple[str, ...] | None = None
  num_users: int | None = None
  groups: str | None = None
  workdirs: tuple[str, ...] = ()

  @property
  def plan(self) -> users_job.Plan:
    """Who clicks; raises UsageError for what cannot be."""
    count = self.num_users
    if count is None:
      count = 0 if self.clicks else _SAMPLED_USERS
    if count < 0:
      raise UsageError(f'--num_users={count}: expected at least 0')
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
    return users_job.Plan(sampled, count, walks, self.base.num_clicks, self.base.seed)


def _read_clicks(
  settings: Settings, names: Sequence[str], chosen: Sequence[str]
) -> data.ClickFile | None:
  """The file of --clicks, or None; raises UsageError where it cannot be used."""
  if settings.clicks is None:
    if settings.clicks_dataset is not None:
      raise UsageError(f'--clicks_dataset={settings.clicks_dataset} needs --clicks')
    return None
  title = settings.clicks_dataset or data.RCLICKS_NAMES.get(settings.base.dataset)
  try:
    file = data.read_clicks(settings.clicks, names, chosen, title)
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


def execute(settings: Settings) -> int:
  """Runs or resumes an evaluation of users' clicks and writes its report.

  Returns:
    The exit status: 0, or 3 when an instance failed, or 1 when none was measured.

  Raises:
    UsageError: a flag, the data, the clicks or the weights cannot be used.
    results.WorkdirError: a work folder cannot be used.
  """
  if importlib.util.find_spec('matplotlib') is None:
    raise UsageError("figures need matplotlib: pip install 'tetris_jax[demo]'")
  plan = settings.plan
  # The robot user's preset: nothing is searched, and models draw clicks as in their evaluation.
  config, base = attack.open_preset(dataclasses.replace(settings.base, preset='baseline'))
  base = dataclasses.replace(base, preset='users')
  whole = attack.open_dataset(dataclasses.replace(base, limit=0))
  dataset = whole.select(range(min(base.limit or len(whole), len(whole))))
  file = _read_clicks(settings, whole.names, dataset.names)
  for reason, lines in file.left_out.items() if file else ():
    count = f'{len(lines)} click{"" if len(lines) == 1 else "s"}'
    print(
      f'note: --clicks={settings.clicks}: {count} left out, {reason} (first in line {lines[0]})',
      file=sys.stderr,
    )
  attacked = _attacks(settings.workdirs)
  segmenter = attack.open_segmenter(base)
  attack.keep_compiled_programs()
  described = attack.configuration(base, config, segmenter.info, dataset)
  described['program'] = 'users'
  described['preset'] = {'name': 'users', 'num_clicks': base.num_clicks}
  described['users'] = _described(settings, plan, file)
  scores = user_report.matched(described, attacked)
  with results.open_workdir(base.folder, described) as workdir:
    workdir.write_json('instances.json', {'instances': loop.listed(dataset)})
    programs, clicks = Programs(segmenter, plan.seed), file.clicks if file else None
    job = users_job.UsersJob(programs, dataset, plan, base.batch_size, clicks)
    rows, totals = loop.run(job, dataset, workdir, base.batch_size, base.shard)
    made = user_report.write_run(workdir, rows, described, totals, scores)
  print(f'{user_report.headline(made)}\n{base.folder / "report.md"}')
  return launch.exit_status(rows, made, 'report.md')


def compare(folders: Sequence[str], workdirs: Sequence[str], out: str) -> None:
  """Merges finished runs of this program, shards included, and compares their models.

  Args:
    folders: as --compare has them.
    workdirs: of attacks, as --workdirs has them.
    out: folder for everything.

  Raises:
    results.WorkdirError: something is missing, does not merge or cannot be written.
  """
  found = merge.find_workdirs(folders, '--compare')
  root = pathlib.Path(out)
  taken = {folder.resolve() for folder in found}
  taken |= {folder.resolve().parent for folder in found if folder.name.startswith('shard-')}
  if root.resolve() in taken:
    raise results.WorkdirError(f'--workdir={out} holds work folders; name another folder')
  runs = merge.collect(found, 'users')
  page = user_report.write_comparison(root, runs, _attacks(workdirs))
  print(f'{len(runs)} run{"" if len(runs) == 1 else "s"} merged\n{page}')


def _settings_of_flags() -> Settings:
  asked = flags.FLAGS
  for name in _UNUSED:
    if asked[name].present:
      raise UsageError(f'--{name} says nothing to experiments.users; leave it out')
  return Settings(
    attack.settings_of_flags(),
    asked.clicks,
    asked.clicks_dataset,
    tuple(asked.priors) if asked['priors'].present else None,
    asked.num_users,
    asked.groups,
    tuple(asked.workdirs),
  )


def _check_comparing() -> None:
  """Raises UsageError for a flag of an evaluation beside --compare."""
  asked = flags.FLAGS
  for module in (attack, sys.modules['__main__']):
    for flag in asked.get_flags_for_module(module):
      if flag.present and flag.name not in _COMPARING:
        raise UsageError(
          f'--{flag.name} says nothing beside --compare, which evaluates nothing and merges '
          'finished runs; leave it out'
        )


def main(argv: Sequence[str]) -> None:
  """Entry point of absl; exits with the status that the module's docstring lists."""

  def run() -> int:
    asked = flags.FLAGS
    if asked.compare:
      _check_comparing()
      compare(asked.compare, asked.workdirs, asked.workdir or 'users')
      return 0
    launch.join_by_flags()
    return execute(_settings_of_flags())

  launch.exit_with(argv, run)


if __name__ == '__main__':
  # Defined here, so that programs whose flags have the same names can be imported together.
  flags.DEFINE_string(
    'clicks',
    None,
    "CSV file of users' first clicks: RClicks' columns or instance,y,x[,user,label].",
  )
  flags.DEFINE_string(
    'clicks_dataset',
    None,
    "Whose rows of RClicks' column dataset are meant; by default those of --dataset, where RClicks "
    'has it.',
  )
  flags.DEFINE_list(
    'priors',
    list(_SAMPLED_PRIORS),
    f'Click priors of sampled users: {", ".join(priors.PRIORS)}, or another gaussian_S with S a '
    'share of the diagonal.',
  )
  flags.DEFINE_integer(
    'num_users',
    None,
    f'Sampled first clicks an instance and prior; by default {_SAMPLED_USERS}, or 0 with --clicks.',
  )
  flags.DEFINE_string(
    'groups',
    None,
    "Click prior that stands in for RClicks' clickability model in G1 to G10, or none; by default "
    'distance, or none with --clicks.',
  )
  flags.DEFINE_list(
    'workdirs', [], 'Finished work folders of experiments.attack, by commas; patterns are expanded.'
  )
  flags.DEFINE_list(
    'compare', [], 'Merges these finished work folders of this program; patterns are expanded.'
  )
  app.run(main)
