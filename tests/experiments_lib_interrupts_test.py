"""Interruptions of real processes at any moment: one line, 130 or 143, and never a traceback."""

import contextlib
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

import pytest
import toy

from experiments.lib import cli, interrupts

ROOT = pathlib.Path(interrupts.__file__).parents[2]
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}
AGAIN = 'interrupted: nothing was finished; give the same command again\n'


@contextlib.contextmanager
def started(command, folder, *plugin_folders, **more):
  path = os.pathsep.join(map(str, [ROOT, ROOT / 'tests', *plugin_folders]))
  process = subprocess.Popen(
    [sys.executable, *command], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    text=True, env=os.environ | {'PYTHONPATH': path} | more,
  )  # fmt: skip
  with process:
    try:
      yield process
    finally:
      if process.poll() is None:
        process.kill()


def interrupted(process, number, times=1):
  """What is still said on stderr after a signal, so many times."""
  for _ in range(times):
    process.send_signal(number)
  said = process.communicate(timeout=60)[1]
  assert process.returncode == STATUS[number], said
  return said


@pytest.fixture
def fresh(monkeypatch):
  monkeypatch.setattr(interrupts, '_kept', interrupts._kept)


def test_what_is_kept_is_asked_for_when_it_is_said(fresh):
  counted = []
  interrupts.keeps(lambda: f'{len(counted)} are kept')
  counted += 'ab'
  assert interrupts.told() == 'interrupted: 2 are kept'
  interrupts.keeps(lambda: 1 / 0)
  assert interrupts.told() == 'interrupted: what is finished is kept; give the same command again'


BUSY = {
  'asleep': 'time.sleep(60)',
  'in a loop': 'while True: pass',
  'outside of Python': 'hashlib.pbkdf2_hmac("sha256", b"x", b"y", 10**9)',
  'on a thread': 'concurrent.futures.ThreadPoolExecutor(1).submit(time.sleep, 60).result()',
  'where all is caught': """
while True:
  try:
    time.sleep(0.001)
  except BaseException:
    pass
""",
  'writing to nobody': 'while True: sys.stdout.write("x" * 10**6)',
  'with its own handler': """
signal.signal(signal.SIGTERM, print); signal.signal(signal.SIGINT, print)
interrupts.renew()
time.sleep(60)
""",
}
SCRIPT = """
import concurrent.futures, hashlib, signal, sys, time
from experiments.lib import interrupts
interrupts.install()
interrupts.keeps(lambda: '3 of 4 are kept')
say = lambda: print('ready', file=sys.stderr, flush=True)
say()
"""


@pytest.mark.parametrize('number', STATUS)
@pytest.mark.parametrize('busy', BUSY)
def test_whatever_a_process_does_it_ends_at_once(busy, number, tmp_path):
  with started(['-c', SCRIPT + BUSY[busy]], tmp_path) as process:
    assert process.stderr.readline() == 'ready\n'
    time.sleep(0.02)
    assert interrupted(process, number, times=1 + (busy == 'asleep')) == (
      'interrupted: 3 of 4 are kept\n'
    )


def test_what_was_printed_is_not_lost(tmp_path):
  busy = 'print("row"); print("done", file=sys.stderr, flush=True); time.sleep(60)'
  with started(['-c', SCRIPT + busy], tmp_path) as process:
    assert [process.stderr.readline() for _ in range(2)] == ['ready\n', 'done\n']
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ('row\n', 'interrupted: 3 of 4 are kept\n')


def test_what_is_half_written_is_removed(tmp_path):
  (tmp_path / 'half').write_text('')
  busy = 'import os; interrupts.cleans(lambda: os.unlink("half")); say(); time.sleep(60)'
  for _ in range(2):  # The second time there is nothing.
    with started(['-c', SCRIPT + busy], tmp_path) as process:
      assert [process.stderr.readline() for _ in range(2)] == ['ready\n'] * 2
      assert interrupted(process, signal.SIGTERM) == 'interrupted: 3 of 4 are kept\n'
    assert not (tmp_path / 'half').exists()


def test_a_signal_that_is_ignored_stays_so(tmp_path):
  ignoring = 'import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)' + SCRIPT
  with started(['-c', ignoring + 'time.sleep(60)'], tmp_path) as process:
    assert process.stderr.readline() == 'ready\n'
    process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    assert process.poll() is None
    interrupted(process, signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.parametrize('program', cli.PROGRAMS)
def test_every_program_is_interrupted_while_it_starts(program, tmp_path):
  console = tmp_path / 'tetris-jax'
  console.write_text('import sys\nfrom experiments.lib.cli import main\nsys.exit(main())\n')
  rng = random.Random(program)
  for command in (['-m', f'experiments.{program}'], [str(console), program]):
    number = rng.choice([*STATUS])
    with started(command, tmp_path) as process:
      assert process.stderr.readline() == f'{program}: starting\n'
      time.sleep(rng.uniform(0, 0.3))
      said = interrupted(process, number, times=rng.choice([1, 2]))
    # After that long some have begun to say what they do.
    assert said.endswith(AGAIN) or said.endswith('the same command resumes the run\n')
    assert said.count('interrupted') == 1 and 'Traceback' not in said
  assert [file.name for file in tmp_path.iterdir()] == ['tetris-jax']


PLUGIN = """
import toy
from experiments.lib import opening
opening.zoo = toy
"""


@pytest.mark.slow
def test_a_run_is_interrupted_while_it_compiles_and_while_it_writes(tmp_path):
  toy.write_folder(tmp_path / 'd', ((40, 56),) * 9)
  (tmp_path / 'toy_plugin.py').write_text(PLUGIN)
  command = [
    '-m', 'experiments.attack', '--plugins=toy_plugin', '--model=toy', '--dataset=folder',
    '--data_dir=d', '--num_clicks=2', '--batch_size=1', '--preset=baseline', '--workdir=w',
  ]  # fmt: skip
  cache = {'TETRIS_CACHE': str(tmp_path / 'cache')}
  with started(command, tmp_path, **cache) as process:
    while 'compiling' not in (line := process.stderr.readline()):
      assert line, 'it ended'
    said = interrupted(process, signal.SIGTERM)
    assert said == (
      'interrupted: 0 of 9 instances are kept in w; the same command resumes the run\n'
    )
  with started(command, tmp_path, **cache) as process:
    while not len(list((tmp_path / 'w/results').glob('*.jsonl'))) >= 2:
      assert process.poll() is None
      time.sleep(0.002)
    said = interrupted(process, signal.SIGINT, times=2)
  last = said.splitlines()[-1]
  kept = re.fullmatch(
    r'interrupted: (\d) of 9 instances are kept in w; the same command resumes the run', last
  )
  assert kept and 'Traceback' not in said
  # One may have taken its place without having been counted.
  there = len(list((tmp_path / 'w/results').glob('[0-9]*.jsonl')))
  assert there - 1 <= int(kept[1]) <= there
