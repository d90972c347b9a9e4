"""SBD, the Semantic Boundaries Dataset: object numbers from MATLAB files, and its split file."""

from __future__ import annotations

import glob
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from tetris_jax import regular
from tetris_jax.data import images, labels, matlab, pairs
from tetris_jax.data import index as index_lib
from tetris_jax.data.dataset import DataError, Entry

__all__ = ['MIN_BOX_SHARE', 'box_share', 'list_split', 'read_instances']

MIN_BOX_SHARE = 0.08
"""An object that fills less of its bounding box is an annotation gone wrong (arXiv 2102.06583)."""

_SUFFIXES = images.SUFFIXES | {'.mat'}


def read_instances(path: pathlib.Path) -> np.ndarray:
  """The object numbers of an SBD file `inst/*.mat`: its field GTinst.Segmentation.

  Returns:
    (height, width) int32, 0 on the background.

  Raises:
    images.UnreadableImage: the file is missing or damaged, or has no such field.
  """
  name = f'{path.parent.name}/{path.name}'
  try:
    data = regular.read(path)
  except FileNotFoundError as error:
    raise images.UnreadableImage(f'{name} is missing') from error
  except OSError as error:
    raise images.UnreadableImage(f'{name} cannot be read: {error.strerror or error}') from error
  _refuse_hdf5(data, name)
  try:
    held = matlab.read_structs(data, only='GTinst')
    if 'GTinst' not in held or 'Segmentation' not in held['GTinst'].fields:
      raise images.UnreadableImage(f'{name} has no field GTinst.Segmentation{_instead(held)}')
    numbers = held['GTinst'].numbers('Segmentation')
  except matlab.MatlabError as error:
    raise images.UnreadableImage(f'{name} is no MATLAB file or is damaged: {error}') from error
  if numbers.ndim != 2 or not numbers.size or numbers.dtype.kind not in 'buif':
    raise images.UnreadableImage(
      f'{name}: GTinst.Segmentation is {numbers.dtype} {numbers.shape}, no picture of numbers'
    )
  return labels.whole(numbers, f'{name}: GTinst.Segmentation')


def _refuse_hdf5(data: bytes, name: str) -> None:
  """Raises UnreadableImage for what MATLAB writes with -v7.3."""
  head = data[:1024]
  if head.startswith((b'MATLAB 7.3', b'\x89HDF')) or b'\x89HDF\r\n' in head:
    raise images.UnreadableImage(
      f"{name} is a MATLAB file of version 7.3 (HDF5), which is not read; in MATLAB, load it and "
      "save(file, 'GTinst', '-v7')"
    )


def _instead(held: Mapping[str, Any]) -> str:
  """What a file holds where GTinst is wanted, as a clause."""
  if 'GTcls' in held:
    return (
      '; it holds GTcls, the classes, which tell no objects apart: the files with GTinst are those '
      "of SBD's folder inst"
    )
  there = sorted(held)[:9]
  return f' (it holds {", ".join(there)})' if there else ' (it holds nothing)'


def box_share(mask: np.ndarray) -> float:
  """The part of its bounding box that an object fills, above 0 up to 1.

  Args:
    mask: (height, width) bool, not empty.
  """
  rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
  box = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
  return float(mask.sum() / box)


def list_split(
  root: pathlib.Path,
  folders: tuple[str, str],
  split: str,
  min_box_share: float,
  index: index_lib.Index,
) -> tuple[list[tuple[str, pathlib.Path, pathlib.Path]], list[Entry]]:
  """The pictures that a split names, and the entries of their objects.

  Files of `inst` are read for their numbers, as far as `index` does not know them.

  Args:
    root: holds both folders and `<split>.txt`, a name a line.
    folders: of the pictures and of the files with the numbers.
    split: such as "val".
    min_box_share: objects that fill less of their boxes are dropped; `index` counts them.
    index: of this data set and `min_box_share`.

  Returns:
    (stem, picture, mask) of each picture, and the entries.

  Raises:
    DataError: the split file cannot be read or names nothing.
  """
  file = root / f'{split}.txt'
  pictures, _ = pairs.by_stem(root / folders[0])
  masks = {file.stem: file for file in sorted((root / folders[1]).iterdir()) if _is_mat(file)}
  known = {*pictures, *masks}
  names = [_stem(line, known) for line in _lines(root, file)]
  found, entries = [], []
  for stem in dict.fromkeys(names):
    files = pictures.get(stem, [])
    lacking = [
      folder for folder, there in zip(folders, (files, stem in masks), strict=True) if not there
    ]
    if lacking or len(files) > 1:
      missing = f'no file in the folder {" or ".join(lacking)}'
      if lacking == [folders[1]]:
        missing += _of_another_kind(root / folders[1], stem)
      reason = missing if lacking else f'{len(files)} pictures in the folder {folders[0]}'
      there = [*files, masks[stem]] if stem in masks else files
      entries.append(pairs.reject(stem, f'{file.name} names {stem}, which has {reason}', *there))
    else:
      found.append((stem, files[0], masks[stem]))
  keep = lambda numbers, number: box_share(numbers == number) >= min_box_share
  reader = labels.Reader(read_instances)
  return found, labels.every_object(found, reader, keep=keep, others=entries, index=index)


def _lines(root: pathlib.Path, file: pathlib.Path) -> list[str]:
  """The lines of a split file that are not empty, as editors and shells of all systems write it."""
  try:
    held = regular.read(file)
    wide = held.startswith((b'\xff\xfe', b'\xfe\xff'))
    text = held.decode('utf-16' if wide else 'utf-8-sig')
  except (OSError, UnicodeDecodeError) as error:
    raise DataError(f'data_dir={root}: {file.name} cannot be read: {error}') from error
  lines = [line.strip() for line in text.splitlines() if line.strip()]
  if not lines:
    raise DataError(f'data_dir={root}: {file.name} names no picture')
  return lines


def _stem(line: str, known: Collection[str]) -> str:
  """The name of a picture in a line that may be a file's name, or paths as VOC's lists have them.

  A line with anything else in it, such as a class's -1, is taken as it stands.
  """
  words = [pathlib.PureWindowsPath(word) for word in line.split()]
  named = all(len(word.parts) > 1 or word.suffix.lower() in _SUFFIXES for word in words)
  if line in known:
    return line
  # A name with spaces in it is the whole line's.
  whole = _without_suffix(pathlib.PureWindowsPath(line))
  if not named:
    return whole if whole in known else line
  candidates = [_without_suffix(words[0]), whole]
  return next((stem for stem in candidates if stem in known), candidates[0])


def _without_suffix(file: pathlib.PurePath) -> str:
  return file.stem if file.suffix.lower() in _SUFFIXES else file.name


def _of_another_kind(folder: pathlib.Path, stem: str) -> str:
  """What a folder has of a stem in the place of a .mat file, as a clause."""
  there = sorted(file.name for file in folder.glob(f'{glob.escape(stem)}.*'))
  return f' (found {", ".join(there)}; .mat files with GTinst are read)' if there else ''


def _is_mat(file: pathlib.Path) -> bool:
  return file.suffix.lower() == '.mat' and not file.name.startswith('.')
