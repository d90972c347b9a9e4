"""What a global search makes of the clicks it tried: extremes, and whose answer a pixel shares."""

import jax
import jax.numpy as jnp
import numpy as np

from tetris_jax.search import candidates, spread


def test_extremes_pass_over_nan():
  pool = candidates.Candidates(jnp.eye(4, 2), jnp.ones(4, bool), jnp.zeros((4, 1)))
  side = jnp.array([[1.0, 1, 1, 1], [1, 1, -1, -1], [-1, 1, -1, 1]])
  picked = jnp.array([0, 2, 1])
  tried = spread.Tried(pool.yx[picked], picked, jnp.array([jnp.nan, 0.2, 0.4]), side)
  best = jax.tree.map(lambda x: x[:, 0], spread.extremes(pool, tried, 1, 4))
  np.testing.assert_allclose(best.iou, [0.2, 0.4])
  np.testing.assert_array_equal(best.yx, pool.yx[jnp.array([2, 1])])


def test_the_next_extremes_have_another_mask_or_lie_elsewhere():
  yx = jnp.array([[0.0, 0], [50, 50], [50, 52], [51, 50], [80, 50], [20, 20]])
  pool = candidates.Candidates(yx, jnp.ones(6, bool), jnp.zeros((6, 1)))
  other = jnp.ones(6).at[4:].set(-1)
  side = jnp.stack([-jnp.ones(6), jnp.ones(6), jnp.ones(6), other, jnp.ones(6), other])
  iou = jnp.array([0.1, 0.9, 0.8, 0.7, 0.6, 0.5])
  tried = spread.Tried(yx, jnp.arange(6), iou, side)
  # A tenth of the root of the area is 10 pixels: (50, 52) is the best click once more, and then
  # nothing is left.
  best = spread.extremes(pool, tried, 6, 100**2)
  np.testing.assert_allclose(best.iou[1], [0.9, 0.7, 0.6, 0.5, 0.1, 0.9])
  # On the lower side there is only the robot user's click, which is repeated.
  np.testing.assert_allclose(best.iou[0], [0.1] * 6)
  np.testing.assert_array_equal(best.new, [[True] + 5 * [False], 5 * [True] + [False]])
  # In a small region every other place counts, but the second has another mask all the same.
  best = spread.extremes(pool, tried, 4, 1)
  np.testing.assert_allclose(best.iou[1], [0.9, 0.7, 0.8, 0.6])
