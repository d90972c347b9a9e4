"""Seams between answers: neighbours against brute force, and a strip one pixel wide."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from landscapes import batch_of, needle

import tetris_jax
from tetris_jax import AttackConfig, Wide
from tetris_jax.search import seams


def entered(yx, masks, area=10_000):
  found = seams.none(len(yx) + 2)
  for number, (at, mask) in enumerate(zip(yx, masks, strict=True)):
    differs = np.zeros(len(yx) + 2, np.float32)
    differs[:number] = [np.mean(mask != other) for other in masks[:number]]
    found = seams.add(found, number, jnp.float32(at), jnp.asarray(differs), jnp.int32(area))
  return found


@pytest.mark.slow
@pytest.mark.parametrize('seed', range(3))
def test_neighbours_are_those_of_the_gabriel_graph(seed):
  rng = np.random.default_rng(seed)
  yx = rng.permutation(np.argwhere(np.ones((12, 12))))[:20]
  masks = rng.random((20, 50)) < 0.5
  found = np.asarray(entered(yx, masks).open)
  assert not found[20:].any() and not found[:, 20:].any()
  for i in range(20):
    for j in range(20):
      squared = np.sum((yx[i] - yx[j]) ** 2)
      away = np.sum((yx - (yx[i] + yx[j]) / 2) ** 2, axis=1)
      others = np.delete(away, [i, j]) if i != j else away
      assert found[i, j] == (i != j and not (others < squared / 4 - 1e-9).any()), (i, j)


@pytest.mark.slow
def test_a_seam_that_is_known_keeps_its_neighbourhood_waiting():
  masks = [np.arange(10) < 5, np.arange(10) < 9]
  # Clicks 2 and 3 touch; the middle of 0 and 1 is far from them, that of 4 and 5 is near.
  yx = [(0, 0), (0, 40), (50, 50), (50, 51), (50, 47), (52, 53)]
  kinds = [0, 1, 0, 1, 0, 1]
  found = entered(yx, [masks[k] for k in kinds])
  assert np.asarray(found.known)[:6].tolist() == [False, False, False, True, False, False]
  waits = np.asarray(found.waits)
  assert not waits[0, 1] and waits[2, 3] and waits[4, 5] and waits[5, 4]


@pytest.mark.slow
def test_what_a_pair_promises():
  masks = [np.arange(10) < 5, np.arange(10) < 9]
  yx = [(0, 0), (0, 8), (20, 0), (20, 32)]
  found = entered(yx, [masks[0], masks[1], masks[0], masks[1]])
  iou = jnp.array([0.2, 0.6, 0.2, 0.6, 0, 0])
  tried = jnp.arange(6) < 4
  legal = np.ones((40, 40), bool)
  high = np.asarray(seams.promise(found, iou, tried, legal, jnp.array([0.0, 1.0])))
  # Both have the best IoU at one end, whose value is 1; lengths are 3 and 5 halvings of a pixel.
  np.testing.assert_allclose([high[0, 1], high[2, 3]], [1 - 0.3, 1 - 0.5], rtol=1e-6)
  assert high[0, 2] == high[1, 0] == -np.inf  # Of equal masks; the mirror image.
  assert seams.middle(found, jnp.int32(1)).tolist() == [0, 4]
  legal[0, 4] = False
  barred = np.asarray(seams.promise(found, iou, tried, legal, jnp.array([0.0, 1.0])))
  assert barred[0, 1] == -np.inf and barred[2, 3] == high[2, 3]
  # Without room above, the lower end is what counts.
  top = jnp.array([0.2, 1.0, 0.3, 0.4, 0, 0])
  both = np.asarray(seams.promise(found, top, tried, legal, jnp.ones(2)))
  np.testing.assert_allclose(both[2, 3], 7 / 8 - 0.5, rtol=1e-6)
  unknown = jnp.array([0.2, 0.6, jnp.nan, 0.6, 0, 0])
  left = np.asarray(seams.promise(found, unknown, tried, legal, jnp.ones(2)))
  assert left[2, 3] == -np.inf


@pytest.mark.parametrize(('follow', 'expected'), [(1, '11111'), (0.5, '10101'), (0, '00000')])
def test_the_share_of_clicks_that_follow_seams(follow, expected):
  due = [bool(seams.due(jnp.int32(n), follow)) for n in range(-2, 5)]
  assert due[:2] == [False, False]
  assert ''.join(str(int(d)) for d in due[2:]) == expected


def strip():
  """A click left of column 13 marks the left half, one right of it another; on it, everything."""

  def decode(params, context, clicks):
    features, rounds = context
    del params
    x = clicks.yx[jnp.maximum(jnp.sum(clicks.label >= 0) - 1, 0), 1]
    row = jnp.arange(features.shape[0])[:, None]
    column = jnp.arange(features.shape[1])[None]
    inside = (row >= 4) & (row < 20) & (column >= 4) & (column < 20)
    left, right = column < 12, column >= 14
    marked = inside & jnp.where(x < 13, left, jnp.where(x > 13, right, True))
    return jnp.where(marked, 3.0, -3.0), rounds

  return dataclasses.replace(needle(), decode=decode)


@pytest.mark.slow
@pytest.mark.parametrize('per_turn', [1, 2])
def test_a_strip_one_pixel_wide_between_two_answers_is_found(per_turn):
  """Among few candidates, none of them in the strip."""
  batch = batch_of()._replace(image=np.zeros((1, 24, 24, 3), np.float32))
  config = AttackConfig(
    'seams', Wide(budget=19, pool_size=12, per_turn=per_turn), num_clicks=1
  )
  run = lambda config: jax.device_get(
    jax.jit(lambda b: tetris_jax.attack(strip(), b, config))(batch)
  )
  found = run(config)
  outlook = jax.tree.map(lambda x: x[0], found.byproducts.outlook)
  assert 13 not in outlook.yx[outlook.even][:, 1]
  assert found.clicks.yx[0, 2, 0, 1] == 13
  np.testing.assert_allclose(found.iou[0, 1:, 0], [6 / 16, 1])
  # Every click was made once.
  made = outlook.yx[outlook.evaluated]
  assert len(np.unique(made, axis=0)) == len(made)
