"""Shards and their merging: the same bytes as one run, and everything that does not merge."""

import csv
import io
import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import experiments_attack_test as killable
import pytest
import toy

from experiments import attack, report
from experiments.lib import opening
from experiments.lib.settings import UsageError
from tetris_jax.runs import workdirs as results

pytestmark = pytest.mark.slow

SIZES = ((40, 56), (48, 48), (140, 40), (40, 60), (50, 50), (150, 30), (44, 44))


@pytest.fixture(autouse=True)
def toy_zoo(monkeypatch, tmp_path_factory):
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path_factory.getbasetemp() / 'cache'))
  monkeypatch.setattr(opening, 'zoo', toy)


def launch(data_dir, workdir, **changes):
  asked = {'num_clicks': 2, 'batch_size': 2, 'preset': 'tetris', 'pictures': 2, 'model': 'toy'}
  asked['users'] = 4
  asked |= {'dataset': 'folder', 'data_dir': str(data_dir), 'workdir': str(workdir)} | changes
  return attack.execute(attack.Settings(**asked))


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  """A data set with a damaged picture, one run of it, and the same in three shards."""
  patch = pytest.MonkeyPatch()
  patch.setenv('TETRIS_CACHE', str(tmp_path_factory.getbasetemp() / 'cache'))
  patch.setattr(opening, 'zoo', toy)
  root = tmp_path_factory.mktemp('sharded')
  toy.write_folder(root / 'dev', SIZES)
  (root / 'dev' / 'images' / 'p6.png').write_bytes(b'no picture')
  assert launch(root / 'dev', root / 'whole') == 3
  status = [
    launch(root / 'dev', root / 'cut', shard_id=number, num_shards=3) for number in (2, 0, 1)
  ]
  assert sorted(status) == [0, 0, 3]  # The damaged one is in the first.
  patch.undo()
  return root


def copy(made, tmp_path):
  for name in ('cut', 'whole'):
    shutil.copytree(made / name, tmp_path / name)
  return sorted((tmp_path / 'cut').iterdir())


def refused(workdirs, tmp_path):
  with pytest.raises(results.WorkdirError) as error:
    report.report([str(workdir) for workdir in workdirs], tmp_path / 'out', 3)
  assert not (tmp_path / 'out').exists()
  return str(error.value)


def test_merged_shards_equal_one_run_byte_for_byte(made, tmp_path):
  report.report([str(made / 'cut')], tmp_path / 'out', 3)
  for name in ('rows.jsonl', 'instances.json'):
    assert (tmp_path / 'out' / name).read_bytes() == (made / 'whole' / name).read_bytes()
  merged, speed, whole = (
    json.loads(path.read_text())
    for path in (
      tmp_path / 'out' / 'summary.json',
      tmp_path / 'out' / 'speed.json',
      made / 'whole' / 'summary.json',
    )
  )
  assert merged | {key: whole[key] for key in speed} == whole
  assert all(value > 0 for value in speed.values())
  assert whole['n_ok'] == 6 and whole['n_failed'] == 1
  config = json.loads((tmp_path / 'out' / 'config.json').read_text())
  assert config == json.loads((made / 'whole' / 'config.json').read_text())


def test_reports_on_shards_and_on_one_run_differ_in_speed_alone(made, tmp_path):
  for name in ('cut', 'whole'):
    report.report([str(made / name)], tmp_path / name, 3)
  cut, whole = (
    {
      path.relative_to(tmp_path / name).as_posix(): path.read_bytes()
      for path in sorted((tmp_path / name).rglob('*'))
      if path.is_file()
    }
    for name in ('cut', 'whole')
  )
  assert cut.keys() == whole.keys()
  assert {name for name in cut if cut[name] != whole[name]} <= {'speed.json', 'report.html'}
  assert {'summary.json', 'report.md', 'comparison.tex', 'figures/curves.png'} <= cut.keys()
  pages = [re.sub(rb'"[\d.]+ evaluations/s', b'"', made['report.html']) for made in (cut, whole)]
  assert pages[0] == pages[1] != cut['report.html']


def test_shards_hold_whole_batches_of_the_common_plan(made):
  names = []
  for shard in sorted((made / 'cut').iterdir()):
    rows = results.read_rows(shard / 'rows.jsonl')
    names.append([row['instance'] for row in rows])
    kept = {file.name for file in (shard / 'results').iterdir()}
    whole = {file.name: file for file in (made / 'whole' / 'results').iterdir()}
    for name in kept:
      ours, theirs = (
        [line for line in path.read_text().splitlines() if '"instance"' in line]
        for path in (shard / 'results' / name, whole[name])
      )
      assert ours == theirs
  assert sorted(name for shard in names for name in shard) == [f'p{k}' for k in range(7)]
  assert all(2 <= len(shard) <= 3 for shard in names)


