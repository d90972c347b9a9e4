"""COCO annotation files, instances and panoptic, made as the download has them."""

import json

import numpy as np
import pytest
from coco_files import INSIDE, annotation, document, image, opened, without
from PIL import Image

from tetris_jax import data

SIZE = (20, 30)


def runs_of(mask):
  flat = np.concatenate([[False], mask.T.ravel(), [not mask.T.ravel()[-1]]])
  changes = np.flatnonzero(flat[1:] != flat[:-1])
  return np.diff(np.concatenate([[0], changes])).tolist()


@pytest.fixture
def masks():
  rng = np.random.default_rng(0)
  return [rng.random(SIZE) < share for share in (0.02, 0.5, 0.98)] + [np.ones(SIZE, np.bool_)]


def write(root, annotations, **more):
  (root / 'annotations').mkdir(parents=True, exist_ok=True)
  (root / 'val2017').mkdir(exist_ok=True)
  held = [
    {'id': 139, 'file_name': '000000000139.jpg', 'height': 20, 'width': 30},
    {'id': 7, 'coco_url': 'http://x/val2017/000000000007.jpg', 'height': 20, 'width': 30},
  ]
  for one in held:
    Image.new('RGB', (30, 20), (1, 2, 3)).save(root / 'val2017' / f'{one["id"]:012d}.jpg')
  name = more.pop('file', 'instances_val2017.json')
  document = {'images': held, 'annotations': annotations, **more}
  (root / 'annotations' / name).write_text(json.dumps(document))


def test_instances_are_named_by_annotation_and_crowds_left_out(tmp_path, masks):
  square = [[3, 4, 8, 4, 8, 9, 3, 9]]
  write(tmp_path, [
    {'id': 20, 'image_id': 139, 'area': 25, 'segmentation': square},
    {'id': 3, 'image_id': 139, 'area': 300, 'iscrowd': 0,
     'segmentation': {'size': [20, 30], 'counts': runs_of(masks[1])}},
    {'id': 4, 'image_id': 139, 'area': 300, 'iscrowd': 1, 'segmentation': square},
    {'id': 5, 'image_id': 7, 'area': 25, 'segmentation': square},
    {'id': 6, 'image_id': 7, 'area': 25, 'segmentation': []},
    {'id': 8, 'image_id': 7, 'area': 25, 'segmentation': [[1, 2]]},
  ])  # fmt: skip
  dataset = data.open_dataset('coco', str(tmp_path))
  assert dataset.names == (
    '000000000007#5', '000000000007#6', '000000000007#8', '000000000139#3', '000000000139#20',
  )  # fmt: skip
  np.testing.assert_array_equal(dataset[3].mask, masks[1])
  assert dataset[0].mask.sum() == 25 and dataset.size(0) == SIZE
  assert dataset[1].status == 'skipped'
  assert dataset[2].reason.startswith('its segmentation is damaged: a polygon of 2 numbers')
  assert data.open_dataset('coco', str(tmp_path), min_area=100).names == ('000000000139#3',)


def test_a_picture_that_is_gone_or_of_another_size_is_a_failed_row(tmp_path):
  square = [[3, 4, 8, 4, 8, 9, 3, 9]]
  annotations = [{'id': k, 'image_id': k, 'segmentation': square} for k in (7, 139)]
  write(tmp_path, annotations)
  (tmp_path / 'val2017' / '000000000007.jpg').unlink()
  Image.new('RGB', (31, 20)).save(tmp_path / 'val2017' / '000000000139.jpg')
  gone, other = data.open_dataset('coco', str(tmp_path))
  assert 'cannot be read' in gone.reason
  assert other.reason == '000000000139.jpg has 20 x 31 pixels, its annotation says (20, 30)'


