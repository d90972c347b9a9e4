"""Writes what users' clicks amount to: a run beside attacks, and models beside each other."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from tetris_jax.report import markdown, summaries
from tetris_jax.report.comparison import common
from tetris_jax.report.style import x100
from tetris_jax.report.users import compare, figures, summary, tables
from tetris_jax.runs import files, merge, staging, workdirs
from tetris_jax.runs.typed import told
from tetris_jax.runs.workdirs import WorkdirError
from tetris_jax.scores.table import NOC

__all__ = ['headline', 'matched', 'write_comparison', 'write_run']

# What the model sees of a click must be alike; disks and zoom of other families are None.
_SAME_FLAGS = ('dataset', 'data_options', 'objects', 'ignore_id')
_SAME_VIEW = ('zoom', 'disks')


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
  """Whether two configurations are of one model and one data set."""
  models = [{key: c['model'][key] for key in ('name', 'sha256')} for c in (one, other)]
  flags = [[_listed(c['flags'].get(key)) for key in _SAME_FLAGS] for c in (one, other)]
  return models[0] == models[1] and flags[0] == flags[1]


def _listed(value: Any) -> Any:
  # config.json has lists where a fresh configuration has tuples.
  return list(value) if isinstance(value, tuple) else value


def matched(
  config: Mapping[str, Any], attacks: Sequence[merge.Run], *, all_of_them: bool = True
) -> dict[str, dict[str, dict[str, float]]]:
  """The scores of the attacks on a run's model and data set, as `summary.Attacks` holds them.

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
          f'workdirs: {told(run.name)} is not of {config["model"]["name"]} with these weights on '
          f'{config["flags"]["dataset"]} with these options'
        )
      continue
    for name in _SAME_VIEW:
      here, there = config['flags'].get(name), run.config['flags'].get(name)
      if here != there:
        raise WorkdirError(
          f'workdirs: {told(run.name)} ran with {name}={there}, users with {name}={here}; outcomes '
          f'compare only where clicks are shown alike: give {name}={there}'
        )
    if run.preset in found:
      raise WorkdirError(f'workdirs: two runs of preset {told(run.preset)}')
    scores = summary.attack_scores(run.rows)
    if not scores:
      name = told(run.name)
      raise WorkdirError(f'workdirs: {name} has no MIN and MAX; its preset searches nothing')
    found[run.preset] = scores
  return found


def headline(made: Mapping[str, Any]) -> str:
  """One line for the console, of a summary."""
  parts = [
    f'{source} IoU {x100(one["mean"]["value"])}, NSR {x100(one["nsr"]["value"])}'
    for source, one in made['users'].items()
  ]
  if groups := made['groups']:
    clicks = f'{groups["mean"]["value"]:.2f} ± {groups["std"]["value"]:.2f}'
    parts.append(f'{NOC.titled()} {clicks}')
  return f'{"; ".join(parts) or "-"}. Instances: {markdown.counted(made)}.'


def write_run(
  workdir: workdirs.Workdir,
  rows: Sequence[Mapping[str, Any]],
  config: Mapping[str, Any],
  totals: Mapping[str, float],
  attacks: summary.Attacks,
  *,
  cause: str = '',
) -> dict[str, Any]:
  """Writes `figures/`, `report.md` and, last, `summary.json`, and returns the summary.

  Args:
    workdir: where to.
    rows: of the run, in data set order.
    config: what its `config.json` holds.
    totals: as `tetris_jax.report.summaries.speed` reads them.
    attacks: on the same instances.
    cause: why most clicks of the file miss their objects, as a clause, where that is known.

  Raises:
    workdirs.WorkdirError: something cannot be written.
  """
  model, ok = config['model']['name'], summaries.measured(rows)
  known = {row['instance'] for row in ok}
  for preset, scores in attacks.items():
    if known and not known & set(scores):
      raise WorkdirError(f'workdirs: {told(preset)} has no instance in common with this run')
  made = summary.summarise(rows, model, config['preset']['num_clicks'], attacks)
  made |= summaries.speed(totals)
  pictures = {
    name: figures.draw_spread(ok, source, model)
    for source, name in tables.spread_names(made).items()
  }
  if made['users']:
    pictures['figures/distance.png'] = figures.draw_distance(ok)
  if made['trajectories']:
    pictures['figures/rounds.png'] = figures.draw_rounds(made)
  for name, picture in pictures.items():
    workdirs.write_atomically(workdir.path / name, picture)
  page = tables.report(rows, made, config, cause=cause)
  workdirs.write_atomically(workdir.path / 'report.md', page.encode())
  # The summary comes last: where it lies, the rest does too.
  workdir.write_json('summary.json', made)
  return made


