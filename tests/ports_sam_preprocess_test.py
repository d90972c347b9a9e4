"""Tests of SAM's preprocessing against Pillow, pixel for pixel."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ports.sam import preprocess

MEAN = np.array([123.675, 116.28, 103.53])
DEVIATION = np.array([58.395, 57.12, 57.375])
RUN = jax.jit(preprocess.preprocess)


def pillow(picture, side=1024):
  """Longest side to `side`, columns first and then rows, as Pillow did until version 12."""
  height, width = picture.shape[:2]
  scale = side / max(height, width)
  new = max(int(height * scale + 0.5), 1), max(int(width * scale + 0.5), 1)
  half = Image.fromarray(picture).resize((new[1], height), Image.Resampling.BILINEAR)
  return np.asarray(half.resize((new[1], new[0]), Image.Resampling.BILINEAR))


def levels_of(result, shape):
  """Normalised result -> 8-bit levels of the picture's part."""
  return np.rint(np.asarray(result)[: shape[0], : shape[1]] * DEVIATION + MEAN)


def on_canvas(picture, canvas, rng):
  image = rng.random((*canvas, 3), np.float32)
  image[: picture.shape[0], : picture.shape[1]] = picture.astype(np.float32) / 255
  return image


@pytest.mark.slow
@pytest.mark.parametrize(
  ('size', 'canvas'),
  [
    ((300, 451), (512, 512)),  # enlarged
    ((451, 300), (512, 512)),
    ((1024, 700), (1024, 768)),  # kept
    ((1300, 1111), (1408, 1152)),  # shrunk
    ((1000, 77), (1024, 128)),
    ((1, 9), (16, 16)),
  ],
)
def test_equals_pillow_on_noise_whatever_the_canvas_holds(size, canvas):
  rng = np.random.default_rng(0)
  picture = rng.integers(0, 256, (*size, 3), np.uint8)
  wanted = pillow(picture)
  result = np.asarray(RUN(on_canvas(picture, canvas, rng), np.array(size, np.int32)))
  assert result.shape == (1024, 1024, 3) and result.dtype == np.float32
  np.testing.assert_array_equal(levels_of(result, wanted.shape), wanted)
  exact = ((wanted - MEAN) / DEVIATION).astype(np.float32)
  np.testing.assert_allclose(result[: wanted.shape[0], : wanted.shape[1]], exact, atol=1e-6)
  result = result.copy()
  result[: wanted.shape[0], : wanted.shape[1]] = 0
  assert not result.any()


@settings(max_examples=25, deadline=None)
@given(
  height=st.integers(1, 192), width=st.integers(1, 192), seed=st.integers(0, 2**32 - 1)
)
def test_equals_pillow_for_any_size_in_one_program(height, width, seed):
  rng = np.random.default_rng(seed)
  picture = rng.integers(0, 256, (height, width, 3), np.uint8)
  wanted = pillow(picture)
  result = RUN(on_canvas(picture, (192, 192), rng), np.array([height, width], np.int32))
  np.testing.assert_array_equal(levels_of(result, wanted.shape), wanted)


@pytest.mark.parametrize('size', [(37, 61), (180, 190), (400, 90)])
@pytest.mark.slow
def test_equals_pillow_in_a_frame_of_another_side(size):
  rng = np.random.default_rng(1)
  picture = rng.integers(0, 256, (*size, 3), np.uint8)
  wanted = pillow(picture, 256)
  result = preprocess.preprocess(
    picture.astype(np.float32) / 255, np.array(size, np.int32), side=256
  )
  assert result.shape == (256, 256, 3) and max(wanted.shape[:2]) == 256
  np.testing.assert_array_equal(levels_of(result, wanted.shape), wanted)


def test_is_mapped_over_batches():
  rng = np.random.default_rng(0)
  sizes = np.array([[40, 60], [64, 10]], np.int32)
  images = rng.integers(0, 256, (2, 64, 64, 3)).astype(np.float32) / 255
  batched = jax.jit(jax.vmap(preprocess.preprocess))(images, sizes)
  for image, size, result in zip(images, sizes, batched, strict=True):
    np.testing.assert_array_equal(RUN(image, size), result)


@given(height=st.integers(1, 8000), width=st.integers(1, 8000))
def test_resized_size(height, width):
  found = preprocess.resized_size(np.array([height, width], np.int32))
  longest = max(height, width)
  exact = [max((2048 * x + longest) // (2 * longest), 1) for x in (height, width)]
  assert found.tolist() == exact
  assert max(exact) == 1024
