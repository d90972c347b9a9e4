"""The report a person reads first: scores, curves and troubles of one run as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tetris_jax.report import markdown, style, summaries
from tetris_jax.report.attack import profile
from tetris_jax.report.style import interval, number, x100
from tetris_jax.scores import priors, table
from tetris_jax.scores.table import ORDER, ROBUST, STANDARD, Metric

__all__ = ['Picture', 'report']

_MOST_VULNERABLE = 10

Picture = Callable[[str], str | None]
"""Instance name -> path of its picture below the report, or None."""


def _run_modes(summary: Mapping[str, Any]) -> list[str]:
  return [mode for mode in ORDER if summary[STANDARD.name][mode] is not None]


def _at_qualities() -> list[tuple[Metric, float]]:
  return [(metric, quality) for metric in table.of_kind('mode') for quality in metric.qualities]


class _Column(NamedTuple):
  """A column of the table of scores, with its intervals beside it.

  Attributes:
    title: its head.
    mode: the metric of each mode, if there is one.
    range: the metric of MIN and MAX together, if there is one.
  """

  title: str
  mode: Metric | None
  range: Metric | None


def _columns() -> list[_Column]:
  ranges = table.of_kind('range')
  beside = {metric.column: metric for metric in ranges}
  return [
    _Column(metric.title, metric, beside.get(metric.name))
    for metric in table.of_kind('mode')
    if not metric.qualities
  ] + [_Column(metric.title, None, metric) for metric in ranges if metric.column is None]


def _mode_cells(summary: Mapping[str, Any], metric: Metric | None, mode: str) -> list[str]:
  if metric is None:
    return [style.NOTHING] * 2
  # A count has no estimate.
  found = summary['estimates'].get(metric.name)
  value = number(metric.format, summary[metric.name][mode])
  return [value, interval(found and found[mode], metric.format)]


def _range_cells(summary: Mapping[str, Any], metric: Metric | None) -> list[str]:
  if metric is None:
    return [style.NOTHING] * 2
  found = summary[metric.name]
  value = number(metric.format, found['value'])
  return [f'**{value}**' if metric is ROBUST else value, interval(found, metric.format)]


def _scores(summary: Mapping[str, Any]) -> str:
  columns = _columns()
  head, lines = [''], []
  for column in columns:
    head += [column.title, style.INTERVAL]
  for mode in _run_modes(summary):
    line = [mode.upper()]
    for column in columns:
      line += _mode_cells(summary, column.mode, mode)
    lines.append([*line, str(summary['estimates'][STANDARD.name][mode]['n'])])
  if summary[ROBUST.name]['value'] is not None:
    line = [f'**{ROBUST.title} = MAX - MIN**']
    for column in columns:
      line += _range_cells(summary, column.range)
    lines.append([*line, str(summary[ROBUST.name]['n'])])
  return markdown.table([*head, 'n'], lines)


def _click_counts(summary: Mapping[str, Any]) -> str:
  at = _at_qualities()
  lines = []
  for mode in _run_modes(summary):
    cells = [
      number(metric.format, summary[metric.name][table.quality_name(quality)][mode])
      for metric, quality in at
    ]
    lines.append([mode.upper(), *cells, str(summary['n_ok'])])
  titles = [metric.titled(quality=quality) for metric, quality in at]
  return markdown.table(['', *titles, 'n'], lines)


def _per_click(summary: Mapping[str, Any]) -> str:
  modes = _run_modes(summary)
  shown = [(metric, mode) for metric in table.of_kind('click') for mode in modes]
  lines = [
    [str(click + 1)]
    + [number(metric.format, summary[metric.name][mode][click]) for metric, mode in shown]
    for click in range(summary['num_clicks'])
  ]
  titles = [f'{metric.title} {mode.upper()}' for metric, mode in shown]
  return markdown.table(['Clicks', *titles], lines)


def _by_depth(levels: Sequence[Mapping[str, Any]]) -> str:
  lines = [
    [f'{100 * level["depth"]:.0f} %', *(x100(level[key]['value']) for key in ('min', 'max', 'd'))]
    + [str(level['d']['n']), f'{level["tried"]:.0f}']
    for level in levels
  ]
  return markdown.table(['Deeper than', 'MIN', 'MAX', 'D', 'n', 'clicks tried'], lines)


def _by_prior(quantiles: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> str:
  lines = [
    [markdown.cell(prior), *(x100(found[name]['value']) for name in names)]
    + [str(found[names[0]]['n'])]
    for prior, found in quantiles.items()
  ]
  return markdown.table(['Prior', *map(markdown.cell, names), 'n'], lines)


def _first_click(summary: Mapping[str, Any]) -> list[str]:
  """How the first click's IoU is spread over the legal region."""
  levels, quantiles, hidden = summary['levels'], summary['quantiles'], summary['hidden']
  if levels is None:
    return []
  parts = [
    '## First click, by depth and by prior',
    'Lowest and highest IoU among the clicks tried that lie deeper in the legal region than a '
    'share of its largest inner distance. Clicks are spread over the whole region, few of them '
    'deep inside: below the first line D is at least this. An attack kept to a depth searches '
    f'there. Instances with fewer than {priors.FEWEST} clicks are not counted.',
    _by_depth(levels),
  ]
  names = list(next(iter(quantiles.values()), {}))
  if names:
    parts += [
      'Means over instances of IoU quantiles under click priors; a position that was not tried '
      'counts as the tried one that it most likely agrees with.',
      _by_prior(quantiles, names),
    ]
  if hidden is not None:
    parts.append(
      f'Estimate of the range of IoU still unfound: {x100(hidden["value"])} on average over '
      f'{hidden["n"]} instances.'
    )
  return parts


