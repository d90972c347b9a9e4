"""What the headers of picture files say beyond Pillow: bits in use, lossy codecs, strangers."""

from __future__ import annotations

import re
import struct
from typing import IO, Any, NamedTuple

__all__ = ['BITS_PER_SAMPLE', 'SUBFILE_TYPE', 'About', 'about', 'excess', 'stranger']

# Tags of TIFF 6.0.
SUBFILE_TYPE = 254
BITS_PER_SAMPLE = 258
_PHOTOMETRIC = 262
_DESCRIPTION = 270
_SAMPLES = 277
_SOFTWARE = 305
_HIGHEST = 281, 341  # MaxSampleValue, SMaxSampleValue
_SAMPLE_FORMAT = 339
_SIGNED = 2
_WHITE_IS_ZERO = 0

# First bytes (place, bytes) of what lies where a picture should.
_STRANGERS = (
  (4, b'ftyphei', 'a HEIC file'),
  (4, b'ftypmif1', 'a HEIC file'),
  (4, b'ftypavif', 'an AVIF file'),
  (4, b'jP  ', 'a JPEG 2000 file'),
  (0, b'8BPS', 'a Photoshop file'),
  (0, b'%PDF', 'a PDF'),
  (0, b'\x93NUMPY', 'a NumPy array'),
  (0, b'version https://git-lfs', 'a pointer of Git LFS: run git lfs pull'),
  (0, b'<', 'a text such as the error page of a download'),
)


_PNG = b'\x89PNG\r\n\x1a\n'
_MOST_PARTS = 10_000
_LONGEST_PPM = 1 << 16
_PPM_HEAD = re.compile(rb'P[1-6](?:(?:\s|#[^\n\r]*[\n\r])+\d+){2}')


class About(NamedTuple):
  """What a header says.

  Attributes:
    bits: how many bits of a channel are in use; 0 where it does not say.
    aligned_left: whether those bits, as the format has it, are the high ones.
    highest: of a PPM, the number that stands for white, where Pillow stretches it; else 0.
    white_is_zero: whether a TIFF counts down from white.
    as_written: whether the bits of a TIFF count as they are, though it counts down from white:
      tifffile, and scikit-image by it, writes True as 1 and says that 0 is white.
    signed: whether the numbers of a TIFF have signs.
    lossy: the lossy codec of the pixels; '' for none.
  """

  bits: int = 0
  aligned_left: bool = False
  highest: int = 0
  white_is_zero: bool = False
  as_written: bool = False
  signed: bool = False
  lossy: str = ''


def about(image: Any, file: IO[bytes]) -> About:
  """Reads the header of an image of Pillow that is not decoded yet, and leaves the file's place."""
  place = file.tell()
  try:
    if image.format in ('JPEG', 'MPO'):
      return About(lossy='JPEG')
    if image.format == 'PNG':
      return About(bits=_png_bits(file), aligned_left=True)
    if image.format == 'WEBP':
      return About(lossy='lossy WebP' if _is_lossy_webp(file) else '')
    if image.format == 'PPM':
      # ('L', 100) where Pillow stretches numbers up to 100; a raw mode, or one and more, otherwise.
      args = image.tile[0].args if image.tile else ''
      return About(highest=int(args[1]) if isinstance(args, tuple) and len(args) == 2 else 0)
    return _tiff(image) if image.format == 'TIFF' else About()
  finally:
    file.seek(place)


def excess(file: IO[bytes]) -> str:
  """What of a header would keep Pillow busy for seconds, a clause; '' for nothing.

  Pillow takes a PNG's parts one by one, and the comments of a PPM letter by letter.
  """
  start = file.read(8)
  found = ''
  if start == _PNG:
    parts = 0
    while parts <= _MOST_PARTS and len(head := file.read(8)) == 8:
      length, name = struct.unpack('>I4s', head)
      parts += name != b'IDAT'
      file.seek(length + 4, 1)
    found = f'more than {_MOST_PARTS} parts beside its pixels' if parts > _MOST_PARTS else ''
  elif re.match(rb'P[1-6]\s', start):
    head = start + file.read(_LONGEST_PPM)
    if len(head) > _LONGEST_PPM and not _PPM_HEAD.match(head):
      found = f'no size in its first {_LONGEST_PPM} bytes'
  file.seek(0)
  return found


