"""The launcher: files, exit states, resumption, and that a kill at any moment changes no byte."""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest
import toy
from report_comparison_page_test import held

from experiments import attack
from experiments.lib import attack_job, opening
from experiments.lib.settings import UsageError
from tetris_jax import data
from tetris_jax.runs import workdirs as results

SIZES = ((40, 56), (48, 48), (64, 40), (40, 60), (50, 50))


@pytest.fixture(autouse=True)
def toy_zoo(monkeypatch, tmp_path_factory):
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path_factory.getbasetemp() / 'cache'))
  monkeypatch.setattr(opening, 'zoo', toy)


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
  path = tmp_path_factory.mktemp('data') / 'd'
  toy.write_folder(path, SIZES)
  return path


def settings(data_dir, workdir, **changes):
  asked = {'num_clicks': 2, 'batch_size': 2, 'preset': 'baseline', 'users': 0} | changes
  return attack.Settings(
    model='toy', dataset='folder', data_dir=str(data_dir), workdir=str(workdir), **asked
  )


def rows_of(workdir):
  return results.read_rows(workdir / 'rows.jsonl')


def summary_of(workdir):
  return json.loads((workdir / 'summary.json').read_text())


def forbid_attacks(monkeypatch):
  def refuse(self, batch, say):
    raise AssertionError('a finished batch was attacked again')

  monkeypatch.setattr(attack_job.AttackJob, 'attack', refuse)


@pytest.mark.slow
def test_a_run_leaves_everything_that_it_promises(data_dir, tmp_path, capsys):
  assert attack.execute(settings(data_dir, tmp_path, preset='tetris', users=4)) == 0
  rows = rows_of(tmp_path)
  assert [row['instance'] for row in rows] == ['p0', 'p1', 'p2', 'p3', 'p4']
  assert [tuple(row['size']) for row in rows] == list(SIZES)
  for row in rows:
    assert row['status'] == 'ok'
    first = [row['iou'][mode][0] for mode in ('min', 'base', 'max')]
    assert first == sorted(first)
    for mode in ('min', 'base', 'max'):
      assert len(row['iou'][mode]) == len(row['biou'][mode]) == len(row['clicks'][mode]) == 2
      for y, x, label in row['clicks'][mode]:
        assert np.isfinite([y, x]).all()
        assert label in (0, 1)
    assert row['forward'] >= row['backward'] > 0
    assert (row['users']['prior'], row['users']['count']) == ('distance', 4)
  summary = summary_of(tmp_path)
  assert (summary['n_ok'], summary['n_failed'], summary['n_skipped']) == (5, 0, 0)
  assert summary['d']['n'] == 5
  assert summary['d']['value'] == pytest.approx(
    summary['iou_auc']['max'] - summary['iou_auc']['min'], abs=2e-6
  )
  assert summary['evaluations_per_second'] > 0
  config = json.loads((tmp_path / 'config.json').read_text())
  assert config['flags']['num_clicks'] == config['preset']['num_clicks'] == 2
  assert config['users'] == {'prior': 'distance', 'count': 4}
  assert summary['users']['n'] == 5 and summary['users']['forward'] == 5 * 4 * 2
  assert config['model'] == {
    'name': 'toy', 'threshold': 0.5, 'step_diagonal': 'image', 'sha256': {'toy': 'none'},
  }  # fmt: skip
  figures = sorted(file.name for file in (tmp_path / 'figures').iterdir())
  assert figures == [f'0000{k}_p{k}.png' for k in range(5)] + ['curves.png']
  assert '(figures/00003_p3.png)' in (tmp_path / 'report.md').read_text()
  said = capsys.readouterr().out
  assert 'D ' in said and said.splitlines()[-1] == str(tmp_path / 'report.html')
  (shown,) = held((tmp_path / 'report.html').read_text())['runs']
  assert shown['d']['value'] == summary['d']['value'] and len(shown['pictures']) == len(figures) - 1


