"""Picture and mask files to arrays: every oddity is either read the one documented way or refused.

What a file holds is never guessed from damage: a file that ends early, whose checksum is wrong or
whose header promises too many pixels raises `UnreadableImage`, and no part of it is used.

Pictures and masks alike
  - EXIF orientation is applied, as `cv2.imread` and picture viewers do: a mask is drawn on what
    people see. It is not applied where a PNG states it only after its pixels.
  - Of an animation or a multi-page file the first picture counts.

Pictures become 8-bit RGB
  - Alpha is dropped, not composited, as `cv2.imread` does: hidden colours show.
  - Of 16 bits a channel the high byte is kept (65535 -> 255), for grey and colour alike.
  - CMYK is converted without a colour profile; profiles are not applied anywhere.

Masks become numbers (`read_mask`), either grey levels or object ids; see there.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import pathlib
import stat
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

__all__ = [
  'FORMATS',
  'MAX_PIXELS',
  'SUFFIXES',
  'Encoded',
  'Source',
  'UnreadableImage',
  'picture_size',
  'read_mask',
  'read_picture',
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

# Channels of a grey picture kept as JPEG differ by up to about this much after its chroma rounding.
_GREY_SPREAD = 32
_DEEP_GREY = ('I', 'I;16', 'I;16B', 'I;16L', 'I;16N')
_MODES = ('1', 'CMYK', 'L', 'LA', 'La', 'P', 'PA', 'RGB', 'RGBA', 'RGBX', 'RGBa', 'YCbCr')
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


def read_picture(path: Source) -> np.ndarray:
  """Reads a picture as (height, width, 3) uint8 RGB; the module's docstring has the rules.

  Raises:
    UnreadableImage: the file is missing, empty, damaged, too large, or of another kind.
  """
  with _opened(path) as image:
    if image.mode in _DEEP_GREY:
      grey = _unsigned(np.asarray(image), path)
      if grey.size and int(grey.max()) > 65535:
        raise UnreadableImage(f'{_name(path)} holds 32-bit grey; 8 or 16 bits a channel are read')
      return np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, axis=2)
    return np.ascontiguousarray(np.asarray(_to_rgb(image), np.uint8))


def read_mask(path: Source, *, objects: str = 'binary') -> np.ndarray:
  """Reads a mask file as (height, width) int32: grey levels 0 to 255, or object ids.

  With `objects='binary'` the levels are those a viewer shows. 16-bit grey counts as it is while no
  value exceeds 255 and by its high byte otherwise. Of a palette file the colours count while all
  used ones are grey; a coloured palette counts by its indices where they are 0, 128 and 255 with
  255 among them. Any other coloured mask is refused: which colour is the object nobody can tell.

  With `objects='ids'` the stored numbers are kept: 8- and 16-bit grey as they are, also from files
  with fewer bits a pixel; palette indices; RGB as one 24-bit number red * 65536 + green * 256 +
  blue, or the level itself where all pixels are grey. Alpha is dropped. JPEG is refused.

  Raises:
    UnreadableImage: the file is missing, empty, damaged, too large, of another kind, or its values
      have no meaning in this mode.
    ValueError: `objects` is neither 'binary' nor 'ids'.
  """
  if objects not in ('binary', 'ids'):
    raise ValueError(f"objects={objects!r}; expected 'binary' or 'ids'")
  with _opened(path) as image:
    if objects == 'ids':
      return _ids(image, path)
    return _levels(image, path)


def picture_size(path: Source) -> tuple[int, int]:
  """(height, width) in pixels as `read_picture` would return them, from the file's header alone.

  Raises:
    UnreadableImage: the header cannot be read.
  """
  with _header(path) as image:
    width, height = image.size
    return (width, height) if _orientation(image) >= 5 else (height, width)


def _levels(image: Any, path: Source) -> np.ndarray:
  if image.mode in _DEEP_GREY:
    grey = _unsigned(np.asarray(image), path)
    if grey.size and int(grey.max()) > 65535:
      raise UnreadableImage(f'{_name(path)} holds 32-bit grey; a mask has 8 or 16 bits a pixel')
    return (grey >> 8 if grey.size and int(grey.max()) > 255 else grey).astype(np.int32)
  if image.mode in ('1', 'L', 'LA', 'La'):
    return np.asarray(image.convert('L'), np.int32)
  colours = _to_rgb(image)
  rgb = np.asarray(colours, np.int32)
  if int((rgb.max(-1) - rgb.min(-1)).max()) <= _GREY_SPREAD:
    return np.asarray(colours.convert('L'), np.int32)
  if image.mode == 'P':
    index = np.asarray(image, np.int32)
    used = np.unique(index).tolist()
    if 255 in used and set(used) <= {0, 128, 255}:
      return index
    found = f'a coloured palette with the indices {_some(used)}'
  else:
    found = 'colours'
  raise UnreadableImage(
    f'{_name(path)} holds {found}; a mask is grey (255 object, 128 ignore, 0 background), '
    "or is read with objects='ids' where its numbers name objects"
  )


def _ids(image: Any, path: Source) -> np.ndarray:
  if image.format in ('JPEG', 'MPO'):
    raise UnreadableImage(
      f'{_name(path)} is a JPEG, whose rounding changes object ids; keep such masks as PNG'
    )
  stored = image.info['stored']
  if image.mode in _DEEP_GREY:
    return _unsigned(np.asarray(image), path).astype(np.int32)
  if '16' in stored:
    raise UnreadableImage(
      f'{_name(path)} holds 16 bits in each of several channels; ids are read from 8- or 16-bit '
      'grey, palettes and 8-bit RGB'
    )
  if image.mode in ('1', 'P'):
    return np.asarray(image, np.int32)
  if image.mode in ('L', 'LA', 'La', 'PA'):
    ids = np.asarray(image, np.int32)
    ids = ids if ids.ndim == 2 else ids[..., 0]
    # Pillow stretches 2- and 4-bit grey over 0..255; the stored number is what names the object.
    return ids // {'L;2': 85, 'L;4': 17}.get(stored, 1)
  red, green, blue = np.moveaxis(np.asarray(_to_rgb(image), np.uint8), -1, 0)
  ids = red.astype(np.int32)
  if np.array_equal(red, green) and np.array_equal(green, blue):
    return ids
  # In place: masks of 12 megapixels are common.
  for channel in (green, blue):
    ids <<= 8
    ids |= channel
  return ids


@contextlib.contextmanager
def _opened(path: Source) -> Iterator[Any]:
  """A wholly decoded, upright Pillow image; `info['stored']` names its layout in the file."""
  from PIL import ImageFile, ImageOps

  with _header(path) as image:
    if image.format == 'PNG':
      # Decoding does not compare the checksums of pixel data; only this does.
      _guarded(image.verify, path)
  with _header(path) as image:
    orientation = _orientation(image)
    tile = image.tile[0] if image.tile else None
    stored = tile[3] if tile is not None else ''
    stored = stored[0] if isinstance(stored, tuple) and stored else stored
    stored = stored if isinstance(stored, str) else ''
    with _lock:
      # Another library may have set this switch of Pillow's, which makes it paint half a file grey.
      lenient = ImageFile.LOAD_TRUNCATED_IMAGES
      ImageFile.LOAD_TRUNCATED_IMAGES = False
      try:
        _guarded(image.load, path)
      finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = lenient
    if image.mode not in _MODES and image.mode not in _DEEP_GREY:
      raise UnreadableImage(f'{_name(path)} has pixels of kind {image.mode!r}, which are not read')
    # Pillow warns of transparency that a conversion drops; here it is dropped by rule.
    image.info.pop('transparency', None)
    upright = image
    if orientation != 1:
      upright = ImageOps.exif_transpose(image)
      upright.format = image.format
    upright.info['stored'] = stored
    yield upright


@contextlib.contextmanager
def _header(path: Source) -> Iterator[Any]:
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
    about = _guarded(lambda: os.stat(path), path)
    if not stat.S_ISREG(about.st_mode):
      raise UnreadableImage(f'{_name(path)} is not a regular file')
    # Given a path, Pillow 13.0 maps uncompressed TIFF into memory and then turns it wrongly.
    length, opened = about.st_size, functools.partial(open, path, 'rb')
  if not length:
    raise UnreadableImage(f'{_name(path)} is empty (0 bytes)')
  with (
    _guarded(opened, path) as file,
    _guarded(lambda: Image.open(file, formats=FORMATS), path) as image,
  ):
    width, height = image.size
    if width * height > MAX_PIXELS:
      raise UnreadableImage(
        f'{_name(path)} claims {height} x {width} pixels; at most {MAX_PIXELS} are read'
      )
    yield image


def _guarded(call: Any, path: Source) -> Any:
  """Calls Pillow; whatever a damaged file makes it raise becomes `UnreadableImage`."""
  from PIL import Image

  try:
    return call()
  except Image.UnidentifiedImageError as error:
    raise UnreadableImage(
      f'{_name(path)} is not a picture of a known format ({", ".join(FORMATS)})'
    ) from error
  except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
    raise UnreadableImage(
      f'{_name(path)} claims too many pixels; at most {MAX_PIXELS} are read ({error})'
    ) from error
  except OSError as error:
    if error.errno is None:
      raise UnreadableImage(f'{_name(path)} is damaged: {error}') from error
    raise UnreadableImage(f'{_name(path)} cannot be read: {error.strerror}') from error
  except Exception as error:  # Decoders raise anything from struct.error to SyntaxError.
    detail = str(error) or type(error).__name__
    raise UnreadableImage(f'{_name(path)} is damaged: {detail}') from error


def _orientation(image: Any) -> int:
  """EXIF orientation, 1 to 8, as far as the header tells; Pillow turns TIFF by itself."""
  if image.format == 'TIFF' or 'exif' not in image.info:
    return 1
  try:
    value = image.getexif().get(0x0112, 1)
  except Exception:  # A picture with unreadable EXIF is still a picture, and viewers show it as is.
    return 1
  return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _to_rgb(image: Any) -> Any:
  if image.mode in ('La', 'PA'):
    image = image.convert('LA' if image.mode == 'La' else 'RGBA')
  elif image.mode == 'RGBa':
    image = image.convert('RGBA')
  return image.convert('RGB')


def _unsigned(values: np.ndarray, path: Source) -> np.ndarray:
  if values.size and int(values.min()) < 0:
    raise UnreadableImage(f'{_name(path)} holds negative values')
  return values.astype(np.int64)


def _name(path: Source) -> str:
  """Folder and file name: enough to find it, and the same on every machine."""
  if isinstance(path, Encoded):
    return path.name
  file = pathlib.Path(path)
  return f'{file.parent.name}/{file.name}' if file.parent.name else file.name


def _some(values: list[int]) -> str:
  shown = ', '.join(str(value) for value in values[:6])
  return f'{shown}, ... ({len(values)} in all)' if len(values) > 6 else shown
