"""The work folder: whole files or none, resumption, locks, and what is never merged."""

import errno
import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from tetris_jax.runs import schema
from tetris_jax.runs import workdirs as results

CONFIG = {
  'flags': {'model': 'toy', 'num_clicks': 3},
  'preset': {'name': 'tetris', 'radius': 5.0},
  'versions': {'jax': '1', 'python': '3.11', 'numpy': '2.0'},
  'devices': {'kind': 'cpu', 'count': 1},
}


def shard(*names):
  made = [schema.empty_row('attack', name, 'failed', 'for a test', (3, 4)) for name in names]
  return results.Shard(made, {'seconds': 0.5})


def changed(**flags):
  return CONFIG | {'flags': CONFIG['flags'] | flags}


def listed(*names):
  return [[name, [3, 4]] for name in names]


def of(*names, **changes):
  return CONFIG | {'instances': results.fingerprint(listed(*names))} | changes


def test_a_shard_comes_back_as_it_was(tmp_path):
  with results.open_workdir(tmp_path / 'new' / 'run', CONFIG) as workdir:
    assert workdir.read_shard(0) is None and workdir.shards() == []
    workdir.write_shard(0, shard('a', 'b'))
    workdir.write_shard(123456, shard('c'))
    assert workdir.read_shard(0) == shard('a', 'b') and workdir.shards() == [0, 123456]
  config = json.loads((tmp_path / 'new/run/config.json').read_text())
  assert config == {'schema': schema.SCHEMA, **CONFIG} and next(iter(config)) == 'schema'


def test_every_truncation_of_a_shard_is_detected(tmp_path):
  with results.open_workdir(tmp_path, CONFIG) as workdir:
    workdir.write_shard(0, shard('a', 'b'))
    path = workdir.shard_path(0)
    whole = path.read_bytes()
    for length in range(len(whole)):
      path.write_bytes(whole[:length])
      with pytest.raises(results.DamagedShardError, match=r'00000\.jsonl: truncated or altered'):
        workdir.read_shard(0)


def test_altered_and_misplaced_shards_are_detected(tmp_path):
  with results.open_workdir(tmp_path, CONFIG) as workdir:
    workdir.write_shard(0, shard('a', 'b'))
    whole = workdir.shard_path(0).read_bytes()
    workdir.shard_path(0).write_bytes(whole.replace(b'"b"', b'"c"'))
    with pytest.raises(results.DamagedShardError, match='altered'):
      workdir.read_shard(0)
    workdir.shard_path(1).write_bytes(whole)
    with pytest.raises(results.DamagedShardError, match='written for batch 0'):
      workdir.read_shard(1)


def test_rows_are_merged_in_the_order_of_the_data_set(tmp_path):
  with results.open_workdir(tmp_path, CONFIG) as workdir:
    merged = workdir.write_rows(['b', 'a', 'c'], shard('a', 'b', 'c').rows)
  assert [row['instance'] for row in merged] == ['b', 'a', 'c']
  assert results.read_rows(tmp_path / 'rows.jsonl') == merged


def test_names_that_are_not_utf8_survive(tmp_path):
  name = os.fsdecode(b'caf\xe9\xff "1"\n')
  with results.open_workdir(tmp_path, CONFIG) as workdir:
    workdir.write_shard(0, shard(name))
    found = workdir.read_shard(0)
    workdir.write_rows([name], found.rows)
  assert results.read_rows(tmp_path / 'rows.jsonl')[0]['instance'] == name


def test_a_merge_refuses_gaps_doubles_and_strangers(tmp_path):
  with results.open_workdir(tmp_path, CONFIG) as workdir:
    with pytest.raises(results.WorkdirError, match='without a row: b'):
      workdir.write_rows(['a', 'b'], shard('a').rows)
    with pytest.raises(results.WorkdirError, match='a has two rows'):
      workdir.write_rows(['a'], shard('a', 'a').rows)
    with pytest.raises(results.WorkdirError, match='2 rows for 1 instances'):
      workdir.write_rows(['a'], shard('a', 'b').rows)
  assert not (tmp_path / 'rows.jsonl').exists()


def test_the_same_configuration_resumes_and_another_is_refused(tmp_path):
  with results.open_workdir(tmp_path, CONFIG) as workdir:
    workdir.write_shard(0, shard('a'))
  before = (tmp_path / 'config.json').read_bytes()
  on_newer_python = CONFIG | {'versions': CONFIG['versions'] | {'python': '3.12'}}
  with results.open_workdir(tmp_path, on_newer_python) as workdir:
    assert workdir.read_shard(0) == shard('a')
  for other, named in (
    (changed(num_clicks=5), '\n  num_clicks: 3 there, 5 now'),
    (changed(model='x'), "\n  model: 'toy' there, 'x' now"),
    (CONFIG | {'versions': CONFIG['versions'] | {'jax': '2'}}, "versions.jax: '1' there, '2' now"),
    (CONFIG | {'preset': {'name': 'tetris'}}, 'preset.radius: 5.0 there, None now'),
  ):
    with (
      pytest.raises(results.WorkdirError, match='another configuration') as error,
      results.open_workdir(tmp_path, other),
    ):
      pass
    assert named in str(error.value)
    assert str(error.value).count(' there, ') == 1
  assert (tmp_path / 'config.json').read_bytes() == before


