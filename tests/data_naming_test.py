"""Masks and pictures whose names differ: which pair up, and what is said of the others."""

import pathlib
import unicodedata

import numpy as np
import pytest
from layouts import SIZE, picture, save

from tetris_jax import data
from tetris_jax.data import naming

NFC, NFD = (unicodedata.normalize(form, 'café') for form in ('NFC', 'NFD'))


def mask(number=0):
  out = np.zeros(SIZE, np.uint8)
  out[4 : 9 + number, 3:8] = 255
  return out


def folder(root, pictures, masks, **options):
  for name in pictures.split():
    save(root / 'images' / name, picture())
  for number, name in enumerate(masks.split()):
    save(root / 'masks' / name, mask(number))
  return data.open_dataset('folder', str(root), **options)


def samples(dataset):
  return [sample.instance for sample in dataset if isinstance(sample, data.Sample)]


def reasons(dataset):
  return {one.instance: one.reason for one in dataset if isinstance(one, data.Rejected)}


@pytest.mark.parametrize(('image', 'drawn'), [(NFD, NFC), (NFC, NFD), (NFC, NFC), (NFD, NFD)])
def test_normal_forms_pair_up_by_the_name_of_the_picture(tmp_path, image, drawn):
  dataset = folder(tmp_path, f'{image}.png', f'{drawn}.png')
  assert dataset.names == (image,) and samples(dataset) == [image]
  assert dataset.files(0) == (
    tmp_path / 'images' / f'{image}.png', tmp_path / 'masks' / f'{drawn}.png'
  )  # fmt: skip
  assert dataset.notes == ()


def test_equal_names_go_before_equal_normal_forms(tmp_path):
  dataset = folder(tmp_path, f'{NFC}.png {NFD}.png', f'{NFC}.png {NFD}.png')
  assert samples(dataset) == [NFD, NFC] and dataset.notes == ()
  one = folder(tmp_path / 'one', f'{NFC}.png {NFD}.png', f'{NFC}.png')
  assert samples(one) == [NFC] and list(reasons(one)) == [NFD]


def test_suffixes_and_stems_pair_up_in_any_case(tmp_path):
  dataset = folder(tmp_path, 'a.PNG IMG_1.JPG', 'a.png img_1.Png')
  assert samples(dataset) == ['IMG_1', 'a']
  assert dataset.notes == (
    'masks/img_1.Png is taken for the mask of images/IMG_1.JPG, from whose name its own differs in '
    'case only',
  )
  two = folder(tmp_path / 'two', 'B.png b.jpg', 'B.tif')
  assert samples(two) == ['B'] and list(reasons(two)) == ['b']


def test_a_mask_called_after_a_whole_file_is_its_mask(tmp_path):
  dataset = folder(tmp_path, 'a.jpg b.png c.png d.png', 'a.jpg.png b.PNG.png c.png d.png d.png.png')
  assert samples(dataset) == ['a', 'b', 'c', 'd']
  assert list(reasons(dataset)) == ['d.png']
  assert 'masks/a.jpg.png is taken for the mask of images/a.jpg' in dataset.notes[0]
  assert dataset.notes[0].endswith('(2 such pairs)')


