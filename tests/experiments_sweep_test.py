"""Sweeps: what is asked for, and on clusters that are disturbed, the bytes of undisturbed runs."""

import os
import pathlib
import shutil
import subprocess
import sys

import compiling
import pytest
import toy

from experiments import sweep
from experiments.lib.settings import UsageError

TESTS = pathlib.Path(__file__).parent
SIZES = (40, 56), (48, 48), (64, 40), (40, 60), (50, 50), (44, 44)
# What a clock measured, or where it was.
APART = 'speed.json', 'report.html', 'report.md', 'config.json'


def environment(folder, **more):
  return os.environ | more | {
    'PYTHONPATH': os.pathsep.join([str(TESTS), str(TESTS.parent)]),
    'XLA_FLAGS': compiling.UNOPTIMISED,
    'JAX_PLATFORMS': 'cpu',
    'TETRIS_CACHE': str(folder / 'cache'),
  }


def run(folder, *command, **more):
  done = subprocess.run(
    [sys.executable, *command], cwd=TESTS.parent, env=environment(folder, **more),
    capture_output=True, text=True, check=False, timeout=900,
  )  # fmt: skip
  return done


def alone(folder, names):
  """The same runs one after another in a process each, and their report."""
  places = [folder / 'alone' / f'{name}-folder-tetris' for name in names]
  for name, place in zip(names, places, strict=True):
    done = run(
      folder, '-m', 'experiments.attack', '--plugins=sweep_models', f'--model={name}',
      '--dataset=folder', f'--data_dir={folder / "d"}', '--num_clicks=2', '--users=4',
      '--pictures=2', f'--workdir={place}',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
  report = folder / 'alone' / 'report'
  done = run(
    folder, '-m', 'experiments.report', f'--workdirs={",".join(map(str, places))}',
    f'--out={report}',
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  return folder / 'alone'


def tree(folder):
  return {
    str(path.relative_to(folder)): path.read_bytes()
    for path in sorted(folder.rglob('*'))
    if path.is_file() and path.name not in APART
  }


@pytest.mark.usefixtures('sweep_models')
def test_runs_are_every_model_on_every_data_set_with_every_preset():
  made = sweep.planned(sweep.Settings(
    models=('toy', 'toy_two'), datasets=('samples', 'folder=~/d'), presets=('tetris',),
    num_clicks=3, limit=2, workdir='w', plugins=('sweep_models',),
  ))  # fmt: skip
  assert [run.name for run in made] == [
    'toy-samples-tetris', 'toy-folder-tetris', 'toy_two-samples-tetris', 'toy_two-folder-tetris'
  ]
  asked = made[1].settings
  assert asked.data_dir == str(pathlib.Path.home() / 'd') and asked.plugins == ('sweep_models',)
  assert (asked.num_clicks, asked.limit, asked.users) == (3, 2, 64)


@pytest.mark.usefixtures('sweep_models')
@pytest.mark.parametrize(('changes', 'said'), [
  ({}, '--models names nothing'),
  ({'models': ('nobody',)}, '--model=nobody is unknown'),
  ({'presets': ('nothing',)}, '--preset=nothing: '),
  ({'seed': 1, 'users': 0}, 'draws nothing at random'),
])
def test_what_cannot_be_is_refused_before_anybody_is_hired(changes, said):
  asked = {'models': ('toy',), 'datasets': ('samples',), 'presets': ('tetris',), **changes}
  with pytest.raises(UsageError, match=said):
    sweep.planned(sweep.Settings(**(asked if changes else {})))


@pytest.mark.cluster
@pytest.mark.slow
def test_a_cluster_that_loses_a_node_and_its_driver_and_gains_a_node_changes_no_byte(tmp_path):
  toy.write_folder(tmp_path / 'd', SIZES)
  command = [sys.executable, str(TESTS / 'sweep_cluster.py'), str(tmp_path)]
  own = ['unshare', '-rn', 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh']
  apart = shutil.which('unshare') and shutil.which('ip') and subprocess.run(
    [*own, 'true'], check=False, capture_output=True
  ).returncode == 0  # fmt: skip
  done = subprocess.run(
    [*(own if apart else []), *command], cwd=TESTS.parent, capture_output=True, text=True,
    env=environment(tmp_path, SWEEP_SECONDS='0.5'), check=False, timeout=900,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  assert 'removed at' in done.stdout and 'killed at' in done.stdout and 'added at' in done.stdout
  assert 'resuming' in done.stdout and 'ended with 0' in done.stdout, done.stdout
  wanted = alone(tmp_path, ['toy', 'toy_two'])
  for part in ('report', 'toy-folder-tetris/figures'):
    assert tree(tmp_path / 'w' / part) == tree(wanted / part)
  for name in ('toy', 'toy_two'):
    place = pathlib.Path(f'{name}-folder-tetris')
    rows = [(top / place / 'rows.jsonl').read_bytes() for top in (tmp_path / 'w', wanted)]
    assert rows[0] == rows[1] and rows[0].count(b'"status": "ok"') == 6
  # One format: the program of one run has nothing left to do there, and changes nothing.
  before = tree(tmp_path / 'w' / 'toy-folder-tetris' / 'results')
  done = run(
    tmp_path, '-m', 'experiments.attack', '--plugins=sweep_models', '--model=toy',
    '--dataset=folder', f'--data_dir={tmp_path / "d"}', '--num_clicks=2', '--users=4',
    '--pictures=2', f'--workdir={tmp_path / "w" / "toy-folder-tetris"}',
  )  # fmt: skip
  assert done.returncode == 0 and '6 of 6 instances are done' in done.stderr, done.stderr
  assert tree(tmp_path / 'w' / 'toy-folder-tetris' / 'results') == before
