"""CDNet and GPCIS from checkpoints in their published layout to rows."""

import importlib
import json

import deeplab_golden
import pytest
import torch_pickles as tp
import toy

from experiments import attack
from ports.cdnet import network as cdnet
from ports.clicks.zoom import Zoom
from ports.gpcis import network as gpcis
from tetris_jax.runs import workdirs as results

# (model, the size that it has, its network reduced, the listing of its state dict)
FAMILIES = {
  'cdnet': (
    'cdnet_resnet34_sbd', 'resnet34', cdnet.Config(deeplab_golden.TOY, 16), 'cdnet_resnet34'
  ),
  'gpcis': (
    'gpcis_resnet50_sbd', 'resnet50', gpcis.Config(deeplab_golden.TOY_DEEP, 32, 32),
    'gpcis_resnet50',
  ),
}


@pytest.mark.slow
@pytest.mark.parametrize(('family', 'preset'), [
  pytest.param('cdnet', 'tetris', marks=pytest.mark.nightly), ('gpcis', 'strong_v1_16'),
])  # fmt: skip
def test_a_checkpoint_is_attacked_end_to_end(family, preset, tmp_path, monkeypatch):
  model, size, config, listing = FAMILIES[family]
  segmenter = importlib.import_module(f'ports.{family}.segmenter')
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path / 'cache'))
  monkeypatch.setitem(importlib.import_module(f'ports.{family}.network').CONFIGS, size, config)
  zoom = Zoom((48, 48), skip_clicks=-1, min_crop=10, keep_iou=2.0, threshold=0.49)
  monkeypatch.setitem(segmenter.ZOOMS, 'fixed', zoom)
  state = deeplab_golden.reduced(listing, 8)
  checkpoint = tp.write_published(tmp_path / 'own.pth', state)
  toy.write_folder(tmp_path / 'd', ((40, 56), (48, 36)))
  asked = attack.Settings(
    model=model, weights=str(checkpoint), dataset='folder', data_dir=str(tmp_path / 'd'),
    workdir=str(tmp_path / 'run'), num_clicks=1, batch_size=1, preset=preset, users=0,
  )
  assert attack.execute(asked) == 0
  rows = results.read_rows(tmp_path / 'run' / 'rows.jsonl')
  config = json.loads((tmp_path / 'run' / 'config.json').read_text())
  assert config['model']['name'] == model and len(rows) == 2
  for row in rows:
    assert row['status'] == 'ok'
    assert row['iou']['min'][0] <= row['iou']['base'][0] <= row['iou']['max'][0]
