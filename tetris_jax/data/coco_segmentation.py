"""COCO's "segmentation": polygons, or run lengths, compressed or not, to a mask.

Besides the format itself, what has one meaning only is read: a polygon that is not in a list,
corners as pairs, numbers as texts, run lengths in a list or without their size, and a box where
the annotation's "bbox" says that it is one. Parts of fewer than three corners beside others fill
nothing and are dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tetris_jax.data.coco_document import number, shown, whole
from tetris_jax.data.samples import fill_polygons

__all__ = ['Outline', 'decode_segmentation', 'doubt', 'fill', 'outline', 'reach']

# In pixels. Pictures are far smaller, and products of such coordinates still fit 64 bits.
_FARTHEST = 1e6
# A box and a "bbox" that was rounded to two digits are the same.
_ROUNDING = 0.01
# Overlap of a "bbox" and the box of what was drawn, as IoU of boxes. COCO's own are the same but
# for rounding; of what was read otherwise than it was meant, those of another reading are.
_APART, _TOGETHER = 0.8, 0.9
# Of a compressed run length; no picture has 2**60 pixels.
_MOST_BITS = 60


class Outline(NamedTuple):
  """A segmentation that was understood; its parts add up to one object.

  Attributes:
    polygons: (corners, 2) float64 each, (x, y) in pixels from the picture's corner.
    mask: (height, width) bool, the pixels of all run lengths; None where there are none.
  """

  polygons: list[np.ndarray]
  mask: np.ndarray | None = None


def decode_segmentation(
  segmentation: Any, size: tuple[int, int], *, bbox: Any = None
) -> np.ndarray:
  """(height, width) bool of a "segmentation": polygons, or run lengths, compressed or not.

  A pixel belongs to a polygon iff its centre does; COCO's own tool draws outlines on a grid five
  times as fine, and differs in single pixels on the border. Several polygons are one object's
  parts. Run lengths count down the columns, beginning with background.

  Args:
    segmentation: [[x0, y0, x1, y1, ...], ...] in pixels from the picture's corner, or
      {"size": [height, width], "counts": list or string}.
    size: (height, width) of the picture.
    bbox: the annotation's "bbox", [x, y, width, height]; COCO's own tool reads four numbers in
      place of a polygon as such a box, and so they are where they say the same.

  Raises:
    ValueError: it is neither, or its run lengths are not those of the picture.
  """
  return fill(outline(segmentation, size, bbox=bbox), size)


def outline(segmentation: Any, size: tuple[int, int], *, bbox: Any = None) -> Outline:
  """The parts of a segmentation; arguments and errors as for `decode_segmentation`.

  Args:
    segmentation: polygons or run lengths.
    size: (height, width) of the picture.
    bbox: the annotation's "bbox".
  """
  if isinstance(segmentation, Mapping):
    return Outline([], _mask_of_runs(segmentation, size))
  if not _is_list(segmentation):
    raise ValueError(f'a segmentation of type {type(segmentation).__name__}')
  mask: np.ndarray | None = None
  flat = []
  for part in _parts(segmentation):
    if isinstance(part, Mapping):
      more = _mask_of_runs(part, size)
      mask = more if mask is None else mask | more
    else:
      flat.append(_coordinates(part))
  boxes = _boxes(flat, bbox) if mask is None else []
  if boxes:
    return Outline(boxes)
  polygons: list[list[float]] = []
  specks: list[list[float]] = []
  for numbers in flat:
    if len(numbers) % 2:
      raise ValueError(_too_few(numbers))
    (polygons if len(numbers) >= 6 else specks).append(numbers)
  if specks and not polygons and mask is None:
    raise ValueError(_too_few(max(specks, key=len)))
  if polygons and mask is None and _are_shares(polygons):
    raise ValueError('all its coordinates lie in [0, 1]: shares of the picture; expected pixels')
  return Outline([np.asarray(one, np.float64).reshape(-1, 2) for one in polygons], mask)


def fill(parts: Outline, size: tuple[int, int]) -> np.ndarray:
  """(height, width) bool: the pixels of all parts.

  Args:
    parts: as `outline` gives them.
    size: (height, width) of the picture.
  """
  mask = np.zeros(size, np.bool_) if parts.mask is None else parts.mask.copy()
  for polygon in parts.polygons:
    # From corners at integers to centres at integers.
    mask |= fill_polygons([(polygon - 0.5).tolist()], size)
  return mask


def reach(parts: Outline, size: tuple[int, int]) -> float:
  """How far polygons reach beyond the picture, as a share of its height or width; 0 for inside.

  Args:
    parts: as `outline` gives them.
    size: (height, width) of the picture.
  """
  far = 0.0
  sides = np.asarray(size[::-1], np.float64)
  for polygon in parts.polygons:
    over = np.maximum(-polygon.min(0), polygon.max(0) - sides) / sides
    far = max(far, float(over.max()))
  return far


def doubt(parts: Outline, size: tuple[int, int], *, bbox: Any) -> str:
  """Why a segmentation may be read otherwise than it was meant, as a clause; '' for no reason.

  So it is where it lies elsewhere than the annotation's "bbox", and would not in the order that
  scikit-image gives contours or NumPy flattens masks in, or as per cent. Which of both is wrong
  nobody can tell.

  Args:
    parts: as `outline` gives them.
    size: (height, width) of the picture.
    bbox: the annotation's "bbox".
  """
  frame = _frame(bbox)
  if frame is None or (parts.polygons and parts.mask is not None):
    return ''
  if parts.mask is None:
    corners = np.concatenate(parts.polygons) if parts.polygons else np.zeros((1, 2))
    found = np.concatenate([corners.min(0), corners.max(0)])
    readings = {
      'with x and y exchanged': found[[1, 0, 3, 2]],
      'as per cent of the width and height': found * [*size[::-1], *size[::-1]] / 100,
    }
  else:
    found = _box(parts.mask)
    # The same runs along the rows.
    readings = {'with run lengths along the rows': _box(parts.mask.T.reshape(size))}
  if _overlap(found, frame) >= _APART:
    return ''
  better = (how for how, box in readings.items() if _overlap(box, frame) >= _TOGETHER)
  how = next(better, None)
  return f'its segmentation fits its "bbox" only {how}' if how else ''


def _box(mask: np.ndarray) -> np.ndarray:
  """x0, y0, x1, y1 of a mask, zeros for an empty one."""
  rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
  if not rows.size:
    return np.zeros(4)
  return np.asarray([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
  """IoU of two boxes x0, y0, x1, y1."""
  both = np.maximum(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0).prod()
  union = (one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod() - both
  return float(both / union) if union > 0 else 0.0


def _frame(bbox: Any) -> np.ndarray | None:
  """x0, y0, x1, y1 of a "bbox"; None where it is none."""
  stated = [number(value) for value in bbox] if _is_list(bbox) else []
  sides = [value for value in stated if value is not None]
  if len(stated) != 4 or len(sides) != 4 or max(map(abs, sides)) > _FARTHEST:
    return None
  x, y, width, height = sides
  return np.asarray([x, y, x + width, y + height])


def _is_list(value: Any) -> bool:
  return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _is_pair(value: Any) -> bool:
  return _is_list(value) and len(value) == 2 and not any(_is_list(one) for one in value)


def _parts(segmentation: Sequence[Any]) -> Sequence[Any]:
  """Polygons or run lengths, one by one, also where a single polygon is not in a list."""
  flat = segmentation and not any(_is_list(one) or isinstance(one, Mapping) for one in segmentation)
  if flat and any(number(one) is not None for one in segmentation):
    return [segmentation]
  if len(segmentation) >= 3 and all(_is_pair(one) for one in segmentation):
    return [segmentation]
  return segmentation


def _coordinates(part: Any) -> list[float]:
  """x0, y0, x1, y1, ... of one polygon."""
  if not _is_list(part):
    raise ValueError(f'{shown(part)} in place of a polygon')
  while len(part) == 1 and _is_list(part[0]):
    part = part[0]
  if part and all(_is_pair(one) for one in part):
    part = [value for pair in part for value in pair]
  numbers = []
  for value in part:
    found = number(value)
    if found is None:
      raise ValueError(f'a polygon holds {shown(value)}; expected numbers')
    if abs(found) > _FARTHEST:
      raise ValueError(f'a polygon holds {found:g}, more than {_FARTHEST:g} pixels away')
    numbers.append(found)
  return numbers


def _too_few(numbers: Sequence[float]) -> str:
  reason = f'a polygon of {len(numbers)} numbers; expected pairs, at least three'
  if len(numbers) == 4:
    reason += ', or a box [x, y, width, height] that is also its "bbox"'
  return reason


def _boxes(flat: Sequence[Sequence[float]], bbox: Any) -> list[np.ndarray]:
  """The corners of parts of four numbers that are boxes by the evidence of "bbox"; or none."""
  frame = _frame(bbox)
  if not flat or frame is None:
    return []
  found = np.asarray([one for one in flat if len(one) == 4], np.float64).reshape(-1, 4)
  if len(found) < len(flat):
    ends = found + np.pad(found[:, :2], ((0, 0), (2, 0)))
    if any(np.allclose(one, frame, 0, _ROUNDING) for one in ends):
      raise ValueError('its "bbox" stands among its polygons')
    return []
  corners = np.concatenate([found[:, :2], found[:, :2] + found[:, 2:]], 1)
  hull = np.concatenate([corners[:, :2].min(0), corners[:, 2:].max(0)])
  if (found[:, 2:] <= 0).any() or not np.allclose(hull, frame, 0, _ROUNDING):
    return []
  return [one[[0, 1, 2, 1, 2, 3, 0, 3]].reshape(4, 2) for one in corners]


def _are_shares(polygons: Sequence[Sequence[float]]) -> bool:
  values = [value for polygon in polygons for value in polygon]
  return min(values) >= 0 and 0 < max(values) <= 1


def _mask_of_runs(segmentation: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray:
  counts, stated = segmentation.get('counts'), segmentation.get('size')
  if counts is None:
    raise ValueError('an object without "counts"; expected run lengths')
  if stated is not None:
    sides = tuple(whole(side) for side in stated) if _is_list(stated) else ()
    if sides != size:
      reason = f'run lengths of {shown(stated)} pixels in a picture of {size}'
      if sides == size[::-1]:
        reason += '; with height and width exchanged, which way they run is not known'
      raise ValueError(reason)
  runs = _decompress(counts) if isinstance(counts, (str, bytes)) else _plain(counts)
  if any(run < 0 for run in runs):
    raise ValueError(f'a negative run length {shown(min(runs))}')
  if sum(runs) != size[0] * size[1]:
    raise ValueError(f'run lengths of {shown(sum(runs))} pixels in all for a picture of {size}')
  values = np.arange(len(runs)) % 2 == 1
  return np.repeat(values, np.asarray(runs, np.int64)).reshape(size[1], size[0]).T


def _plain(counts: Any) -> list[int]:
  if not _is_list(counts):
    raise ValueError(f'run lengths that are {shown(counts)}; expected a list or a string')
  runs = []
  for value in counts:
    run = whole(value)
    if run is None:
      raise ValueError(f'run lengths hold {shown(value)}; expected whole numbers')
    runs.append(run)
  return runs


def _decompress(counts: str | bytes) -> list[int]:
  """Run lengths from COCO's string: 5 bits a character, signed, the fourth on as differences."""
  text = counts if isinstance(counts, str) else counts.decode('latin-1')
  runs: list[int] = []
  value, shift = 0, 0
  for character in text:
    bits = ord(character) - 48
    if not 0 <= bits < 64:
      raise ValueError(f'a compressed run length holds the character {character!r}')
    value |= (bits & 0x1F) << shift
    shift += 5
    if bits & 0x20:
      if shift > _MOST_BITS:
        raise ValueError(f'a compressed run length of more than {_MOST_BITS} bits')
      continue
    if bits & 0x10:
      value -= 1 << shift
    runs.append(value + (runs[-2] if len(runs) > 2 else 0))
    value, shift = 0, 0
  if shift:
    raise ValueError('a compressed run length ends early')
  return runs