@pytest.mark.slow
def test_a_finished_run_is_not_done_again(data_dir, tmp_path, monkeypatch, capsys):
  assert attack.execute(settings(data_dir, tmp_path)) == 0
  before = (tmp_path / 'rows.jsonl').read_bytes()
  forbid_attacks(monkeypatch)
  assert attack.execute(settings(data_dir, tmp_path)) == 0
  assert (tmp_path / 'rows.jsonl').read_bytes() == before
  assert 'resuming' in capsys.readouterr().err


@pytest.mark.slow
def test_a_damaged_shard_is_reported_and_its_batch_alone_redone(
  data_dir, tmp_path, monkeypatch, capsys
):
  assert attack.execute(settings(data_dir, tmp_path)) == 0
  before = (tmp_path / 'rows.jsonl').read_bytes()
  shard = tmp_path / 'results' / '00001.jsonl'
  shard.write_bytes(shard.read_bytes()[:-100])
  attacked = []
  original = attack_job.AttackJob.attack
  monkeypatch.setattr(
    attack_job.AttackJob,
    'attack',
    lambda self, b, say: (attacked.append(b.id), original(self, b, say))[1],
  )
  assert attack.execute(settings(data_dir, tmp_path)) == 0
  assert len(attacked) == 1
  assert '00001.jsonl: truncated or altered' in capsys.readouterr().err
  assert (tmp_path / 'rows.jsonl').read_bytes() == before


@pytest.mark.slow
def test_lost_pictures_and_a_lost_configuration_cost_no_search(
  data_dir, tmp_path, monkeypatch, capsys
):
  work = tmp_path / 'w'
  assert attack.execute(settings(data_dir, work)) == 0
  whole = {file: file.read_bytes() for file in work.rglob('*') if file.suffix in ('.png', '.jsonl')}
  whole = {file: data for file, data in whole.items() if file.parent.name != 'results'}
  lost, cut, link = (work / f'figures/0000{k}_p{k}.png' for k in (0, 2, 3))
  lost.unlink()
  cut.write_bytes(whole[cut][:100])
  link.rename(tmp_path / 'mine.png')
  link.symlink_to(tmp_path / 'mine.png')
  (work / 'figures/curves.png').unlink()
  (work / 'config.json').unlink()
  forbid_attacks(monkeypatch)
  capsys.readouterr()
  assert attack.execute(settings(data_dir, work)) == 0
  said = capsys.readouterr().err.splitlines()
  said = [line for line in said if not line.startswith(('compiling', 'memory'))]
  assert said[:3] == [
    f'resuming {work}: 2 of 5 instances are done; again: 3 whose map or picture is missing or '
    'damaged',
    f'{work} has no config.json: it is written again, for 3 finished batches in results/ say that '
    'they are of this run',
    f'{lost} is missing; it is made again',
  ]
  assert {file: file.read_bytes() for file in whole} == whole
  assert not link.is_symlink() and (tmp_path / 'mine.png').read_bytes() == whole[link]


def test_baseline_has_only_base(data_dir, tmp_path):
  assert attack.execute(settings(data_dir, tmp_path, limit=2)) == 0
  assert [row['instance'] for row in rows_of(tmp_path)] == ['p0', 'p1']
  assert all(row['iou']['min'] is row['clicks']['max'] is None for row in rows_of(tmp_path))
  assert summary_of(tmp_path)['d'] == {'value': None, 'low': None, 'high': None, 'n': 0}
  assert summary_of(tmp_path)['per_click']['max'] is None


@pytest.mark.slow
def test_a_model_that_does_not_listen_is_warned_of(data_dir, tmp_path, monkeypatch, capsys):
  def deaf(name, weights=None):
    made = original(name, weights)
    return dataclasses.replace(
      made, decode=lambda params, context, clicks: (context[0] - 0.4, context[1])
    )

  original = toy.segmenter
  monkeypatch.setattr(toy, 'segmenter', deaf)
  for preset, words in (('tetris', 'gradient at the robot'), ('strong_v1_16', 'one point')):
    workdir = tmp_path / preset
    asked = settings(data_dir, workdir, preset=preset, num_clicks=1, limit=2)
    assert attack.execute(asked) == 0
    assert summary_of(workdir)['n_warned'] == 2
    assert all(words in ' '.join(row['warnings']) for row in rows_of(workdir))
    assert words in (workdir / 'report.md').read_text()
    assert '2 with a warning' in capsys.readouterr().out


