"""The truth: every position of a lattice, and given ones, on a landscape that is known."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from landscapes import NEEDLE, SIDE, batch_of, needle, run

from tetris_jax import AttackConfig, Wide, truth, types
from tetris_jax.scores import coverage


def test_the_grid_is_brute_force():
  batch = batch_of((SIDE + 2, SIDE + 5), 2)
  stride = np.int32([2, 1])
  found = jax.device_get(
    jax.jit(lambda b, s: truth.grid(needle(), b, s, 257, at_once=4))(batch, stride)
  )
  expected = lambda y, x: (
    1.0 if abs(y - NEEDLE[0]) <= 1 and abs(x - NEEDLE[1]) <= 1 else 0.25 if y <= 5 else 0.5
  )
  for row, step in enumerate(stride):
    yx = found.yx[row][found.exists[row]]
    first = step // 2
    pixels = {(y, x) for y in range(4, 20) for x in range(4, 20)
              if y % step == first and x % step == first}
    assert found.wanted[row] == len(pixels)
    assert {tuple(p) for p in yx} == pixels | {tuple(yx[0])}
    assert len({tuple(p) for p in yx}) == len(yx)
    np.testing.assert_allclose(found.iou[row][found.exists[row]], [expected(*p) for p in yx])
    assert np.isnan(found.iou[row][~found.exists[row]]).all()
    assert np.isfinite(found.biou[row][found.exists[row]]).all()
  shares = coverage.share_of_range([0.5, 0.25], [1.0, 1.0], found.iou)
  np.testing.assert_allclose(shares, [2 / 3, 1])


@pytest.mark.slow
def test_the_grid_of_a_later_round_starts_from_frozen_clicks():
  config = AttackConfig('small', Wide(budget=40, pool_size=300, explore=0.9), num_clicks=2)
  found = run(config, batch_of())
  earlier = types.Clicks(found.clicks.yx[:, 1, :1], found.clicks.label[:, 1, :1])
  there = jax.device_get(
    jax.jit(
      lambda b, c: truth.grid(
        needle(), b, np.int32([1]), 257, earlier=c, at_once=1, with_boundary=False
      )
    )(batch_of(), earlier)
  )
  assert there.label[0] == found.clicks.label[0, 1, 1] == types.POSITIVE
  # What is left of the object after its first quarter was marked: columns 8 to 19.
  assert there.wanted[0] == 16 * 12
  assert np.nanmin(there.iou) == found.iou[0, 1, 1]
  assert np.isnan(there.biou).all()


def test_stride_for():
  assert truth.stride_for(np.ones((100, 100), bool)) == 2
  assert truth.stride_for(np.ones((3, 3), bool)) == 1


@pytest.mark.slow
def test_given_positions_score_as_on_the_lattice():
  batch = batch_of((SIDE + 2, SIDE + 5), 2)
  stride = np.int32([4, 3])
  there = jax.jit(lambda b: truth.grid(needle(), b, stride, 64, at_once=4))(batch)
  given, exists = np.asarray(there.yx[:, 1:]), np.asarray(there.exists[:, 1:])
  found = jax.jit(lambda b: truth.at(needle(), b, given, exists, at_once=3))(batch)
  np.testing.assert_array_equal(found.yx, there.yx)
  np.testing.assert_array_equal(found.exists, there.exists)
  np.testing.assert_allclose(found.iou, there.iou, atol=1e-6)
  np.testing.assert_allclose(found.biou, there.biou, atol=1e-6)
  np.testing.assert_array_equal(found.wanted, exists.sum(1))
  # The same place twice, and one off the object, count as what they are.
  twice = np.array([[[3.0, 4.0], [3.0, 4.0], [0.0, 0.0]]] * len(batch.size), np.float32)
  some = jax.jit(lambda b: truth.at(needle(), b, twice, np.ones(twice.shape[:2], bool)))(batch)
  assert np.isfinite(some.iou).all()
  np.testing.assert_array_equal(some.iou[:, 1], some.iou[:, 2])


@pytest.mark.slow
def test_a_model_that_expects_an_iou_is_quoted_by_position():
  def decode(params, context, clicks):
    logits, _ = needle().decode(params, context, clicks)
    return logits, clicks.yx[0, 1] / 100

  model = dataclasses.replace(
    needle(), init=lambda params, features: jnp.float32(0), decode=decode,
    predicted_iou=lambda state: state,
  )
  found = jax.jit(lambda b: truth.grid(model, b, np.int32([3]), 64, at_once=4))(batch_of())
  exists = np.asarray(found.exists)
  np.testing.assert_allclose(found.predicted[exists], found.yx[exists][:, 1] / 100)
  assert np.isnan(found.predicted[~exists]).all()


def test_masks_are_kept_small_and_change_no_score():
  batch, stride = batch_of((SIDE + 2, SIDE + 5)), np.int32([5])
  plain, kept = (
    jax.device_get(jax.jit(
      lambda b, side=side: truth.grid(needle(), b, stride, 20, at_once=3, mask_side=side)
    )(batch))
    for side in (0, 12)
  )  # fmt: skip
  assert plain.mask is None
  for one, other in zip(plain[:-1], kept[:-1], strict=True):
    np.testing.assert_array_equal(one, other)
  exists = kept.exists[0]
  # Of 24 pixels a side every second one, from the second on; the object's first row is the fourth.
  there = np.arange(1, SIDE, 2)
  for (y, x), small in zip(kept.yx[0][exists], kept.mask[0][exists], strict=True):
    hit = abs(y - NEEDLE[0]) <= 1 and abs(x - NEEDLE[1]) <= 1
    right = 20 if hit else 8 if y <= 5 else 12
    expected = ((there >= 4) & (there < 20))[:, None] & ((there >= 4) & (there < right))
    np.testing.assert_array_equal(np.unpackbits(small).reshape(12, 12), expected)
  assert exists.sum() > 2 and not kept.mask[0][~exists].any()
