"""Folders of pictures and masks: what becomes a sample, a rejected row or an error."""

from __future__ import annotations

import re

import numpy as np
import pytest
from picture_files import gif_of_one_pixel
from PIL import Image

from tetris_jax.data import (
  DataError,
  Rejected,
  Sample,
  open_dataset,
  parse_options,
  read_folder,
)
from tetris_jax.data import images as images_module


@pytest.fixture
def root(tmp_path):
  (tmp_path / 'images').mkdir()
  (tmp_path / 'masks').mkdir()
  return tmp_path


def picture(height=20, width=30):
  return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def levels(height=20, width=30, value=255):
  mask = np.zeros((height, width), np.uint8)
  mask[5:9, 3:8] = value
  return mask


def put(root, stem, image=None, mask=None, image_suffix='.png', mask_suffix='.png'):
  if image is not None:
    Image.fromarray(image).save(root / 'images' / f'{stem}{image_suffix}')
  if mask is not None:
    Image.fromarray(mask).save(root / 'masks' / f'{stem}{mask_suffix}')


def only(root, **options):
  dataset = read_folder(root, **options)
  assert len(dataset) == 1
  return dataset[0]


def test_a_pair_is_a_sample(root):
  mask = levels()
  mask[9, 3:8] = 128
  put(root, 'a', picture(), mask)
  sample = only(root)
  assert isinstance(sample, Sample)
  assert sample.instance == 'a' and sample.size == (20, 30)
  np.testing.assert_array_equal(sample.image, picture())
  np.testing.assert_array_equal(sample.mask, mask == 255)
  np.testing.assert_array_equal(sample.ignore, mask == 128)
  assert sample.mask.dtype == np.bool_ and sample.ignore.dtype == np.bool_


def test_levels_are_cut_at_60_and_200(root):
  mask = np.arange(256, dtype=np.uint8).reshape(16, 16)
  put(root, 'a', picture(16, 16), mask)
  sample = only(root)
  np.testing.assert_array_equal(sample.mask, mask > 200)
  np.testing.assert_array_equal(sample.ignore, (mask > 60) & (mask <= 200))


def test_jpeg_mask_is_read_as_drawn(root):
  mask = np.zeros((48, 64), np.uint8)
  mask[16:32, 16:40] = 255
  put(root, 'a', picture(48, 64), mask, mask_suffix='.jpg')
  sample = only(root)
  assert (sample.mask != (mask == 255)).sum() <= 4 and sample.ignore.sum() <= 4


def test_instances_come_sorted_by_stem_whatever_the_suffix(root):
  names = 'b.jpg', 'a.PNG', 'B.bmp', 'a.1.tif', '10.png'
  for stem, _, suffix in (name.rpartition('.') for name in names):
    suffix = f'.{suffix}'
    put(root, stem, picture(), levels(), image_suffix=suffix)
  dataset = read_folder(str(root))
  assert dataset.names == ('10', 'B', 'a', 'a.1', 'b')
  assert [entry.instance for entry in dataset] == list(dataset.names)
  assert all(isinstance(entry, Sample) for entry in dataset)


def test_hidden_files_and_desktop_litter_are_passed_over(root):
  put(root, 'a', picture(), levels())
  for folder in ('images', 'masks'):
    for name in ('.DS_Store', '._a.png', 'Thumbs.db', 'desktop.ini'):
      (root / folder / name).write_bytes(b'x')
  assert read_folder(root).names == ('a',)


def test_nothing_is_decoded_before_it_is_asked_for(root, monkeypatch):
  for stem in 'abc':
    put(root, stem, picture(), levels())
  read = []
  original = images_module.read_picture
  monkeypatch.setattr(
    images_module, 'read_picture', lambda path: read.append(path.stem) or original(path)
  )
  dataset = read_folder(root)
  assert [dataset.size(index) for index in range(3)] == [(20, 30)] * 3
  assert read == []
  assert dataset[1].instance == 'b' and read == ['b']
  assert isinstance(next(iter(dataset.select([2]))), Sample) and read == ['b', 'c']


def test_select_keeps_names_and_order(root):
  for stem in 'abc':
    put(root, stem, picture(), levels())
  assert read_folder(root).select([2, 0]).names == ('c', 'a')


@pytest.mark.parametrize(('image', 'mask', 'reason'), [
  (picture(), None, r'images/a\.png has no mask'),
  (None, levels(), r'masks/a\.png has no picture'),
  (picture(), levels(20, 31), r'masks/a\.png has 20 x 31 pixels .* images/a\.png has 20 x 30'),
  (picture(), levels(30, 20), 'EXIF orientation'),
])
def test_what_does_not_pair_fails(root, image, mask, reason):
  put(root, 'a', image, mask)
  put(root, 'b', picture(), levels())
  rejected, sample = read_folder(root)
  assert isinstance(rejected, Rejected) and isinstance(sample, Sample)
  assert (rejected.instance, rejected.status) == ('a', 'failed')
  assert re.search(reason, rejected.reason), rejected.reason


