"""What config.json says: the settings that rows hang on, under their names, and no others."""

import json
import pathlib

import pytest
import toy

from experiments import attack, heatmap, users
from experiments.lib import describe
from tetris_jax import data, presets

MODEL_AND_DATA = {
  'model', 'weights', 'zoom', 'disks', 'dataset', 'data_dir', 'data_options', 'objects',
  'ignore_id', 'limit',
}  # fmt: skip


@pytest.mark.parametrize(('kind', 'own'), [
  (attack.Settings, {'preset', 'num_clicks', 'depth', 'num_beams', 'batch_size'}),
  (users.Settings, {'num_clicks', 'batch_size', 'seed'}),
  (heatmap.Settings, {'depth', 'batch_size', 'stride', 'every'}),
])
def test_flags_are_those_that_rows_hang_on(kind, own):
  assert set(describe.flags(kind())) == MODEL_AND_DATA | own
  elsewhere = kind(workdir='w', shard_id=0, num_shards=2)
  assert describe.flags(elsewhere) == describe.flags(kind())
  assert describe.flags(kind(plugins=('mine',)))['plugins'] == ('mine',)


def test_a_seed_is_recorded_where_it_is_given():
  assert describe.flags(attack.Settings(seed=0))['seed'] == 0
  assert describe.flags(users.Settings())['seed'] == 0


def test_paths_are_recorded_from_the_root(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  found = describe.flags(attack.Settings(data_dir='d', weights='~/w.pth'))
  assert found['data_dir'] == str(tmp_path.resolve() / 'd')
  assert found['weights'] == str(pathlib.Path.home().resolve() / 'w.pth')


def test_a_configuration_says_what_ran_on_what(tmp_path):
  toy.write_folder(tmp_path, ((40, 56), (48, 48)))
  dataset = data.open_dataset('folder', str(tmp_path))
  config = presets.get('tetris', num_clicks=2)
  found = describe.configuration(
    attack.Settings(shard_id=1, num_shards=2), {'preset': presets.describe(config)},
    toy.segmenter().info, dataset,
  )  # fmt: skip
  assert list(found) == ['flags', 'preset', 'model', 'instances', 'shard', 'versions', 'devices']
  assert (found['preset']['name'], found['preset']['num_clicks']) == ('tetris', 2)
  assert found['model']['name'] == 'toy' and found['instances']['count'] == 2
  assert found['shard'] == {'id': 1, 'count': 2}
  assert set(found['versions']) == {'tetris_jax', 'jax', 'jaxlib', 'numpy', 'python'}
  assert set(found['devices']) == {'platform', 'kind', 'count'}
  json.dumps(found, allow_nan=False)


def test_a_package_that_is_not_there_has_no_version():
  assert describe.versions('numpy', 'no-such-package')['no-such-package'] == 'not installed'
