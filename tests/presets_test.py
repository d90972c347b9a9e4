"""Named attacks: what may be changed under a name, and what gets a name of its own."""

import types

import pytest

from tetris_jax import AttackConfig, Local, Wide, presets


def test_presets_with_beams_have_a_name_of_their_own():
  wide = presets.with_beams(presets.get('strong_v1'), 4)
  assert (wide.name, wide.search.num_beams) == ('strong_v1_beams_4', 4)
  assert presets.with_beams(presets.get('tetris'), 1) == presets.get('tetris')
  for name, count in (('tetris', 2), ('strong_v1', 0)):
    with pytest.raises(ValueError, match='beams'):
      presets.with_beams(presets.get(name), count)


def test_presets_at_a_depth_have_a_name_of_their_own():
  deep = presets.at_depth(presets.get('strong_v1'), 0.1)
  assert (deep.name, deep.search.depth) == ('strong_v1_depth_0.1', 0.1)
  assert presets.at_depth(presets.get('tetris'), 0) == presets.get('tetris')
  for name, depth in (('tetris', 0.1), ('strong_v1', 1.0), ('strong_v1', -0.1)):
    with pytest.raises(ValueError, match='depth'):
      presets.at_depth(presets.get(name), depth)


def test_presets():
  assert presets.get('tetris').num_clicks == 10
  assert presets.get('tetris', num_clicks=3).num_clicks == 3
  with pytest.raises(ValueError, match=r'unknown preset .best.; known presets: baseline, strong'):
    presets.get('best')
  with pytest.raises(ValueError, match='num_steps cannot be changed under the name'):
    presets.get('tetris', num_steps=5)
  with pytest.raises(ValueError, match='num_clicks is 0'):
    presets.get('tetris', num_clicks=0)


def test_what_is_no_search_is_refused():
  for search in ('local', Local, 3):
    with pytest.raises(TypeError, match='expected a Search such as'):
      AttackConfig('x', search)
  with pytest.raises(ValueError, match='num_clicks is True'):
    AttackConfig('x', num_clicks=True)
  with pytest.raises(ValueError, match='num_beams is 65; a search of budget 64'):
    Wide(num_beams=65)
  with pytest.raises(ValueError, match='name is empty'):
    AttackConfig('')
  for changes, message in (
    ({'num_steps': 0}, 'num_steps is 0'),
    ({'radius': 0.0}, 'radius is 0'),
    ({'dice_weight': -1.0}, 'dice_weight is -1'),
  ):
    with pytest.raises(ValueError, match=message):
      Local(**changes)


def test_a_name_means_one_attack(monkeypatch):
  monkeypatch.setattr(presets, '_PRESETS', known := dict(presets.PRESETS))
  monkeypatch.setattr(presets, 'PRESETS', types.MappingProxyType(known))
  mine = AttackConfig('mine_for_this_test', Wide(budget=32))
  presets.register(mine)
  presets.register(mine)
  assert presets.get('mine_for_this_test', num_clicks=2).search.budget == 32
  for other in (AttackConfig('mine_for_this_test', Wide(budget=33)), AttackConfig('tetris')):
    with pytest.raises(ValueError, match='is the name of another attack'):
      presets.register(other)
  with pytest.raises(TypeError):
    presets.PRESETS['tetris'] = mine


def test_settings_are_described_as_the_search_has_them():
  described = presets.describe(presets.get('tetris', num_clicks=3))
  assert described == {
    'name': 'tetris',
    'num_clicks': 3,
    'search': {
      'kind': 'local', 'num_steps': 11, 'step_scale': 1.0, 'dice_weight': 1e-3,
      'location_slack': 1.05, 'radius': 5.0,
    },
  }
  assert presets.describe(presets.get('baseline'))['search'] is None
  wide = presets.describe(presets.get('strong_v1_16'))['search']
  assert wide['kind'] == 'wide' and wide['budget'] == 16 and 'num_steps' not in wide


def test_an_attack_of_ones_own_is_told_by_what_differs():
  mine = presets.derive('mine', 'strong_v1', budget=32, num_clicks=1)
  assert mine == AttackConfig('mine', Wide(budget=32), num_clicks=1)
  assert presets.derive('yours', mine, explore=1.0).search == Wide(budget=32, explore=1.0)
  assert presets.derive('alone', 'baseline') == AttackConfig('alone')
  for name, like, changes, said in (
    ('tetris', 'strong_v1', {}, "'tetris' is the name of a preset"),
    ('mine', 'strong', {}, "unknown preset 'strong'"),
    ('mine', 'tetris', {'budget': 3}, 'tetris has no setting budget; known: num_clicks, num_steps'),
    ('mine', 'baseline', {'budget': 3}, 'baseline has no setting budget; known: num_clicks'),
    ('mine', 'strong_v1', {'budget': 1}, 'budget is 1'),
  ):
    with pytest.raises(ValueError, match=said):
      presets.derive(name, like, **changes)


def test_a_caller_means_an_attack_by_a_name_or_a_search():
  assert presets.of('tetris', num_clicks=3) == presets.get('tetris', num_clicks=3)
  assert presets.of(Local(num_steps=5)) == AttackConfig('local', Local(num_steps=5))
  assert presets.of(AttackConfig('mine')) == AttackConfig('mine')
  with pytest.raises(TypeError, match='config is a float'):
    presets.of(0.5)