@pytest.mark.parametrize(('pictures', 'masks', 'named'), [
  ('x.jpg y.jpg', 'x_mask.png y_mask.png', ['x', 'y']),
  ('x.jpg y.jpg', 'mask-x.png mask-y.png', ['x', 'y']),
  ('ISIC_01.jpg ISIC_02.jpg', 'ISIC_01_segmentation.png ISIC_02_Segmentation.png', ['ISIC_01']),
  ('ISIC_01.jpg ISIC_02.jpg', 'ISIC_01_segmentation.png ISIC_02_segmentation.png',
   ['ISIC_01', 'ISIC_02']),
  ('bonn_1_leftImg8bit.png ulm_1_leftImg8bit.png',
   'bonn_1_gtFine_labelIds.png ulm_1_gtFine_labelIds.png',
   ['bonn_1_leftImg8bit', 'ulm_1_leftImg8bit']),
  ('21_training.tif 22_training.tif', '21_manual1.gif 22_manual1.gif',
   ['21_training', '22_training']),
  ('image_1.png image_2.png', 'label_1.png label_2.png', ['image_1', 'image_2']),
  ('104_sat.jpg', '104_mask.png', ['104_sat']),
  ('0001TP_1.png', '0001TP_1_L.png', ['0001TP_1']),
  ('x.png y.png', 'x_ground_truth.png y_ground_truth.png', ['x', 'y']),
])  # fmt: skip
def test_words_that_all_masks_have_pair_up_and_it_is_said(tmp_path, pictures, masks, named):
  dataset = folder(tmp_path, pictures, masks)
  if 'Segmentation' in masks:
    assert samples(dataset) == [] and len(reasons(dataset)) == 4
    return
  assert samples(dataset) == named and len(dataset) == len(named)
  (note,) = dataset.notes
  assert note.startswith(f'masks/{masks.split()[0]} is taken for the mask of images/')


def test_words_that_some_masks_have_are_asked_about(tmp_path):
  dataset = folder(tmp_path, 'a.png x.png', 'a.png x_mask.png')
  assert samples(dataset) == ['a']
  assert reasons(dataset) == {
    'x': 'images/x.png has no mask: no file of that stem in the folder masks; did you mean '
    'masks/x_mask.png? A picture and its mask share the stem',
    'x_mask': 'masks/x_mask.png has no picture: no file of that stem in the folder images; did you '
    'mean images/x.png? A picture and its mask share the stem',
  }


def test_other_words_and_other_pictures_do_not_pair_up(tmp_path):
  dataset = folder(tmp_path, 'cat.png', 'cathedral.png cat_sitting.png')
  assert samples(dataset) == [] and len(dataset) == 3
  # Two masks would be those of one picture.
  twice = folder(tmp_path / 'twice', 'x.png', 'x_mask.png mask_x.png')
  assert samples(twice) == []


def test_numbered_masks_are_objects_of_one_picture(tmp_path):
  dataset = folder(tmp_path, 'a.png b.png', 'a_1.png a_2.png b.png')
  assert dataset.names == ('a_1', 'a_2', 'b') and samples(dataset) == list(dataset.names)
  assert [sample.mask.sum() for sample in dataset] == [25, 30, 35]
  assert dataset.files(1)[0] == tmp_path / 'images' / 'a.png'
  hashes = folder(tmp_path / 'hash', 'a.png', 'a#1.png a#002.png')
  assert samples(hashes) == ['a#1', 'a#002']
  ids = folder(tmp_path / 'ids', 'a.png', 'a_1.png a_2.png', objects='ids')
  assert samples(ids) == ['a_1#255', 'a_2#255']
  words = folder(tmp_path / 'words', 'x_1.png y.png', 'x_1_mask_1.png x_1_mask_2.png y_1_mask.png')
  assert samples(words) == ['x_1_mask_1', 'x_1_mask_2', 'y_1_mask']
  assert words.files(1)[0].name == 'x_1.png'
  spelt = folder(tmp_path / 'spelt', f'{NFD}.png', f'{NFC}_1.png {NFC}#2.png')
  assert samples(spelt) == [f'{NFC}#2', f'{NFC}_1']


def test_a_number_that_may_be_a_missing_pictures_is_no_object(tmp_path):
  beside = folder(tmp_path, 'a.png', 'a.png a_1.png')
  assert samples(beside) == ['a']
  assert reasons(beside)['a_1'].endswith(
    'did you mean a further object of images/a.png? It is not taken for one, since that has '
    'masks/a.png: name the masks of its objects a#1, a#2, ...'
  )
  series = folder(tmp_path / 's', 'a.png a_1.png a_3.png', 'a_1.png a_2.png a_3.png')
  assert samples(series) == ['a_1', 'a_3']
  assert 'since some pictures are numbered so themselves' in reasons(series)['a_2']
  assert list(reasons(series)) == ['a', 'a_2']


