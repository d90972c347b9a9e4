"""Objects outlined by hand on the photographs that scikit-image ships: a data set without download.

`samples.json` beside this file holds the outlines. A pixel belongs to a polygon iff its centre does
by the even-odd rule, computed here in integers of 1/16 pixel so that every machine agrees.
"""

from __future__ import annotations

import functools
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tetris_jax.data.dataset import DataError, Dataset, Entry
from tetris_jax.data.sample import Sample

__all__ = ['fill_polygons', 'read_samples']

_UNITS = 16


def read_samples() -> Dataset:
  """The bundled samples, in the order of their names; photographs are read on access.

  Raises:
    DataError: scikit-image is not installed, or ships another photograph than was outlined.
  """
  try:
    import skimage.data
  except ImportError as error:
    raise DataError(
      'dataset=samples outlines photographs that come with scikit-image, which is not '
      'installed: pip install tetris_jax[demo]'
    ) from error
  loaders = {name: functools.partial(_photograph, skimage.data, name) for name in _photographs()}
  entries = []
  for instance, outline in sorted(_outlines()['instances'].items()):
    photograph = outline['photograph']
    height, width = _photographs()[photograph]
    size = (height, width)
    read = functools.partial(_read, instance, outline, size, loaders[photograph])
    entries.append(Entry(instance, read, functools.partial(_same, size)))
  return Dataset('samples', entries)


def fill_polygons(
  polygons: Sequence[Sequence[Sequence[float]]], size: tuple[int, int]
) -> np.ndarray:
  """(height, width) bool, True where a pixel's centre lies in an odd number of `polygons`.

  A polygon inside another is thus a hole in it. Vertices are (x, y) in pixels with pixel centres at
  integers, rounded to 1/16 pixel, in either direction, closed by themselves. A centre exactly on an
  edge counts when the inside lies to its right or, on a horizontal edge, below it, so polygons that
  share an edge neither overlap nor leave a gap. Vertices may lie outside the image.

  Raises:
    ValueError: a polygon has fewer than three vertices.
  """
  height, width = size
  columns = np.arange(width, dtype=np.int64) * _UNITS
  inside = np.zeros((height, width), np.bool_)
  for polygon in polygons:
    if len(polygon) < 3:
      raise ValueError(f'a polygon of {len(polygon)} vertices; expected at least 3')
    vertices = np.rint(np.asarray(polygon, np.float64) * _UNITS).astype(np.int64).tolist()
    for (x0, y0), (x1, y1) in zip(vertices, vertices[1:] + vertices[:1], strict=True):
      if y0 > y1:
        x0, y0, x1, y1 = x1, y1, x0, y0
      # Rows whose centre y satisfies y0 <= y < y1; a horizontal edge has none.
      first = max(0, -(-y0 // _UNITS))
      last = max(first, min(height, -(-y1 // _UNITS)))
      rows = np.arange(first, last, dtype=np.int64)[:, None] * _UNITS
      # Everything at or right of the edge changes sides: x >= x0 + (y - y0) (x1 - x0) / (y1 - y0).
      inside[first:last] ^= (columns - x0) * (y1 - y0) >= (rows - y0) * (x1 - x0)
  return inside


@functools.cache
def _outlines() -> Any:
  return json.loads((pathlib.Path(__file__).parent / 'samples.json').read_text('utf-8'))


def _photographs() -> dict[str, list[int]]:
  return _outlines()['photographs']


def _photograph(module: Any, name: str) -> np.ndarray:
  photograph = getattr(module, name)()
  # A stereo pair comes with its disparity; the left picture was outlined.
  photograph = photograph[0] if isinstance(photograph, tuple) else photograph
  if photograph.ndim == 2:
    photograph = np.repeat(photograph[..., None], 3, axis=2)
  return np.ascontiguousarray(photograph, dtype=np.uint8)


def _same(size: tuple[int, int]) -> tuple[int, int]:
  return size


def _read(
  instance: str,
  outline: Any,
  size: tuple[int, int],
  load: Callable[[], np.ndarray],
) -> Sample:
  image = load()
  if image.shape[:2] != size:
    raise DataError(
      f'dataset=samples: {outline["photograph"]} of the installed scikit-image has '
      f'{image.shape[0]} x {image.shape[1]} pixels, the outlines were drawn on '
      f'{size[0]} x {size[1]}; install scikit-image 0.25 or 0.26'
    )
  mask = fill_polygons(outline['object'], size)
  ignore = fill_polygons(outline.get('ignore', []), size)
  return Sample(instance, image, mask & ~ignore, ignore)