def _instances(rows: Sequence[Mapping[str, Any]], picture: Picture) -> str:
  """The instances whose IoU-AuC moves most with the clicks; without a search, the worst ones."""
  ok = summaries.measured(rows)
  modes = [mode for mode in ORDER if ok[0]['iou'][mode] is not None]
  searched = 'min' in modes

  def score(row: Mapping[str, Any]) -> float:
    iou = row['iou']
    return float(ROBUST.score(iou['min'], iou['max']) if searched else STANDARD.score(iou['base']))

  lines = []
  for row in sorted(ok, key=score, reverse=searched)[:_MOST_VULNERABLE]:
    file, name = picture(row['instance']), row['instance']
    first = [x100(row['iou'][mode][0]) for mode in modes]
    shown = markdown.link(name, file) if file else markdown.cell(name)
    lines.append([shown, x100(score(row)), *first])
  metric = ROBUST if searched else STANDARD
  head = ['Instance', metric.title, *(f'{mode.upper()} at 1 click' for mode in modes)]
  title = f'{"Largest" if searched else "Lowest"} {metric.title}'
  return f'## {title}\n\n{markdown.table(head, lines)}'


def _numbers(
  rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Any], picture: Picture
) -> list[str]:
  """The sections of a run that measured something."""
  clicks, beyond = summary['num_clicks'], markdown.outside(summary)
  return [
    'IoU and its scores are x100. A lower D is more robust. Intervals: 95 %, bootstrap over '
    'instances.',
    _scores(summary),
    *([f'Clicks outside of the picture: {beyond}.'] if beyond else []),
    '![IoU over clicks](figures/curves.png)',
    *profile.section(summary),
    '## Clicks to a quality',
    f'NoC@q: mean clicks to an IoU of q, {clicks} where it is never reached. NoF@q: instances that '
    f'need all {clicks}.',
    _click_counts(summary),
    '## Mean after each click',
    _per_click(summary),
    *_first_click(summary),
    _instances(rows, picture),
  ]


def report(
  rows: Sequence[Mapping[str, Any]],
  summary: Mapping[str, Any],
  config: Mapping[str, Any],
  picture: Picture,
) -> str:
  """The report of one run as Markdown.

  Args:
    rows: in data set order.
    summary: of these rows.
    config: as `config.json` holds it.
    picture: see `Picture`.
  """
  measured = len(summaries.measured(rows))
  parts = [
    f'# {markdown.cell(summary["model"])}: robustness to clicks',
    f'Preset {markdown.code(summary["preset"])}, {summary["num_clicks"]} clicks. Instances: '
    f'{markdown.counted(summary)}.',
    *(_numbers(rows, summary, picture) if measured else ['No instance was measured.']),
  ]
  if summary['n_warned']:
    parts.append(markdown.warnings(rows))
  if measured < len(rows):
    parts.append(markdown.troubles(rows))
  parts.append(markdown.facts(summary, config))
  return markdown.document(parts)
