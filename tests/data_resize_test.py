"""Bilinear resizing: closed forms, and OpenCV's own answer."""

import numpy as np
import pytest

from tetris_jax.data import resize


@pytest.mark.parametrize(
  ('size', 'long_side', 'limited'),
  [
    ((3000, 4000), 2048, (1536, 2048)),
    ((4000, 3000), 2048, (2048, 1536)),
    ((2048, 100), 2048, (2048, 100)),
    ((100, 2049), 2048, (100, 2048)),
    ((30, 4096), 2048, (15, 2048)),
    ((1, 9000), 2048, (1, 2048)),
    ((3000, 3000), 1024, (1024, 1024)),
    ((3000, 4000), 0, (3000, 4000)),
  ],
)
def test_the_long_side_is_cut(size, long_side, limited):
  assert resize.limited_size(size, long_side) == limited


def test_a_ramp_stays_a_ramp():
  ramp = np.repeat(np.arange(0, 240, 4, dtype=np.uint8)[None], 6, axis=0)
  out = resize.resize(ramp, (3, 20))
  # Every third centre: position 3 k + 1 of the source.
  np.testing.assert_array_equal(out, np.repeat((4 * (3 * np.arange(20) + 1))[None], 3, axis=0))


def test_half_a_side_averages_blocks():
  image = np.random.default_rng(0).integers(0, 256, (8, 6, 3), dtype=np.uint8)
  blocks = image.reshape(4, 2, 3, 2, 3).astype(int).sum((1, 3))
  np.testing.assert_array_equal(resize.resize(image, (4, 3)), (blocks + 2) // 4)


def test_what_cannot_be_resized_is_refused():
  with pytest.raises(ValueError, match='float32'):
    resize.resize(np.zeros((2, 2), np.float32), (1, 1))
  with pytest.raises(ValueError, match='cannot resize'):
    resize.resize(np.zeros((2, 2), np.uint8), (0, 1))


@pytest.mark.parity
def test_every_bit_equals_opencv():
  import cv2

  rng = np.random.default_rng(0)
  for trial in range(300):
    height, width, to_height, to_width = (int(side) for side in rng.integers(1, 90, 4))
    if trial % 5 == 0:
      to_height, to_width = max(1, height // 2), max(1, width // 2)
    channels = () if trial % 2 else (3,)
    image = rng.integers(0, 256, (height, width, *channels), dtype=np.uint8)
    for source in (image, (image > 128).astype(np.uint8)):
      expected = cv2.resize(source, (to_width, to_height), interpolation=cv2.INTER_LINEAR)
      np.testing.assert_array_equal(resize.resize(source, (to_height, to_width)), expected)
