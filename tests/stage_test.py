"""Parts of one round: who proposes what, where it is legal, what a turn holds."""


import jax.numpy as jnp
import numpy as np
import pytest
from attack_test import SIDE, WIDTH, batch_of, expected_iou, wall

from tetris_jax import types
from tetris_jax.stage import begin, commit, flat, legal_regions, open_round, robot_user, set_stage


def set_up(count=1, shift=2.0):
  return set_stage(wall(shift), batch_of(count=count), None)


@pytest.mark.slow
def test_the_robot_user_looks_at_the_masks_own_trajectory():
  here = set_up()
  walk = begin(here, 2, 1)
  done = np.zeros((1, 2, SIDE, SIDE), bool)
  done[0, 1, :, : WIDTH // 2] = True
  walk = walk._replace(mask=jnp.asarray(done), half=jnp.asarray(done))
  yx, label = robot_user(here, walk, jnp.int32(0))
  assert yx[0, 0, 1] < WIDTH // 2 + 2 < yx[0, 1, 1] or yx[0, 1, 1] >= WIDTH // 2
  legal = legal_regions(here, walk, label)
  np.testing.assert_array_equal(legal[0, 1], np.asarray(here.scene.mask[0]) & ~done[0, 1])


@pytest.mark.slow
def test_a_turn_is_prepared_once_and_its_click_can_be_moved():
  here = set_up(2)
  walk = begin(here, 3, 2)
  turn = open_round(here, walk, jnp.int32(0), robot_user)
  assert turn.yx.shape == (2, 3, 2) and turn.clicks.label.shape == (2, 3, 2)
  np.testing.assert_array_equal(turn.clicks.label[..., 1], types.EMPTY)
  there = turn.moved(jnp.int32(0), turn.yx + 1)
  np.testing.assert_array_equal(there.clicks.yx[..., 0, :], turn.yx + 1)
  np.testing.assert_array_equal(there.label, turn.label)
  found, after = commit(here, there, jnp.int32(0))
  for lane in range(3):
    x = float(there.yx[0, lane, 1])
    np.testing.assert_allclose(found.iou[0, lane], expected_iou(x), rtol=1e-6)
  np.testing.assert_array_equal(after.state, np.ones((2, 3)))


def test_rows_are_lanes_after_instances():
  tree = {'a': jnp.arange(6).reshape(2, 3), 'b': jnp.zeros((2, 3, 4))}
  found = flat(tree)
  np.testing.assert_array_equal(found['a'], np.arange(6))
  assert found['b'].shape == (6, 4)