@pytest.mark.parametrize('kind', ['images', 'masks'])
def test_two_files_of_one_stem_fail(root, kind):
  put(root, 'a', picture(), levels())
  Image.fromarray(levels()).save(root / kind / 'a.bmp')
  rejected = only(root)
  noun = 'pictures' if kind == 'images' else 'masks'
  assert rejected == Rejected(
    'a', 'failed', f"2 {noun} share the stem 'a': a.bmp, a.png; keep one"
  )


def test_unknown_suffixes_and_folders_get_a_row(root):
  put(root, 'a', picture(), levels())
  for folder in ('images', 'masks'):
    (root / folder / 'notes.txt').write_text('x')
    (root / folder / 'more').mkdir()
  dataset = read_folder(root)
  assert dataset.names == ('a', 'images/more', 'images/notes.txt', 'masks/more', 'masks/notes.txt')
  _, folder, notes, *_ = dataset
  assert folder.status == notes.status == 'failed'
  assert folder.reason == 'images/more is a folder; only the files of images itself are read'
  assert notes.reason.startswith('images/notes.txt has not the suffix of a picture (.bmp, ')


@pytest.mark.parametrize('kind', ['images', 'masks'])
@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_a_truncated_file_fails_and_the_rest_goes_on(root, kind, suffix):
  put(root, 'a', picture(), levels())
  put(root, 'b', picture(), levels(), **{f'{kind[:-1]}_suffix': suffix})
  path = root / kind / f'b{suffix}'
  path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
  sample, rejected = read_folder(root)
  assert isinstance(sample, Sample)
  assert (rejected.instance, rejected.status, rejected.size) == ('b', 'failed', (20, 30))
  assert rejected.reason.startswith(f'{kind}/b{suffix} is damaged')


def test_a_picture_without_header_has_no_size(root):
  put(root, 'a', None, levels())
  (root / 'images' / 'a.png').write_bytes(b'')
  dataset = read_folder(root)
  assert dataset.size(0) is None
  assert dataset[0] == Rejected('a', 'failed', 'images/a.png is empty (0 bytes)')


@pytest.mark.parametrize(('value', 'reason'), [
  (0, 'masks/a.png has no object: its highest value is 0, an object has values above 200'),
  (1, "its highest value is 1, an object has values above 200; if its numbers name objects, read "
      "it with objects='ids'"),
])
def test_an_empty_mask_is_skipped(root, value, reason):
  put(root, 'a', picture(), levels(value=value))
  rejected = only(root)
  assert (rejected.status, rejected.size) == ('skipped', (20, 30))
  assert rejected.reason.endswith(reason)


def test_an_all_ignore_mask_is_skipped(root):
  put(root, 'a', picture(), np.full((20, 30), 128, np.uint8))
  assert only(root) == Rejected('a', 'skipped', 'masks/a.png ignores every pixel', (20, 30))


def test_full_mask_one_pixel_object_and_tiny_picture_are_samples(root):
  put(root, 'full', picture(), np.full((20, 30), 255, np.uint8))
  pixel = np.zeros((20, 30), np.uint8)
  pixel[19, 29] = 255
  put(root, 'pixel', picture(), pixel)
  put(root, 'tiny', picture(1, 1), np.full((1, 1), 255, np.uint8))
  full, one, tiny = read_folder(root)
  assert full.mask.all() and not full.ignore.any()
  assert full.warnings == ('the object fills the picture: the mask may have lost its alpha',)
  assert one.warnings == ()
  assert np.argwhere(one.mask).tolist() == [[19, 29]]
  assert tiny.size == (1, 1) and tiny.mask.all()


def test_sixteen_bit_grey_and_rgba_pictures_are_samples(root):
  grey = np.arange(600, dtype=np.uint16).reshape(20, 30) * 100
  put(root, 'deep', grey, levels())
  put(root, 'grey', picture()[..., 0], levels())
  put(root, 'rgba', np.concatenate([picture(), picture()[..., :1]], -1), levels())
  deep, plain, rgba = read_folder(root)
  np.testing.assert_array_equal(deep.image, np.stack([(grey >> 8).astype(np.uint8)] * 3, -1))
  np.testing.assert_array_equal(plain.image, np.stack([picture()[..., 0]] * 3, -1))
  np.testing.assert_array_equal(rgba.image, picture())


def test_bits_of_deep_pictures_can_be_given(root):
  grey = np.arange(600, dtype=np.uint16).reshape(20, 30) * 26
  put(root, 'deep', grey, levels(value=1))
  put(root, 'grey', picture()[..., 0], levels(value=1))
  for options, shift in (({}, 8), ({'bits': 14}, 6)):
    deep, plain = read_folder(root, objects='ids', **options)
    np.testing.assert_array_equal(deep.image[..., 0], grey >> shift)
    np.testing.assert_array_equal(plain.image[..., 0], picture()[..., 0])
    assert bool(deep.warnings) == (shift == 8)
  put(root, 'deep', grey, levels())
  (deep, _) = read_folder(root, bits=14)
  np.testing.assert_array_equal(deep.image[..., 0], grey >> 6)
  assert parse_options('folder', ['bits=14']) == {'bits': 14}


