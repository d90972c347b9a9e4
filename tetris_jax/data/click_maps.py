"""Maps of how likely people click each pixel, one a picture, of somebody else's click model."""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Sequence

import numpy as np

from tetris_jax.data import images
from tetris_jax.data.dataset import DataError

__all__ = ['ClickMapError', 'ClickMaps']


class ClickMapError(ValueError):
  """An instance has no map that can be used; the message names the file and what was found."""


class ClickMaps:
  """A folder of maps, `a.npy` or `a.png` for the picture `a.jpg` or the instance "a".

  Of an array (height, width) the numbers count as they are; of a picture the grey levels.

  Attributes:
    folder: of the maps.
  """

  def __init__(self, folder: str | os.PathLike[str]):
    """Lists the folder.

    Args:
      folder: of the maps.

    Raises:
      DataError: it cannot be read or has no map.
    """
    self.folder = pathlib.Path(folder)
    try:
      files = sorted(self.folder.iterdir())
    except OSError as error:
      raise DataError(f'cannot read the folder of click maps {folder}: {error.strerror}') from error
    known = [file for file in files if file.suffix.lower() in ('.npy', *images.SUFFIXES)]
    # An array says more than a picture of it.
    known.sort(key=lambda file: file.suffix.lower() != '.npy')
    self._files = {file.stem: file for file in reversed(known)}
    if not self._files:
      raise DataError(
        f'{folder} has no click map; expected an array a.npy or a picture a.png for a.jpg'
      )

  def file(self, instance: str, files: Sequence[pathlib.Path]) -> pathlib.Path:
    """The map of an instance, by its own name or else by that of its picture.

    Args:
      instance: its name; characters that files cannot have may be underscores.
      files: what it is made of, its picture first.

    Raises:
      ClickMapError: there is none.
    """
    names = [instance, re.sub(r'[^A-Za-z0-9._-]+', '_', instance), *(f.stem for f in files[:1])]
    for name in names:
      if name in self._files:
        return self._files[name]
    raise ClickMapError(f'no click map {names[-1]}.npy or {names[-1]}.png in {self.folder}')

  def read(
    self, instance: str, files: Sequence[pathlib.Path], size: tuple[int, int]
  ) -> np.ndarray:
    """The map of an instance, (height, width) float32 of at least 0.

    Args:
      instance: as for `file`, and so are `files`.
      files: see there.
      size: (height, width) of the picture.

    Raises:
      ClickMapError: there is none, or it is damaged, of another size, negative or 0 all over.
    """
    path = self.file(instance, files)
    try:
      if path.suffix.lower() == '.npy':
        found = np.load(path, mmap_mode='r', allow_pickle=False)
      else:
        found = images.read_picture(path).mean(-1)
    except (OSError, ValueError) as error:
      raise ClickMapError(f'cannot read the click map {path}: {error}') from error
    if found.shape != tuple(size) or found.dtype.kind not in 'fiub':
      raise ClickMapError(
        f'the click map {path} holds {found.dtype} of shape {found.shape}; expected numbers of '
        f'the shape of its picture, {size[0]} x {size[1]}'
      )
    weight = np.asarray(found, np.float32)
    if not (np.isfinite(weight).all() and (weight >= 0).all() and (weight > 0).any()):
      raise ClickMapError(
        f'the click map {path} has to be finite, at least 0, and above 0 somewhere'
      )
    return weight
