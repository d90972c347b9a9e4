"""Objects by number: which there are in a mask, and what each becomes."""

import numpy as np
import pytest
from layouts import picture, save

from tetris_jax.data import Rejected, Sample, UnreadableImage, images, labels

SIZE = (6, 8)


def numbered(*rows):
  """A label picture whose rows hold these numbers, 0 below them."""
  out = np.zeros(SIZE, np.int32)
  out[: len(rows)] = np.array(rows, np.int32)[:, None]
  return out


def put(root, stem, size=SIZE):
  """A picture, and the path of a mask that only the test's reader knows."""
  save(root / 'images' / f'{stem}.png', picture(1, size))
  return stem, root / 'images' / f'{stem}.png', root / 'masks' / f'{stem}.png'


def reading(**by_stem):
  """A reader of labels from memory that counts."""
  reads = []

  def read(path):
    reads.append(path.stem)
    if path.stem not in by_stem:
      raise UnreadableImage(f'masks/{path.name} is missing')
    return by_stem[path.stem].copy()

  return read, reads


@pytest.mark.parametrize('seed', range(3))
def test_distinct_numbers_are_those_of_a_sort(seed):
  rng = np.random.default_rng(seed)
  numbers = rng.integers(-1, 5, (7, 9), dtype=np.int32) * rng.integers(0, 2, (7, 9), dtype=np.int32)
  assert labels.distinct(numbers) == [n for n in np.unique(numbers).tolist() if n > 0]
  assert labels.distinct(np.array([[3]], np.int32)) == [3]


def test_every_number_is_an_entry_and_what_has_none_is_rejected(tmp_path):
  found = [put(tmp_path, stem) for stem in ('two', 'none', 'void', 'gone')]
  read, _ = reading(two=numbered(9, 0, 4), none=numbered(0), void=numbered(*[-1] * 6))
  entries = labels.every_object(found, labels.Reader(read))
  assert [entry.instance for entry in entries] == ['two#4', 'two#9', 'none', 'void', 'gone']
  assert [entry.size() for entry in entries] == [SIZE] * 5
  four, nine, none, void, gone = (entry.read() for entry in entries)
  assert isinstance(four, Sample) and isinstance(nine, Sample)
  np.testing.assert_array_equal(np.flatnonzero(four.mask.any(1)), [2])
  np.testing.assert_array_equal(np.flatnonzero(nine.mask.any(1)), [0])
  np.testing.assert_array_equal(four.image, picture(1, SIZE))
  assert (none.status, none.reason) == ('skipped', 'masks/none.png has no object: no id above 0')
  assert (void.status, void.reason) == ('skipped', 'masks/void.png ignores every pixel')
  assert gone == Rejected('gone', 'failed', 'masks/gone.png is missing', SIZE)


def test_ignored_pixels_belong_to_every_object_of_a_mask(tmp_path):
  read, _ = reading(a=numbered(1, labels.IGNORED, 2))
  for entry in labels.every_object([put(tmp_path, 'a')], labels.Reader(read)):
    sample = entry.read()
    np.testing.assert_array_equal(np.flatnonzero(sample.ignore.any(1)), [1])
    assert not (sample.mask & sample.ignore).any()


def test_objects_that_are_not_kept_leave_no_entry(tmp_path):
  read, _ = reading(a=numbered(1, 2, 3))
  entries = labels.every_object(
    [put(tmp_path, 'a')], labels.Reader(read), keep=lambda numbers, number: number != 2
  )
  assert [entry.instance for entry in entries] == ['a#1', 'a#3']


def test_a_mask_is_read_once_to_list_it_and_once_for_objects_in_a_row(tmp_path):
  read, reads = reading(a=numbered(1, 2, 3))
  entries = labels.every_object([put(tmp_path, 'a')], labels.Reader(read))
  assert reads == ['a']
  samples = [entry.read() for entry in entries]
  assert reads == ['a', 'a'] and len(samples) == 3
  with pytest.raises(ValueError, match='read-only'):
    samples[0].image[0, 0, 0] = 1


def test_objects_are_listed_by_a_cheaper_reader_where_there_is_one(tmp_path):
  read, reads = reading(a=numbered(1, 2))
  listed, looked = reading(a=numbered(1, 2)[:, :1])
  entries = labels.every_object([put(tmp_path, 'a')], labels.Reader(read, listed=listed))
  assert [entry.instance for entry in entries] == ['a#1', 'a#2']
  assert (reads, looked) == ([], ['a'])


def test_too_many_numbers_are_no_objects(tmp_path, monkeypatch):
  monkeypatch.setattr(labels, 'MAX_OBJECTS', 2)
  read, _ = reading(a=numbered(1, 2, 3))
  _, _, mask = put(tmp_path, 'a')
  assert labels.numbers('a', mask, read) == Rejected(
    'a', 'failed', 'masks/a.png holds 3 different ids; at most 2 are objects', SIZE
  )
  monkeypatch.setattr(labels, 'MAX_OBJECTS', 3)
  assert labels.numbers('a', mask, read) == [1, 2, 3]


def test_one_object_is_the_number_asked_for(tmp_path):
  read, _ = reading(a=numbered(1, 7), b=numbered(0), c=np.ones((5, 5), np.int32))
  reader = labels.Reader(read)
  stem, image, mask = put(tmp_path, 'a')
  found = labels.one_object(stem, image, mask, reader, number=7).read()
  np.testing.assert_array_equal(np.flatnonzero(found.mask.any(1)), [1])
  # One that a resize has lost is told apart from a mask that is empty.
  lost = labels.one_object('a#5', image, mask, reader, number=5).read()
  assert lost.reason == 'masks/a.png: object 5 has no pixel at 6 x 8 pixels'
  empty = labels.one_object(*put(tmp_path, 'b'), reader).read()
  assert (empty.status, empty.reason) == ('skipped', 'masks/b.png has no object')
  other = labels.one_object(*put(tmp_path, 'c'), reader).read()
  assert other.status == 'failed' and 'has 5 x 5 pixels' in other.reason


def test_a_replaced_picture_reader_is_heard(tmp_path, monkeypatch):
  read, _ = reading(a=numbered(1))
  (entry,) = labels.every_object([put(tmp_path, 'a')], labels.Reader(read))
  monkeypatch.setattr(images, 'read_picture', lambda path: np.full((*SIZE, 3), 9, np.uint8))
  assert (entry.read().image == 9).all()
