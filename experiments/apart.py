"""Which scores tell models apart, and whether their rankings hold: over runs with users.

  python -m experiments.apart --workdirs='runs/apart/*'

Of every pair of runs of one data set and preset the paired permutation p of BASE, of the attack's
D, of D(.05), D(.25), D(.5) and of the mean over users; how many pairs each score tells apart at
p < 0.01; and Kendall's tau between its rankings of the models by two halves of the instances, the
mean over random halves. Ends with 0, and with 2 when runs cannot be used.
"""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.lib import launch
from experiments.lib import settings as lib
from experiments.lib.settings import UsageError
from tetris_jax.report import markdown, style, summaries
from tetris_jax.report.comparison import common
from tetris_jax.runs import merge
from tetris_jax.scores import metrics, profile, statistics

__all__ = ['LEVEL', 'Settings', 'execute', 'main', 'stability', 'values']

LEVEL = 0.01
"""Below this p a pair is told apart."""

_Scores = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(lib.Plugins):
  """What may be asked; see this program's `--help`."""

  workdirs: tuple[str, ...] = lib.setting(
    (), 'Finished work folders of attacks with users, by commas; patterns are expanded.', path=True
  )
  halves: int = lib.setting(200, 'How often the instances are cut in halves.', least=1)

  @property
  def doing(self) -> str:
    """What the program is asked to do."""
    return f'apart: {", ".join(self.workdirs)}'


def values(rows: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
  """Scores of each instance, (num_instances,) each, NaN where a row has no numbers.

  Args:
    rows: of a run of experiments.attack with users.

  Raises:
    UsageError: a row without users.
  """
  if any('users' not in row for row in summaries.measured(rows)):
    raise UsageError('--workdirs: a run without users has no profile; run it with --users=64')
  names = ('BASE', 'D', *profile.NAMES, 'mean')
  found = np.full((len(rows), len(names)), np.nan)
  for number, row in enumerate(rows):
    if row['status'] != 'ok':
      continue
    iou, auc = row['iou'], np.array(row['users']['auc']['iou'])
    d = np.nan if iou['min'] is None else metrics.robustness(iou['min'], iou['max'])
    shares = [profile.d_alpha(auc, alpha) for alpha in profile.ALPHAS]
    found[number] = [metrics.iou_auc(iou['base']), d, *shares, auc.mean()]
  return dict(zip(names, found.T, strict=True))


def stability(scores: Sequence[np.ndarray], halves: int) -> float | None:
  """Kendall's tau between rankings of models by two halves of the instances.

  Args:
    scores: (num_instances,) of each model.
    halves: how often the instances are cut, at random.

  Returns:
    The mean over all cuts; None where no half ranks anything.
  """
  table = np.stack(scores)
  table = table[:, ~np.isnan(table).any(0)]
  rng, found = np.random.default_rng(0), []
  for _ in range(halves):
    order = rng.permutation(table.shape[1])
    middle = len(order) // 2
    if middle:
      one, other = table[:, order[:middle]].mean(1), table[:, order[middle:]].mean(1)
      found.append(statistics.kendall_tau(one, other))
  known = [tau for tau in found if tau is not None]
  return float(np.mean(known)) if known else None


def _told(models: Mapping[str, _Scores], halves: int) -> str:
  """The tables of one data set and preset."""
  names = list(next(iter(models.values())))
  means = [
    [model, *(style.x100(float(np.nanmean(one[name]))) for name in names)]
    for model, one in models.items()
  ]
  pairs, apart = [], dict.fromkeys(names, 0)
  for (first, one), (second, other) in itertools.combinations(models.items(), 2):
    p = [statistics.permutation_test(one[name], other[name]) for name in names]
    pairs.append([f'{first}, {second}', *('-' if x is None else f'{x:.4f}' for x in p)])
    for name, x in zip(names, p, strict=True):
      apart[name] += x is not None and x < LEVEL
  taus = [stability([one[name] for one in models.values()], halves) for name in names]
  summed = [
    [f'pairs of {len(pairs)} at p < {LEVEL}', *(str(apart[name]) for name in names)],
    ["Kendall's tau of two halves", *('-' if tau is None else f'{tau:.2f}' for tau in taus)],
  ]
  head = ['', *names]
  return markdown.document([
    'Means x100:', markdown.table(head, means), 'Paired permutation p:',
    markdown.table(head, pairs), 'Told apart, and stable:', markdown.table(head, summed),
  ])  # fmt: skip


def execute(settings: Settings) -> int:
  """Prints the tables; returns the exit status.

  Raises:
    UsageError: fewer than two runs, or one without users.
    results.WorkdirError: a work folder cannot be used.
  """
  runs = [
    merge.read_run(str(folder), 'attack')
    for folder in merge.find_workdirs(settings.workdirs, '--workdirs')
  ]
  if len(runs) < 2:
    raise UsageError('--workdirs names fewer than two runs; nothing can be told apart')
  shared, notes = common.on_common(runs)
  groups: dict[tuple[str, str], dict[str, _Scores]] = {}
  for number, run in enumerate(shared):
    models = groups.setdefault((run.dataset, run.preset), {})
    name = run.model if run.model not in models else f'{run.model} {number}'
    models[name] = values(run.rows)
  for note in notes:
    print(f'note: {note}', file=sys.stderr)
  for (dataset, preset), models in groups.items():
    print(f'## {dataset}, {preset}\n\n{_told(models, settings.halves)}')
  return launch.DONE


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the program; returns the exit status that the module's docstring lists."""
  return launch.run(__doc__, Settings, execute, argv)


if __name__ == '__main__':
  sys.exit(main())
