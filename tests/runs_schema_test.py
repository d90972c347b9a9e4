"""The schema of rows: what each program writes fits, and what does not is named by its field."""

import copy
import json

import pytest

from tetris_jax.runs import schema

CURVES = {'min': [0.1, 0.2], 'base': [0.3, 0.4], 'max': [0.5, 1]}
CLICKS = {mode: [[1.0, 2.0, 1], [3.0, 4.0, 0]] for mode in CURVES}
NAMED = {'instance': 'a', 'status': 'ok', 'reason': '', 'size': [4, 5]}
CROWD = {
  'prior': 'distance', 'count': 2, 'auc': {'iou': [0.3, 0.5], 'biou': [0.1, 0.2]},
  'iou': [[0.2, 0.4], [0.5, 0.5]], 'first': [[1.0, 2.0], [3.0, 0.0]],
}  # fmt: skip
LEVELS = [{'depth': 0.0, 'n': 3, 'min': 0.1, 'max': None}]
QUANTILES = {'uniform': {'mean': 0.5}}
ROWS = {
  'attack': {
    **NAMED, 'iou': CURVES, 'biou': CURVES, 'clicks': CLICKS, 'forward': 9, 'backward': 0,
    'warnings': [], 'levels': LEVELS, 'quantiles': None, 'hidden': 0.1,
  },
  'users': {
    **NAMED,
    'robot': {'yx': [1.0, 2.0], 'iou': 0.5, 'biou': 0.4},
    'users': {'file': {
      'yx': [[1.0, 2.0]], 'iou': [0.1], 'biou': [0.2], 'on_object': [True], 'clamped': [False],
      'line': [3], 'user': [''],
    }},
    'trajectories': {'G1': {'iou': [0.1], 'biou': [0.2], 'clicks': [[1.0, 2.0, 1]]}},
    'forward': 3, 'backward': 0,
  },
  'heatmap': {
    **NAMED, 'stride': 2, 'positions': 3, 'legal_pixels': 9, 'left_out': None, 'min': 0.1,
    'base': 0.2, 'max': 0.3, 'levels': LEVELS, 'quantiles': QUANTILES, 'map': 'a.npz',
    'presets': {'p': {
      'min': 0.1, 'max': 0.2, 'forward': 3, 'backward': 0, 'share_of_range': 0.5, 'hidden': None,
    }},
    'picture': None,
  },
}  # fmt: skip


def test_statuses_and_the_layout():
  assert schema.STATUSES == ('ok', 'failed', 'skipped')
  assert schema.SCHEMA == 2


@pytest.mark.parametrize('kind', ROWS)
def test_rows_as_they_are_written_fit(kind):
  schema.check_row(ROWS[kind], kind)
  for status, size in (('failed', None), ('skipped', (3, 4))):
    schema.check_row(schema.empty_row(kind, 'a', status, 'why', size), kind)


def test_what_only_a_global_search_says_may_be_absent():
  local = {k: v for k, v in ROWS['attack'].items() if k not in ('levels', 'quantiles', 'hidden')}
  schema.check_row(local, 'attack')
  baseline = copy.deepcopy(local)
  for field in ('iou', 'biou', 'clicks'):
    baseline[field] |= {'min': None, 'max': None}
  schema.check_row(baseline, 'attack')
  with pytest.raises(schema.RowError, match='quantiles is missing'):
    schema.check_row(local | {'levels': []}, 'attack')


@pytest.mark.parametrize('kind', ['users', 'heatmap'])
def test_warnings_may_be_absent_from_rows_that_had_none_at_first(kind):
  schema.check_row(ROWS[kind] | {'warnings': ['inverted']}, kind)
  with pytest.raises(schema.RowError, match=r'warnings\[0\] is 3, expected a text'):
    schema.check_row(ROWS[kind] | {'warnings': [3]}, kind)
  with pytest.raises(schema.RowError, match='warnings is'):
    schema.check_row(ROWS[kind] | {'warnings': None}, kind)


