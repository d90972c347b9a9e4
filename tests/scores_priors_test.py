"""Click priors and quantiles against hand-computed values."""

import numpy as np
import pytest

from tetris_jax.geometry import region
from tetris_jax.scores import priors


def disk(side=41, radius=15):
  y, x = np.mgrid[:side, :side] - side // 2
  return y**2 + x**2 <= radius**2


def test_every_prior_adds_up_and_prefers_what_it_should():
  legal = disk()
  yx, robot = np.argwhere(legal), np.array([20, 10])
  whole = np.asarray(region.inner_depth(legal))
  depth = whole[yx[:, 0], yx[:, 1]]
  for prior in priors.PRIORS:
    found = priors.weights(prior, yx, depth, robot, 41 * 2**0.5)
    assert found.shape == (len(yx),) and np.all(found >= 0)
    np.testing.assert_allclose(found.sum(), 1)
    at = dict(zip(map(tuple, yx.tolist()), found, strict=True))
    if prior == 'uniform':
      assert set(found) == {1 / len(yx)}
    elif prior == 'distance':
      np.testing.assert_allclose(at[20, 30] / at[20, 20], whole[20, 30], rtol=1e-6)
    else:
      sigma = float(prior.split('_')[1]) * 41 * 2**0.5
      np.testing.assert_allclose(at[20, 13] / at[20, 10], np.exp(-9 / (2 * sigma**2)), rtol=1e-6)


def test_odd_regions_and_names():
  far = priors.weights('gaussian_0.001', np.array([[4, 4]]), np.ones(1), np.zeros(2), 12.7)
  assert far.tolist() == [1]
  two = np.array([[0, 0], [1, 1]])
  flat = priors.weights('distance', two, np.zeros(2), np.zeros(2), 12.7)
  assert flat.tolist() == [0.5, 0.5]
  with pytest.raises(ValueError, match=r'unknown prior .best'):
    priors.weights('best', two, np.zeros(2), np.zeros(2), 12.7)
  with pytest.raises(ValueError, match='no position'):
    priors.weights('uniform', np.zeros((0, 2)), np.zeros(0), np.zeros(2), 12.7)


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
  yx = np.argwhere(legal)
  depth = np.asarray(region.inner_depth(legal))[yx[:, 0], yx[:, 1]]
  iou = depth.astype(float)
  found = priors.levels(iou, depth)
  assert [level['depth'] for level in found] == list(priors.DEPTHS)
  assert found[0]['n'] == len(yx) and all(level['max'] > 0.999 for level in found)
  for level in found[1:]:
    assert level['min'] > level['depth'] and level['min'] < level['depth'] + 0.08
  # Seven positions do not tell the extremes of a level.
  few = priors.levels(iou[:9], 0.025 + 0.01 * np.arange(9))
  assert [level['n'] for level in few] == [9, 6, 1, 0]
  assert [level['max'] is None for level in few] == [False, True, True, True]
  # A search that kept to a depth says nothing of what lies above.
  deep = depth > 0.07
  found = priors.levels(iou[deep], depth[deep], searched=0.07)
  assert [level['depth'] for level in found] == [0.07, 0.1, 0.3]
  assert found[0]['n'] == deep.sum() and found[0]['min'] > 0.07


def test_an_outlook_trusts_evaluated_clicks_for_levels_and_all_for_quantiles():
  yx = np.array([[0, 0], [0, 1], [0, 2], [0, 3]], np.float32)
  iou = np.array([0.5, 0.9, 0.1, np.nan], np.float32)
  depth = np.array([1, 0.2, 0.08, 0.5], np.float32)
  made, all_ = np.array([True, True, False, True]), np.ones(4, bool)
  found = priors.outlook(yx, iou, depth, made, all_, yx[0], 5.0)
  assert [(level['min'], level['n']) for level in found['levels']] == [
    (0.5, 2), (None, 2), (None, 2), (None, 1)
  ]  # fmt: skip
  assert found['levels'][0]['max'] == pytest.approx(0.9)
  twice = np.array([0, 1, 1, 1])
  again = priors.outlook(yx[twice], iou[twice], depth[twice], made[twice], all_, yx[0], 5.0)
  assert again['levels'] == found['levels']
  uniform = found['quantiles']['uniform']
  assert uniform['q01'] == pytest.approx(0.1) and uniform['mean'] == pytest.approx(0.5)
  weighed = found['quantiles']['distance']['mean']
  assert weighed == pytest.approx((0.5 + 0.9 * 0.2 + 0.1 * 0.08) / 1.28)
  odd = priors.outlook(yx, iou, depth, made, np.array([False, True, False, True]), yx[0], 5.0)
  assert odd['quantiles']['uniform']['q50'] == pytest.approx(0.9)
  assert odd['levels'] == found['levels']
  nothing = priors.outlook(yx[3:], iou[3:], depth[3:], all_[3:], all_[3:], yx[0], 5.0)
  assert nothing['quantiles'] is None and nothing['levels'][0]['n'] == 0
  mean = priors.mean_of_rows([found, nothing])
  assert mean['levels'][0]['d'] == {'value': pytest.approx(0.4), 'n': 1}
  assert mean['levels'][3]['d'] == {'value': None, 'n': 0} and mean['levels'][0]['tried'] == 1
  assert mean['quantiles']['uniform']['mean'] == {'value': pytest.approx(0.5), 'n': 1}
  assert priors.mean_of_rows([]) == {'levels': None, 'quantiles': None}
