"""What parts of a run have finished is taken over by its other parts, and nothing of other runs."""

import json
import shutil

import pytest
import work_folders

from tetris_jax.runs import merge, relatives
from tetris_jax.runs import workdirs as results

NAMES = ['p0', 'p1', 'p2', 'broken']
FOLDERS = 'results', 'figures', 'masks'


def config_of(folder, number=0, count=1, **changes):
  held = json.loads((folder / 'config.json').read_text())
  del held['schema']
  return {**held, 'shard': {'id': number, 'count': count}, **changes}


@pytest.fixture
def shard(tmp_path):
  """One of two, with both batches of the run and two pictures."""
  folder = tmp_path / 'w' / 'shard-00000-of-00002'
  work_folders.attack(folder, pictures=(0, 2), shard={'id': 0, 'count': 2})
  (folder / 'figures' / 'curves.png').write_text('of all')
  (folder / 'masks').mkdir()
  (folder / 'masks' / '00001_p1.min.png').write_text('mask')
  return folder


def taken(folder, config, wanted=(0, 1), names=NAMES):
  with results.open_workdir(folder, config, FOLDERS) as workdir:
    return relatives.take_over(workdir, names, wanted, 'attack'), workdir


def files(folder):
  return {
    str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*') if path.is_file()
  }


def test_the_whole_takes_what_a_shard_has_with_its_files(shard, tmp_path):
  before = files(shard)
  said, workdir = taken(tmp_path / 'w', config_of(shard))
  assert said == [f'2 finished batches taken over from {shard}'] and files(shard) == before
  for number in (0, 1):
    theirs = results.Workdir(shard, json.loads((shard / 'config.json').read_text()))
    assert workdir.read_shard(number) == theirs.read_shard(number) is not None
  for name in ('figures/00000_p0.png', 'figures/00002_p2.png', 'masks/00001_p1.min.png'):
    assert (tmp_path / 'w' / name).read_bytes() == before[name]
  assert not (tmp_path / 'w' / 'figures' / 'curves.png').exists()
  assert taken(tmp_path / 'w', config_of(shard))[0] == []


def test_a_shard_takes_what_the_whole_and_others_have_of_its_own(shard, tmp_path):
  work_folders.attack(tmp_path / 'w', shard={'id': 0, 'count': 1})
  (tmp_path / 'w' / 'results' / '00001.jsonl').unlink()
  folder = tmp_path / 'w' / 'shard-00002-of-00003'
  said, workdir = taken(folder, config_of(shard, 2, 3), (0,))
  assert said == [f'1 finished batch taken over from {tmp_path / "w"}']
  assert workdir.shards() == [0]
  said, workdir = taken(folder, config_of(shard, 2, 3), (0, 1))
  assert said == [f'1 finished batch taken over from {shard}'] and workdir.shards() == [0, 1]


def test_what_is_here_stays_and_a_run_that_gets_more_has_not_finished(shard, tmp_path):
  work_folders.attack(tmp_path / 'w', shard={'id': 0, 'count': 1})
  (tmp_path / 'w' / 'results' / '00000.jsonl').unlink()
  here = tmp_path / 'w' / 'results' / '00001.jsonl'
  before = here.read_bytes()
  said, _ = taken(tmp_path / 'w', config_of(shard))
  assert said == [f'1 finished batch taken over from {shard}'] and here.read_bytes() == before
  assert not (tmp_path / 'w' / 'summary.json').exists()


@pytest.mark.parametrize(('changes', 'said'), [
  ({'preset': {'name': 'other', 'num_clicks': 2}}, "another run: preset.name: 'tetris' there"),
  ({'instances': {'count': 9, 'sha256': '0'}}, 'another run: instances.count: 4 there, 9 now'),
])
def test_nothing_is_taken_from_another_run(shard, tmp_path, changes, said):
  (line,), workdir = taken(tmp_path / 'w', config_of(shard, **changes))
  assert line.startswith(f'nothing is taken over from {shard}, which is of ') and said in line
  assert not workdir.shards()


def test_where_data_and_weights_lie_may_differ(shard, tmp_path):
  config = config_of(shard)
  config['flags'] = config['flags'] | {'data_dir': '/elsewhere/dev', 'weights': '/w.pth'}
  assert taken(tmp_path / 'w', config)[1].shards() == [0, 1]


def test_what_is_damaged_or_of_other_programs_is_passed_over(shard, tmp_path):
  config = config_of(shard)
  (shard / 'results' / '00000.jsonl').write_text('{}')
  users = tmp_path / 'w' / 'shard-00001-of-00002'
  work_folders.users(users, shard={'id': 1, 'count': 2})
  (tmp_path / 'w' / 'shard-00003-of-00004').symlink_to(shard)
  (tmp_path / 'w' / 'shard-old').mkdir()
  assert relatives.folders_of(tmp_path / 'w') == [shard, users]
  said, workdir = taken(tmp_path / 'w', config, (0, 1, 2))
  assert said[0] == f'1 finished batch taken over from {shard}' and workdir.shards() == [1]
  assert said[1].startswith(f'nothing is taken over from {users}: ') and len(said) == 2


def test_rows_of_instances_that_are_gone_stay_where_they_are(shard, tmp_path):
  _, workdir = taken(tmp_path / 'w', config_of(shard), names=['p0', 'p1'])
  assert workdir.shards() == [0]


def test_links_beside_rows_are_not_followed(shard, tmp_path):
  picture = shard / 'figures' / '00000_p0.png'
  picture.unlink()
  (tmp_path / 'secret').write_text('secret')
  picture.symlink_to(tmp_path / 'secret')
  assert taken(tmp_path / 'w', config_of(shard))[1].shards() == [0, 1]
  assert not (tmp_path / 'w' / 'figures' / '00000_p0.png').exists()


def test_a_finished_whole_stands_for_its_shards_and_before_that_they_do(shard, tmp_path):
  whole = tmp_path / 'w'
  work_folders.attack(whole, shard={'id': 0, 'count': 1})
  assert merge.find_workdirs([str(whole)]) == [whole]
  other = tmp_path / 'w' / 'shard-00001-of-00002'
  work_folders.attack(other, shard={'id': 1, 'count': 2}, preset={'name': 'other'})
  assert merge.find_workdirs([str(whole)]) == [whole, other]
  shutil.rmtree(other)
  (whole / 'summary.json').unlink()
  assert merge.find_workdirs([str(whole)]) == [shard]
  shutil.rmtree(shard)
  assert merge.find_workdirs([str(whole)]) == [whole]