def _png_bits(file: IO[bytes]) -> int:
  """Of the chunk sBIT, the most bits of a channel; 0 without one before the pixels."""
  file.seek(8)
  while len(start := file.read(8)) == 8:
    length, name = struct.unpack('>I4s', start)
    if name == b'sBIT' and 1 <= length <= 4:
      return max(file.read(length)[:3], default=0)
    if name in (b'IDAT', b'IEND'):
      return 0
    file.seek(length + 4, 1)
  return 0


def _is_lossy_webp(file: IO[bytes]) -> bool:
  """Whether the first picture of a WebP is coded by VP8; VP8L is lossless."""
  file.seek(12)
  while len(start := file.read(8)) == 8:
    name, length = struct.unpack('<4sI', start)
    if name in (b'VP8 ', b'VP8L'):
      return bool(name == b'VP8 ')
    # A frame of an animation holds chunks of its own after 16 bytes.
    file.seek(16 if name == b'ANMF' else length + length % 2, 1)
  return False


def _tiff(image: Any) -> About:
  tags = image.tag_v2
  return About(
    bits=_tiff_bits(tags),
    white_is_zero=tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO,
    as_written=image.mode == '1' and str(tags.get(_SOFTWARE, '')).startswith('tifffile'),
    signed=_SIGNED in _all_of(tags.get(_SAMPLE_FORMAT)),
    lossy='TIFF with JPEG inside' if 'jpeg' in image.info.get('compression', '') else '',
  )


def _tiff_bits(tags: Any) -> int:
  """Bits of a sample that are in use, where a tag says it; 0 otherwise."""
  stored = max(_all_of(tags.get(BITS_PER_SAMPLE)), default=0)
  if 8 < stored < 16:
    return stored
  # OME-TIFF says it in so many words.
  if found := re.search(r'SignificantBits="(\d{1,2})"', str(tags.get(_DESCRIPTION, ''))):
    return int(found[1])
  # The highest value may be that of the pixels or that of the camera; only the latter is one of all
  # ones.
  for tag in _HIGHEST:
    for value in _all_of(tags.get(tag)):
      if isinstance(value, (int, float)) and value == int(value):
        bits = int(value).bit_length()
        if bits > 8 and int(value) == (1 << bits) - 1:
          return bits
  return 0


def _all_of(value: Any) -> tuple[Any, ...]:
  return () if value is None else value if isinstance(value, tuple) else (value,)


def stranger(file: IO[bytes]) -> str:
  """What a file that no decoder takes is, as the end of a sentence; '' where nobody knows."""
  file.seek(0)
  start = file.read(32)
  if start[:2] in (b'II', b'MM') and start[2:4] in (b'*\0', b'\0*', b'+\0', b'\0+'):
    return f'; it is a TIFF {_odd_tiff(file)}'
  for place, magic, kind in _STRANGERS:
    if start[place:].startswith(magic):
      return f'; it is {kind}'
  return ''


def _odd_tiff(file: IO[bytes]) -> str:
  """What of a TIFF's pixels is out of the ordinary, as far as its header can be read."""
  from PIL import TiffImagePlugin

  advice = 'save it with 8 or 16 bits a channel, as whole numbers'
  file.seek(0)
  try:
    tags = TiffImagePlugin.ImageFileDirectory_v2(file.read(8))
    file.seek(tags.next)
    tags.load(file)
    bits, samples = _all_of(tags[BITS_PER_SAMPLE]), int(tags.get(_SAMPLES, 1))
  except Exception:  # The sentence is then about a TIFF, and no more.
    return f'whose header is not understood; {advice}'
  return f'with {max(bits)} bits a sample and {samples} a pixel, which is not read; {advice}'
