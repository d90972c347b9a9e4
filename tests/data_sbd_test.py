"""SBD: object numbers from MATLAB files, its split file, and the objects that are left out."""

import numpy as np
import pytest
import scipy.io
import scipy.sparse
from layouts import make_sbd, picture, save, save_mat, sbd_numbers, thin

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


@pytest.mark.parametrize('written', [
  b'\xef\xbb\xbf2008_000002\r\n2008_000008\r\n',
  '2008_000002\n2008_000008\n'.encode('utf-16'),
  b'2008_000002.jpg\n2008_000008.mat\n',
  b'/img/2008_000002.jpg /cls/2008_000002.png\n/img/2008_000008.jpg /cls/2008_000008.png\n',
  b'img\\2008_000002.jpg\r\nimg\\2008_000008.jpg\r\n',
  b'\n 2008_000002 \n\n2008_000008\n2008_000002\n',
])
def test_a_split_is_read_as_editors_and_tools_write_it(tmp_path, written):
  make_sbd(tmp_path)
  (tmp_path / 'val.txt').write_bytes(written)
  dataset = data.open_dataset('sbd', str(tmp_path))
  assert dataset.names == ('2008_000002#1', '2008_000002#3', '2008_000008#1')
  assert dataset.files(0) == (
    tmp_path / 'img' / '2008_000002.jpg', tmp_path / 'inst' / '2008_000002.mat'
  )  # fmt: skip


def test_names_with_spaces_are_read_with_their_folders(tmp_path):
  make_sbd(tmp_path)
  save(tmp_path / 'img' / 'a b.jpg', picture())
  save_mat(tmp_path / 'inst' / 'a b.mat', sbd_numbers())
  for line in ('a b', 'a b.jpg', 'img/a b.jpg', 'inst\\a b.mat'):
    (tmp_path / 'val.txt').write_text(line)
    assert data.open_dataset('sbd', str(tmp_path)).names == ('a b#1', 'a b#3'), line


def test_a_list_of_a_class_is_no_split(tmp_path):
  make_sbd(tmp_path)
  (tmp_path / 'val.txt').write_text('2008_000002 -1\n2008_000008  1\n')
  assert [one.reason.split(', which')[0] for one in data.open_dataset('sbd', str(tmp_path))] == [
    'val.txt names 2008_000002 -1', 'val.txt names 2008_000008  1',
  ]  # fmt: skip
  (tmp_path / 'val.txt').write_bytes(b'\xff\xfe\x00')
  with pytest.raises(data.DataError, match=r'val\.txt cannot be read'):
    data.open_dataset('sbd', str(tmp_path))


def test_numbers_of_any_kind_are_read_where_they_are_whole(tmp_path):
  numbers = sbd_numbers()
  kinds = numbers.astype(np.float64), scipy.sparse.csc_matrix(numbers.astype(float)), numbers
  for held in kinds:
    scipy.io.savemat(tmp_path / 'a.mat', {'GTinst': {'Segmentation': held}})
    np.testing.assert_array_equal(sbd.read_instances(tmp_path / 'a.mat'), numbers)
  scipy.io.savemat(tmp_path / 'a.mat', {'GTinst': {'Segmentation': numbers > 0}})
  np.testing.assert_array_equal(sbd.read_instances(tmp_path / 'a.mat'), numbers > 0)
  for odd, reason in (
    (numbers * 0.5, 'Segmentation holds 3 different numbers, such as 0.5, which are no whole'),
    (np.where(numbers > 0, numbers, np.nan), 'such as nan'),
    (numbers.astype(np.int16) - 1, 'holds 3 different numbers, from -1 to 2'),
    (numbers * 1e12, 'from 0 to 3000000000000'),
  ):
    scipy.io.savemat(tmp_path / 'a.mat', {'GTinst': {'Segmentation': odd}})
    with pytest.raises(images.UnreadableImage, match=reason):
      sbd.read_instances(tmp_path / 'a.mat')


def test_other_files_than_instances_are_named(tmp_path):
  scipy.io.savemat(tmp_path / 'a.mat', {'GTcls': {'Segmentation': sbd_numbers()}})
  with pytest.raises(images.UnreadableImage, match='it holds GTcls, the classes'):
    sbd.read_instances(tmp_path / 'a.mat')
  scipy.io.savemat(tmp_path / 'a.mat', {'LabelMap': sbd_numbers()})
  with pytest.raises(images.UnreadableImage, match=r'\(it holds LabelMap\)'):
    sbd.read_instances(tmp_path / 'a.mat')
  for head in (b'MATLAB 7.3 MAT-file, Platform: GLNXA64', b'\x89HDF\r\n\x1a\n'):
    (tmp_path / 'a.mat').write_bytes(head.ljust(600, b' '))
    with pytest.raises(images.UnreadableImage, match=r"version 7\.3 .*'-v7'\)"):
      sbd.read_instances(tmp_path / 'a.mat')
  make_sbd(tmp_path)
  mat = tmp_path / 'inst' / '2008_000002.mat'
  mat.rename(mat.with_suffix('.png'))
  first, *_ = data.open_dataset('sbd', str(tmp_path))
  assert first.reason.endswith(
    'no file in the folder inst (found 2008_000002.png; .mat files with GTinst are read)'
  )
