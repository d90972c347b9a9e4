"""Tables of several runs, as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import functools
import io
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tetris_jax.report import markdown, style
from tetris_jax.scores import table
from tetris_jax.scores.table import STANDARD, Metric

__all__ = ['as_csv', 'as_latex', 'as_markdown']

# Where a spreadsheet begins to reckon.
_FORMULA = ('=', '+', '-', '@', '\t', '\r')

_LATEX = str.maketrans(
  {
    '\\': r'\textbackslash{}', '~': r'\textasciitilde{}', '^': r'\textasciicircum{}',
    **{character: f'\\{character}' for character in '&%$#_{}'},
  }
)  # fmt: skip


class _Column(NamedTuple):
  """A column of the table of runs.

  Attributes:
    title: its head.
    cell: a line of `compare.overview` -> what the column shows of it.
  """

  title: str
  cell: Callable[[Mapping[str, Any]], Any]


def _metric_columns(metric: Metric) -> Iterator[_Column]:
  name, title = metric.name, metric.titled()
  if metric.kind == 'range':
    yield _Column(title, lambda line: style.number(metric.format, line[name]['value']))
    yield _Column(style.INTERVAL, lambda line: style.interval(line[name], metric.format))
    return

  def cell(mode: str, line: Mapping[str, Any]) -> str:
    return style.number(metric.format, line[name][mode])

  for mode in table.ORDER:
    # The columns of IoU-AuC come first and are named by their modes alone.
    head = mode.upper() if metric is STANDARD else f'{title} {mode.upper()}'
    yield _Column(head, functools.partial(cell, mode))


def _columns() -> list[_Column]:
  return [
    _Column('Data set', lambda line: line['dataset']),
    _Column('Preset', lambda line: line['preset']),
    _Column('Model', lambda line: line['model']),
    _Column('n', lambda line: str(line['n'])),
    *(column for metric in table.compared('printed') for column in _metric_columns(metric)),
    _Column('Rank', lambda line: style.whole(line['rank'])),
    _Column('Robust rank', lambda line: style.whole(line['robust_rank'])),
  ]


_NAMES = 3
"""How many columns, the first ones, are text."""


def as_markdown(
  lines: Sequence[Mapping[str, Any]],
  orders: Sequence[Mapping[str, Any]],
  pairs: Sequence[Mapping[str, Any]],
  notes: Sequence[str] = (),
) -> str:
  """The comparison as Markdown.

  Args:
    lines: of `tetris_jax.report.comparison.compare.overview`.
    orders: of `compare.orders`.
    pairs: of `compare.pairs`.
    notes: on how far the runs compare.
  """
  columns = _columns()
  cells = [[markdown.cell(column.cell(line)) for column in columns] for line in lines]
  parts = [
    '# Robustness to clicks',
    'IoU-AuC and D are x100; D = MAX - MIN, lower is more robust. Rank: by BASE; robust rank: by '
    'D. Intervals: 95 %, bootstrap over instances.',
    markdown.table([column.title for column in columns], cells, left=_NAMES),
  ]
  if notes:
    parts.append(markdown.noted(notes))
  if orders:
    parts += [
      '## Does the attack change the order of models?',
      "Kendall's tau between the orders by BASE and by D; 1 is the same order.",
      _orders(orders),
    ]
  if pairs:
    parts += [
      '## Differences of D on the same instances',
      'Interval: paired bootstrap. p: two-sided permutation test; not corrected for the number of '
      'pairs.',
      _pairs(pairs),
    ]
  return markdown.document(parts)


def _orders(orders: Sequence[Mapping[str, Any]]) -> str:
  lines = [
    [markdown.cell(one['dataset']), markdown.cell(one['preset']), str(one['n_models'])]
    + [style.two_decimals(one['kendall_tau'])]
    for one in orders
  ]
  return markdown.table(['Data set', 'Preset', 'Models', 'tau'], lines, left=2)


def _pairs(pairs: Sequence[Mapping[str, Any]]) -> str:
  lines = []
  for one in pairs:
    names = [one['dataset'], one['same'], f'{one["first"]} - {one["second"]}']
    difference = one['difference']
    lines.append(
      [*map(markdown.cell, names), style.x100(difference['value']), style.interval(difference)]
      + [style.p_value(one['p_value']), str(difference['n'])]
    )
  head = ['Data set', 'Both with', 'D of', 'Difference', style.INTERVAL, 'p', 'n']
  return markdown.table(head, lines, left=3)


def _csv_columns() -> Iterator[_Column]:
  """All that a line holds of numbers: scores by mode first, then of MIN and MAX together."""

  def at(*keys: str) -> Callable[[Mapping[str, Any]], Any]:
    return lambda line: functools.reduce(operator.getitem, keys, line)

  def text(line: Mapping[str, Any], name: str) -> str:
    return f"'{line[name]}" if line[name].startswith(_FORMULA) else line[name]

  for name in ('dataset', 'preset', 'model'):
    yield _Column(name, functools.partial(text, name=name))
  for name in ('num_clicks', 'n', 'n_failed', 'n_skipped'):
    yield _Column(name, at(name))
  known = table.compared('printed', 'kept')
  for metric in (one for one in known if one.kind == 'mode'):
    for mode in table.ORDER:
      yield _Column(f'{metric.name}_{mode}', at(metric.name, mode))
  for metric in (one for one in known if one.kind == 'range'):
    yield _Column(metric.name, at(metric.name, 'value'))
    for end in ('low', 'high'):
      yield _Column(f'{metric.name}_{end}', at(metric.name, end))
  for name in ('rank', 'robust_rank'):
    yield _Column(name, at(name))
  for mode in ('min', 'max'):
    yield _Column(f'rank_{mode}', at('ranks', mode))


def as_csv(lines: Sequence[Mapping[str, Any]]) -> str:
  """One line a run; scores in [0, 1] in full, empty where there is none.

  A name that a spreadsheet would take for a formula has an apostrophe before it.
  """
  columns = list(_csv_columns())
  file = io.StringIO()
  writer = csv.writer(file, lineterminator='\n')
  writer.writerow([column.title for column in columns])
  writer.writerows([column.cell(line) for column in columns] for line in lines)
  return file.getvalue()


def as_latex(lines: Sequence[Mapping[str, Any]], notes: Sequence[str] = ()) -> str:
  r"""A `tabular` of all runs in the rules of `booktabs`; nothing else is needed.

  Args:
    lines: of `tetris_jax.report.comparison.compare.overview`.
    notes: on how far the runs compare, as comments above.
  """
  columns = _columns()
  titles = [
    '95\\,\\%' if column.title == style.INTERVAL else _tex(column.title) for column in columns
  ]
  out = [
    '% needs \\usepackage{booktabs}',
    *(f'% {style.one_line(note)}' for note in notes),
    f'\\begin{{tabular}}{{{"l" * _NAMES}{"r" * (len(columns) - _NAMES)}}}',
    '\\toprule',
    ' & '.join(titles) + ' \\\\',
    '\\midrule',
  ]
  for line in lines:
    cells = [_tex(column.cell(line)) for column in columns]
    out.append(' & '.join('--' if cell == style.NOTHING else cell for cell in cells) + ' \\\\')
  return '\n'.join([*out, '\\bottomrule', '\\end{tabular}', ''])


def _tex(text: str) -> str:
  made = style.one_line(text).translate(_LATEX)
  # After the end of a row either would be taken for the row's own option.
  return f'{{{made[0]}}}{made[1:]}' if made.startswith(('[', '*')) else made
