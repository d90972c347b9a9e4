"""JSON beside the types that it should have: TypedDicts, lists, objects, literals, numbers."""

from __future__ import annotations

import functools
import math
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal

__all__ = ['keys', 'mismatches', 'required']

_SPOKEN = {str: 'a text', bool: 'true or false', int: 'a whole number', float: 'a finite number'}
_LONGEST_SHOWN = 40


@functools.cache
def keys(typed: Any) -> Mapping[str, Any]:
  """The types of a TypedDict's keys by name, those of its bases first."""
  return typing.get_type_hints(typed)


def required(typed: Any) -> frozenset[str]:
  """The keys that a TypedDict must have."""
  return typed.__required_keys__


def mismatches(value: Any, expected: Any, path: str = '') -> Iterator[str]:
  """What of a value is not of its type, a sentence each, in order.

  A whole number is a number too, and true and false are none. Keys that a TypedDict does not know
  are mismatches.

  Args:
    value: as `json.loads` returns it.
    expected: a TypedDict, `list[T]`, `dict[str, T]`, `T | None`, a Literal of texts, or one of str,
      bool, int and float.
    path: where the value is found, as field.field[number].
  """
  origin, args = typing.get_origin(expected), typing.get_args(expected)
  if typing.is_typeddict(expected):
    yield from _fields(value, expected, path)
  elif origin is types.UnionType:
    if value is not None:
      yield from mismatches(value, args[0], path)
  elif origin is Literal:
    if value not in args:
      yield f'{path} is {_shown(value)}, expected {" or ".join(args)}'
  elif origin is list:
    if isinstance(value, list):
      for number, one in enumerate(value):
        if not _is_a(one, args[0]):
          yield from mismatches(one, args[0], f'{path}[{number}]')
    else:
      yield _wrong(value, 'a list', path)
  elif origin is dict:
    if isinstance(value, Mapping):
      for key, one in value.items():
        yield from mismatches(one, args[1], _below(path, str(key)))
    else:
      yield _wrong(value, 'an object', path)
  elif not _is_a(value, expected):
    yield _wrong(value, _SPOKEN[expected], path)


def _fields(value: Any, expected: Any, path: str) -> Iterator[str]:
  if not isinstance(value, Mapping):
    yield _wrong(value, 'an object', path)
    return
  known = keys(expected)
  for key in known:
    if key not in value and key in required(expected):
      yield f'{_below(path, key)} is missing'
  for key, one in value.items():
    if key in known:
      yield from mismatches(one, known[key], _below(path, key))
    else:
      yield f'{_below(path, str(key))} is unknown'


def _is_a(value: Any, expected: Any) -> bool:
  if expected is float:
    return type(value) in (int, float) and math.isfinite(value)
  return expected in _SPOKEN and type(value) is expected


def _wrong(value: Any, expected: str, path: str) -> str:
  return f'{path or "it"} is {_shown(value)}, expected {expected}'


def _shown(value: Any) -> str:
  text = repr(value)
  return text if len(text) <= _LONGEST_SHOWN else f'{text[: _LONGEST_SHOWN - 3]}...'


def _below(path: str, key: str) -> str:
  return f'{path}.{key}' if path else key
