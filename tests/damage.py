"""Seeded damage to files and to JSON values: what is valid nearly everywhere, and wrong somewhere.

Noise is refused by the first check; so numbers become extremes, values change their type or lose
their place, and bytes are cut, doubled and flipped, a few at a time.
"""

from __future__ import annotations

import copy
import itertools
import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

__all__ = ['ODD', 'damaged', 'document', 'edges', 'mutated', 'places', 'renumbered']

ODD: tuple[Any, ...] = (
  None, True, False, 0, 1, -1, 7, 1.5, -0.5, 1e308, 10**30, 2**63, -(2**70), 10**400, 1e400,
  float('nan'), '', '0', 'x', 'é', '\udcff\ud800', '\0', '$', '<b>', '../x', '/etc/passwd',
  'a\nb', 'y' * 5000, '1' * 5000, 'inf', [], {}, [[]], [None], [1], [[1, 2]], [1e400] * 6,
  {'x': 1}, {'a': {'b': [{}]}},
)  # fmt: skip

_KEYS = ('more', '', 'x' * 3000, '__proto__', '\udcff', '../x')
_EXTREMES = (0, 1, -1, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000,
             0xFFFFFFFF, 60_000, 3, 64)  # fmt: skip
# A value that was doubled again and again grows no further.
_MOST_PLACES = 20_000
_MEANING = b'\0\xff\x7f\x80()}]{[.,;"\n'


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
  """Every place in a JSON value, as the keys that lead there; the value's own is ()."""
  yield path
  if isinstance(value, (dict, list)):
    for key, one in value.items() if isinstance(value, dict) else enumerate(value):
      yield from places(one, (*path, key))


def mutated(value: Any, draw: random.Random, odd: Sequence[Any] = ODD) -> Any:
  """A JSON value with one to four places changed, removed, nested or doubled."""
  value = copy.deepcopy(value)
  for _ in range(draw.choice([1, 1, 1, 2, 4])):
    paths = list(itertools.islice((path for path in places(value) if path), _MOST_PLACES))
    if not paths or len(paths) == _MOST_PLACES:
      return value
    path, inner = draw.choice(paths), value
    for key in path[:-1]:
      inner = inner[key]
    _change(inner, path[-1], draw, odd)
  return value


def _change(inner: Any, key: Any, draw: random.Random, odd: Sequence[Any]) -> None:
  how = draw.random()
  if how < 0.15:
    del inner[key]
  elif how < 0.25:
    if isinstance(inner, list):
      inner += [copy.deepcopy(inner[key])] * draw.choice([1, 1, 300])
    else:
      inner[draw.choice(_KEYS)] = inner[key]
  elif how < 0.35:
    inner[key] = _nested(inner[key], draw)
  elif how < 0.45 and isinstance(inner[key], (int, float)):
    inner[key] = inner[key] * draw.choice([-1, 0, 0.5, 2, 1e9]) + draw.choice([0, 1, -1])
  elif how < 0.5:
    inner[key] = str(inner[key])
  else:
    inner[key] = copy.deepcopy(draw.choice(odd))


def _nested(value: Any, draw: random.Random) -> Any:
  for _ in range(draw.choice([1, 1, 2, 120])):
    value = [value] if draw.random() < 0.7 else {'a': value}
  return value


def damaged(data: bytes, draw: random.Random) -> bytes:
  """Bytes after one to four small changes."""
  for _ in range(draw.choice([1, 1, 2, 3, 4])):
    if not data:
      return data
    i = draw.randrange(min(len(data), draw.choice([64, len(data)])))
    j = min(len(data), i + draw.choice([1, 4, 40]))
    data = draw.choice(_CHANGES)(data, i, j, draw)
  return data


def _flip(data: bytes, i: int, j: int, draw: random.Random) -> bytes:
  return data[:i] + bytes([data[i] ^ (1 << draw.randrange(8))]) + data[i + 1 :]


def _mark(data: bytes, i: int, j: int, draw: random.Random) -> bytes:
  return data[:i] + bytes([draw.choice(_MEANING)]) * (j - i) + data[j:]


def _number(data: bytes, i: int, j: int, draw: random.Random) -> bytes:
  return renumbered(data, i, draw)


def _drop(data: bytes, i: int, j: int, draw: random.Random) -> bytes:
  return data[:i] + data[j:]


def _repeat(data: bytes, i: int, j: int, draw: random.Random) -> bytes:
  return data[:j] + data[i:j] * draw.choice([1, 2, 3, 2000]) + data[j:]


def _insert(data: bytes, i: int, j: int, draw: random.Random) -> bytes:
  return data[:i] + draw.randbytes(draw.randrange(1, 9)) + data[i:]


def _move(data: bytes, i: int, j: int, draw: random.Random) -> bytes:
  k = draw.randrange(len(data))
  return data[:k] + data[i:j] + data[k + j - i :]


def _cut(data: bytes, i: int, j: int, draw: random.Random) -> bytes:
  return data[: draw.randrange(len(data))]


_CHANGES: tuple[Callable[[bytes, int, int, random.Random], bytes], ...] = (
  _flip, _flip, _mark, _number, _number, _number, _drop, _repeat, _insert, _move, _cut,
)  # fmt: skip


def renumbered(data: bytes, place: int, draw: random.Random) -> bytes:
  """Bytes with the number of 1 to 8 bytes at `place` replaced by an extreme, of either order."""
  width, order = draw.choice([1, 2, 4, 4, 8]), draw.choice(['little', 'big'])
  value = draw.choice(_EXTREMES) % (1 << 8 * width)
  return data[:place] + value.to_bytes(width, order) + data[place + width :]


def edges(draw: random.Random) -> int:
  """A number where readers go wrong."""
  return draw.choice([*_EXTREMES, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**70, -(2**63), 10**6, 7])


def document(value: Any, draw: random.Random | None) -> bytes:
  """A JSON value as a file, damaged as a value, as bytes, or not at all without a draw."""
  if draw is None:
    return json.dumps(value).encode()
  how = draw.random()
  if how < 0.75:
    return json.dumps(mutated(value, draw)).encode()
  data = json.dumps(value).encode()
  if how < 0.95:
    return damaged(data, draw)
  deep = draw.choice([b'[', b'{"a":', b'[{"a":']) * draw.choice([200, 5000, 100_000])
  return data.replace(b'"', deep, 1) if draw.random() < 0.5 else deep
