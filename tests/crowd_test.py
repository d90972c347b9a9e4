"""Sampled users side by side: outcomes of a known distribution, and what draws never depend on."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tetris_jax
from tetris_jax import click_priors, crowd, types
from tetris_jax.scores import metrics, profile

SIDE = 16


def columns_up_to_the_first_click():
  """A model that answers all columns up to that of the first click, whatever follows."""

  def encode(params, image, size):
    del params, size
    return image[..., 0]

  def decode(params, context, clicks):
    del params
    features, state = context
    column = jnp.arange(features.shape[1], dtype=jnp.float32)
    logits = jnp.where(column <= clicks.yx[0, 1], 1.0, -1.0)
    return jnp.broadcast_to(logits, features.shape), state

  return types.Segmenter(encode, lambda params, features: (), decode, {}, types.ModelInfo('known'))


def batch(ids, canvas=(SIDE, SIDE)):
  """Pictures that are their object all over."""
  count, inside = len(ids), np.zeros(canvas, bool)
  inside[:SIDE, :SIDE] = True
  mask = np.repeat(inside[None], count, axis=0)
  image = np.zeros((*mask.shape, 3), np.float32)
  size = np.full((count, 2), SIDE, np.int32)
  return types.Batch(image, mask, np.zeros_like(mask), size, np.array(ids, np.uint32))


@functools.cache
def _program(num_clicks, prior, count, at_once):
  users = crowd.Crowd(prior, count)
  config = tetris_jax.presets.get('baseline', num_clicks=num_clicks)

  def call(key, given, maps):
    return tetris_jax.attack(
      columns_up_to_the_first_click(), given, config, key=key, users=users, click_maps=maps,
      at_once=at_once,
    )  # fmt: skip

  return jax.jit(call)


def walked(given, num_clicks=1, prior='uniform', count=64, maps=None, seed=0, at_once=1):
  found = _program(num_clicks, prior, count, at_once)(jax.random.key(seed), given, maps)
  return jax.tree.map(np.asarray, found.users)


@pytest.mark.slow
def test_a_known_distribution_is_found_within_its_interval():
  # Uniform clicks, so the IoU of a user is 1 / 16, 2 / 16, ... 1, each as likely.
  found = walked(batch(range(12)), num_clicks=2)
  auc = metrics.iou_auc(found.iou)
  outcomes = np.arange(1, SIDE + 1) / SIDE
  coefficients = np.stack(
    [np.full(64, 1 / 64), *(profile.d_coefficients(alpha, 64) for alpha in profile.ALPHAS)], 1
  )
  expected = [outcomes.mean(), *(profile.d_alpha(outcomes, alpha) for alpha in profile.ALPHAS)]
  below = (auc[..., None] < np.array(profile.LEVELS)).astype(float)
  expected += [profile.share_below(outcomes, level) for level in profile.LEVELS]
  estimates = profile.nested_means(auc, coefficients, below)
  for estimate, truth in zip(estimates, expected, strict=True):
    assert estimate.low <= truth <= estimate.high
    assert estimate.value == pytest.approx(truth, abs=0.02)
  falling = [profile.d_alpha(auc, alpha) for alpha in profile.CURVE]
  assert (np.diff(falling, axis=0) <= 1e-12).all()


@pytest.mark.slow
def test_users_are_the_same_whatever_the_batch_and_the_canvas():
  together = walked(batch([5, 7, 9]), count=8)
  alone = walked(batch([7]), count=8)
  padded = walked(batch([9], (20, 24)), count=8)
  for field in (lambda found: found.clicks.yx, lambda found: found.iou):
    np.testing.assert_array_equal(field(together)[1:2], field(alone))
    np.testing.assert_array_equal(field(together)[2:3], field(padded))
  assert (together.clicks.yx[0] != together.clicks.yx[1]).any()
  assert (walked(batch([7]), count=8, seed=1).clicks.yx != alone.clicks.yx).any()


@pytest.mark.slow
def test_how_many_go_through_the_decoder_together_changes_nothing():
  alone, together = (walked(batch([5, 7]), 2, count=6, at_once=n) for n in (1, 8))
  jax.tree.map(np.testing.assert_array_equal, alone, together)


@functools.cache
def _beside_a_search(users, num_clicks):
  config = tetris_jax.presets.get('strong_v1_16', num_clicks=num_clicks)
  who = crowd.Crowd('uniform', users) if users else None

  def call(key, given):
    return tetris_jax.attack(
      columns_up_to_the_first_click(), given, config, key=key if users else None, users=who
    )

  return jax.jit(call)


@pytest.mark.slow
def test_first_clicks_are_pooled_with_those_of_the_search():
  call = _beside_a_search(16, 1)
  found, alone = (
    jax.tree.map(np.asarray, call(jax.random.key(0), batch(ids))) for ids in ([5, 7, 9], [7])
  )
  pooled = found.users.pooled
  # The robot user's click and what a budget of 16 leaves beside the three that are kept.
  assert pooled.iou.shape == pooled.mass.shape == (3, 16 + 14)
  np.testing.assert_array_equal(pooled.iou[:, :16], found.users.iou[..., 0])
  np.testing.assert_allclose(pooled.mass.sum(1), 1, atol=1e-5)
  jax.tree.map(lambda x, y: np.testing.assert_array_equal(x[1:2], y), pooled, alone.users.pooled)
  # The same users as without a search, and the same attack as without users.
  np.testing.assert_array_equal(found.users.iou, walked(batch([5, 7, 9]), count=16).iou)
  bare = _beside_a_search(0, 1)(jax.random.key(0), batch([5, 7, 9]))
  assert bare.users is None and bare.byproducts.answers is None
  jax.tree.map(np.testing.assert_array_equal, bare, found._replace(users=None))
  # Uniform clicks, so the IoU of a user is 1 / 16, 2 / 16, ... 1, each as likely. An answer is
  # taken for that of the next column too, so what is pooled is right to about one of them.
  outcomes = np.arange(1, SIDE + 1) / SIDE
  for iou, mass in zip(*pooled, strict=True):
    assert (iou * mass).sum() == pytest.approx(outcomes.mean(), abs=1 / SIDE)
    for alpha in profile.ALPHAS:
      expected = profile.d_alpha(outcomes, alpha)
      assert profile.d_alpha(iou, alpha, weights=mass) == pytest.approx(expected, abs=1.5 / SIDE)


def test_every_stratum_of_the_mass_has_its_user():
  share = np.asarray(crowd.shares(jax.random.key(0), np.uint32(3), jnp.int32(0), 32))
  assert sorted((32 * share).astype(int)) == list(range(32))
  later = np.asarray(crowd.shares(jax.random.key(0), np.uint32(3), jnp.int32(1), 32))
  assert ((32 * share).astype(int) != (32 * later).astype(int)).any()


@pytest.mark.slow
def test_clicks_follow_a_map_and_never_repeat_a_pixel():
  weight = np.zeros((1, SIDE, SIDE), np.float32)
  weight[0, 3, 2], weight[0, 9, 4], weight[0, 9, 5] = 2, 1, np.nan
  found = walked(batch([1]), num_clicks=2, prior=click_priors.MAPS, count=6, maps=weight)
  first = [tuple(yx) for yx in found.clicks.yx[0, :, 0]]
  assert (first.count((3, 2)), first.count((9, 4))) == (4, 2)
  for yx in found.clicks.yx[0]:
    assert (yx[0] != yx[1]).any()


def test_a_prior_of_ones_own_is_traced():
  def left_column(view):
    assert view.map is None and view.image.shape == (SIDE, SIDE, 3)
    left = jnp.broadcast_to(jnp.arange(SIDE) == 0, view.region.shape)
    return jnp.where(left, view.distance, 0.0)

  click_priors.register('left_column', left_column)
  found = walked(batch([1]), prior='left_column', count=4)
  assert (found.clicks.yx[..., 1] == 0).all() and (found.iou == 1 / SIDE).all()


def test_what_cannot_be_is_refused():
  with pytest.raises(ValueError, match='count is 0'):
    crowd.Crowd('uniform', 0)
  with pytest.raises(ValueError, match="unknown prior 'best'; known: distance, uniform"):
    crowd.Crowd('best')
  config = tetris_jax.presets.get('baseline', num_clicks=1)
  call = functools.partial(
    tetris_jax.attack, columns_up_to_the_first_click(), batch([1]), config
  )
  with pytest.raises(ValueError, match='users draws at random and needs a key'):
    call(users=crowd.Crowd())
  of_maps, weight = crowd.Crowd(click_priors.MAPS), np.ones((1, SIDE, SIDE))
  for users, maps in ((of_maps, None), (crowd.Crowd(), weight)):
    with pytest.raises(ValueError, match="click_maps and users of the prior 'maps'"):
      call(users=users, click_maps=maps, key=jax.random.key(0))