def _write_merged(folder: pathlib.Path, run: merge.Run, attacks: summary.Attacks) -> dict[str, Any]:
  """A merged run as a work folder; returns its summary."""
  (folder / 'figures').mkdir(parents=True, exist_ok=True)
  workdir = workdirs.Workdir(folder)
  workdir.write_json('config.json', run.config)
  workdir.write_json('instances.json', {'instances': run.instances})
  rows = workdir.write_rows([row['instance'] for row in run.rows], run.rows)
  return write_run(workdir, rows, run.config, run.totals, attacks)


def _draw_models(
  root: pathlib.Path,
  lines: Sequence[Mapping[str, Any]],
  correlations: Sequence[Mapping[str, Any]],
) -> list[str]:
  """A figure of each group of several models; returns their paths below `root`."""
  names = []
  for number, one in enumerate(correlations):
    if one['models'] < 2:
      continue
    title = f'{one["dataset"]}, {one["source"]}, {one["preset"]}'
    names.append(f'figures/models_{number}.png')
    picture = figures.draw_models(compare.members(lines, one), title)
    workdirs.write_atomically(root / names[-1], picture)
  return names


def write_comparison(
  root: pathlib.Path, runs: Sequence[merge.Run], attacks: Sequence[merge.Run]
) -> pathlib.Path:
  """Writes merged runs, their reports, `comparison.md` and `comparison.json`, all or nothing.

  Args:
    root: for everything; of several runs each has a folder below it.
    runs: of experiments.users.
    attacks: on their models and data sets.

  Returns:
    The path of `comparison.md`.

  Raises:
    workdirs.WorkdirError: an attack is of none of the runs, runs have no instance in common, or
      something cannot be written.
  """
  for attack in attacks:
    if not any(_same(run.config, attack.config) for run in runs):
      raise WorkdirError(f'workdirs: {told(attack.name)} is of no model and data set of compare')
  scores = [matched(run.config, attacks, all_of_them=False) for run in runs]
  shown, notes = common.on_common(runs)
  attacked, said = common.on_common(attacks)
  notes += said + common.notes([*runs, *attacks])
  names = [''] if len(runs) == 1 else files.distinct_names([run.name for run in runs])
  with staging.staged(root, f'workdir={root}') as made:
    (made / 'figures').mkdir()
    found = [
      _write_merged(made / name, run, mine)
      for name, run, mine in zip(names, runs, scores, strict=True)
    ]
    if said or shown != runs:
      found = [_compared(run, attacked) for run in shown]
    lines = compare.overview(shown, found)
    correlations = compare.ranks(lines)
    pictures = _draw_models(made, lines, correlations)
    text = compare.report(shown, found, lines, correlations, pictures, notes)
    workdirs.write_atomically(made / 'comparison.md', text.encode())
    document = {'runs': lines, 'correlations': correlations, **({'notes': notes} if notes else {})}
    workdirs.Workdir(made).write_json('comparison.json', document)
  return root / 'comparison.md'


def _compared(run: merge.Run, attacks: Sequence[merge.Run]) -> dict[str, Any]:
  """The summary of a run on the instances on which it is compared."""
  scores = matched(run.config, attacks, all_of_them=False)
  return summary.summarise(run.rows, run.model, run.config['preset']['num_clicks'], scores)
