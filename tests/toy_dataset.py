"""A data set in one file of one's own: squares, one a line of a text file; for tests.

A program that imports this file can open it as dataset='squares'.
"""

import functools
import pathlib

import numpy as np

from tetris_jax import data


def read_squares(data_dir: str | None, *, side: int = 16, bright: bool = True) -> data.Dataset:
  """The squares of `data_dir`/squares.txt, a line "name top left length" each.

  Raises:
    DataError: there is no such file.
  """
  path = pathlib.Path(data_dir or '') / 'squares.txt'
  if not path.is_file():
    raise data.DataError(f'data_dir={data_dir} has no file squares.txt')
  entries = []
  for line in path.read_text('utf-8').splitlines():
    name, *numbers = line.split()
    read = functools.partial(_read, name, tuple(map(int, numbers)), side, bright)
    entries.append(data.Entry(name, read, lambda: (side, side)))
  return data.Dataset('squares', entries)


def _read(
  name: str, square: tuple[int, ...], side: int, bright: bool
) -> data.Sample | data.Rejected:
  top, left, length = square
  mask = np.zeros((side, side), np.bool_)
  mask[top : top + length, left : left + length] = True
  if not mask.any():
    return data.Rejected(name, 'skipped', 'its square has no pixel', (side, side))
  image = np.where(mask == bright, np.uint8(255), np.uint8(0))
  return data.Sample(name, np.stack([image] * 3, -1), mask, np.zeros_like(mask))


data.register('squares', read_squares)
