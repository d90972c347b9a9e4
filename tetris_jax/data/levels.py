"""Pixels of any depth as levels from 0 to 255: which bits count, and what is refused.

Of 8 bits a channel every level counts as it is. Deeper files, whole numbers in 16 or 32 bits,
rarely say how many bits of a number are in use:

  - what the file says counts, where no pixel contradicts it: TIFF's BitsPerSample, MaxSampleValue
    where it is one less than a power of two, OME's SignificantBits, PNG's sBIT;
  - otherwise numbers up to 255 are 8 bits, up to 1023 are 10 and up to 4095 are 12, since as 16
    bits they would be a sixteenth of the range or less, a black picture;
  - everything else is 16 bits, whose high byte counts.

Floats count from 0 to 1 or, where all are whole, from 0 to 255.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tetris_jax.data import files
from tetris_jax.data.files import Decoded, Source, UnreadableImage

__all__ = ['checked_bits', 'of_floats', 'rgb', 'to_rgb', 'whole']

_MOST_BITS = 16

_BY_MAXIMUM = (8, 10, 12)


def rgb(found: Decoded, path: Source, *, bits: int = 0) -> np.ndarray:
  """(height, width, 3) uint8 colours of a decoded file, alpha dropped.

  Args:
    found: in the file.
    path: of the file, for messages and for what Pillow leaves in it.
    bits: of a number that are in use in files with more than 8 bits a channel; 0 as the module's
      docstring says.

  Raises:
    UnreadableImage: numbers that are no levels: negative ones, more than 16 bits, odd floats.
  """
  mode = found.image.mode
  if mode in files.DEEP_GREY or mode == 'F':
    if mode == 'F':
      grey = of_floats(np.asarray(found.image), path)
    else:
      grey = _of_whole(whole(found, path), found, path, bits)
    grey = 255 - grey if found.about.white_is_zero else grey
    return np.repeat(grey[..., None], 3, axis=2)
  if mode == 'L':
    whole(found, path)
  colours = lambda: np.ascontiguousarray(np.asarray(to_rgb(found.image), np.uint8))
  out = colours()
  if '16' in found.layout and (bits or found.about.bits or int(out.max(initial=0)) < 16):
    del out  # Each reading of a large file takes as much again.
    deep = files.deep_colours(path, found.layout)
    if deep is None:
      return colours()
    out = _of_whole(deep, found, path, bits)
    out = np.repeat(out, 3, axis=2) if out.shape[2] == 1 else out
  return out


def checked_bits(bits: int) -> int:
  """`bits`, as `rgb` takes it.

  Raises:
    ValueError: it is neither 0 nor 8 to 16.
  """
  if bits and not 8 <= bits <= _MOST_BITS:
    raise ValueError(f'bits={bits}; expected 8 to {_MOST_BITS}, or 0, which leaves it to each file')
  return bits


def whole(found: Decoded, path: Source) -> np.ndarray:
  """(height, width) numbers of a grey file with whole ones, as they are stored.

  Raises:
    UnreadableImage: some are negative.
  """
  values = np.asarray(found.image)
  if found.about.signed and values.dtype == np.uint8:
    values = values.view(np.int8)
  lowest = int(values.min(initial=0))
  if lowest < 0:
    count = np.count_nonzero(values < 0)
    raise UnreadableImage(
      f'{files.name_of(path)} holds negative values at {count} pixels, as low as {lowest}; numbers '
      'from 0 on are read (pixels to ignore may have a number of their own, named by ignore_id)'
    )
  return values


def _of_whole(
  values: np.ndarray, found: Decoded, path: Source, bits: int
) -> np.ndarray:
  """uint8 levels of whole numbers from 0 on."""
  highest = int(values.max(initial=0))
  if highest >= 1 << _MOST_BITS:
    raise UnreadableImage(
      f'{files.name_of(path)} holds 32-bit numbers up to {highest}; 8 or 16 bits a channel are read'
    )
  if bits and highest >= 1 << bits:
    raise UnreadableImage(
      f'{files.name_of(path)} holds numbers up to {highest}, which do not fit bits={bits}'
    )
  bits = bits or _bits(values, highest, found)
  return (values >> (bits - 8)).astype(np.uint8)


def _bits(values: np.ndarray, highest: int, found: Decoded) -> int:
  stated = found.about.bits
  if 8 <= stated < _MOST_BITS and highest < 1 << stated:
    # Where a format moves the bits up, the lowest are 0 in what is as dark as this.
    below = (1 << (_MOST_BITS - stated)) - 1
    if not found.about.aligned_left or stated <= max(_BY_MAXIMUM) or bool((values & below).any()):
      return stated
  return next((bits for bits in _BY_MAXIMUM if highest < 1 << bits), _MOST_BITS)


def of_floats(values: np.ndarray, path: Source) -> np.ndarray:
  """uint8 levels of floats, (height, width).

  Raises:
    UnreadableImage: they are neither all in [0, 1] nor all whole and in [0, 255].
  """
  finite = np.isfinite(values)
  if not finite.all():
    raise UnreadableImage(
      f'{files.name_of(path)} holds floats that are no numbers: NaN or infinity at '
      f'{np.count_nonzero(~finite)} pixels'
    )
  low, high = float(values.min(initial=0)), float(values.max(initial=0))
  if low >= 0 and high <= 1:
    return np.rint(values * np.float32(255)).astype(np.uint8)
  if low >= 0 and high <= 255 and bool((values == np.rint(values)).all()):
    return values.astype(np.uint8)
  raise UnreadableImage(
    f'{files.name_of(path)} holds floats from {low:g} to {high:g}; floats are read from 0 to 1 or '
    'as whole numbers up to 255: save it with 8 or 16 bits'
  )


def to_rgb(image: Any) -> Any:
  """An image of Pillow in RGB, alpha dropped and not composited."""
  if image.mode in ('La', 'PA'):
    image = image.convert('LA' if image.mode == 'La' else 'RGBA')
  elif image.mode == 'RGBa':
    image = image.convert('RGBA')
  return image.convert('RGB')
