"""The field's data sets, each as tiny files in its published layout, odd cases included."""

import dataclasses
import re
import shutil

import numpy as np
import pytest
from layouts import SIZE, make_sbd, make_trimaps, picture, save, tetris_mask, trimap
from PIL import Image

from tetris_jax import data
from tetris_jax.data import benchmarks, resize


@pytest.mark.parametrize(
  ('name', 'folders'),
  [('grabcut', ('data_GT', 'boundary_GT')), ('berkeley', ('images', 'masks'))],
)
def test_trimaps_are_read_as_the_reference_does(tmp_path, name, folders):
  make_trimaps(tmp_path, *folders)
  dataset = data.open_dataset(name, str(tmp_path))
  assert dataset.name == name
  assert dataset.names == ('banana1', 'flower', 'grave')
  expected = np.zeros(SIZE, np.bool_)
  expected[6:14, 8:18] = True
  band = np.zeros(SIZE, np.bool_)
  band[4:16, 6:20] = True
  for index, sample in enumerate(dataset):
    assert dataset.size(index) == SIZE
    np.testing.assert_array_equal(sample.mask, expected)
    np.testing.assert_array_equal(sample.ignore, band & ~expected)
  np.testing.assert_array_equal(dataset[0].image, picture(1))
  grey = dataset[2].image
  assert (grey == grey[..., :1]).all()


def test_berkeley_takes_two_objects_of_one_picture(tmp_path):
  save(tmp_path / 'images' / '65033.jpg', picture())
  for number, value in ((1, 255), (2, 200)):
    save(tmp_path / 'masks' / f'65033#{number:03d}.png', np.full(SIZE, 0, np.uint8) + value)
  save(tmp_path / 'images' / '2092.jpg', picture())
  save(tmp_path / 'masks' / '2092.png', np.full(SIZE, 255, np.uint8))
  dataset = data.open_dataset('berkeley', str(tmp_path))
  assert dataset.names == ('2092', '65033#001', '65033#002')
  assert all(isinstance(sample, data.Sample) for sample in dataset)
  assert 'found 2 and 3' in dataset.notes[0]


@pytest.mark.parametrize('name', ['davis', 'coco_mval'])
def test_any_channel_is_the_object_in_davis_and_coco_mval(tmp_path, name):
  mask = np.zeros((*SIZE, 3), np.uint8)
  mask[2:4, 3:5, 0], mask[6:8, 3:5, 1], mask[10:12, 3:5, 2] = 1, 128, 255
  save(tmp_path / 'img' / 'bear_01.jpg', picture())
  save(tmp_path / 'gt' / 'bear_01.png', mask)
  # A picture for print, and the palette of DAVIS' own annotations.
  Image.fromarray(picture()).convert('CMYK').save(tmp_path / 'img' / 'camel_02.jpg')
  palette = Image.fromarray((mask.max(-1) > 0).astype(np.uint8), 'P')
  palette.putpalette([0, 0, 0, 128, 0, 0])
  palette.save(tmp_path / 'gt' / 'camel_02.PNG')
  dataset = data.open_dataset(name, str(tmp_path))
  for sample in dataset:
    np.testing.assert_array_equal(sample.mask, mask.any(-1))
    assert not sample.ignore.any()
    assert sample.image.shape == (*SIZE, 3)