@pytest.mark.slow
def test_beams_are_asked_for_by_a_flag_and_named(data_dir, tmp_path):
  found = {}
  for count in (1, 2):
    workdir = tmp_path / str(count)
    asked = settings(data_dir, workdir, preset='strong_v1_16', num_beams=count, limit=2)
    assert attack.execute(asked) == 0
    found[count] = summary_of(workdir)
  assert [one['preset'] for one in found.values()] == ['strong_v1_16', 'strong_v1_16_beams_2']
  assert found[2]['forward'] > found[1]['forward']
  assert found[2]['d']['value'] >= found[1]['d']['value']


def test_an_instance_that_raises_becomes_a_failed_row_and_is_tried_again(
  data_dir, tmp_path, monkeypatch, capsys
):
  original = attack_job.AttackJob.attack
  calls, bad = [], data.instance_id('p3')

  def one_fails(self, batch, say):
    calls.append(batch)
    if bad in batch.id:
      raise RuntimeError('odd\nmore')
    return original(self, batch, say)

  monkeypatch.setattr(attack_job.AttackJob, 'attack', one_fails)
  assert attack.execute(settings(data_dir, tmp_path)) == 3
  before = rows_of(tmp_path)
  failed = [row for row in before if row['status'] == 'failed']
  assert [row['instance'] for row in failed] == ['p3']
  assert failed[0]['reason'] == 'RuntimeError: odd'
  assert failed[0]['size'] == list(SIZES[3])
  assert summary_of(tmp_path)['n_ok'] == summary_of(tmp_path)['estimates']['iou_auc']['base']['n']
  assert 'Traceback' in capsys.readouterr().err

  # Three batches, and both instances of one of them alone.
  assert len(calls) == 5
  bad = 0
  assert attack.execute(settings(data_dir, tmp_path)) == 0
  assert len(calls) == 6
  after = rows_of(tmp_path)
  assert all(row['status'] == 'ok' for row in after)
  assert [after[k] for k in (0, 1, 2, 4)] == [before[k] for k in (0, 1, 2, 4)]


def test_a_run_without_any_number_fails_and_still_ends_in_rows(
  data_dir, tmp_path, monkeypatch, capsys
):
  forbid_attacks(monkeypatch)
  assert attack.execute(settings(data_dir, tmp_path)) == 3
  assert len(rows_of(tmp_path)) == 5
  assert summary_of(tmp_path)['n_failed'] == 5
  assert 'no instance was measured' in capsys.readouterr().err


@pytest.mark.slow
def test_a_violated_order_and_a_nan_are_failed_rows(data_dir, tmp_path, monkeypatch):
  original = attack_job.AttackJob.attack

  def spoil(self, batch, say):
    found = original(self, batch, say)
    iou = np.array(found.iou)
    iou[0, 1, 0] = 1.0  # MIN above BASE at click 1.
    iou[1, 0, 1] = np.nan
    return found._replace(iou=iou)

  monkeypatch.setattr(attack_job.AttackJob, 'attack', spoil)
  assert attack.execute(settings(data_dir, tmp_path, preset='tetris', limit=2)) == 3
  first, second = rows_of(tmp_path)
  assert 'MIN <= BASE <= MAX' in first['reason']
  assert 'not a finite number' in second['reason']


