"""Work folders that came from elsewhere or lost a file: nothing outside is touched or mixed in."""

import os

import pytest
from runs_workdirs_test import CONFIG, changed, listed, of, shard

from tetris_jax.runs import shards
from tetris_jax.runs import workdirs as results


@pytest.mark.parametrize('damage', [None, b'', b'{"flags"', b'\xff\xfe'])
def test_a_lost_configuration_costs_no_shard(tmp_path, damage):
  with results.open_workdir(tmp_path, of('a')) as workdir:
    assert workdir.restored == ''
    workdir.hold(listed('a'))
    workdir.write_shard(0, shard('a'))
  (tmp_path / 'figures/00000_a.png').write_text('a')
  file = tmp_path / 'config.json'
  before = file.read_bytes()
  file.unlink() if damage is None else file.write_bytes(damage)
  # Instances may have been mended meanwhile; they do not tell runs apart.
  with results.open_workdir(tmp_path, of('0', 'a')) as workdir:
    why = 'has no config.json' if damage is None else 'config.json is not JSON'
    assert why in workdir.restored and '1 finished batch in results/' in workdir.restored
    assert workdir.read_shard(0) == shard('a')
    workdir.hold(listed('0', 'a'))
  assert [one.name for one in (tmp_path / 'figures').iterdir()] == ['00001_a.png']
  with results.open_workdir(tmp_path, of('a')) as workdir:
    workdir.hold(listed('a'))
  assert file.read_bytes() == before


def test_pictures_of_nobody_do_not_get_an_owner(tmp_path):
  with results.open_workdir(tmp_path, of('a', 'b')) as workdir:
    workdir.hold(listed('a', 'b'))
    workdir.write_shard(0, shard('a'))
  (tmp_path / 'figures/00000_a.png').write_text('a')
  for name in ('config.json', 'instances.json'):
    (tmp_path / name).unlink()
  with results.open_workdir(tmp_path, of('b', 'a')) as workdir:
    workdir.hold(listed('b', 'a'))
  assert not list((tmp_path / 'figures').iterdir())


@pytest.mark.parametrize('damage', [None, b'{"flags"'])
def test_a_lost_configuration_mixes_no_runs(tmp_path, damage):
  def lose():
    (tmp_path / 'config.json').unlink() if damage is None else (
      (tmp_path / 'config.json').write_bytes(damage)
    )

  def refused(config, message):
    with pytest.raises(results.WorkdirError, match=message), results.open_workdir(tmp_path, config):
      pass

  with results.open_workdir(tmp_path, CONFIG) as workdir:
    workdir.write_shard(0, shard('a'))
  lose()
  refused(changed(num_clicks=5), 'is of a run with another configuration; give the settings')
  # Nothing tells whose these are: of an earlier version, or damaged.
  path = workdir.shard_path(0)
  for content in (shards.as_bytes(shard('a'), 0), b'', path.read_bytes()[:-9]):
    path.write_bytes(content)
    refused(CONFIG, 'nothing in results/ says of which run it is; use another workdir')
  path.write_bytes(shards.as_bytes(shard('a'), 0, 'another'))
  refused(CONFIG, 'another configuration')


def test_a_foreign_file_in_the_place_of_the_configuration_is_not_written_over(tmp_path):
  (tmp_path / 'config.json').write_text('// mine')
  with (
    pytest.raises(results.WorkdirError, match='is not JSON'),
    results.open_workdir(tmp_path, CONFIG),
  ):
    pass
  assert (tmp_path / 'config.json').read_text() == '// mine'


def test_a_shard_of_another_run_does_not_enter(tmp_path):
  other = tmp_path / 'other'
  with results.open_workdir(other, changed(num_clicks=5)) as workdir:
    workdir.write_shard(0, shard('a'))
  with results.open_workdir(tmp_path / 'w', CONFIG) as workdir:
    workdir.shard_path(0).write_bytes((other / 'results/00000.jsonl').read_bytes())
    with pytest.raises(results.DamagedShardError, match='of a run with another configuration'):
      workdir.read_shard(0)


@pytest.mark.parametrize('place', ['results', 'figures', 'maps', '.lock', 'config.json'])
def test_no_link_in_a_folder_is_followed(tmp_path, place):
  work, away = tmp_path / 'w', tmp_path / 'away'
  work.mkdir()
  away.mkdir()
  kept = {name: b'precious' for name in ('.mine.3.tmp', '00000.jsonl', '00000_a.png', 'file')}
  for name, content in kept.items():
    (away / name).write_bytes(content)
  folder = '.' not in place
  (work / place).symlink_to(away if folder else away / 'file')
  message = rf'workdir .*/w cannot be used: cannot read .*/w/{place}: it is a link'
  folders = ('results', place if folder else 'figures')
  with (
    pytest.raises(results.WorkdirError, match=message),
    results.open_workdir(work, CONFIG, folders),
  ):
    pass
  assert {file.name: file.read_bytes() for file in away.iterdir()} == kept


@pytest.mark.parametrize('place', ['results', '.lock', 'config.json', 'results/00000.jsonl'])
def test_a_pipe_in_a_folder_does_not_make_it_wait(tmp_path, place):
  (tmp_path / place).parent.mkdir(exist_ok=True)
  os.mkfifo(tmp_path / place)
  with (
    pytest.raises(results.WorkdirError, match=r'it is a named pipe, expected'),
    results.open_workdir(tmp_path, CONFIG) as workdir,
  ):
    workdir.read_shard(0)


def test_links_in_the_place_of_files_are_replaced_and_not_followed(tmp_path):
  work, mine = tmp_path / 'w', tmp_path / 'mine'
  mine.write_text('precious')
  with results.open_workdir(work, of('a')):
    pass
  names = 'instances.json', 'rows.jsonl', 'summary.json'
  for name in names:
    (work / name).symlink_to(mine)
    (work / f'.{name}.{os.getpid()}.tmp').symlink_to(mine)
  (work / 'figures/.a.1.tmp').symlink_to(mine)
  with results.open_workdir(work, of('a')) as workdir:
    for name in names:  # As one that has this process's number would find them.
      (work / f'.{name}.{os.getpid()}.tmp').symlink_to(mine)
    workdir.hold(listed('a'))
    workdir.write_rows(['a'], shard('a').rows)
    workdir.write_json('summary.json', {})
  assert mine.read_text() == 'precious'
  assert not [file for file in work.rglob('*') if file.is_symlink()]


def test_a_folder_may_itself_be_a_link(tmp_path):
  (tmp_path / 'disk').mkdir()
  (tmp_path / 'w').symlink_to(tmp_path / 'disk')
  with results.open_workdir(tmp_path / 'w', of('a')) as workdir:
    workdir.hold(listed('a'))
    workdir.write_shard(0, shard('a'))
    assert workdir.read_shard(0) == shard('a')
