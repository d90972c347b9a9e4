"""The recipe "add a search": one file, this one, registers a preset that every launcher knows."""

import dataclasses
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from landscapes import SIDE, batch_of, needle

import tetris_jax
from tetris_jax import AttackConfig, Byproducts, Search, presets
from tetris_jax.search.base import Asked, Cost, Found, Rows, score_at


@dataclasses.dataclass(frozen=True)
class Dice(Search):
  """Clicks at random legal pixels; the lowest and the highest IoU win."""

  count: int = 8
  draws = True
  shares_first_round = True

  def check(self):
    if self.count < 1:
      raise ValueError(f'count is {self.count}; at least 1')

  def cost(self, num_clicks):
    # The first round once, each later one for MIN and for MAX.
    return Cost(self.count * (2 * num_clicks - 1), 0)

  def __call__(self, asked: Asked, rows: Rows) -> Found:
    def one(row):
      weight = jnp.log(row.legal.reshape(-1).astype(jnp.float32))
      flat = jax.random.categorical(row.key, weight, shape=(self.count,))
      width = row.legal.shape[1]
      yx = jnp.stack([flat // width, flat % width], -1).astype(jnp.float32)
      robot = row.clicks.yx[asked.slot]
      yx = jnp.concatenate([jnp.where(jnp.any(row.legal), yx, robot), robot[None]])
      iou = jax.vmap(lambda at: score_at(asked, row, at).iou)(yx[:-1])
      known = jnp.nan if row.known is None else row.known.iou
      iou = jnp.append(iou, known)
      ends = jnp.stack([jnp.nanargmin(iou), jnp.nanargmax(iou)])
      if row.known is None:
        ends = ends[(row.wanted[1] > row.wanted[0]).astype(jnp.int32)][None]
      return Found(yx[ends][:, None], byproducts=Byproducts(tried=iou))

    return asked.each(one)(rows)


CONFIG = AttackConfig('dice', Dice(), num_clicks=3)


def run(batch, seed=0, **options):
  attack = jax.jit(tetris_jax.attack, static_argnames=('config', *options))
  return jax.device_get(attack(needle(), batch, CONFIG, key=jax.random.key(seed), **options))


@pytest.mark.slow
def test_a_search_of_ones_own_finds_what_it_tried_and_counts_what_it_spent():
  found = run(batch_of())
  tried = found.byproducts.tried[0]
  assert tried.shape == (9,)
  np.testing.assert_allclose(found.iou[0, 1, 0], np.nanmin(tried))
  np.testing.assert_allclose(found.iou[0, 2, 0], np.nanmax(tried))
  # Five searches of eight, and three lanes that are kept in each of three rounds.
  assert found.forward.tolist() == [5 * 8 + 9] and found.backward.tolist() == [0]
  again = jax.device_get(jax.jit(tetris_jax.replay)(needle(), batch_of(), found.clicks))
  np.testing.assert_array_equal(again.iou, found.iou)


@pytest.mark.slow
def test_what_it_draws_depends_on_the_instance_and_the_key_alone():
  whole = run(batch_of((SIDE + 3, SIDE + 6), 3), at_once=2)
  again = run(batch_of((SIDE + 3, SIDE + 6), 3))
  np.testing.assert_array_equal(whole.clicks.yx, again.clicks.yx)
  tried = whole.byproducts.tried
  assert (tried[0] != tried[1]).any() or (whole.clicks.yx[0] != whole.clicks.yx[1]).any()
  other = run(batch_of((SIDE + 3, SIDE + 6), 3), seed=1)
  assert (other.clicks.yx != whole.clicks.yx).any()


def test_a_search_that_draws_needs_a_key():
  with pytest.raises(ValueError, match='dice draws at random and needs a key'):
    tetris_jax.attack(needle(), batch_of(), CONFIG)
  with pytest.raises(ValueError, match='count is 0'):
    Dice(count=0)


def test_it_is_a_preset_like_any_other(monkeypatch):
  known(monkeypatch)
  presets.register(CONFIG)
  assert presets.get('dice', num_clicks=2).search == Dice()
  assert presets.describe(CONFIG)['search'] == {'kind': 'dice', 'count': 8}
  for change in (lambda c: presets.at_depth(c, 0.1), lambda c: presets.with_beams(c, 2)):
    with pytest.raises(ValueError, match='choose a preset of a global search'):
      change(CONFIG)


def known(monkeypatch):
  monkeypatch.setattr(presets, '_PRESETS', dict(presets.PRESETS))
  monkeypatch.setattr(presets, 'PRESETS', presets._PRESETS)


@pytest.mark.slow
def test_the_recipe_runs_as_it_is_written(monkeypatch):
  known(monkeypatch)
  text = (pathlib.Path(__file__).parents[1] / 'CONTRIBUTING.md').read_text()
  (code,) = (block for block in re.findall(r'```python\n(.*?)```', text, re.S) if 'Ends' in block)
  exec(compile(code, 'CONTRIBUTING.md', 'exec'), {'__name__': 'recipe'})
  config = presets.get('ends_v1', num_clicks=2)
  found = jax.device_get(
    jax.jit(tetris_jax.attack, static_argnames='config')(needle(), batch_of(), config)
  )
  # The object's first and last rows are tried: the first ones mark a quarter.
  np.testing.assert_allclose(found.iou[0, :, 0], [0.5, 0.25, 0.5])
  assert found.forward.tolist() == [2 * 2 * 4 + 2 * 3]
  with pytest.raises(ValueError, match='num_tries is 1'):
    dataclasses.replace(config.search, num_tries=1)


def test_what_is_no_whole_search_is_refused_where_the_attack_is_made():
  class Bare(Search):
    def cost(self, num_clicks):
      return Cost(0, 0)

    def __call__(self, asked, rows):
      return Found(rows.clicks.yx[..., :1, :])

  with pytest.raises(TypeError, match='has to be a frozen dataclass'):
    AttackConfig('bare', Bare())

  @dataclasses.dataclass(frozen=True)
  class Half(Search):
    def cost(self, num_clicks):
      return Cost(0, 0)

  with pytest.raises(TypeError, match='abstract'):
    Half()

  @dataclasses.dataclass(frozen=True)
  class Listed(Dice):
    weights: tuple = ([],)

  with pytest.raises(TypeError, match='unhashable'):
    AttackConfig('listed', Listed())
