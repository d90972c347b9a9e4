"""The round engine: proposers, what is committed, and what a trajectory carries."""

import jax
import jax.numpy as jnp
import numpy as np
from attack_test import batch_of, expected_iou, wall

from tetris_jax import rounds, types
from tetris_jax.search.local import Local
from tetris_jax.search.wide import Wide
from tetris_jax.stage import Round, Walk, begin, given, robot_user, set_stage


def set_up(count=1, shift=2.0):
  return set_stage(wall(shift), batch_of(count=count), None)


def test_given_clicks_are_played_round_by_round():
  x = np.float32([[3, 7, 5], [4, 8, 6]])
  clicks = types.Clicks(np.stack([np.full_like(x, 16), x], -1)[None], np.ones((1, 2, 3), np.int32))
  here = set_up()
  walk, found = rounds.play(here, begin(here, 2, 3), 3, given(clicks))
  assert found.iou.shape == (3, 1, 2)
  for lane in range(2):
    for slot in range(3):
      mean = x[lane, : slot + 1].mean()
      np.testing.assert_allclose(found.iou[slot, 0, lane], expected_iou(mean), rtol=1e-6)
  np.testing.assert_array_equal(walk.clicks.yx, clicks.yx)
  # The model has counted its rounds.
  np.testing.assert_array_equal(walk.state, [[3, 3]])


def test_only_what_is_asked_for_is_kept():
  here = set_up(2)
  kept = rounds.play(
    here, begin(here, 1, 2), 2, robot_user, keep=lambda found: found.label
  )[1]
  assert kept.shape == (2, 2, 1) and kept.dtype == jnp.int32


def test_a_click_that_is_no_extreme_gives_way_to_the_robot_users():
  iou = jnp.float32([[0.5, 0.6, 0.4, 0.7, 0.5]])
  number = jnp.arange(5.0)[None]
  found = Round(jnp.stack([number, number], -1), jnp.ones((1, 5), jnp.int32), iou, iou, iou)
  walk = Walk(types.Clicks(found.yx[:, :, None], found.label[..., None]), number, iou, iou)
  kept, after = rounds.keep_order(found, walk)
  # Two lanes of MIN, of which the first is above BASE, and two of MAX, neither of which is below.
  np.testing.assert_allclose(kept.iou, [[0.5, 0.5, 0.4, 0.7, 0.5]])
  np.testing.assert_allclose(kept.yx[0, :, 0], [0, 0, 2, 3, 4])
  np.testing.assert_allclose(after.state, [[0, 0, 2, 3, 4]])


def test_cost_counts_searches_and_all_that_is_kept():
  assert rounds.cost(None, 7) == (7, 0)
  assert rounds.cost(Local(), 2) == (2 * (2 * 11 + 3), 2 * 2 * 10)
  assert rounds.cost(Local(num_steps=1), 2) == (6, 0)
  assert rounds.cost(Wide(), 1) == (64, 0)
  first, later = Wide(num_beams=3).turns
  assert rounds.cost(Wide(num_beams=3), 2) == (first + 6 * later + 2 * (1 + 6 + 3), 0)


def test_cost_of_fewer_modes_is_that_of_their_lanes():
  local = Local()
  assert rounds.cost(local, 1, modes=('min',)) == (12, 10)
  assert rounds.cost(local, 3, modes=('base', 'max')) == (3 * (11 + 2), 3 * 10)
  assert rounds.cost(local, 3, modes=('base',)) == (3, 0)
  # One search serves both sides of the first round, and BASE competes, so it is carried.
  first, later = Wide().turns
  assert rounds.cost(Wide(), 2, modes=('max',)) == (first + later + 2 * 2, 0)
  beams = Wide(num_beams=3)
  assert rounds.cost(beams, 2, modes=('min',)) == (first + 3 * later + 2 * (1 + 3 + 1), 0)


def test_the_engine_is_traceable_with_the_rounds_as_one_loop():
  def program(batch):
    here = set_stage(wall(), batch, 1)
    return rounds.search_rounds(None, here, Local(num_steps=3), 4).rounds.iou

  text = str(jax.make_jaxpr(program)(batch_of()))
  assert 'callback' not in text and text.count('length=4') >= 1
