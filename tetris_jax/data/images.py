"""Picture and mask files to arrays: every oddity is either read the one documented way or refused.

Pictures and masks alike
  - EXIF orientation is applied, as `cv2.imread` and picture viewers do: a mask is drawn on what
    people see. It is not applied where a PNG states it only after its pixels.
  - What is damaged is refused whole; see `tetris_jax.data.files`.

Pictures become 8-bit RGB
  - Of an animation or a multi-page file the first picture counts; where it is of one colour and
    another page is not, the file is refused.
  - Alpha is dropped, not composited, as `cv2.imread` does: hidden colours show. Where the colours
    are one and alpha varies, the file is refused.
  - Which bits of deeper files count, and which floats, `tetris_jax.data.levels` says.
  - CMYK is converted without a colour profile; profiles are not applied anywhere.

Masks become numbers (`read_mask`), either grey levels or object ids; of several pages that differ
none counts.
"""

from __future__ import annotations

import numpy as np

from tetris_jax.data import files, levels, pages
from tetris_jax.data.files import FORMATS, MAX_PIXELS, SUFFIXES, Encoded, Source, UnreadableImage
from tetris_jax.data.mask_files import read_mask

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


def read_picture(path: Source, *, bits: int = 0) -> np.ndarray:
  """Reads a picture as (height, width, 3) uint8 RGB; the module's docstring has the rules.

  Args:
    path: of the file, or its bytes.
    bits: of a number that are in use in files with more than 8 bits a channel, 8 to 16; 0 leaves it
      to the file.

  Raises:
    UnreadableImage: the file is missing, empty, damaged, too large, or of another kind.
  """
  found = files.decoded(path)
  pixels = levels.rgb(found, path, bits=bits)
  if (pixels[:1] == pixels[0, 0]).all() and (pixels == pixels[0, 0]).all():
    _refuse_lost(found, path)
  return pixels


def _refuse_lost(found: files.Decoded, path: Source) -> None:
  """Refuses a picture of one colour where something that is not read varies."""
  alpha = files.alpha_of(found)
  if alpha is not None and alpha.min() != alpha.max():
    raise UnreadableImage(
      f'{files.name_of(path)} has one colour all over, and a picture or a mask in its '
      'transparency, which is not read; save it without alpha'
    )
  count, alike = pages.pages(path)
  if not alike:
    raise UnreadableImage(
      f'{files.name_of(path)} holds {count} pages or frames, the first of one colour; keep the one '
      'that is the picture'
    )


def picture_size(path: Source) -> tuple[int, int]:
  """(height, width) in pixels as `read_picture` would return them, from the file's header alone.

  Raises:
    UnreadableImage: the header cannot be read.
  """
  with files.header(path) as (image, _):
    width, height = image.size
    return (width, height) if files.orientation(image) >= 5 else (height, width)
