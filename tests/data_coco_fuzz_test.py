"""Whatever stands in a field, an annotation ends as a sample or a row in words, or as a DataError.

Fields of sound files are replaced at random, by seed, with what JSON can hold.
"""

import copy
import random

import numpy as np
import pytest
from coco_files import SIZE, annotation, document, image, save, write
from data_coco_panoptic_test import about, panoptic, segment

from tetris_jax import data

ODD = (
  None, True, False, 0, 1, -1, 1.0, 0.5, 2**70, -(2**70), 10**400, 1e400, float('nan'), '',
  '0', '1', 'x', 'é', '\ud800', '\0', '../../a.png', '/etc/passwd', 'a\\b.png', 'a' * 300, '%00',
  [], [[]], [None], [1], [1, 2], [[1, 2], [3, 4], [5, 6]], [['1', '2', 3, 4, 5, 6]],
  [[1e400] * 6], {}, {'a': 1},
  {'size': [20, 30], 'counts': [600]}, {'size': [30, 20], 'counts': [2**70, 600 - 2**70]},
  {'counts': 'o' * 99}, {'size': None, 'counts': None}, [{'counts': [300, 300]}], 'inf', '1' * 5000,
)  # fmt: skip


def spots(value):
  """All places of a document: its lists and objects with a key of theirs."""
  keys = value if isinstance(value, dict) else range(len(value) if isinstance(value, list) else 0)
  for key in keys:
    yield value, key
    yield from spots(value[key])


def mutated(held, rng):
  held = copy.deepcopy(held)
  for _ in range(rng.choice([1, 1, 1, 2, 4])):
    where, key = rng.choice(list(spots(held)))
    if isinstance(where, dict) and rng.random() < 0.15:
      del where[key]
    else:
      where[key] = copy.deepcopy(rng.choice(ODD))
    if not held:
      break
  return held


def check(opening, *args, **options):
  """What came of it: names of kinds."""
  try:
    dataset = opening(*args, **options)
  except data.DataError as error:
    assert len(str(error)) > 20
    return {'DataError'}
  kinds = set()
  assert len(dataset) and all(isinstance(note, str) for note in dataset.notes)
  for index, found in enumerate(dataset):
    assert found.instance == dataset.names[index]
    found.instance.encode('utf-8')
    assert isinstance(dataset.content(index), str)
    assert all(not file.is_absolute() or 'pytest' in str(file) for file in dataset.files(index))
    dataset.size(index)
    if isinstance(found, data.Rejected):
      assert found.status in ('failed', 'skipped') and 10 < len(found.reason) < 600
    else:
      assert found.image.dtype == np.uint8 and found.mask.shape == SIZE and found.mask.any()
    kinds.add(type(found).__name__)
  return kinds


SOUND = document(
  [
    annotation(),
    annotation(id=2, segmentation={'size': [20, 30], 'counts': [300, 300]}),
    annotation(id=3, image_id=2, iscrowd=1),
    annotation(id=4, image_id=2),
  ],
  images=[image(), image(id=2, file_name='cam2/a.png', coco_url='http://x/val2017/a.png')],
)


@pytest.mark.slow
def test_no_field_of_instances_can_do_harm(tmp_path):
  rng = random.Random(0)
  write(tmp_path, SOUND, pictures=['val2017/a.png', 'val2017/cam2/a.png'])
  seen = set()
  for _ in range(400):
    held = mutated(SOUND, rng)
    write(tmp_path, held, pictures=())
    seen |= check(data.open_dataset, 'coco', str(tmp_path), min_area=rng.choice([0, 9]))
  assert seen == {'Sample', 'Rejected', 'DataError'}


@pytest.mark.slow
def test_no_field_of_panoptic_files_can_do_harm(tmp_path):
  rng = random.Random(1)
  save(tmp_path / 'val2017' / 'a.png')
  sound = [about(segment(), segment(id=300))], [{'id': 1, 'isthing': 1}], [image()]
  seen = set()
  for _ in range(120):
    annotations, categories, images = mutated(list(sound), rng)
    seen |= check(panoptic, tmp_path, annotations, categories=categories, images=images)
  assert seen == {'Sample', 'Rejected', 'DataError'}
