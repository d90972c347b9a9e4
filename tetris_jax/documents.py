"""JSON documents from elsewhere: bytes to a value, or an error that says in words what is wrong."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection
from typing import Any

__all__ = ['MOST_NESTED', 'DocumentError', 'parse']

MOST_NESTED = 100
"""Lists and objects within each other; ours have up to 8, those of annotation tools hardly more."""

_MOST_DIGITS = 200
# Without such a number in it, a document has none that overflows a float.
_HUGE = re.compile(rf'[0-9]{{{_MOST_DIGITS}}}|[eE]\+?0*[0-9]{{3}}')
_LONGEST_SHOWN = 40


class DocumentError(ValueError):
  """A document that cannot be used; the message is the rest of a sentence about it."""


def parse(
  data: bytes | str, *, finite: bool = True, once: Collection[str] | None = None
) -> Any:
  """The value of a JSON document.

  Args:
    data: the whole document; bytes are UTF-8, -16 or -32, with or without a byte-order mark.
    finite: whether numbers that are none (NaN, Infinity, 1e999, a thousand digits) are refused;
      otherwise they come as NaN and infinities, for the reader to guard where they stand.
    once: keys that may stand only once in an object, of which JSON's readers keep one in silence;
      None for all keys.

  Raises:
    DocumentError: it is empty, ends early, is no JSON or in no such encoding, or is nested deeper
      than `MOST_NESTED`; or see `finite` and `once`.
  """
  text = _decoded(data) if isinstance(data, bytes) else data
  if not text.strip():
    raise DocumentError('it is empty')
  huge = _HUGE.search(text) is not None
  try:
    value = json.loads(
      text,
      parse_constant=_not_finite if finite else None,
      parse_float=_float(finite) if huge else None,
      parse_int=_int(finite) if huge else None,
      object_pairs_hook=None if once is not None and not once else _unrepeated(once),
    )
  except RecursionError as error:
    raise DocumentError(_TOO_DEEP) from error
  except json.JSONDecodeError as error:
    raise DocumentError(_spoken(error, text)) from error
  if _nested_deeper(value, MOST_NESTED):
    raise DocumentError(_TOO_DEEP)
  return value


_TOO_DEEP = f'its lists and objects are nested more than {MOST_NESTED} deep'


def _decoded(data: bytes) -> str:
  encoding = json.detect_encoding(data)
  try:
    return data.decode(encoding)
  except UnicodeDecodeError as error:
    named = encoding.removesuffix('-sig').upper()
    raise DocumentError(f'it is not in {named} (byte {error.start + 1}: {error.reason})') from error


def _spoken(error: json.JSONDecodeError, text: str) -> str:
  if error.pos >= len(text.rstrip()) or error.msg.startswith('Unterminated string'):
    return 'it ends early, as if it were cut off'
  what = error.msg[:1].lower() + error.msg[1:]
  return f'it is no JSON: {what} in line {error.lineno}, column {error.colno}'


def _not_finite(text: str) -> float:
  raise DocumentError(f'it holds {text}, which is no number')


def _float(finite: bool) -> Callable[[str], float]:
  def read(text: str) -> float:
    value = float(text)
    if finite and not math.isfinite(value):
      raise DocumentError(f'it holds {_cut(text)}, which is too large a number')
    return value

  return read


def _int(finite: bool) -> Callable[[str], float]:
  def read(text: str) -> float:
    if len(text) <= _MOST_DIGITS:
      return int(text)
    if finite:
      raise DocumentError(f'it holds a number of {len(text)} digits')
    return -math.inf if text.startswith('-') else math.inf

  return read


def _unrepeated(once: Collection[str] | None) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
  def read(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
      return found
    seen: set[str] = set()
    for key, _ in pairs:
      if key in seen and (once is None or key in once):
        raise DocumentError(f'{_cut(repr(key))} stands twice in one object')
      seen.add(key)
    return found

  return read


def _cut(text: str) -> str:
  return text if len(text) <= _LONGEST_SHOWN else f'{text[: _LONGEST_SHOWN - 3]}...'


def _nested_deeper(value: Any, most: int) -> bool:
  """Whether a value is nested deeper than that; without recursion, a level at a time."""
  level = [value]
  for _ in range(most + 1):
    level = [
      inner
      for outer in level
      if isinstance(outer, (dict, list))
      for inner in (outer.values() if isinstance(outer, dict) else outer)
      if isinstance(inner, (dict, list))
    ]
    if not level:
      return False
  return True