def test_what_is_wrong_is_a_row_with_a_reason(tmp_path):
  make_trimaps(tmp_path, 'data_GT', 'boundary_GT')
  (tmp_path / 'boundary_GT' / 'flower.bmp').unlink()
  save(tmp_path / 'boundary_GT' / 'grave.bmp', trimap(size=(24, 37)))
  save(tmp_path / 'data_GT' / 'sheep.jpg', picture())
  save(tmp_path / 'boundary_GT' / 'sheep.bmp', np.full(SIZE, 64, np.uint8))
  save(tmp_path / 'data_GT' / 'tennis.jpg', picture())
  save(tmp_path / 'boundary_GT' / 'tennis.bmp', np.full(SIZE, 128, np.uint8))
  (tmp_path / 'data_GT' / 'Thumbs.db').write_bytes(b'x')
  found = {entry.instance: entry for entry in data.open_dataset('grabcut', str(tmp_path))}
  assert isinstance(found['banana1'], data.Sample)
  assert found['flower'].reason == (
    'data_GT/flower.JPG has no mask: no file of that stem in the folder boundary_GT'
  )
  assert 'boundary_GT/grave.bmp has 24 x 37' in found['grave'].reason
  assert (found['sheep'].status, found['sheep'].reason) == (
    'skipped', 'boundary_GT/sheep.bmp has no object: here that is where blue is above 128, and '
    'none is so bright (masks of 0 and 1, or of a colour without blue, are read with '
    'dataset=folder)',
  )  # fmt: skip
  assert found['tennis'].reason == 'boundary_GT/tennis.bmp ignores every pixel'
  assert len(found) == 5


@pytest.mark.parametrize('name', ['grabcut', 'berkeley'])
@pytest.mark.parametrize('value', [1, (255, 0, 0), (0, 90, 100)])
def test_a_mask_in_another_colour_has_the_rule_named(tmp_path, name, value):
  folders = {'grabcut': ('data_GT', 'boundary_GT'), 'berkeley': ('images', 'masks')}[name]
  mask = np.zeros((*SIZE, 3) if isinstance(value, tuple) else SIZE, np.uint8)
  mask[6:14, 8:18] = value
  save(tmp_path / folders[0] / 'a.png', picture())
  save(tmp_path / folders[1] / 'a.png', mask)
  (found,) = data.open_dataset(name, str(tmp_path))
  assert found.status == 'skipped' and 'where blue is above 128' in found.reason


def test_tetris_ids_have_24_bits(tmp_path):
  save(tmp_path / 'images' / 'a.jpg', picture())
  save(tmp_path / 'masks' / 'a.png', tetris_mask())
  dataset = data.open_dataset('tetris', str(tmp_path))
  assert dataset.names == ('a#5', 'a#300', 'a#70000')
  np.testing.assert_array_equal(dataset[1].mask, tetris_mask()[..., 1] == 1)
  assert 'found 1 and 3' in dataset.notes[0]


def test_tetris_pictures_are_cut_to_the_long_side(tmp_path):
  image = picture()
  save(tmp_path / 'images' / 'a.png', image)
  save(tmp_path / 'masks' / 'a.png', tetris_mask())
  dataset = data.open_dataset('tetris', str(tmp_path), long_side=18)
  assert [dataset.size(index) for index in range(3)] == [(12, 18)] * 3
  for sample in dataset:
    assert sample.size == (12, 18)
  np.testing.assert_array_equal(dataset[0].image, resize.resize(image, (12, 18)))
  # Edges on even pixels: each half-size pixel lies wholly in or out.
  np.testing.assert_array_equal(np.argwhere(dataset[1].mask).min(0), [5, 5])
  np.testing.assert_array_equal(np.argwhere(dataset[1].mask).max(0), [9, 9])
  assert data.open_dataset('tetris', str(tmp_path), long_side=0).size(0) == SIZE


def test_a_tetris_object_lost_to_the_size_is_skipped(tmp_path):
  mask = tetris_mask()
  mask[0, 35] = 0, 0, 9
  save(tmp_path / 'images' / 'a.png', picture())
  save(tmp_path / 'masks' / 'a.png', mask)
  small = data.open_dataset('tetris', str(tmp_path), long_side=9)
  lost = {entry.instance: entry for entry in small}
  assert lost['a#9'].status == 'skipped'
  assert lost['a#9'].reason == 'masks/a.png: object 9 has no pixel at 6 x 9 pixels'
  assert isinstance(lost['a#300'], data.Sample)


def test_a_tetris_mask_that_is_a_jpeg_is_refused(tmp_path):
  save(tmp_path / 'images' / 'a.jpg', picture())
  save(tmp_path / 'masks' / 'a.jpg', tetris_mask())
  (rejected,) = data.open_dataset('tetris', str(tmp_path))
  assert 'is a JPEG, whose rounding changes object ids' in rejected.reason