def test_a_mask_of_absurd_size_is_refused_by_its_header(root):
  put(root, 'a', picture())
  gif_of_one_pixel(root / 'masks' / 'a.gif', 9000)
  for options in ({}, {'objects': 'ids'}):
    assert 'masks/a.gif has 9000 x 9000 pixels; sides up to 4096' in only(root, **options).reason


def test_every_id_is_an_instance(root):
  ids = np.zeros((20, 30), np.uint16)
  ids[1:3], ids[5:9], ids[12], ids[19] = 2, 10, 300, 255
  put(root, 'a', picture(), ids)
  put(root, 'b', picture(), np.zeros((20, 30), np.uint8))
  put(root, 'c', picture(), levels(20, 31, 1))
  dataset = read_folder(root, objects='ids')
  assert dataset.names == ('a#2', 'a#10', 'a#255', 'a#300', 'b', 'c#1')
  for entry, number in zip(dataset, (2, 10, 255, 300), strict=False):
    np.testing.assert_array_equal(entry.mask, ids == number)
    assert not entry.ignore.any()
  assert dataset[4].status == 'skipped' and dataset[5].status == 'failed'

  void = read_folder(root, objects='ids', ignore_id=255)
  assert void.names == ('a#2', 'a#10', 'a#300', 'b', 'c#1')
  np.testing.assert_array_equal(void[0].ignore, ids == 255)


def test_ids_of_palette_masks_are_their_indices(root):
  index = np.repeat(np.array([[0, 1, 2]], np.uint8), 3, axis=0)
  image = Image.frombytes('P', (3, 3), index.tobytes())
  image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
  put(root, 'a', picture(3, 3))
  image.save(root / 'masks' / 'a.png')
  dataset = read_folder(root, objects='ids')
  assert dataset.names == ('a#1', 'a#2')
  np.testing.assert_array_equal(dataset[1].mask, index == 2)
  assert 'coloured palette' in only(root).reason and only(root).status == 'failed'


def test_a_picture_of_several_objects_is_decoded_once_in_a_row(root, monkeypatch):
  ids = np.arange(600, dtype=np.uint16).reshape(20, 30) // 200
  for stem in 'ab':
    put(root, stem, picture(), ids)
  read = []
  original = images_module.read_picture
  monkeypatch.setattr(
    images_module, 'read_picture', lambda path: read.append(path.stem) or original(path)
  )
  entries = list(read_folder(root, objects='ids'))
  assert [entry.instance for entry in entries] == ['a#1', 'a#2', 'b#1', 'b#2']
  assert read == ['a', 'b']
  with pytest.raises(ValueError, match='read-only'):
    entries[0].image[0, 0, 0] = 1


def test_too_many_ids_fail(root, monkeypatch):
  monkeypatch.setattr('tetris_jax.data.labels.MAX_OBJECTS', 9)
  put(root, 'a', picture(2, 5), np.arange(1, 11, dtype=np.uint8).reshape(2, 5))
  assert only(root, objects='ids').reason == (
    'masks/a.png holds 10 different ids; at most 9 are objects'
  )


def test_a_mask_of_ignored_pixels_only_is_skipped_by_id(root):
  put(root, 'a', picture(), np.full((20, 30), 255, np.uint8))
  rejected = only(root, objects='ids', ignore_id=255)
  assert (rejected.instance, rejected.status) == ('a', 'skipped')


@pytest.mark.parametrize('options', [
  {'objects': 'id'},
  {'ignore_id': 255},
  {'objects': 'ids', 'ignore_id': 0},
  {'bits': 7},
])
def test_wrong_options_are_named(root, options):
  with pytest.raises(ValueError, match=next(reversed(options))):
    read_folder(root, **options)


def test_names_that_collide_are_an_error(root):
  put(root, 'a', picture(), levels(value=1))
  put(root, 'a#1', picture(), np.zeros((20, 30), np.uint8))
  with pytest.raises(DataError, match="several instances named 'a#1'"):
    read_folder(root, objects='ids')


def test_an_unusable_data_dir_is_an_error_that_says_what_to_do(tmp_path):
  for name in (None, ''):
    with pytest.raises(DataError, match='needs data_dir; it must hold the folders images and'):
      open_dataset('folder', name)
  with pytest.raises(DataError, match=r'data_dir=.*gone does not exist'):
    open_dataset('folder', str(tmp_path / 'gone'))
  (tmp_path / 'file').write_text('')
  with pytest.raises(DataError, match=r'data_dir=.*file is a file'):
    open_dataset('folder', str(tmp_path / 'file'))
  empty = tmp_path / 'empty'
  empty.mkdir()
  with pytest.raises(DataError, match=r'no folder images and no folder masks \(found nothing\)'):
    open_dataset('folder', str(empty))
  (empty / 'img').mkdir()
  (empty / 'masks').mkdir()
  with pytest.raises(DataError, match=r'has no folder images \(found img, masks\)'):
    open_dataset('folder', str(empty))
  (empty / 'images').mkdir()
  (empty / 'masks' / 'a.png').write_bytes(b'x')
  with pytest.raises(DataError, match=r'images has no pictures \(found nothing\)'):
    open_dataset('folder', str(empty))
