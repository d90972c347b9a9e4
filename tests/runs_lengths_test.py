"""Lists that belong together are of one length, or are named."""

import copy

import pytest
from runs_schema_test import ROWS

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
