"""What instances and segments share: folders, names that clash, and counts of what is left out."""

import math

import pytest
from coco_files import annotation, document, opened, write

from tetris_jax import data
from tetris_jax.data import coco_entries


def item(short, long, place=''):
  return coco_entries.Item(short, long, place, coco_entries.rejected(f'of {long}'))


def test_names_that_clash_give_way_to_longer_ones():
  items = [item('a#2', 'c/a.png#2'), item('a#10', '-'), item('a#3', '-'), item('a#2', 'd/a.png#2')]
  found = coco_entries.named(items, 'file.json')
  assert [one.instance for one in found] == ['a#3', 'a#10', 'c/a.png#2', 'd/a.png#2']
  assert found[2].read().reason == 'of c/a.png#2'


def test_names_that_clash_again_are_refused_by_number():
  items = [item(f'a#{k % 2}', f'a.png#{k % 2}') for k in range(5)]
  message = r'file\.json: annotation ids .*: 2, such as a\.png#0 \(3 times\), a\.png#1 \(2 times\)'
  with pytest.raises(data.DataError, match=message):
    coco_entries.named(items, 'file.json')


@pytest.mark.parametrize(
  ('area', 'expected'),
  [
    (25, 25), ('25.5', 25.5), ([25], 25), (0, None), (0.0, None), (None, None), ([], None),
    ([1, 2], None), (-1, None), ({}, None), ('x', None), (math.nan, None), (math.inf, None),
    (True, None),
  ],
)  # fmt: skip
def test_areas(area, expected):
  assert coco_entries.area_of({'area': area}) == expected
  assert coco_entries.area_of({}) is None


def test_a_digest_changes_with_what_it_is_of():
  deep = []
  for _ in range(3000):
    deep = [deep]
  values = [[[1.0, 2.0]], [[1.0, 2.5]], [[1, 2]], {'a': None}, 'Ü\ud800', 2**70, math.nan, deep]
  digests = [coco_entries.digest(one, None) for one in values]
  assert len(set(digests)) == len(values)
  # The same on every machine and in every session.
  assert coco_entries.digest([[1.0, 2.0]], None) == digests[0] == 'ec16b61c53791830'


def test_what_is_left_out_is_counted():
  left_out = coco_entries.LeftOut(9)
  assert list(left_out.notes('f.json', 'segments', 100)) == []
  left_out.require_some('f.json', 'segments', 100, kept=1)
  left_out.crowds, left_out.stuff = 2, 70
  assert list(left_out.notes('f.json', 'segments', 100)) == []
  left_out.small = 5
  assert list(left_out.notes('f.json', 'segments', 100)) == [
    'f.json: of 100 segments, left out as smaller than min_area=9 by their "area": 5'
  ]
  left_out.unclear, left_out.crowds = 3, 30
  (note,) = left_out.notes('f.json', 'segments', 100)
  assert 'every painted mask): 30; ' in note and note.endswith('(stuff=true takes them): 3')
  message = r'nothing is left of its 100 segments; left out as crowds .*: 30; .*: 5; .*: 70; .*: 3$'
  with pytest.raises(data.DataError, match=message):
    left_out.require_some('f.json', 'segments', 100, kept=0)


def test_a_missing_annotation_file_has_its_neighbours_named(tmp_path):
  write(tmp_path, document([annotation()]), name='lvis_v1_val.json')
  message = r'\(or another file by annotations=\.\.\., such as annotations/lvis_v1_val\.json\)'
  with pytest.raises(data.DataError, match=message):
    data.open_dataset('coco', str(tmp_path))
  dataset = data.open_dataset('coco', str(tmp_path), annotations='annotations/lvis_v1_val.json')
  assert dataset.names == ('a#1',)


@pytest.mark.parametrize('image_id', [99, None, 'x'])
def test_annotations_of_other_pictures_only_are_refused(tmp_path, image_id):
  annotations = [annotation(id=k, image_id=image_id) for k in range(5)]
  with pytest.raises(data.DataError, match=r'its "images" lacks .*\(5\)'):
    opened(tmp_path, document(annotations))
