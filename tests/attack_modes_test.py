"""Asking an attack for less: some modes, the worst clicks alone, settings of one's own."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
import toy
from attack_test import batch_of, wall
from landscapes import batch_of as landscape
from landscapes import rough

import tetris_jax
from tetris_jax import AttackConfig, Local, Wide, presets

LOCAL = AttackConfig('short', Local(num_steps=3), num_clicks=2)
GLOBAL = AttackConfig('few', Wide(budget=9, pool_size=50), num_clicks=2)


@functools.cache
def found_by(config, modes=None):
  model, batch = (wall(14.0), batch_of()) if config is LOCAL else (rough(), landscape())
  attack = jax.jit(tetris_jax.attack, static_argnames=('config', 'modes'))
  return jax.device_get(attack(model, batch, config, modes=modes))


def alike(found, every, places):
  for name in ('iou', 'biou', 'mask'):
    np.testing.assert_array_equal(getattr(found, name), getattr(every, name)[:, places])
  for one, other in zip(found.clicks, every.clicks, strict=True):
    np.testing.assert_array_equal(one, other[:, places])


@pytest.mark.slow
def test_some_modes_find_what_they_find_among_all():
  every = found_by(LOCAL)
  found = found_by(LOCAL, ('min',))
  assert found.iou.shape == (1, 1, 2) and found.clicks.yx.shape == (1, 1, 2, 2)
  alike(found, every, [1])
  assert (found.forward[0], found.backward[0]) == (2 * (3 + 1), 2 * 2)
  assert (every.forward[0], every.backward[0]) == (2 * (2 * 3 + 3), 2 * 2 * 2)
  gradient = every.byproducts.gradient[:, :1]
  np.testing.assert_allclose(found.byproducts.gradient, gradient, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(('config', 'modes', 'places'), [
  (LOCAL, ('max', 'base'), [2, 0]),
  (LOCAL, ('base',), [0]),
  (GLOBAL, ('min',), [1]),
])
def test_modes_come_in_the_order_in_which_they_are_asked_for(config, modes, places):
  found = found_by(config, modes)
  alike(found, found_by(config), places)
  assert found.forward[0] < found_by(config).forward[0]


def counted(model):
  """The model, and a list that grows with every evaluation of its decoder that is run."""
  made = []

  def decode(*given):
    jax.debug.callback(lambda: made.append(1))
    return model.decode(*given)

  return dataclasses.replace(model, decode=decode), made


@pytest.mark.slow
def test_worst_clicks_are_those_of_min_at_the_cost_of_its_search():
  num_clicks = 2
  model, made = counted(wall(14.0))
  config = AttackConfig('published', Local(), num_clicks)
  every = jax.jit(lambda b: tetris_jax.attack(wall(14.0), b, config, modes=('min',)))(batch_of())
  worst = jax.jit(lambda b: tetris_jax.worst_clicks(model, b, 'tetris', num_clicks=num_clicks))
  clicks = jax.block_until_ready(worst(batch_of()))
  jax.effects_barrier()
  # 11 evaluations a search, 10 of them with a gradient, and one that the next round starts from.
  assert len(made) == num_clicks * 11 + num_clicks - 1
  assert clicks.yx.shape == (1, num_clicks, 2) and clicks.label.shape == (1, num_clicks)
  np.testing.assert_array_equal(clicks.yx, every.clicks.yx[:, 0])
  np.testing.assert_array_equal(clicks.label, every.clicks.label[:, 0])


def trace(*given, entry=tetris_jax.attack, **options):
  return jax.eval_shape(lambda b: entry(toy.segmenter(), b, *given, **options), batch_of())


@pytest.mark.slow
def test_worst_clicks_are_of_one_mode():
  for config in ('tetris', GLOBAL):
    found = trace(config, entry=tetris_jax.worst_clicks, num_clicks=2)
    assert found.yx.shape == (1, 2, 2) and found.label.shape == (1, 2)


@pytest.mark.slow
def test_a_search_or_a_name_is_an_attack_too():
  assert trace('baseline').iou.shape == (1, 1, 10)
  assert trace(Local(num_steps=2), num_clicks=3).iou.shape == (1, 3, 3)
  assert trace(presets.get('baseline', num_clicks=4)).iou.shape == (1, 1, 4)
  mine = presets.derive('mine', 'strong_v1_16', budget=9, num_clicks=2)
  assert trace(mine).iou.shape == (1, 3, 2)


@pytest.mark.parametrize(('given', 'kind', 'said'), [
  ({'modes': ('min',)}, ValueError, r"modes is \('min',\); .* baseline has.*: 'base'"),
  ({'modes': 'base'}, TypeError, r"modes is 'base'; expected a tuple such as \('min',\)"),
  ({'modes': ('base', 'base')}, ValueError, r"modes is \('base', 'base'\); .* each once"),
  ({'modes': ()}, ValueError, r'modes is \(\)'),
  ({'num_clicks': 0}, ValueError, 'num_clicks is 0'),
  ({'config': 'strong'}, ValueError, "unknown preset 'strong'; known presets: baseline"),
  ({'config': Local}, TypeError, 'config is <class .*; expected a preset such as "tetris"'),
  ({'config': 3}, TypeError, 'config is a int; expected a preset'),
])
def test_what_cannot_be_asked_for_is_refused(given, kind, said):
  with pytest.raises(kind, match=said):
    tetris_jax.attack(wall(), batch_of(), **{'config': 'baseline', **given})
