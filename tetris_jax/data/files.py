"""Picture files, opened with care: what is damaged, promises too much or is of another kind raises.

What a file holds is never guessed from damage: a file that ends early, whose checksum is wrong or
whose header promises too many pixels raises `UnreadableImage`, and no part of it is used.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import pathlib
import re
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple

import numpy as np

from tetris_jax.data import headers, plain_ppm

__all__ = [
  'DEEP_GREY',
  'FORMATS',
  'MAX_PIXELS',
  'SUFFIXES',
  'Decoded',
  'Encoded',
  'Source',
  'UnreadableImage',
  'alpha_of',
  'decoded',
  'deep_colours',
  'guarded',
  'header',
  'name_of',
  'orientation',
]

# Only these decoders of Pillow are let near a file; EPS, for one, would start another program.
# Pillow's JPEG includes MPO, a JPEG that more pictures follow.
FORMATS = ('BMP', 'GIF', 'JPEG', 'PNG', 'PPM', 'TIFF', 'WEBP')
SUFFIXES = frozenset(
  ('.bmp', '.gif', '.jfif', '.jpe', '.jpeg', '.jpg', '.pbm', '.pgm', '.png', '.pnm', '.ppm')
  + ('.tif', '.tiff', '.webp')
)
# Pillow's own line for a suspected decompression bomb, a quarter of a GiB of RGB.
MAX_PIXELS = 89_478_485

DEEP_GREY = ('I', 'I;16', 'I;16B', 'I;16L', 'I;16N')
"""Pillow's modes of grey with more than 8 bits, in whole numbers."""

# Of numbers that a PPM writes in letters: more take seconds, those of a bitmap Pillow's way.
_MOST_PLAIN, _MOST_PLAIN_BITS = 8_000_000, 1_000_000
_MODES = ('1', 'CMYK', 'F', 'L', 'LA', 'La', 'P', 'PA', 'RGB', 'RGBA', 'RGBX', 'RGBa', 'YCbCr')
_lock = threading.RLock()


class UnreadableImage(ValueError):
  """A picture or mask file that is refused; the message says which and why."""


class Encoded(NamedTuple):
  """A picture or mask file in memory; goes wherever a path does.

  Attributes:
    name: what messages call it.
    data: the bytes of the file.
  """

  name: str
  data: bytes


Source = str | os.PathLike[str] | Encoded
"""Where a picture or a mask comes from: the path of a file, or its bytes."""


class Decoded(NamedTuple):
  """A wholly decoded, upright picture, and what its file says of it.

  Attributes:
    image: Pillow's, which holds no file open.
    format: of the file, as Pillow names it.
    layout: of a pixel in the file, Pillow's raw mode; '' where it has none.
    transparency: of a palette: the index that is clear, or the alpha of each; None without one.
    about: what the header says beyond Pillow.
  """

  image: Any
  format: str
  layout: str
  transparency: int | bytes | None
  about: headers.About


def decoded(path: Source, *, largest_side: int = 0) -> Decoded:
  """Decodes the first picture of a file, whole and upright.

  Args:
    path: of the file, or its bytes.
    largest_side: in pixels; nothing of a file with a larger one is decoded. 0 for no such limit.

  Raises:
    UnreadableImage: the file is missing, empty, damaged, too large, or of another kind.
  """
  return _decoded(path, lambda layout: layout, largest_side)


def alpha_of(found: Decoded) -> np.ndarray | None:
  """(height, width) uint8 alpha; None where the file has none."""
  if found.image.mode in ('LA', 'La', 'PA', 'RGBA', 'RGBa'):
    return np.asarray(found.image)[..., -1]
  if found.transparency is None:
    return None
  alpha = np.full(256, 255, np.uint8)
  if isinstance(found.transparency, bytes):
    # A damaged file has more than there are colours.
    stored = np.frombuffer(found.transparency[:256], np.uint8)
    alpha[: len(stored)] = stored
  else:
    alpha[found.transparency] = 0
  return alpha[np.asarray(found.image)]


