"""Panoptic files whose fields are odd; what is plain is in data_coco_test.py."""

import json

import numpy as np
import pytest
from coco_files import INSIDE, SIZE, image, save
from PIL import Image

from tetris_jax import data

THING = [{'id': 1, 'isthing': 1}]


def segment(**changes):
  return {'id': 5, 'category_id': 1, 'iscrowd': 0, 'area': 25, 'bbox': [3, 4, 5, 5], **changes}


def panoptic(root, annotations, *, categories=THING, images=None, mask='a.png', **options):
  """Opens a file whose PNG has the segments 5, INSIDE, and 300 below it."""
  numbers = np.where(INSIDE, 5, 0)
  numbers[15:] = 300
  rgb = np.stack([numbers % 256, numbers // 256, 0 * numbers], -1).astype(np.uint8)
  save(root / 'val2017' / 'a.png')
  path = root / 'annotations' / 'panoptic_val2017' / mask
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(rgb).save(path)
  held = {'images': images or [image()], 'annotations': annotations, 'categories': categories}
  (root / 'annotations' / 'panoptic_val2017.json').write_text(json.dumps(held))
  return data.open_dataset('coco_panoptic', str(root), **options)


def about(*segments, **changes):
  return {'image_id': 1, 'file_name': 'a.png', 'segments_info': list(segments), **changes}


@pytest.mark.parametrize('changes', [
  {}, {'id': '5'}, {'id': 5.0}, {'category_id': '1'}, {'iscrowd': '0'}, {'iscrowd': None},
  {'area': None}, {'area': '25'}, {'area': 'x'}, {'area': -1},
])  # fmt: skip
def test_what_has_one_meaning_is_read(tmp_path, changes):
  dataset = panoptic(tmp_path, [about(segment(**changes))])
  assert dataset.names == ('a#5',) and not dataset.notes
  np.testing.assert_array_equal(dataset[0].mask, INSIDE)
  assert [file.name for file in dataset.files(0)] == ['a.png', 'a.png']


@pytest.mark.parametrize('categories', [
  [{'id': 1, 'isthing': '1'}], [{'id': '1', 'isthing': True}], [None, 5, {'id': 1.0, 'isthing': 1}],
])  # fmt: skip
def test_categories_may_be_written_otherwise(tmp_path, categories):
  assert panoptic(tmp_path, [about(segment())], categories=categories).names == ('a#5',)


@pytest.mark.parametrize('categories', [None, [], {}, [{'id': 1}], [{'id': 1, 'isthing': 'maybe'}]])
def test_categories_that_do_not_say_whether_they_are_things(tmp_path, categories):
  with pytest.raises(data.DataError, match=r'left of its 1 segments; .*no "isthing" \(stuff=true'):
    panoptic(tmp_path, [about(segment())], categories=categories)
  dataset = panoptic(tmp_path, [about(segment())], categories=categories, stuff=True)
  assert dataset.names == ('a#5',)
  both = [about(segment(), segment(id=300, category_id=2))]
  (note,) = panoptic(tmp_path, both, categories=THING).notes
  assert 'no "isthing" (stuff=true takes them): 1' in note


def test_nothing_left_is_refused_with_counts(tmp_path):
  segments = [segment(iscrowd=1), segment(area=3), segment(category_id=2), segment(iscrowd='1')]
  categories = [*THING, {'id': 2, 'isthing': 0}]
  message = r'of its 4 segments; left out as crowds.*: 2; .*min_area=9.*: 1; as no things.*: 1$'
  with pytest.raises(data.DataError, match=message):
    panoptic(tmp_path, [about(*segments)], categories=categories, min_area=9)
  with pytest.raises(data.DataError, match='has no segments'):
    panoptic(tmp_path, [about()])


@pytest.mark.parametrize(
  ('annotation', 'name', 'reason'),
  [
    (None, 'annotations[1]', 'annotations[1] is null; expected an object'),
    (about(image_id=9, file_name='b.png'), 'b', 'its "image_id" is 9, which is no picture'),
    (about(segments_info=None), 'a', 'its "segments_info" is null; expected a list'),
    (about(segments_info={'5': {}}), 'a', 'its "segments_info" is an object; expected a list'),
    ({'image_id': 1, 'file_name': 'a.png', 'segmentation': []}, 'a', 'its "segments_info" is null'),
    (about(file_name=None), 'a', 'its "file_name" is null; expected that of its PNG'),
    (about(file_name='\ud800.png'), 'a', 'its "file_name" is \'\\ud800.png\'; expected'),
    (about(file_name='9' * 300), 'a', 'its "file_name" is \'999'),
    (about(file_name='../../../x.png'), 'a', "its file '../../../x.png' lies outside of data_dir"),
    (about(5), 'a#segments_info[0]', 'segments_info[0] is 5; expected an object'),
    (about(segment(id=None)), 'a#segments_info[0]', 'the "id" of segments_info[0] is null'),
    (about(segment(id=0)), 'a#segments_info[0]', 'the "id" of segments_info[0] is 0'),
    (about(segment(id=2**24)), 'a#segments_info[0]', 'the "id" of segments_info[0] is 16777216'),
    (about(segment(iscrowd='x', id=300)), 'a#300', 'its "iscrowd" is \'x\'; expected 0 or 1'),
    (about(segment(id=7)), 'a#7', 'panoptic_val2017/a.png: object 7 has no pixel'),
    (about(segment(id=7), file_name='b.png'), 'a#7', 'panoptic_val2017/b.png cannot be read'),
  ],
)
def test_an_odd_annotation_is_a_row_beside_the_others(tmp_path, annotation, name, reason):
  dataset = panoptic(tmp_path, [about(segment()), annotation])
  found = dict(zip(dataset.names, dataset, strict=True))
  assert len(found) == 2 and isinstance(found['a#5'], data.Sample)
  assert found[name].reason.startswith(reason)


def test_a_file_of_instances_is_said_to_be_one(tmp_path):
  held = [{'id': 1, 'image_id': 1, 'segmentation': []}]
  assert panoptic(tmp_path, held)[0].reason.endswith('which dataset=coco reads)')


def test_segments_without_an_area_are_measured(tmp_path):
  held = [about(segment(area=None), segment(id=300, area='x'))]
  small, large = panoptic(tmp_path, held, min_area=26)
  assert small.reason == 'its mask has 25 pixels, fewer than min_area=26'
  assert isinstance(large, data.Sample)


def test_a_number_of_several_segments_is_rows_beside_the_others(tmp_path):
  dataset = panoptic(tmp_path, [about(segment(), segment(id=300), segment())])
  assert dataset.names == (
    'a#300', 'a#annotations[0].segments_info[0]', 'a#annotations[0].segments_info[2]'
  )  # fmt: skip
  assert isinstance(dataset[0], data.Sample) and '2 annotations of one' in dataset[1].reason


def test_numbers_of_several_segments_are_refused(tmp_path):
  with pytest.raises(data.DataError, match=r'stand more than once .*: 1, such as a\.png#5'):
    panoptic(tmp_path, [about(segment(), segment())])


def test_folders_in_names_of_pngs_count(tmp_path):
  held = [about(segment(), file_name='cam2\\a.png')]
  dataset = panoptic(tmp_path, held, mask='cam2/a.png')
  assert isinstance(dataset[0], data.Sample)
  (flat,) = panoptic(tmp_path, [about(segment(), file_name='cam1/b.png')])
  assert flat.reason.endswith('b.png cannot be read: No such file or directory; it was looked for '
                              'in panoptic_val2017 and in data_dir')  # fmt: skip


@pytest.mark.parametrize(('name', 'codec'), [('a.jpg', 'JPEG'), ('a.webp', 'lossy WebP')])
def test_numbers_in_a_lossy_file_are_refused(tmp_path, name, codec):
  dataset = panoptic(tmp_path, [about(segment(), file_name=name)], mask=name)
  assert f'is a {codec}, whose rounding changes the numbers' in dataset[0].reason


def test_a_picture_of_another_size_is_a_row(tmp_path):
  dataset = panoptic(tmp_path, [about(segment())])
  save(tmp_path / 'val2017' / 'a.png', size=(30, 20))
  assert 'panoptic_val2017/a.png has 20 x 30' in dataset[0].reason and SIZE == (20, 30)
