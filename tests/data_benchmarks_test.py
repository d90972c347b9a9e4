"""The field's data sets, each as tiny files in its published layout, odd cases included."""

import re
import shutil

import numpy as np
import pytest
import scipy.io
from PIL import Image

from tetris_jax import data
from tetris_jax.data import benchmarks, images, labels, resize, sbd

SIZE = (24, 36)


def picture(seed=0, size=SIZE):
  return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def trimap(ignore=128, size=SIZE):
  """An object, a band that is ignored around it, and levels that count as background."""
  mask = np.zeros((*size, 3), np.uint8)
  mask[4:16, 6:20] = ignore
  mask[6:14, 8:18] = 255
  mask[6, 8:18] = 129
  mask[20:22] = 64
  mask[18, :, 0] = 255  # Red is not the first channel of cv2.imread.
  return mask


def save(path, array, mode=None):
  path.parent.mkdir(parents=True, exist_ok=True)
  image = Image.fromarray(array)
  (image.convert(mode) if mode else image).save(path)


def save_mat(path, numbers):
  path.parent.mkdir(parents=True, exist_ok=True)
  boundaries = np.empty((3, 1), object)
  boundaries[:] = [[numbers > 0]] * 3
  held = {'Segmentation': numbers, 'Boundaries': boundaries, 'Categories': np.ones((3, 1))}
  scipy.io.savemat(path, {'GTinst': held}, do_compression=True)


def make_trimaps(root, pictures, masks):
  # The download mixes JPEG, its suffix in capitals, and BMP.
  save(root / pictures / 'banana1.bmp', picture(1))
  save(root / pictures / 'flower.JPG', picture(2))
  save(root / pictures / 'grave.jpg', picture(3), 'L')
  for stem in ('banana1', 'flower', 'grave'):
    save(root / masks / f'{stem}.bmp', trimap())


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
    'skipped', 'boundary_GT/sheep.bmp has no object',
  )  # fmt: skip
  assert found['tennis'].reason == 'boundary_GT/tennis.bmp ignores every pixel'
  assert len(found) == 5


def sbd_numbers():
  numbers = np.zeros(SIZE, np.uint8)
  numbers[2:10, 2:10], numbers[12:20, 4:30] = 1, 3
  # A frame one pixel wide of 22 x 34 pixels: 108 of 748, 14.4 %.
  return numbers


def thin(size=(40, 60)):
  """Object 1 is solid; object 2, a diagonal, fills 1 / 36 of its box."""
  numbers = np.zeros(size, np.uint8)
  numbers[38:40, 50:60] = 1
  index = np.arange(36)
  numbers[index, index] = 2
  return numbers


def make_sbd(root):
  save(root / 'img' / '2008_000002.jpg', picture(1))
  save(root / 'img' / '2008_000008.JPG', picture(2, (40, 60)))
  save_mat(root / 'inst' / '2008_000002.mat', sbd_numbers())
  save_mat(root / 'inst' / '2008_000008.mat', thin())
  save(root / 'img' / '2008_000099.jpg', picture(3))  # Of another split.
  save_mat(root / 'inst' / '2008_000099.mat', sbd_numbers())
  (root / 'val.txt').write_text('2008_000008\n2008_000002\n\n')


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


def tetris_mask(size=SIZE):
  """Objects 5, 300 and 70000 as 24-bit numbers; the last two touch."""
  mask = np.zeros((*size, 3), np.uint8)
  mask[2:8, 2:8] = 0, 0, 5
  mask[10:20, 10:20] = 0, 300 // 256, 300 % 256
  mask[10:20, 20:30] = 70000 // 65536, 70000 // 256 % 256, 70000 % 256
  return mask


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


