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
  ((480, 854), (512, 864)),
  ((480, 640), (512, 640)),
  ((640, 427), (640, 512)),
  ((1, 1), (128, 128)),
  ((128, 129), (128, 256)),
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
  assert [group.canvas for group in groups] == [(128, 128)] * 3 + [(384, 128)] * 2
  assert sorted(index for group in groups for index in group.indices) == [
    index for index in range(16) if index != 7
  ]
  for group in groups:
    assert list(group.indices) == sorted(group.indices)
  with pytest.raises(ValueError, match='batch_size=0'):
    plan(dataset_of(), 0)


def test_a_rare_canvas_gives_way_to_a_larger_one_that_others_need():
  few = [make('a', 300, 400), make('b', 400, 600), make('c', 100, 100), make('d', 500, 860)]
  groups, _ = plan(dataset_of(*few), 8)
  # 384 x 512 goes to 512 x 640, that to 512 x 864; 128 x 128 stays, twelve times smaller.
  assert groups == (((128, 128), (2,)), ((512, 864), (0, 1, 3)))
  many = [make(f'{i:02}', 30, 200) for i in range(16)] + [make('z', 200, 200)]
  groups, _ = plan(dataset_of(*many), 32)
  assert [group.canvas for group in groups] == [(128, 256), (256, 256)]
  groups, _ = plan(dataset_of(*many[1:]), 32)
  assert [group.canvas for group in groups] == [(256, 256)]
