"""COCO's JSON, and the numbers, flags and ids in it as tools really write them."""

from __future__ import annotations

import math
import pathlib
import re
import reprlib
from typing import Any, NamedTuple, TypeGuard

from tetris_jax import documents, regular
from tetris_jax.data.dataset import DataError

__all__ = [
  'Document',
  'flag',
  'is_id',
  'is_path',
  'is_text',
  'number',
  'read_document',
  'shown',
  'whole',
]

_FLAGS = {
  **dict.fromkeys(('', '0', '0.0', 'false', 'no'), False),
  **dict.fromkeys(('1', '1.0', 'true', 'yes'), True),
}
# No file system has longer names.
_LONGEST_ID = 255
_MOST_BITS = 64
_LONGEST_SHOWN = 80


class Document(NamedTuple):
  """The lists of an annotation file; their elements may be anything.

  Attributes:
    images: should be objects with "id", "file_name", "height" and "width".
    annotations: should be objects with "id" and "image_id".
    categories: should be objects with "id"; empty where the file has none.
  """

  images: list[Any]
  annotations: list[Any]
  categories: list[Any]


def read_document(path: pathlib.Path) -> Document:
  """Reads an annotation file in UTF-8, -16 or -32, with or without a byte-order mark.

  Numbers that are none, such as NaN, are read; whoever reads a field guards it.

  Raises:
    DataError: it cannot be read, is no JSON, is nested too deeply, or lacks one of its lists.
  """
  try:
    content = regular.read(path)
    # Keys are compared only where some may stand twice, for that takes as long as reading.
    other = b'\0' in content[:4]
    twice = other or any(content.count(f'"{name}"'.encode()) > 1 for name in Document._fields)
    once = Document._fields if twice else ()
    document = documents.parse(content, finite=False, once=once)
  except OSError as error:
    raise DataError(f'{path} cannot be read: {error.strerror or error}') from error
  except documents.DocumentError as error:
    raise _none(path, str(error)) from error
  if not isinstance(document, dict):
    found = 'a bare list' if isinstance(document, list) else shown(document)
    raise _none(path, f'it holds {found}, no object with "images" and "annotations"')
  for name in ('images', 'annotations'):
    if name not in document:
      held = ', '.join(sorted(document)[:8]) or 'nothing'
      raise _none(path, f'it has no "{name}" (it holds {held[:200]})')
    if not isinstance(document[name], list):
      raise _none(path, f'its "{name}" is {shown(document[name])}, expected a list')
  categories = document.get('categories')
  return Document(
    document['images'],
    document['annotations'],
    categories if isinstance(categories, list) else [],
  )


def _none(path: pathlib.Path, found: str) -> DataError:
  return DataError(f'{path} is no COCO annotation file: {found}')


def number(value: Any) -> float | None:
  """The finite number that a value is or spells, such as 2, 2.5 or "2.5"; otherwise None."""
  if isinstance(value, bool) or not isinstance(value, (int, float, str)):
    return None
  try:
    found = float(value)
  except (ValueError, OverflowError):
    return None
  return found if math.isfinite(found) else None


def whole(value: Any) -> int | None:
  """The whole number that a value is or spells, such as 2, 2.0 or "2"; otherwise None."""
  if isinstance(value, int) and not isinstance(value, bool):
    return value
  if isinstance(value, str) and value.isdecimal() and len(value) <= _LONGEST_ID:
    return int(value)
  found = number(value)
  return int(found) if found is not None and found.is_integer() else None


def flag(value: Any) -> bool | None:
  """Whether a flag is set, as a bool, a 0 or 1, or a text of these; None where it is neither.

  What is missing or null is not set.
  """
  if value in (None, 0, 1):  # Also false, 0.0, ...
    return bool(value)
  if isinstance(value, str) and value.strip().lower() in _FLAGS:
    return _FLAGS[value.strip().lower()]
  return None


def is_id(value: Any) -> bool:
  """Whether a value can name something: a number or a text that files and rows can hold."""
  if isinstance(value, str):
    return is_text(value) and len(value) <= _LONGEST_ID
  return (type(value) is int and value.bit_length() <= _MOST_BITS) or number(value) is not None


def is_text(value: Any) -> TypeGuard[str]:
  """Whether a value is a text, not empty, that names of files and reports can hold."""
  try:
    return isinstance(value, str) and bool(value.encode('utf-8')) and '\0' not in value
  except UnicodeEncodeError:  # A lone half of a surrogate pair.
    return False


def is_path(value: Any) -> TypeGuard[str]:
  """Whether a value is a text that can be the path of a file, here or on Windows."""
  return is_text(value) and max(map(len, re.split(r'[/\\]', value))) <= _LONGEST_ID


def shown(value: Any) -> str:
  """A value as a message shows it, in JSON's words and cut where it is long."""
  named = {None: 'null', True: 'true', False: 'false'}
  if value is None or isinstance(value, bool):
    return named[value]
  if isinstance(value, dict):
    return 'an object' if value else 'an empty object'
  return _short.repr(value)[:_LONGEST_SHOWN]


_short = reprlib.Repr()
_short.maxlevel = 2
_short.maxstring = _short.maxother = _LONGEST_SHOWN
