"""Numbers of a label picture that smoothing or a lossy codec left, not objects."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ['Leftovers', 'leftovers', 'pixels_of']

# Measured on scenes of 1 to 300 objects, as consecutive numbers, grey levels and palettes, through
# resizing by five filters, turning, blurring, JPEG and WebP, against the same scenes as drawn and
# thinned, dots, lines, superpixels and a Voronoi diagram:
#   - of levels and palettes more than half of the numbers are leftovers (bar copies of a box filter
#     and JPEG at quality 100), of what was drawn a tenth, and of cells thinned to every eighth
#     pixel a quarter;
#   - of consecutive numbers from five objects on, which hide in each other, rims are 0.20 to 0.42
#     of the steps from pixel to pixel, of what was drawn 0.05, thinned to every eighth pixel 0.15.
_SHARE = 0.5
_RIMS = 0.2
# So many leftovers, if they are half of the numbers, are no accident; a few are none where they
# have the smaller part of the pixels as well.
_MANY, _FEW = 8, 3
_SMALL_PART = 0.4
# Fewer rim pixels show nothing. One number that has most of them is a class of borders, and where
# most lie between the number before and the one after, numbers are those of layers.
_FEWEST_RIM_PIXELS = 32
_ONE_CLASS = 2 / 3
_LAYERS = 0.5


def pixels_of(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """The numbers of a label picture, ascending, and how many pixels each has.

  Only pixels that differ from the one before are sorted, which for objects are few.
  """
  flat = numbers.ravel()
  starts = np.append(0, np.flatnonzero(flat[1:] != flat[:-1]) + 1)
  lengths = np.diff(np.append(starts, flat.size))
  found, which = np.unique(flat[starts], return_inverse=True)
  return found, np.bincount(which, weights=lengths, minlength=len(found)).astype(np.int64)


class Leftovers(NamedTuple):
  """Evidence that numbers are not what was drawn.

  Attributes:
    numbers: how many there are above 0.
    bad: how many of them are leftovers.
    rims: share of the steps from a pixel to the next that lead into a rim.
  """

  numbers: int
  bad: int
  rims: float


def leftovers(numbers: np.ndarray) -> Leftovers | None:
  """What of a label picture smoothing or a lossy codec left; None where it looks as drawn.

  Interpolation writes numbers between those of two neighbours, in rims a pixel wide, and lossy
  codecs scatter them. A pixel of a rim differs from both neighbours in its row, or in its column,
  which differ, and lies between them, as a number or in each of three 8-bit channels. A number is a
  leftover where half of its pixels are of rims; pixels that differ from all their neighbours, some
  of which are above 0, count as well where the number has more than one pixel. Where leftovers have
  the numbers of other objects, only the share of rims tells.

  Args:
    numbers: (height, width) int32.
  """
  found, counts = pixels_of(numbers)
  objects = found > 0
  total = int(np.count_nonzero(objects))
  if total <= _FEW:
    return None
  in_row, in_column = _parted(numbers), _parted(numbers, axis=0)
  rows, wide = _between(numbers, in_row, 1)
  columns, high = _between(numbers, in_column, numbers.shape[1])
  rim = np.union1d(rows, columns)
  either = np.union1d(rim, _alone(numbers, in_row & in_column))
  rims, odd = (
    np.bincount(np.searchsorted(found, numbers.ravel()[at]), minlength=len(found))
    for at in (rim, either)
  )
  bad = objects & ((rims >= _SHARE * counts) | ((counts > 1) & (odd >= _SHARE * counts)))
  count = int(np.count_nonzero(bad))
  many = count >= _MANY and 2 * count >= total
  few = count >= _FEW and 2 * count >= total
  steps = sum(np.count_nonzero(np.diff(numbers, axis=axis)) for axis in (0, 1))
  share = int(rims[objects].sum()) / max(steps, 1)
  if many or (few and counts[bad].sum() <= _SMALL_PART * counts[objects].sum()):
    return Leftovers(total, count, share)
  spans = np.concatenate([wide, high])
  if (
    share >= _RIMS
    and len(rim) >= _FEWEST_RIM_PIXELS
    and rims.max() <= _ONE_CLASS * rims.sum()
    and np.count_nonzero(spans > 2) > _LAYERS * len(spans)
  ):
    return Leftovers(total, count, share)
  return None


def _parted(numbers: np.ndarray, axis: int = 1) -> np.ndarray:
  """The pixels that differ from both neighbours along an axis; beyond the border all differs."""
  size = list(numbers.shape)
  size[axis] += 1
  edge = np.ones(size, np.bool_)
  if axis:
    edge[:, 1:-1] = numbers[:, 1:] != numbers[:, :-1]
    return edge[:, 1:] & edge[:, :-1]
  edge[1:-1] = numbers[1:] != numbers[:-1]
  return edge[1:] & edge[:-1]


def _between(
  numbers: np.ndarray, parted: np.ndarray, step: int
) -> tuple[np.ndarray, np.ndarray]:
  """Which of these pixels above 0 lie between the two that are a step away in memory.

  Returns:
    Their flat indices, and how far those two are apart.
  """
  inner = parted & (numbers > 0)
  if step == 1:
    inner[:, [0, -1]] = False
  else:
    inner[[0, -1]] = False
  at, flat = np.flatnonzero(inner), numbers.ravel()
  one, left, right = flat[at], flat[at - step], flat[at + step]
  low, high = np.minimum(left, right), np.maximum(left, right)
  between = (low < one) & (one < high)
  by_channel = low != high
  for shift in (0, 8, 16):
    one_of, *sides = ((some >> shift) & 255 for some in (one, left, right))
    by_channel &= (np.minimum(*sides) <= one_of) & (one_of <= np.maximum(*sides))
  kept = between | by_channel
  return at[kept], (high - low)[kept]


def _alone(numbers: np.ndarray, parted: np.ndarray) -> np.ndarray:
  """Which of these pixels differ from all eight neighbours and do not lie in 0, as flat indices."""
  at = np.flatnonzero(parted)
  row, column = np.divmod(at, parted.shape[1])
  own = numbers[row, column]
  alone, in_nothing = np.ones(len(at), np.bool_), np.ones(len(at), np.bool_)
  height, width = numbers.shape
  for down in (-1, 0, 1):
    for right in (-1, 0, 1):
      y, x = row + down, column + right
      inside = (y >= 0) & (y < height) & (x >= 0) & (x < width) & bool(down or right)
      other = numbers[y.clip(0, height - 1), x.clip(0, width - 1)]
      alone &= ~inside | (other != own)
      in_nothing &= ~inside | (other == 0)
  return at[alone & ~in_nothing]
