"""Configurations that are read again: what must stand there, and which rows are of one run."""

import copy

import pytest
import runs
import user_runs
import work_folders

from tetris_jax.runs import configs
from tetris_jax.scores import priors

ATTACK = {**runs.make('m', work_folders.rows()).config, 'shard': {'id': 0, 'count': 1}}
CONFIGS = {
  'attack': ATTACK,
  'users': user_runs.config(),
  'heatmap': {key: ATTACK[key] for key in ('flags', 'model', 'instances', 'shard')},
}


def changed(config, path, value):
  config = inner = copy.deepcopy(config)
  *way, last = path.split('.')
  for key in way:
    inner = inner[key]
  if value is KeyError:
    del inner[last]
  else:
    inner[last] = value
  return config


@pytest.mark.parametrize('program', CONFIGS)
def test_what_programs_write_fits_with_whatever_else_it_holds(program):
  configs.check_config(CONFIGS[program] | {'more': [1], 'flags': {
    **CONFIGS[program]['flags'], 'own': {'a': 1},
  }}, program)  # fmt: skip


@pytest.mark.parametrize(
  ('program', 'path', 'value', 'said'),
  [
    ('attack', 'flags', KeyError, 'flags is missing'),
    ('attack', 'flags.dataset', 7, 'flags.dataset is 7, expected a text'),
    ('attack', 'flags.data_dir', [], r'flags.data_dir is \[\], expected a text'),
    ('attack', 'flags.weights', 5, 'flags.weights is 5, expected a text'),
    ('attack', 'model.name', '', 'model.name has 0 characters, expected 1 to 1000'),
    ('attack', 'preset.name', 'x' * 10**5, 'preset.name has 100000 characters'),
    ('attack', 'preset.num_clicks', 0, 'preset.num_clicks is 0, expected 1 to'),
    ('attack', 'preset.num_clicks', 10**99, 'preset.num_clicks is 1000'),
    ('attack', 'model.sha256', {'a': 7}, 'model.sha256.a is 7, expected a text'),
    ('attack', 'versions.jax', None, 'versions.jax is None, expected a text'),
    ('attack', 'devices.kind', KeyError, 'devices.kind is missing'),
    ('attack', 'devices.count', -1, 'devices.count is -1'),
    ('attack', 'shard.id', 1, 'shard.id is 1 of shard.count 1'),
    ('attack', 'shard.id', True, 'shard.id is True, expected a whole number'),
    ('attack', 'shard.count', 10**12, 'shard.count is 1000000000000, expected 1 to'),
    ('attack', 'instances.sha256', KeyError, 'instances.sha256 is missing'),
    ('users', 'users', KeyError, 'users is missing'),
    ('users', 'users.clicks', {'name': 'c'}, 'users.clicks.repeated is missing'),
    ('users', 'users.groups', 3, 'users.groups is 3, expected a text'),
    ('heatmap', 'model', [], r'model is \[\], expected an object'),
  ],
)
def test_what_does_not_fit_is_named(program, path, value, said):
  with pytest.raises(configs.ConfigError, match=said) as error:
    configs.check_config(changed(CONFIGS[program], path, value), program)
  assert len(str(error.value)) < 200
  with pytest.raises(configs.ConfigError, match='it is'):
    configs.check_config([7], program)


def test_speed_is_made_of_numbers():
  assert configs.speed({'n_ok': 'x'}) == {}
  told = {'evaluations_per_second': None, 'device_seconds': 2.5, 'programs': 3}
  assert configs.speed(told) == told
  for value, said in (('x', "is 'x', expected a finite number"), (-1, 'is -1'), (1e300, 'is 1e')):
    with pytest.raises(configs.ConfigError, match=f'evaluations_per_second {said}'):
      configs.speed({'evaluations_per_second': value})
  with pytest.raises(configs.ConfigError, match='it is None, expected an object'):
    configs.speed(None)


def searched(row, depths=priors.DEPTHS):
  found = {'mean': 0.5, 'q50': 0.5}
  levels = [{'depth': depth, 'n': 9, 'min': 0.1, 'max': 0.9} for depth in depths]
  spread = {prior: dict(found) for prior in priors.PRIORS}
  return row | {'levels': levels, 'quantiles': spread, 'hidden': 0.1}


def test_rows_of_one_attack_are_alike():
  first, second, *_ = work_folders.rows()
  alike = lambda row, one=first: list(configs.unlike(row, one, ATTACK, 'attack'))
  assert alike(second) == [] and alike(searched(second), searched(first)) == []
  short = second | {'iou': {mode: curve[:1] for mode, curve in second['iou'].items()}}
  assert alike(short) == ['iou.base has 1 entries, but preset.num_clicks is 2']
  base = second | {'iou': {'min': None, 'base': [0.5, 0.5], 'max': None}}
  (said,) = alike(base)
  assert said.startswith("modes are ['base'], but ['min', 'base', 'max'] in the first row")
  (said,) = alike(searched(second))
  assert said.startswith('levels are [0.0, 0.05, 0.1, 0.3], but None in the first row')
  assert alike(searched(second, (0.2,)), searched(first))[0].startswith('levels are [0.2], but')
  assert alike(searched(second, ()), searched(first, ())) == ['levels is empty']
  with_users = lambda row, count: row | {'users': {'prior': 'uniform', 'count': count}}
  assert alike(with_users(second, 4), with_users(first, 4)) == []
  (said,) = alike(with_users(second, 4))
  assert said == "users are ('uniform', 4), but None in the first row with numbers"


def test_quantiles_are_of_every_prior_or_of_none():
  first, second, *_ = map(searched, work_folders.rows())
  alike = lambda quantiles: list(
    configs.unlike(second | {'quantiles': quantiles}, first, ATTACK, 'attack')
  )
  whole = second['quantiles']
  assert alike(None) == alike(whole) == alike(whole | {'own': {}}) == []
  assert alike({'uniform': whole['uniform']})[0] == 'quantiles.distance is missing'
  (said,) = alike(whole | {'distance': {'mean': 0.5}})
  assert said == "quantiles.distance are ['mean'], expected ['mean', 'q50']"


def test_rows_of_users_walk_alike():
  config = user_runs.config()
  walks = user_runs.walked([0.5], [[0.4], [0.6]])
  first = user_runs.row('a', 0.5, walks)
  alike = lambda row, one=first: list(configs.unlike(row, one, config, 'users'))
  assert alike(first) == [] and alike(*user_runs.ROWS) == []
  (said,) = alike(user_runs.row('b', 0.5, {'base': walks['base']}))
  assert said.startswith("trajectories are ['base'], but ['base', 'G1', 'G2']")
  longer = user_runs.row('b', 0.5, user_runs.walked([0.5, 0.6], [[0.4, 0.5]] * 2))
  assert alike(longer)[0] == (
    'trajectories.base.iou has 2 entries, but preset.num_clicks is 1'
  )
  alone = user_runs.row('b', 0.5, {'G1': walks['G1']})
  assert alike(alone, alone)[0].startswith('trajectories.base is missing')


def test_rows_of_maps_have_the_same_presets():
  one, other = (runs.map_row(0, 0.1, 0.5, shares) for shares in ({'p': 0.1}, {'q': 0.1}))
  assert list(configs.unlike(one, one, {}, 'heatmap')) == []
  (said,) = configs.unlike(one, other, {}, 'heatmap')
  assert said.startswith("presets are ['p'], but ['q'] in the first row")
