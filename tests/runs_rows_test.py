"""Rows of a batch: exact numbers, the schema, and what is refused as a result."""

import json

import numpy as np
import pytest

from tetris_jax import types
from tetris_jax.runs import rows, schema
from tetris_jax.scores import coverage

SIZES = [(5, 7), (6, 4)]


def trajectories(iou, seed=0):
  iou = np.asarray(iou, np.float32)
  batch, modes, clicks = iou.shape
  rng = np.random.default_rng(seed)
  return types.Trajectories(
    clicks=types.Clicks(
      rng.uniform(0, 5, (batch, modes, clicks, 2)).astype(np.float32),
      rng.integers(0, 2, (batch, modes, clicks)).astype(np.int32),
    ),
    iou=iou,
    biou=iou / 3,
    mask=None,
    forward=np.arange(batch, dtype=np.int32) + 10,
    backward=np.arange(batch, dtype=np.int32),
  )


def test_rows_name_the_modes_and_keep_every_float32():
  # In the order of types.MODES: base, min, max.
  found = trajectories([[[0.3, 0.5], [0.1, 0.6], [0.7, 0.7]]])
  (row,) = rows.trajectory_rows(found, ['a'], SIZES[:1])
  row = json.loads(json.dumps(row))
  assert list(row) == [
    'instance', 'status', 'reason', 'size', 'iou', 'biou', 'clicks', 'forward', 'backward',
    'warnings',
  ]  # fmt: skip
  assert (row['instance'], row['status'], row['reason'], row['size']) == ('a', 'ok', '', [5, 7])
  assert row['iou'] == {'min': [0.1, 0.6], 'base': [0.3, 0.5], 'max': [0.7, 0.7]}
  assert (row['forward'], row['backward']) == (10, 0)
  schema.check_row(row, 'attack')
  for position, mode in enumerate(types.MODES):
    np.testing.assert_array_equal(np.float32(row['biou'][mode]), found.biou[0, position])
    clicks = np.array(row['clicks'][mode])
    np.testing.assert_array_equal(np.float32(clicks[:, :2]), found.clicks.yx[0, position])
    np.testing.assert_array_equal(clicks[:, 2], found.clicks.label[0, position])


def test_warnings_of_samples_follow_those_of_the_evaluation():
  found = trajectories([[[0.5], [0.5], [0.5]], [[0.5], [0.4], [0.7]]])
  found.clicks.yx[:] = 1
  first, second = rows.trajectory_rows(found, ['a', 'b'], SIZES, [('inverted', 'dark'), ()])
  assert first['warnings'][0].startswith('the range after click 1 is one point')
  assert first['warnings'][1:] == ['inverted', 'dark'] and second['warnings'] == []
  assert rows.trajectory_rows(found, ['a', 'b'], SIZES)[1] == second


def test_clicks_outside_of_the_picture_are_warned_of():
  found = trajectories([[[0.3, 0.5], [0.1, 0.6], [0.7, 0.7]]])
  found.clicks.yx[0, 2, 1] = -15.5, 3
  (row,) = rows.trajectory_rows(found, ['a'], SIZES[:1])
  assert row['status'] == 'ok'
  assert row['warnings'] == [
    "1 of MAX's 2 clicks lies outside of the picture, the first is click 2"
  ]


def test_a_preset_without_search_has_only_base():
  (row,) = rows.trajectory_rows(trajectories([[[0.3, 0.5]]]), ['a'], SIZES[:1])
  assert row['status'] == 'ok'
  assert row['iou'] == {'min': None, 'base': [0.3, 0.5], 'max': None}
  assert row['clicks']['min'] is None
  assert len(row['clicks']['base']) == 2


def test_filling_at_the_end_of_a_batch_gives_no_row():
  found = trajectories(np.full((4, 3, 2), 0.5))
  assert [row['instance'] for row in rows.trajectory_rows(found, ['a', 'b'], SIZES)] == ['a', 'b']


