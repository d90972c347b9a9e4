"""The arrays of a heat map on disk: an .npz that is whole or is known not to be.

A map holds `legal` (height, width) bool, the legal pixels; `yx` (positions, 2) float32, the robot
user's click first, with `iou`, `biou` and `predicted` (positions,), the last NaN where a model
expects no IoU; and `stride` () of the lattice. Of every preset there is `<preset>/yx` (3, 2),
`<preset>/iou` and `<preset>/biou` (3,) of the modes in the order of `tetris_jax.types.MODES`,
`<preset>/spent` (2,), evaluations and gradients, and `<preset>/hidden` (), NaN where unknown.
"""

from __future__ import annotations

import io
import pathlib
import zipfile
import zlib
from collections.abc import Iterable, Mapping

import numpy as np

from tetris_jax.runs import workdirs as results

__all__ = ['OF_A_PRESET', 'DamagedMapError', 'read_map', 'write_map']

OF_A_PRESET = ('yx', 'iou', 'biou', 'spent', 'hidden')
"""Arrays of each preset, behind its name and a slash."""

_OF_THE_GRID = ('yx', 'iou', 'biou', 'predicted', 'stride', 'legal')


class DamagedMapError(Exception):
  """A map is missing, truncated or altered; its instance has to be done again."""


def read_map(path: pathlib.Path, presets: Iterable[str]) -> dict[str, np.ndarray]:
  """The arrays of a finished map.

  Args:
    path: of its .npz.
    presets: names of those that it must hold.

  Returns:
    The arrays by name.

  Raises:
    DamagedMapError: there is no such file, or it is not as it was written.
    results.WorkdirError: it cannot be read at all.
  """
  try:
    stored = path.read_bytes()
  except FileNotFoundError as error:
    raise DamagedMapError(f'{path} is missing') from error
  except OSError as error:
    raise results.WorkdirError(f'cannot read {path}: {error.strerror or error}') from error
  wanted = {*_OF_THE_GRID, *(f'{name}/{key}' for name in presets for key in OF_A_PRESET)}
  try:
    with zipfile.ZipFile(io.BytesIO(stored)) as archive:
      for member in archive.infolist():
        if member.compress_type != zipfile.ZIP_DEFLATED:
          raise zipfile.BadZipFile(f'{member.filename} is not deflated')
      # Checksums first: an altered header could ask for any amount of memory.
      if (bad := archive.testzip()) is not None:
        raise zipfile.BadZipFile(f'wrong checksum of {bad}')
    with np.load(io.BytesIO(stored)) as file:
      made = {name: file[name] for name in file.files}
    if missing := sorted(wanted - set(made)):
      raise zipfile.BadZipFile(f'{missing[0]} is missing')
  # zipfile raises RuntimeError where a flag says encrypted or a newer version.
  except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError) as error:
    raise DamagedMapError(f'{path} is damaged ({error})') from error
  return made


def write_map(path: pathlib.Path, made: Mapping[str, np.ndarray]) -> None:
  """Writes the arrays of a map. Raises results.WorkdirError when it cannot be written."""
  file = io.BytesIO()
  np.savez_compressed(file, allow_pickle=False, **dict(made))
  results.write_atomically(path, file.getvalue())
