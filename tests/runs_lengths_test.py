"""Lists that belong together are of one length, or are named."""

import copy

import pytest
from runs_schema_test import CROWD, ROWS

from tetris_jax.runs import lengths


@pytest.mark.parametrize('kind', ['attack', 'users', 'heatmap'])
def test_what_is_written_is_even(kind):
  assert list(lengths.uneven(ROWS[kind], kind)) == []


def test_what_is_shorter_is_named():
  row = copy.deepcopy(ROWS['attack'])
  row['iou']['base'] = row['iou']['base'][:-1]
  found = list(lengths.uneven(row, 'attack'))
  assert found and all('has' in said and 'entries' in said for said in found)
  row = copy.deepcopy(ROWS['attack'])
  row['clicks']['base'][0] = [1.0, 2.0]
  assert list(lengths.uneven(row, 'attack')) == ['clicks.base[0] has 2 numbers, expected 3']
  row = copy.deepcopy(ROWS['users'])
  row['robot']['yx'] = [1.0]
  assert list(lengths.uneven(row, 'users')) == ['robot.yx[0] has 1 numbers, expected 2']


def test_users_beside_an_attack_have_an_entry_in_every_list():
  row = ROWS['attack'] | {'users': CROWD}
  assert list(lengths.uneven(row, 'attack')) == []
  alike = lambda change: list(lengths.uneven(row | {'users': CROWD | change}, 'attack'))
  assert alike({'first': CROWD['first'][:1]}) == ['users.first has 1 entries, users.count is 2']
  assert alike({'iou': [[0.3], [0.5, 0.5]]}) == ['users.iou[0] has 1 numbers, expected 2']
  assert alike({'first': [[1.0], [3.0, 0.0]]}) == ['users.first[0] has 1 numbers, expected 2']
  (said,) = alike({'auc': {'iou': [0.3, 0.5], 'biou': [0.1]}})
  assert said == 'users.auc.biou has 1 entries, users.count is 2'
