"""The published search on functions of one variable: what it accepts, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np

from tetris_jax.search.local import Descent, Evaluation, Local, local_search

SETTINGS = Local(num_steps=11, location_slack=1.05)


def search(loss, location, iou, start=0.0, sign=1.0, movable=True, boundary=None, mask=None):
  """Positions are (0, x); the functions are of x."""

  def evaluate(position):
    x = position[1]
    at = jnp.full((2, 2), x) > jnp.array([[0.5, 1.5], [2.5, 3.5]]) if mask is None else mask(x)
    return loss(x), Evaluation(loss(x), location(x), iou(x), at)

  def differentiate(position):
    (_, found), slope = jax.value_and_grad(evaluate, has_aux=True)(position)
    return found, slope

  descent = Descent(
    lambda p: evaluate(p)[1], differentiate, boundary or (lambda m: jnp.float32(0)),
    jnp.float32(0.5), jnp.float32(sign), jnp.array(movable),
  )
  position, moves, norm = jax.jit(lambda at: local_search(descent, at, SETTINGS))(
    jnp.array([0.0, start])
  )
  slope = jax.grad(loss)(jnp.float32(start))
  np.testing.assert_allclose(norm, abs(slope), rtol=1e-6)
  return float(position[1]), int(moves)


def test_it_walks_downhill_with_adam_and_keeps_the_last_best():
  x, moves = search(lambda x: -x, lambda x: jnp.float32(1), lambda x: x / 10)
  # A constant gradient moves Adam by exactly the step each time.
  np.testing.assert_allclose(x, 5.0, rtol=1e-5)
  assert moves == 10


def test_the_best_by_true_iou_wins_not_the_last():
  x, moves = search(lambda x: -x, lambda x: jnp.float32(1), lambda x: -jnp.abs(x - 2))
  np.testing.assert_allclose(x, 2.0, rtol=1e-5)
  assert moves == 4
  x, moves = search(lambda x: -x, lambda x: jnp.float32(1), lambda x: x, sign=-1.0)
  assert (x, moves) == (0.0, 0)


def test_a_click_that_leaves_the_legal_region_is_refused():
  # 1.04 is within the slack of the start's 1, and then 1.05 times that bounds the next.
  location = lambda x: jnp.where(x < 0.75, 1.0, jnp.where(x < 1.25, 1.04, 1.2))
  x, moves = search(lambda x: -x, location, lambda x: x)
  np.testing.assert_allclose(x, 1.0, rtol=1e-5)
  assert moves == 2
  # Where the start's loss is 0, nothing above 0 is accepted.
  x, moves = search(lambda x: -x, lambda x: jnp.where(x < 0.75, 0.0, 1e-6), lambda x: x)
  assert moves == 1


def test_among_equal_iou_the_boundary_decides():
  boundary = lambda mask: jnp.sum(mask).astype(jnp.float32)
  same = lambda x: jnp.float32(0.5)
  one = lambda x: jnp.float32(1)
  x, _ = search(lambda x: -x, one, same, boundary=boundary)
  # The mask gains a pixel beyond 0.5, 1.5, 2.5 and 3.5.
  np.testing.assert_allclose(x, 4.0, rtol=1e-5)
  assert search(lambda x: -x, one, same, boundary=boundary, sign=-1.0) == (0.0, 0)
  assert search(lambda x: -x, one, same) == (0.0, 0)


def test_nan_and_an_unmovable_click_stay_at_the_start():
  one = lambda x: jnp.float32(1)
  broken = lambda x: jnp.where(x > 0.75, jnp.nan, -x)
  assert search(broken, one, lambda x: x)[1] == 1
  assert search(lambda x: -x, one, lambda x: x, movable=False) == (0.0, 0)
