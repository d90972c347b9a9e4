"""A run as the driver has it: what a worker found becomes the work folder of experiments.attack."""

import dataclasses
import json

import pytest
import toy

from experiments import attack, report
from experiments.sweeps import driven, worker
from tetris_jax.runs import workdirs as results


@pytest.fixture
def settings(tmp_path, monkeypatch):
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path / 'cache'))
  monkeypatch.setattr(attack.opening, 'zoo', toy)
  toy.write_folder(tmp_path / 'd', ((40, 56), (48, 48), (64, 40)))
  return attack.Settings(
    model='toy', dataset='folder', data_dir=str(tmp_path / 'd'), num_clicks=1, users=0,
    preset='baseline', pictures=1, workdir=str(tmp_path / 'w'), batch_size=2,
  )  # fmt: skip


def opened(settings, said=None):
  run, one = driven.Driven(0, settings), worker.Worker()
  counts = run.open(one.work(run.first), (said if said is not None else []).append)
  return run, one, counts


def test_a_run_of_workers_is_that_of_one_process(settings, tmp_path):
  run, one, counts = opened(settings)
  assert counts == (3, 0) and [task.indices for task in run.left.values()] == [(0, 1), (2,)]
  for task in reversed(run.left.values()):
    found = one.work(task)
    assert run.difference(found) == []
    run.take(task, found)
  run.end()
  assert run.bad == []
  other = dataclasses.replace(settings, workdir=str(tmp_path / 'alone'))
  assert attack.execute(other) == 0
  for name in ('rows.jsonl', 'config.json', 'instances.json', 'figures/00000_p0.png'):
    assert (tmp_path / 'w' / name).read_bytes() == (tmp_path / 'alone' / name).read_bytes()
  # Either goes on where the other stopped.
  said = []
  again, _, counts = opened(other, said)
  assert counts == (3, 3) and not again.left and '3 of 3 instances are done' in said[0]
  again.close()
  assert attack.execute(settings) == 0


@pytest.mark.slow
def test_shards_a_single_run_and_a_sweep_go_on_with_each_other(settings, tmp_path):
  alone = dataclasses.replace(settings, workdir=str(tmp_path / 'alone'), batch_size=1)
  assert attack.execute(alone) == 0
  settings = dataclasses.replace(settings, batch_size=1)
  # One of two shards by hand, and a sweep for what is left.
  assert attack.execute(dataclasses.replace(settings, num_shards=2, shard_id=0)) == 0
  said = []
  run, one, counts = opened(settings, said)
  assert counts == (3, 2) and [task.indices for task in run.left.values()] == [(1,)]
  assert said[0] == (
    f'2 finished batches taken over from {tmp_path / "w" / "shard-00000-of-00002"}'
  )
  for task in list(run.left.values()):
    run.take(task, one.work(task))
  run.end()
  for name in ('rows.jsonl', 'config.json', 'instances.json', 'figures/00000_p0.png'):
    assert (tmp_path / 'w' / name).read_bytes() == (tmp_path / 'alone' / name).read_bytes()
  # The other way round, a shard has nothing to do where the sweep has been.
  other = dataclasses.replace(settings, num_shards=2, shard_id=1)
  assert attack.execute(other) == 0
  rows = results.read_rows(other.folder / 'rows.jsonl')
  assert [row['instance'] for row in rows] == ['p1']
  done = results.read_rows(tmp_path / 'w' / 'rows.jsonl')
  assert rows == done[1:2]
  # What stood in the shard is merged once.
  assert report.report([str(tmp_path / 'w')], tmp_path / 'out', 1) == done


def test_a_run_that_goes_on_keeps_the_batch_size_that_was_found_for_it(settings):
  left_open = dataclasses.replace(settings, batch_size='auto')
  assert driven.Driven(0, left_open).first.asked['batch_size'] == 'auto'
  opened(settings)[0].close()
  run = opened(left_open)[0]
  assert run.first.asked['batch_size'] == run.config['flags']['batch_size'] == 2
  run.close()


def test_a_batch_that_nobody_could_do_is_failed_rows_and_is_done_when_resumed(settings):
  run, one, _ = opened(settings)
  first, second = run.left.values()
  run.fail(first, '5 workers were lost')
  run.take(second, one.work(second))
  run.end()
  assert [row['reason'] for row in run.bad] == ['5 workers were lost'] * 2
  assert run.bad[0]['size'] == [40, 56]
  again, _, counts = opened(settings)
  assert counts == (3, 1) and [task.indices for task in again.left.values()] == [(0, 1)]
  again.close()


def test_another_kind_of_device_or_other_instances_are_told(settings):
  run, one, _ = opened(settings)
  found = one.work(next(iter(run.left.values())))
  config = json.loads(json.dumps(found.config))
  config['devices']['kind'] = 'H100'
  config['devices']['count'] = 7
  (line,) = run.difference(found._replace(config=config))
  assert line.startswith('devices.kind: ') and "'H100' now" in line
  run.close()


def test_a_folder_in_use_is_refused(settings):
  run, one, _ = opened(settings)
  other = driven.Driven(1, settings)
  with pytest.raises(results.WorkdirError, match='is in use by process'):
    other.open(one.work(other.first), print)
  run.close()
  assert other.name == 'w' and other.folder == run.folder