def test_a_merged_run_can_be_merged_again_and_beside_others(made, tmp_path):
  report.report([str(made / 'cut')], tmp_path / 'one', 3)
  launch(made / 'dev', tmp_path / 'baseline', preset='baseline')
  report.report([str(tmp_path / 'one'), str(tmp_path / 'base*')], tmp_path / 'both', 3)
  for name in ('toy-dev-tetris', 'toy-dev-baseline'):
    assert (tmp_path / 'both' / name / 'summary.json').exists()
  rows = (tmp_path / 'both' / 'toy-dev-tetris' / 'rows.jsonl').read_bytes()
  assert rows == (made / 'whole' / 'rows.jsonl').read_bytes()
  lines = list(csv.DictReader(io.StringIO((tmp_path / 'both' / 'comparison.csv').read_text())))
  assert [line['preset'] for line in lines] == ['baseline', 'tetris']
  assert lines[0]['d'] == '' and float(lines[1]['d']) > 0
  assert lines[0]['iou_auc_base'] == lines[1]['iou_auc_base']


def test_pictures_are_found_where_the_shards_drew_them(made, tmp_path):
  report.report([str(made / 'cut')], tmp_path / 'out', 3)
  text = (tmp_path / 'out' / 'report.md').read_text()
  for name in ('00000_p0.png', '00001_p1.png'):
    link = next(part for part in text.split('](')[1:] if name in part).partition(')')[0]
    assert (tmp_path / 'out' / link).is_file()
  page = (tmp_path / 'out' / 'report.html').read_text()
  assert page.count('data:image/jpeg;base64,') == 2


def test_a_gap_and_a_double_are_refused_by_name(made, tmp_path):
  first, second, third = copy(made, tmp_path)
  assert refused([first, third], tmp_path).startswith('toy-dev-tetris: shard 1 of 3 missing')
  shutil.copytree(second, tmp_path / 'again')
  message = refused([tmp_path / 'cut', tmp_path / 'again'], tmp_path)
  assert message == f'shard 1 of 3 is in both {second} and {tmp_path / "again"}'
  shutil.copytree(tmp_path / 'whole', tmp_path / 'other')
  message = refused([tmp_path / 'whole', tmp_path / 'other'], tmp_path)
  assert message.startswith('the whole run is in both')
  message = refused([first, tmp_path / 'cut'], tmp_path)
  assert message == f'--workdirs names {first} twice'


def test_lost_and_foreign_rows_are_refused_by_name(made, tmp_path):
  first, second, _ = copy(made, tmp_path)
  lines = (first / 'rows.jsonl').read_bytes().splitlines(keepends=True)
  name = json.loads(lines[0])['instance']
  (first / 'rows.jsonl').write_bytes(b''.join(lines[1:]))
  assert refused([tmp_path / 'cut'], tmp_path).startswith(f'{name} has no row in {first}')
  (first / 'rows.jsonl').write_bytes(b''.join(lines))
  with open(second / 'rows.jsonl', 'ab') as file:
    file.write(lines[0])
  assert refused([tmp_path / 'cut'], tmp_path) == (
    f'{name} has a row in {first} and one in {second}'
  )
  zebra = json.dumps(json.loads(lines[0]) | {'instance': 'zebra'})
  (second / 'rows.jsonl').write_text(f'{zebra}\n')
  assert 'has no row in' in refused([tmp_path / 'cut'], tmp_path)


def test_mixed_configurations_are_refused_by_the_names_of_flags(made, tmp_path):
  first, second, third = copy(made, tmp_path)
  config = json.loads((second / 'config.json').read_text())
  config['flags']['seed'] = 7
  config['versions']['jaxlib'] = '0.0.1'
  config['flags']['data_dir'] = '/elsewhere/dev'  # As on another machine; not compared.
  (second / 'config.json').write_text(json.dumps(config))
  message = refused([tmp_path / 'cut'], tmp_path)
  assert f'{first} and {second} are of different configurations' in message
  assert '\n  seed: None there, 7 now' in message
  assert "versions.jaxlib: " in message and "'0.0.1' now" in message
  assert 'data_dir' not in message and 'shard.' not in message
  assert 'shard.count: 3 there, 1 now' in refused([first, third, tmp_path / 'whole'], tmp_path)


