"""Tests of the cache: exact round trip, damage noticed, written whole or not at all."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from ports.weights import cache
from ports.weights.errors import CheckpointError

PARAMS = {
  'a/0/kernel': np.arange(6, dtype=np.float32).reshape(2, 3),
  'a/10/bias': np.array([1.5, -2.0], np.float16),
  'b/count': np.array([2**40, 3], np.int64),
  'b/scale': np.float64(1 / 3) * np.ones((1,)),
}


def assert_same(found):
  assert set(found) == set(PARAMS)
  for name, array in PARAMS.items():
    np.testing.assert_array_equal(found[name], array, strict=True)


def test_round_trip_keeps_names_shapes_and_dtypes(tmp_path):
  cache.save(tmp_path / 'c' / 'm', PARAMS, {'sources': {'f': '0' * 64}})
  found, record = cache.restore(tmp_path / 'c' / 'm')
  assert_same(found)
  assert record['sources'] == {'f': '0' * 64}
  assert record['leaves']['a/10/bias'] == ['float16', 2]
  assert [p.name for p in (tmp_path / 'c').iterdir()] == ['m']


def test_a_large_tree_is_written_in_parts_and_comes_back_whole(tmp_path, monkeypatch):
  cache.save(tmp_path / 'whole', PARAMS, {})
  monkeypatch.setattr(cache, '_PART_BYTES', 20)  # the second part holds two leaves
  cache.save(tmp_path / 'm', PARAMS, {})
  folders = sorted(p.name for p in (tmp_path / 'm').iterdir())
  assert folders == ['params', 'params-1', 'params-2', 'record.json']
  monkeypatch.undo()
  found, record = cache.restore(tmp_path / 'm')
  assert_same(found)
  assert record['parts'] == 3
  assert record['digest'] == cache.restore(tmp_path / 'whole')[1]['digest']
  (tmp_path / 'm' / 'params-1').rename(tmp_path / 'lost')
  with pytest.raises(CheckpointError, match='Delete this folder'):
    cache.restore(tmp_path / 'm')


def test_a_part_that_is_not_asked_for_is_missed(tmp_path, monkeypatch):
  monkeypatch.setattr(cache, '_PART_BYTES', 20)
  cache.save(tmp_path / 'm', PARAMS, {})
  path = tmp_path / 'm' / 'record.json'
  for parts in (1, 2, 4, 'three', -1):
    path.write_text(json.dumps(json.loads(path.read_text()) | {'parts': parts}))
    with pytest.raises(CheckpointError, match='Delete this folder'):
      cache.restore(tmp_path / 'm')


@pytest.mark.parametrize(
  ('name', 'value'),
  [
    ('a/10/bias', ['float32', 2]),
    ('a/10/bias', ['float16', 3]),
    ('a/10/bia', ['float16', 2]),
  ],
)
def test_a_leaf_that_comes_back_otherwise_is_noticed(tmp_path, name, value):
  cache.save(tmp_path / 'm', PARAMS, {})
  path = tmp_path / 'm' / 'record.json'
  record = json.loads(path.read_text())
  del record['leaves']['a/10/bias']
  record['leaves'][name] = value
  path.write_text(json.dumps(record))
  with pytest.raises(CheckpointError, match='a/10/bia'):
    cache.restore(tmp_path / 'm')


def test_other_values_of_the_same_shape_are_noticed(tmp_path):
  cache.save(tmp_path / 'm', PARAMS, {})
  cache.save(tmp_path / 'n', PARAMS | {'b/scale': np.ones((1,))}, {})
  (tmp_path / 'm' / 'params').rename(tmp_path / 'old')
  (tmp_path / 'n' / 'params').rename(tmp_path / 'm' / 'params')
  with pytest.raises(CheckpointError, match='not those that were written'):
    cache.restore(tmp_path / 'm')


def test_every_damaged_file_is_an_error_that_says_what_to_delete(tmp_path):
  cache.save(tmp_path / 'm', PARAMS, {})
  vital = [p for p in (tmp_path / 'm').rglob('*') if p.is_file() and p.stat().st_size > 200]
  assert len(vital) >= 2
  for path in vital:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    try:
      found, _ = cache.restore(tmp_path / 'm')
    except CheckpointError as error:
      assert str(tmp_path / 'm') in str(error) and 'Delete this folder' in str(error)
    else:
      assert_same(found)  # a file that restoring does not need
    path.write_bytes(data)
  (tmp_path / 'm' / 'record.json').unlink()
  with pytest.raises(CheckpointError, match='Delete this folder'):
    cache.restore(tmp_path / 'm')


def test_what_is_there_stays_unless_it_is_to_be_replaced(tmp_path):
  cache.save(tmp_path / 'm', PARAMS, {'turn': 1})
  cache.save(tmp_path / 'm', PARAMS, {'turn': 2})
  assert cache.restore(tmp_path / 'm')[1]['turn'] == 1
  cache.save(tmp_path / 'm', PARAMS, {'turn': 3}, replace=True)
  assert cache.restore(tmp_path / 'm')[1]['turn'] == 3
  assert [p.name for p in tmp_path.iterdir()] == ['m']


def test_two_processes_at_once_leave_one_whole_entry(tmp_path):
  # each waits for the other, so that both write at the same time
  program = f"""
import pathlib, sys, time
sys.path[:0] = {[str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parents[1])]!r}
from ports.weights import cache
from ports_weights_cache_test import PARAMS
import orbax.checkpoint
root = pathlib.Path({str(tmp_path)!r})
(root / ('ready' + sys.argv[1])).touch()
while len(list(root.glob('ready*'))) < 2:
  time.sleep(0.001)
for turn in range(3):
  cache.save(root / 'c' / 'm', PARAMS, {{}}, replace=turn == 1)
"""
  running = [
    subprocess.Popen([sys.executable, '-c', program, str(i)], stderr=subprocess.PIPE, text=True)
    for i in range(2)
  ]
  for process in running:
    _, text = process.communicate(timeout=120)
    assert process.returncode == 0, text
  assert_same(cache.restore(tmp_path / 'c' / 'm')[0])
  assert [p.name for p in (tmp_path / 'c').iterdir()] == ['m']


def test_a_full_disk_leaves_nothing_behind_and_names_the_variable(tmp_path, monkeypatch):
  def full(self, text):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(pathlib.Path, 'write_text', full)
  with pytest.raises(CheckpointError, match=r'No space left.*TETRIS_CACHE'):
    cache.save(tmp_path / 'm', PARAMS, {})
  assert not list(tmp_path.iterdir())


def test_an_unwritable_cache_is_found_before_any_work(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(CheckpointError, match='TETRIS_CACHE'):
    cache.check_writable(tmp_path / 'file' / 'weights' / 'm', 1)
  with pytest.raises(CheckpointError, match=r'MB are free.*TETRIS_CACHE'):
    cache.check_writable(tmp_path / 'm', 1 << 60)
  cache.check_writable(tmp_path / 'm', 1)
  assert not list((tmp_path / 'm').parent.glob('m*'))


def test_where_the_cache_lies(tmp_path, monkeypatch):
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path / 'mine'))
  assert cache.cache_dir() == tmp_path / 'mine'
  monkeypatch.delenv('TETRIS_CACHE')
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'xdg'))
  assert cache.cache_dir() == tmp_path / 'xdg' / 'tetris_jax'
  monkeypatch.delenv('XDG_CACHE_HOME')
  monkeypatch.setenv('HOME', str(tmp_path))
  assert cache.cache_dir() == tmp_path / '.cache' / 'tetris_jax'
