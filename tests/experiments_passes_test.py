"""Errors of estimates on a map: none where all clicks agree, smaller where users are stratified."""

import numpy as np
import pytest

from experiments import passes
from experiments.lib.settings import UsageError
from tetris_jax import truth
from tetris_jax.runs import maps


def heat_map(answer):
  """The arrays of a map over a square object, of a preset no less."""
  legal = np.zeros((40, 40), bool)
  legal[4:36, 4:36] = True
  yx = np.argwhere(legal).astype(np.float32)
  iou = np.float32([answer(y, x) for y, x in np.concatenate([[[20, 20]], yx])])
  yx = np.concatenate([np.float32([[20, 20]]), yx])
  return {
    'legal': legal, 'yx': yx, 'iou': iou, 'biou': iou, 'predicted': iou,
    'stride': np.asarray(1, np.int32),
  }  # fmt: skip


def test_where_all_clicks_agree_nothing_errs():
  found = passes.measure(heat_map(lambda y, x: 0.5), 'distance', (4, 8), 3)
  assert list(found) == ['by themselves', 'stratified']
  assert found['stratified'].shape == (2, 3, 4)
  np.testing.assert_allclose(found['stratified'], 0, atol=1e-6)


def test_halves_of_an_object_are_counted_right_by_stratified_users():
  found = passes.measure(heat_map(lambda y, x: float(y < 20)), 'uniform', (64,), 40)
  alone, spread = (np.abs(found[kind]).mean((0, 1)) for kind in found)
  assert spread[-1] < alone[-1] / 4
  assert found['stratified'][..., -1].mean() == pytest.approx(0, abs=0.01)


def test_clicks_of_a_search_are_pooled_with_those_of_users():
  made = heat_map(lambda y, x: float(y < 12))
  top = np.repeat(np.arange(40)[:, None] < 12, 40, axis=1)
  small = np.asarray(truth.small_mask(top, np.array([40, 40]), side=maps.MASK_SIDE))
  answered = [np.packbits(small if iou else ~small) for iou in made['iou']]
  tried = np.float32([[5, 20], [30, 20], [30, 21]])
  made |= {'masks': np.stack(answered), 'strong/tried': tried}
  found = passes.measure(made, 'uniform', (8,), 10)
  assert list(found) == ['by themselves', 'stratified', 'pooled with strong']
  # A quarter of the object answers otherwise, and the masks tell which.
  spread, pooled = (np.abs(found[kind]).mean((0, 1)) for kind in list(found)[1:])
  assert spread[-1] > 0.02
  np.testing.assert_allclose(pooled, 0, atol=0.01)


def test_the_table_has_a_line_a_count(tmp_path, capsys):
  path = tmp_path / 'maps' / 'a.npz'
  path.parent.mkdir()
  maps.write_map(path, heat_map(lambda y, x: y / 40))
  asked = passes.Settings(maps=(str(tmp_path / 'maps' / '*.npz'),), repeats=3)
  assert passes.execute(asked) == 0
  told = capsys.readouterr().out
  assert told.startswith('1 maps: mean absolute error') and told.count('| stratified |') == 5


def test_what_is_no_map_is_named(tmp_path):
  for some, said in (((), 'names no map'), ((str(tmp_path / 'a.npz'),), 'is missing')):
    with pytest.raises(UsageError, match=said):
      passes.execute(passes.Settings(maps=some))
