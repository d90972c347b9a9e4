"""The arrays of a heat map on disk: an .npz that is whole or is known not to be.

A map holds `legal` (height, width) bool, the legal pixels; `yx` (positions, 2) float32, the robot
user's click first, with `iou`, `biou` and `predicted` (positions,), the last NaN where a model
expects no IoU; and `stride` () of the lattice. Of every preset there is `<preset>/yx` (3, 2),
`<preset>/iou` and `<preset>/biou` (3,) of the modes in the order of `tetris_jax.types.MODES`,
`<preset>/spent` (2,), evaluations and gradients, and `<preset>/hidden` (), NaN where unknown. A
preset that searches the whole region leaves `<preset>/tried` (clicks, 2) too, where it clicked.

A map that can be explored has two more: `depth` (positions,) float32, see
`tetris_jax.geometry.region.inner_depth`, and `masks` (positions, `MASK_SIDE`^2 / 8) uint8, what
the model answered at low resolution, see `tetris_jax.truth.small_mask` and `numpy.packbits`.
"""

from __future__ import annotations

import io
import math
import pathlib
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from typing import IO

import numpy as np

from tetris_jax.runs import files
from tetris_jax.runs import workdirs as results

__all__ = [
  'MASK_SIDE',
  'OF_A_PRESET',
  'TO_EXPLORE',
  'TRIED',
  'DamagedMapError',
  'read_map',
  'write_map',
]

MASK_SIDE = 128
"""Rows, and columns, of the masks that a map keeps."""

TO_EXPLORE = ('depth', 'masks')
"""Arrays that only a map has that can be explored."""

OF_A_PRESET = ('yx', 'iou', 'biou', 'spent', 'hidden')
"""Arrays of each preset, behind its name and a slash."""

TRIED = '/tried'
"""Behind the name of a preset: where it clicked, if it searches the whole region."""

_OF_THE_GRID = ('yx', 'iou', 'biou', 'predicted', 'stride', 'legal')
# Of a file, and of the arrays in it: those of 10^8 legal pixels at stride 1 have half so many.
_MOST_BYTES, _MOST_UNPACKED = 2**30, 2**32


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
    stored = files.read_regular(path, most_bytes=_MOST_BYTES, inside=path.parent.parent)
  except files.MissingFileError as error:
    raise DamagedMapError(f'{path} is missing') from error
  except files.FileError as error:
    raise results.WorkdirError(str(error)) from error
  wanted = {*_OF_THE_GRID, *(f'{name}/{key}' for name in presets for key in OF_A_PRESET)}
  try:
    made = _arrays(stored)
    if missing := sorted(wanted - set(made)):
      raise zipfile.BadZipFile(f'{missing[0]} is missing')
    _check(made)
  # zipfile raises RuntimeError where a flag says encrypted or a newer version.
  except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError) as error:
    raise DamagedMapError(f'{path} is damaged ({error})') from error
  return made


def _arrays(stored: bytes) -> dict[str, np.ndarray]:
  """The arrays of an .npz; raises ValueError, BadZipFile and the like for what is none."""
  with zipfile.ZipFile(io.BytesIO(stored)) as archive:
    members = archive.infolist()
    for member in members:
      if member.compress_type != zipfile.ZIP_DEFLATED:
        raise zipfile.BadZipFile(f'{member.filename} is not deflated')
    if sum(member.file_size for member in members) > _MOST_UNPACKED:
      raise zipfile.BadZipFile(f'it unpacks to more than {_MOST_UNPACKED} bytes')
    # Checksums first: an altered header could ask for any amount of memory.
    if (bad := archive.testzip()) is not None:
      raise zipfile.BadZipFile(f'wrong checksum of {bad}')
    for member in members:
      with archive.open(member) as file:
        _check_header(file, member)
  with np.load(io.BytesIO(stored)) as loaded:
    return {name: loaded[name] for name in loaded.files}


def _check_header(file: IO[bytes], member: zipfile.ZipInfo) -> None:
  """An array has to fill its file: a header with a checksum of its own may ask for any memory."""
  if np.lib.format.read_magic(file) != (1, 0):
    raise ValueError(f'{member.filename} has another header than ours')
  try:
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
  except Exception as error:  # NumPy parses it as Python, and raises what that raises.
    raise ValueError(f'the header of {member.filename} cannot be read') from error
  held = member.file_size - file.tell()
  if dtype.kind not in 'bifu' or math.prod(shape) * dtype.itemsize != held:
    raise ValueError(f'{member.filename} is not as long as its header says')


def _check(made: Mapping[str, np.ndarray]) -> None:
  """Raises ValueError for arrays that are no map: of other shapes, or with numbers that cannot be.

  What is not finite may stand there: such a map is a failed row.
  """
  yx, legal, stride = made['yx'], made['legal'], made['stride']
  if legal.ndim != 2 or legal.dtype != bool or yx.ndim != 2 or yx.shape[1] != 2 or not len(yx):
    raise ValueError(f'yx and legal have the shapes {yx.shape} and {legal.shape}')
  if stride.shape or stride.dtype.kind != 'i' or stride < 1:
    raise ValueError('stride is no number of pixels')
  for name in ('iou', 'biou', 'predicted'):
    if made[name].shape != (len(yx),):
      raise ValueError(f'{name} has the shape {made[name].shape} for {len(yx)} positions')
  pixels = np.rint(yx)
  if not (np.isfinite(yx).all() and (pixels >= 0).all() and (pixels < legal.shape).all()):
    raise ValueError('yx has a position outside of the picture')
  shapes = {'depth': (len(yx),), 'masks': (len(yx), MASK_SIDE**2 // 8)}
  for name, shape in shapes.items():
    if name in made and made[name].shape != shape:
      raise ValueError(f'{name} has the shape {made[name].shape}, expected {shape}')
  if 'masks' in made and made['masks'].dtype != np.uint8:
    raise ValueError(f'masks are of {made["masks"].dtype}')
  for name, values in made.items():
    if name.endswith(TRIED) and not (values.ndim == 2 and len(values) and values.shape[1] == 2):
      raise ValueError(f'{name} has the shape {values.shape}, expected (clicks, 2)')
    if name.rpartition('/')[2] in ('iou', 'biou') and ((values < 0) | (values > 1)).any():
      raise ValueError(f'{name} has a value outside of 0 to 1')


def write_map(path: pathlib.Path, made: Mapping[str, np.ndarray]) -> None:
  """Writes the arrays of a map. Raises results.WorkdirError when it cannot be written."""
  file = io.BytesIO()
  np.savez_compressed(file, allow_pickle=False, **dict(made))
  results.write_atomically(path, file.getvalue())