def deep_colours(path: Source, layout: str) -> np.ndarray | None:
  """(height, width, channels) uint16 colours of a file with 16 bits a channel, alpha left out.

  Pillow keeps the high bytes of such a file; here it is made to hand out the low ones as well.

  Args:
    path: of the file, or its bytes.
    layout: as `Decoded` has it.

  Returns:
    None where this layout has no such reading.

  Raises:
    UnreadableImage: as `decoded`.
  """
  if layout == 'LA;16B':
    # High and low byte of the grey, then of alpha, as if they were four channels.
    pair = np.asarray(_decoded(path, lambda layout: 'RGBA').image).astype(np.uint16)
    return pair[..., :1] << 8 | pair[..., 1:2]
  if not re.fullmatch('(R|RGB|RGBA|RGBX);16[BLN]', layout):
    return None
  colours = np.asarray(_decoded(path, str).image)[..., :3].astype(np.uint16)
  colours <<= 8
  colours |= np.asarray(_decoded(path, _swapped).image)[..., :3]
  return colours


def _swapped(layout: str) -> str:
  """The raw mode of the other byte order, whose high bytes are the low ones of this."""
  order = layout[-1]
  if order == 'N':
    order = 'L' if sys.byteorder == 'little' else 'B'
  return layout[:-1] + ('B' if order == 'L' else 'L')


def _decoded(path: Source, change: Callable[[str], str], largest_side: int = 0) -> Decoded:
  from PIL import ImageFile, ImageOps

  with header(path, largest_side=largest_side) as (image, file):
    if image.format == 'PNG':
      # Decoding does not compare the checksums of pixel data; only this does.
      guarded(image.verify, path)
    elif image.format == 'PPM':
      path = _in_binary(path, file)
  with header(path) as (image, file):
    about = guarded(lambda: headers.about(image, file), path)
    turned = orientation(image)
    _mend_planes(image)
    layout = _layout(image)
    if about.as_written:
      change = lambda layout: {'1;I': '1', '1;IR': '1;R'}.get(layout, layout)
    _set_layout(image, change)
    with _lock:
      # Another library may have set this switch of Pillow's, which makes it paint half a file grey.
      lenient = ImageFile.LOAD_TRUNCATED_IMAGES
      ImageFile.LOAD_TRUNCATED_IMAGES = False
      try:
        guarded(image.load, path)
      finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = lenient
    if image.mode not in _MODES and image.mode not in DEEP_GREY:
      kind = image.mode
      raise UnreadableImage(f'{name_of(path)} has pixels of kind {kind!r}, which are not read')
    # Pillow warns of transparency that a conversion drops; here that is decided by rule.
    transparency = image.info.pop('transparency', None)
    transparency = transparency if image.mode == 'P' else None
    upright = image if turned == 1 else ImageOps.exif_transpose(image)
    return Decoded(upright, image.format, layout, transparency, about)


def _in_binary(path: Source, file: IO[bytes]) -> Source:
  """What to decode in the place of a PGM or PPM: it, or the binary form of what is in letters."""
  file.seek(0)
  if not plain_ppm.is_plain(file.read(3)):
    return path
  file.seek(0)
  try:
    return Encoded(name_of(path), plain_ppm.as_binary(file.read()))
  except plain_ppm.PlainError as error:
    raise UnreadableImage(f'{name_of(path)} is damaged: {error}') from error


def _layout(image: Any) -> str:
  args = image.tile[0].args if image.tile else ''
  found = args[0] if isinstance(args, tuple) and args else args
  return found if isinstance(found, str) else ''


def _set_layout(image: Any, change: Callable[[str], str]) -> None:
  """Makes Pillow take the pixels of a file that is not decoded yet for another raw mode."""

  def changed(args: Any) -> Any:
    if isinstance(args, str):
      return change(args)
    if isinstance(args, tuple) and args and isinstance(args[0], str):
      return (change(args[0]), *args[1:])
    return args

  image.tile = [tile._replace(args=changed(tile.args)) for tile in image.tile]


def _mend_planes(image: Any) -> None:
  """Makes Pillow 13.0 read a TIFF's uncompressed 16-bit planes, which it takes for 8 bits."""
  if image.format != 'TIFF' or len(_layout(image)) != 1 or image.mode not in ('RGB', 'RGBA'):
    return
  if image.tag_v2.get(headers.BITS_PER_SAMPLE, (8,))[0] == 16:
    order = ';16L' if image.tag_v2.prefix == b'II' else ';16B'
    _set_layout(image, lambda band: band + order)


