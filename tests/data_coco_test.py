"""COCO annotation files, instances and panoptic, made as the download has them."""

import json

import numpy as np
import pytest
from PIL import Image

from tetris_jax import data
from tetris_jax.data import coco

SIZE = (20, 30)


def compress(runs):
  """COCO's string of run lengths, written from its definition."""
  text = []
  for index, run in enumerate(runs):
    value = run - (runs[index - 2] if index > 2 else 0)
    while True:
      bits, value = value & 0x1F, value >> 5
      more = value != (-1 if bits & 0x10 else 0)
      text.append(chr(48 + (bits | (0x20 if more else 0))))
      if not more:
        break
  return ''.join(text)


def runs_of(mask):
  flat = np.concatenate([[False], mask.T.ravel(), [not mask.T.ravel()[-1]]])
  changes = np.flatnonzero(flat[1:] != flat[:-1])
  return np.diff(np.concatenate([[0], changes])).tolist()


@pytest.fixture
def masks():
  rng = np.random.default_rng(0)
  return [rng.random(SIZE) < share for share in (0.02, 0.5, 0.98)] + [np.ones(SIZE, np.bool_)]


def test_run_lengths_come_back_from_either_form(masks):
  for mask in masks:
    runs = runs_of(mask)
    for counts in (runs, compress(runs), compress(runs).encode()):
      found = coco.decode_segmentation({'size': list(SIZE), 'counts': counts}, SIZE)
      np.testing.assert_array_equal(found, mask)


@pytest.mark.parametrize(
  ('segmentation', 'message'),
  [
    ({'size': [20, 31], 'counts': [620]}, r'\[20, 31\]'),
    ({'size': [20, 30], 'counts': [10]}, '10 pixels in all'),
    ({'size': [20, 30], 'counts': 'P'}, 'ends early'),
    ({'size': [20, 30], 'counts': 'é'}, 'holds the character'),
    ([[1, 2, 3, 4]], 'a polygon of 4 numbers'),
    (None, 'of type NoneType'),
    ('abc', 'of type str'),
  ],
)
def test_damaged_segmentations_are_named(segmentation, message):
  with pytest.raises(ValueError, match=message):
    coco.decode_segmentation(segmentation, SIZE)


def test_polygons_count_from_the_corner_and_add_up():
  # Rectangles of corners (3, 4)-(8, 9) and, overlapping, (6, 4)-(12, 7).
  polygons = [[3, 4, 8, 4, 8, 9, 3, 9], [6, 4, 12, 4, 12, 7, 6, 7]]
  expected = np.zeros(SIZE, np.bool_)
  expected[4:9, 3:8] = expected[4:7, 6:12] = True
  np.testing.assert_array_equal(coco.decode_segmentation(polygons, SIZE), expected)


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
  with pytest.raises(data.DataError, match='is no COCO annotation file: TypeError'):
    data.open_dataset('coco', str(tmp_path))
