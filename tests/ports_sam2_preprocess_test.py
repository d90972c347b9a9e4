"""SAM 2's input: the released transforms' numbers, and what they mean."""

import jax
import numpy as np
import pytest
import sam_golden
from sam_golden import largest

from ports.sam2 import preprocess

MEAN = np.array([0.485, 0.456, 0.406])
DEVIATION = np.array([0.229, 0.224, 0.225])
RUN = jax.jit(preprocess.preprocess, static_argnames='side')


@pytest.mark.parametrize('index', range(4))
@pytest.mark.parametrize('room', [(0, 0), (3, 50)])
def test_resized_as_released_whatever_the_canvas_holds(index, room):
  golden = sam_golden.golden('sam2.1_hiera_tiny_session_256')
  height, width = map(int, golden[f'resize/{index}/size'])
  rng = np.random.default_rng(index)
  image = rng.integers(0, 256, (height, width, 3)).astype(np.float32) / 255
  canvas = rng.random((height + room[0], width + room[1], 3)).astype(np.float32)
  canvas[:height, :width] = image
  found = RUN(canvas, np.array([height, width], np.int32), side=256)
  assert found.shape == (256, 256, 3) and found.dtype == np.float32
  wanted = golden[f'resize/{index}/every7']
  assert largest(np.asarray(found)[::7, ::7], wanted) < 1e-6


def test_a_picture_of_the_input_s_size_is_kept():
  image = np.random.default_rng(0).random((64, 64, 3), np.float32)
  found = RUN(image, np.array([64, 64], np.int32), side=64)
  np.testing.assert_allclose(found, (image - MEAN) / DEVIATION, atol=1e-5)


def test_it_averages_where_it_shrinks_and_fills_the_square():
  image = np.random.default_rng(1).random((8, 128, 3), np.float32)
  found = np.asarray(RUN(image, np.array([8, 128], np.int32), side=32)) * DEVIATION + MEAN
  # Away from the ends a quarter of the width weighs seven pixels by a triangle.
  triangle = np.array([1, 3, 5, 7, 7, 5, 3, 1]) / 32
  row = found[16, 8]
  rows = (16 + 0.5) * 8 / 32 - 0.5
  low = int(np.floor(rows))
  between = image[low] * (1 - (rows - low)) + image[low + 1] * (rows - low)
  start = 8 * 4 + 2 - 4
  np.testing.assert_allclose(row, triangle @ between[start : start + 8], atol=1e-5)


def test_is_mapped_over_batches():
  rng = np.random.default_rng(2)
  sizes = np.array([[40, 60], [64, 10]], np.int32)
  images = rng.random((2, 64, 64, 3)).astype(np.float32)
  batched = jax.jit(jax.vmap(lambda image, size: preprocess.preprocess(image, size, side=32)))
  for image, size, found in zip(images, sizes, batched(images, sizes), strict=True):
    np.testing.assert_allclose(found, RUN(image, size, side=32), atol=1e-5)
