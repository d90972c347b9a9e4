"""The table of metrics: what a row may say, and that a new one reaches every report by itself."""

import csv
import io
import json

import numpy as np
import pytest
import runs
from report_attack_tables_test import cells

from tetris_jax.report.attack import figures, write
from tetris_jax.report.comparison import compare, page, tables
from tetris_jax.runs import workdirs
from tetris_jax.scores import metrics, table

TOY = table.Metric('last_iou', 'Last IoU', lambda iou: iou[:, -1])


@pytest.fixture(autouse=True)
def own_table(monkeypatch):
  monkeypatch.setattr(table, 'METRICS', dict(table.METRICS))


def written(workdir, rows):
  """A run of these rows, its summary as written, and its report."""
  (workdir / 'figures').mkdir(parents=True, exist_ok=True)
  run = runs.make('m', rows)
  run.config['flags']['limit'] = 0
  made = write.write_run(
    workdirs.Workdir(workdir), run.rows, run.config, run.totals, lambda name: None
  )
  assert json.loads((workdir / 'summary.json').read_text()) == made
  return run, made, (workdir / 'report.md').read_text()


ROWS = [
  runs.curves('a', [0.1, 0.2], [0.3, 0.4], [0.5, 0.6]),
  runs.curves('b', [0.1, 0.4], [0.3, 0.6], [0.5, 1.0]),
]


def test_a_registered_metric_is_in_every_report(tmp_path):
  table.register(TOY)
  run, made, report = written(tmp_path, ROWS)
  assert made['last_iou'] == pytest.approx({'min': 0.3, 'base': 0.5, 'max': 0.8})
  assert made['estimates']['last_iou']['base'] == {'value': 0.5, 'low': 0.4, 'high': 0.6, 'n': 2}
  assert '| BIoU-AuC | 95 % interval | Last IoU | 95 % interval | n |' in report
  base = next(line for line in report.splitlines() if line.startswith('| BASE |'))
  assert base.endswith('| 50.0 | 40.0 to 60.0 | 2 |')
  assert cells(report, '**D = MAX - MIN**')[4:] == ['-', '-', '2']

  lines = compare.overview([run], [made])
  assert lines[0]['last_iou'] == made['last_iou']  # As in comparison.json.
  (line,) = csv.DictReader(io.StringIO(tables.as_csv(lines)))
  assert [float(line[f'last_iou_{mode}']) for mode in table.ORDER] == [0.3, 0.5, 0.8]
  text, latex = tables.as_markdown(lines, [], []), tables.as_latex(lines)
  assert '| Last IoU MIN | Last IoU BASE | Last IoU MAX |' in text
  assert '| 30.0 | 50.0 | 80.0 |' in text
  assert 'Last IoU MIN & Last IoU BASE & Last IoU MAX' in latex and '30.0 & 50.0 & 80.0' in latex
  html = page.render([run], [made], lines, [], [])
  assert '''"Last IoU" + ' ' + mode.toUpperCase(), of: (run) => run["last_iou"][mode]''' in html


def test_without_it_reports_know_nothing_of_it(tmp_path):
  run, made, report = written(tmp_path, ROWS)
  html = page.render([run], [made], compare.overview([run], [made]), [], [])
  assert 'last_iou' not in made and 'Last IoU' not in report + html
  assert '{{' not in html.partition('<script>')[2]