@pytest.mark.parametrize('seed', range(3))
def test_distinct_numbers_are_those_of_a_sort(seed):
  rng = np.random.default_rng(seed)
  numbers = rng.integers(-1, 5, (7, 9), dtype=np.int32) * rng.integers(0, 2, (7, 9), dtype=np.int32)
  assert labels.distinct(numbers) == [n for n in np.unique(numbers).tolist() if n > 0]
  assert labels.distinct(np.array([[3]], np.int32)) == [3]


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
  assert f'--dataset={name} needs --data_dir' in str(error.value)
  (tmp_path / 'holiday').mkdir()
  with pytest.raises(data.DataError, match=r'found holiday') as error:
    data.open_dataset(name, str(tmp_path))
  for folder in about.folders:
    assert f'no folder {folder}' in str(error.value)
  assert about.page in str(error.value)
  assert 'with a picture and its mask of the same stem' in str(error.value)


def test_a_folder_too_high_is_pointed_at(tmp_path):
  make_sbd(tmp_path / 'benchmark_RELEASE' / 'dataset')
  with pytest.raises(data.DataError, match=r'did you mean --data_dir=.*benchmark_RELEASE/dataset'):
    data.open_dataset('sbd', str(tmp_path))
  make_trimaps(tmp_path / 'x', 'data_GT', 'boundary_GT')
  shutil.rmtree(tmp_path / 'x' / 'data_GT')
  (tmp_path / 'x' / 'data_GT').mkdir()
  with pytest.raises(data.DataError, match='data_GT has no pictures'):
    data.open_dataset('grabcut', str(tmp_path / 'x'))


def test_a_file_in_the_place_of_a_folder_is_no_folder(tmp_path):
  make_trimaps(tmp_path, 'data_GT', 'boundary_GT')
  shutil.rmtree(tmp_path / 'boundary_GT')
  (tmp_path / 'boundary_GT').write_text('')
  with pytest.raises(data.DataError, match='has no folder boundary_GT'):
    data.open_dataset('grabcut', str(tmp_path))


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
  make_trimaps(tmp_path, 'data_GT', 'boundary_GT')

  def refuse(self):
    raise PermissionError(13, 'Permission denied', str(self))

  monkeypatch.setattr('pathlib.Path.iterdir', refuse)
  with pytest.raises(data.DataError, match=r'--data_dir=.* cannot be read: .*Permission denied'):
    data.open_dataset('grabcut', str(tmp_path))


def test_published_counts_are_met_without_a_note(tmp_path, monkeypatch):
  make_trimaps(tmp_path, 'data_GT', 'boundary_GT')
  about = benchmarks.BENCHMARKS['grabcut']
  assert (about.pictures, about.instances) == ((50,), 50)
  import dataclasses

  small = dataclasses.replace(about, pictures=(3,), instances=3)
  monkeypatch.setitem(benchmarks.BENCHMARKS, 'grabcut', small)
  assert data.open_dataset('grabcut', str(tmp_path)).notes == ()
  selected = data.open_dataset('grabcut', str(tmp_path)).select([1])
  assert selected.names == ('flower',)


def test_options_are_checked(tmp_path):
  with pytest.raises(data.DataError, match='--dataset=grabcut has no option split; it takes none'):
    data.open_dataset('grabcut', str(tmp_path), split='val')
  with pytest.raises(ValueError, match='long_side=-1'):
    data.open_dataset('tetris', str(tmp_path), long_side=-1)
  with pytest.raises(ValueError, match='min_box_share=2'):
    data.open_dataset('sbd', str(tmp_path), min_box_share=2)


def test_options_are_parsed_by_their_types():
  parse = data.parse_options
  assert parse('sbd', ['split=train', 'min_box_share=0.1']) == {
    'split': 'train', 'min_box_share': 0.1,
  }  # fmt: skip
  assert parse('coco_panoptic', ['stuff=True', 'min_area=20']) == {'stuff': True, 'min_area': 20}
  assert parse('tfds', ['ignore_id=3']) == {'ignore_id': 3}
  assert parse('samples', []) == {}
  for written, message in [
    (['long_side'], 'expected key=value'),
    (['long_side=1', 'long_side=2'], 'each key once'),
    (['long_side=big'], "'big' is no int"),
    (['split=a'], 'has no option split; it takes long_side'),
  ]:
    with pytest.raises(data.DataError, match=message):
      parse('tetris', written)
