"""Canvases, padding to them and the division of a data set into batches."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetris_jax.data import (
  Dataset,
  Entry,
  Rejected,
  Sample,
  batches,
  canvas_for,
  instance_id,
  plan,
  stack,
)
from tetris_jax.data.canvas import SIDES


def make(name, height, width):
  random = np.random.default_rng(zlib.crc32(name.encode()))
  image = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
  mask = random.random((height, width)) < 0.5
  return Sample(name, image, mask, ~mask & (random.random((height, width)) < 0.2))


def dataset_of(*items, reads=None):
  entries = []
  for item in items:

    def read(item=item):
      if reads is not None:
        reads.append(item.instance)
      return item

    entries.append(Entry(item.instance, read, lambda item=item: item.size))
  return Dataset('test', entries)


@pytest.mark.parametrize(('size', 'canvas'), [
  ((480, 854), (480, 864)),
  ((480, 640), (480, 640)),
  ((640, 427), (640, 480)),
  ((1, 1), (128, 128)),
  ((128, 129), (128, 192)),
  ((2048, 2049), (2048, 2560)),
  ((6000, 4096), (6144, 4096)),
])
def test_known_sizes_have_known_canvases(size, canvas):
  assert canvas_for(size) == canvas


@given(st.integers(1, 20000), st.integers(1, 20000))
def test_a_canvas_holds_its_image_and_is_its_own_canvas(height, width):
  canvas = canvas_for((height, width))
  assert canvas[0] >= height and canvas[1] >= width
  assert canvas_for(canvas) == canvas
  assert all(side in SIDES or side % 512 == 0 for side in canvas)


def test_an_image_without_pixels_has_no_canvas():
  with pytest.raises(ValueError, match='0 pixels'):
    canvas_for((0, 5))


def test_padding_is_zero_and_lies_below_and_to_the_right():
  samples = [make('a', 5, 7), make('b', 9, 3)]
  batch, count = stack(samples, (10, 8), 3)
  assert count == 2
  assert batch.image.shape == (3, 10, 8, 3) and batch.image.dtype == np.float32
  assert batch.mask.dtype == batch.ignore.dtype == np.bool_
  assert batch.size.dtype == np.int32 and batch.id.dtype == np.uint32
  assert batch.size.tolist() == [[5, 7], [9, 3], [9, 3]]
  assert batch.id.tolist() == [zlib.crc32(b'a'), zlib.crc32(b'b'), zlib.crc32(b'b')]
  for slot, sample in enumerate([*samples, samples[-1]]):
    height, width = sample.size
    for array, content in (
      (batch.image, sample.image / np.float32(255)),
      (batch.mask, sample.mask),
      (batch.ignore, sample.ignore),
    ):
      np.testing.assert_array_equal(array[slot, :height, :width], content)
      assert not array[slot, height:].any() and not array[slot, :, width:].any()
  assert batch.image.max() <= 1


def test_a_batch_takes_what_fits():
  sample = make('a', 5, 7)
  with pytest.raises(ValueError, match='a has 5 x 7 pixels, more than its canvas 5 x 6'):
    stack([sample], (5, 6), 1)
  for samples in ([], [sample, sample]):
    with pytest.raises(ValueError, match=f'{len(samples)} samples for a batch of 1'):
      stack(samples, (8, 8), 1)


def test_an_instance_is_named_by_the_same_number_everywhere():
  assert instance_id('123456789') == 0xCBF43926  # The check value of CRC-32 (ISO 3309).
  assert instance_id('bär#2') == zlib.crc32('bär#2'.encode())
  assert instance_id('\udcff') == zlib.crc32(b'\xff')  # A file name that is not UTF-8.


def test_groups_share_a_canvas_and_cover_everything_once():
  items = [make(f'{i:02}', *size) for i, size in enumerate([(100, 90), (300, 90), (1, 1)] * 5)]
  damaged = Rejected('x', 'failed', 'no header')
  groups, unsized = plan(dataset_of(*items[:7], damaged, *items[7:]), 4)
  assert unsized == (7,)
  assert [len(group.indices) for group in groups] == [4, 4, 2, 4, 1]
  assert [group.canvas for group in groups] == [(128, 128)] * 3 + [(320, 128)] * 2
  assert sorted(index for group in groups for index in group.indices) == [
    index for index in range(16) if index != 7
  ]
  for group in groups:
    assert list(group.indices) == sorted(group.indices)
  with pytest.raises(ValueError, match='batch_size=0'):
    plan(dataset_of(), 0)


def test_batches_read_one_group_at_a_time():
  reads: list[str] = []
  items = [make('a', 9, 9), Rejected('b', 'skipped', 'empty', (9, 9)), make('c', 9, 200)]
  items += [make('d', 9, 9), Rejected('e', 'failed', 'no header')]
  stream = batches(dataset_of(*items, reads=reads), 2)
  assert reads == []
  group, samples, rejected = next(stream)
  assert (group.canvas, group.indices, samples, rejected) == ((0, 0), (4,), [], [items[4]])
  group, samples, rejected = next(stream)
  assert group.indices == (0, 1) and reads == ['e', 'a', 'b']
  assert [sample.instance for sample in samples] == ['a'] and rejected == [items[1]]
  rest = [[sample.instance for sample in samples] for _, samples, _ in stream]
  assert rest == [['d'], ['c']]
