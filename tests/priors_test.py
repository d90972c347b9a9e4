"""Click priors and quantiles against hand-computed values."""

import numpy as np
import pytest

from tetris_jax import priors


def disk(side=41, radius=15):
  y, x = np.mgrid[:side, :side] - side // 2
  return y**2 + x**2 <= radius**2


def test_depth_is_one_at_the_deepest_pixel_and_counts_the_image_border():
  depth = priors.inner_depth(disk())
  assert depth[20, 20] == 1 and depth[0, 0] == 0
  assert 0 < depth[20, 34] < depth[20, 30] < 1
  whole = priors.inner_depth(np.ones((5, 9), bool))
  np.testing.assert_allclose(whole[:, 4] * 3, [1, 2, 3, 2, 1])
  assert not priors.inner_depth(np.zeros((4, 4), bool)).any()


def test_every_prior_adds_up_and_prefers_what_it_should():
  legal = disk()
  depth, yx, robot = priors.inner_depth(legal), np.argwhere(legal), np.array([20, 10])
  for prior in priors.PRIORS:
    found = priors.weights(prior, yx, depth, robot)
    assert found.shape == (len(yx),) and np.all(found >= 0)
    np.testing.assert_allclose(found.sum(), 1)
    at = dict(zip(map(tuple, yx.tolist()), found, strict=True))
    if prior == 'uniform':
      assert set(found) == {1 / len(yx)}
    elif prior == 'distance':
      np.testing.assert_allclose(at[20, 30] / at[20, 20], depth[20, 30], rtol=1e-6)
    else:
      sigma = float(prior.split('_')[1]) * 41 * 2**0.5
      np.testing.assert_allclose(at[20, 13] / at[20, 10], np.exp(-9 / (2 * sigma**2)), rtol=1e-6)


def test_odd_regions_and_names():
  one = np.zeros((9, 9), bool)
  one[4, 4] = True
  depth = priors.inner_depth(one)
  far = priors.weights('gaussian_0.001', np.array([[4, 4]]), depth, np.array([0, 0]))
  assert far.tolist() == [1]
  flat = priors.weights('distance', np.array([[0, 0], [1, 1]]), depth, np.array([0, 0]))
  assert flat.tolist() == [0.5, 0.5]
  with pytest.raises(ValueError, match=r'unknown prior .best'):
    priors.weights('best', np.array([[4, 4]]), depth, np.array([0, 0]))
  with pytest.raises(ValueError, match='no position'):
    priors.weights('uniform', np.zeros((0, 2)), depth, np.array([0, 0]))


def test_quantiles_of_weighted_values():
  iou = np.array([0.9, 0.1, 0.5, 0.3])
  found = priors.quantiles(iou, np.full(4, 0.25))
  assert found['mean'] == pytest.approx(0.45)
  assert [found[q] for q in ('q01', 'q25', 'q50', 'q75', 'q99')] == [0.1, 0.1, 0.3, 0.5, 0.9]
  heavy = priors.quantiles(iou, np.array([0.97, 0.01, 0.01, 0.01]))
  assert [heavy[q] for q in ('q01', 'q05', 'q50')] == [0.1, 0.9, 0.9]
  many = np.random.default_rng(0).random(1001)
  spread = priors.quantiles(many, np.full(1001, 1 / 1001))
  assert spread['q50'] == np.median(many)


def test_levels_leave_out_what_lies_near_the_border():
  legal = disk()
  depth, yx = priors.inner_depth(legal), np.argwhere(legal)
  iou = depth[yx[:, 0], yx[:, 1]].astype(float)
  found = priors.levels(iou, yx, depth)
  assert [level['depth'] for level in found] == list(priors.DEPTHS)
  assert found[0]['n'] == len(yx) and all(level['max'] == 1 for level in found)
  for level in found[1:]:
    assert level['min'] > level['depth'] and level['min'] < level['depth'] + 0.08
  assert priors.levels(iou[:1], yx[:1], np.zeros_like(depth))[0] == {
    'depth': 0.0, 'n': 0, 'min': None, 'max': None
  }
