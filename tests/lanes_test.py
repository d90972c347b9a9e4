"""Lanes: which trajectories go on, what they must reach, and which are reported."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from landscapes import batch_of, rough, trap

import tetris_jax
from tetris_jax import AttackConfig, Wide, lanes
from tetris_jax.scores import metrics
from tetris_jax.search.base import Found


@pytest.mark.slow
@pytest.mark.parametrize('beams_carried', [1, 3])
def test_beams_avoid_a_trap_that_the_greedy_choice_falls_into(beams_carried):
  config = AttackConfig(
    'few', Wide(budget=40, pool_size=300, num_beams=beams_carried), num_clicks=3
  )
  found = jax.device_get(jax.jit(lambda b: tetris_jax.attack(trap(), b, config))(batch_of()))
  base, low = found.iou[0, :2]
  np.testing.assert_allclose(base, [10 / 16] * 3)
  np.testing.assert_allclose(low, base if beams_carried == 1 else [4 / 16] * 3)
  np.testing.assert_allclose(found.iou[0, 2], base)
  first, later = config.search.turns
  searched = first + 2 * 2 * beams_carried * later
  assert found.forward[0] == searched + 3 * (3 if beams_carried == 1 else 1 + 6 + 3)
  assert found.forward[0] <= 3 * beams_carried * config.search.budget


@pytest.mark.slow
def test_more_beams_find_no_less_than_the_greedy_trajectory():
  found = {}
  for count in (1, 2, 4):
    config = AttackConfig('few', Wide(budget=9, pool_size=300, num_beams=count), num_clicks=4)
    run = jax.jit(lambda b, c=config: tetris_jax.attack(rough(), b, c))
    score = metrics.iou_auc(jax.device_get(run(batch_of()).iou[0]))
    assert score[1] <= score[0] <= score[2]
    found[count] = score
  assert found[2][1] < found[1][1] and found[2][2] > found[1][2]
  # Were beams to become copies of each other, more of them would add nothing.
  assert found[4][1] <= found[2][1] and found[4][2] > found[2][2]


def test_one_beam_goes_on_as_it_is():
  yx = jnp.arange(8.0).reshape(2, 2, 1, 1, 2)
  standing = lanes.start(2, lanes.Cast())
  choice = lanes.choose(Found(yx), standing, jnp.int32(1), 3, lanes.Cast())
  assert choice.parent is None
  np.testing.assert_array_equal(choice.yx, yx[:, :, 0, 0])


def test_the_best_other_continuation_takes_the_second_lane():
  # Two lanes of MIN, two of MAX, each with two continuations; the greedy one of each side stays.
  iou = jnp.array([[[[0.3, 0.4]], [[0.1, 0.9]], [[0.8, 0.7]], [[0.6, 0.2]]]])
  place = jnp.arange(8.0).reshape(1, 4, 1, 2)
  found = Found(jnp.stack([place, place], -1), iou, jnp.ones_like(iou, bool))
  standing = lanes.start(1, lanes.Cast(2))
  standing = lanes.add(standing, jnp.float32([[0.5, 0.5, 0.5, 0.5, 0.5]]), jnp.int32(0), 3)
  choice = lanes.choose(found, standing, jnp.int32(1), 3, lanes.Cast(2))
  # MIN: lane 1 itself, then lane 2's first (0.1). MAX: lane 3 itself, then its second (0.7).
  np.testing.assert_array_equal(choice.parent, [[0, 1, 2, 3, 3]])
  np.testing.assert_array_equal(choice.yx[0, :, 0], [0, 2, 4, 5])
  assert choice.distinct.all()


def test_one_side_is_chosen_as_beside_the_other():
  iou = jnp.array([[[[0.3, 0.4]], [[0.1, 0.9]], [[0.8, 0.7]], [[0.6, 0.2]]]])
  place = jnp.arange(8.0).reshape(1, 4, 1, 2)
  found = Found(jnp.stack([place, place], -1), iou, jnp.ones_like(iou, bool))
  for sides, base, some in ((('min',), True, [0, 1]), (('max',), False, [2, 3])):
    cast = lanes.Cast(2, sides, base)
    assert cast.num_lanes == 2 + base and cast.names == ('base',) * base + sides
    mine = jax.tree.map(lambda x, some=some: x[:, np.array(some)], found)
    choice = lanes.choose(mine, lanes.start(1, cast), jnp.int32(1), 3, cast)
    every = lanes.choose(found, lanes.start(1, lanes.Cast(2)), jnp.int32(1), 3, lanes.Cast(2))
    np.testing.assert_array_equal(choice.yx, every.yx[:, np.array(some)])
    parents = np.asarray(every.parent)[:, 1 + np.array(some)] - some[0] - (not base)
    np.testing.assert_array_equal(choice.parent[:, cast.first :], parents)
  np.testing.assert_array_equal(lanes.Cast(2).wanted, [[1, 0], [1, 0], [0, 1], [0, 1]])
  np.testing.assert_array_equal(lanes.Cast(1, ('max',)).wanted, [[0, 1]])


def test_the_trapezoid_rule_decides_and_the_robot_user_competes():
  standing = lanes.start(1, lanes.Cast())
  for slot, iou in enumerate(([0.5, 0.4, 0.6], [0.5, 0.9, 0.2], [0.5, 0.4, 0.6])):
    standing = lanes.add(standing, jnp.float32([iou]), jnp.int32(slot), 3)
  np.testing.assert_allclose(standing.total, [[1.0, 1.3, 0.8]])
  # MIN ends above BASE and MAX below it: the robot user's trajectory is better on both sides.
  np.testing.assert_array_equal(lanes.winners(standing, lanes.Cast(), True), [[0, 0, 0]])
  np.testing.assert_array_equal(lanes.winners(standing, lanes.Cast(), False), [[0, 1, 2]])
  # What is not finite is told.
  broken = standing._replace(total=standing.total.at[0, 1].set(jnp.nan))
  np.testing.assert_array_equal(lanes.winners(broken, lanes.Cast(), True), [[0, 1, 0]])
