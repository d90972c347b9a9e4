"""Rows that cannot be are named by instance and field; what is rare but right passes."""

import copy

import numpy as np
import pytest
from runs_rows_test import heat_map, map_row, trajectories, users_row
from runs_schema_test import CROWD, CURVES, ROWS

from tetris_jax import types
from tetris_jax.runs import ranges, rows, schema


def changed(kind, path, value):
  """A row in which the value at a dotted path is another."""
  row = inner = copy.deepcopy(ROWS[kind])
  *way, last = [int(key) if key.isdecimal() else key for key in path.split('.')]
  for key in way:
    inner = inner[key]
  inner[last] = value
  return row


@pytest.mark.parametrize(
  ('kind', 'path', 'value', 'said'),
  [
    ('attack', 'instance', '', "instance '': instance is empty"),
    ('attack', 'instance', 'x' * 20_000, 'instance has 20000 characters, at most 10000'),
    ('attack', 'size', [4, 2_000_000], r'size is \[4, 2000000\], expected sides of 1 to 1000000'),
    ('attack', 'iou.max.0', 1.7, r"instance 'a': iou.max\[0\] is 1.7, expected 0 to 1"),
    ('attack', 'iou.min.1', -0.3, r'iou.min\[1\] is -0.3, expected 0 to 1'),
    ('attack', 'biou', CURVES | {'base': [1.0000001, 0]}, r'biou.base\[0\] is 1.0000001'),
    ('attack', 'iou.min.0', 0.35, 'after the first click is 0.35, 0.3, 0.5, but MIN <= BASE <= MA'),
    ('attack', 'iou.max.0', 0.25, 'after the first click is 0.1, 0.3, 0.25, but'),
    ('attack', 'clicks.min.1.2', -1, r'clicks.min\[1\] has the label -1, expected 0 or 1'),
    ('attack', 'clicks.min.1.2', 0.5, r'clicks.min\[1\] has the label 0.5'),
    ('attack', 'clicks.base.0.0', 1e300, r'clicks.base\[0\] is \[1e\+300, 2.0, 1\], exp'),
    ('attack', 'forward', -1, 'forward is -1, expected a count'),
    ('attack', 'backward', 10**100, 'backward is 1000'),
    ('attack', 'hidden', 1.5, 'hidden is 1.5, expected 0 to 1'),
    ('attack', 'warnings', ['y' * 20_000], r'warnings\[0\] has 20000 characters'),
    ('attack', 'warnings', ['y'] * 101, 'warnings has 101 entries, at most 100 are read'),
    ('attack', 'levels.0.min', 2, r'levels\[0\].min is 2, expected 0 to 1'),
    ('attack', 'levels.0.max', 0.05, r'levels\[0\].min is 0.1, above max, 0.05'),
    ('attack', 'levels.0.n', -3, r'levels\[0\].n is -3, expected a count'),
    ('attack', 'levels.0.depth', 7, r'levels\[0\].depth is 7, expected 0 to 1'),
    ('attack', 'quantiles', {'uniform': {'q01': -1}}, 'quantiles.uniform.q01 is -1, expected 0 to'),
    ('attack', 'quantiles', {'': {}}, 'quantiles has an entry without a name'),
    ('users', 'robot.iou', 1.5, 'robot.iou is 1.5, expected 0 to 1'),
    ('users', 'robot.yx', [1.0, -1e9], r'robot.yx\[0\] is'),
    ('users', 'users.file.iou.0', 2, r'users.file.iou\[0\] is 2'),
    ('users', 'users.file.yx.0', [1e9, 0], r'users.file.yx\[0\] is'),
    ('users', 'users.file.line.0', 0, r'users.file.line\[0\] is 0, expected the number of a line'),
    ('users', 'users.file', {'yx': [], 'iou': [], 'biou': [], 'on_object': [], 'clamped': []},
     'users.file.yx is empty'),
    ('users', 'users', {'': ROWS['users']['users']['file']}, 'users has an entry without a name'),
    ('users', 'trajectories.G1.biou.0', -1, r'trajectories.G1.biou\[0\] is -1'),
    ('users', 'trajectories.G1.clicks.0.2', 9, r'trajectories.G1.clicks\[0\] has the label 9'),
    ('heatmap', 'stride', 0, 'stride is 0, expected at least 1'),
    ('heatmap', 'base', 0.05, 'min is 0.1, above base, 0.05'),
    ('heatmap', 'max', 0.15, 'base is 0.2, above max, 0.15'),
    ('heatmap', 'max', 3, 'max is 3, expected 0 to 1'),
    ('heatmap', 'presets.p.max', 0.05, 'presets.p.min is 0.1, above max, 0.05'),
    ('heatmap', 'presets.p.share_of_range', 51, 'share_of_range is 51, expected 0 to 50'),
    ('heatmap', 'presets.p.share_of_range', -0.1, 'share_of_range is -0.1'),
    ('heatmap', 'presets.p.forward', -1, 'presets.p.forward is -1'),
    ('heatmap', 'picture', '../../x.png', "picture is '../../x.png', expected the bare name of a"),
    ('heatmap', 'picture', '/etc/x.png', "picture is '/etc/x.png', expected the bare name"),
    ('heatmap', 'picture', 'x.svg', "picture is 'x.svg', expected the bare name of a file .png"),
    ('heatmap', 'map', '.npz', "map is '.npz', expected"),
    ('heatmap', 'quantiles', {'uniform': {'mean': 1.1}}, 'quantiles.uniform.mean is 1.1'),
  ],
)  # fmt: skip
def test_what_cannot_be_is_named(kind, path, value, said):
  with pytest.raises(schema.RowError, match=said) as error:
    schema.check_row(changed(kind, path, value), kind)
  assert len(str(error.value)) < 300


