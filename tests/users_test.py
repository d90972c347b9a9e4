"""The sampled user against its definition on the host, and what it must never depend on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

import tetris_jax
from tetris_jax import data
from tetris_jax import users as sampled_user
from tetris_jax.geometry import region
from tetris_jax.scores import priors
from tetris_jax.users import BASE, User


def published_slice(weight, low, high):
  """The rule as it is defined: pixels in ascending order, their mass added up one by one."""
  values = np.sort(weight.ravel().astype(np.float64))
  mass, begin, end = 0.0, None, None
  for value in values:
    mass += value
    if begin is None and mass >= low * values.sum() - 1e-12:
      begin = value
    if end is None and mass > high * values.sum() + 1e-12:
      end = value
  end = values[-1] if end is None else end
  return np.where((weight >= begin) & (weight <= end), weight, 0)


@pytest.mark.parametrize(('low', 'high'), [(0.0, 0.1), (0.3, 0.4), (0.9, 1.0), (0.0, 1.0)])
def test_a_slice_holds_its_share_of_the_mass(low, high):
  rng = np.random.default_rng(3)
  weight = rng.random((30, 40)).astype(np.float32) * (rng.random((30, 40)) > 0.4)
  found = np.asarray(sampled_user.mass_slice(weight, jnp.float32(low), jnp.float32(high)))
  share = found.sum() / weight.sum()
  assert high - low - 0.004 <= share <= high - low + 0.008
  np.testing.assert_allclose(found, published_slice(weight, low, high))


def test_slices_by_hand():
  weight = np.array([[1, 2, 3], [4, 0, 0]], np.float32)
  cut = lambda low, high: np.asarray(
    sampled_user.mass_slice(weight, jnp.float32(low), jnp.float32(high))
  ).tolist()
  # Masses in ascending order: 0, 0, 1, 3, 6, 10.
  assert cut(0.0, 0.2) == [[1, 2, 0], [0, 0, 0]]
  assert cut(0.5, 0.75) == [[0, 0, 3], [4, 0, 0]]
  assert cut(0.7, 1.0) == [[0, 0, 0], [4, 0, 0]]
  alike = np.ones((2, 2), np.float32)
  assert np.asarray(sampled_user.mass_slice(alike, jnp.float32(0.0), jnp.float32(0.1))).all()


@pytest.mark.slow
def test_draws_follow_the_weights():
  weight = np.array([[0, 1, 0], [3, 0, 4]], np.float32)
  uniform = np.random.default_rng(0).random((8000, 2)).astype(np.float32)
  found = np.asarray(jax.vmap(sampled_user.draw, (None, 0))(weight, uniform)).astype(int)
  counts = np.zeros_like(weight)
  np.add.at(counts, (found[:, 0], found[:, 1]), 1)
  np.testing.assert_allclose(counts / 8000, weight / 8, atol=0.02)
  edge = np.float32(np.nextafter(np.float32(1), np.float32(0)))
  assert np.asarray(sampled_user.draw(weight, np.array([edge, edge]))).tolist() == [1, 2]
  nothing = np.zeros((2, 3), np.float32)
  assert np.asarray(sampled_user.draw(nothing, np.array([edge, edge]))).tolist() == [0, 0]


@pytest.fixture(scope='module')
def samples(tmp_path_factory):
  root = tmp_path_factory.mktemp('sampled')
  toy.write_folder(root / 'd', ((40, 52), (48, 44)))
  return list(data.open_dataset('folder', str(root / 'd')))


def run(samples, users, num_clicks=3, canvas=(56, 60), at_once=None, seed=0):
  segmenter = toy.segmenter()
  batch, _ = data.stack(samples, canvas, len(samples))
  walk = jax.jit(
    lambda batch: sampled_user.walk(
      jax.random.key(seed), segmenter, batch, users, num_clicks, at_once=at_once
    )
  )
  return jax.device_get(walk(batch))


@pytest.mark.slow
def test_the_robot_among_users_is_the_standard_evaluation(samples):
  found = run(samples, [User('distance'), BASE])
  batch, _ = data.stack(samples, (56, 60), 2)
  config = tetris_jax.presets.get('baseline', num_clicks=3)
  expected = jax.jit(lambda b: tetris_jax.attack(toy.segmenter(), b, config))(batch)
  np.testing.assert_array_equal(found.clicks.yx[:, 1], expected.clicks.yx[:, 0])
  np.testing.assert_array_equal(found.clicks.label[:, 1], expected.clicks.label[:, 0])
  np.testing.assert_allclose(found.iou[:, 1], expected.iou[:, 0], atol=1e-6)


@pytest.mark.slow
def test_clicks_restore_their_numbers_and_correct_an_error(samples):
  users = [User('uniform'), *sampled_user.groups('distance')]
  found = run(samples, users)
  batch, _ = data.stack(samples, (56, 60), 2)
  replay = jax.jit(lambda b, c: tetris_jax.replay(toy.segmenter(), b, c))(batch, found.clicks)
  np.testing.assert_allclose(found.iou, replay.iou, atol=1e-6)
  np.testing.assert_allclose(found.biou, replay.biou, atol=1e-6)
  for i, sample in enumerate(samples):
    for lane in range(len(users)):
      previous = np.zeros_like(batch.mask[i])
      for slot in range(3):
        y, x = found.clicks.yx[i, lane, slot].astype(int)
        label = found.clicks.label[i, lane, slot]
        assert y < sample.size[0] and x < sample.size[1]
        assert batch.mask[i, y, x] == label and previous[y, x] != batch.mask[i, y, x]
        previous = np.asarray(replay.mask[i, lane, slot])


@pytest.mark.slow
def test_groups_go_from_the_border_to_the_centre(samples):
  found = run(samples, sampled_user.groups('distance'), num_clicks=1)
  for i, sample in enumerate(samples):
    depth = np.asarray(region.inner_depth(sample.mask))
    at = found.clicks.yx[i, :, 0].astype(int)
    reached = depth[at[:, 0], at[:, 1]]
    # Each slice lies between two quantiles of depth under the prior itself.
    yx = np.argwhere(sample.mask)
    deep = depth[yx[:, 0], yx[:, 1]]
    weight = priors.weights('distance', yx, deep, at[0], np.hypot(*sample.size))
    order = np.argsort(deep)
    mass = np.cumsum(weight[order])
    for group, value in enumerate(reached):
      low = deep[order][np.searchsorted(mass, group / 10 - 1e-6)]
      high = deep[order][min(np.searchsorted(mass, (group + 1) / 10 + 1e-6), len(mass) - 1)]
      assert low - 1e-6 <= value <= high + 1e-6


@pytest.mark.slow
def test_a_draw_depends_on_neither_batch_canvas_nor_other_users(samples):
  users = [User('uniform'), User('gaussian_0.05'), User('uniform', number=1)]
  users += sampled_user.groups('distance')
  whole = run(samples, users)
  assert (whole.clicks.yx[:, 0] != whole.clicks.yx[:, 2]).any()
  alone = run(samples[1:], users[::-1], canvas=(64, 90), at_once=3)
  np.testing.assert_array_equal(alone.clicks.yx[0], whole.clicks.yx[1, ::-1])
  assert (run(samples, users, seed=1).clicks.yx != whole.clicks.yx).any()


@pytest.mark.slow
def test_a_narrow_gaussian_is_the_robot_user(samples):
  found = run(samples, [BASE, User('gaussian_0.0001')])
  np.testing.assert_array_equal(found.clicks.yx[:, 0], found.clicks.yx[:, 1])


@pytest.mark.slow
def test_a_user_without_a_pixel_left_clicks_as_the_robot(samples):
  sample = samples[0]
  one = np.zeros_like(sample.mask)
  one[7, 9] = True
  only = data.Sample('one', sample.image, one, np.zeros_like(one))
  found = run([only], [User('distance'), BASE], num_clicks=2)
  assert found.clicks.yx[0, 0, 0].tolist() == [7, 9]
  assert np.isfinite(found.iou).all()


def test_what_is_refused(samples):
  for prior in ('uniform', 'robot'):
    with pytest.raises(ValueError, match='cannot be cut into groups'):
      sampled_user.groups(prior)
  for prior in ('best', 'gaussian_', 'gaussian_0', 'gaussian_x'):
    with pytest.raises(ValueError, match='unknown prior'):
      run(samples, [User(prior)])
  with pytest.raises(ValueError, match='at least 1'):
    run(samples, [])
  with pytest.raises(ValueError, match='low < high'):
    run(samples, [User('distance', 0.5, 0.5)])
