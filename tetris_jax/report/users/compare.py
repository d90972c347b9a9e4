"""Models beside each other: do attacks rank them as users' clicks do?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tetris_jax.report import markdown, style
from tetris_jax.report.users.tables import SEVERAL
from tetris_jax.runs.merge import Run
from tetris_jax.scores import statistics
from tetris_jax.scores.table import NOC

__all__ = ['FEWEST_MODELS', 'members', 'overview', 'ranks', 'report']

FEWEST_MODELS = 3
"""A rank correlation of two models is 1 or -1 whatever they do."""


def overview(
  runs: Sequence[Run], summaries: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
  """One line a run, source and preset, None without attacks.

  Args:
    runs: of experiments.users.
    summaries: of each, as `tetris_jax.report.users.summary.summarise` makes them.
  """
  out = []
  for run, summary in zip(runs, summaries, strict=True):
    for source, one in summary['users'].items():
      common = {'dataset': run.dataset, 'model': run.model, 'source': source, 'n': one['n']}
      common |= {key: one[key]['value'] for key in ('robot', 'mean', 'std', 'nsr', 'd')}
      common['n_several'] = one['d']['n']
      for preset, found in (one['attacks'] or {None: None}).items():
        line: dict[str, Any] = {**common, 'preset': preset}
        for key in ('attack_d1', 'attack_d', 'user_d'):
          line[key] = found and found[key]['value']
        line['inside'] = found and found['inside']
        line['n_both'] = found['user_d']['n'] if found else 0
        out.append(line)
  return out


_GROUP = ('dataset', 'source', 'preset')


def _attacked(lines: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
  """The lines with D under users and under an attack."""
  return [line for line in lines if line['preset'] is not None and line['user_d'] is not None]


def members(
  lines: Sequence[Mapping[str, Any]], group: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
  """The lines, one a model, that an entry of `ranks` is about."""
  return [line for line in _attacked(lines) if all(line[key] == group[key] for key in _GROUP)]


def ranks(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
  """Spearman's correlation over models of D under users with D under each attack.

  Args:
    lines: "dataset", "source", "preset", "user_d", "attack_d1" and "attack_d" of each model.

  Returns:
    One entry a data set, source and preset: "models" and "d1" (after the first click, as users) and
    "d" (over all clicks), None below `FEWEST_MODELS`.
  """
  groups = dict.fromkeys(tuple(line[key] for key in _GROUP) for line in _attacked(lines))
  out = []
  for names in groups:
    entry: dict[str, Any] = dict(zip(_GROUP, names, strict=True))
    some = members(lines, entry)
    enough = len(some) >= FEWEST_MODELS
    entry |= {'models': len(some), 'd1': None, 'd': None}
    for key in ('d1', 'd') if enough else ():
      attack, user = ([line[name] for line in some] for name in (f'attack_{key}', 'user_d'))
      entry[key] = statistics.spearman(np.array(attack), np.array(user))
    out.append(entry)
  return out


def _walked(runs: Sequence[Run], summaries: Sequence[Mapping[str, Any]]) -> str:
  lines = []
  for run, summary in zip(runs, summaries, strict=True):
    groups = summary['groups']
    if groups:
      base = summary['trajectories']['base']['noc90']['value']
      lines.append(
        [markdown.cell(name) for name in (run.dataset, run.model, run.config['users']['groups'])]
        + [style.two_decimals(base)]
        + [f'{groups["mean"]["value"]:.2f} ± {groups["std"]["value"]:.2f}']
        + [style.x100(groups[key]['value']) for key in ('delta_base', 'delta_groups')]
        + [str(summary['num_clicks']), str(groups['mean']['n'])]
      )
  noc = NOC.titled()
  head = ['Data set', 'Model', 'Prior', f'{noc} base', f'{noc} G1 to G10', 'Delta-Base, %']
  return markdown.table([*head, 'Delta G1-G10, %', 'rounds', 'n'], lines) if lines else ''


def _table(lines: Sequence[Mapping[str, Any]]) -> str:
  numbers = ('robot', 'mean', 'std', 'nsr', 'd', 'inside', 'attack_d1', 'attack_d')
  cells = [
    [markdown.cell(line[key] or style.NOTHING) for key in ('dataset', 'model', 'source', 'preset')]
    + [style.x100(line[key]) for key in numbers]
    + [str(line[key]) for key in ('n', 'n_several', 'n_both')]
    for line in lines
  ]
  head = ['Data set', 'Model', 'Clicks from', 'Preset', 'Robot', 'Mean', 'Std', 'NSR', 'User D']
  head += ['Inside', 'Attack D@1', 'Attack D', 'n', SEVERAL, 'of these attacked']
  return markdown.table(head, cells)


def _correlations(correlations: Sequence[Mapping[str, Any]]) -> str:
  cells = [
    [markdown.cell(one[key]) for key in _GROUP]
    + [style.two_decimals(one['d1']), style.two_decimals(one['d']), str(one['models'])]
    for one in correlations
  ]
  head = ['Data set', 'Clicks from', 'Preset', 'with D@1', 'with D', 'models']
  return markdown.table(head, cells)


def report(
  runs: Sequence[Run],
  summaries: Sequence[Mapping[str, Any]],
  lines: Sequence[Mapping[str, Any]],
  correlations: Sequence[Mapping[str, Any]],
  pictures: Sequence[str],
  notes: Sequence[str] = (),
) -> str:
  """The comparison as Markdown.

  Args:
    runs: of experiments.users.
    summaries: of each.
    lines: of `overview`.
    correlations: of `ranks`.
    pictures: paths of figures of models, below the report.
    notes: on how far the runs compare.
  """
  parts = [
    '# Users\' clicks over models',
    'IoU, NSR, D and shares are x100. D is highest - lowest IoU of an instance\'s users, and MAX - '
    'MIN of an attack, after one click (D@1) and as IoU-AuC of all. Std, NSR and User D count '
    'instances with 2 or more clicks, the attack\'s D those of them that were attacked.',
    _table(lines),
  ]
  if notes:
    parts.append(markdown.noted(notes))
  if walked := _walked(runs, summaries):
    parts += [
      'Groups are slices of a click prior, which stands in for RClicks\' learned clickability '
      'model: they do not compare with published numbers.',
      walked,
    ]
  if correlations:
    parts += [
      '## Do attacks rank models as users do?',
      f'Spearman\'s correlation of D under attack with D under users, over at least '
      f'{FEWEST_MODELS} models, on the instances with 2 or more clicks that were attacked.',
      _correlations(correlations),
      *(markdown.image('D under users beside D under attack', name) for name in pictures),
    ]
  return markdown.document(parts)
