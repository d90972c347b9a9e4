"""A worker: what a batch comes to, the same whoever does it, and what is raised as an error."""

import dataclasses
import os

import pytest
import toy

from experiments import attack
from experiments.sweeps import worker
from experiments.sweeps.messages import Task
from tetris_jax.runs import schema


@pytest.fixture
def asked(sweep_models, tmp_path, monkeypatch):
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path / 'cache'))
  toy.write_folder(tmp_path / 'd', ((40, 56), (48, 48), (64, 40)))
  return dataclasses.asdict(attack.Settings(
    model='toy', dataset='folder', data_dir=str(tmp_path / 'd'), num_clicks=1, users=0,
    preset='baseline', pictures=1, masks=True, workdir=str(tmp_path / 'w'),
  ))  # fmt: skip


def test_opening_says_what_the_run_is_and_measures_nothing(asked):
  found = worker.Worker().work(Task(0, asked))
  assert found.error == '' and not found.rows
  assert found.asked['batch_size'] == 1 and found.config['flags']['batch_size'] == 1
  assert found.config['instances']['count'] == 3 and found.config['shard'] == {'id': 0, 'count': 1}


def test_a_batch_is_rows_with_what_lies_beside_them(asked):
  asked['batch_size'] = 2
  task = Task(0, asked, 0, (128, 128), (0, 1))
  one, other = worker.Worker().work(task), worker.Worker().work(task)
  assert one.rows == other.rows and one.files == other.files and one.origins == other.origins
  assert [row['instance'] for row in one.rows.values()] == ['p0', 'p1'] and list(one.rows) == [0, 1]
  for row in one.rows.values():
    schema.check_row(row, 'attack')
    assert row['status'] == 'ok'
  # The first instance is drawn, both keep their masks.
  assert [name for name in one.files if name.startswith('figures/')] == ['figures/00000_p0.png']
  assert {name[:14] for name in one.files if name.startswith('masks')} == {
    'masks/00000_p0', 'masks/00001_p1'
  }
  assert one.facts['evaluations'] > 0 and one.origins[1]['files'][0]['name'] == 'p1.png'
  assert not os.path.exists(asked['workdir'])


def test_what_is_raised_is_an_error_with_its_traceback(asked):
  missing = asked | {'data_dir': asked['data_dir'] + 'x'}
  found = worker.Worker().work(Task(0, missing))
  assert found.error.startswith('UsageError: ') and 'Traceback' in found.said[0]


def test_a_bad_instance_is_a_failed_row(asked, monkeypatch):
  monkeypatch.setenv('SWEEP_BAD', 'p1')
  found = worker.Worker().work(Task(0, asked, 1, (128, 128), (1,)))
  assert found.error == '' and found.rows[1]['reason'] == 'ValueError: it is bad'
  assert any('Traceback' in line for line in found.said)


def test_only_the_last_runs_stay_open(asked):
  one = worker.Worker()
  for limit in (1, 2, 3):
    one.work(Task(0, asked | {'limit': limit}))
  assert len(one._open) == 2
  assert one.about().devices == 2 and 'cpu' in one.about().kind


def test_a_run_is_opened_once_for_all_its_batches_whatever_was_left_open(asked):
  one = worker.Worker()
  for size in ('auto', 0):
    found = one.work(Task(0, asked | {'batch_size': size}))
    assert found.asked['batch_size'] == found.config['flags']['batch_size'] == 1
    (first, *_) = one._open.values()
    assert not one.work(Task(0, found.asked, 0, (128, 128), (0,))).error
    assert [*one._open.values()] == [first]
