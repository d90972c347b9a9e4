"""What an attack looks at: rows in parts, hard scores, and the default of rows at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attack_test import BOTTOM, SIDE, TOP, WIDTH, batch_of, wall

from tetris_jax import scene


@pytest.mark.parametrize('at_once', [None, 1, 2, 3, 4, 6, 100])
def test_parts_give_what_all_rows_together_give(at_once):
  x = jnp.arange(12.0).reshape(6, 2)
  sizes = []

  def rows(each, x, y):
    sizes.append(x.ndim)
    return each(lambda a, b: (a.sum() + b, a))(x, y)

  total, same = scene.in_parts(rows, at_once, x, jnp.arange(6.0))
  np.testing.assert_allclose(total, np.asarray(x).sum(1) + np.arange(6))
  np.testing.assert_array_equal(same, x)
  # One row at a time comes without a leading dimension.
  assert sizes[-1] == (1 if at_once == 1 else 2)


def test_rows_at_once_is_one_on_a_cpu_unless_it_is_given():
  assert jax.default_backend() == 'cpu'
  assert scene.rows_at_once(None) == scene.rows_at_once(None, elsewhere=64) == 1
  assert scene.rows_at_once(5, elsewhere=64) == 5
  with pytest.raises(ValueError, match='at_once is 0; at least 1 row'):
    scene.rows_at_once(0)


@pytest.mark.slow
def test_a_scene_holds_what_no_click_changes():
  batch = batch_of((SIDE + 2, SIDE + 5), 2)
  ignore = np.zeros_like(batch.mask)
  ignore[1, TOP, 0] = True
  found = scene.look(wall(), batch._replace(ignore=ignore), None)
  assert found.inside.sum() == 2 * SIDE**2
  np.testing.assert_array_equal(found.valid, found.inside & ~ignore)
  # The band of a rectangle is as wide as 2 % of the diagonal, at least one pixel.
  assert found.band[0].sum() == 2 * (BOTTOM - TOP) + 2 * WIDTH - 4
  target = scene.repeat_target(found, 3)
  assert target.mask.shape == (6, SIDE + 2, SIDE + 5)
  np.testing.assert_array_equal(target.valid[3], found.valid[1])


def test_a_mask_is_cut_at_the_threshold_and_nan_is_no_empty_mask():
  found = scene.look(wall(), batch_of(), None)
  target = jax.tree.map(lambda x: x[0], scene.repeat_target(found, 1))
  probability = jnp.where(target.mask, 0.495, 0.1)
  logits = jnp.log(probability / (1 - probability))
  assert scene.hard_score(logits, 0.49, target).iou == 1
  assert scene.hard_score(logits, 0.5, target).iou == 0
  broken = scene.hard_score(logits.at[0, 0].set(jnp.nan), 0.49, target)
  assert jnp.isnan(broken.iou) and not broken.finite
