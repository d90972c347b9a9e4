"""Masks by the reference loaders' rules, and files whose colours do not hold what was drawn."""

import numpy as np
import pytest
from layouts import SIZE
from PIL import Image

from tetris_jax.data import UnreadableImage, labels, masks

OBJECTS = np.zeros(SIZE, np.uint8)
OBJECTS[4:12, 5:17], OBJECTS[14:20, 20:30] = 1, 2


def palette(path, colours, index=OBJECTS):
  image = Image.fromarray(index, 'P')
  image.putpalette(colours)
  image.save(path)
  return path


def saved(path, array, **options):
  Image.fromarray(array).save(path, **options)
  return path


def refused(read, path):
  with pytest.raises(UnreadableImage) as error:
    read(path)
  return str(error.value)


def test_any_channel_counts(tmp_path):
  rgb = np.zeros((*SIZE, 3), np.uint8)
  rgb[OBJECTS == 1, 2], rgb[OBJECTS == 2, 0] = 1, 200
  np.testing.assert_array_equal(masks.nonzero(saved(tmp_path / 'a.png', rgb)), OBJECTS > 0)
  colours = palette(tmp_path / 'b.png', [0, 0, 0, 128, 0, 0, 0, 128, 0])
  np.testing.assert_array_equal(masks.nonzero(colours), OBJECTS > 0)
  # The background may have any index.
  turned = palette(tmp_path / 'c.png', [9, 9, 9, 0, 0, 0, 9, 9, 9])
  np.testing.assert_array_equal(masks.nonzero(turned), OBJECTS != 1)


def test_blue_counts_in_a_trimap(tmp_path):
  rgb = np.zeros((*SIZE, 3), np.uint8)
  rgb[OBJECTS == 1], rgb[OBJECTS == 2, 2] = 255, 128
  rgb[0, :, 0] = 255
  expected = np.where(OBJECTS == 2, labels.IGNORED, OBJECTS.astype(int))
  np.testing.assert_array_equal(masks.trimap(saved(tmp_path / 'a.bmp', rgb)), expected)


def test_a_palette_of_black_only_counts_by_its_numbers(tmp_path):
  black = palette(tmp_path / 'a.png', [0] * 9)
  np.testing.assert_array_equal(masks.nonzero(black), OBJECTS > 0)


def test_an_object_that_is_black_like_the_background_is_refused(tmp_path):
  file = palette(tmp_path / 'a.png', [0, 0, 0, 0, 0, 0, 0, 128, 0])
  assert 'the indices 0, 1 of its palette are all black' in refused(masks.nonzero, file)


@pytest.mark.parametrize('read', [masks.nonzero, masks.trimap])
@pytest.mark.parametrize(('name', 'options'), [
  ('a.jpg', {'quality': 75}),
  ('a.webp', {'quality': 60}),
  # Its colour profile stands before the pixels.
  ('a.webp', {'quality': 60, 'icc_profile': bytes(3000)}),
  ('a.tif', {'compression': 'jpeg', 'quality': 60}),
])
def test_lossy_codecs_are_refused_unless_they_lost_nothing(tmp_path, read, name, options):
  distance = np.hypot(*(np.indices((48, 64)) - np.array([[[24]], [[30]]])))
  drawn = np.select([distance < 11, distance < 14], [255, 128], 0)
  drawn = drawn[..., None].astype(np.uint8).repeat(3, -1)
  reason = refused(read, saved(tmp_path / name, drawn, **options))
  assert 'different levels: its rounding makes an object of pixels beside' in reason
  blocks = np.zeros((48, 64, 3), np.uint8)
  blocks[16:32, 16:48] = 255
  found = read(saved(tmp_path / name, blocks, **{**options, 'quality': 100}))
  np.testing.assert_array_equal(found == 1, blocks[..., 0] > 0)


def test_a_lossless_webp_is_read(tmp_path):
  drawn = np.where(OBJECTS[..., None] > 0, 255, 0).astype(np.uint8).repeat(3, -1)
  file = saved(tmp_path / 'a.webp', drawn, lossless=True)
  np.testing.assert_array_equal(masks.nonzero(file), OBJECTS > 0)


@pytest.mark.parametrize('read', [masks.nonzero, masks.trimap])
@pytest.mark.parametrize('level', [0, 255])
def test_a_mask_in_the_transparency_is_refused(tmp_path, read, level):
  rgba = np.full((*SIZE, 4), level, np.uint8)
  rgba[..., 3] = 255 * (OBJECTS > 0)
  assert 'a mask in its transparency' in refused(read, saved(tmp_path / 'a.png', rgba))
  rgba[OBJECTS > 0, :3] = 255 - level
  read(saved(tmp_path / 'a.png', rgba))


def test_sixteen_bits_keep_their_numbers(tmp_path):
  deep = saved(tmp_path / 'a.png', OBJECTS.astype(np.uint16))
  np.testing.assert_array_equal(masks.nonzero(deep), OBJECTS > 0)
  high = saved(tmp_path / 'b.png', (OBJECTS > 0) * np.uint16(65535))
  np.testing.assert_array_equal(masks.trimap(high), OBJECTS > 0)
