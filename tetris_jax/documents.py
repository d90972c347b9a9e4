"""JSON documents from elsewhere: bytes to a value, or an error that says in words what is wrong."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Collection
from typing import Any

__all__ = ['MOST_NESTED', 'DocumentError', 'parse']

MOST_NESTED = 100
"""Lists and objects within each other; ours have up to 8, those of annotation tools hardly more."""

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
  read = functools.partial(
    json.loads,
    text,
    parse_constant=_not_finite if finite else None,
    object_pairs_hook=None if once is not None and not once else _unrepeated(once),
  )
  try:
    try:
      value = read()
    except (DocumentError, json.JSONDecodeError):
      raise
    except ValueError:  # Python reads no whole number of more digits than sys says.
      value = read(parse_int=_too_many_digits if finite else _int)
  except RecursionError as error:
    raise DocumentError(_TOO_DEEP) from error
  except json.JSONDecodeError as error:
    raise DocumentError(_spoken(error, text)) from error
  _check(value, finite)
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


def _int(text: str) -> float:
  try:
    return int(text)
  except ValueError:
    return -math.inf if text.startswith('-') else math.inf


def _too_many_digits(text: str) -> int:
  try:
    return int(text)
  except ValueError as error:
    raise DocumentError(f'it holds a number of {len(text)} digits') from error


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


def _check(value: Any, finite: bool) -> None:
  """Refuses what is nested too deeply, and infinite numbers; by levels, not by recursion."""
  level: list[Any] = [[value]]
  for _ in range(MOST_NESTED + 1):
    held = [one.values() if isinstance(one, dict) else one for one in level]
    if finite and any(math.inf in values or -math.inf in values for values in held):
      raise DocumentError('it holds a number that is too large, such as 1e999')
    level = [inner for values in held for inner in values if isinstance(inner, (dict, list))]
    if not level:
      return
  raise DocumentError(_TOO_DEEP)
