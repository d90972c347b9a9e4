"""The global search as an attack, on landscapes whose extremes are known."""

import dataclasses

import jax
import numpy as np
import pytest
from landscapes import NEEDLE, SIDE, batch_of, needle, run

import tetris_jax
from tetris_jax import AttackConfig, Wide, presets

CONFIG = AttackConfig('small', Wide(budget=40, pool_size=300, explore=0.9), num_clicks=2)


@pytest.fixture(scope='module')
def found():
  return run(CONFIG, batch_of())


@pytest.mark.slow
def test_it_finds_a_needle_that_a_local_search_misses(found):
  np.testing.assert_allclose(found.iou[0, :, 0], [0.5, 0.25, 1.0])
  y, x = found.clicks.yx[0, 2, 0]
  assert abs(y - NEEDLE[0]) <= 1 and abs(x - NEEDLE[1]) <= 1
  assert found.clicks.yx[0, 1, 0, 0] <= 5
  local = run(presets.get('tetris', num_clicks=1), batch_of())
  np.testing.assert_allclose(local.iou[0, :, 0], [0.5, 0.5, 0.5])


@pytest.mark.slow
def test_counts_are_exact_and_within_the_budget(found):
  # First round: 37, and 3 that are kept; second: 2 x 18 and 3.
  assert found.forward.tolist() == [40 + 39] and found.backward.tolist() == [0]
  assert CONFIG.search.turns == (37, 18)
  assert presets.get('strong_v1').search.turns == (61, 30)
  for name, budget in (('strong_v1_16', 16), ('strong_v1', 64), ('strong_v1_256', 256)):
    search = presets.get(name).search
    assert search.budget == budget
    for searches, turns in zip((1, 2), search.turns, strict=True):
      assert budget - 16 < searches * turns * search.per_turn + 3 <= budget


@pytest.mark.slow
@pytest.mark.parametrize('options', [{'at_once': None}, {'at_once': 3}])
def test_neither_canvas_nor_batch_nor_rows_at_once_matter(found, options):
  other = run(CONFIG, batch_of((SIDE + 3, SIDE + 6), 2), **options)
  for row in range(2):
    np.testing.assert_array_equal(other.clicks.yx[row], found.clicks.yx[0])
    np.testing.assert_array_equal(other.clicks.label[row], found.clicks.label[0])
    np.testing.assert_allclose(other.iou[row], found.iou[0], rtol=1e-6)


def test_what_is_reported_is_what_a_replay_finds(found):
  again = jax.device_get(jax.jit(lambda b, c: tetris_jax.replay(needle(), b, c))(
    batch_of(), found.clicks
  ))
  np.testing.assert_array_equal(again.iou, found.iou)
  np.testing.assert_array_equal(again.mask, found.mask)


def test_a_budget_that_is_too_small_is_refused():
  for changes, message in (
    ({'budget': 4}, 'budget is 4; at least 5'),
    ({'per_turn': 0}, 'per_turn is 0'),
    ({'pool_size': 1}, 'pool_size is 1'),
    ({'explore': float('nan')}, 'explore is nan'),
    ({'num_beams': 1.5}, 'num_beams is 1.5; expected a whole number'),
    ({'depth': 1.0}, 'depth is 1.0'),
    ({'colour_weight': -1}, 'colour_weight is -1'),
    ({'follow': 1.5}, 'follow is 1.5'),
  ):
    with pytest.raises(ValueError, match=message):
      Wide(**changes)
    with pytest.raises(ValueError, match=message):
      dataclasses.replace(presets.get('strong_v1').search, **changes)


@pytest.mark.slow
def test_a_search_keeps_its_distance_from_the_border():
  config = AttackConfig('deep', Wide(budget=24, pool_size=300, depth=0.5), num_clicks=1)
  found = run(config, batch_of())
  # Depths in the square of 16 run from 1 to 8: above 4 is rows and columns 8 to 15.
  assert ((found.clicks.yx[0, :, 0] >= 8) & (found.clicks.yx[0, :, 0] <= 15)).all()
  np.testing.assert_allclose(found.iou[0, 1, 0], 0.5)
  # What is evaluated there says nothing of the whole region's quantiles.
  assert not found.byproducts.outlook.even.any() and found.byproducts.outlook.evaluated.any()


@pytest.mark.slow
def test_the_outlook_knows_every_answer_of_a_landscape_of_two_halves():
  """Outside the needle IoU is 0.25 in the top rows and 0.5 below."""
  config = AttackConfig('wide', Wide(budget=24, pool_size=300), num_clicks=1)
  found = run(config, batch_of())
  outlook = jax.tree.map(lambda x: x[0], found.byproducts.outlook)
  # The square of 16 and no more: with 300 candidates every legal pixel is one.
  # All but the robot user's are spread evenly.
  assert outlook.even.sum() == 255 == len(np.unique(outlook.yx[outlook.even], axis=0))
  # Those of the search, and the robot user's click.
  assert outlook.evaluated.sum() == config.search.turns[0] + 1 == 22
  assert not (outlook.even & outlook.evaluated).any()
  expected = np.where(outlook.yx[:, 0] <= 5, 0.25, 0.5)
  off = np.max(np.abs(outlook.yx - np.array(NEEDLE)), axis=1) > 1
  made = outlook.evaluated & off
  np.testing.assert_allclose(outlook.iou[made], expected[made])
  guessed = outlook.even & off
  assert np.mean(outlook.iou[guessed] == expected[guessed]) > 0.9
  some = outlook.even | outlook.evaluated
  depth = np.minimum(outlook.yx - 3, 20 - outlook.yx).min(axis=1)
  np.testing.assert_allclose(outlook.depth[some], depth[some] / 8, rtol=1e-6)
