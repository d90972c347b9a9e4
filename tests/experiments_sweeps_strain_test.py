"""What a sweep costs beside its models: stand-ins leave what models would, and are counted."""

import json
import os
import sys

import pytest

from experiments import attack
from experiments.sweeps import conductor, strain
from experiments.sweeps.messages import Task
from tetris_jax import data
from tetris_jax.runs import schema
from tetris_jax.runs import workdirs as results


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path / 'cache'))


def test_a_row_is_one_of_ten_clicks_and_64_users():
  row = strain.row_of('a')
  schema.check_row(row, 'attack')
  assert row['status'] == 'ok' and len(row['iou']['min']) == 10
  assert len(row['users']['iou']) == 64 and 10_000 < len(json.dumps(row)) < 20_000


def test_the_data_set_is_one_picture_under_many_names():
  dataset = data.open_dataset(strain.NAME, count=3)
  assert dataset.names == ('0000000', '0000001', '0000002') and dataset.size(2) == (512, 512)
  assert (dataset[0].image == dataset[2].image).all() and dataset[2].instance == '0000002'


def test_a_stand_in_answers_with_fresh_rows_of_its_task(tmp_path):
  run = strain.run_of(0, 5, 2, tmp_path)
  worker = strain.stand_in(0.0, [run])()
  first = worker.work(run.first)
  assert not first.rows and first.config['instances']['count'] == 5
  found = worker.work(Task(0, {}, 1, (512, 512), (2, 3)))
  assert [row['instance'] for row in found.rows.values()] == ['0000002', '0000003']
  one, other = found.rows.values()
  # No two share a list, as those of a real worker do not.
  assert one['users']['iou'] is not other['users']['iou']
  assert found.facts['evaluations'] > 0 and worker.about().devices == 1


@pytest.mark.slow
def test_runs_of_stand_ins_are_runs_and_nothing_of_them_is_kept_in_memory(tmp_path):
  runs = [strain.run_of(number, 5, 2, tmp_path) for number in range(2)]
  strain._conducted(runs, strain.Here(strain.stand_in(0.0, runs)))
  for run in runs:
    rows = results.read_rows(run.folder / 'rows.jsonl')
    assert [row['instance'] for row in rows] == [f'{n:07d}' for n in range(5)]
    assert (run.folder / 'report.html').exists()
    assert len(run.times) == len(run.spent) == 4 and run.times == sorted(run.times)
    assert run.bad == [] and run._kept is None and not run.left


def test_a_run_that_cannot_be_done_ends_the_measurement(tmp_path, monkeypatch):
  run = strain.run_of(0, 1, 1, tmp_path)
  monkeypatch.setattr(conductor.Conductor, 'conduct', lambda self: setattr(run, 'error', 'it is'))
  with pytest.raises(RuntimeError, match='run-000: it is'):
    strain._conducted([run], strain.Here(strain.stand_in(0.0, [run])))


@pytest.mark.slow
def test_many_rows_are_counted(monkeypatch):
  monkeypatch.setattr(strain, '_RUN', 4)
  found = strain.many_rows(6)
  assert (found['rows'], found['runs']) == (6, 2)
  assert found['most_mb'] >= found['before_mb'] > 0 and found['driver_ms_a_row'] > 0


def test_what_was_measured_is_a_table(monkeypatch):
  for name in ('many_rows', 'many_workers', 'real_workers'):
    monkeypatch.setattr(strain, name, lambda *given: {'share_of_linear': 0.97})
  found = strain.measure(attack.Settings(), 64, 10)
  assert {'versions', 'cores', 'rows', 'workers', 'real'} <= found.keys()
  text = strain.table(found)
  assert '## Many workers that wait' in text and '| share of linear | 0.97 |' in text


@pytest.mark.cluster
@pytest.mark.slow
def test_actors_that_wait_are_counted(monkeypatch):
  found = strain.many_workers(2, 0.1, 3)
  assert found['batches'] == 6 and 0 < found['share_of_linear'] <= 1
  assert found['seconds'] >= 0.3 and found['driver_ms'] > 0


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.usefixtures('sweep_models')
def test_actors_that_attack_are_counted(monkeypatch):
  monkeypatch.setenv('PYTHONPATH', os.pathsep.join(sys.path))  # Of workers.
  settings = attack.Settings(
    model='toy', preset='baseline', num_clicks=1, users=0, plugins=('sweep_models',)
  )
  found = strain.real_workers(settings, (1, 2), 2)
  one, two = found['instances_per_minute'].values()
  assert min(one, two) > 0 and found['ratio'] == pytest.approx(two / one, abs=0.01)
