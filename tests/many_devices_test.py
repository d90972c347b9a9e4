"""Whole runs on several devices, and as shards that know nothing of each other: the same bytes."""

import os
import pathlib
import signal
import subprocess
import sys

import compiling
import pytest
import toy

from experiments import report
from tetris_jax.runs import workdirs as results

TESTS = pathlib.Path(__file__).parent
SIZES = (40, 56), (48, 48), (64, 40), (40, 60), (50, 50)

# With GATE, no batch is measured until there is a file of that name.
RUN = """
import os, sys, time
sys.path.insert(0, {tests!r})
import toy
import jax
from experiments import attack
from experiments.lib import attack_job, opening
opening.zoo = toy
measure = attack_job.AttackJob.measure
def held(*given):
  while 'GATE' in os.environ and not os.path.exists(os.environ['GATE']):
    time.sleep(0.05)
  return measure(*given)
attack_job.AttackJob.measure = held
jax.config.update('jax_platforms', 'cpu')
print(jax.local_device_count())
sys.exit(attack.main(['attack', '--model=toy', '--dataset=folder', '--data_dir={data}',
                      '--workdir={workdir}', '--num_clicks=2', '--batch_size={batch_size}',
                      '--pictures=0', '--users=4', *{more!r}]))
"""


def environment(folder, devices, **more):
  flags = f'--xla_force_host_platform_device_count={devices} {compiling.UNOPTIMISED}'
  return os.environ | {'XLA_FLAGS': flags, 'TETRIS_CACHE': str(folder / 'cache')} | more


def start(folder, name, devices=1, batch_size=1, more=(), **variables):
  code = RUN.format(
    tests=str(TESTS), data=folder / 'd', workdir=folder / name, batch_size=batch_size, more=more
  )
  return subprocess.Popen(
    [sys.executable, '-c', code], env=environment(folder, devices, **variables), cwd=TESTS.parent,
    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
  )  # fmt: skip


def ended(process, code=0):
  said, complaint = process.communicate(timeout=600)
  assert process.returncode == code, complaint
  return said, complaint


@pytest.mark.slow
@pytest.mark.parametrize(('batch_size', 'counts'), [
  (1, (1, 2, 8)), pytest.param(2, (1, 2, 4, 8), marks=pytest.mark.nightly),
])  # fmt: skip
def test_any_number_of_devices_writes_the_rows_of_one(tmp_path, batch_size, counts):
  toy.write_folder(tmp_path / 'd', SIZES)
  written = []
  for count in counts:
    said, _ = ended(start(tmp_path, f'run{count}', count, batch_size))
    assert said.startswith(f'{count}\n')
    written.append((tmp_path / f'run{count}' / 'rows.jsonl').read_bytes())
  assert len(set(written)) == 1 and written[0].count(b'"status": "ok"') == 5


def refused(folder):
  with pytest.raises(results.WorkdirError) as raised:
    report.report([str(folder)], folder.parent / 'refused', 1)
  return str(raised.value)


@pytest.mark.slow
def test_shards_wait_for_nobody_and_outlive_one_that_is_killed(tmp_path):
  toy.write_folder(tmp_path / 'd', SIZES)
  gate = tmp_path / 'gate'
  rank = lambda number: {'SLURM_PROCID': str(number), 'SLURM_STEP_NUM_TASKS': '3'}
  shard = lambda number, **more: start(
    tmp_path, 'together', more=['--shard=auto'], **rank(number), **more
  )
  first, held, killed = shard(0), shard(1, GATE=str(gate)), shard(2, GATE=str(gate))
  # It ends while the others are at their first batch, and no longer than they may take.
  _, complaint = ended(first)
  assert 'shard 0 of 3\n' in complaint and held.poll() is killed.poll() is None
  killed.kill()
  ended(killed, -signal.SIGKILL)
  gate.touch()
  ended(held)
  assert 'shard-00002-of-00003' in refused(tmp_path / 'together')
  ended(shard(2))
  ended(start(tmp_path, 'alone', 2))
  report.report([str(tmp_path / 'together')], tmp_path / 'report', 1)
  rows = [(tmp_path / name / 'rows.jsonl').read_bytes() for name in ('report', 'alone')]
  assert rows[0] == rows[1] and rows[0].count(b'"status": "ok"') == 5
