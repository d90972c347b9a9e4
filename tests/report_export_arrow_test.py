"""Rows as tables of Arrow, read back by pandas from Parquet."""

import io

import numpy as np
import pytest
import runs

from tetris_jax.report.comparison import compare
from tetris_jax.report.export import arrow

pd = pytest.importorskip('pandas')
parquet = pytest.importorskip('pyarrow.parquet')


def read_back(table):
  file = io.BytesIO()
  parquet.write_table(table, file)
  return pd.read_parquet(io.BytesIO(file.getvalue()))


def test_rows_come_back_with_their_scores_and_their_reasons():
  mixed = runs.make('mobile_sam', runs.MIXED)
  plain = runs.make('sam\udcff', [runs.curves('a', None, [0.5, 0.7], None)], preset='baseline')
  plain.rows[0]['warnings'] = ['odd']
  frame = read_back(arrow.rows_table([mixed, plain]))
  assert frame['instance'].tolist() == ['a', 'b', 'c', 'd', 'e', 'a']
  assert frame['model'].tolist() == ['mobile_sam'] * 5 + ['sam?']
  assert frame['reason'].tolist() == ['', '', 'damaged', 'empty', 'empty', '']
  assert frame['height'].tolist()[:2] == [20, 20] and np.isnan(frame['height'][2])
  scores = compare.instance_scores(mixed)
  assert frame['d'].tolist()[:2] == [scores['a']['d'], scores['b']['d']]
  assert frame['auc_base'][0] == scores['a']['auc']
  assert frame['iou_min'][0].tolist() == [0.1, 0.5]
  assert frame['biou_max'][1].tolist() == [0.25, 0.48]
  assert frame['d'].isna().tolist() == [False, False, True, True, True, True]
  assert frame['iou_min'][5] is None and frame['iou_base'][5].tolist() == [0.5, 0.7]
  assert frame['warnings'][5].tolist() == ['odd']
  # As one asks of such a table.
  ok = frame[frame['status'] == 'ok']
  assert ok.groupby('preset')['auc_base'].mean()['baseline'] == pytest.approx(0.6)


def test_clicks_come_back_one_a_line():
  run = runs.make('mobile_sam', [runs.row('a', 0.1, 0.5, 0.9), runs.failed('b', 'damaged')])
  run.rows[0]['clicks']['max'] = [[3.5, 4.25, 1], [7.0, 0.0, 0]]
  frame = read_back(arrow.clicks_table([run]))
  assert len(frame) == 6 and set(frame['instance']) == {'a'}
  last = frame[(frame['mode'] == 'max') & (frame['click'] == 2)].iloc[0]
  assert (last['y'], last['x'], last['label'], last['iou']) == (7, 0, 0, 0.9)
  wide = frame.pivot_table(index='click', columns='mode', values='iou')
  assert wide['min'].tolist() == [0.1, 0.1]


def test_sampled_users_come_back_one_a_line():
  run = runs.make('mobile_sam', [runs.row('a', 0.1, 0.5, 0.9), runs.row('b', 0.1, 0.5, 0.9)])
  run.rows[1]['users'] = {
    'prior': 'distance', 'count': 2, 'auc': {'iou': [0.3, 0.6], 'biou': [0.1, 0.2]},
    'iou': [[0.2, 0.4], [0.5, 0.7]], 'first': [[1.0, 2.0], [3.0, 4.0]],
  }  # fmt: skip
  frame = read_back(arrow.users_table([run]))
  assert frame['user'].tolist() == [1, 2] and frame['auc_iou'].tolist() == [0.3, 0.6]
  assert frame['instance'].tolist() == ['b', 'b'] and frame['x'].tolist() == [2, 4]
  assert frame['iou'][1].tolist() == [0.5, 0.7]
  assert arrow.users_table([runs.make('m', [runs.row('a', 0, 0, 0)])]).num_rows == 0