@pytest.mark.parametrize('name', sorted(benchmarks.BENCHMARKS))
def test_missing_data_says_what_to_get_where_and_what_was_found(tmp_path, name):
  about = benchmarks.BENCHMARKS[name]
  with pytest.raises(data.DataError, match=re.escape(about.page)) as error:
    data.open_dataset(name)
  assert f'dataset={name} needs data_dir' in str(error.value)
  (tmp_path / 'holiday').mkdir()
  with pytest.raises(data.DataError, match=r'found holiday') as error:
    data.open_dataset(name, str(tmp_path))
  for folder in about.folders:
    assert f'no folder {folder}' in str(error.value)
  assert about.page in str(error.value)
  assert 'with a picture and its mask of the same stem' in str(error.value)


def test_a_folder_too_high_is_pointed_at(tmp_path):
  make_sbd(tmp_path / 'benchmark_RELEASE' / 'dataset')
  with pytest.raises(data.DataError, match=r'did you mean data_dir=.*benchmark_RELEASE/dataset'):
    data.open_dataset('sbd', str(tmp_path))
  make_trimaps(tmp_path / 'x', 'data_GT', 'boundary_GT')
  shutil.rmtree(tmp_path / 'x' / 'data_GT')
  (tmp_path / 'x' / 'data_GT').mkdir()
  with pytest.raises(data.DataError, match='data_GT has no pictures'):
    data.open_dataset('grabcut', str(tmp_path / 'x'))


def test_published_counts_are_met_without_a_note(tmp_path, monkeypatch):
  make_trimaps(tmp_path, 'data_GT', 'boundary_GT')
  about = benchmarks.BENCHMARKS['grabcut']
  assert (about.pictures, about.instances) == ((50,), 50)
  small = dataclasses.replace(about, pictures=(3,), instances=3)
  monkeypatch.setitem(benchmarks.BENCHMARKS, 'grabcut', small)
  assert data.open_dataset('grabcut', str(tmp_path)).notes == ()
  selected = data.open_dataset('grabcut', str(tmp_path)).select([1])
  assert selected.names == ('flower',)


def test_options_out_of_range_are_refused(tmp_path):
  with pytest.raises(ValueError, match='long_side=-1'):
    data.open_dataset('tetris', str(tmp_path), long_side=-1)
  with pytest.raises(ValueError, match='min_box_share=2'):
    data.open_dataset('sbd', str(tmp_path), min_box_share=2)


def test_the_original_release_of_davis_is_told_apart(tmp_path):
  save(tmp_path / 'JPEGImages' / '480p' / 'bear' / '00000.jpg', picture())
  save(tmp_path / 'Annotations' / '480p' / 'bear' / '00000.png', trimap())
  with pytest.raises(data.DataError, match=r'the original release of DAVIS; .* as img/bear-'):
    data.open_dataset('davis', str(tmp_path))
  save(tmp_path / 'img' / 'a.jpg', picture())
  save(tmp_path / 'gt' / 'a.png', trimap())
  assert data.open_dataset('davis', str(tmp_path)).names == ('a',)


def test_instances_say_of_which_files_they_are(tmp_path):
  make_trimaps(tmp_path, 'images', 'masks')
  (tmp_path / 'masks' / 'grave.bmp').unlink()
  dataset = data.open_dataset('berkeley', str(tmp_path))
  assert dataset.files(0) == (
    tmp_path / 'images' / 'banana1.bmp', tmp_path / 'masks' / 'banana1.bmp'
  )  # fmt: skip
  assert dataset.files(2) == (tmp_path / 'images' / 'grave.jpg',)
  folder = data.open_dataset('folder', str(tmp_path))
  assert [folder.files(index) for index in range(3)] == [dataset.files(index) for index in range(3)]
  save(tmp_path / 'masks' / 'grave.bmp', np.zeros(SIZE, np.uint8))
  tetris = data.open_dataset('tetris', str(tmp_path))
  assert tetris.names[-1] == 'grave' and tetris.files(len(tetris) - 1) == (
    tmp_path / 'images' / 'grave.jpg', tmp_path / 'masks' / 'grave.bmp'
  )  # fmt: skip