def test_what_a_kill_left_half_written_is_cleared_and_other_files_are_not(tmp_path):
  with results.open_workdir(tmp_path, CONFIG):
    pass
  leftovers = [tmp_path / 'results/.00000.jsonl.7.tmp', tmp_path / 'figures/.a.png.7.tmp']
  mine = [tmp_path / name for name in ('notes.tmp', '.notes.tmp', 'figures/.b.png.tmp')]
  for file in [*leftovers, *mine]:
    file.write_text('half')
  (tmp_path / '.folder.7.tmp').mkdir()
  with results.open_workdir(tmp_path, CONFIG):
    assert not any(file.exists() for file in leftovers)
    assert all(file.exists() for file in [*mine, tmp_path / '.folder.7.tmp'])


def test_a_file_in_the_place_of_the_folder(tmp_path):
  (tmp_path / 'run').write_text('')
  for path in (tmp_path / 'run', tmp_path / 'run' / 'below'):
    with pytest.raises(results.WorkdirError, match='run'), results.open_workdir(path, CONFIG):
      pass


def test_an_unwritable_folder():
  with (
    pytest.raises(results.WorkdirError, match='cannot use workdir /proc/tetris'),
    results.open_workdir('/proc/tetris', CONFIG),
  ):
    pass


def test_a_full_disk_is_noticed_before_the_run(tmp_path, monkeypatch):
  usage = type('usage', (), {'free': 2**20})
  monkeypatch.setattr(results.shutil, 'disk_usage', lambda path: usage)
  with (
    pytest.raises(results.WorkdirError, match=r'1\.0 MiB free'),
    results.open_workdir(tmp_path, CONFIG),
  ):
    pass
  assert not (tmp_path / 'config.json').exists()


def test_a_disk_that_fills_up_leaves_nothing_half_written(tmp_path, monkeypatch):
  with results.open_workdir(tmp_path, CONFIG) as workdir:
    workdir.write_shard(0, shard('a'))

    def full(descriptor):
      raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(results.os, 'fsync', full)
    for batch in (0, 1):
      with pytest.raises(results.WorkdirError, match=r'No space left on device; free some space'):
        workdir.write_shard(batch, shard('b'))
    monkeypatch.undo()
    assert [file.name for file in (tmp_path / 'results').iterdir()] == ['00000.jsonl']
    assert workdir.read_shard(0) == shard('a')


def test_a_second_process_is_refused_and_a_killed_one_blocks_nobody(tmp_path):
  script = (
    'import sys, time; from tetris_jax.runs import workdirs as results\n'
    'with results.open_workdir(sys.argv[1], {"flags": {}}):\n'
    '  print("open", flush=True); time.sleep(60)\n'
  )
  root = pathlib.Path(__file__).parents[1]
  with subprocess.Popen(
    [sys.executable, '-c', script, str(tmp_path)], cwd=root, stdout=subprocess.PIPE, text=True
  ) as process:
    try:
      assert process.stdout.readline() == 'open\n'
      with (
        pytest.raises(results.WorkdirError, match=f'in use by process {process.pid} on '),
        results.open_workdir(tmp_path, {'flags': {}}),
      ):
        pass
    finally:
      process.send_signal(signal.SIGKILL)
  with results.open_workdir(tmp_path, {'flags': {}}) as workdir:
    workdir.write_shard(0, shard('a'))


def test_reading_rows_names_the_line_at_fault(tmp_path):
  path = tmp_path / 'rows.jsonl'
  good = json.dumps(shard('a').rows[0])
  path.write_text(f'{good}\n{{"instance"\n')
  with pytest.raises(results.WorkdirError, match='line 2: not a row'):
    results.read_rows(path)
  path.write_text(f'{good}\n{{"instance": "b", "status": "ok"}}\n')
  with pytest.raises(results.WorkdirError, match=r"line 2: not a row \(instance 'b': reason is m"):
    results.read_rows(path)
  path.write_text(f'{good}\n')
  assert results.read_rows(path) == shard('a').rows
  with pytest.raises(results.WorkdirError, match=r"instance 'a': robot is missing"):
    results.read_rows(path, 'users')
  with pytest.raises(results.WorkdirError, match='cannot read'):
    results.read_rows(tmp_path / 'absent.jsonl')
  path.write_bytes(b'\xff\xfe')
  with pytest.raises(results.WorkdirError, match='cannot read'):
    results.read_rows(path)


