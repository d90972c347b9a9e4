"""Bilinear resizing as the field's loaders do it: OpenCV's, on 8 bits, without its dependency."""

from __future__ import annotations

import numpy as np

__all__ = ['limit_long_side', 'limited_size', 'resize']

# OpenCV weighs 8-bit neighbours in integers of 11 bits.
_BITS = 11


def limited_size(size: tuple[int, int], long_side: int) -> tuple[int, int]:
  """(height, width) with the longer side cut to `long_side` pixels; the other is rounded half up.

  As in RClicks' loader (arXiv 2410.11722). A smaller size, or `long_side` 0, stays as it is.
  """
  height, width = size
  if not long_side or max(size) <= long_side:
    return size
  if height > width:
    return long_side, max(1, int(width / height * long_side + 0.5))
  return max(1, int(height / width * long_side + 0.5)), long_side


def limit_long_side(image: np.ndarray, long_side: int) -> np.ndarray:
  """`image` (height, width[, channels]) uint8 at its `limited_size`, resized bilinearly."""
  size = limited_size((image.shape[0], image.shape[1]), long_side)
  return image if size == image.shape[:2] else resize(image, size)


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """Bilinear interpolation between the two nearest pixels a side; nothing is averaged beyond them.

  Equal to `cv2.resize(..., interpolation=cv2.INTER_LINEAR)` in every bit.

  Args:
    image: (height, width[, channels]) uint8.
    size: (height, width) of the result, in pixels.

  Raises:
    ValueError: another dtype, or a side below 1.
  """
  if image.dtype != np.uint8:
    raise ValueError(f'image is {image.dtype}; only uint8 is resized')
  if min(size) < 1 or min(image.shape[:2]) < 1:
    raise ValueError(f'cannot resize {image.shape[:2]} pixels to {size}')
  if image.shape[0] == 2 * size[0] and image.shape[1] == 2 * size[1]:
    # OpenCV averages blocks here, which rounds where interpolation would truncate.
    blocks = image.astype(np.int32)
    total = blocks[::2, ::2] + blocks[1::2, ::2] + blocks[::2, 1::2] + blocks[1::2, 1::2]
    return ((total + 2) >> 2).astype(np.uint8)
  left, right, near_x, far_x = _neighbours(image.shape[1], size[1], True)
  over, under, near_y, far_y = _neighbours(image.shape[0], size[0], False)
  across = (-1, 1) if image.ndim == 3 else (-1,)
  near_x, far_x = near_x.reshape(across), far_x.reshape(across)
  out = np.empty((*size, *image.shape[2:]), np.uint8)
  for row in range(size[0]):
    rows = []
    for source, weight in ((over[row], near_y[row]), (under[row], far_y[row])):
      line = image[source].astype(np.int32)
      blended = line[left] * near_x + line[right] * far_x
      rows.append((int(weight) * (blended >> 4)) >> 16)
    out[row] = (rows[0] + rows[1] + 2) >> 2
  return out


def _neighbours(
  length: int, target: int, snap: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
  """The two source positions of each target position, and their weights of 2**11 in all.

  Beyond the outermost centres both are the outermost pixel; `snap` gives one of them all the
  weight, as OpenCV does along rows but not along columns, where rounding then differs.
  """
  # Pixel centres are at half integers; positions are float32, as there.
  position = ((np.arange(target) + 0.5) * (1 / (target / length)) - 0.5).astype(np.float32)
  first = np.floor(position).astype(np.int32)
  share = position - first.astype(np.float32)
  if snap:
    share = np.where((first < 0) | (first >= length - 1), np.float32(0), share)
  last = length - 1
  scale = np.float32(2**_BITS)
  near = np.rint((np.float32(1) - share) * scale).astype(np.int32)
  far = np.rint(share * scale).astype(np.int32)
  return np.clip(first, 0, last), np.clip(first + 1, 0, last), near, far
