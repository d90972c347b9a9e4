"""FocalClick from a checkpoint in its published layout to rows, on two pictures."""

import json

import focalclick_golden
import numpy as np
import pytest
import torch_pickles as tp
import toy

from experiments import attack
from ports.clicks.zoom import Zoom
from ports.focalclick import segmenter
from tetris_jax.runs import workdirs as results

MODEL = 'focalclick_segformer_b0_s1_cl'


@pytest.mark.slow
def test_a_checkpoint_is_attacked_end_to_end(tmp_path, monkeypatch):
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path / 'cache'))
  zoom_in = Zoom(target=64, skip_clicks=1, min_crop=10, keep_iou=2.0, threshold=0.49)
  monkeypatch.setitem(segmenter.segmenter.__kwdefaults__, 'zoom_in', zoom_in)
  checkpoint = tp.write_published(
    tmp_path / 'segformerB0_S1_cclvs.pth', focalclick_golden.state('segformer_b0_s1')
  )
  toy.write_folder(tmp_path / 'd', ((40, 56), (48, 48)))
  asked = attack.Settings(
    model=MODEL, weights=str(checkpoint), dataset='folder', data_dir=str(tmp_path / 'd'),
    workdir=str(tmp_path / 'run'), num_clicks=1, batch_size=1, preset='tetris', users=0,
  )
  assert attack.execute(asked) == 0
  rows = results.read_rows(tmp_path / 'run' / 'rows.jsonl')
  assert [row['status'] for row in rows] == ['ok', 'ok']
  config = json.loads((tmp_path / 'run' / 'config.json').read_text())
  assert config['model']['name'] == MODEL and config['model']['threshold'] == 0.5
  assert not {'merge', 'cascade'} & set(config['flags'])
  for row in rows:
    assert row['iou']['min'][0] <= row['iou']['base'][0] <= row['iou']['max'][0]
  moved = [
    np.subtract(row['clicks'][m], row['clicks']['base']) for row in rows for m in ('min', 'max')
  ]
  assert np.abs(np.array(moved)[:, :, :2]).max() > 0.1
