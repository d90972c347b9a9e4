"""Masks beside rows: they come back as they were, and nothing else is taken for them."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from tetris_jax.report.attack import masks
from tetris_jax.runs.workdirs import WorkdirError


def some(seed=0, size=(13, 21)):
  return np.random.default_rng(seed).random(size) < 0.5


def test_a_mask_comes_back_as_it_was(tmp_path):
  file = masks.named(tmp_path / '00003_a.b.png', 'min')
  assert file.name == '00003_a.b.min.png'
  file.write_bytes(masks.encode_mask(some()))
  np.testing.assert_array_equal(masks.decode_mask(file, [13, 21]), some())
  assert Image.open(file).mode == '1'


def test_the_truth_comes_back_with_what_no_metric_counts(tmp_path):
  mask, ignore = some(), some(1)
  (tmp_path / 'a.png').write_bytes(masks.encode_truth(mask, ignore))
  found = masks.decode_truth(tmp_path / 'a.png', (13, 21))
  np.testing.assert_array_equal(found[0], mask & ~ignore)
  np.testing.assert_array_equal(found[1], ignore)


def test_files_are_found_by_the_position_of_their_instance(tmp_path):
  names = ['00001_b.min.png', '00001_b.truth.png', '00000_a.base.png']
  others = ['00002_c.min.png', '00000_a.png', '._00000_a.min.png', '00000_a.mean.png', 'x.min.png']
  for name in (*names, *others):
    (tmp_path / name).write_bytes(b'')
  found = masks.find(tmp_path, ['first', 'second'])
  assert found == {
    'first': {'base': tmp_path / names[2]},
    'second': {'min': tmp_path / names[0], 'truth': tmp_path / names[1]},
  }
  assert masks.find(tmp_path / 'none', ['first']) == {}


def test_what_is_no_mask_is_refused(tmp_path):
  file = tmp_path / 'a.png'
  file.write_bytes(masks.encode_mask(some()))
  with pytest.raises(WorkdirError, match='has 13 x 21 pixels, expected 20 x 30'):
    masks.decode_mask(file, [20, 30])
  file.write_bytes(b'\x89PNG')
  with pytest.raises(WorkdirError, match=r"no picture of ours.*give the run's command again"):
    masks.decode_mask(file, [13, 21])
  with pytest.raises(WorkdirError, match='cannot read'):
    masks.decode_mask(tmp_path / 'none.png', [13, 21])
  (tmp_path / 'link').symlink_to(tmp_path, target_is_directory=True)
  with pytest.raises(WorkdirError, match='it is a link'):
    masks.find(pathlib.Path(tmp_path / 'link'), [])