@pytest.mark.parametrize(('kind', 'keys'), [
  ('attack', ['iou', 'biou', 'clicks', 'forward', 'backward']),
  ('users', ['robot', 'users', 'trajectories', 'forward', 'backward']),
  ('heatmap', []),
])  # fmt: skip
def test_a_row_without_numbers_has_the_keys_of_its_kind(kind, keys):
  row = schema.empty_row(kind, 'a', 'skipped', 'empty mask', (3, 4))
  assert list(row) == ['instance', 'status', 'reason', 'size', *keys]
  assert row['size'] == [3, 4] and all(row[key] is None for key in keys)


def test_a_row_without_numbers_needs_a_reason():
  assert schema.empty_row('attack', 'a', 'failed', 'damaged', None)['size'] is None
  for status, reason in (('ok', 'x'), ('failed', '')):
    with pytest.raises(ValueError, match='a: a row without numbers'):
      schema.empty_row('attack', 'a', status, reason, None)


@pytest.mark.parametrize('kind', ROWS)
def test_every_field_is_asked_of_a_row_with_numbers(kind):
  for key in ROWS[kind]:
    row = {k: v for k, v in ROWS[kind].items() if k != key}
    with pytest.raises(schema.RowError, match=rf'(^|: ){key} is missing'):
      schema.check_row(row, kind)
    if key not in ('left_out', 'picture', 'quantiles', 'hidden'):
      with pytest.raises(schema.RowError, match=rf'{key} is (null|None)'):
        schema.check_row(ROWS[kind] | {key: None}, kind)
    with pytest.raises(schema.RowError, match=rf'(^|: ){key} is '):
      schema.check_row(ROWS[kind] | {key: object()}, kind)


def without(row, *path):
  """A copy in which the list at a path has lost its last entry."""
  row = inner = json.loads(json.dumps(row))  # In which no two fields are one list.
  for key in path:
    inner = inner[key]
  inner.pop()
  return row


@pytest.mark.parametrize(
  ('kind', 'row', 'said'),
  [
    ('attack', 7, 'no instance: it is 7, expected an object'),
    ('attack', ROWS['attack'] | {'status': 'fine'}, "instance 'a': status is 'fine', expected ok"),
    ('attack', ROWS['attack'] | {'reason': 'x'}, "reason is 'x', but status is ok"),
    ('attack', ROWS['attack'] | {'size': [4]}, r'size is \[4\], expected a height and a width'),
    ('attack', ROWS['attack'] | {'size': [0, 4]}, r'size is \[0, 4\], expected'),
    ('attack', ROWS['attack'] | {'more': 1}, 'more is unknown'),
    ('attack', ROWS['attack'] | {'status': 'failed', 'reason': 'x'}, 'iou is there, but status is'),
    ('attack', schema.empty_row('attack', 'a', 'failed', 'x', None) | {'reason': ''},
     'reason is empty, but status is failed'),
    ('attack', ROWS['attack'] | {'biou': CURVES | {'min': None}}, 'biou.min is null, but not'),
    ('attack', without(ROWS['attack'], 'biou', 'max'), 'biou.max has 1 entries, iou.min 2'),
    ('attack', without(ROWS['attack'], 'clicks', 'base'), 'clicks.base has 1 entries, iou.min 2'),
    ('attack', without(ROWS['attack'], 'clicks', 'base', 1), r'clicks.base\[1\] has 2 numb'),
    ('users', ROWS['attack'], "instance 'a': robot is missing"),
    ('users', without(ROWS['users'], 'users', 'file', 'user'), 'users.file.user has 0 entries'),
    ('users', without(ROWS['users'], 'trajectories', 'G1', 'biou'), 'trajectories.G1.biou has 0'),
    ('users', without(ROWS['users'], 'robot', 'yx'), r'robot.yx\[0\] has 1 numbers, expected 2'),
    ('heatmap', ROWS['heatmap'] | {'presets': {'p': {}}}, 'presets.p.min is missing'),
  ],
)  # fmt: skip
def test_what_is_wrong_is_named_by_instance_and_field(kind, row, said):
  with pytest.raises(schema.RowError, match=said):
    schema.check_row(row, kind)