@pytest.mark.parametrize(
  ('first_click', 'fails'),
  [((0.3, 0.1, 0.7), False), ((0.3, 0.3, 0.3), False), ((0.3, 0.4, 0.7), True),
   ((0.3, 0.1, 0.2), True)],
)  # fmt: skip
def test_order_at_the_first_click(first_click, fails):
  iou = np.full((1, 3, 2), 0.5)
  iou[0, :, 0] = first_click
  iou[0, :, 1] = (0.1, 0.9, 0.2)  # Later clicks may come in any order.
  (row,) = rows.trajectory_rows(trajectories(iou), ['a'], SIZES[:1])
  assert row['status'] == ('failed' if fails else 'ok')
  if fails:
    assert 'MIN <= BASE <= MAX' in row['reason']
    assert row['iou'] is row['clicks'] is row['forward'] is None


def test_a_nan_fails_its_instance_alone():
  iou = np.full((2, 3, 2), 0.5)
  iou[1, 2, 1] = np.nan
  good, bad = rows.trajectory_rows(trajectories(iou), ['a', 'b'], SIZES)
  assert good['status'] == 'ok'
  assert bad['status'] == 'failed'
  assert bad['reason'] == 'IoU of max after click 2 is not a finite number'
  json.dumps(bad, allow_nan=False)


def test_a_click_that_is_not_finite_fails():
  found = trajectories(np.full((1, 3, 2), 0.5))
  found.clicks.yx[0, 1, 0, 1] = np.inf
  (row,) = rows.trajectory_rows(found, ['a'], SIZES[:1])
  assert row['reason'] == 'click of min after click 1 is not a finite number'


def test_rows_of_a_global_search_say_more_of_the_first_click():
  found = trajectories([[[0.3], [0.1], [0.7]]])
  outlook = types.Outlook(
    yx=np.array([[[1, 1], [2, 2], [1, 1], [2, 2], [3, 3], [1, 1]]], np.float32),
    evaluated=np.array([[True, True, False, False, False, False]]),
    even=np.array([[False, False, True, True, True, False]]),
    iou=np.array([[0.3, 0.7, 0.3, 0.7, 0.7, 0.0]], np.float32),
    depth=np.array([[1, 0.2, 1, 0.2, 0.01, 1]], np.float32),
    searched=np.zeros(1, np.float32),
  )
  tried = np.array([[0.3, 0.7, 0.1]], np.float32)
  found = found._replace(byproducts=types.Byproducts(tried, outlook))
  (row,) = rows.trajectory_rows(found, ['a'], SIZES[:1])
  row = json.loads(json.dumps(row, allow_nan=False))
  assert list(row)[-4:] == ['warnings', 'levels', 'quantiles', 'hidden']
  schema.check_row(row, 'attack')
  assert row['levels'][0] == {'depth': 0.0, 'n': 2, 'min': 0.3, 'max': 0.7}
  assert row['levels'][3] == {'depth': 0.3, 'n': 1, 'min': None, 'max': None}
  assert row['quantiles']['uniform']['mean'] == pytest.approx(1.7 / 3, abs=1e-6)
  # Once more the last step at each end, cut to [0, 1]; all of the range tried was found.
  assert row['hidden'] == pytest.approx(0.1 + 0.3 + 0.2, abs=1e-6)
  # A search that comes back to the robot user's click has tried everything.
  yx = outlook.yx.copy()
  yx[0, 1] = yx[0, 0]
  everything = found._replace(byproducts=types.Byproducts(tried, outlook._replace(yx=yx)))
  (row,) = rows.trajectory_rows(everything, ['a'], SIZES[:1])
  assert row['hidden'] == 0 and row['levels'][0]['n'] == 1


