"""SBD: object numbers from MATLAB files, its split file, and the objects that are left out."""

import numpy as np
import pytest
import scipy.io
from layouts import make_sbd, sbd_numbers, thin

from tetris_jax import data
from tetris_jax.data import images, sbd


def test_sbd_has_an_object_a_number_and_leaves_out_thin_ones(tmp_path):
  make_sbd(tmp_path)
  dataset = data.open_dataset('sbd', str(tmp_path))
  assert dataset.names == ('2008_000002#1', '2008_000002#3', '2008_000008#1')
  np.testing.assert_array_equal(dataset[1].mask, sbd_numbers() == 3)
  assert not dataset[1].ignore.any()
  assert dataset.size(2) == dataset[2].size == (40, 60)
  assert '1 objects that fill less than 8 % of their boxes are left out' in dataset.notes[0]
  assert 'published with 2857 pictures and 6671 instances, found 2 and 3' in dataset.notes[1]

  everything = data.open_dataset('sbd', str(tmp_path), min_box_share=0.0)
  assert everything.names == (*dataset.names, '2008_000008#2')
  np.testing.assert_array_equal(everything[3].mask, thin() == 2)


def test_a_box_share_of_eight_percent_is_kept():
  mask = np.zeros((10, 10), np.bool_)
  mask[0, 0] = mask[9, 9] = True
  mask[0, 1:6] = True
  assert sbd.box_share(mask) == 0.07
  mask[9, 0] = True
  assert sbd.box_share(mask) == 0.08 >= sbd.MIN_BOX_SHARE


def test_sbd_says_what_its_split_names_and_lacks(tmp_path):
  make_sbd(tmp_path)
  (tmp_path / 'inst' / '2008_000002.mat').unlink()
  damaged = tmp_path / 'inst' / '2008_000008.mat'
  damaged.write_bytes(damaged.read_bytes()[:200])
  (tmp_path / 'train.txt').write_text('2008_000099\n')
  first, second = data.open_dataset('sbd', str(tmp_path))
  assert first.reason == 'val.txt names 2008_000002, which has no file in the folder inst'
  assert second.status == 'failed'
  assert second.reason.startswith('inst/2008_000008.mat is no MATLAB file or is damaged')
  train = data.open_dataset('sbd', str(tmp_path), split='train')
  assert train.names == ('2008_000099#1', '2008_000099#3')
  assert train.notes == ()
  with pytest.raises(data.DataError, match=r'has no file test\.txt'):
    data.open_dataset('sbd', str(tmp_path), split='test')


def test_a_mat_without_numbers_is_refused(tmp_path):
  scipy.io.savemat(tmp_path / 'a.mat', {'GTcls': 1})
  with pytest.raises(images.UnreadableImage, match=r'has no field GTinst\.Segmentation'):
    sbd.read_instances(tmp_path / 'a.mat')
  scipy.io.savemat(tmp_path / 'b.mat', {'GTinst': {'Segmentation': np.ones((2, 2, 2))}})
  with pytest.raises(images.UnreadableImage, match='no picture of numbers'):
    sbd.read_instances(tmp_path / 'b.mat')
