"""The report a person reads first: scores, curves and troubles of one run as Markdown."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tetris_jax.report.attack.summary import ORDER
from tetris_jax.scores import metrics, priors

__all__ = ['cell', 'facts', 'interval', 'markdown', 'table', 'troubles', 'x100']

_MOST_LISTED = 50
_MOST_VULNERABLE = 10
_NOTHING = '-'
# Most presets draw nothing and have no seed.
_SHOWN_FLAGS = ('batch_size', 'limit', 'seed')


def table(head: Sequence[str], lines: Sequence[Sequence[str]], rest: str = '---:') -> str:
  """A Markdown table, its first column to the left and the rest as their rule says."""
  rule = ['---', *[rest] * (len(head) - 1)]
  return '\n'.join(f'| {" | ".join(cells)} |' for cells in [head, rule, *lines])


def x100(value: float | None) -> str:
  """A number in [0, 1] as the field prints it; "-" for none."""
  if value is None:
    return _NOTHING
  return f'{round(100 * value, 1) + 0.0:.1f}'  # + 0.0 turns -0.0 into 0.0.


def interval(estimate: Mapping[str, Any] | None) -> str:
  """Both ends of an estimate's interval, x100; "-" where there is none."""
  if estimate is None or estimate['low'] is None:
    return _NOTHING
  return f'{x100(estimate["low"])} to {x100(estimate["high"])}'


def cell(text: str) -> str:
  """Text that neither ends a table's cell nor its line."""
  text = text.encode(errors='replace').decode()
  return ' '.join(text.replace('|', '\\|').split())


def _run_modes(summary: Mapping[str, Any]) -> list[str]:
  return [mode for mode in ORDER if summary['iou_auc'][mode] is not None]


def _scores(summary: Mapping[str, Any]) -> str:
  estimates = summary['estimates']
  lines = []
  for mode in _run_modes(summary):
    iou, biou = estimates['iou_auc'][mode], estimates['biou_auc'][mode]
    lines.append(
      [mode.upper(), x100(iou['value']), interval(iou)]
      + [x100(biou['value']), interval(biou), str(iou['n'])]
    )
  if summary['d']['value'] is not None:
    iou, biou = summary['d'], summary['biou_d']
    lines.append(
      ['**D = MAX - MIN**', f'**{x100(iou["value"])}**', interval(iou)]
      + [x100(biou['value']), interval(biou), str(iou['n'])]
    )
  return table(['', 'IoU-AuC', '95 % interval', 'BIoU-AuC', '95 % interval', 'n'], lines)


def _click_counts(summary: Mapping[str, Any]) -> str:
  qualities = [f'{100 * quality:.0f}' for quality in metrics.QUALITIES]
  head = ['', *(f'NoC@{q}' for q in qualities), *(f'NoF@{q}' for q in qualities), 'n']
  lines = []
  for mode in _run_modes(summary):
    noc = [f'{summary["noc"][quality][mode]:.2f}' for quality in qualities]
    nof = [str(summary['nof'][quality][mode]) for quality in qualities]
    lines.append([mode.upper(), *noc, *nof, str(summary['n_ok'])])
  return table(head, lines)


def _per_click(summary: Mapping[str, Any]) -> str:
  modes = _run_modes(summary)
  head = ['Clicks']
  for name in ('IoU', 'BIoU'):
    head += [f'{name} {mode.upper()}' for mode in modes]
  lines = []
  for click in range(summary['num_clicks']):
    cells = [str(click + 1)]
    for key in ('per_click', 'per_click_biou'):
      cells += [x100(summary[key][mode][click]) for mode in modes]
    lines.append(cells)
  return table(head, lines)


def _first_click(summary: Mapping[str, Any]) -> str:
  """How the first click's IoU is spread over the legal region."""
  levels, quantiles = summary['levels'], summary['quantiles']
  lines = [
    [f'{100 * level["depth"]:.0f} %', *(x100(level[key]['value']) for key in ('min', 'max', 'd'))]
    + [str(level['d']['n']), f'{level["tried"]:.0f}']
    for level in levels
  ]
  parts = [
    '## First click, by depth and by prior',
    'Lowest and highest IoU among the clicks tried that lie deeper in the legal region than a '
    'share of its largest inner distance. Clicks are spread over the whole region, few of them '
    'deep inside: below the first line D is at least this. `--depth` searches there. Instances '
    f'with fewer than {priors.FEWEST} clicks are not counted.',
    table(['Deeper than', 'MIN', 'MAX', 'D', 'n', 'clicks tried'], lines),
  ]
  names = list(next(iter(quantiles.values()), {}))
  if names:
    lines = [
      [prior, *(x100(found[name]['value']) for name in names), str(found[names[0]]['n'])]
      for prior, found in quantiles.items()
    ]
    parts += [
      'Means over instances of IoU quantiles under click priors; a position that was not tried '
      'counts as the tried one that it most likely agrees with.',
      table(['Prior', *names, 'n'], lines),
    ]
  if summary['hidden'] is not None:
    hidden = summary['hidden']
    parts.append(
      f'Estimate of the range of IoU still unfound: {x100(hidden["value"])} on average over '
      f'{hidden["n"]} instances.'
    )
  return '\n\n'.join(parts)


