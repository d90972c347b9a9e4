"""What headers say beyond Pillow: bits in use, lossy codecs, and files that are something else."""

import io

import numpy as np
import pytest
from picture_files import SIZE, shades, write_png, write_tiff
from PIL import Image

from tetris_jax.data import headers, images
from tetris_jax.data.images import UnreadableImage

GREY = shades()


def about(path):
  with path.open('rb') as file, Image.open(file) as image:
    place = file.tell()
    found = headers.about(image, file)
    assert file.tell() == place
    return found


def test_bits_in_use_are_found_where_they_are_written(tmp_path):
  deep = GREY.astype(np.uint16)
  png = write_png(tmp_path / 'a.png', deep[..., None], 0, sbit=bytes([12]))
  assert about(png)[:2] == (12, True)
  assert about(write_png(tmp_path / 'b.png', deep[..., None], 0)).bits == 0
  assert about(write_tiff(tmp_path / 'a.tif', [deep], [(341, 4095)]))[:2] == (12, False)
  for value in (4000, 255, 0):
    assert about(write_tiff(tmp_path / 'b.tif', [deep], [(281, value)])).bits == 0


@pytest.mark.parametrize(('format', 'options', 'lossy'), [
  ('JPEG', {}, 'JPEG'),
  ('WEBP', {'quality': 80}, 'lossy WebP'),
  ('WEBP', {'lossless': True}, ''),
  ('TIFF', {'compression': 'jpeg'}, 'TIFF with JPEG inside'),
  ('TIFF', {'compression': 'tiff_lzw'}, ''),
  ('PNG', {}, ''),
  ('GIF', {}, ''),
])
@pytest.mark.parametrize('mode', ['RGB', 'RGBA'])
def test_lossy_codecs_are_known_in_any_container(tmp_path, format, options, lossy, mode):
  image = Image.fromarray(np.stack([GREY, GREY.T.reshape(SIZE), GREY], -1)).convert(mode)
  if mode == 'RGBA':
    image.putalpha(Image.fromarray(GREY))
    if 'JPEG' in lossy:
      return
  path = tmp_path / 'a'
  image.save(path, format, **options)
  assert about(path).lossy == lossy
  if format == 'WEBP':
    image.save(path, format, save_all=True, append_images=[image.rotate(180)], **options)
    assert about(path).lossy == lossy


def test_tiffs_that_count_down_or_have_signs_are_known(tmp_path):
  down = about(write_tiff(tmp_path / 'a.tif', [GREY], [(262, 0)]))
  assert down.white_is_zero and not down.signed and not down.as_written
  assert about(write_tiff(tmp_path / 'b.tif', [GREY.astype(np.int8)])).signed


def test_a_ppm_says_what_is_white(tmp_path):
  path = tmp_path / 'a.pgm'
  path.write_bytes(b'P5 4 1 3\n' + bytes([0, 1, 2, 3]))
  assert about(path).highest == 3


@pytest.mark.parametrize(('data', 'kind'), [
  (b'\0\0\0\x18ftypheic\0\0\0\0mif1heic' + bytes(400), 'a HEIC file'),
  (b'\0\0\0\x18ftypavif\0\0\0\0' + bytes(400), 'an AVIF file'),
  (b'\0\0\0\x0cjP  \r\n\x87\n' + bytes(400), 'a JPEG 2000 file'),
  (b'8BPS\0\x01' + bytes(400), 'a Photoshop file'),
  (b'%PDF-1.4\n', 'a PDF'),
  (b'version https://git-lfs.github.com/spec/v1\noid sha256:0', 'a pointer of Git LFS'),
  (b'<!DOCTYPE html><html>404', 'a text such as the error page of a download'),
])
def test_files_of_other_kinds_are_called_by_their_kind(data, kind):
  with pytest.raises(UnreadableImage, match=f'not a picture of a known format .*; it is {kind}'):
    images.read_picture(images.Encoded('a', data))
  assert headers.stranger(io.BytesIO(b'nothing')) == ''


@pytest.mark.parametrize(('page', 'what'), [
  (np.zeros(SIZE, np.int64), '64 bits a sample and 1 a pixel'),
  (np.zeros(SIZE, np.float64), '64 bits a sample and 1 a pixel'),
  (np.zeros((*SIZE, 3), np.float32), '32 bits a sample and 3 a pixel'),
])
def test_a_tiff_of_odd_pixels_is_called_one(tmp_path, page, what):
  path = write_tiff(tmp_path / 'a.tif', [page])
  with pytest.raises(UnreadableImage, match=f'it is a TIFF with {what}, which is not read'):
    images.read_picture(path)


@pytest.mark.filterwarnings('ignore:Corrupt EXIF')
def test_a_tiff_without_a_header_is_called_a_tiff():
  with pytest.raises(UnreadableImage, match='it is a TIFF whose header is not understood'):
    images.read_picture(images.Encoded('a', b'II*\0\x08\0\0\0\0\0'))
