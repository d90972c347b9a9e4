"""Pictures of a run read back: ours come as they are, whatever else is left out and told once."""

import contextlib
import io
import os
import struct
import zlib

import numpy as np
import pytest
import runs
from PIL import Image, PngImagePlugin

from tetris_jax.report import pictures, style

SIZE = (30, 20)


def png(mode='RGB', **options):
  file = io.BytesIO()
  values = np.random.default_rng(0).integers(0, 255, (SIZE[1], SIZE[0], 3)).astype(np.uint8)
  Image.fromarray(values).convert(mode).save(file, 'PNG', **options)
  return file.getvalue()


def part(kind, data):
  return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


def header(width, height):
  return b'\x89PNG\r\n\x1a\n' + part(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0))


END = part(b'IEND', b'')


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'L', 'P', '1'])
def test_pictures_of_ours_come_with_their_own_bytes(mode):
  found = pictures.decode(png(mode), 'a')
  assert found.data == png(mode) and found.image.size == SIZE
  figure, (axis,) = style.figure(1, 3, 2)
  axis.plot([0, 1])
  assert pictures.decode(style.png(figure), 'a').image.size == (450, 300)


def other(kind, **options):
  file = io.BytesIO()
  Image.new('RGB', SIZE).save(file, kind, **options)
  return file.getvalue()


@pytest.mark.parametrize(
  ('data', 'said'),
  [
    (b'', 'it is empty'),
    (b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n', 'it is no PNG'),
    (b'<svg xmlns="http://www.w3.org/2000/svg"/>', 'it is no PNG'),
    (other('GIF'), 'it is no PNG'),
    (other('EPS'), 'it is no PNG'),
    (png()[:8], 'it ends early'),
    (png()[:-1], 'it ends early'),
    (png() + b'<script>', 'something follows its end'),
    (png().replace(b'IDAT', b'IDAX'), 'a checksum is wrong'),
    (b'\x89PNG\r\n\x1a\n' + END, 'its header is damaged'),
    (header(60_000, 60_000) + part(b'IDAT', b'') + END, 'it claims 60000 x 60000 pixels'),
    (header(19_000, 19_000) + part(b'IDAT', b'') + END, 'it claims 19000 x 19000 pixels'),
    (header(0, 5) + END, 'it claims 0 x 5 pixels'),
    (header(30, 20) + END, ''),
    (header(30, 20) + part(b'IDAT', b'nothing') + END, ''),
    (header(30, 20) + part(b'IDAT', zlib.compress(b'\0' * 500)) + END, ''),
    (header(30, 20) + part(b'IDAT', b'') * 100_001 + END, 'more than 100000 parts'),
    (header(30, 20) + struct.pack('>I4s', 2**31, b'IDAT'), 'it ends early'),
  ],
)
def test_whatever_else_is_refused(data, said):
  with pytest.raises(pictures.PictureError, match='a/b is no picture of ours: ') as error:
    pictures.decode(data, 'a/b')
  assert said in str(error.value)


@pytest.mark.parametrize('seed', range(40))
def test_damaged_bytes_are_a_picture_or_our_error(seed):
  rng = np.random.default_rng(seed)
  data = bytearray(png(['RGB', 'P', 'RGBA', 'L'][seed % 4]))
  for place in rng.integers(0, len(data), 1 + seed % 3):
    data[place] = rng.integers(256)
  with contextlib.suppress(pictures.PictureError):
    assert pictures.decode(bytes(data), 'a').image.size == SIZE


def test_comments_are_kept_in_the_file_and_never_read(monkeypatch):
  about = PngImagePlugin.PngInfo()
  about.add_text('bomb', 'x' * 2**24, zip=True)
  data = png(pnginfo=about)
  found = pictures.decode(data, 'a')
  assert found.data == data and 'bomb' not in found.image.info


def test_a_reader_tells_once_what_is_left_out_and_goes_on(tmp_path):
  said = []
  read = pictures.Reader(said.append)
  folder = tmp_path / 'w' / 'figures'
  folder.mkdir(parents=True)
  good = runs.picture(folder / 'good.png', SIZE)
  (folder / 'link.png').symlink_to(good)
  (folder / 'bad\x1b.png').write_bytes(b'bad')
  os.mkfifo(folder / 'pipe.png')
  assert read(good).data == good.read_bytes() and read(good).image.size == SIZE and not said
  for name in ('link.png', 'bad\x1b.png', 'pipe.png', 'none.png'):
    assert read(folder / name) is None and read(folder / name) is None
  assert len(said) == 4 and all(one.startswith('note: left out of the report: ') for one in said)
  assert 'it is a link' in said[0] and 'it is no PNG' in said[1] and '\x1b' not in said[1]
  (tmp_path / 'other').symlink_to('w')
  assert read(tmp_path / 'other' / 'figures' / 'good.png')
  (tmp_path / 'w' / 'more').symlink_to('figures')
  assert read(tmp_path / 'w' / 'more' / 'good.png') is None


def test_notes_go_to_standard_error(tmp_path, capsys):
  assert pictures.Reader()(tmp_path / 'none.png') is None
  assert 'none.png: No such file' in capsys.readouterr().err
