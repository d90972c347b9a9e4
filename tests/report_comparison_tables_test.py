"""Tables of runs as Markdown, CSV and LaTeX: the same numbers in all."""

import csv
import io

import runs as runs_lib

from tetris_jax.report.comparison import compare, tables


def overviewed(runs):
  return compare.overview(runs, [runs_lib.summarised(run) for run in runs])


def constant(model, low, base, high):
  return runs_lib.make(model, [runs_lib.row(name, low, base, high) for name in 'abcd'])


def test_tables_hold_the_same_numbers():
  runs = [constant('sam_b & co', 0.2, 0.9, 0.95), constant('ritm|it-m', 0.7, 0.8, 0.8125)]
  lines = overviewed(runs)
  text = tables.as_markdown(lines, compare.orders(lines), compare.pairs(runs))
  assert '| dev | tetris | sam_b & co | 4 | 20.0 | 90.0 | 95.0 | 75.0 | 75.0 to 75.0 |' in text
  assert 'ritm\\|it-m' in text
  assert '| dev | tetris | 2 | -1.00 |' in text
  assert '| dev | tetris | sam_b & co - ritm\\|it-m | 63.7 | 63.7 to 63.7 | 0.125 | 4 |' in text
  table = [line for line in text.splitlines() if line.startswith('| ')]
  assert all(line.replace('\\|', '').count('|') in (15, 5, 8) for line in table)

  first, second = csv.DictReader(io.StringIO(tables.as_csv(lines)))
  assert first['model'] == 'sam_b & co' and float(first['d']) == 0.75
  assert float(second['iou_auc_max']) == 0.8125 and second['robust_rank'] == '1'

  latex = tables.as_latex(lines)
  assert 'sam\\_b \\& co & 4 & 20.0 & 90.0 & 95.0 & 75.0' in latex
  body = [line for line in latex.splitlines() if line.endswith('\\\\')]
  columns = latex.partition('\\begin{tabular}{')[2].partition('}')[0]
  assert {line.replace('\\&', '').count('&') + 1 for line in body} == {len(columns)}


def test_what_was_not_run_is_a_dash_and_an_empty_cell():
  row = runs_lib.curves('a', None, [0.5, 0.5], None)
  (line,) = overviewed([runs_lib.make('m', [row], preset='baseline')])
  assert '| - | 50.0 | - | - |' in tables.as_markdown([line], [], [])
  assert '& -- & 50.0 & -- & -- & -- &' in tables.as_latex([line])
  (cells,) = csv.DictReader(io.StringIO(tables.as_csv([line])))
  assert cells['iou_auc_min'] == cells['d'] == cells['d_low'] == cells['rank'] == ''
  assert cells['iou_auc_base'] == '0.5' and cells['biou_auc_base'] == '0.25'


def test_notes_stand_below_the_table_and_only_where_there_are_any():
  lines = overviewed([constant('m', 0.2, 0.9, 0.95)])
  plain = tables.as_markdown(lines, [], [])
  noted = tables.as_markdown(lines, [], [], ['made <there>', 'and\nhere'])
  assert noted == plain.rstrip('\n') + '\n\n- made &lt;there>\n- and here\n'
  assert '\n% made <there>\n% and here\n' in tables.as_latex(lines, ['made <there>', 'and\nhere'])


def test_names_are_no_formulas_of_a_spreadsheet_nor_commands_of_latex():
  hostile = ['=cmd|x', '@x', '[1]', '*', 'a\nb', '\\input{x}', '-1', '\t=x']
  lines = [one | {'dataset': name} for name in hostile
           for one in overviewed([constant('m', 0.2, 0.9, 0.95)])]  # fmt: skip
  cells = [line['dataset'] for line in csv.DictReader(io.StringIO(tables.as_csv(lines)))]
  assert cells == ["'=cmd|x", "'@x", '[1]', '*', 'a\nb', '\\input{x}', "'-1", "'\t=x"]
  latex = tables.as_latex(lines)
  rows = [line for line in latex.splitlines() if line.endswith('\\\\')][1:]
  assert [row.partition(' & ')[0] for row in rows] == [
    '=cmd|x', '@x', '{[}1]', '{*}', 'a b', '\\textbackslash{}input\\{x\\}', '-1', '=x',
  ]  # fmt: skip
