"""A data set's order, names, laziness and the limit on what the kernel counts exactly."""

import dataclasses
import pathlib

import numpy as np
import pytest

from tetris_jax.data import DataError, Dataset, Entry, Rejected, Sample
from tetris_jax.types import LARGEST_SIDE


def sample(name, height=3, width=4, **changes):
  """One that gives no reason to doubt it."""
  image = np.zeros((height, width, 3), np.uint8)
  image[0] = 255
  mask = np.zeros((height, width), np.bool_)
  mask[1] = True
  made = Sample(name, image, mask, np.zeros_like(mask))
  return dataclasses.replace(made, **changes)


def dataset_of(*items, reads=None, **options):
  def entry(item):
    def read():
      if reads is not None:
        reads.append(item.instance)
      return item

    return Entry(item.instance, read, lambda: item.size)

  return Dataset('test', [entry(item) for item in items], **options)


def test_instances_keep_their_order_and_are_read_when_asked_for():
  reads = []
  items = [sample('b'), Rejected('a', 'failed', 'damaged'), sample('c', 5, 6)]
  dataset = dataset_of(*items, reads=reads, notes=['one', 'two'])
  assert len(dataset) == 3 and dataset.names == ('b', 'a', 'c')
  assert dataset.notes == ('one', 'two')
  assert [dataset.size(index) for index in range(3)] == [(3, 4), None, (5, 6)]
  assert reads == []
  assert dataset[2] is items[2] and reads == ['c']
  assert list(dataset) == items and reads == ['c', 'b', 'a', 'c']


def test_a_selection_keeps_name_and_notes_in_the_order_asked_for():
  reads = []
  dataset = dataset_of(*map(sample, 'abc'), reads=reads, notes=['one'])
  chosen = dataset.select([2, 0])
  assert (chosen.name, chosen.names, chosen.notes) == ('test', ('c', 'a'), ('one',))
  assert reads == []
  assert chosen[0].instance == 'c' and reads == ['c']


def test_two_instances_of_one_name_are_an_error():
  with pytest.raises(DataError, match="data set 'test' has several instances named 'a'"):
    dataset_of(*map(sample, 'bacab'))


def test_a_side_beyond_what_is_exact_is_a_row_with_a_reason():
  assert LARGEST_SIDE == 4096
  dataset = dataset_of(sample('fits', 4096, 2), sample('long', 2, 4097))
  assert isinstance(dataset[0], Sample)
  for found in (dataset[1], list(dataset)[1]):
    assert isinstance(found, Rejected) and found.status == 'failed' and found.size == (2, 4097)
    assert '2 x 4097 pixels; the kernel is exact up to 4096' in found.reason


def test_what_is_too_large_by_its_header_is_not_read():
  reads = []
  entry = Entry('a', lambda: reads.append('a'), lambda: (5000, 3))
  found = Dataset('test', [entry])[0]
  assert (found.instance, found.status, found.size) == ('a', 'failed', (5000, 3))
  assert '5000 x 3 pixels' in found.reason and reads == []


def test_doubts_are_added_to_the_warnings_of_a_sample():
  full = sample('full', mask=np.ones((3, 4), np.bool_), warnings=('of the reader',))
  first, *others = dataset_of(full, sample('plain'))
  assert first.warnings[0] == 'of the reader' and len(first.warnings) == 2
  assert first.warnings[1].startswith('the object fills the picture')
  assert others[0].warnings == ()


def test_an_instance_says_which_files_and_what_else_it_depends_on():
  picture = pathlib.Path('a.png')
  entry = Entry('a', lambda: sample('a'), lambda: (3, 4), (picture,), 'polygon 1')
  dataset = Dataset('test', [entry]).select([0])
  assert dataset.files(0) == (picture,) and dataset.content(0) == 'polygon 1'
  assert dataset_of(sample('b')).files(0) == () and dataset_of(sample('b')).content(0) == ''


def test_what_a_reader_raises_costs_its_own_instance():
  def odd():
    raise KeyError('area\nand more')

  entries = [
    Entry('a', lambda: sample('a'), lambda: (3, 4)),
    Entry('b', odd, lambda: (3, 4)),
    Entry('c', odd, odd),
  ]
  first, second, third = Dataset('toy', entries)
  assert isinstance(first, Sample)
  assert (second.instance, second.status, second.size) == ('b', 'failed', (3, 4))
  reason = "it could not be read: KeyError: 'area\\nand more' (data_dataset_test.py, line"
  assert second.reason.startswith(reason)
  assert third.size is None and Dataset('toy', entries).size(2) is None
