"""The Markdown report: the numbers as the field prints them, and tables that stay tables."""

import pytest
import runs

from tetris_jax.report.attack import summary, tables
from tetris_jax.runs import schema
from tetris_jax.scores import priors

CONFIG = {
  'flags': {'dataset': 'folder', 'data_dir': '/d', 'batch_size': 2, 'limit': 0, 'seed': 0},
  'preset': {'name': 'tetris', 'num_clicks': 2},
  'model': {'name': 'toy', 'sha256': {'toy.pt': 'abc'}},
  'instances': {'count': 5},
  'versions': {'jax': '1'},
  'devices': {'platform': 'cpu', 'kind': 'cpu', 'count': 1},
}


def report(found, preset='tetris'):
  made = summary.summarise(found, 'toy', preset, 2)
  made |= {'evaluations_per_second': 12.34, 'compile_seconds': 5.0}
  return tables.report(found, made, CONFIG, lambda name: f'figures/{name}.png')


def cells(text, first):
  """The cells of the only line that begins with a cell."""
  (line,) = [line for line in text.splitlines() if line.startswith(f'| {first} |')]
  return [cell.strip() for cell in line.strip('|').split(' | ')][1:]


def test_scores_are_printed_x100():
  text = report(runs.MIXED)
  assert '2 ok, 1 failed, 2 skipped' in text
  assert cells(text, '**D = MAX - MIN**') == [
    '**51.5**', '50.0 to 53.0', '25.8', '25.0 to 26.5', '2',
  ]  # fmt: skip
  assert cells(text, '1') == ['15.0', '30.0', '60.0', '7.5', '15.0', '30.0']
  assert cells(text, '[b](figures/b.png)') == ['53.0', '20.0', '30.0', '50.0']
  assert text.index('[b](figures') < text.index('[a](figures')
  assert cells(text, 'Speed') == ['12.3 evaluations/s, compiling aside']


def test_every_table_has_as_many_cells_as_its_head():
  nasty = schema.empty_row('attack', 'x|y\nz', 'failed', 'one | two\nthree', None)
  text = report([*runs.MIXED, nasty])
  assert 'x\\|y z' in text
  for block in text.split('\n\n'):
    if block.startswith('|'):
      widths = {line.replace('\\|', '').count('|') for line in block.splitlines()}
      assert len(widths) == 1, block


def test_a_preset_without_search_has_no_d():
  text = report([runs.curves('a', None, [0.3, 0.9], None)], 'baseline')
  assert 'MAX - MIN' not in text
  assert '## Lowest IoU-AuC' in text
  assert cells(text, '[a](figures/a.png)') == ['60.0', '30.0']


def test_clicks_outside_of_the_picture_are_told():
  beyond = runs.row('a', 0.1, 0.2, 0.3)
  assert 'outside' not in report([beyond])
  beyond['clicks'] = beyond['clicks'] | {'max': [[1.0, 2.0, 1], [3.0, 29.6, 0]]}
  assert 'Clicks outside of the picture: 1 of MAX, of 2.' in report([beyond])


def test_a_run_without_numbers_says_why():
  text = report(runs.MIXED[2:])
  assert 'No instance was measured.' in text
  assert cells(text, 'c') == ['failed', 'damaged']


@pytest.mark.parametrize('number', [50, 51, 60])
def test_long_lists_of_troubles_are_cut(number):
  failed = [schema.empty_row('attack', f'i{k}', 'failed', 'damaged', None) for k in range(number)]
  text = report(failed)
  assert text.count('| failed |') == min(number, 50)
  assert ('more, see `rows.jsonl`' in text) == (number > 50)


def test_a_global_search_tells_of_the_first_click():
  levels = [{'depth': d, 'n': 2, 'min': 0.1, 'max': 0.5} for d in priors.DEPTHS]
  spread = {prior: {'mean': 0.3, 'q50': 0.2} for prior in priors.PRIORS}
  first = runs.curves('a', [0.1, 0.1], [0.3, 0.3], [0.5, 0.5])
  text = report([first | {'levels': levels, 'quantiles': spread, 'hidden': 0.2}])
  assert cells(text, '30 %') == ['10.0', '50.0', '40.0', '1', '2']
  assert cells(text, 'gaussian_0.05') == ['30.0', '20.0', '1']
  assert 'still unfound: 20.0 on average over 1 instances' in text
  assert 'by depth' not in report(runs.MIXED)


@pytest.mark.parametrize('number', [0, 1, 51])
def test_warnings_are_told_beside_the_numbers(number):
  odd = runs.curves('odd|one', [0.3, 0.3], [0.3, 0.3], [0.3, 0.3])
  odd |= {'warnings': ['the range is one point', 'zero']}
  text = report([*runs.MIXED, *[odd] * number])
  assert ('## Warnings' in text) == bool(number)
  assert text.count('| odd\\|one | the range is one point; zero |') == min(number, 50)
  assert ('... and 1 more' in text) == (number > 50)
