"""Of how many bits deeper files are: what they say, what their numbers say, and what is refused."""

import numpy as np
import pytest
from picture_files import SIZE, save, shades, write_png, write_tiff

from tetris_jax.data import UnreadableImage, levels
from tetris_jax.data.images import read_picture

GREY = shades()
DEEP = GREY.astype(np.uint16)
RGB = np.stack([GREY, 255 - GREY, GREY[::-1]], -1)


def grey_of(path, **options):
  found = read_picture(path, **options)
  assert found.dtype == np.uint8 and (found == found[..., :1]).all()
  return found[..., 0]


@pytest.mark.parametrize('bits', [8, 10, 12, 16])
@pytest.mark.parametrize('kind', [np.uint16, np.int32, np.uint32])
def test_numbers_of_eight_ten_twelve_and_sixteen_bits_show_one_picture(tmp_path, bits, kind):
  path = write_tiff(tmp_path / 'a.tif', [(DEEP << (bits - 8)).astype(kind)])
  np.testing.assert_array_equal(grey_of(path), GREY)


@pytest.mark.parametrize('order', '<>')
def test_the_order_of_bytes_does_not_matter(tmp_path, order):
  path = write_tiff(tmp_path / 'a.tif', [DEEP << 4], order=order)
  np.testing.assert_array_equal(grey_of(path), GREY)


def test_numbers_above_twelve_bits_are_sixteen_unless_somebody_says_otherwise(tmp_path):
  fourteen = DEEP << 6
  path = save(tmp_path / 'a.png', fourteen)
  np.testing.assert_array_equal(grey_of(path), GREY >> 2)
  np.testing.assert_array_equal(grey_of(path, bits=14), GREY)
  with pytest.raises(UnreadableImage, match=r'numbers up to \d+, which do not fit bits=12'):
    read_picture(path, bits=12)


@pytest.mark.parametrize('tags', [
  [(281, 16383)],
  [(341, 16383)],
  [(270, '<OME><Pixels SignificantBits="14"/></OME>')],
])
def test_a_tiff_that_says_how_many_bits_it_has_is_believed(tmp_path, tags):
  path = write_tiff(tmp_path / 'a.tif', [DEEP << 6], tags)
  np.testing.assert_array_equal(grey_of(path), GREY)
  # What its pixels contradict does not count, nor does the highest of them as a depth.
  full = write_tiff(tmp_path / 'b.tif', [DEEP << 8], tags)
  np.testing.assert_array_equal(grey_of(full), GREY)
  highest = write_tiff(tmp_path / 'c.tif', [DEEP << 6], [(281, int(DEEP.max()) << 6)])
  np.testing.assert_array_equal(grey_of(highest), GREY >> 2)


def test_significant_bits_of_a_png_may_be_the_high_ones(tmp_path):
  low = write_png(tmp_path / 'low.png', ((DEEP << 6) + 3)[..., None], 0, sbit=bytes([14]))
  np.testing.assert_array_equal(grey_of(low), GREY)
  # As the format has it, 14 bits are moved up by two; this picture is a dark one.
  high = write_png(tmp_path / 'high.png', (DEEP << 6)[..., None], 0, sbit=bytes([14]))
  np.testing.assert_array_equal(grey_of(high), GREY >> 2)
  twelve = write_png(tmp_path / 'twelve.png', (DEEP << 2)[..., None], 0, sbit=bytes([12]))
  np.testing.assert_array_equal(grey_of(twelve), GREY >> 2)


@pytest.mark.parametrize('bits', [8, 10, 12, 16])
def test_deep_colours_follow_the_same_rule(tmp_path, bits):
  deep = RGB.astype(np.uint16) << (bits - 8)
  opaque = np.full((*SIZE, 1), 65535, np.uint16)
  files = [
    write_png(tmp_path / 'rgb.png', deep, 2),
    write_png(tmp_path / 'rgba.png', np.concatenate([deep, opaque], -1), 6),
    write_tiff(tmp_path / 'little.tif', [deep]),
    write_tiff(tmp_path / 'big.tif', [deep], order='>'),
    write_tiff(tmp_path / 'planar.tif', [deep.transpose(2, 0, 1)], planar=True),
  ]
  for path in files:
    np.testing.assert_array_equal(read_picture(path), RGB, str(path))
  grey = np.concatenate([deep[..., :1], opaque], -1)
  np.testing.assert_array_equal(grey_of(write_png(tmp_path / 'la.png', grey, 4)), GREY)


def test_given_bits_hold_for_colours_and_not_for_eight_bit_files(tmp_path):
  deep = write_png(tmp_path / 'deep.png', RGB.astype(np.uint16) << 6, 2)
  np.testing.assert_array_equal(read_picture(deep), RGB >> 2)
  np.testing.assert_array_equal(read_picture(deep, bits=14), RGB)
  np.testing.assert_array_equal(read_picture(save(tmp_path / 'a.png', RGB), bits=14), RGB)


@pytest.mark.parametrize('scale', [np.float32(1) / 255, np.float32(1)])
def test_floats_count_from_nought_to_one_or_as_whole_levels(tmp_path, scale):
  path = write_tiff(tmp_path / 'a.tif', [GREY.astype(np.float32) * scale])
  np.testing.assert_array_equal(grey_of(path), GREY)


@pytest.mark.parametrize(('change', 'reason'), [
  (lambda grey: grey / 200, r'floats from .* to 1\.15; floats are read from 0 to 1'),
  (lambda grey: grey * 257, 'floats from'),
  (lambda grey: grey - 100, 'floats from -60'),
  (lambda grey: np.where(grey > 200, np.nan, 0.5), 'NaN or infinity at'),
])
def test_other_floats_are_refused(tmp_path, change, reason):
  path = write_tiff(tmp_path / 'a.tif', [change(GREY.astype(np.float32)).astype(np.float32)])
  with pytest.raises(UnreadableImage, match=reason):
    read_picture(path)


@pytest.mark.parametrize('kind', [np.int8, np.int16, np.int32])
def test_negative_numbers_are_refused_by_their_count(tmp_path, kind):
  values = np.zeros(SIZE, kind)
  values[3, :5] = -7
  path = write_tiff(tmp_path / 'a.tif', [values])
  with pytest.raises(UnreadableImage, match='negative values at 5 pixels, as low as -7'):
    read_picture(path)


def test_more_than_sixteen_bits_are_refused(tmp_path):
  path = write_tiff(tmp_path / 'a.tif', [np.full(SIZE, 70000, np.int32)])
  with pytest.raises(UnreadableImage, match=r'32-bit numbers up to 70000; 8 or 16 bits'):
    read_picture(path)


def test_deep_grey_that_counts_down_from_white_is_turned(tmp_path):
  path = write_tiff(tmp_path / 'a.tif', [65535 - (DEEP << 8)], [(262, 0)])
  np.testing.assert_array_equal(grey_of(path), GREY)


def test_bits_out_of_range_are_an_error():
  assert [levels.checked_bits(bits) for bits in (0, 8, 16)] == [0, 8, 16]
  for bits in (7, 17, -1):
    with pytest.raises(ValueError, match=f'bits={bits}; expected 8 to 16, or 0'):
      levels.checked_bits(bits)
