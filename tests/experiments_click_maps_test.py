"""RITM from a checkpoint in its published layout to rows, report and pictures."""

import json
import re

import numpy as np
import pytest
import ritm_golden
import torch_pickles as tp
import toy

from experiments import attack, replay
from experiments.lib import opening
from experiments.lib.settings import UsageError
from ports import zoo
from ports.clicks.zoom import Zoom
from ports.ritm import segmenter
from ports.weights.errors import CheckpointError
from tetris_jax.runs import workdirs as results


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
  """The golden weights, as torch writes them."""
  path = tmp_path_factory.mktemp('weights') / 'coco_lvis_h18s_itermask.pth'
  return tp.write_published(path, ritm_golden.state('h18s'))


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
  path = tmp_path_factory.mktemp('data') / 'd'
  toy.write_folder(path, ((40, 56), (48, 48)))
  return path


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path_factory):
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path_factory.getbasetemp() / 'cache'))
  # The same two programs as at 400 pixels: image and crop on canvases of their own, or one shape.
  zooms = {
    'exact': Zoom(target=64, min_crop=24),
    'fixed': Zoom(target=(64, 64), skip_clicks=-1, min_crop=24),
  }
  monkeypatch.setattr(segmenter, 'ZOOMS', zooms)


def settings(checkpoint, data_dir, workdir, **changes):
  return attack.Settings(
    model='ritm_h18s_it_cl', weights=str(checkpoint), dataset='folder', data_dir=str(data_dir),
    workdir=str(workdir), num_clicks=2, batch_size=1, users=0, **changes,
  )


@pytest.mark.slow
@pytest.mark.parametrize(('preset', 'zoom'), [
  pytest.param('tetris', 'exact', marks=pytest.mark.nightly), ('baseline', 'fixed'),
])  # fmt: skip
def test_a_checkpoint_is_attacked_end_to_end(checkpoint, data_dir, tmp_path, preset, zoom):
  asked = settings(checkpoint, data_dir, tmp_path, preset=preset, zoom=zoom)
  assert attack.execute(asked) == 0
  rows = results.read_rows(tmp_path / 'rows.jsonl')
  assert [row['status'] for row in rows] == ['ok', 'ok']
  config = json.loads((tmp_path / 'config.json').read_text())
  assert config['flags']['zoom'] == zoom and config['model']['threshold'] == 0.49
  assert config['flags']['disks'] == ('hard' if preset == 'baseline' else 'soft')
  assert list(config['model']['sha256']) == ['coco_lvis_h18s_itermask.pth']
  name = 'ritm_h18s_it_cl' + ('_fixed' if zoom == 'fixed' else '')
  assert json.loads((tmp_path / 'summary.json').read_text())['model'] == name
  assert json.loads((tmp_path / 'summary.json').read_text())['programs'] == 1
  assert (tmp_path / 'report.md').exists() and len(list((tmp_path / 'figures').iterdir())) == 3
  for row in rows:
    iou = row['iou']
    assert all(0 <= value <= 1 for value in iou['base'])
    if preset == 'tetris':
      assert iou['min'][0] <= iou['base'][0] <= iou['max'][0]
      assert row['backward'] == 2 * 2 * 10
  if preset == 'tetris':
    moved = [np.subtract(row['clicks']['max'], row['clicks']['base']) for row in rows]
    moved += [np.subtract(row['clicks']['min'], row['clicks']['base']) for row in rows]
    assert np.abs(np.concatenate(moved)[:, :2]).max() > 0.1


@pytest.mark.parity
@pytest.mark.parametrize(('as_zip', 'preset', 'zoom'), [
  (True, 'tetris', 'exact'), (False, 'baseline', 'fixed'),
])
def test_a_checkpoint_that_torch_saved_is_attacked(data_dir, tmp_path, as_zip, preset, zoom):
  config = tp.configuration(
    'is_hrnet_model.HRNetModel', width=18, ocr_width=48, small=True, with_prev_mask=True,
    use_disks=True, norm_radius=5,
  )
  path = tp.save_published(tmp_path / 'own.pth', ritm_golden.state('h18s'), config, as_zip)
  asked = settings(path, data_dir, tmp_path / 'run', preset=preset, zoom=zoom)
  assert attack.execute(asked) == 0
  rows = results.read_rows(tmp_path / 'run' / 'rows.jsonl')
  assert [row['status'] for row in rows] == ['ok', 'ok']
  assert (tmp_path / 'run' / 'report.md').exists()
  assert len(list((tmp_path / 'run' / 'figures').glob('*.png'))) >= 2
  params, _ = zoo.load('ritm_h18s_it_cl', path)
  for name, array in ritm_golden.params('h18s').items():
    np.testing.assert_array_equal(params[name], array)


@pytest.mark.slow
@pytest.mark.parametrize(('preset', 'zoom'), [('strong_v1_16', 'fixed')])
def test_global_searches_run_on_it_and_replay(checkpoint, data_dir, tmp_path, preset, zoom):
  asked = settings(checkpoint, data_dir, tmp_path, preset=preset, zoom=zoom, limit=1)
  assert attack.execute(asked) == 0
  (row,) = results.read_rows(tmp_path / 'rows.jsonl')
  assert row['status'] == 'ok' and row['backward'] == 0
  iou = row['iou']
  assert iou['min'][0] <= iou['base'][0] <= iou['max'][0]
  # Sixteen or more clicks on one object find some that matter.
  assert iou['min'][0] < iou['max'][0]
  compared, different = replay.compare(
    opening.open_segmenter(asked), opening.open_dataset(asked), [row], 1
  )
  assert compared == 2 * 2 * 3 and different == []


def test_without_weights_the_error_says_where_they_are(data_dir, tmp_path):
  asked = attack.Settings(
    model='ritm_h32_it_cl', dataset='folder', data_dir=str(data_dir), workdir=str(tmp_path / 'w')
  )
  address = zoo.MODELS['ritm_h32_it_cl'].original.url
  with pytest.raises(UsageError, match=f'--model=ritm_h32_it_cl: .*{re.escape(address)}'):
    attack.execute(asked)
  with pytest.raises(CheckpointError, match='weights=PATH'):
    zoo.load('ritm_h18_it_sbd')
  assert not (tmp_path / 'w').exists()


@pytest.mark.slow
def test_a_checkpoint_of_another_size_is_refused(checkpoint, data_dir, tmp_path):
  asked = attack.Settings(
    model='ritm_h18_it_cl', weights=str(checkpoint), dataset='folder', data_dir=str(data_dir),
    workdir=str(tmp_path / 'w'),
  )
  with pytest.raises(UsageError, match=r'--weights=.*does not fit the network'):
    attack.execute(asked)


@pytest.mark.parametrize('model, changes, message', [
  ('ritm_h18s_it_cl', {'zoom': 'none'}, '--zoom=none with --model=ritm_h18s_it_cl: known: exact'),
  ('ritm_h18s_it_cl', {'disks': 'round'}, '--disks=round .*: known: soft, hard'),
  ('mobile_sam', {'zoom': 'fixed'}, '--zoom=fixed with --model=mobile_sam: it has no such choice'),
])
def test_choices_are_checked(data_dir, tmp_path, model, changes, message):
  asked = attack.Settings(
    model=model, dataset='folder', data_dir=str(data_dir), workdir=str(tmp_path), **changes
  )
  with pytest.raises(UsageError, match=message):
    attack.execute(asked)
