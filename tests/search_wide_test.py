"""The global search and its candidates, on landscapes whose extremes are known."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tetris_jax
from tetris_jax import beams, presets, types
from tetris_jax import truth as grid
from tetris_jax.scores import coverage
from tetris_jax.search import candidates, wide

SIDE = 24
NEEDLE = (16, 17)


def needle(counter=None):
  """Marks the left half of the object, but all of it for a click near the needle.

  The object is the square of rows and columns 4 to 19. A click in the top two rows marks only a
  quarter. The picture is dark where the needle is. Nothing else matters, and no gradient does.
  """

  def encode(params, image, size):
    del params, size
    if counter is not None:
      counter.append(1)
    return image[..., 0]

  def init(params, features):
    del params, features
    return jnp.zeros((), jnp.int32)

  def decode(params, context, clicks):
    features, rounds = context
    newest = jnp.maximum(jnp.sum(clicks.label >= 0) - 1, 0)
    y, x = clicks.yx[newest]
    row = jnp.arange(features.shape[0])[:, None]
    column = jnp.arange(features.shape[1])[None]
    hit = (jnp.abs(y - NEEDLE[0]) <= 1) & (jnp.abs(x - NEEDLE[1]) <= 1)
    right = jnp.where(hit, 20, jnp.where(y <= 5, 8, 12))
    marked = (row >= 4) & (row < 20) & (column >= 4) & (column < right)
    return jnp.where(marked, 1.0, -1.0) * params['scale'], rounds + 1

  info = types.ModelInfo('needle')
  return types.Segmenter(encode, init, decode, {'scale': np.float32(3)}, info)


def batch_of(canvas=(SIDE, SIDE), count=1):
  mask = np.zeros((count, *canvas), bool)
  mask[:, 4:20, 4:20] = True
  image = np.zeros((count, *canvas, 3), np.float32)
  image[:, :SIDE, :SIDE] = 0.7
  image[:, NEEDLE[0] - 1 : NEEDLE[0] + 2, NEEDLE[1] - 1 : NEEDLE[1] + 2] = 0.1
  size = np.tile(np.int32([SIDE, SIDE]), (count, 1))
  return types.Batch(image, mask, np.zeros_like(mask), size, np.arange(count, dtype=np.uint32))


def run(config, batch, **options):
  attack = jax.jit(lambda batch: tetris_jax.attack(needle(), batch, config, **options))
  return jax.device_get(attack(batch))


CONFIG = types.AttackConfig(
  'small', search='global', num_clicks=2, budget=40, pool_size=300, explore=0.9
)


@pytest.fixture(scope='module')
def found():
  return run(CONFIG, batch_of())


def test_it_finds_a_needle_that_a_local_search_misses(found):
  np.testing.assert_allclose(found.iou[0, :, 0], [0.5, 0.25, 1.0])
  y, x = found.clicks.yx[0, 2, 0]
  assert abs(y - NEEDLE[0]) <= 1 and abs(x - NEEDLE[1]) <= 1
  assert found.clicks.yx[0, 1, 0, 0] <= 5
  local = run(presets.get('tetris', num_clicks=1), batch_of())
  np.testing.assert_allclose(local.iou[0, :, 0], [0.5, 0.5, 0.5])


def test_counts_are_exact_and_within_the_budget(found):
  # First round: 37, and 3 that are kept; second: 2 x 18 and 3.
  assert found.forward.tolist() == [40 + 39] and found.backward.tolist() == [0]
  assert beams.plan(CONFIG) == (37, 18)
  assert beams.plan(presets.get('strong_v1')) == (61, 30)
  for name, budget in (('strong_v1_16', 16), ('strong_v1', 64), ('strong_v1_256', 256)):
    config = presets.get(name)
    assert config.budget == budget
    for searches, turns in zip((1, 2), beams.plan(config), strict=True):
      assert budget - 16 < searches * turns * config.per_turn + 3 <= budget


@pytest.mark.parametrize('options', [{'at_once': None}, {'at_once': 3}])
def test_neither_canvas_nor_batch_nor_rows_at_once_matter(found, options):
  other = run(CONFIG, batch_of((SIDE + 3, SIDE + 6), 2), **options)
  for row in range(2):
    np.testing.assert_array_equal(other.clicks.yx[row], found.clicks.yx[0])
    np.testing.assert_array_equal(other.clicks.label[row], found.clicks.label[0])
    np.testing.assert_allclose(other.iou[row], found.iou[0], rtol=1e-6)


def test_what_is_reported_is_what_a_replay_finds(found):
  again = jax.device_get(jax.jit(lambda b, c: tetris_jax.replay(needle(), b, c))(
    batch_of(), found.clicks
  ))
  np.testing.assert_array_equal(again.iou, found.iou)
  np.testing.assert_array_equal(again.mask, found.mask)


def test_a_budget_that_is_too_small_is_refused():
  for changes, message in (
    ({'budget': 4}, 'budget is 4; at least 5'),
    ({'per_turn': 0}, 'per_turn is 0'),
    ({'pool_size': 1}, 'pool_size 1'),
    ({'explore': float('nan')}, 'explore is nan'),
    ({'follow': 1.5}, 'follow 1.5'),
  ):
    config = types.AttackConfig('x', search='global', **changes)
    with pytest.raises(ValueError, match=message):
      tetris_jax.attack(needle(), batch_of(), config)


def test_candidates_are_all_legal_pixels_where_these_are_few():
  legal = np.zeros((20, 30), bool)
  legal[3:9, 5:20] = True
  pool = jax.device_get(
    candidates.choose(legal, np.zeros((20, 30, 3), np.float32), np.float32([4, 6]), 128, 1.0)
  )
  assert pool.exists.sum() == 6 * 15 and pool.exists[0] and tuple(pool.yx[0]) == (4, 6)
  seen = {tuple(yx) for yx in pool.yx[pool.exists]}
  assert seen == {(y, x) for y in range(3, 9) for x in range(5, 20)}


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
  found = np.asarray(candidates.smooth_colour(image, inside, 1))
  np.testing.assert_allclose(found[0, 0], image[:2, :2].mean((0, 1)), rtol=1e-5)
  np.testing.assert_allclose(found[2, 3], image[1:4, 2:5].mean((0, 1)), rtol=1e-5)
  np.testing.assert_allclose(found[4, 5], image[3:5, 4:6].mean((0, 1)), rtol=1e-5)


def test_extremes_pass_over_nan():
  pool = candidates.Candidates(jnp.eye(4, 2), jnp.ones(4, bool), jnp.zeros((4, 1)))
  side = jnp.array([[1.0, 1, 1, 1], [1, 1, -1, -1], [-1, 1, -1, 1]])
  picked = jnp.array([0, 2, 1])
  tried = wide.Tried(pool.yx[picked], picked, jnp.array([jnp.nan, 0.2, 0.4]), side)
  best = jax.tree.map(lambda x: x[:, 0], wide.extremes(pool, tried, 1, 4))
  np.testing.assert_allclose(best.iou, [0.2, 0.4])
  np.testing.assert_array_equal(best.yx, pool.yx[jnp.array([2, 1])])


def test_the_next_extremes_have_another_mask_or_lie_elsewhere():
  yx = jnp.array([[0.0, 0], [50, 50], [50, 52], [51, 50], [80, 50], [20, 20]])
  pool = candidates.Candidates(yx, jnp.ones(6, bool), jnp.zeros((6, 1)))
  other = jnp.ones(6).at[4:].set(-1)
  side = jnp.stack([-jnp.ones(6), jnp.ones(6), jnp.ones(6), other, jnp.ones(6), other])
  iou = jnp.array([0.1, 0.9, 0.8, 0.7, 0.6, 0.5])
  tried = wide.Tried(yx, jnp.arange(6), iou, side)
  # A tenth of the root of the area is 10 pixels: (50, 52) is the best click once more, and then
  # nothing is left.
  best = wide.extremes(pool, tried, 6, 100**2)
  np.testing.assert_allclose(best.iou[1], [0.9, 0.7, 0.6, 0.5, 0.1, 0.9])
  # On the lower side there is only the robot user's click, which is repeated.
  np.testing.assert_allclose(best.iou[0], [0.1] * 6)
  np.testing.assert_array_equal(best.new, [[True] + 5 * [False], 5 * [True] + [False]])
  # In a small region every other place counts, but the second has another mask all the same.
  best = wide.extremes(pool, tried, 4, 1)
  np.testing.assert_allclose(best.iou[1], [0.9, 0.7, 0.8, 0.6])


def test_the_grid_is_brute_force():
  batch = batch_of((SIDE + 2, SIDE + 5), 2)
  stride = np.int32([2, 1])
  found = jax.device_get(
    jax.jit(lambda b, s: grid.grid(needle(), b, s, 257, at_once=4))(batch, stride)
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
  share = coverage.share_of_range([0.5, 0.25], [1.0, 1.0], found.iou)
  np.testing.assert_allclose(share, [2 / 3, 1])


def test_the_grid_of_a_later_round_starts_from_frozen_clicks(found):
  earlier = types.Clicks(found.clicks.yx[:, 1, :1], found.clicks.label[:, 1, :1])
  truth = jax.device_get(
    jax.jit(
      lambda b, c: grid.grid(needle(), b, np.int32([1]), 257, c, at_once=1, with_boundary=False)
    )(batch_of(), earlier)
  )
  assert truth.label[0] == found.clicks.label[0, 1, 1] == types.POSITIVE
  # What is left of the object after its first quarter was marked: columns 8 to 19.
  assert truth.wanted[0] == 16 * 12
  assert np.nanmin(truth.iou) == found.iou[0, 1, 1]
  assert np.isnan(truth.biou).all()


def test_stride_for():
  assert grid.stride_for(np.ones((100, 100), bool)) == 2
  assert grid.stride_for(np.ones((3, 3), bool)) == 1


def trap():
  """The lowest first click, in the top rows, gives itself away: the second click is perfect.

  One in the bottom rows is not as low, but the second is no better. Elsewhere nothing helps, so
  the robot user, who stays there, ends lower than who starts lowest.
  """

  def decode(params, context, clicks):
    features, first = context
    del params
    row = jnp.arange(features.shape[0])[:, None]
    column = jnp.arange(features.shape[1])[None]
    y = clicks.yx[0, 0]
    made = jnp.sum(clicks.label >= 0)
    top, bottom = y <= 7, y >= 17
    right = jnp.where(top, jnp.where(made > 1, 20, 6), jnp.where(bottom, 8, 14))
    marked = (row >= 4) & (row < 20) & (column >= 4) & (column < right)
    return jnp.where(marked, 3.0, -3.0), first

  return needle()._replace(decode=decode)


@pytest.mark.parametrize('beams_carried', [1, 3])
def test_beams_avoid_a_trap_that_the_greedy_choice_falls_into(beams_carried):
  config = types.AttackConfig(
    'few', search='global', num_clicks=3, budget=40, pool_size=300, num_beams=beams_carried
  )
  found = jax.device_get(jax.jit(lambda b: tetris_jax.attack(trap(), b, config))(batch_of()))
  base, low = found.iou[0, :2]
  np.testing.assert_allclose(base, [10 / 16] * 3)
  np.testing.assert_allclose(low, base if beams_carried == 1 else [4 / 16] * 3)
  np.testing.assert_allclose(found.iou[0, 2], base)
  first, later = beams.plan(config)
  searched = first + 2 * 2 * beams_carried * later
  assert found.forward[0] == searched + 3 * (3 if beams_carried == 1 else 1 + 6 + 3)
  assert found.forward[0] <= 3 * beams_carried * config.budget


def rough():
  """What is marked depends on every click so far, and on nothing that one could foresee."""

  def decode(params, context, clicks):
    features, rounds = context
    del params
    made = clicks.label >= 0
    noise = jnp.sin(clicks.yx[:, 0] * 12.9898 + clicks.yx[:, 1] * 78.233) * 43.7
    order = jnp.arange(1.0, made.shape[0] + 1, dtype=jnp.float32)
    mixed = jnp.sum(jnp.where(made, noise * order, 0.0))
    right = 6 + jnp.floor(13 * (mixed - jnp.floor(mixed))).astype(jnp.int32)
    row = jnp.arange(features.shape[0])[:, None]
    column = jnp.arange(features.shape[1])[None]
    marked = (row >= 4) & (row < 20) & (column >= 4) & (column < right)
    return jnp.where(marked, 3.0, -3.0), rounds

  return needle()._replace(decode=decode)


def test_more_beams_find_no_less_than_the_greedy_trajectory():
  found = {}
  for count in (1, 2, 4):
    config = types.AttackConfig(
      'few', search='global', num_clicks=4, budget=9, pool_size=300, num_beams=count
    )
    run = jax.jit(lambda b, c=config: tetris_jax.attack(rough(), b, c))
    score = tetris_jax.scores.metrics.iou_auc(jax.device_get(run(batch_of()).iou[0]))
    assert score[1] <= score[0] <= score[2]
    found[count] = score
  assert found[2][1] < found[1][1] and found[2][2] > found[1][2]
  # Were beams to become copies of each other, more of them would add nothing.
  assert found[4][1] <= found[2][1] and found[4][2] > found[2][2]


def test_a_search_keeps_its_distance_from_the_border():
  config = types.AttackConfig(
    'deep', search='global', num_clicks=1, budget=24, pool_size=300, depth=0.5
  )
  found = run(config, batch_of())
  # Depths in the square of 16 run from 1 to 8: above 4 is rows and columns 8 to 15.
  assert ((found.clicks.yx[0, :, 0] >= 8) & (found.clicks.yx[0, :, 0] <= 15)).all()
  np.testing.assert_allclose(found.iou[0, 1, 0], 0.5)
  # What is evaluated there says nothing of the whole region's quantiles.
  assert not found.outlook.even.any() and found.outlook.evaluated.any()


def test_the_outlook_knows_every_answer_of_a_landscape_of_two_halves():
  """Outside the needle IoU is 0.25 in the top rows and 0.5 below."""
  config = types.AttackConfig('wide', search='global', num_clicks=1, budget=24, pool_size=300)
  found = run(config, batch_of())
  outlook = jax.tree.map(lambda x: x[0], found.outlook)
  # The square of 16 and no more: with 300 candidates every legal pixel is one.
  # All but the robot user's are spread evenly.
  assert outlook.even.sum() == 255 == len(np.unique(outlook.yx[outlook.even], axis=0))
  # Those of the search, and the robot user's click.
  assert outlook.evaluated.sum() == beams.plan(config)[0] + 1 == 22
  assert not (outlook.even & outlook.evaluated).any()
  expected = np.where(outlook.yx[:, 0] <= 5, 0.25, 0.5)
  off = np.max(np.abs(outlook.yx - np.array(NEEDLE)), axis=1) > 1
  made = outlook.evaluated & off
  np.testing.assert_allclose(outlook.iou[made], expected[made])
  guessed = outlook.even & off
  assert np.mean(outlook.iou[guessed] == expected[guessed]) > 0.9
  some = outlook.even | outlook.evaluated
  depth = np.minimum(outlook.yx - 3, 20 - outlook.yx).min(axis=1)
  np.testing.assert_allclose(outlook.depth[some], depth[some] / 8, rtol=1e-6)


def test_presets_with_beams_have_a_name_of_their_own():
  wide = presets.with_beams(presets.get('strong_v1'), 4)
  assert (wide.name, wide.num_beams) == ('strong_v1_beams_4', 4)
  assert presets.with_beams(presets.get('tetris'), 1) == presets.get('tetris')
  for name, count in (('tetris', 2), ('strong_v1', 0)):
    with pytest.raises(ValueError, match='beams'):
      presets.with_beams(presets.get(name), count)
  for changes in ({'num_beams': 2}, {'depth': 0.1}):
    config = dataclasses.replace(presets.get('tetris', num_clicks=1), **changes)
    with pytest.raises(ValueError, match='settings of a global search'):
      tetris_jax.attack(needle(), batch_of(), config)
  broken = types.AttackConfig('odd', search='global', num_beams=1.5)
  with pytest.raises(ValueError, match='whole numbers'):
    beams.plan(broken)


def test_presets_at_a_depth_have_a_name_of_their_own():
  deep = presets.at_depth(presets.get('strong_v1'), 0.1)
  assert (deep.name, deep.depth) == ('strong_v1_depth_0.1', 0.1)
  assert presets.at_depth(presets.get('tetris'), 0) == presets.get('tetris')
  for name, depth in (('tetris', 0.1), ('strong_v1', 1.0), ('strong_v1', -0.1)):
    with pytest.raises(ValueError, match='depth'):
      presets.at_depth(presets.get(name), depth)


def test_given_positions_score_as_on_the_lattice():
  batch = batch_of((SIDE + 2, SIDE + 5), 2)
  stride = np.int32([4, 3])
  truth = jax.jit(lambda b: grid.grid(needle(), b, stride, 64, at_once=4))(batch)
  given, exists = np.asarray(truth.yx[:, 1:]), np.asarray(truth.exists[:, 1:])
  found = jax.jit(lambda b: grid.at(needle(), b, given, exists, at_once=3))(batch)
  np.testing.assert_array_equal(found.yx, truth.yx)
  np.testing.assert_array_equal(found.exists, truth.exists)
  np.testing.assert_allclose(found.iou, truth.iou, atol=1e-6)
  np.testing.assert_allclose(found.biou, truth.biou, atol=1e-6)
  np.testing.assert_array_equal(found.wanted, exists.sum(1))
  # The same place twice, and one off the object, count as what they are.
  twice = np.array([[[3.0, 4.0], [3.0, 4.0], [0.0, 0.0]]] * len(batch.size), np.float32)
  some = jax.jit(lambda b: grid.at(needle(), b, twice, np.ones(twice.shape[:2], bool)))(batch)
  assert np.isfinite(some.iou).all()
  np.testing.assert_array_equal(some.iou[:, 1], some.iou[:, 2])


def test_a_model_that_expects_an_iou_is_quoted_by_position():
  def decode(params, context, clicks):
    logits, _ = needle().decode(params, context, clicks)
    return logits, clicks.yx[0, 1] / 100

  model = needle()._replace(
    init=lambda params, features: jnp.float32(0), decode=decode, predicted_iou=lambda state: state
  )
  found = jax.jit(lambda b: grid.grid(model, b, np.int32([3]), 64, at_once=4))(batch_of())
  exists = np.asarray(found.exists)
  np.testing.assert_allclose(found.predicted[exists], found.yx[exists][:, 1] / 100)
  assert np.isnan(found.predicted[~exists]).all()
