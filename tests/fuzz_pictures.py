"""Pictures, masks and MATLAB files, damaged in bytes, headers and chunks, and hostile ones."""

from __future__ import annotations

import contextlib
import io
import os
import pathlib
import random
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import damage
import numpy as np
import picture_files
from PIL import Image

from tetris_jax import data
from tetris_jax.data import images, sbd
from tetris_jax.types import LARGEST_SIDE

__all__ = ['CASES', 'KINDS', 'make', 'read']

_SAVED: Mapping[str, tuple[tuple[str, dict[str, Any]], ...]] = {
  'png': (('L', {}), ('RGB', {}), ('RGBA', {}), ('P', {}), ('1', {}), ('I;16', {}), ('LA', {}),
          ('RGB', {'save_all': True}), ('RGB', {'exif': True})),
  'jpeg': (('L', {}), ('RGB', {}), ('CMYK', {}), ('RGB', {'progressive': True}),
           ('RGB', {'exif': True})),
  'gif': (('L', {}), ('P', {}), ('RGB', {'save_all': True}), ('RGBA', {'save_all': True})),
  'tiff': (('L', {}), ('RGB', {}), ('1', {}), ('I;16', {}), ('F', {}), ('P', {}),
           ('RGB', {'compression': 'tiff_lzw'}), ('RGB', {'compression': 'jpeg'}),
           ('1', {'compression': 'group4'}), ('RGB', {'save_all': True}), ('CMYK', {}),
           ('RGB', {'compression': 'tiff_adobe_deflate'}), ('YCbCr', {}), ('RGB', {'exif': True})),
  'webp': (('RGB', {}), ('RGBA', {'lossless': True}), ('RGB', {'save_all': True}),
           ('RGB', {'exif': True})),
  'bmp': (('L', {}), ('RGB', {}), ('1', {}), ('P', {})),
  'ppm': (('L', {}), ('RGB', {}), ('1', {}), ('I;16', {})),
}  # fmt: skip
_SUFFIX = {'jpeg': 'jpg', 'tiff': 'tif'}
_FORMATS = {'jpeg': 'JPEG', 'tiff': 'TIFF'}