def test_metrics_of_every_kind_find_their_place(tmp_path):
  table.register(TOY)
  table.register(table.Metric(
    'last_d', 'Last D', lambda low, high: high[:, -1] - low[:, -1], kind='range',
    direction='lower', column='last_iou',
  ))  # fmt: skip
  table.register(table.Metric(
    'ratio', 'Ratio', lambda low, high: low[:, 0] / high[:, 0], kind='range'
  ))  # fmt: skip
  table.register(table.Metric(
    'best', 'Best@{quality}', lambda iou, quality: (iou >= quality).sum(1), format='clicks',
    qualities=(0.5, 0.9),
  ))  # fmt: skip
  table.register(table.Metric(
    'low', 'Low', lambda iou: iou[:, 0] < 0.4, format='count', direction='lower'
  ))  # fmt: skip
  table.register(table.Metric(
    'gain', 'Gain', lambda iou: iou - iou[:, :1], kind='click', compared='no'
  ))  # fmt: skip
  run, made, report = written(tmp_path, ROWS)
  assert made['last_d']['value'] == 0.5 and made['ratio']['value'] == 0.2
  assert made['best'] == {
    '50': {'min': 0.0, 'base': 0.5, 'max': 2.0}, '90': {'min': 0.0, 'base': 0.0, 'max': 0.5}
  }  # fmt: skip
  assert made['low'] == {'min': 2, 'base': 2, 'max': 0} and 'low' not in made['estimates']
  assert made['gain']['max'] == [0.0, pytest.approx(0.3)]
  # Columns: IoU-AuC, BIoU-AuC, Last IoU, Low and then Ratio, each with its interval.
  assert cells(report, '**D = MAX - MIN**')[4:-1] == [
    '50.0', '40.0 to 60.0', '-', '-', '20.0', '20.0 to 20.0'
  ]  # fmt: skip
  assert 'NoF@95 | Best@50 | Best@90 | n |' in report
  assert cells(report, '2')[-3:] == ['20.0', '20.0', '30.0']
  lines = compare.overview([run], [made])
  text = tables.as_markdown(lines, [], [])
  assert 'Best@90 MIN' in text and 'Low MAX' in text and 'Gain' not in text
  (line,) = csv.DictReader(io.StringIO(tables.as_csv(lines)))
  assert (line['last_d'], line['low_min'], line['best_max']) == ('0.5', '2', '0.5')
  assert figures.draw_curves(made)


def test_the_field_metrics_are_those_of_the_library():
  iou = np.random.default_rng(0).uniform(size=(5, 4))
  for name, expected in (
    ('iou_auc', metrics.iou_auc(iou)),
    ('biou_auc', metrics.iou_auc(iou)),
    ('per_click', iou),
  ):
    np.testing.assert_array_equal(table.METRICS[name].score(iou), expected)
  for name in ('d', 'biou_d'):
    found = table.METRICS[name].score(iou, iou + 1)
    np.testing.assert_array_equal(found, metrics.robustness(iou, iou + 1))
  np.testing.assert_array_equal(table.NOC.score(iou, quality=0.5), metrics.noc(iou, 0.5))
  assert table.NOF.score(iou, quality=0.5).sum() == metrics.nof(iou, 0.5)
  assert (table.NOC.titled(), table.NOF.titled(quality=0.85)) == ('NoC@90', 'NoF@85')
  assert table.STANDARD.titled() == 'IoU-AuC'


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'name': 'no name'}, 'Python identifier'),
    ({'curves': 'nothing'}, "curves='nothing'"),
    ({'kind': 'other'}, "kind='other'"),
    ({'format': 'percent'}, "format='percent'"),
    ({'direction': 'up'}, "direction='up'"),
    ({'compared': 'yes'}, "compared='yes'"),
    ({'kind': 'range', 'qualities': (0.9,)}, 'qualities and counts'),
    ({'kind': 'range', 'format': 'count'}, 'qualities and counts'),
    ({'kind': 'click'}, 'a comparison has no clicks'),
    ({'column': 'iou_auc'}, "column='iou_auc' is for metrics of kind"),
    ({'qualities': (0.5,)}, 'compared at 0.9'),
  ],
)
def test_a_row_that_makes_no_sense_is_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    table.Metric(**{'name': 'toy', 'title': 'Toy', 'score': metrics.iou_auc} | changes)


def test_names_and_columns_are_taken_once():
  for name in ('iou_auc', 'levels', 'n_ok'):
    with pytest.raises(ValueError, match=f'{name}: reports have something of this name'):
      table.register(table.Metric(name, 'Toy', metrics.iou_auc))
  for column in ('iou_auc', 'noc', 'nothing'):
    with pytest.raises(ValueError, match=f"column='{column}', expected one of"):
      table.register(
        table.Metric('toy', 'Toy', metrics.robustness, kind='range', column=column)
      )
  assert 'toy' not in table.METRICS


def test_no_metric_can_take_the_name_of_anything_else_in_a_report(tmp_path):
  run, made, _ = written(tmp_path, ROWS)
  (line,) = compare.overview([run], [made])
  html = page.render([run], [made], [line], [], [])
  data = html.partition('id="data">')[2].partition('</script>')[0]
  for name in {*made, *line, *json.loads(data)['runs'][0]} - set(table.METRICS):
    with pytest.raises(ValueError, match='something of this name'):
      table.register(table.Metric(name, 'Toy', metrics.iou_auc))
