"""Replaying a finished run: its rows are restored, and an altered one is noticed."""

import dataclasses
import json
import os
import shutil

import pytest
import toy

from experiments import attack, replay
from experiments.lib import opening
from experiments.lib.settings import UsageError
from tetris_jax.runs import workdirs as results

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def toy_zoo(monkeypatch, tmp_path_factory):
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path_factory.getbasetemp() / 'cache'))
  monkeypatch.setattr(opening, 'zoo', toy)


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  root = tmp_path_factory.mktemp('replay')
  toy.write_folder(root / 'd', ((40, 56), (48, 48), (64, 40)))
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv('TETRIS_CACHE', str(root / 'cache'))
    patch.setattr(opening, 'zoo', toy)
    settings = attack.Settings(
      model='toy', dataset='folder', data_dir=str(root / 'd'), workdir=str(root / 'run'),
      num_clicks=2, batch_size=2, preset='tetris', pictures=0, users=4,
    )
    assert attack.execute(settings) == 0
  return settings, root / 'run'


def compare(settings, rows):
  segmenter, dataset = opening.open_segmenter(settings), opening.open_dataset(settings)
  return replay.compare(segmenter, dataset, rows, settings.batch_size)


def test_a_run_is_restored(finished):
  settings, folder = finished
  compared, different = compare(settings, results.read_rows(folder / 'rows.jsonl'))
  assert compared == 3 * 2 * 3 * 2  # instances, iou and biou, modes, clicks
  assert different == []


def test_an_altered_number_is_named(finished):
  settings, folder = finished
  rows = results.read_rows(folder / 'rows.jsonl')
  rows[1]['iou']['max'][1] += 0.25
  rows[2] |= {'status': 'failed', 'iou': None}
  compared, different = compare(settings, rows)
  assert compared == 2 * 2 * 3 * 2
  (found,) = different
  assert (found.instance, found.what, found.mode, found.click) == ('p1', 'iou', 'max', 2)
  assert abs(found.reported - found.replayed - 0.25) < 1e-6


def test_a_vanished_instance_is_named(finished, tmp_path):
  settings, folder = finished
  shutil.copytree(settings.data_dir, tmp_path / 'd')
  (tmp_path / 'd' / 'images' / 'p1.png').write_bytes(b'')
  moved = dataclasses.replace(settings, data_dir=str(tmp_path / 'd'))
  with pytest.raises(results.WorkdirError, match='p1'):
    compare(moved, results.read_rows(folder / 'rows.jsonl'))


def spoilt(folder, place, **changes):
  """A copy of a run with other flags, and with other rows where these are given."""
  rows = changes.pop('rows', None)
  shutil.copytree(folder, place)
  config = json.loads((place / 'config.json').read_text())
  config['flags'] |= changes
  (place / 'config.json').write_text(json.dumps(config))
  if rows:
    lines = [json.loads(line) for line in (place / 'rows.jsonl').read_text().splitlines()]
    rows(lines)
    (place / 'rows.jsonl').write_text(''.join(json.dumps(one) + '\n' for one in lines))
  return place


@pytest.mark.parametrize(('changes', 'message'), [
  ({'colour': 'red'}, r'config\.json: flags\.colour is unknown'),
  ({'batch_size': '2'}, r"flags\.batch_size is '2', expected a whole number"),
  ({'model': []}, r'flags\.model is \[\], expected a text'),
  ({'data_options': 'x'}, r"flags\.data_options is 'x', expected a list"),
  ({'limit': -1}, r'--limit=-1: expected at least 0'),
  ({'rows': lambda rows: rows[1]['iou']['base'].pop()}, r'iou\.base'),
  ({'rows': lambda rows: [rows[1][k].update(max=None) for k in ('iou', 'biou', 'clicks')]},
   r"iou\.max is null, but the other extreme is not"),
])  # fmt: skip
def test_what_a_folder_says_is_checked(finished, tmp_path, changes, message):
  with pytest.raises(results.WorkdirError, match=message):
    replay._load(spoilt(finished[1], tmp_path / 'w', **changes))


def test_rows_of_several_attacks_are_no_run(finished, tmp_path):
  def drop(rows):
    for field in ('iou', 'biou', 'clicks'):
      rows[1][field].update(min=None, max=None)

  with pytest.raises(results.WorkdirError, match="instance 'p1': modes are"):
    replay._load(spoilt(finished[1], tmp_path / 'w', rows=drop))


def test_a_folder_imports_nothing(finished, tmp_path):
  folder = spoilt(finished[1], tmp_path / 'w', plugins=['evil'])
  with pytest.raises(UsageError, match='give --plugins=evil here too'):
    replay.execute(replay.Settings(workdir=str(folder)))


@pytest.mark.parametrize('name', ['config.json', 'rows.jsonl'])
def test_links_and_pipes_are_refused(finished, tmp_path, name):
  folder = spoilt(finished[1], tmp_path / 'w')
  (folder / name).rename(tmp_path / 'away')
  (folder / name).symlink_to(tmp_path / 'away')
  with pytest.raises(results.WorkdirError, match=f'{name}: it is a link'):
    replay._load(folder)
  (folder / name).unlink()
  os.mkfifo(folder / name)
  with pytest.raises(results.WorkdirError, match=f'{name}: it is a named pipe'):
    replay._load(folder)


def test_a_folder_without_a_run_is_refused(tmp_path):
  with pytest.raises(results.WorkdirError, match=r'config\.json: No such file'):
    replay._load(tmp_path)
  (tmp_path / 'config.json').write_text('[' * 100_000)
  with pytest.raises(results.WorkdirError, match='nested more than'):
    replay._load(tmp_path)
  (tmp_path / 'config.json').write_text(json.dumps({'schema': 2, 'flags': {'colour': 'red'}}))
  with pytest.raises(results.WorkdirError, match=r'config\.json: model is missing'):
    replay._load(tmp_path)
  (tmp_path / 'config.json').write_text(json.dumps({'schema': 2, 'program': 'users'}))
  with pytest.raises(results.WorkdirError, match=r'of experiments\.users; expected experiments\.a'):
    replay._load(tmp_path)
  (tmp_path / 'config.json').write_text(json.dumps({'flags': {'colour': 'red'}}))
  with pytest.raises(results.WorkdirError, match=r'layout 1, this is 2\); run its command again'):
    replay._load(tmp_path)
