"""SAM 2 from a checkpoint in its published layout to rows."""

import dataclasses
import json

import pytest
import sam2_golden
import torch_pickles as tp
import toy

from experiments import attack, replay
from experiments.lib import opening
from ports import zoo
from tetris_jax.runs import workdirs as results

MODEL = 'sam2.1_hiera_tiny'


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path_factory):
  """The model sees 128 x 128 pixels, and takes any file that fits it."""
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path_factory.getbasetemp() / 'cache'))
  row = zoo.MODELS[MODEL]
  changed = dataclasses.replace(
    row,
    settings={**row.settings, 'side': 128},
    original=dataclasses.replace(row.original, sha256=None),
  )
  monkeypatch.setitem(zoo._rows, MODEL, changed)


@pytest.mark.slow
def test_a_checkpoint_is_attacked_end_to_end(tmp_path):
  checkpoint = tp.write_nested(tmp_path / f'{MODEL}.pt', 'model', sam2_golden.state(MODEL))
  toy.write_folder(tmp_path / 'd', ((40, 56), (48, 60)))
  asked = attack.Settings(
    model=MODEL, weights=str(checkpoint), dataset='folder', data_dir=str(tmp_path / 'd'),
    workdir=str(tmp_path / 'run'), num_clicks=2, batch_size=1, preset='tetris',
    mask_choice='advised', users=2,
  )
  assert attack.execute(asked) == 0
  rows = results.read_rows(tmp_path / 'run' / 'rows.jsonl')
  config = json.loads((tmp_path / 'run' / 'config.json').read_text())
  assert config['model']['name'] == f'{MODEL}_advised_128'
  assert list(config['model']['sha256']) == [f'{MODEL}.pt']
  assert len(rows) == 2
  for row in rows:
    assert row['status'] == 'ok'
    assert row['iou']['min'][0] <= row['iou']['base'][0] <= row['iou']['max'][0]
  found = opening.open_segmenter(asked), opening.open_dataset(asked)
  compared, different = replay.compare(*found, rows, 1)
  assert compared == 2 * 2 * 2 * 3 and different == []
