"""Replaying a finished run: its rows are restored, and an altered one is noticed."""

import dataclasses
import json
import shutil

import pytest
import toy

from experiments import attack, replay
from experiments.lib import opening
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


def test_a_folder_without_a_run_is_refused(tmp_path):
  with pytest.raises(results.WorkdirError, match='not a finished run'):
    replay._load(tmp_path)
  (tmp_path / 'config.json').write_text(json.dumps({'schema': 2, 'flags': {'colour': 'red'}}))
  with pytest.raises(results.WorkdirError, match='colour'):
    replay._load(tmp_path)
  (tmp_path / 'config.json').write_text(json.dumps({'flags': {'colour': 'red'}}))
  with pytest.raises(results.WorkdirError, match=r'layout 1, this is 2\); run its command again'):
    replay._load(tmp_path)