def test_bad_instances_are_rows_with_reasons(tmp_path):
  from PIL import Image

  toy.write_folder(tmp_path / 'd', ((40, 56), (40, 56), (40, 56), (40, 56)))
  picture = tmp_path / 'd' / 'images' / 'p0.png'
  picture.write_bytes(picture.read_bytes()[:-50])
  (tmp_path / 'd' / 'images' / 'p1.png').write_bytes(b'no picture')
  Image.new('L', (56, 40)).save(tmp_path / 'd' / 'masks' / 'p2.png')
  assert attack.execute(settings(tmp_path / 'd', tmp_path / 'run')) == 3
  rows = rows_of(tmp_path / 'run')
  assert [row['status'] for row in rows] == ['failed', 'failed', 'skipped', 'ok']
  for row in rows[:3]:
    assert row['instance'] in row['reason']
  assert summary_of(tmp_path / 'run')['n_ok'] == 1


def test_pictures_are_drawn_as_asked(data_dir, tmp_path):
  assert attack.execute(settings(data_dir, tmp_path / 'a', pictures=0)) == 0
  assert [file.name for file in (tmp_path / 'a' / 'figures').iterdir()] == ['curves.png']
  assert attack.execute(settings(data_dir, tmp_path / 'b', pictures=3)) == 0
  assert len(list((tmp_path / 'b' / 'figures').iterdir())) == 4


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'num_clicks': 0}, '--num_clicks=0: expected at least 1'),
    ({'batch_size': -1}, '--batch_size=-1: expected at least 0'),
    ({'limit': -1}, '--limit=-1: expected at least 0'),
    ({'seed': -1}, '--seed=-1: expected 0 to'),
    ({'num_beams': 0}, '--num_beams=0: expected at least 1'),
    ({'num_beams': 2, 'preset': 'tetris'}, '--num_beams=2: tetris carries no beams'),
    ({'pictures': -2}, '--pictures=-2: expected at least -1'),
    ({'model': 'nothing'}, '--model=nothing is unknown; known models: toy'),
    ({'dataset': 'nothing'}, 'dataset=nothing is unknown; known data sets: berkeley, coco'),
    ({'preset': 'nothing'}, '--preset=nothing: .*baseline'),
    ({'data_dir': None}, 'dataset=folder needs data_dir'),
    ({'data_dir': '/nowhere'}, 'data_dir=/nowhere does not exist'),
    ({'objects': 'all'}, '--objects'),
    ({'ignore_id': 3}, '--ignore_id'),
    ({'data_options': ('split=val',)}, 'data_options=split=val: dataset=folder has no option'),
    ({'data_options': ('objects=all',)}, "--data_options: objects='all'"),
    ({'dataset': 'sbd'}, 'has no folder img and no folder inst and no file val.txt'),
  ],
)
def test_flags_are_checked_before_anything_is_written(data_dir, tmp_path, changes, message):
  asked = {'model': 'toy', 'dataset': 'folder', 'data_dir': str(data_dir)} | changes
  with pytest.raises(UsageError, match=message):
    attack.execute(attack.Settings(workdir=str(tmp_path / 'run'), **asked))
  assert not (tmp_path / 'run').exists()


def test_a_known_data_set_takes_options_and_says_what_is_odd(tmp_path, monkeypatch, capsys):
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path / 'cache'))
  toy.write_folder(tmp_path / 'd', SIZES[:2])
  asked = attack.Settings(
    dataset='tetris', data_dir=str(tmp_path / 'd'), data_options=('long_side=48',), limit=1
  )
  dataset = opening.open_dataset(asked)
  assert dataset.names == ('p0#255',) and dataset.size(0) == (34, 48)
  assert 'note: TETRIS was published with 2000 pictures' in capsys.readouterr().err


def test_another_configuration_is_refused_by_the_name_of_its_flags(data_dir, tmp_path):
  attack.execute(settings(data_dir, tmp_path, limit=1))
  with pytest.raises(results.WorkdirError) as error:
    attack.execute(settings(data_dir, tmp_path, limit=2, num_clicks=3))
  assert '\n  limit: 1 there, 2 now' in str(error.value)
  assert '\n  num_clicks: 2 there, 3 now' in str(error.value)
  assert 'batch_size' not in str(error.value)


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv.pop(1))
stop = sys.argv.pop(1)
import toy
from report_comparison_page_test import held
from experiments import attack
from experiments.lib import opening
opening.zoo = toy
replace = os.replace
def replace_or_die(source, target):
  if stop != 'never' and str(target).endswith(stop):
    os.kill(os.getpid(), 9)
  replace(source, target)
