"""Numbers out of MATLAB files of version 5 to 7, whose lengths and types are believed nowhere.

SciPy's reader ends the process where the class of an array is not the one of its parts, which one
wrong byte does; so the few kinds that label files are made of are read here. The layout is that of
MathWorks' "MAT-File Format", chapter 1: elements of (type, length, bytes), arrays of elements.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

__all__ = ['MatlabError', 'Struct', 'read_structs']

_HEAD = 128
_MATRIX, _COMPRESSED = 14, 15
_STORED = {1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 9: 'f8', 12: 'i8',
           13: 'u8'}  # fmt: skip
_STRUCT, _SPARSE = 2, 5
# Of an array's class, the type of its numbers, however these are stored.
_NUMBERS = {6: 'f8', 7: 'f4', 8: 'i1', 9: 'u1', 10: 'i2', 11: 'u2', 12: 'i4', 13: 'u4', 14: 'i8',
            15: 'u8'}  # fmt: skip
_COMPLEX = 8
# A picture of 4096 x 4096 as double; SBD's files unpack to less than 1 MB.
_MOST_UNPACKED, _MOST_NUMBERS = 2**27, 2**24
_MOST_PARTS = 10_000


class MatlabError(ValueError):
  """No MATLAB file, or not a whole one; the message is the rest of a sentence about it."""


class _Array(NamedTuple):
  """An array whose parts are not read yet."""

  kind: int
  flags: int
  shape: tuple[int, ...]
  parts: list[tuple[int, memoryview]]


class Struct:
  """A variable of a file.

  Attributes:
    fields: names of its fields; empty for what is no struct of one element.
  """

  def __init__(self, array: _Array, order: str):
    self._order = order
    self._held: dict[str, memoryview] = {}
    if array.kind == _STRUCT and math.prod(array.shape) == 1:
      self._held = dict(_fields(array, order))

  @property
  def fields(self) -> tuple[str, ...]:
    """Names of its fields, in their order."""
    return tuple(self._held)

  def numbers(self, field: str) -> np.ndarray:
    """The numbers of a field, full or sparse.

    Raises:
      KeyError: there is no such field.
      MatlabError: it holds no real numbers, or is damaged.
    """
    array = _array(self._held[field], self._order)
    array.parts.pop(0)  # Its name, which is empty.
    if array.kind == _SPARSE:
      return _dense(array, self._order)
    if array.kind not in _NUMBERS or array.flags & _COMPLEX:
      raise MatlabError(f'{field} holds no real numbers')
    if len(array.parts) != 1:
      raise MatlabError(f'{field} has {len(array.parts)} parts where one is')
    found = _vector(array.parts[0], self._order)
    if found.size != math.prod(array.shape):
      raise MatlabError(f'{field} has {found.size} numbers for the shape {array.shape}')
    with np.errstate(all='ignore'):
      return found.reshape(array.shape, order='F').astype(_NUMBERS[array.kind])


def read_structs(data: bytes, *, only: str = '') -> dict[str, Struct]:
  """The variables of a file by name.

  Args:
    data: the whole file.
    only: the variable that is wanted; others that cannot be read are passed over where it is there.

  Raises:
    MatlabError: it is no such file, is damaged, or unpacks to more than 128 MB.
  """
  order = {b'IM': '<', b'MI': '>'}.get(data[126:_HEAD], '')
  if not order:
    raise MatlabError('it does not begin as one of version 5 to 7 does')
  found, unread = {}, []
  for element in _elements(memoryview(data)[_HEAD:], order):
    try:
      name, variable = _variable(*element, order)
      found[name] = variable
    except MatlabError as error:
      unread.append(error)
  if unread and only not in found:
    raise unread[0]
  return found


def _variable(kind: int, body: memoryview, order: str) -> tuple[str, Struct]:
  if kind == _COMPRESSED:
    ((kind, body),) = _one(_unpacked(body), order)
  if kind != _MATRIX:
    raise MatlabError(f'it has an element of type {kind} where an array is')
  array = _array(body, order)
  name = _text(array.parts.pop(0))
  return name, Struct(array, order)


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
  """(type, bytes) of what follows each other."""
  at, count = 0, 0
  while at < len(data):
    count += 1
    if len(data) - at < 8 or count > _MOST_PARTS:
      raise MatlabError('it ends early' if count <= _MOST_PARTS else 'it has too many parts')
    kind, length = (int(number) for number in np.frombuffer(data[at : at + 8], f'{order}u4'))
    start, end = at + 8, at + 8 + length
    if kind >> 16:  # Up to four bytes stand in the place of the length.
      kind, length = kind & 0xFFFF, kind >> 16
      start, end = at + 4, at + 4 + length
    if end > len(data) or (start == at + 4 and length > 4):
      raise MatlabError('it ends early')
    yield kind, data[start:end]
    at = end if kind == _COMPRESSED else at + 8 * math.ceil((end - at) / 8)


def _one(data: bytes, order: str) -> list[tuple[int, memoryview]]:
  found = list(_elements(memoryview(data), order))
  if len(found) != 1:
    raise MatlabError(f'it has {len(found)} packed elements where one is')
  return found


def _unpacked(body: memoryview) -> bytes:
  unpack = zlib.decompressobj()
  try:
    found = unpack.decompress(body, _MOST_UNPACKED)
  except zlib.error as error:
    raise MatlabError(f'it cannot be unpacked ({error})') from error
  if not unpack.eof:
    raise MatlabError(f'what is packed ends early or has more than {_MOST_UNPACKED} bytes')
  return found


def _array(body: memoryview, order: str) -> _Array:
  """An array with its name, which at the top has one, as its first part."""
  parts = list(_elements(body, order))
  if not parts:
    return _Array(6, 0, (0, 0), [(1, memoryview(b'')), (9, memoryview(b''))])
  if len(parts) < 3:
    raise MatlabError('an array has no shape or no name')
  flags, shape = _vector(parts[0], order), _vector(parts[1], order)
  if flags.size < 1 or flags.dtype.kind not in 'iu' or shape.dtype.kind not in 'iu':
    raise MatlabError('an array has no class or no shape')
  sides = tuple(int(side) for side in shape[:32])
  if len(sides) < 2 or min(sides) < 0 or math.prod(sides) > _MOST_NUMBERS:
    raise MatlabError(f'an array has the shape {sides[:4]}')
  return _Array(int(flags[0]) & 0xFF, int(flags[0]) >> 8 & 0xFF, sides, parts[2:])


def _vector(part: tuple[int, memoryview], order: str) -> np.ndarray:
  kind, body = part
  if kind not in _STORED:
    raise MatlabError(f'it has an element of type {kind} where numbers are')
  stored = np.dtype(f'{order}{_STORED[kind]}')
  if len(body) % stored.itemsize:
    raise MatlabError('it ends within a number')
  return np.frombuffer(body, stored)


def _text(part: tuple[int, memoryview]) -> str:
  return bytes(part[1][:1000]).rstrip(b'\0').decode('latin-1')


def _fields(array: _Array, order: str) -> Iterator[tuple[str, memoryview]]:
  """The arrays of a struct, unread."""
  if len(array.parts) < 2:
    raise MatlabError('a struct has no fields')
  (length, names), held = array.parts[:2], array.parts[2:]
  width = _vector(length, order) if length[0] in _STORED else np.zeros(0)
  if width.size != 1 or not 1 <= int(width[0]) <= 1000:
    raise MatlabError('a struct has no length of names')
  step, text = int(width[0]), bytes(names[1])
  called = [text[at : at + step].split(b'\0')[0] for at in range(0, len(text), step)]
  if len(called) != len(held) or any(kind != _MATRIX for kind, _ in held):
    raise MatlabError(f'a struct has {len(called)} names for {len(held)} fields')
  for name, (_, body) in zip(called, held, strict=True):
    yield name.decode('latin-1'), body


def _dense(array: _Array, order: str) -> np.ndarray:
  """A sparse array by columns: row of each number, where each column begins, the numbers."""
  if len(array.parts) != 3 or len(array.shape) != 2 or array.flags & _COMPLEX:
    raise MatlabError('a sparse array has other parts than rows, columns and numbers')
  rows, starts, values = (_vector(part, order) for part in array.parts)
  height, width = array.shape
  if starts.size != width + 1 or rows.dtype.kind != 'i' or starts.dtype.kind != 'i':
    raise MatlabError('a sparse array has no place for each column')
  starts = starts.astype(np.int64)
  count = int(starts[-1])
  steps = starts[1:] - starts[:-1]
  if starts[0] != 0 or (steps < 0).any() or not 0 <= count <= min(rows.size, values.size):
    raise MatlabError('the columns of a sparse array do not follow each other')
  rows = rows[:count].astype(np.int64)
  if count and not (rows.min() >= 0 and rows.max() < height):
    raise MatlabError('a sparse array has a row outside of its shape')
  found = np.zeros((height, width))
  found[rows, np.repeat(np.arange(width), steps)] = values[:count]
  return found
