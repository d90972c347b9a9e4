"""Pages and frames of a picture file: how many there are, and whether the first says it all."""

from __future__ import annotations

from typing import Any

import numpy as np

from tetris_jax.data import files, headers

__all__ = ['further_pages', 'pages']

# Pages beyond these are not looked at, so that no file keeps a reader busy.
_MOST_PAGES = 64
_REDUCED = 1  # Of TIFF's NewSubfileType: a smaller version of another page.


def pages(path: files.Source) -> tuple[int, bool]:
  """How many pages or frames a file holds, and whether the first says what all of them do.

  It does where each of the others is the same, of one colour, or a smaller version. At most 64
  pages and `MAX_PIXELS` pixels are looked at. A JPEG has one page: what phones append to it is
  made for displays.

  Raises:
    UnreadableImage: as `decoded`, of any page.
  """
  with files.header(path) as (image, _):
    if image.format in ('JPEG', 'MPO') or not files.guarded(lambda: _is_several(image), path):
      return 1, True
    size, first, alike = image.size, files.guarded(lambda: _pixels(image), path), True
    count, spent = 1, size[0] * size[1]
    while count < _MOST_PAGES and spent <= files.MAX_PIXELS:
      try:
        image.seek(count)
      except EOFError:
        break
      except Exception as error:  # As of the first page, anything.
        raise files.UnreadableImage(
          f'{files.name_of(path)} is damaged: page {count + 1} cannot be read ({error})'
        ) from error
      count, spent = count + 1, spent + image.size[0] * image.size[1]
      if image.format == 'GIF' and image.size != size:  # To seek on decodes it, whatever its size.
        raise files.UnreadableImage(
          f'{files.name_of(path)} holds pages that differ: page {count} has {image.size[1]} x '
          f'{image.size[0]} pixels, the first {size[1]} x {size[0]}'
        )
      if spent <= files.MAX_PIXELS and alike and not _is_smaller(image, size):
        alike = image.size == size and _is_alike(first, files.guarded(lambda: _pixels(image), path))
    return count, alike and count < _MOST_PAGES and spent <= files.MAX_PIXELS


def further_pages(image: Any) -> int:
  """How many pages as large as the first follow it in a TIFF, up to 64, by their headers alone."""
  if image.format != 'TIFF':
    return 0
  size, count = image.size, 0
  for page in range(1, _MOST_PAGES):
    try:
      image.seek(page)
    except EOFError:
      break
    count += image.size == size and not _is_smaller(image, size)
  return count


def _is_several(image: Any) -> bool:
  return bool(getattr(image, 'is_animated', False))


def _is_smaller(image: Any, size: tuple[int, int]) -> bool:
  """Whether a page is a smaller version of the first, as thumbnails and pyramids are."""
  kind = image.tag_v2.get(headers.SUBFILE_TYPE, 0) if image.format == 'TIFF' else 0
  return bool(kind & _REDUCED) or (image.size[0] < size[0] and image.size[1] < size[1])


def _pixels(image: Any) -> Any:
  """Of a page, an array where they are deep, else an image of Pillow in RGBA."""
  image.load()
  deep = image.mode in (*files.DEEP_GREY, 'F')
  return np.asarray(image) if deep else image.convert('RGBA')


def _is_alike(first: Any, other: Any) -> bool:
  """Whether a page says nothing that the first does not say."""
  return _is_same(first, other) or (_is_one_colour(other) and not _is_one_colour(first))


def _is_same(first: Any, other: Any) -> bool:
  from PIL import ImageChops

  if isinstance(first, np.ndarray) or isinstance(other, np.ndarray):
    both = isinstance(first, np.ndarray) and isinstance(other, np.ndarray)
    return both and np.array_equal(first, other)
  # Without turning either to an array, which takes Pillow longer than to decode it.
  return ImageChops.difference(first, other).getbbox(alpha_only=False) is None


def _is_one_colour(page: Any) -> bool:
  if isinstance(page, np.ndarray):
    return bool((page == page[0, 0]).all())
  return all(low == high for low, high in page.getextrema())
