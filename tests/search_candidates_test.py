"""Candidates of a global search: where they lie, and the colours they are told apart by."""

import jax
import numpy as np
import pytest

from tetris_jax.search import candidates


@pytest.mark.slow
def test_candidates_are_all_legal_pixels_where_these_are_few():
  legal = np.zeros((20, 30), bool)
  legal[3:9, 5:20] = True
  pool = jax.device_get(
    candidates.choose(legal, np.zeros((20, 30, 3), np.float32), np.float32([4, 6]), 128, 1.0)
  )
  assert pool.exists.sum() == 6 * 15 and pool.exists[0] and tuple(pool.yx[0]) == (4, 6)
  seen = {tuple(yx) for yx in pool.yx[pool.exists]}
  assert seen == {(y, x) for y in range(3, 9) for x in range(5, 20)}


@pytest.mark.slow
@pytest.mark.parametrize('thin', [False, True])
def test_candidates_are_spread_evenly_and_fill_the_pool(thin):
  legal = np.zeros((300, 400), bool)
  if thin:
    legal[150, :], legal[:, 7] = True, True
  else:
    legal[20:280, 30:390] = True
  count = 128 if thin else 1024
  plain = np.zeros((300, 400, 3), np.float32)
  robot = np.float32([150, 7 if thin else 60])
  pool = jax.device_get(candidates.choose(legal, plain, robot, count, 1.0))
  yx = pool.yx[pool.exists]
  assert legal[tuple(yx.astype(int).T)].all()
  assert len({tuple(p) for p in yx}) == len(yx)
  assert 0.9 * count <= len(yx) <= count
  # The largest hole is not much larger than what one candidate stands for.
  y, x = np.nonzero(legal)
  far = np.sqrt(((np.stack([y, x], -1)[::7, None] - yx[None]) ** 2).sum(-1).min(1).max())
  assert far <= (4 if thin else 2) * (legal.sum() / count) ** (1 if thin else 0.5)


def test_colour_is_the_mean_of_what_lies_inside():
  rng = np.random.default_rng(0)
  image = rng.uniform(size=(7, 9, 3)).astype(np.float32)
  inside = np.zeros((7, 9), bool)
  inside[:5, :6] = True
  found = np.asarray(candidates.smooth_colour(image, inside, radius=1))
  np.testing.assert_allclose(found[0, 0], image[:2, :2].mean((0, 1)), rtol=1e-5)
  np.testing.assert_allclose(found[2, 3], image[1:4, 2:5].mean((0, 1)), rtol=1e-5)
  np.testing.assert_allclose(found[4, 5], image[3:5, 4:6].mean((0, 1)), rtol=1e-5)
