"""The benchmark on a toy: it counts what it says, and refuses what it cannot time."""

import json
import pathlib
import subprocess
import sys

import pytest
import toy

from experiments import bench
from experiments.lib import opening
from experiments.lib.settings import UsageError
from experiments.sweeps import strain


@pytest.fixture
def toy_zoo(monkeypatch):
  monkeypatch.setattr(opening, 'zoo', toy)


def asked(folder=None, **changes):
  place = {'dataset': 'folder', 'data_dir': str(folder)} if folder else {}
  few = {'model': 'toy', 'num_clicks': 1, 'batch_sizes': ('1',), 'repeats': 1}
  return bench.Settings(**few | place | changes)


@pytest.mark.parametrize(('changes', 'said'), [
  ({'batch_sizes': ('a',)}, '--batch_sizes=a: expected whole numbers'),
  ({'batch_sizes': ('1', '0')}, '--batch_sizes=1,0'),
  ({'batch_sizes': ()}, '--batch_sizes='),
  ({'repeats': 0}, '--repeats=0: expected at least 1'),
  ({'repeats': 0, 'suite': 'renderer'}, '--repeats=0'),
  ({'suite': 'all'}, '--suite=all: expected one of attack, renderer, device, '
   'sweep'),
  ({'preset': 'best'}, 'unknown preset'),
  ({'model': 'none'}, '--model=none is unknown'),
])
def test_what_cannot_be_timed_is_said_at_once(toy_zoo, changes, said):
  with pytest.raises(UsageError, match=said):
    bench.measure(asked(**changes))


def test_neither_an_empty_data_set_nor_a_missing_folder_is_timed(toy_zoo, tmp_path):
  toy.write_folder(tmp_path / 'bad', ((40, 56),))
  (tmp_path / 'bad' / 'images' / 'p0.png').write_bytes(b'')
  with pytest.raises(UsageError, match='no instance can be read'):
    bench.measure(asked(tmp_path / 'bad'))
  toy.write_folder(tmp_path / 'good', ((40, 56),))
  for what in ('attack', 'renderer'):
    with pytest.raises(UsageError, match=r'where\.json: No such file'):
      bench.measure(asked(tmp_path / 'good', suite=what, out=str(tmp_path / 'no' / 'where.json')))


def test_what_is_printed_is_written(toy_zoo, tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(bench.rates, 'measure', lambda *args: {'batch': len(args[2].size)})
  toy.write_folder(tmp_path / 'd', ((40, 56),))
  out = tmp_path / 'rates.json'
  assert bench.execute(asked(tmp_path / 'd', batch_sizes=('1', '2'), out=str(out))) == 0
  found = json.loads(capsys.readouterr().out)
  assert found == json.loads(out.read_text())
  assert (found['model'], found['preset'], found['num_clicks']) == ('toy', 'tetris', 1)
  assert found['results'] == [{'batch': 1}, {'batch': 2}]
  monkeypatch.setattr(bench.rates, 'measure', lambda *args: {'failed': 'too much'})
  assert bench.execute(asked(tmp_path / 'd', batch_sizes=('1', '2'))) == 3
  assert 'failed: too much' in capsys.readouterr().err


def test_a_sweep_is_measured_with_what_is_asked_for(toy_zoo, tmp_path, monkeypatch, capsys):
  given = []
  measured = lambda *args: given.append(args) or {'share': 0.5}
  monkeypatch.setattr(strain, 'measure', measured)
  monkeypatch.setattr(strain, 'table', lambda found: f'{found["share"]}\n')
  out = tmp_path / 'sweep.json'
  assert bench.execute(asked(suite='sweep', workers=3, rows=7, out=str(out))) == 0
  ((settings, workers, rows),) = given
  assert (settings.model, settings.num_clicks, settings.users) == ('toy', 1, 0)
  assert (workers, rows) == (3, 7) and capsys.readouterr().out == '0.5\n'
  assert json.loads(out.read_text()) == {'suite': 'sweep', 'share': 0.5}


def test_the_command_refuses_with_status_2():
  done = subprocess.run(
    [sys.executable, '-m', 'experiments.bench', '--batch_sizes=x'],
    capture_output=True, text=True, check=False, cwd=pathlib.Path(__file__).parents[1],
  )
  assert done.returncode == 2 and done.stderr == (
    'bench: starting\nerror: --batch_sizes=x: expected whole numbers of at least 1, or '
    'auto\n'
  )
