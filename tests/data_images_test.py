"""Picture and mask files of every kind, written by the test, against the arrays they hold."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from tetris_jax.data import images
from tetris_jax.data.images import UnreadableImage, picture_size, read_mask, read_picture

RANDOM = np.random.default_rng(0)
RGB = RANDOM.integers(0, 256, (17, 23, 3), dtype=np.uint8)
GREY = RANDOM.integers(0, 256, (17, 23), dtype=np.uint8)


def write_png(path, depth, colour_type, rows):
  """A PNG from raw scan lines, for the layouts that Pillow does not write."""

  def chunk(name, body):
    return struct.pack('>I', len(body)) + name + body + struct.pack('>I', zlib.crc32(name + body))

  width, height = rows[0][0], len(rows)
  head = struct.pack('>IIBBBBB', width, height, depth, colour_type, 0, 0, 0)
  lines = b''.join(b'\0' + line for _, line in rows)
  body = chunk(b'IHDR', head) + chunk(b'IDAT', zlib.compress(lines)) + chunk(b'IEND', b'')
  path.write_bytes(b'\x89PNG\r\n\x1a\n' + body)
  return path


def save(path, array_or_image, **options):
  image = array_or_image
  if isinstance(image, np.ndarray):
    image = Image.fromarray(image)
  image.save(path, **options)
  return path


def palette_image(index, colours):
  image = Image.fromarray(index).convert('L')
  image.putdata(index.ravel().tolist())
  image = Image.frombytes('P', image.size, image.tobytes())
  image.putpalette([channel for colour in colours for channel in colour])
  return image


@pytest.mark.parametrize('suffix', ['.png', '.bmp', '.tif', '.ppm', '.PNG'])
def test_rgb_is_read_exactly(tmp_path, suffix):
  path = save(tmp_path / f'a{suffix}', RGB)
  found = read_picture(path)
  assert found.dtype == np.uint8 and found.flags.c_contiguous
  np.testing.assert_array_equal(found, RGB)
  assert picture_size(path) == (17, 23)


def test_the_content_names_the_format_not_the_suffix(tmp_path):
  path = tmp_path / 'a.jpg'
  Image.fromarray(RGB).save(path, format='PNG')
  np.testing.assert_array_equal(read_picture(path), RGB)


def test_grey_becomes_three_equal_channels(tmp_path):
  found = read_picture(save(tmp_path / 'a.png', GREY))
  np.testing.assert_array_equal(found, np.stack([GREY] * 3, -1))


def test_alpha_is_dropped_not_composited(tmp_path):
  alpha = np.zeros((17, 23, 1), np.uint8)
  rgba = save(tmp_path / 'rgba.png', np.concatenate([RGB, alpha], -1))
  np.testing.assert_array_equal(read_picture(rgba), RGB)
  grey = Image.merge('LA', (Image.fromarray(GREY), Image.fromarray(alpha[..., 0])))
  found = read_picture(save(tmp_path / 'la.png', grey))
  np.testing.assert_array_equal(found, np.stack([GREY] * 3, -1))


@pytest.mark.filterwarnings('error')
def test_palette_picture_shows_its_colours_whatever_its_transparency(tmp_path):
  index = RANDOM.integers(0, 3, (5, 7), dtype=np.uint8)
  colours = [(10, 20, 30), (200, 0, 100), (255, 255, 0)]
  path = save(tmp_path / 'a.png', palette_image(index, colours), transparency=bytes([0, 128, 255]))
  np.testing.assert_array_equal(read_picture(path), np.array(colours, np.uint8)[index])


def test_sixteen_bit_grey_keeps_the_high_byte(tmp_path):
  deep = np.array([[0, 255, 256, 32768, 65279, 65535]], np.uint16)
  found = read_picture(save(tmp_path / 'a.png', deep))
  np.testing.assert_array_equal(found[0, :, 0], [0, 0, 1, 128, 254, 255])
  assert found.shape == (1, 6, 3)


def test_sixteen_bit_rgb_follows_the_same_rule(tmp_path):
  deep = np.array([[[0, 255, 256], [32768, 65279, 65535]]], '>u2')
  path = write_png(tmp_path / 'a.png', 16, 2, [(2, deep[0].tobytes())])
  np.testing.assert_array_equal(read_picture(path), [[[0, 0, 1], [128, 254, 255]]])


def test_cmyk_is_converted(tmp_path):
  cmyk = np.zeros((16, 16, 4), np.uint8)
  cmyk[:, 8:] = 0, 255, 255, 0
  path = save(tmp_path / 'a.tif', Image.frombytes('CMYK', (16, 16), cmyk.tobytes()))
  found = read_picture(path)
  assert found[0, 0].tolist() == [255, 255, 255] and found[0, 15].tolist() == [255, 0, 0]


UPRIGHT = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
STORED = {  # What a camera stores for each EXIF orientation so that a viewer shows UPRIGHT.
  1: UPRIGHT,
  2: UPRIGHT[:, ::-1],
  3: UPRIGHT[::-1, ::-1],
  4: UPRIGHT[::-1],
  5: UPRIGHT.T,
  6: UPRIGHT.T[::-1],
  7: UPRIGHT.T[::-1, ::-1],
  8: UPRIGHT.T[:, ::-1],
}


@pytest.mark.parametrize('orientation', STORED)
@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.webp', '.tif'])
def test_exif_orientation_is_applied(tmp_path, orientation, suffix):
  exif = Image.Exif()
  exif[0x0112] = orientation
  large = np.kron(STORED[orientation], np.ones((16, 16), np.uint8))
  options = {'.webp': {'lossless': True}, '.jpg': {'quality': 100}}.get(suffix, {})
  path = save(tmp_path / f'a{suffix}', large, exif=exif, **options)
  found = read_picture(path)
  assert picture_size(path) == (32, 48) == found.shape[:2]
  np.testing.assert_allclose(found[8::16, 8::16, 1], UPRIGHT, atol=2)
  if suffix == '.png':
    np.testing.assert_array_equal(read_mask(path)[8::16, 8::16], UPRIGHT)


@pytest.mark.filterwarnings('ignore:Corrupt EXIF', 'ignore:Truncated File')
@pytest.mark.parametrize('format', ['JPEG', 'PNG', 'GIF', 'TIFF', 'BMP', 'WEBP'])
def test_a_cut_file_is_refused_at_every_length(tmp_path, format):
  whole = io.BytesIO()
  smooth = np.add.outer(np.arange(40), np.arange(40)).astype(np.uint8)
  Image.fromarray(np.stack([smooth] * 3, -1)).save(whole, format=format)
  data = whole.getvalue()
  path = tmp_path / 'a.png'
  path.write_bytes(data)
  expected = read_picture(path)
  lengths = range(len(data) - 1) if len(data) < 1500 else range(0, len(data) - 1, 7)
  refused = 0
  for length in lengths:
    path.write_bytes(data[:length])
    try:
      found = read_picture(path)
    except UnreadableImage:
      refused += 1
      continue
    # What is left must hold every pixel: only bytes after the pixels may be missing.
    np.testing.assert_array_equal(found, expected)
  assert refused >= len(lengths) - 8


def test_a_cut_file_is_refused_where_another_library_made_pillow_lenient(tmp_path, monkeypatch):
  monkeypatch.setattr(ImageFile, 'LOAD_TRUNCATED_IMAGES', True)
  noise = RANDOM.integers(0, 256, (64, 64, 3), dtype=np.uint8)
  for suffix in ('.jpg', '.png'):
    path = save(tmp_path / f'a{suffix}', noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableImage, match='is damaged'):
      read_picture(path)
  assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_a_flipped_bit_in_png_pixels_is_refused(tmp_path):
  path = save(tmp_path / 'a.png', RGB)
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 4
  path.write_bytes(bytes(data))
  with pytest.raises(UnreadableImage, match=r'a\.png is damaged'):
    read_picture(path)


def test_files_that_are_no_pictures_are_refused_by_name(tmp_path):
  empty = tmp_path / 'empty.png'
  empty.write_bytes(b'')
  text = tmp_path / 'text.jpg'
  text.write_text('not a picture')
  postscript = tmp_path / 'a.png'
  postscript.write_text('%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n')
  for path, reason in (
    (empty, 'empty.png is empty'),
    (text, 'text.jpg is not a picture'),
    (postscript, 'a.png is not a picture'),
    (tmp_path / 'gone.png', 'gone.png cannot be read: No such file'),
    (tmp_path, 'is not a regular file'),
  ):
    for read in (read_picture, read_mask, picture_size):
      with pytest.raises(UnreadableImage, match=reason):
        read(path)


@pytest.mark.filterwarnings('ignore::PIL.Image.DecompressionBombWarning')
@pytest.mark.parametrize('side', [9500, 60000])
def test_a_header_that_promises_too_many_pixels_is_refused(tmp_path, side):
  path = write_png(tmp_path / 'a.png', 1, 0, [(side, bytes(9))])
  data = bytearray(path.read_bytes())
  data[20:24] = struct.pack('>I', side)
  data[29:33] = struct.pack('>I', zlib.crc32(bytes(data[12:29])))
  path.write_bytes(bytes(data))
  for read in (read_picture, read_mask, picture_size):
    with pytest.raises(UnreadableImage, match=r'a\.png claims .* at most 89478485 are read'):
      read(path)


def test_float_pictures_without_a_known_range_are_refused(tmp_path):
  path = save(tmp_path / 'a.tif', np.full((4, 4), 300, np.float32))
  with pytest.raises(UnreadableImage, match='floats from 0 to 300; floats are read from 0 to 1'):
    read_picture(path)


def test_a_picture_that_says_nothing_while_something_else_does_is_refused(tmp_path):
  one_colour = np.full((17, 23, 3), 9, np.uint8)
  drawn = save(tmp_path / 'a.png', np.dstack([one_colour, GREY]))
  with pytest.raises(UnreadableImage, match='one colour all over, and a picture or'):
    read_picture(drawn)
  blank, page = Image.fromarray(one_colour), Image.fromarray(RGB)
  blank.save(tmp_path / 'a.tif', save_all=True, append_images=[page, page])
  with pytest.raises(UnreadableImage, match=r'holds 3 pages or frames, the first of one colour'):
    read_picture(tmp_path / 'a.tif')
  page.save(tmp_path / 'b.tif', save_all=True, append_images=[blank])
  np.testing.assert_array_equal(read_picture(tmp_path / 'b.tif'), RGB)
  np.testing.assert_array_equal(read_picture(save(tmp_path / 'c.png', one_colour)), one_colour)


def test_of_an_animation_the_first_picture_counts(tmp_path):
  frames = [Image.fromarray(one) for one in (RGB, RGB[::-1])]
  for suffix in ('gif', 'png', 'webp'):
    options = {'lossless': True} if suffix == 'webp' else {}
    frames[0].save(tmp_path / f'one.{suffix}', **options)
    path = tmp_path / f'two.{suffix}'
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    np.testing.assert_array_equal(read_picture(path), read_picture(tmp_path / f'one.{suffix}'))


def test_mask_levels_of_grey_files(tmp_path):
  np.testing.assert_array_equal(read_mask(save(tmp_path / 'a.png', GREY)), GREY)
  bits = np.array([[True, False]])
  np.testing.assert_array_equal(read_mask(save(tmp_path / 'b.png', bits)), [[255, 0]])
  colour = save(tmp_path / 'c.png', np.stack([GREY] * 3, -1))
  np.testing.assert_array_equal(read_mask(colour), GREY)


def test_sixteen_bit_mask_keeps_ids_and_scales_levels(tmp_path):
  ids = np.array([[0, 1, 300, 65535]], np.uint16)
  path = save(tmp_path / 'a.png', ids)
  np.testing.assert_array_equal(read_mask(path, objects='ids'), ids)
  np.testing.assert_array_equal(read_mask(path), [[0, 0, 1, 255]])
  small = save(tmp_path / 'b.png', np.array([[0, 128, 255]], np.uint16))
  np.testing.assert_array_equal(read_mask(small), [[0, 128, 255]])


def test_palette_mask(tmp_path):
  index = np.array([[0, 1, 2]], np.uint8)
  grey = palette_image(index, [(0, 0, 0), (255, 255, 255), (128, 128, 128)])
  path = save(tmp_path / 'grey.png', grey)
  np.testing.assert_array_equal(read_mask(path), [[0, 255, 128]])
  np.testing.assert_array_equal(read_mask(path, objects='ids'), index)
  coloured = save(tmp_path / 'voc.png', palette_image(index, [(0, 0, 0), (128, 0, 0), (0, 128, 0)]))
  np.testing.assert_array_equal(read_mask(coloured, objects='ids'), index)
  with pytest.raises(UnreadableImage, match=r"voc\.png holds a coloured palette.*objects='ids'"):
    read_mask(coloured)


def test_coloured_palette_with_the_three_levels_as_indices(tmp_path):
  index = np.array([[0, 128, 255]], np.uint8)
  colours = [(255 - i, i, 0) for i in range(256)]
  path = save(tmp_path / 'a.png', palette_image(index, colours))
  np.testing.assert_array_equal(read_mask(path), index)


def test_colour_mask_is_ids_or_refused(tmp_path):
  path = save(tmp_path / 'a.png', np.array([[[0, 0, 0], [1, 2, 3], [255, 0, 0]]], np.uint8))
  np.testing.assert_array_equal(read_mask(path, objects='ids'), [[0, 66051, 16711680]])
  with pytest.raises(UnreadableImage, match=r'a\.png holds colours'):
    read_mask(path)
  grey = save(tmp_path / 'b.png', np.array([[[0] * 3, [7] * 3]], np.uint8))
  np.testing.assert_array_equal(read_mask(grey, objects='ids'), [[0, 7]])


@pytest.mark.parametrize(('depth', 'packed', 'ids'), [
  (1, bytes([0b01000000]), [0, 1]),
  (2, bytes([0b00011011]), [0, 1, 2, 3]),
  (4, bytes([0x0F, 0x3A]), [0, 15, 3, 10]),
])
def test_ids_of_few_bits_are_not_stretched(tmp_path, depth, packed, ids):
  path = write_png(tmp_path / 'a.png', depth, 0, [(len(ids), packed)])
  np.testing.assert_array_equal(read_mask(path, objects='ids'), [ids])


def test_ids_are_not_read_where_they_would_be_wrong(tmp_path):
  jpeg = save(tmp_path / 'a.jpg', GREY)
  with pytest.raises(UnreadableImage, match=r'a\.jpg is a JPEG'):
    read_mask(jpeg, objects='ids')
  deep = write_png(tmp_path / 'a.png', 16, 2, [(1, bytes(6))])
  with pytest.raises(UnreadableImage, match='16 bits in each of several channels'):
    read_mask(deep, objects='ids')
  with pytest.raises(ValueError, match="objects='id'"):
    read_mask(jpeg, objects='id')


def test_every_reader_suffix_is_lower_case():
  assert all(suffix == suffix.lower() and suffix[0] == '.' for suffix in images.SUFFIXES)


def test_a_file_in_memory_is_read_as_one_on_disk(tmp_path):
  path = save(tmp_path / 'a.jpg', RGB)
  encoded = images.Encoded('a', path.read_bytes())
  np.testing.assert_array_equal(read_picture(encoded), read_picture(path))
  assert picture_size(encoded) == (17, 23)
  with pytest.raises(UnreadableImage, match='a is damaged'):
    read_picture(encoded._replace(data=encoded.data[:200]))
  with pytest.raises(UnreadableImage, match=r'a is empty \(0 bytes\)'):
    read_picture(encoded._replace(data=b''))