def test_a_numbered_mask_beside_one_that_is_not_keeps_no_other_from_its_picture(tmp_path):
  # As in the Breast Ultrasound Images Dataset.
  dataset = folder(tmp_path, 'a(1).png a(2).png', 'a(1)_mask.png a(2)_mask.png a(2)_mask_1.png')
  assert samples(dataset) == ['a(1)', 'a(2)']
  assert [dataset[at].mask.sum() for at in (0, 1)] == [25, 30]
  assert 'since that has masks/a(2)_mask.png' in reasons(dataset)['a(2)_mask_1']
  assert len(dataset) == 3 and '(2 such pairs)' in dataset.notes[0]


@pytest.mark.parametrize(('image', 'drawn'), [
  ('img1', 'mask1'), ('image001', 'label001'), ('aMask', 'a'), ('case_1_0000', 'case_1'),
  ('A', 'a#1'), ('A', 'a_1'), ('x_1_leftImg8bit', 'x_1_gtFine_labelIds'),
])  # fmt: skip
def test_names_with_the_same_in_them_are_asked_about(tmp_path, image, drawn):
  other = 'x_1_gtFine_color.png' if 'gtFine' in drawn else 'other.png'
  dataset = folder(tmp_path, f'{image}.png', f'{drawn}.png {other}')
  assert samples(dataset) == []
  assert f'did you mean masks/{drawn}.png?' in reasons(dataset)[image]
  assert f'did you mean images/{image}.png?' in reasons(dataset)[drawn]


def test_near_names_are_asked_about_and_other_numbers_are_not(tmp_path):
  dataset = folder(
    tmp_path, 'img_1.png sheep.png frame_10.png q.png', 'img_001.png shep.png frame_11.png q.png'
  )
  found = reasons(dataset)
  assert samples(dataset) == ['q']
  assert 'did you mean masks/img_001.png?' in found['img_1']
  assert 'did you mean images/sheep.png?' in found['shep']
  assert found['frame_10'].endswith('no file of that stem in the folder masks')


def test_a_name_that_goes_on_is_asked_about(tmp_path):
  for name in ('images/a.png', 'images/c.png', 'masks/a (1).png', 'masks/c copy.png'):
    save(tmp_path / name, mask())
  found = reasons(data.open_dataset('folder', str(tmp_path)))
  assert 'did you mean images/a.png?' in found['a (1)']
  assert 'did you mean masks/a (1).png?' in found['a']
  assert 'did you mean images/c.png?' in found['c copy']
  assert len(found) == 4


def test_a_file_of_another_kind_in_the_place_of_a_mask_is_named(tmp_path):
  folder(tmp_path, 'a.png b.png', 'b.png')
  (tmp_path / 'masks' / 'a.json').write_text('{}')
  dataset = data.open_dataset('folder', str(tmp_path))
  assert reasons(dataset)['a'].endswith('in the folder masks; masks/a.json is no picture file')


def test_hints_are_quick_where_nothing_pairs_up():
  pictures = {f'left {number:04d}': [pathlib.Path('i/x.png')] for number in range(3000)}
  masks = {f'right {number:04d} {number % 7}': [pathlib.Path('m/x.png')] for number in range(3000)}
  hints = naming.Hints(pictures, masks, [*pictures, *masks])
  assert {hints.of(stem, 'm') for stem in pictures} == {''}
  letters = {chr(1000 + number) * 5: [pathlib.Path('i/x.png')] for number in range(3000)}
  hints = naming.Hints(letters, masks, [*letters, *masks])
  assert {hints.of(stem, 'm') for stem in letters} == {''}


def test_benchmarks_pair_up_alike(tmp_path):
  save(tmp_path / 'data_GT' / f'{NFD}.JPG', picture())
  save(tmp_path / 'boundary_GT' / f'{NFC}.bmp', mask())
  assert data.open_dataset('grabcut', str(tmp_path)).names == (NFD,)
