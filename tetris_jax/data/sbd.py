"""SBD, the Semantic Boundaries Dataset: object numbers from MATLAB files, and its split file."""

from __future__ import annotations

import pathlib

import numpy as np

from tetris_jax.data import images, labels, pairs
from tetris_jax.data.dataset import DataError, Entry

__all__ = ['MIN_BOX_SHARE', 'box_share', 'list_split', 'read_instances']

MIN_BOX_SHARE = 0.08
"""An object that fills less of its bounding box is an annotation gone wrong (arXiv 2102.06583)."""


def read_instances(path: pathlib.Path) -> np.ndarray:
  """The object numbers of an SBD file `inst/*.mat`: its field GTinst.Segmentation.

  Returns:
    (height, width) int32, 0 on the background.

  Raises:
    images.UnreadableImage: the file is missing or damaged, or has no such field.
  """
  import scipy.io  # Comes with JAX.

  name = f'{path.parent.name}/{path.name}'
  try:
    held = scipy.io.loadmat(str(path), appendmat=False, variable_names=['GTinst'])
  except FileNotFoundError as error:
    raise images.UnreadableImage(f'{name} is missing') from error
  except Exception as error:  # Of a damaged file, anything from struct.error to MemoryError.
    raise images.UnreadableImage(f'{name} is no MATLAB file or is damaged: {error}') from error
  try:
    numbers = np.asarray(held['GTinst']['Segmentation'][0, 0])
  except (KeyError, IndexError, ValueError, TypeError) as error:
    raise images.UnreadableImage(f'{name} has no field GTinst.Segmentation') from error
  if numbers.ndim != 2 or not numbers.size or numbers.dtype.kind not in 'uif':
    raise images.UnreadableImage(
      f'{name}: GTinst.Segmentation is {numbers.dtype} {numbers.shape}, no picture of numbers'
    )
  return numbers.astype(np.int32)


def box_share(mask: np.ndarray) -> float:
  """The part of its bounding box that an object fills, above 0 up to 1.

  Args:
    mask: (height, width) bool, not empty.
  """
  rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
  box = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
  return float(mask.sum() / box)


def list_split(
  root: pathlib.Path, folders: tuple[str, str], split: str, min_box_share: float
) -> tuple[list[tuple[str, pathlib.Path, pathlib.Path]], list[Entry], int]:
  """The pictures that a split names, and the entries of their objects.

  Every file of `inst` is read once for its numbers.

  Args:
    root: holds both folders and `<split>.txt`, a name a line.
    folders: of the pictures and of the files with the numbers.
    split: such as "val".
    min_box_share: objects that fill less of their boxes are dropped.

  Returns:
    (stem, picture, mask) of each picture, the entries, and how many objects were dropped.

  Raises:
    DataError: the split file cannot be read or names nothing.
  """
  file = root / f'{split}.txt'
  try:
    names = [line.strip() for line in file.read_text('utf-8').splitlines() if line.strip()]
  except (OSError, UnicodeDecodeError) as error:
    raise DataError(f'data_dir={root}: {file.name} cannot be read: {error}') from error
  if not names:
    raise DataError(f'data_dir={root}: {file.name} names no picture')
  pictures, _ = pairs.by_stem(root / folders[0])
  masks = {file.stem: file for file in (root / folders[1]).iterdir() if _is_mat(file)}
  found, entries = [], []
  for stem in dict.fromkeys(names):
    files = pictures.get(stem, [])
    lacking = [
      folder for folder, there in zip(folders, (files, stem in masks), strict=True) if not there
    ]
    if lacking or len(files) > 1:
      missing = f'no file in the folder {" or ".join(lacking)}'
      reason = missing if lacking else f'{len(files)} pictures in the folder {folders[0]}'
      entries.append(pairs.reject(stem, f'{file.name} names {stem}, which has {reason}'))
    else:
      found.append((stem, files[0], masks[stem]))
  counted = _Counted(min_box_share)
  reader = labels.Reader(read_instances)
  entries += labels.every_object(found, reader, keep=counted)
  return found, entries, counted.dropped


class _Counted:
  """Keeps the objects that fill enough of their boxes and counts the others."""

  def __init__(self, min_box_share: float):
    self.min_box_share = min_box_share
    self._dropped: list[int] = []

  def __call__(self, numbers: np.ndarray, number: int) -> bool:
    kept = box_share(numbers == number) >= self.min_box_share
    if not kept:
      self._dropped.append(number)  # A list, for several threads look at once.
    return kept

  @property
  def dropped(self) -> int:
    return len(self._dropped)


def _is_mat(file: pathlib.Path) -> bool:
  return file.suffix.lower() == '.mat' and not file.name.startswith('.')