@pytest.mark.parametrize(
  ('change', 'said'),
  [
    ({'prior': ''}, 'users has an entry without a name'),
    ({'auc': {'iou': [0.3, 0.5], 'biou': [0.1, 2]}}, r'users.auc.biou\[1\] is 2, expected 0 to 1'),
    ({'auc': {'iou': [0.3, 0.6], 'biou': [0.1, 0.2]}}, r'auc.iou\[1\] is 0.6, which is not that'),
    ({'iou': [[0.2, 0.4], [0.5, 1.5]]}, r'users.iou\[1\]\[1\] is 1.5, expected 0 to 1'),
    ({'first': [[1.0, 2.0], [1e9, 0.0]]}, r'users.first\[1\] is'),
    ({'count': 0, 'auc': {'iou': [], 'biou': []}, 'iou': [], 'first': []}, 'users.count is 0, exp'),
  ],
)  # fmt: skip
def test_what_users_beside_an_attack_cannot_score_is_named(change, said):
  with pytest.raises(schema.RowError, match=said):
    schema.check_row(ROWS['attack'] | {'users': CROWD | change}, 'attack')


def test_rows_without_numbers_have_names_and_sizes_that_can_be():
  row = schema.empty_row('attack', 'a', 'failed', 'why', (3, 4))
  assert list(ranges.impossible(row, 'attack')) == []
  for key, value, said in (
    ('instance', '', 'instance is empty'),
    ('reason', 'x' * 10_001, 'reason has 10001 characters'),
    ('size', [1, 0], 'size is [1, 0]'),
  ):
    (found,) = ranges.impossible(row | {key: value}, 'attack')
    assert found.startswith(said)


def test_one_extreme_without_the_other_is_none():
  row = changed('attack', 'iou.min', None)
  row['biou'] = row['biou'] | {'min': None}
  row['clicks'] = row['clicks'] | {'min': None}
  with pytest.raises(schema.RowError, match=r'iou\.min is null, but the other extreme'):
    schema.check_row(row, 'attack')


@pytest.mark.parametrize('seed', range(20))
def test_whatever_float32_a_batch_holds_its_rows_can_be(seed):
  rng = np.random.default_rng(seed)
  iou = rng.random((4, 3, 5)).astype(np.float32)
  # Neighbours among the floats, both ends, and clicks beside the picture.
  first = np.float32(rng.choice([0, 1, 0.1, 1 / 3]))
  low, high = np.nextafter(first, np.float32(0)), np.nextafter(first, np.float32(1))
  iou[:, :, 0] = first, max(low, 0), min(high, 1)
  found = trajectories(iou)
  yx = np.asarray(found.clicks.yx) * 500 - 700
  found = found._replace(clicks=types.Clicks(yx, found.clicks.label))
  for row in rows.trajectory_rows(found, list('abcd'), [(5, 7)] * 4):
    assert row['status'] == 'ok'
    schema.check_row(row, 'attack')


def test_rows_of_users_and_maps_as_they_are_written_can_be():
  schema.check_row(users_row(), 'users')
  for iou in ([0, 0, 0], [1, 1, 1], [1 / 3, 0.1, np.nextafter(1, 0)]):
    schema.check_row(map_row(heat_map(iou=np.float32(iou))), 'heatmap')
