"""The first line: before anything heavy is imported, under the program's own name, on stderr."""

import os
import pathlib
import subprocess
import sys

import pytest

from experiments.lib import start

ROOT = pathlib.Path(start.__file__).parents[2]


@pytest.mark.parametrize(('argv', 'original', 'said'), [
  (['-m', '--limit=1'], ['python', '-m', 'experiments.attack', '--limit=1'], 'attack: starting\n'),
  (['-m'], ['python', '-X', 'utf8', '-mexperiments.users'], 'users: starting\n'),
  (['-m', '-h'], ['python', '-m', 'experiments.attack', '-h'], ''),
  (['-m', '--help'], ['python', '-m', 'experiments.attack', '--help'], ''),
  (['-m', 'attack'], ['python', '-m', 'experiments.lib.cli', 'attack'], ''),
  (['-m', 'x'], ['python', '-m', 'pytest', 'x'], ''),
  (['/p/experiments/attack.py'], ['python', '-m', 'experiments.attack'], ''),
  ([''], ['python'], ''),
  ([], [], ''),
])
def test_a_module_that_is_run_is_announced(argv, original, said, capsys, monkeypatch):
  installed = []
  monkeypatch.setattr(start.interrupts, 'install', lambda: installed.append(argv))
  start.announce(argv, original)
  assert capsys.readouterr() == ('', said)
  # Whoever imports the package for something else keeps its signals.
  ours = argv[:1] == ['-m'] and 'experiments.' in ' '.join(original)
  assert bool(installed) == ours


def test_the_console_command_ends_in_one_line_from_its_start(monkeypatch):
  installed = []
  monkeypatch.setattr(start.interrupts, 'install', lambda: installed.append(1))
  for path in ('/usr/bin/tetris-jax', 'tetris-jax', '/usr/bin/pytest'):
    start.announce([path, 'attack'], ['python', path, 'attack'])
  assert len(installed) == 2


PROBE = """
import sys

class Probe:
  def find_spec(self, name, path=None, target=None):
    if name in ('jax', 'numpy'):
      sys.stderr.flush()
      sys.exit(f'then {name}')

sys.meta_path.insert(0, Probe())
"""


@pytest.mark.parametrize('command', [
  ['-m', 'experiments.attack'],
  ['-c', 'from experiments.lib import cli; cli.main(["tetris-jax", "attack"])'],
])
def test_it_is_said_before_jax_is_imported(tmp_path, command):
  (tmp_path / 'sitecustomize.py').write_text(PROBE)
  done = subprocess.run(
    [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=False,
    env=os.environ | {'PYTHONPATH': f'{tmp_path}{os.pathsep}{ROOT}'},
  )  # fmt: skip
  assert done.stdout == '' and done.returncode == 1
  assert done.stderr.splitlines()[0] == 'attack: starting' and 'then ' in done.stderr
