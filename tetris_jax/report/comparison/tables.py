"""Tables of several runs, as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tetris_jax.report.attack.summary import ORDER
from tetris_jax.report.comparison.compare import QUALITY

__all__ = ['as_csv', 'as_latex', 'as_markdown']

_NOTHING = '-'
_LATEX = str.maketrans(
  {
    '\\': r'\textbackslash{}', '~': r'\textasciitilde{}', '^': r'\textasciicircum{}',
    **{character: f'\\{character}' for character in '&%$#_{}'},
  }
)  # fmt: skip


def _x100(value: float | None) -> str:
  return _NOTHING if value is None else f'{round(100 * value, 1) + 0.0:.1f}'


def _interval(estimate: Mapping[str, Any] | None) -> str:
  if not estimate or estimate['low'] is None:
    return _NOTHING
  return f'{_x100(estimate["low"])} to {_x100(estimate["high"])}'


def _count(value: float | None) -> str:
  return _NOTHING if value is None else f'{value:.2f}'


def _rank(value: int | None) -> str:
  return _NOTHING if value is None else str(value)


_COLUMNS: tuple[tuple[str, Callable[[Mapping[str, Any]], str]], ...] = (
  ('Data set', lambda line: line['dataset']),
  ('Preset', lambda line: line['preset']),
  ('Model', lambda line: line['model']),
  ('n', lambda line: str(line['n'])),
  *((mode.upper(), lambda line, mode=mode: _x100(line['iou_auc'][mode])) for mode in ORDER),
  ('D', lambda line: _x100(line['d'] and line['d']['value'])),
  ('95 % interval', lambda line: _interval(line['d'])),
  *(
    (f'NoC@{QUALITY} {mode.upper()}', lambda line, mode=mode: _count(line['noc'][mode]))
    for mode in ORDER
  ),
  ('Rank', lambda line: _rank(line['rank'])),
  ('Robust rank', lambda line: _rank(line['robust_rank'])),
)  # fmt: skip


def as_markdown(
  lines: Sequence[Mapping[str, Any]],
  orders: Sequence[Mapping[str, Any]],
  pairs: Sequence[Mapping[str, Any]],
) -> str:
  """The comparison as Markdown.

  Args:
    lines: of `tetris_jax.report.comparison.compare.overview`.
    orders: of `compare.orders`.
    pairs: of `compare.pairs`.
  """
  parts = [
    '# Robustness to clicks',
    'IoU-AuC and D are x100; D = MAX - MIN, lower is more robust. Rank: by BASE; robust rank: by '
    'D. Intervals: 95 %, bootstrap over instances.',
    _pipe([name for name, _ in _COLUMNS], [[cell(line) for _, cell in _COLUMNS] for line in lines]),
  ]
  if orders:
    cells = [
      [one['dataset'], one['preset'], str(one['n_models']), _tau(one['kendall_tau'])]
      for one in orders
    ]
    parts += [
      '## Does the attack change the order of models?',
      "Kendall's tau between the orders by BASE and by D; 1 is the same order.",
      _pipe(['Data set', 'Preset', 'Models', 'tau'], cells),
    ]
  if pairs:
    cells = [
      [one['dataset'], one['same'], f'{one["first"]} - {one["second"]}']
      + [_x100(one['difference']['value']), _interval(one['difference'])]
      + [_p(one['p_value']), str(one['difference']['n'])]
      for one in pairs
    ]
    head = ['Data set', 'Both with', 'D of', 'Difference', '95 % interval', 'p', 'n']
    parts += [
      '## Differences of D on the same instances',
      'Interval: paired bootstrap. p: two-sided permutation test; not corrected for the number of '
      'pairs.',
      _pipe(head, cells),
    ]
  return '\n\n'.join(parts) + '\n'


def _tau(value: float | None) -> str:
  return _NOTHING if value is None else f'{value:.2f}'


def _p(value: float | None) -> str:
  if value is None:
    return _NOTHING
  return '< 0.001' if value < 0.001 else f'{value:.3f}'


def _pipe(head: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
  left = sum(name in ('Data set', 'Preset', 'Model', 'Both with', 'D of') for name in head)
  rule = ['---'] * left + ['---:'] * (len(head) - left)
  clean = [[cell.replace('|', '\\|') for cell in row] for row in cells]
  return '\n'.join(f'| {" | ".join(row)} |' for row in [head, rule, *clean])


def as_csv(lines: Sequence[Mapping[str, Any]]) -> str:
  """One line a run; scores in [0, 1] in full, empty where there is none."""
  head = ['dataset', 'preset', 'model', 'num_clicks', 'n', 'n_failed', 'n_skipped']
  scores = [f'{kind}_{mode}' for kind in ('iou_auc', 'biou_auc', 'noc') for mode in ORDER]
  file = io.StringIO()
  writer = csv.writer(file, lineterminator='\n')
  ranks = ['rank', 'robust_rank', 'rank_min', 'rank_max']
  writer.writerow([*head, *scores, 'd', 'd_low', 'd_high', *ranks])
  for line in lines:
    difference = line['d'] or {}
    cells = [line[name] for name in head]
    cells += [line[kind][mode] for kind in ('iou_auc', 'biou_auc', 'noc') for mode in ORDER]
    cells += [difference.get(key) for key in ('value', 'low', 'high')]
    cells += [line['rank'], line['robust_rank']]
    writer.writerow([*cells, line['ranks']['min'], line['ranks']['max']])
  return file.getvalue()


def as_latex(lines: Sequence[Mapping[str, Any]]) -> str:
  r"""A `tabular` of all runs in the rules of `booktabs`; nothing else is needed."""
  names = ['95\\,\\%' if name == '95 % interval' else _tex(name) for name, _ in _COLUMNS]
  out = [
    '% needs \\usepackage{booktabs}',
    f'\\begin{{tabular}}{{lll{"r" * (len(_COLUMNS) - 3)}}}',
    '\\toprule',
    ' & '.join(names) + ' \\\\',
    '\\midrule',
  ]
  for line in lines:
    cells = [_tex(cell(line)) for _, cell in _COLUMNS]
    out.append(' & '.join('--' if cell == _NOTHING else cell for cell in cells) + ' \\\\')
  return '\n'.join([*out, '\\bottomrule', '\\end{tabular}', ''])


def _tex(text: str) -> str:
  return text.translate(_LATEX)