def _picture(mode: str, turn: int = 0) -> Image.Image:
  grey = np.where(picture_files.disk(), 255, np.roll(picture_files.shades(), turn, 1) // 8)
  if mode == 'I;16':
    return Image.fromarray(grey.astype(np.uint16) * 200)
  if mode == 'F':
    return Image.fromarray(grey.astype(np.float32) / 255)
  whole = np.stack([grey, np.roll(grey, 3, 1), grey], -1).astype(np.uint8)
  return Image.fromarray(whole).convert(mode)


def _sound(kind: str, draw: random.Random | None) -> bytes:
  """A file of a format, in one of the layouts that it has."""
  mode, options = _SAVED[kind][0] if draw is None else draw.choice(_SAVED[kind])
  image, options = _picture(mode), dict(options)
  if options.get('save_all'):
    options['append_images'] = [_picture(mode, turn) for turn in (5, 9)]
  if options.get('exif'):
    options['exif'] = Image.Exif()
    options['exif'][0x0112] = 6
  file = io.BytesIO()
  image.save(file, _FORMATS.get(kind, kind.upper()), **options)
  return file.getvalue()


def _broken(kind: str, stored: bytes, draw: random.Random) -> bytes:
  if kind == 'png' and draw.random() < 0.6:
    return _with_sums(stored, draw)
  if kind == 'tiff' and draw.random() < 0.6:
    start = int.from_bytes(stored[4:8], 'little')
    for _ in range(draw.choice([1, 1, 2, 4])):
      place = min(len(stored) - 1, start + 2 + draw.randrange(12 * 16))
      stored = damage.renumbered(stored, place, draw)
    return stored
  return damage.damaged(stored, draw)


def _chunks(stored: bytes) -> Iterator[tuple[bytes, bytes]]:
  at = 8
  while at + 8 <= len(stored):
    length, name = struct.unpack_from('>I4s', stored, at)
    yield name, stored[at + 8 : at + 8 + length]
    at += 12 + length


def png(*chunks: tuple[bytes, bytes]) -> bytes:
  """A PNG of these chunks, with right lengths and sums."""
  parts = [
    struct.pack('>I', len(body)) + name + body + struct.pack('>I', zlib.crc32(name + body))
    for name, body in chunks
  ]
  return b'\x89PNG\r\n\x1a\n' + b''.join(parts)


def _with_sums(stored: bytes, draw: random.Random) -> bytes:
  """A PNG with damage in its chunks that their sums do not tell."""
  chunks = list(_chunks(stored))
  for _ in range(draw.choice([1, 1, 2])):
    k = draw.randrange(len(chunks))
    name, body = chunks[k]
    how = draw.random()
    if how < 0.5 and body:
      place = draw.randrange(min(len(body), 32))
      chunks[k] = name, damage.renumbered(body, place, draw)[: len(body)]
    elif how < 0.6:
      chunks[k] = draw.choice([b'tRNS', b'PLTE', b'eXIf', b'sBIT', b'fcTL', b'IDAT', b'zTXt']), body
    elif how < 0.7:
      chunks.insert(draw.randrange(len(chunks)), chunks[k])
    elif how < 0.8:
      chunks.insert(1, draw.choice(_EXTRA))
    elif how < 0.9 and name == b'IDAT':
      pixels = damage.damaged(zlib.decompress(body), draw) if _is_whole(body) else body
      chunks[k] = name, zlib.compress(pixels)
    else:
      chunks[k] = name, damage.damaged(body, draw)
  return png(*chunks)


def _is_whole(body: bytes) -> bool:
  try:
    return len(zlib.decompress(body)) > 0
  except zlib.error:
    return False


_EXTRA = (
  (b'tRNS', bytes(3)), (b'tRNS', bytes(300)), (b'PLTE', b'\0' * 5), (b'sBIT', b'\xff' * 4),
  (b'iCCP', b'x\0\0' + zlib.compress(bytes(30_000_000))), (b'zTXt', b'x\0\0' + b'x' * 9),
  (b'zTXt', b'x\0\0' + zlib.compress(bytes(30_000_000))), (b'acTL', struct.pack('>II', 2**31, 0)),
  (b'eXIf', b'II*\0\x08\0\0\0\xff\xff'), (b'gAMA', b''), (b'tIME', bytes(7)),
)  # fmt: skip


def _mat(draw: random.Random | None) -> bytes:
  import scipy.io
  import scipy.sparse

  numbers: Any = picture_files.labelled()
  if draw is not None and draw.random() < 0.3:
    numbers = scipy.sparse.csc_matrix(numbers.astype(float))
  held = {'GTinst': {'Segmentation': numbers, 'Boundaries': np.zeros((2, 1)), 'Categories': [1]}}
  file = io.BytesIO()
  scipy.io.savemat(file, held, do_compression=draw is not None and draw.random() < 0.3)
  return damage.damaged(file.getvalue(), draw) if draw else file.getvalue()


KINDS = (*_SAVED, 'mat')


def _placed(folder: pathlib.Path, kind: str, stored: bytes) -> pathlib.Path:
  """Writes a file as a picture and as its own mask; returns the picture."""
  name = f'a.{_SUFFIX.get(kind, kind)}'
  for part in ('images', 'masks'):
    (folder / part).mkdir()
    (folder / part / name).write_bytes(stored)
  return folder / 'images' / name


def make(kind: str, folder: pathlib.Path, draw: random.Random | None) -> pathlib.Path:
  """Writes a picture of a format, damaged by the draw, into a data set of one."""
  if kind == 'mat':
    (folder / 'a.mat').write_bytes(_mat(draw))
    return folder / 'a.mat'
  stored = _sound(kind, draw)
  return _placed(folder, kind, stored if draw is None else _broken(kind, stored, draw))


def read(path: pathlib.Path) -> None:
  """Reads a file as a picture, as a mask, and the data set in which it is both."""
  if path.suffix == '.mat':
    assert sbd.read_instances(path).dtype == np.int32
    return
  with contextlib.suppress(images.UnreadableImage):
    numbers = images.read_mask(path, largest_side=LARGEST_SIDE)
    assert numbers.dtype == np.int32 and numbers.ndim == 2
  for one in data.open_dataset('folder', str(path.parents[1]), objects='ids'):
    if isinstance(one, data.Rejected):
      assert one.status in ('failed', 'skipped') and 10 < len(one.reason) < 900, one.reason
    else:
      assert one.image.dtype == np.uint8 and one.mask.shape == one.image.shape[:2]
      assert one.mask.any() and max(one.mask.shape) <= LARGEST_SIDE
  height, width = images.picture_size(path)
  if max(height, width) <= LARGEST_SIDE:  # As a data set asks before it reads.
    picture = images.read_picture(path)
    assert picture.dtype == np.uint8 and picture.shape == (height, width, 3)


def _file(kind: str, stored: Callable[[], bytes]) -> Callable[[pathlib.Path], pathlib.Path]:
  return lambda folder: _placed(folder, kind, stored())


def _head(width: int, height: int, depth: int = 8, colours: int = 0) -> tuple[bytes, bytes]:
  return b'IHDR', struct.pack('>IIBBBBB', width, height, depth, colours, 0, 0, 0)


def _even_png(side: int, colours: int = 0, depth: int = 8, count: int = 1) -> bytes:
  """A PNG of one colour, whose pixels take next to nothing."""
  line = bytes(1 + side * depth // 8 * {0: 1, 2: 3, 4: 2, 6: 4}[colours])
  pack = zlib.compressobj(1)
  body = b''.join(pack.compress(line) for _ in range(side)) + pack.flush()
  return png(_head(side, side, depth, colours), *[(b'IDAT', body)] * count, (b'IEND', b''))


def _animated(kind: str, side: int, count: int) -> bytes:
  file = io.BytesIO()
  frames = [Image.new('L', (side, side), k % 256) for k in range(min(count, 40))]
  frames[0].save(file, kind, save_all=True, append_images=frames[1:], loop=0)
  return file.getvalue()


def _gif_of_frames(count: int, side: int) -> bytes:
  head = b'GIF89a' + struct.pack('<HH', side, side) + bytes([0x80, 0, 0, 0, 0, 0, 255, 255, 255])
  frame = b',' + struct.pack('<HHHH', 0, 0, 1, 1) + b'\0\x02\x02\x44\x01\0'
  return head + frame * count + b';'


def _jpeg_claiming(height: int, width: int) -> bytes:
  stored = _sound('jpeg', None)
  place = stored.index(b'\xff\xc0') + 5
  return stored[:place] + struct.pack('>HH', height, width) + stored[place + 4 :]


def _tiff_of(**changes: int) -> Callable[[], bytes]:
  numbers = {'width': 256, 'height': 257, 'rows': 278, 'count': 279, 'samples': 277, 'bits': 258}

  def stored() -> bytes:
    found = io.BytesIO()
    _picture('L').save(found, 'TIFF')
    whole = bytearray(found.getvalue())
    start = int.from_bytes(whole[4:8], 'little')
    for k in range(int.from_bytes(whole[start : start + 2], 'little')):
      place = start + 2 + 12 * k
      tag = int.from_bytes(whole[place : place + 2], 'little')
      for name, value in changes.items():
        if tag == numbers[name]:
          struct.pack_into('<HII', whole, place + 2, 4, 1, value)
    return bytes(whole)

  return stored


def _tiff_in_a_circle() -> bytes:
  whole = bytearray(_sound('tiff', None))
  start = int.from_bytes(whole[4:8], 'little')
  count = int.from_bytes(whole[start : start + 2], 'little')
  struct.pack_into('<I', whole, start + 2 + 12 * count, start)
  return bytes(whole)


def _pipe(folder: pathlib.Path) -> pathlib.Path:
  path = _placed(folder, 'png', b'x')
  for file in (path, folder / 'masks' / path.name):
    file.unlink()
    os.mkfifo(file)
  return path


def _device(folder: pathlib.Path) -> pathlib.Path:
  path = _placed(folder, 'png', b'x')
  for file in (path, folder / 'masks' / path.name):
    file.unlink()
    file.symlink_to('/dev/zero')
  return path


def _bmp_claiming(width: int, height: int) -> bytes:
  stored = bytearray(_sound('bmp', None))
  struct.pack_into('<ii', stored, 18, width, height)
  return bytes(stored)


CASES: Mapping[str, Mapping[str, Callable[[pathlib.Path], pathlib.Path]]] = {
  'png': {
    'postscript': _file('png', lambda: b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run'),
    'huge': _file('png', lambda: png(_head(60_000, 60_000), (b'IDAT', b''), (b'IEND', b''))),
    'wide': _file('png', lambda: png(_head(2**31 - 1, 1), (b'IDAT', b''), (b'IEND', b''))),
    'of-nine-thousand-pixels': _file('png', lambda: _even_png(9400)),
    'of-nine-thousand-colours': _file('png', lambda: _even_png(9400, 2)),
    'as-large-as-is-read': _file('png', lambda: _even_png(4096, 6)),
    'large-and-deep': _file('png', lambda: _even_png(3000, 6, 16)),
    'more-pixels-than-stated': _file('png', lambda: png(
      _head(9, 9), (b'IDAT', zlib.compress(bytes(200_000_000), 1)), (b'IEND', b''))),
    'texts-of-gigabytes': _file('png', lambda: png(
      _head(9, 9), *[(b'zTXt', b'x\0\0' + zlib.compress(bytes(60_000_000), 1))] * 30,
      (b'IDAT', zlib.compress(bytes(90))), (b'IEND', b''))),
    'many-chunks': _file('png', lambda: png(
      _head(9, 9), *[(b'tEXt', b'x\0')] * 300_000, (b'IDAT', zlib.compress(bytes(90))),
      (b'IEND', b''))),
    'many-frames': _file('png', lambda: _animated('PNG', 1500, 40)),
    'pipe': _pipe, 'device': _device,
  },
  'gif': {
    'huge-canvas': lambda folder: _placed(folder, 'gif', picture_files.gif_of_one_pixel(
      folder / 'b.gif', 60_000).read_bytes()),
    'large-canvas': lambda folder: _placed(folder, 'gif', picture_files.gif_of_one_pixel(
      folder / 'b.gif', 9_400).read_bytes()),
    'canvas-as-large-as-is-read': lambda folder: _placed(
      folder, 'gif', picture_files.gif_of_one_pixel(folder / 'b.gif', 4096).read_bytes()),
    'many-frames': _file('gif', lambda: _gif_of_frames(200_000, 100)),
    'large-frames': _file('gif', lambda: _gif_of_frames(3_000, 4096)),
    'frames-that-differ': _file('gif', lambda: _animated('GIF', 1500, 40)),
  },
  'jpeg': {
    'huge': _file('jpeg', lambda: _jpeg_claiming(65_500, 65_500)),
    'large': _file('jpeg', lambda: _jpeg_claiming(9_400, 9_400)),
    'as-large-as-is-read': _file('jpeg', lambda: _jpeg_claiming(4096, 4096)),
  },
  'tiff': {
    'huge': _file('tiff', _tiff_of(width=60_000, height=60_000)),
    'large': _file('tiff', _tiff_of(width=9_400, height=9_400)),
    'as-large-as-is-read': _file('tiff', _tiff_of(width=4096, height=4096)),
    'one-row-a-strip': _file('tiff', _tiff_of(width=4096, height=4096, rows=1)),
    'no-rows': _file('tiff', _tiff_of(rows=0)), 'no-width': _file('tiff', _tiff_of(width=0)),
    'many-samples': _file('tiff', _tiff_of(samples=60_000)),
    'deep-samples': _file('tiff', _tiff_of(bits=2**31 - 1)),
    'pages-in-a-circle': _file('tiff', _tiff_in_a_circle),
  },
  'webp': {'many-frames': _file('webp', lambda: _animated('WEBP', 1500, 40))},
  'bmp': {
    'huge': _file('bmp', lambda: _bmp_claiming(60_000, 60_000)),
    'large': _file('bmp', lambda: _bmp_claiming(9_400, 9_400)),
    'upside-down': _file('bmp', lambda: _bmp_claiming(36, -(2**31))),
  },
  'ppm': {
    'huge': _file('ppm', lambda: b'P6 60000 60000 255\n'),
    'large': _file('ppm', lambda: b'P6 9400 9400 255\n'),
    'plain-of-millions': _file('ppm', lambda: b'P3 1000 1000 255\n' + b'1 ' * 3_000_000),
    'a-token-of-megabytes': _file('ppm', lambda: b'P5 ' + b'9' * 5_000_000 + b' 3 255\n'),
    'comments': _file('ppm', lambda: b'P5\n' + b'#x\n' * 1_000_000 + b'2 2 255\n' + bytes(4)),
  },
}  # fmt: skip