def test_a_shard_of_what_is_no_row_is_damaged(tmp_path):
  with results.open_workdir(tmp_path, CONFIG) as workdir:
    for rows, facts, named in (
      ([shard('a').rows[0] | {'forward': 3}], {}, "instance 'a': forward is there, but status"),
      ([shard('a').rows[0] | {'colour': None}], {}, "instance 'a': colour is unknown"),
      (shard('a').rows, {'made_of': [{}]}, r'facts\.made_of\[0\]\.canvas is missing'),
      (shard('a').rows, {'seconds': 'many'}, r"facts\.seconds is 'many', expected a finite number"),
    ):
      workdir.write_shard(0, results.Shard(rows, facts))
      with pytest.raises(results.DamagedShardError, match=rf'00000\.jsonl is no shard: .*{named}'):
        workdir.read_shard(0)
    workdir.write_shard(0, shard('a'))
    with pytest.raises(results.DamagedShardError, match='robot is missing'):
      workdir.read_shard(0, 'users')


@pytest.mark.parametrize(
  ('config', 'message'),
  [
    (CONFIG, r'an earlier version \(layout 1, this is 2\); run its command again in another w'),
    ({'schema': 3, **CONFIG}, r'a later version \(layout 3, this is 2\); run its command again'),
    ({'schema': 'two', **CONFIG}, 'tells no layout; use another workdir'),
    ([], 'tells no layout; use another workdir'),
  ],
)
def test_another_layout_is_refused_in_one_sentence(tmp_path, config, message):
  with results.open_workdir(tmp_path, CONFIG):
    pass
  (tmp_path / 'config.json').write_text(json.dumps(config))
  before = (tmp_path / 'config.json').read_bytes()
  with (
    pytest.raises(results.WorkdirError, match=message) as error,
    results.open_workdir(tmp_path, CONFIG),
  ):
    pass
  assert '\n' not in str(error.value) and str(error.value).startswith(str(tmp_path))
  assert (tmp_path / 'config.json').read_bytes() == before


def test_a_folder_holds_the_instances_of_the_data_set_as_it_is_now(tmp_path):
  with results.open_workdir(tmp_path, of('a', 'b')) as workdir:
    assert workdir.hold(listed('a', 'b')) == listed('a', 'b')
    workdir.write_json('summary.json', {})
    (tmp_path / 'figures/00001_b.png').write_text('b')
    before = (tmp_path / 'config.json').read_bytes()
  with results.open_workdir(tmp_path, of('a', 'b')) as workdir:
    assert workdir.hold(listed('a', 'b')) == listed('a', 'b')
    assert (tmp_path / 'config.json').read_bytes() == before
    assert (tmp_path / 'summary.json').exists()
  with results.open_workdir(tmp_path, of('b', 'c')) as workdir:
    assert (tmp_path / 'config.json').read_bytes() == before
    assert workdir.hold(listed('b', 'c')) == listed('a', 'b')
  assert [file.name for file in (tmp_path / 'figures').iterdir()] == ['00000_b.png']
  assert json.loads((tmp_path / 'instances.json').read_text())['instances'] == listed('b', 'c')
  there = json.loads((tmp_path / 'config.json').read_text())
  assert there == {'schema': schema.SCHEMA, **of('b', 'c')}
  # What the rows were has not the instances of what they will be.
  assert not (tmp_path / 'summary.json').exists()
  # All else is still compared.
  with (
    pytest.raises(results.WorkdirError, match='num_clicks: 3 there, 5 now'),
    results.open_workdir(tmp_path, of('b', 'c', flags={'model': 'toy', 'num_clicks': 5})),
  ):
    pass


@pytest.mark.parametrize('damage', [None, '{', '{"instances": 3}', '[]'])
def test_a_list_that_is_lost_is_made_again(tmp_path, damage):
  for names, figures in ((('a', 'b'), ['00001_b.png']), (('0', 'a', 'b'), [])):
    with results.open_workdir(tmp_path, of('a', 'b')) as workdir:
      workdir.hold(listed('a', 'b'))
    (tmp_path / 'figures/00001_b.png').write_text('b')
    file = tmp_path / 'instances.json'
    file.unlink() if damage is None else file.write_text(damage)
    with results.open_workdir(tmp_path, of(*names)) as workdir:
      workdir.hold(listed(*names))
    assert json.loads(file.read_text())['instances'] == listed(*names)
    # A picture of which nobody can tell whose it is goes.
    assert [one.name for one in (tmp_path / 'figures').iterdir()] == figures


def test_what_follows_from_the_instances_of_users_is_not_compared(tmp_path):
  users = lambda left_out, sha256='1': {
    'users': {'clicks': {'sha256': sha256, 'repeated': left_out, 'left_out': {'x.y': left_out}}}
  }
  with results.open_workdir(tmp_path, of('a', **users(1))) as workdir:
    workdir.hold(listed('a'))
  with results.open_workdir(tmp_path, of('b', **users(2))) as workdir:
    workdir.hold(listed('b'))
  there = json.loads((tmp_path / 'config.json').read_text())
  assert there['users']['clicks']['left_out'] == {'x.y': 2}
  with (
    pytest.raises(results.WorkdirError, match=r"users\.clicks\.sha256: '1' there, '2' now$"),
    results.open_workdir(tmp_path, of('b', **users(2, '2'))),
  ):
    pass
