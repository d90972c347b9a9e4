"""Rows of a batch: exact numbers, the schema, and what is refused as a result."""

import json

import numpy as np
import pytest

from tetris_jax import types
from tetris_jax.runs import rows

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
  for position, mode in enumerate(types.MODES):
    np.testing.assert_array_equal(np.float32(row['biou'][mode]), found.biou[0, position])
    clicks = np.array(row['clicks'][mode])
    np.testing.assert_array_equal(np.float32(clicks[:, :2]), found.clicks.yx[0, position])
    np.testing.assert_array_equal(clicks[:, 2], found.clicks.label[0, position])


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


def test_a_row_without_numbers_needs_a_reason():
  row = rows.empty_row('a', 'skipped', 'empty mask', (3, 4))
  assert row['size'] == [3, 4]
  assert rows.empty_row('a', 'failed', 'damaged', None)['size'] is None
  for status, reason in (('ok', 'x'), ('failed', '')):
    with pytest.raises(ValueError, match='a: a row without numbers'):
      rows.empty_row('a', status, reason, None)


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
