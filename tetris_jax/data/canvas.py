"""Instances of many sizes on few canvases, so that a sweep compiles a handful of programs."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tetris_jax.data.dataset import Dataset
from tetris_jax.data.sample import Sample
from tetris_jax.types import Batch

__all__ = ['SIDES', 'Group', 'canvas_for', 'instance_id', 'plan', 'stack']

# 864 takes the long side of DAVIS at 480p, 640 that of COCO; larger sides go up by 512.
SIDES = (128, 256, 384, 512, 640, 864, 1024, 1280, 1536, 2048)
_STEP = 512

# Compiling costs as much as about this many instances lose on a canvas of up to twice the area.
_RARE = 16
_SHARED_AREA = 2


class Group(NamedTuple):
  """Instances that share a canvas and are attacked as one batch.

  Attributes:
    canvas: (height, width) in pixels.
    indices: positions of the instances in the data set, ascending.
  """

  canvas: tuple[int, int]
  indices: tuple[int, ...]


def canvas_for(size: tuple[int, int]) -> tuple[int, int]:
  """The smallest canvas (height, width) that holds an image of `size` (height, width), in pixels.

  Raises:
    ValueError: a side is below 1.
  """
  height, width = size
  return _side(height), _side(width)


def instance_id(instance: str) -> int:
  """The number, below 2**32, with which an instance's randomness is folded: its name's CRC-32.

  Two names of one data set may collide (about once in 100 sets of 10,000 instances); they would
  then share their random draws, and nothing else.
  """
  return zlib.crc32(instance.encode('utf-8', 'surrogateescape'))


def stack(
  samples: Sequence[Sample], canvas: tuple[int, int], batch_size: int
) -> tuple[Batch, int]:
  """Pads samples at the bottom and the right to `canvas` and repeats the last up to `batch_size`.

  Returns:
    A `Batch` of NumPy arrays with leading dimension `batch_size`, and how many of its entries are
    real; the rest repeat the last sample and are to be thrown away.

  Raises:
    ValueError: no samples, more than `batch_size`, or one that does not fit the canvas.
  """
  if not 1 <= len(samples) <= batch_size:
    raise ValueError(f'{len(samples)} samples for a batch of {batch_size}; expected 1 to that many')
  height, width = canvas
  batch = Batch(
    image=np.zeros((batch_size, height, width, 3), np.float32),
    mask=np.zeros((batch_size, height, width), np.bool_),
    ignore=np.zeros((batch_size, height, width), np.bool_),
    size=np.zeros((batch_size, 2), np.int32),
    id=np.zeros((batch_size,), np.uint32),
  )
  for slot in range(batch_size):
    sample = samples[min(slot, len(samples) - 1)]
    rows, columns = sample.size
    if rows > height or columns > width:
      raise ValueError(
        f'{sample.instance} has {rows} x {columns} pixels, more than its canvas {height} x {width}'
      )
    batch.image[slot, :rows, :columns] = sample.image.astype(np.float32) / np.float32(255)
    batch.mask[slot, :rows, :columns] = sample.mask
    batch.ignore[slot, :rows, :columns] = sample.ignore
    batch.size[slot] = rows, columns
    batch.id[slot] = instance_id(sample.instance)
  return batch, len(samples)


def plan(dataset: Dataset, batch_size: int) -> tuple[tuple[Group, ...], tuple[int, ...]]:
  """Divides a data set into groups of one canvas, from image headers alone.

  An instance has the canvas of `canvas_for`, or, where few instances have that one, a larger canvas
  that others need. The groups depend on the data set and `batch_size` only, so a resumed run finds
  the same ones and may pass over those it has finished. Canvases follow each other in ascending
  order, instances within a canvas in the data set's.

  Returns:
    The groups, and the positions of instances whose size is unknown: reading them gives `Rejected`.

  Raises:
    ValueError: `batch_size` is below 1.
  """
  if batch_size < 1:
    raise ValueError(f'batch_size={batch_size}; expected at least 1')
  by_canvas: dict[tuple[int, int], list[int]] = {}
  unsized = []
  for index in range(len(dataset)):
    size = dataset.size(index)
    if size is None:
      unsized.append(index)
    else:
      by_canvas.setdefault(canvas_for(size), []).append(index)
  groups = tuple(
    Group(canvas, tuple(indices[start : start + batch_size]))
    for canvas, indices in sorted(_share(by_canvas).items())
    for start in range(0, len(indices), batch_size)
  )
  return groups, tuple(unsized)


def _share(by_canvas: dict[tuple[int, int], list[int]]) -> dict[tuple[int, int], list[int]]:
  """Moves the instances of a rare canvas to a larger one of the same data set."""
  shared = {canvas: list(indices) for canvas, indices in by_canvas.items()}
  for canvas in sorted(by_canvas, key=lambda c: (c[0] * c[1], c)):
    height, width = canvas
    larger = [
      (h * w, (h, w))
      for h, w in shared
      if h >= height and w >= width and height * width < h * w <= _SHARED_AREA * height * width
    ]
    if larger and len(shared[canvas]) < _RARE:
      shared[min(larger)[1]] += shared.pop(canvas)
  return {canvas: sorted(indices) for canvas, indices in shared.items()}


def _side(pixels: int) -> int:
  if pixels < 1:
    raise ValueError(f'an image side of {pixels} pixels; expected at least 1')
  for side in SIDES:
    if pixels <= side:
      return side
  return -(-pixels // _STEP) * _STEP
