"""JSON beside the types that it should have: TypedDicts, lists, objects, literals, numbers."""

from __future__ import annotations

import functools
import reprlib
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal

__all__ = ['keys', 'mismatches', 'required', 'shown', 'told']

_SPOKEN = {str: 'a text', bool: 'true or false', int: 'a whole number', float: 'a finite number'}
_LONGEST_SHOWN, _LONGEST_TOLD = 40, 200


@functools.cache
def keys(typed: Any) -> Mapping[str, Any]:
  """The types of a TypedDict's keys by name, those of its bases first."""
  return typing.get_type_hints(typed)


def required(typed: Any) -> frozenset[str]:
  """The keys that a TypedDict must have."""
  return typed.__required_keys__


def mismatches(
  value: Any, expected: Any, path: str = '', *, others: bool = False
) -> Iterator[str]:
  """What of a value is not of its type, a sentence each, in order.

  A whole number is a number too, and true and false are none.

  Args:
    value: as `json.loads` returns it.
    expected: a TypedDict, `list[T]`, `dict[str, T]`, `T | None`, a Literal of texts, or one of str,
      bool, int and float.
    path: where the value is found, as field.field[number].
    others: whether objects may have keys that their TypedDict does not know.
  """
  origin, args = typing.get_origin(expected), typing.get_args(expected)
  if typing.is_typeddict(expected):
    yield from _fields(value, expected, path, others)
  elif origin is types.UnionType:
    if value is not None:
      yield from mismatches(value, args[0], path, others=others)
  elif origin is Literal:
    if value not in args:
      yield f'{path} is {shown(value)}, expected {" or ".join(args)}'
  elif origin is list:
    if isinstance(value, list):
      for number, one in enumerate(value):
        if not _is_a(one, args[0]):
          yield from mismatches(one, args[0], f'{path}[{number}]', others=others)
    else:
      yield _wrong(value, 'a list', path)
  elif origin is dict:
    if isinstance(value, Mapping):
      for key, one in value.items():
        yield from mismatches(one, args[1], _below(path, str(key)), others=others)
    else:
      yield _wrong(value, 'an object', path)
  elif not _is_a(value, expected):
    yield _wrong(value, _SPOKEN[expected], path)


def _fields(value: Any, expected: Any, path: str, others: bool) -> Iterator[str]:
  if not isinstance(value, Mapping):
    yield _wrong(value, 'an object', path)
    return
  known = keys(expected)
  for key in known:
    if key not in value and key in required(expected):
      yield f'{_below(path, key)} is missing'
  for key, one in value.items():
    if key in known:
      yield from mismatches(one, known[key], _below(path, key), others=others)
    elif not others:
      yield f'{_below(path, str(key))} is unknown'


def _is_a(value: Any, expected: Any) -> bool:
  if expected is float:
    # No number is above it; a whole number may be too large to be asked whether it is finite.
    return type(value) in (int, float) and abs(value) <= sys.float_info.max
  return expected in _SPOKEN and type(value) is expected


def _wrong(value: Any, expected: str, path: str) -> str:
  return f'{path or "it"} is {shown(value)}, expected {expected}'


def shown(value: Any) -> str:
  """A value as a message shows it, cut where it is long."""
  return _cut(_short.repr(value))


def told(text: str) -> str:
  """A name as a message shows it: as it is, or quoted and cut where it is odd or long."""
  plain = text.isprintable() and 0 < len(text) <= _LONGEST_TOLD
  return text if plain else _cut(repr(text[:_LONGEST_TOLD]))


def _cut(text: str) -> str:
  return text if len(text) <= _LONGEST_SHOWN else f'{text[: _LONGEST_SHOWN - 3]}...'


def _below(path: str, key: str) -> str:
  return f'{path}.{told(key)}' if path else told(key)


# Only as much of a value is spelled as is shown.
_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 2 * _LONGEST_SHOWN
_short.maxlist = _short.maxdict = _short.maxtuple = _LONGEST_SHOWN