os.replace = replace_or_die
sys.exit(attack.main())
"""


def launch(data_dir, workdir, stop='never', more=()):
  tests = pathlib.Path(__file__).parent
  command = [sys.executable, '-c', KILLED, str(tests), stop]
  command += ['--model=toy', '--dataset=folder', f'--data_dir={data_dir}', f'--workdir={workdir}']
  command += ['--num_clicks=2', '--batch_size=2', '--preset=tetris', *more]
  return subprocess.run(
    command, cwd=tests.parent, env=os.environ.copy(), capture_output=True, text=True, check=False
  )


@pytest.mark.slow
def test_kills_at_any_moment_change_no_byte(data_dir, tmp_path):
  calm, disturbed = tmp_path / 'calm', tmp_path / 'disturbed'
  done = launch(data_dir, calm)
  assert done.returncode == 0, done.stderr
  # Each launch dies just before the file named takes its place, and the next one goes on.
  shards = []
  for stop in ('config.json', '00001_p1.png', '00001.jsonl', 'rows.jsonl', 'summary.json'):
    killed = launch(data_dir, disturbed, stop)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (disturbed / 'summary.json').exists()
    shards.append(len(list((disturbed / 'results').glob('*.jsonl'))))
  assert shards == [0, 0, 1, 3, 3]
  done = launch(data_dir, disturbed)
  assert done.returncode == 0, done.stderr
  assert 'resuming' in done.stderr
  assert (disturbed / 'rows.jsonl').read_bytes() == (calm / 'rows.jsonl').read_bytes()
  assert not list(disturbed.rglob('*.tmp'))
  for file in (calm / 'figures').iterdir():
    assert (disturbed / 'figures' / file.name).read_bytes() == file.read_bytes()


def test_the_command_says_what_is_wrong_and_exits_with_2(tmp_path):
  (tmp_path / 'file').write_text('')
  toy.write_folder(tmp_path / 'd', ((40, 56),))
  done = launch(tmp_path / 'd', tmp_path / 'file')
  assert done.returncode == 2
  assert done.stderr.strip().splitlines()[-1].startswith('error: workdir')
  assert 'Traceback' not in done.stderr


def test_what_cannot_be_drawn_costs_no_row(data_dir, tmp_path, monkeypatch, capsys):
  def refuse(*args):
    raise MemoryError('too large')

  monkeypatch.setattr(attack_job.overlay, 'draw', refuse)
  assert attack.execute(settings(data_dir, tmp_path, limit=2)) == 0
  assert [row['status'] for row in rows_of(tmp_path)] == ['ok', 'ok']
  assert "'p0' was not drawn: MemoryError: too large" in capsys.readouterr().err


def test_a_name_of_several_lines_is_drawn(tmp_path):
  toy.write_folder(tmp_path / 'd', ((40, 56),))
  for folder in ('images', 'masks'):
    (tmp_path / 'd' / folder / 'p0.png').rename(tmp_path / 'd' / folder / 'p\n0.png')
  assert attack.execute(settings(tmp_path / 'd', tmp_path / 'run')) == 0
  assert [path.name for path in (tmp_path / 'run' / 'figures').glob('0*')] == ['00000_p_0.png']


def test_a_missing_drawing_package_is_said_before_any_work(data_dir, tmp_path, monkeypatch):
  find = opening.importlib.util.find_spec
  monkeypatch.setattr(
    opening.importlib.util, 'find_spec', lambda name: None if name == 'matplotlib' else find(name)
  )
  with pytest.raises(UsageError, match=r'matplotlib: pip install .tetris_jax\[demo\]'):
    attack.execute(settings(data_dir, tmp_path / 'run'))
  assert not (tmp_path / 'run').exists()
