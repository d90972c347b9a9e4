"""Writes what users' clicks amount to: a run beside attacks, and models beside each other."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tetris_jax.report.attack.tables import table, x100
from tetris_jax.report.users import figures as user_figures
from tetris_jax.report.users import summary as users
from tetris_jax.runs import merge
from tetris_jax.runs import workdirs as results
from tetris_jax.runs.workdirs import WorkdirError
from tetris_jax.scores import metrics

__all__ = ['FEWEST_MODELS', 'headline', 'matched', 'ranks', 'write_comparison', 'write_run']

FEWEST_MODELS = 3
"""A rank correlation of two models is 1 or -1 whatever they do."""

# What the model sees of a click must be alike; --disks and --zoom of other families are None.
_SAME_FLAGS = ('dataset', 'data_options', 'objects', 'ignore_id')
_SAME_VIEW = ('zoom', 'disks')


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
  """Whether two configurations are of one model and one data set."""
  models = [{key: c['model'][key] for key in ('name', 'sha256')} for c in (one, other)]
  flags = [[_listed(c['flags'][key]) for key in _SAME_FLAGS] for c in (one, other)]
  return models[0] == models[1] and flags[0] == flags[1]


def _listed(value: Any) -> Any:
  # config.json has lists where a fresh configuration has tuples.
  return list(value) if isinstance(value, tuple) else value


def matched(
  config: Mapping[str, Any], attacks: Sequence[merge.Run], all_of_them: bool = True
) -> dict[str, dict[str, dict[str, float]]]:
  """The scores of the attacks on a run's model and data set, as `users.Attacks` holds them.

  Args:
    config: of a run of experiments.users.
    attacks: whole runs.
    all_of_them: whether an attack on something else is an error, or passed over.

  Raises:
    WorkdirError: an attack on something else, one whose clicks the model saw otherwise, or two
      with one preset.
  """
  found: dict[str, dict[str, dict[str, float]]] = {}
  for run in attacks:
    if not _same(config, run.config):
      if all_of_them:
        raise WorkdirError(
          f'--workdirs: {run.name} is not of {config["model"]["name"]} with these weights on '
          f'{config["flags"]["dataset"]} with these options'
        )
      continue
    for name in _SAME_VIEW:
      here, there = config['flags'][name], run.config['flags'][name]
      if here != there:
        raise WorkdirError(
          f'--workdirs: {run.name} ran with --{name}={there}, users with --{name}={here}; outcomes '
          f'compare only where clicks are shown alike: give --{name}={there}'
        )
    if run.preset in found:
      raise WorkdirError(f'--workdirs: two runs of preset {run.preset}')
    scores = users.attack_scores(run.rows)
    if not scores:
      raise WorkdirError(f'--workdirs: {run.name} has no MIN and MAX; its preset searches nothing')
    found[run.preset] = scores
  return found


def headline(summary: Mapping[str, Any]) -> str:
  """One line for the console."""
  parts = [
    f'{source} IoU {x100(one["mean"]["value"])}, NSR {x100(one["nsr"]["value"])}'
    for source, one in summary['users'].items()
  ]
  if summary['groups']:
    groups = summary['groups']
    parts.append(f'NoC@90 {groups["mean"]["value"]:.2f} ± {groups["std"]["value"]:.2f}')
  counts = ', '.join(f'{summary[f"n_{what}"]} {what}' for what in ('ok', 'failed', 'skipped'))
  return f'{"; ".join(parts) or "-"}. Instances: {counts}.'


def write_run(
  workdir: results.Workdir,
  rows: Sequence[Mapping[str, Any]],
  config: Mapping[str, Any],
  totals: Mapping[str, float],
  attacks: users.Attacks,
) -> dict[str, Any]:
  """Writes `figures/`, `report.md` and, last, `summary.json`, and returns the summary.

  Args:
    workdir: where to.
    rows: of the run, in data set order.
    config: what its `config.json` holds.
    totals: of its batches: "seconds" on the device, "compile_seconds", "evaluations" and, where
      counted, how many "programs" were compiled.
    attacks: on the same instances.

  Raises:
    results.WorkdirError: something cannot be written.
  """
  model = config['model']['name']
  known = {row['instance'] for row in rows if row['status'] == 'ok'}
  for preset, scores in attacks.items():
    if known and not known & set(scores):
      raise WorkdirError(f'--workdirs: {preset} has no instance in common with this run')
  summary = users.summarise(rows, model, config['preset']['num_clicks'], attacks)
  rate = totals['evaluations'] / totals['seconds'] if totals['seconds'] else None
  summary['evaluations_per_second'] = rate and round(rate, 3)
  summary['device_seconds'] = round(totals['seconds'], 3)
  summary['compile_seconds'] = round(totals['compile_seconds'], 3)
  summary['programs'] = int(totals.get('programs', 0))
  ok = [row for row in rows if row['status'] == 'ok']
  pictures = {
    users.spread_name(source): user_figures.draw_spread(ok, source, model)
    for source in summary['users']
    if source != users.ON_OBJECT
  }
  if summary['users']:
    pictures['figures/distance.png'] = user_figures.draw_distance(ok)
  if summary['trajectories']:
    pictures['figures/rounds.png'] = user_figures.draw_rounds(summary)
  for name, picture in pictures.items():
    results.write_atomically(workdir.path / name, picture)
  text = users.markdown(rows, summary, config)
  results.write_atomically(workdir.path / 'report.md', text.encode())
  # The summary comes last: where it lies, the rest does too.
  workdir.write_json('summary.json', summary)
  return summary


def _lines(runs: Sequence[merge.Run], summaries: Sequence[Mapping[str, Any]]) -> list[dict]:
  """One line a run, source and preset (None without attacks)."""
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


def ranks(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
  """Spearman's correlation over models of D under users with D under each attack.

  Args:
    lines: "dataset", "source", "preset", "user_d", "attack_d1" and "attack_d" of each model.

  Returns:
    One entry a data set, source and preset: "models" and "d1" (after the first click, as users) and
    "d" (over all clicks), None below `FEWEST_MODELS`.
  """
  groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
  for line in lines:
    if line['preset'] is not None and line['user_d'] is not None:
      groups.setdefault((line['dataset'], line['source'], line['preset']), []).append(line)
  out = []
  for (dataset, source, preset), some in groups.items():
    entry: dict[str, Any] = {'dataset': dataset, 'source': source, 'preset': preset}
    entry |= {'models': len(some), 'd1': None, 'd': None}
    if len(some) >= FEWEST_MODELS:
      column = lambda key, some=some: np.array([line[key] for line in some])
      entry['d1'] = metrics.spearman(column('attack_d1'), column('user_d'))
      entry['d'] = metrics.spearman(column('attack_d'), column('user_d'))
    out.append(entry)
  return out


def _walked(runs: Sequence[merge.Run], summaries: Sequence[Mapping[str, Any]]) -> str:
  lines = []
  for run, summary in zip(runs, summaries, strict=True):
    groups = summary['groups']
    if groups:
      base = summary['trajectories']['base']['noc90']['value']
      lines.append(
        [run.dataset, run.model, run.config['users']['groups'], f'{base:.2f}']
        + [f'{groups["mean"]["value"]:.2f} ± {groups["std"]["value"]:.2f}']
        + [x100(groups[key]['value']) for key in ('delta_base', 'delta_groups')]
        + [str(summary['num_clicks']), str(groups['mean']['n'])]
      )
  head = ['Data set', 'Model', 'Prior', 'NoC@90 base', 'NoC@90 G1 to G10', 'Delta-Base, %']
  return table([*head, 'Delta G1-G10, %', 'rounds', 'n'], lines) if lines else ''


def _markdown(
  runs: Sequence[merge.Run],
  summaries: Sequence[Mapping[str, Any]],
  lines: Sequence[Mapping[str, Any]],
  correlations: Sequence[Mapping[str, Any]],
  pictures: Sequence[str],
) -> str:
  numbers = ('robot', 'mean', 'std', 'nsr', 'd', 'inside', 'attack_d1', 'attack_d')
  cells = [
    [line['dataset'], line['model'], line['source'], line['preset'] or '-']
    + [x100(line[key]) for key in numbers]
    + [str(line[key]) for key in ('n', 'n_several', 'n_both')]
    for line in lines
  ]
  head = ['Data set', 'Model', 'Clicks from', 'Preset', 'Robot', 'Mean', 'Std', 'NSR', 'User D']
  attacked = ['Attack D@1', 'Attack D']
  parts = [
    '# Users\' clicks over models',
    'IoU, NSR, D and shares are x100. D is highest - lowest IoU of an instance\'s users, and MAX - '
    'MIN of an attack, after one click (D@1) and as IoU-AuC of all. Std, NSR and User D count '
    'instances with 2 or more clicks, the attack\'s D those of them that were attacked.',
    table([*head, 'Inside', *attacked, 'n', users.SEVERAL, 'of these attacked'], cells),
  ]
  if walked := _walked(runs, summaries):
    parts += [
      'Groups are slices of a click prior, which stands in for RClicks\' learned clickability '
      'model: they do not compare with published numbers.',
      walked,
    ]
  if correlations:
    shown = lambda value: '-' if value is None else f'{value:.2f}'
    entries = [
      [one['dataset'], one['source'], one['preset'], shown(one['d1']), shown(one['d'])]
      + [str(one['models'])]
      for one in correlations
    ]
    parts += [
      '## Do attacks rank models as users do?',
      f'Spearman\'s correlation of D under attack with D under users, over at least '
      f'{FEWEST_MODELS} models, on the instances with 2 or more clicks that were attacked.',
      table(['Data set', 'Clicks from', 'Preset', 'with D@1', 'with D', 'models'], entries),
      *(f'![D under users beside D under attack]({name})' for name in pictures),
    ]
  return '\n\n'.join(parts) + '\n'


def write_comparison(
  root: pathlib.Path, runs: Sequence[merge.Run], attacks: Sequence[merge.Run]
) -> pathlib.Path:
  """Writes merged runs, their reports, `comparison.md` and `comparison.json`.

  Args:
    root: for everything; of several runs each has a folder below it.
    runs: of experiments.users.
    attacks: on their models and data sets.

  Returns:
    The path of `comparison.md`.

  Raises:
    results.WorkdirError: an attack is of none of the runs, or something cannot be written.
  """
  for attack in attacks:
    if not any(_same(run.config, attack.config) for run in runs):
      raise WorkdirError(f'--workdirs: {attack.name} is of no model and data set of --compare')
  scores = [matched(run.config, attacks, all_of_them=False) for run in runs]
  summaries = []
  for run, mine in zip(runs, scores, strict=True):
    folder = root if len(runs) == 1 else root / run.name
    try:
      (folder / 'figures').mkdir(parents=True, exist_ok=True)
      (root / 'figures').mkdir(parents=True, exist_ok=True)
    except OSError as error:
      raise WorkdirError(f'--workdir={root} cannot be written: {error}') from error
    workdir = results.Workdir(folder)
    workdir.write_json('config.json', run.config)
    workdir.write_json('instances.json', {'instances': run.instances})
    rows = workdir.write_rows([row['instance'] for row in run.rows], run.rows)
    summaries.append(write_run(workdir, rows, run.config, run.totals, mine))
  lines = _lines(runs, summaries)
  correlations = ranks(lines)
  pictures = []
  for number, one in enumerate(correlations):
    if one['models'] > 1:
      key = ('dataset', 'source', 'preset')
      some = [
        line for line in lines
        if line['user_d'] is not None and all(line[name] == one[name] for name in key)
      ]
      title = f'{one["dataset"]}, {one["source"]}, {one["preset"]}'
      picture = user_figures.draw_models(some, title)
      pictures.append(f'figures/models_{number}.png')
      results.write_atomically(root / pictures[-1], picture)
  text = _markdown(runs, summaries, lines, correlations, pictures)
  results.write_atomically(root / 'comparison.md', text.encode())
  document = {'runs': lines, 'correlations': correlations}
  results.Workdir(root).write_json('comparison.json', document)
  return root / 'comparison.md'