def users_row(**changes):
  mask = np.zeros((5, 7), bool)
  mask[1:4, 1:6] = True
  given = rows.Given(np.float32([[1, 2], [0, 0]]), np.array([False, True]), [4, 9], ['ann', ''])
  sampled = rows.Given(np.float32([[3.2, 4.7]]), np.zeros(1, bool))
  yx = np.concatenate([np.float32([[2, 3]]), given.yx, sampled.yx, np.zeros((3, 2), np.float32)])
  iou = np.float32([0.1, 0.2, 0.3, 0.4, np.nan, np.nan, np.nan])
  walk = np.float32([[2, 3], [1, 1]]), np.int32([1, 0]), np.float32([0.1, 0.7]), np.float32([0, 1])
  asked = {
    'instance': 'a', 'mask': mask, 'sources': {'file': given, 'uniform': sampled},
    'first': (yx, iou, iou / 2), 'walks': {'base': walk},
  }  # fmt: skip
  return rows.users_row(**asked | changes)


def test_rows_of_users_part_the_clicks_by_their_source():
  row = json.loads(json.dumps(users_row(), allow_nan=False))
  schema.check_row(row, 'users')
  assert row['robot'] == {'yx': [2.0, 3.0], 'iou': 0.1, 'biou': 0.05}
  assert row['users']['file'] == {
    'yx': [[1.0, 2.0], [0.0, 0.0]], 'iou': [0.2, 0.3], 'biou': [0.1, 0.15],
    'on_object': [True, False], 'clamped': [False, True], 'line': [4, 9], 'user': ['ann', ''],
  }  # fmt: skip
  # Rounded to the nearest pixel, [3, 5].
  assert row['users']['uniform']['on_object'] == [True]
  assert list(row['users']['uniform']) == ['yx', 'iou', 'biou', 'on_object', 'clamped']
  assert row['trajectories']['base']['clicks'] == [[2.0, 3.0, 1], [1.0, 1.0, 0]]
  # The robot user, three clicks, two rounds.
  assert (row['forward'], row['backward']) == (6, 0)


def test_rows_of_users_and_maps_have_warnings_only_where_there_are_some():
  for plain, warned, kind in (
    (users_row(), users_row(warned=('inverted',)), 'users'),
    (map_row(heat_map()), map_row(heat_map(), warned=('inverted',)), 'heatmap'),
  ):
    assert 'warnings' not in plain
    assert warned == plain | {'warnings': ['inverted']}
    schema.check_row(plain, kind)
    schema.check_row(json.loads(json.dumps(warned)), kind)


def test_a_score_of_users_that_is_not_finite_fails_the_row():
  bad = np.float32([0.1, np.nan, 0.3, 0.4])
  walk = np.float32([[2, 3]]), np.int32([1]), np.float32([np.inf]), np.float32([0])
  for changes in ({'first': (np.zeros((4, 2)), bad, bad)}, {'walks': {'base': walk}}):
    row = users_row(**changes)
    assert (row['status'], row['size']) == ('failed', [5, 7])
    assert row['reason'] == 'IoU of a click is not a finite number'
    schema.check_row(row, 'users')


def heat_map(**changes):
  legal = np.zeros((6, 8), bool)
  legal[1:5, 1:7] = True
  made = {
    'yx': np.float32([[2, 3], [1, 1], [3, 5]]), 'iou': np.float32([0.5, 0.1, 0.9]),
    'biou': np.float32([0.2, 0.1, 0.3]), 'predicted': np.full(3, np.nan, np.float32),
    'stride': np.int32(2), 'legal': legal,
    'p/yx': np.float32([[2, 3], [1, 1], [3, 4]]), 'p/iou': np.float32([0.5, 0.1, 0.5]),
    'p/biou': np.float32([0.2, 0.1, 0.2]), 'p/spent': np.array([9, 4]), 'p/hidden': np.float32(0.1),
  }  # fmt: skip
  return made | changes


def map_row(made, presets=None, left_out=None, warned=()):
  depth = np.full(made['legal'].shape, 0.1)
  depth[2:4, 3:6] = 0.5
  return rows.map_row('a', made, depth, presets or {'p': 0.0}, '00000_a.npz', left_out, warned)