@contextlib.contextmanager
def header(path: Source, *, largest_side: int = 0) -> Iterator[tuple[Any, IO[bytes]]]:
  """Pillow's image of a file whose pixels are not decoded yet, and the file.

  Args:
    path: of the file, or its bytes.
    largest_side: in pixels, as in `decoded`.

  Raises:
    UnreadableImage: the file is missing, empty, too large, or its header cannot be read.
  """
  try:
    from PIL import Image
  except ImportError as error:
    raise ImportError(
      'reading pictures needs Pillow, which is not installed: pip install tetris_jax[demo]'
    ) from error

  opened: Callable[[], Any]
  if isinstance(path, Encoded):
    length, opened = len(path.data), functools.partial(io.BytesIO, path.data)
  else:
    about = guarded(lambda: os.stat(path), path)
    if not stat.S_ISREG(about.st_mode):
      raise UnreadableImage(f'{name_of(path)} is not a regular file')
    # Given a path, Pillow 13.0 maps uncompressed TIFF into memory and then turns it wrongly.
    length, opened = about.st_size, functools.partial(open, path, 'rb')
  if not length:
    raise UnreadableImage(f'{name_of(path)} is empty (0 bytes)')
  with contextlib.ExitStack() as open_files:
    file = open_files.enter_context(guarded(opened, path))
    if found := guarded(lambda: headers.excess(file), path):
      raise UnreadableImage(f'{name_of(path)} is damaged: it has {found}')
    image = guarded(lambda: Image.open(file, formats=FORMATS), path, file=file)
    open_files.enter_context(image)
    width, height = image.size
    if width * height > MAX_PIXELS:
      raise UnreadableImage(
        f'{name_of(path)} claims {height} x {width} pixels; at most {MAX_PIXELS} are read'
      )
    if largest_side and max(width, height) > largest_side:
      raise UnreadableImage(
        f'{name_of(path)} has {height} x {width} pixels; sides up to {largest_side} are read'
      )
    letters = width * height * len(image.getbands())
    most = _MOST_PLAIN_BITS if image.mode == '1' else _MOST_PLAIN
    if image.tile and image.tile[0][0] == 'ppm_plain' and letters > most:
      raise UnreadableImage(
        f'{name_of(path)} spells {letters} numbers out; at most {most} are read: save it as PNG, '
        'or as binary PPM'
      )
    yield image, file


def guarded(call: Any, path: Source, *, file: IO[bytes] | None = None) -> Any:
  """Calls Pillow; whatever a damaged file makes it raise becomes `UnreadableImage`.

  Args:
    call: without arguments.
    path: of the file, or its bytes; for the message.
    file: where it is open, to say what it is when no decoder takes it.

  Returns:
    What `call` returns.

  Raises:
    UnreadableImage: the file is damaged, too large, or cannot be read.
  """
  from PIL import Image

  try:
    return call()
  except Image.UnidentifiedImageError as error:
    found = headers.stranger(file) if file is not None else ''
    raise UnreadableImage(
      f'{name_of(path)} is not a picture of a known format ({", ".join(FORMATS)}){found}'
    ) from error
  except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
    raise UnreadableImage(
      f'{name_of(path)} claims too many pixels; at most {MAX_PIXELS} are read ({error})'
    ) from error
  except OSError as error:
    if error.errno is None:
      raise UnreadableImage(f'{name_of(path)} is damaged: {error}') from error
    raise UnreadableImage(f'{name_of(path)} cannot be read: {error.strerror}') from error
  except Exception as error:  # Decoders raise anything from struct.error to SyntaxError.
    detail = str(error) or type(error).__name__
    raise UnreadableImage(f'{name_of(path)} is damaged: {detail}') from error


def orientation(image: Any) -> int:
  """EXIF orientation, 1 to 8, as far as the header tells; Pillow turns TIFF by itself."""
  if image.format == 'TIFF' or 'exif' not in image.info:
    return 1
  try:
    value = image.getexif().get(0x0112, 1)
  except Exception:  # A picture with unreadable EXIF is still a picture, and viewers show it as is.
    return 1
  return value if isinstance(value, int) and 1 <= value <= 8 else 1


def name_of(path: Source) -> str:
  """Folder and file name: enough to find it, and the same on every machine."""
  if isinstance(path, Encoded):
    return path.name
  file = pathlib.Path(path)
  return f'{file.parent.name}/{file.name}' if file.parent.name else file.name
