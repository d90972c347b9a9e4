"""PGM and PPM files that spell their numbers out, in their binary form.

Pillow takes a microsecond and more for a letter of them; everything else it reads as fast in the
binary form, whose pixels are the same.
"""

from __future__ import annotations

import re

import numpy as np

__all__ = ['PlainError', 'as_binary', 'is_plain']

# Width, height and the number that stands for white, among white space and comments.
_HEAD = re.compile(rb'P([23])' + rb'(?:\s|#[^\n\r]*[\n\r])+(\d{1,9})' * 3 + rb'(?=[\s#]|$)')
_COMMENT = re.compile(rb'#[^\n\r]*')
_NUMBERS = re.compile(rb'[\s0-9]*')
# Of a number, so that none overflows; leading zeros are rare.
_TOO_LONG = re.compile(rb'[0-9]{10}')


class PlainError(ValueError):
  """The numbers are not those that the header promises; the message is the rest of a sentence."""


def is_plain(start: bytes) -> bool:
  """Whether a file that begins so spells its numbers out, and is no bitmap."""
  return start[:2] in (b'P2', b'P3') and start[2:3].isspace()


def as_binary(data: bytes) -> bytes:
  """The same picture with its numbers as bytes, two for each where white is above 255.

  Args:
    data: the file, which `is_plain`.

  Raises:
    PlainError: numbers are missing, above white, or none; or the header is not understood.
  """
  head = _HEAD.match(data)
  if head is None:
    raise PlainError('its header is not understood')
  kind, width, height, white = map(int, head.groups())
  if not width * height or not 0 < white < 65536:
    raise PlainError(f'its header says {width} x {height} pixels and {white} for white')
  body, count = _COMMENT.sub(b'', data[head.end() :]), width * height * (3 if kind == 3 else 1)
  if _NUMBERS.fullmatch(body) is None or _TOO_LONG.search(body):
    raise PlainError('something among its numbers is none')
  numbers = np.fromstring(body, np.int32, sep=' ') if body.strip() else np.zeros(0, np.int32)
  if len(numbers) < count:
    raise PlainError(f'it is truncated: {len(numbers)} numbers where {count} are')
  numbers = numbers[:count]
  if int(numbers.max()) > white:
    raise PlainError(f'it has the number {int(numbers.max())}, above {white}, its white')
  stored = numbers.astype(np.uint8 if white < 256 else '>u2')
  return b'P%d %d %d %d\n' % (kind + 3, width, height, white) + stored.tobytes()