def test_panoptic_things_have_24_bit_numbers(tmp_path):
  numbers = np.zeros(SIZE, np.int64)
  numbers[2:6], numbers[8:10], numbers[12:14], numbers[16:18] = 5, 300, 3226956, 77
  rgb = np.stack([numbers % 256, numbers // 256 % 256, numbers // 65536], -1).astype(np.uint8)
  folder = tmp_path / 'annotations' / 'panoptic_val2017'
  folder.mkdir(parents=True)
  Image.fromarray(rgb).save(folder / '000000000139.png')
  segments = [
    {'id': 5, 'category_id': 1, 'area': 120},
    {'id': 300, 'category_id': 200, 'area': 60},
    {'id': 3226956, 'category_id': 1, 'area': 60},
    {'id': 77, 'category_id': 1, 'area': 60, 'iscrowd': 1},
  ]
  write(
    tmp_path,
    [{'image_id': 139, 'file_name': '000000000139.png', 'segments_info': segments}],
    categories=[{'id': 1, 'isthing': 1}, {'id': 200, 'isthing': 0}],
    file='panoptic_val2017.json',
  )
  dataset = data.open_dataset('coco_panoptic', str(tmp_path))
  assert dataset.names == ('000000000139#5', '000000000139#3226956')
  np.testing.assert_array_equal(dataset[1].mask, numbers == 3226956)
  everything = data.open_dataset('coco_panoptic', str(tmp_path), stuff=True)
  assert everything.names == ('000000000139#5', '000000000139#300', '000000000139#3226956')


def test_files_that_are_missing_or_of_another_kind_are_named(tmp_path):
  with pytest.raises(data.DataError, match=r'needs data_dir; .*cocodataset\.org'):
    data.open_dataset('coco')
  with pytest.raises(data.DataError, match=r'no file annotations/instances_val2017\.json'):
    data.open_dataset('coco', str(tmp_path))
  write(tmp_path, [{'id': 1, 'image_id': 99}])
  with pytest.raises(data.DataError, match='lacks 99 or names no picture'):
    data.open_dataset('coco', str(tmp_path))
  (tmp_path / 'annotations' / 'instances_val2017.json').write_text('[]')
  with pytest.raises(data.DataError, match='is no COCO annotation file: it holds a bare list'):
    data.open_dataset('coco', str(tmp_path))


@pytest.mark.parametrize(
  'changes',
  [
    {}, {'iscrowd': False}, {'iscrowd': '0'}, {'iscrowd': 'false'}, {'iscrowd': None},
    {'area': None}, {'area': [25]}, {'area': '25'}, {'area': 'x'}, {'area': {}}, {'area': -1},
    {'area': float('nan')}, {'image_id': '1'}, {'image_id': 1.0}, {'id': '1'}, {'bbox': None},
    {'bbox': 'x'}, {'category_id': None}, {'score': float('inf')},
  ],
)  # fmt: skip
def test_one_odd_field_changes_nothing(tmp_path, changes):
  dataset = opened(tmp_path, document([annotation(**changes)]))
  assert dataset.names == ('a#1',) and not dataset.notes
  np.testing.assert_array_equal(dataset[0].mask, INSIDE)
  assert not dataset[0].warnings


@pytest.mark.parametrize(
  ('odd', 'name', 'reason'),
  [
    (None, '?#annotations[1]', 'annotations[1] is null; expected an object'),
    ([], '?#annotations[1]', 'annotations[1] is []; expected an object'),
    (annotation(id=2, image_id=99), '?#2', 'its "image_id" is 99, which is no picture of the file'),
    (annotation(id=2, image_id=[1]), '?#2', 'its "image_id" is [1], which is no picture'),
    (without(annotation(id=2), 'image_id'), '?#2', 'it has no "image_id"'),
    (without(annotation(), 'id'), 'a#annotations[1]', 'the "id" of annotations[1] is missing'),
    (annotation(id=True), 'a#annotations[1]', 'the "id" of annotations[1] is true'),
    (annotation(id=2, iscrowd='maybe'), 'a#2', 'its "iscrowd" is \'maybe\'; expected 0 or 1'),
    (annotation(id=2, segmentation=None), 'a#2', 'it has no "segmentation"; its "bbox" alone'),
    (annotation(id=2, segmentation=[[1, 2]]), 'a#2', 'its segmentation is damaged: a polygon of 2'),
    ({'id': 2, 'image_id': 1, 'segments_info': []}, 'a#2', 'it has no "segmentation" but "segm'),
  ],
)
def test_an_odd_annotation_is_a_row_beside_the_others(tmp_path, odd, name, reason):
  dataset = opened(tmp_path, document([annotation(), odd]))
  found = dict(zip(dataset.names, dataset, strict=True))
  assert len(found) == 2 and isinstance(found['a#1'], data.Sample)
  assert found[name].status == 'failed' and found[name].reason.startswith(reason)


def test_annotations_of_one_id_in_one_picture_are_rows_beside_the_others(tmp_path):
  annotations = [annotation(id=0), annotation(id=7), annotation(id=0), annotation(id=0, iscrowd=1)]
  dataset = opened(tmp_path, document(annotations))
  assert dataset.names == ('a#7', 'a#annotations[0]', 'a#annotations[2]')
  assert isinstance(dataset[0], data.Sample)
  assert {dataset[k].reason for k in (1, 2)} == {
    'a.png#0 are 2 annotations of one picture: give each an "id" of its own, which results are '
    'kept by'
  }


def test_an_area_of_zero_is_measured(tmp_path):
  dataset = opened(tmp_path, document([annotation(area=0)]), min_area=9)
  assert isinstance(dataset[0], data.Sample)
  small = opened(tmp_path, document([annotation(area=0)]), min_area=26)
  assert small[0].status == 'skipped' and '25 pixels, fewer than min_area=26' in small[0].reason


def test_annotations_of_one_id_only_are_refused(tmp_path):
  with pytest.raises(data.DataError, match=r'annotation ids .*: 1, such as a\.png#0 \(2 times\)'):
    opened(tmp_path, document([annotation(id=0), annotation(id=0)]))


def test_nothing_left_is_refused_with_counts(tmp_path):
  crowds = [annotation(id=k, iscrowd=flag) for k, flag in enumerate((1, True, '1', 'true'))]
  message = r'nothing is left of its 4 annotations; left out as crowds \(iscrowd=1.*\): 4$'
  with pytest.raises(data.DataError, match=message):
    opened(tmp_path, document(crowds))
  with pytest.raises(data.DataError, match=r'of its 5 .*: 4; .*min_area=30 by their "area": 1$'):
    opened(tmp_path, document([*crowds, annotation(id=9)]), min_area=30)
  with pytest.raises(data.DataError, match='has no annotations'):
    opened(tmp_path, document([]))
  (note,) = opened(tmp_path, document([*crowds, annotation(id=9)])).notes
  assert ': of 5 annotations, left out as crowds (iscrowd=1' in note and note.endswith('): 4')


def test_a_mask_is_measured_where_no_area_is_stated(tmp_path):
  held = document([annotation(id=k, area=area) for k, area in enumerate((None, '26', 'x'))])
  first, second, third = opened(tmp_path, held, min_area=26)
  assert first.reason == third.reason == 'its mask has 25 pixels, fewer than min_area=26'
  assert isinstance(second, data.Sample)


def test_entries_say_what_they_are_made_of(tmp_path):
  def contents(*annotations, **more):
    dataset = opened(tmp_path, document(list(annotations), **more))
    assert dataset.files(0) == (tmp_path / 'val2017' / 'a.png',)
    return dataset.content(0)

  plain = contents(annotation())
  assert plain == contents(annotation(area=3, category_id=7), annotation(id=2)) != ''
  moved = [[4, 4, 9, 4, 9, 9, 4, 9]]
  odd = contents(annotation(segmentation=moved)), contents(annotation(bbox=[1, 2, 3, 4]))
  larger = contents(annotation(), images=[image(height=21)])
  assert len({plain, *odd, larger, contents(annotation(segmentation=None))}) == 5


def test_an_upright_picture_is_what_was_annotated(tmp_path):
  held = document([annotation()], images=[image(file_name='a.jpg', height=20, width=30)])
  opened(tmp_path, held, pictures=['val2017/a.jpg'])
  exif = Image.Exif()
  exif[0x0112] = 6
  Image.new('RGB', (20, 30)).save(tmp_path / 'val2017' / 'a.jpg', exif=exif)
  assert isinstance(data.open_dataset('coco', str(tmp_path))[0], data.Sample)
  Image.new('RGB', (30, 20)).save(tmp_path / 'val2017' / 'a.jpg', exif=exif)
  reason = data.open_dataset('coco', str(tmp_path))[0].reason
  assert reason.startswith('a.jpg has 30 x 20 pixels, its annotation says (20, 30), the same')
