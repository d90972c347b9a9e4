"""Finished work folders to runs: heat maps, other layouts and programs, and what is damaged.

Shards of attacks and of users merge in the tests of experiments.report and experiments.users.
"""

import json

import pytest
import runs

from tetris_jax.report.heatmaps import summary as heatmaps
from tetris_jax.runs import merge
from tetris_jax.runs import workdirs as results

SHARES = {'tetris': 0.1, 'wide': 0.3}


def rows():
  return [runs.map_row(k, 0.1, high, SHARES) for k, high in enumerate((0.5, 0.9, 0.7))]


@pytest.fixture
def whole(tmp_path):
  runs.write_maps(tmp_path / 'whole', rows())
  return tmp_path / 'whole'


def cut(root, count=2):
  made, order = rows(), ['p0', 'p1', 'p2']
  for number in range(count):
    # Later instances lie in earlier shards.
    own = made[::-1][number::count][::-1]
    runs.write_maps(root / f'shard-0000{number}-of-0000{count}', own, (number, count), order)
  return root


def attack(folder, **changes):
  """A finished work folder of experiments.attack."""
  made = [runs.row('a', 0.1, 0.2, 0.3) | {'warnings': []}, runs.failed('b', 'damaged')]
  run = runs.make('m', made)
  listed = [['a', [20, 30]], ['b', None]]
  config = {'schema': 2, **run.config, 'instances': results.fingerprint(listed)} | changes
  config['shard'] = {'id': 0, 'count': 1}
  folder.mkdir()
  speed = {'device_seconds': 2.0, 'evaluations_per_second': 33.0}
  files = {'config': config, 'instances': {'instances': listed}, 'summary': {'n_ok': 1}}
  for name, held in (files | {'speed': speed}).items():
    (folder / f'{name}.json').write_text(json.dumps(held))
  (folder / 'rows.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in made))
  return folder


def test_heat_maps_in_shards_are_those_of_one_run(whole, tmp_path):
  parts = cut(tmp_path / 'cut')
  one, several = (merge.read_run(str(path), 'heatmap') for path in (whole, parts))
  assert one.name == several.name == 'mobile_sam-davis_dev-heatmap'
  assert several.rows == one.rows == rows()
  assert several.config == one.config and several.instances == one.instances
  assert several.totals == {'seconds': 0, 'compile_seconds': 0, 'programs': 0, 'evaluations': 0}
  assert several.pictures['p2'] == parts / 'shard-00000-of-00002' / 'maps' / '00002_p2.png'
  read = [heatmaps.read_heatmaps(path) for path in (whole, parts)]
  for found in read:
    assert list(found.pictures) == ['p1', 'p2', 'p0']  # The widest range first.
  assert read[0].rows == read[1].rows
  assert heatmaps.shares(read[:1]) == heatmaps.shares(read[1:])


def test_gaps_and_mixtures_of_heat_maps_are_refused(tmp_path):
  parts = cut(tmp_path / 'cut')
  last = parts / 'shard-00001-of-00002'
  with pytest.raises(results.WorkdirError, match='shard 0 of 2 missing'):
    merge.read_run(str(last), 'heatmap')
  runs.write_maps(last, rows()[1:2], (1, 2), ['p0', 'p1', 'p2'], model='other')
  with pytest.raises(results.WorkdirError, match=r"model\.name: 'mobile_sam' there, 'other' now"):
    merge.read_run(str(parts), 'heatmap')


def test_a_heat_map_without_its_row_or_its_picture_is_refused(whole):
  runs.write_maps(whole, rows()[:2], order=['p0', 'p1', 'p2'])
  with pytest.raises(results.WorkdirError, match='p2 has no row in'):
    merge.read_run(str(whole), 'heatmap')
  runs.write_maps(whole, rows())
  (whole / 'maps' / '00001_p1.png').unlink()
  with pytest.raises(results.WorkdirError, match=r"00001_p1\.png is missing; give the run's com"):
    merge.read_run(str(whole), 'heatmap')


def test_what_is_no_work_folder_of_heat_maps_is_refused(whole, tmp_path):
  with pytest.raises(results.WorkdirError, match=r'^maps: .* is no work folder and holds no sh'):
    merge.read_run(str(tmp_path / 'nothing'), 'heatmap', 'maps')
  with pytest.raises(
    results.WorkdirError, match=r'is a work folder of experiments\.heatmap; expected experiments\.a'
  ):
    merge.collect([whole])
  lines = (whole / 'rows.jsonl').read_text()
  (whole / 'rows.jsonl').write_text(lines.replace('"positions": 40', '"positions": "many"', 1))
  with pytest.raises(
    results.WorkdirError, match=r"rows\.jsonl, line 1: .*'p0': positions is 'many', expected a who"
  ):
    merge.read_run(str(whole), 'heatmap')
  (whole / 'rows.jsonl').unlink()
  with pytest.raises(results.WorkdirError, match=r'cannot read .*rows\.jsonl'):
    merge.read_run(str(whole), 'heatmap')
  (whole / 'summary.json').unlink()
  with pytest.raises(results.WorkdirError, match='has not finished; give its command again'):
    merge.read_run(str(whole), 'heatmap')


def test_a_folder_of_an_earlier_layout_is_refused_in_one_sentence(whole, tmp_path):
  old = attack(tmp_path / 'old')
  for folder, program in ((old, 'attack'), (whole, 'heatmap')):
    config = json.loads((folder / 'config.json').read_text())
    del config['schema']
    (folder / 'config.json').write_text(json.dumps(config))
    with pytest.raises(results.WorkdirError) as error:
      merge.read_piece(folder, program)
    assert str(error.value) == (
      f'{folder} was written by an earlier version (layout 1, this is 2); run its command again in '
      'another workdir'
    )


def test_a_run_in_one_piece(tmp_path):
  folder = attack(tmp_path / 'a')
  (run,) = merge.collect([folder])
  assert run.name == 'm-dev-tetris' and [row['instance'] for row in run.rows] == ['a', 'b']
  # From speed.json, which lies beside the summary.
  assert run.totals == {'seconds': 2.0, 'compile_seconds': 0, 'programs': 0, 'evaluations': 66.0}
  assert run.pictures == {}


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'shard': None}, 'or is damaged: config.json: shard is None, expected an object'),
    ({'flags': []}, r'or is damaged: config.json: flags is \[\], expected an object'),
    ({'model': {}}, 'or is damaged: config.json: model.name is missing'),
    ({'instances': {'count': 2, 'sha256': ''}}, 'instances.json is not that of its config.json'),
  ],
)
def test_a_damaged_configuration_is_refused(tmp_path, changes, message):
  folder = attack(tmp_path / 'a')
  config = json.loads((folder / 'config.json').read_text()) | changes
  (folder / 'config.json').write_text(json.dumps(config))
  with pytest.raises(results.WorkdirError, match=message):
    merge.read_piece(folder)


def test_folders_are_found_by_path_pattern_and_shards(whole, tmp_path):
  parts = cut(tmp_path / 'cut')
  shards = sorted(parts.iterdir())
  assert merge.find_workdirs([str(whole)]) == [whole]
  assert merge.find_workdirs([str(parts)]) == shards
  assert merge.find_workdirs([str(tmp_path / '*')]) == [*shards, whole]
  odd = tmp_path / 'odd[1]'
  whole.rename(odd)
  assert merge.find_workdirs([str(odd)]) == [odd]
  with pytest.raises(results.WorkdirError, match=r'^--given names .* twice$'):
    merge.find_workdirs([str(odd), str(odd)], '--given')


def test_ones_own_data_set_is_named_by_its_folder():
  assert merge.dataset_name('folder', '/x/dev') == 'dev'
  assert merge.dataset_name('grabcut', '/x/dev') == 'grabcut'
  assert merge.dataset_name('folder', None) == 'folder'