def _instances(
  rows: Sequence[Mapping[str, Any]], picture: Callable[[int, str], str | None]
) -> str:
  """The instances whose IoU-AuC moves most with the clicks; without a search, the worst ones."""
  ok = [(index, row) for index, row in enumerate(rows) if row['status'] == 'ok']
  searched = ok[0][1]['iou']['min'] is not None

  def score(item: tuple[int, Mapping[str, Any]]) -> float:
    iou = item[1]['iou']
    if searched:
      return float(metrics.robustness(iou['min'], iou['max']))
    return float(metrics.iou_auc(iou['base']))

  lines = []
  for index, row in sorted(ok, key=score, reverse=searched)[:_MOST_VULNERABLE]:
    file = picture(index, row['instance'])
    name = cell(row['instance'])
    first = [x100(row['iou'][mode][0]) for mode in ORDER if row['iou'][mode] is not None]
    lines.append([f'[{name}]({file})' if file else name, x100(score((index, row))), *first])
  modes = [mode.upper() for mode in ORDER if ok[0][1]['iou'][mode] is not None]
  head = ['Instance', 'D' if searched else 'IoU-AuC', *(f'{mode} at 1 click' for mode in modes)]
  title = 'Largest D' if searched else 'Lowest IoU-AuC'
  return f'## {title}\n\n{table(head, lines)}'


def troubles(rows: Sequence[Mapping[str, Any]]) -> str:
  """The instances without numbers and why, as a section."""
  bad = [row for row in rows if row['status'] != 'ok']
  lines = [
    [cell(row['instance']), row['status'], cell(row['reason'])] for row in bad[:_MOST_LISTED]
  ]
  text = '## Instances without numbers\n\n' + table(['Instance', 'Status', 'Reason'], lines, '---')
  if len(bad) > _MOST_LISTED:
    text += f'\n\n... and {len(bad) - _MOST_LISTED} more, see `rows.jsonl`.'
  return text


def _warnings(rows: Sequence[Mapping[str, Any]]) -> str:
  """The instances that were measured and yet look wrong, as a section."""
  odd = [row for row in rows if row.get('warnings')]
  lines = [
    [cell(row['instance']), cell('; '.join(row['warnings']))] for row in odd[:_MOST_LISTED]
  ]
  text = '## Warnings\n\n' + table(['Instance', 'What looks wrong'], lines, '---')
  if len(odd) > _MOST_LISTED:
    text += f'\n\n... and {len(odd) - _MOST_LISTED} more, see `rows.jsonl`.'
  return text


def _speed(summary: Mapping[str, Any]) -> list[list[str]]:
  """Lines of the facts; none where the speed is kept apart."""
  if 'evaluations_per_second' not in summary:
    return []
  speed = summary['evaluations_per_second']
  return [
    ['Speed', _NOTHING if speed is None else f'{speed:.1f} evaluations/s, compiling aside'],
    ['Compiling', f'{summary["compile_seconds"]:.1f} s, programs: {summary.get("programs", "?")}'],
  ]


def facts(summary: Mapping[str, Any], config: Mapping[str, Any]) -> str:
  """What was run, on what and how fast, as a section."""
  flags, versions, devices = config['flags'], config['versions'], config['devices']
  where = f' at `{flags["data_dir"]}`' if flags['data_dir'] else ''
  # The sums go by the published file's name, whatever file of that layout was given.
  given = pathlib.PurePath(flags.get('weights') or '').name
  lines = [
    ['Model', f'{config["model"]["name"]}'],
    *(['Weights', f'`{name}`, sha256 `{sha}`'] for name, sha in config['model']['sha256'].items()),
    *([['Weights given', f'`{given}`, in place of the published file']] if given else []),
    ['Data set', f'{flags["dataset"]}{where}, {config["instances"]["count"]} instances'],
    ['Flags', ', '.join(f'{key} {flags[key]}' for key in _SHOWN_FLAGS if key in flags)],
    ['Preset', ', '.join(f'{key} {value}' for key, value in config['preset'].items())],
    ['Evaluations', f'{summary["forward"]} forward, of which {summary["backward"]} with gradient'],
    *_speed(summary),
    ['Device', f'{devices["count"]} x {devices["kind"]} ({devices["platform"]})'],
    ['Versions', ', '.join(f'{key} {value}' for key, value in versions.items())],
  ]
  cells = [[name, cell(str(value))] for name, value in lines]
  return '## Run\n\n' + table(['', ''], cells, '---')


def markdown(
  rows: Sequence[Mapping[str, Any]],
  summary: Mapping[str, Any],
  config: Mapping[str, Any],
  picture: Callable[[int, str], str | None],
) -> str:
  """The report of one run.

  Args:
    rows: in data set order.
    summary: of these rows.
    config: as `config.json` holds it.
    picture: (position, instance name) -> path of its picture below the report, or None.
  """
  counts = f'{summary["n_ok"]} ok, {summary["n_failed"]} failed, {summary["n_skipped"]} skipped'
  parts = [
    f'# {summary["model"]}: robustness to clicks',
    f'Preset `{summary["preset"]}`, {summary["num_clicks"]} clicks. Instances: {counts}.',
  ]
  if summary['n_ok']:
    parts += [
      'IoU and its scores are x100. A lower D is more robust. Intervals: 95 %, bootstrap over '
      'instances.',
      _scores(summary),
      '![IoU over clicks](figures/curves.png)',
      '## Clicks to a quality',
      f'NoC@q: mean clicks to an IoU of q, {summary["num_clicks"]} where it is never reached. '
      f'NoF@q: instances that need all {summary["num_clicks"]}.',
      _click_counts(summary),
      '## Mean after each click',
      _per_click(summary),
    ]
    if summary['levels'] is not None:
      parts.append(_first_click(summary))
    parts.append(_instances(rows, picture))
  else:
    parts.append('No instance was measured.')
  if summary['n_warned']:
    parts.append(_warnings(rows))
  if summary['n_ok'] < len(rows):
    parts.append(troubles(rows))
  parts.append(facts(summary, config))
  return '\n\n'.join(parts) + '\n'
