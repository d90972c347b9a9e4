"""Pictures that a run has drawn, read back: only PNG, in bounds, and whole.

A work folder may come from anybody, and a decoder is much code. So the file's parts are walked
first; the decoder sees those of the pixels alone, and no decoder but that of PNG sees any.
"""

from __future__ import annotations

import io
import pathlib
import struct
import sys
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

from tetris_jax.report import style
from tetris_jax.runs import files

__all__ = [
  'MOST_BYTES',
  'MOST_PIXELS',
  'MOST_SIDE',
  'Picture',
  'PictureError',
  'Reader',
  'damage',
  'decode',
]

MOST_BYTES, MOST_SIDE, MOST_PIXELS = 2**26, 20_000, 30_000_000
"""Of a picture; ours have up to 2 MB, and 8,000 x 1,000 pixels with a score of heat maps."""

_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_DECODED = (b'IHDR', b'PLTE', b'IDAT', b'IEND')
# Pieces of pixels; encoders make them of 8 kB and more.
_MOST_PARTS = 100_000


class PictureError(Exception):
  """A picture that is not shown; the message says which and why."""


class Picture(NamedTuple):
  """A picture.

  Attributes:
    data: the PNG file.
    image: of Pillow, decoded.
  """

  data: bytes
  image: Any


def decode(data: bytes, name: object) -> Picture:
  """The picture in a PNG file.

  Args:
    data: the file.
    name: of it; for errors.

  Raises:
    PictureError: it is no PNG, is damaged, or is larger than a run draws any.
  """
  from PIL import Image

  try:
    pixels = _pixels(data)
    image = Image.open(io.BytesIO(pixels), formats=('PNG',))
    image.load()
  except Exception as error:  # Decoders raise anything from struct.error to SyntaxError.
    raise PictureError(f'{name} is no picture of ours: {error or type(error).__name__}') from error
  return Picture(data, image)


def damage(data: bytes) -> str:
  """Why a file is no whole PNG, by its parts and their checksums alone; '' where it is."""
  try:
    _pixels(data)
  except ValueError as error:
    return str(error)
  return ''


def _pixels(data: bytes) -> bytes:
  """The file without what only comments on its pixels; raises ValueError for what is not whole."""
  if not data.startswith(_SIGNATURE):
    raise ValueError('it is no PNG' if data else 'it is empty')
  at, kept, kind, count = len(_SIGNATURE), [_SIGNATURE], b'', 0
  while kind != b'IEND':
    if len(data) < at + 12:
      raise ValueError('it ends early')
    length, kind = struct.unpack_from('>I4s', data, at)
    end = at + 12 + length
    if len(data) < end:
      raise ValueError('it ends early')
    if zlib.crc32(data[at + 4 : end - 4]) != struct.unpack_from('>I', data, end - 4)[0]:
      raise ValueError('a checksum is wrong')
    if count == 0:
      _check_size(kind, data[at + 8 : end - 4])
    count += 1
    if count > _MOST_PARTS:
      raise ValueError(f'it has more than {_MOST_PARTS} parts')
    if kind in _DECODED:
      kept.append(data[at:end])
    at = end
  if at != len(data):
    raise ValueError('something follows its end')
  return b''.join(kept)


def _check_size(kind: bytes, header: bytes) -> None:
  if kind != b'IHDR' or len(header) != 13:
    raise ValueError('its header is damaged')
  width, height = struct.unpack_from('>II', header)
  if not (1 <= width <= MOST_SIDE and 1 <= height <= MOST_SIDE and width * height <= MOST_PIXELS):
    raise ValueError(f'it claims {width} x {height} pixels')


def _on_stderr(text: str) -> None:
  print(text, file=sys.stderr)


class Reader:
  """Reads pictures from work folders. One that cannot be shown costs no number: it is said once.

  Attributes:
    say: is told of what is left out.
  """

  def __init__(self, say: Callable[[str], None] = _on_stderr):
    """Takes what is told of pictures that are left out."""
    self.say = say
    self._bad: set[pathlib.Path] = set()

  def __call__(self, file: pathlib.Path) -> Picture | None:
    """The picture in a folder of a work folder, or None."""
    if file in self._bad:
      return None
    try:
      data = files.read_regular(file, most_bytes=MOST_BYTES, inside=file.parent.parent)
      return decode(data, file)
    except (files.FileError, PictureError) as error:
      self._bad.add(file)
      self.say(style.one_line(f'note: left out of the report: {error}'))
      return None
