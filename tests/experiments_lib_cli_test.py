"""The console command, from a folder of its own: what it lists, refuses and runs."""

import importlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tomllib

import pytest
import toy

from experiments.lib import cli, opening
from ports import zoo
from tetris_jax import data, presets

ROOT = pathlib.Path(cli.__file__).parents[2]


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path, tmp_path_factory):
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path_factory.getbasetemp() / 'cache'))
  monkeypatch.setattr(sys, 'path', [*sys.path])
  monkeypatch.chdir(tmp_path)
  return tmp_path


def command(*given):
  return cli.main(['tetris-jax', *given])


def test_the_command_is_installed_under_its_name():
  scripts = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']['scripts']
  module, _, name = scripts['tetris-jax'].partition(':')
  assert getattr(importlib.import_module(module), name) is cli.main


LISTING = """
import sys
from experiments.lib import cli
status = cli.main()
heavy = {'jax', 'numpy', 'absl', 'tetris_jax', 'ports'} & set(sys.modules)
sys.exit(f'imported {heavy}' if heavy else status)
"""


@pytest.mark.parametrize('given', [(), ('--help',)])
def test_it_lists_its_programs_without_importing_them(folder, given):
  done = subprocess.run(
    [sys.executable, '-c', LISTING, *given], cwd=folder, capture_output=True, text=True,
    env=os.environ | {'PYTHONPATH': str(ROOT)}, check=False,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  for program in cli.PROGRAMS:
    assert f'  {program} ' in done.stdout and cli.summary(program) in done.stdout
    assert 20 < len(cli.summary(program)) <= 100


@pytest.mark.parametrize(('name', 'hint'), [
  ('atack', 'did you mean attack?'), ('heat', 'did you mean heatmap?'),
  ('xyz', 'there are attack, heatmap, users'),
])
def test_an_unknown_program_ends_with_2_and_a_suggestion(name, hint, capsys):
  assert command(name) == 2
  said = capsys.readouterr().err
  assert said.startswith(f'error: unknown program {name!r}; {hint}') and said.count('\n') == 1


@pytest.mark.parametrize('program', cli.PROGRAMS)
def test_a_program_shows_its_docstring_and_what_its_names_may_be(program, capsys):
  assert command(program, '--help') == 0
  said = capsys.readouterr().out
  module = importlib.import_module(f'experiments.{program}')
  assert said.startswith(module.__doc__) and f'python -m experiments.{program}' in said
  # Names may have a dot within.
  words = set(re.findall(r'\w+(?:\.\w+)*', said[len(module.__doc__) :]))
  own = module.Settings.__dataclass_fields__
  for flag, names in (('model', zoo.MODELS), ('preset', presets.PRESETS)):
    assert set(names) <= words or flag not in own
  if 'dataset' in own:
    assert set(data.BENCHMARKS if program == 'prepare' else data.DATASETS) <= words


@pytest.mark.parametrize('program', cli.PROGRAMS)
def test_a_wrong_flag_ends_with_2(program, folder, capsys):
  assert command(program, '--colour=red') == 2
  said = capsys.readouterr().err
  assert said.startswith(f"{program}: starting\nerror: Unknown command line flag 'colour'")
  assert not list(folder.iterdir())


@pytest.mark.slow
def test_runs_lie_where_the_caller_is(folder, monkeypatch, capsys):
  monkeypatch.setattr(opening, 'zoo', toy)
  toy.write_folder(folder / 'd', ((40, 56), (48, 48)))
  (folder / 'cli_plugin.py').write_text('LOADED = True\n')
  what = ['--model=toy', '--dataset=folder', '--data_dir=d']
  few = ['--num_clicks=1', '--batch_size=2', '--pictures=0', '--plugins=cli_plugin']
  assert command('attack', *what, *few, '--workdir=runs/a') == 0
  assert json.loads((folder / 'runs/a/config.json').read_text())['flags']['plugins'] == [
    'cli_plugin'
  ]
  assert sys.modules.pop('cli_plugin').LOADED
  # A folder may come from anybody, so a replay imports the plugins that it is told to.
  assert command('replay', '--workdir=runs/a') == 2
  assert 'where you trust them, give --plugins=cli_plugin here too' in capsys.readouterr().err
  assert 'cli_plugin' not in sys.modules
  assert command('replay', '--workdir=runs/a', '--plugins=cli_plugin') == 0
  # Two instances, IoU and boundary IoU, three modes, one click.
  assert '12 numbers compared, 0 differ' in capsys.readouterr().out
  assert sys.modules.pop('cli_plugin').LOADED
  assert command('report', '--workdirs=runs/a', '--out=page') == 0
  assert (folder / 'page' / 'report.html').exists()
  asked = ['--num_clicks=1', '--num_users=2', '--priors=uniform', '--groups=none']
  assert command('users', *what, *asked, '--workdir=u') == 0
  assert command('users', '--compare=u', '--workdir=users') == 0
  assert (folder / 'users' / 'report.md').exists()
  maps = ['--preset=strong_v1_16', '--stride=8', '--limit=1']
  assert command('heatmap', *what, *maps, '--workdir=m') == 0
  assert (folder / 'm' / 'shares.md').exists()
  assert command('bench', *what, '--out=no/where.json') == 2
  assert 'where.json: No such file' in capsys.readouterr().err