def test_rows_of_maps_say_what_each_preset_found():
  row = json.loads(json.dumps(map_row(heat_map()), allow_nan=False))
  schema.check_row(row, 'heatmap')
  assert (row['size'], row['stride'], row['positions'], row['legal_pixels']) == ([6, 8], 2, 3, 24)
  assert [row['min'], row['base'], row['max']] == pytest.approx([0.1, 0.5, 0.9])
  found = row['presets']['p']
  assert (found['forward'], found['backward']) == (9, 4)
  assert found['share_of_range'] == pytest.approx(0.4 / 0.8)
  assert found['hidden'] == pytest.approx(0.1)
  assert (row['map'], row['picture'], row['left_out']) == ('00000_a.npz', None, None)
  assert map_row(heat_map(), left_out='few')['left_out'] == 'few'
  # What keeps to a depth is measured against the range there, of [2, 3] and [3, 5].
  deep = map_row(heat_map(), {'p': 0.3})['presets']['p']
  assert deep['share_of_range'] == pytest.approx(1.0)
  flat = heat_map(iou=np.float32([0.5, 0.5, 0.5]), **{'p/hidden': np.float32(np.nan)})
  assert map_row(flat)['presets']['p']['share_of_range'] is None
  assert map_row(flat)['presets']['p']['hidden'] is None


def test_shares_are_those_of_the_search_library(monkeypatch):
  monkeypatch.setattr(
    coverage, 'share_of_range', lambda low, high, iou: np.array([high[0] - low[0] + 7])
  )
  found = map_row(heat_map())['presets']['p']
  assert found['share_of_range'] == pytest.approx(found['max'] - found['min'] + 7, abs=1e-6)


@pytest.mark.parametrize(
  ('key', 'reason'),
  [
    ('iou', 'IoU of a click of the map is not a finite number'),
    ('biou', 'boundary IoU of a click of the map is not a finite number'),
    ('p/iou', 'IoU of a click of p is not a finite number'),
  ],
)
def test_a_map_that_is_not_finite_is_a_failed_row(key, reason):
  made = heat_map()
  made[key] = np.float32([0.1, np.nan, 0.2])
  row = map_row(made)
  assert row == {'instance': 'a', 'status': 'failed', 'reason': reason, 'size': [6, 8]}


def test_users_beside_an_attack_are_in_its_rows():
  iou = np.array([[[0.2, 0.4], [0.5, 1.0], [1 / 3, 0.1]]], np.float32)
  yx = np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2)
  walked = types.Walked(types.Clicks(yx, np.ones((1, 3, 2), np.int32)), iou, iou / 2)
  found = trajectories(np.full((1, 3, 2), 0.5))._replace(users=walked)
  (row,) = rows.trajectory_rows(found, ['a'], SIZES[:1], prior='uniform')
  schema.check_row(json.loads(json.dumps(row)), 'attack')
  users = row.pop('users')
  assert (users['prior'], users['count']) == ('uniform', 3)
  np.testing.assert_array_equal(np.float32(users['iou']), iou[0])
  assert users['auc']['iou'] == [0.3, 0.75, 0.216667]
  assert users['first'] == [[0.0, 1.0], [4.0, 5.0], [8.0, 9.0]]
  assert [row] == rows.trajectory_rows(found._replace(users=None), ['a'], SIZES[:1])
  assert 'pooled' not in users
  pooled = types.Pooled(np.float32([[0.2, 0.5, np.nan, 1 / 3]]), np.float32([[0.25, 0.5, 0, 0.25]]))
  more = found._replace(users=walked._replace(pooled=pooled))
  (row,) = rows.trajectory_rows(more, ['a'], SIZES[:1], prior='uniform')
  schema.check_row(json.loads(json.dumps(row, allow_nan=False)), 'attack')
  kept = {'iou': [0.2, 0.5, 0.33333334], 'mass': [0.25, 0.5, 0.25]}
  assert row['users'] == users | {'pooled': kept}
  iou[0, 2, 1] = np.nan
  (row,) = rows.trajectory_rows(found, ['a'], SIZES[:1], prior='uniform')
  assert row['reason'] == 'IoU of sampled user 3 after click 2 is not a finite number'
  assert 'users' not in row
