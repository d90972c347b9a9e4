"""SimpleClick from a checkpoint in its published layout to rows."""

import json
import pathlib

import golden_weights
import numpy as np
import pytest
import torch_pickles as tp
import toy

from experiments import attack, replay
from experiments.lib import opening
from ports.clicks.zoom import Zoom
from ports.simpleclick import segmenter
from tetris_jax.runs import workdirs as results

GOLDEN = pathlib.Path(__file__).parent / 'golden'
MODEL = 'simpleclick_vit_xt_sbd'


@pytest.fixture(scope='module')
def state():
  listing = json.loads((GOLDEN / 'simpleclick_vit_xt.json').read_text())
  return golden_weights.golden_state_dict(listing)


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path_factory):
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path_factory.getbasetemp() / 'cache'))
  # The smallest square whose tokens fill whole attention windows.
  zooms = {'fixed': Zoom(target=(224, 224), skip_clicks=-1, min_crop=24)}
  monkeypatch.setattr(segmenter, 'ZOOMS', zooms)


@pytest.mark.slow
@pytest.mark.nightly
def test_a_checkpoint_is_attacked_end_to_end(state, tmp_path):
  checkpoint = tp.write_published(tmp_path / 'sbd_vit_xtiny.pth', state)
  toy.write_folder(tmp_path / 'd', ((40, 56),))
  asked = attack.Settings(
    model=MODEL, weights=str(checkpoint), dataset='folder', data_dir=str(tmp_path / 'd'),
    workdir=str(tmp_path / 'run'), num_clicks=2, batch_size=1, preset='tetris', disks='soft',
    users=0,
  )
  assert attack.execute(asked) == 0
  (row,) = results.read_rows(tmp_path / 'run' / 'rows.jsonl')
  config = json.loads((tmp_path / 'run' / 'config.json').read_text())
  assert config['model']['name'] == MODEL and config['model']['threshold'] == 0.49
  assert list(config['model']['sha256']) == ['sbd_vit_xtiny.pth']
  assert row['iou']['min'][0] <= row['iou']['base'][0] <= row['iou']['max'][0]
  moved = [np.subtract(row['clicks'][m], row['clicks']['base']) for m in ('min', 'max')]
  assert np.abs(np.array(moved)[:, :, :2]).max() > 0.1
  found = opening.open_segmenter(asked), opening.open_dataset(asked)
  compared, different = replay.compare(*found, [row], 1)
  assert compared == 2 * 2 * 3 and different == []


@pytest.mark.parity
@pytest.mark.parametrize(('as_zip', 'preset'), [(True, 'baseline'), (False, 'strong_v1_16')])
def test_a_checkpoint_that_torch_saved_is_attacked(state, tmp_path, as_zip, preset):
  config = tp.configuration(
    'is_plainvit_model.PlainVitModel', with_prev_mask=True, use_disks=True, norm_radius=5,
    backbone_params={'img_size': (448, 448), 'patch_size': (16, 16), 'embed_dim': 160, 'depth': 8},
    head_params={'in_channels': [96, 192, 288, 384], 'loss_decode': None, 'upsample': 'x1'},
  )
  path = tp.save_published(tmp_path / 'own.pth', state, config, as_zip)
  toy.write_folder(tmp_path / 'd', ((40, 56),))
  asked = attack.Settings(
    model=MODEL, weights=str(path), dataset='folder', data_dir=str(tmp_path / 'd'),
    workdir=str(tmp_path / 'run'), num_clicks=2, batch_size=1, preset=preset, users=0,
  )
  assert attack.execute(asked) == 0
  (row,) = results.read_rows(tmp_path / 'run' / 'rows.jsonl')
  assert row['status'] == 'ok' and (tmp_path / 'run' / 'report.md').exists()
  assert len(list((tmp_path / 'run' / 'figures').glob('*.png'))) >= 1
  if preset == 'strong_v1_16':
    assert row['iou']['min'][0] <= row['iou']['base'][0] <= row['iou']['max'][0]
    found = opening.open_segmenter(asked), opening.open_dataset(asked)
    compared, different = replay.compare(*found, [row], 1)
    assert compared == 2 * 2 * 3 and different == []
