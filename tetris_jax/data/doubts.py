"""What makes a sample look as if its files had been read wrongly: clauses for its row."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable

import numpy as np

from tetris_jax.data import files, headers, pages
from tetris_jax.data.sample import Sample

__all__ = ['about']

# Fewest levels of 256 between the darkest and the brightest that go without a word, 6 %. 12 bits
# read as 16 end at 15. Of 76 photographs of GrabCut, DAVIS and COCO the least has 226, and fog,
# night or a faint X-ray have several dozen.
_FEWEST_LEVELS = 16
# Below this, a quarter of the range, 16-bit numbers may as well be 14 bits or fewer.
_DIM = 64


def about(sample: Sample, paths: Iterable[pathlib.Path]) -> tuple[str, ...]:
  """What looks wrong about a sample, a clause each; nothing for an ordinary one.

  The object has every pixel, or all four corners, as a lost alpha and an inverted mask do; the
  picture keeps to a few per cent of its range, as numbers of fewer bits than were taken do; its
  file has pages that were left out.

  Args:
    sample: as it was read.
    paths: of the files that it is made of, the picture first; without them less is known.
  """
  return (*_of_mask(sample), *_of_picture(sample.image, next(iter(paths), None)))


def _of_mask(sample: Sample) -> list[str]:
  mask = sample.mask
  if (mask | sample.ignore).all():
    return [
      'the object fills the picture, apart from ignored pixels: the mask may have lost its alpha'
      if sample.ignore.any()
      else 'the object fills the picture: the mask may have lost its alpha'
    ]
  if mask[[0, 0, -1, -1], [0, -1, 0, -1]].all():
    return [
      'the object has all four corners of the picture: it may be the background, as in an inverted '
      'mask'
    ]
  return []


def _of_picture(picture: np.ndarray, path: pathlib.Path | None) -> list[str]:
  low, high = int(picture.min()), int(picture.max())
  said = []
  if high - low < _FEWEST_LEVELS:
    said.append(
      f'the picture has only levels from {low} to {high} of 255: its numbers may be of another '
      'range than was taken'
    )
  bits, others = (0, 0) if path is None else _of_header(path)
  if bits == 16 and high < _DIM and not said:
    said.append(
      f'the picture is a 16-bit file whose brightest level is {high} of 255: where its numbers are '
      'of fewer bits, the option bits of dataset=folder says so'
    )
  if others:
    said.append(
      f'the picture is the first of {others + 1} pages of its size; the others do not count'
    )
  return said


def _of_header(path: pathlib.Path) -> tuple[int, int]:
  """Bits of a channel in a TIFF or PNG, and how many pages of its size follow in a TIFF."""
  try:
    with path.open('rb') as file:
      start = file.read(32)
    if start[:4] == b'\x89PNG':
      return start[24], 0
    if start[:2] not in (b'II', b'MM'):
      return 0, 0
    with files.header(path) as (image, _):
      bits = image.tag_v2.get(headers.BITS_PER_SAMPLE, (1,))[0]
      return bits, pages.further_pages(image)
  except Exception:  # What of a file is not understood here was not needed to read its picture.
    return 0, 0