def test_one_name_of_two_attacks_is_refused(made, tmp_path):
  copy(made, tmp_path)
  other = tmp_path / 'other'
  shutil.copytree(tmp_path / 'whole', other)
  config = json.loads((other / 'config.json').read_text())
  config['flags']['data_dir'] = '/elsewhere/other'
  config['preset']['search']['num_steps'] = 7
  (other / 'config.json').write_text(json.dumps(config))
  message = refused([tmp_path / 'whole', other], tmp_path)
  assert 'mean different attacks by' in message
  assert 'search.num_steps: 11 there, 7 now' in message


def test_what_is_no_finished_work_folder_is_refused(made, tmp_path):
  first, second, _ = copy(made, tmp_path)
  assert 'is no work folder and holds no shards' in refused([tmp_path / 'nowhere'], tmp_path)
  assert 'is no work folder and holds no shards' in refused([tmp_path / 'no*'], tmp_path)
  (second / 'summary.json').unlink()
  assert refused([tmp_path / 'cut'], tmp_path).startswith(f'{second} has not finished')
  (second / 'summary.json').write_text('{')
  assert 'is damaged: summary.json: it ends early' in refused([tmp_path / 'cut'], tmp_path)
  held = json.loads((first / 'instances.json').read_text())
  held['instances'].reverse()
  (first / 'instances.json').write_text(json.dumps(held))
  assert 'instances.json is not that of its config.json' in refused([first], tmp_path)
  with pytest.raises(results.WorkdirError, match='holds work folders; name another'):
    report.report([str(tmp_path / 'whole')], tmp_path / 'whole', 3)
  assert 'names no work folder' in refused([], tmp_path)


def test_more_shards_than_batches_leave_empty_ones_that_merge(tmp_path, capsys):
  toy.write_folder(tmp_path / 'dev', SIZES[:2])
  for number in range(3):
    changes = {'shard_id': number, 'num_shards': 3, 'preset': 'baseline', 'pictures': 0}
    assert launch(tmp_path / 'dev', tmp_path / 'cut', **changes) == 0
  assert 'fewer batches than shards' in capsys.readouterr().out
  report.report([str(tmp_path / 'cut')], tmp_path / 'out', 3)
  rows = results.read_rows(tmp_path / 'out' / 'rows.jsonl')
  assert [row['instance'] for row in rows] == ['p0', 'p1']


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'shard_id': 1}, 'given together'),
    ({'num_shards': 2}, 'given together'),
    ({'shard_id': 2, 'num_shards': 2}, '--shard_id=2 of --num_shards=2: expected 0 to 1'),
    ({'shard_id': -1, 'num_shards': 2}, '--shard_id=-1'),
  ],
)
def test_shard_flags_are_checked(changes, message):
  with pytest.raises(UsageError, match=message):
    attack.Settings(**changes)


@pytest.mark.slow
@pytest.mark.nightly
def test_a_killed_and_resumed_shard_changes_no_byte(tmp_path):
  toy.write_folder(tmp_path / 'dev', SIZES)
  whole, cut = tmp_path / 'whole', tmp_path / 'cut'
  assert killable.launch(tmp_path / 'dev', whole).returncode == 0
  for number in range(3):
    flags = [f'--shard_id={number}', '--num_shards=3']
    if number == 1:
      killed = killable.launch(tmp_path / 'dev', cut, 'rows.jsonl', flags)
      assert killed.returncode == -signal.SIGKILL, killed.stderr
      assert 'shard-00001-of-00003 has not finished' in refused([cut], tmp_path)
    done = killable.launch(tmp_path / 'dev', cut, 'never', flags)
    assert done.returncode == 0, done.stderr
    assert ('resuming' in done.stderr) == (number == 1)
  tests = pathlib.Path(__file__).parent
  command = [sys.executable, '-m', 'experiments.report']
  command += [f'--workdirs={cut}', f'--out={tmp_path / "out"}']
  done = subprocess.run(command, cwd=tests.parent, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr
  assert '1 run merged' in done.stdout
  assert (tmp_path / 'out' / 'rows.jsonl').read_bytes() == (whole / 'rows.jsonl').read_bytes()

  command[3] = f'--workdirs={cut / "shard-00000-of-00003"}'
  done = subprocess.run(command, cwd=tests.parent, capture_output=True, text=True, check=False)
  assert done.returncode == 2
  assert done.stderr.endswith(
    f'\nerror: toy-dev-tetris: shards 1, 2 of 3 missing; found {cut / "shard-00000-of-00003"}\n'
  )
