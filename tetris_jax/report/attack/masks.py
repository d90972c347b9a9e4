"""Masks that an attack leaves beside its rows: what the model answered at the end, and the truth.

Every instance has a file a mode, of one bit a pixel, and one of the object: 255 there, 128 where no
metric counts, 0 elsewhere. They are called as the instance's picture in figures/ is, with the mode,
or "truth", before the ending.
"""

from __future__ import annotations

import io
import os
import pathlib
import re
from collections.abc import Sequence

import numpy as np

from tetris_jax.report import pictures
from tetris_jax.runs import files
from tetris_jax.runs.workdirs import WorkdirError

__all__ = ['TRUTH', 'decode_mask', 'decode_truth', 'encode_mask', 'encode_truth', 'find', 'named']

TRUTH = 'truth'
"""What stands in the place of a mode in the name of an object's file."""

_OBJECT, _IGNORED = 255, 128
_NAME = re.compile(r'([0-9]{5,9})_.*\.(min|base|max|truth)\.png', re.DOTALL)


def named(picture: pathlib.Path, kind: str) -> pathlib.Path:
  """The file of a mode or of the truth, beside where an instance's picture would lie."""
  return picture.with_suffix(f'.{kind}.png')


def find(folder: pathlib.Path, names: Sequence[str]) -> dict[str, dict[str, pathlib.Path]]:
  """The files of a work folder's masks/, by instance and then by mode or "truth".

  Args:
    folder: masks/, which need not be there.
    names: of all instances of the run, in order.

  Raises:
    WorkdirError: it is a link, or no folder.
  """
  try:
    listed = sorted(os.listdir(folder)) if files.check_folder(folder) else []
  except files.FileError as error:
    raise WorkdirError(str(error)) from error
  found: dict[str, dict[str, pathlib.Path]] = {}
  for file in listed:
    known = _NAME.fullmatch(file)
    if known and int(known[1]) < len(names):
      found.setdefault(names[int(known[1])], {})[known[2]] = folder / file
  return found


def encode_mask(mask: np.ndarray) -> bytes:
  """A mask (height, width) bool as a PNG file."""
  from PIL import Image

  file = io.BytesIO()
  Image.fromarray(mask.astype(np.uint8) * 255).convert('1').save(file, 'PNG', optimize=True)
  return file.getvalue()


def encode_truth(mask: np.ndarray, ignore: np.ndarray) -> bytes:
  """An object and the pixels that no metric counts, (height, width) bool each, as a PNG file."""
  from PIL import Image

  grey = np.where(ignore, _IGNORED, np.where(mask, _OBJECT, 0)).astype(np.uint8)
  file = io.BytesIO()
  Image.fromarray(grey).save(file, 'PNG', optimize=True)
  return file.getvalue()


def decode_mask(path: pathlib.Path, size: Sequence[int]) -> np.ndarray:
  """The mask in a file.

  Args:
    path: of the file.
    size: [height, width] that it must have.

  Returns:
    (height, width) bool.

  Raises:
    WorkdirError: it is missing, damaged, a link, or of another size.
  """
  return _grey(path, size) == 255


def decode_truth(path: pathlib.Path, size: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
  """The object and the pixels that no metric counts, (height, width) bool; as `decode_mask`."""
  grey = _grey(path, size)
  return grey == _OBJECT, grey == _IGNORED


def _grey(path: pathlib.Path, size: Sequence[int]) -> np.ndarray:
  try:
    inside = path.parent.parent
    data = files.read_regular(path, most_bytes=pictures.MOST_BYTES, inside=inside)
    image = pictures.decode(data, path).image
  except (files.FileError, pictures.PictureError) as error:
    raise WorkdirError(f'{error}; give the run\'s command again without this file') from error
  if [image.height, image.width] != list(size):
    raise WorkdirError(
      f'{path} has {image.height} x {image.width} pixels, expected {size[0]} x {size[1]}; remove '
      "it and give the run's command again"
    )
  return np.asarray(image.convert('L'))
