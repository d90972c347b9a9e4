"""Whose click it is: the instance that a row of a click file means, as it is written there."""

from __future__ import annotations

import difflib
import pathlib
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from tetris_jax.data import images

__all__ = ['Meant', 'Owners', 'mirrored']

_OBJECT_MARK = '_______'
_GREY = 65793
"""A grey level as a colour's number is so many times itself: 65536 + 256 + 1."""
_LARGEST_LEVEL, _LARGEST_COLOUR = 255, 256**3 - 1
_SHOWN = 4
# No object has a longer number, and Python refuses to read thousands of digits.
_MOST_DIGITS = 30


class Meant(NamedTuple):
  """The instances that a row of RClicks' columns may mean.

  Attributes:
    published: that which it names by RClicks' rule, or None.
    own: that which it names where object numbers count as the data set's own, or None.
    reason: why it may be neither.
  """

  published: str | None
  own: str | None
  reason: str = 'on an instance that the data set does not have'


def mirrored(number: int) -> int | None:
  """A colour's number with red and blue exchanged; None for what is no colour."""
  if not 0 <= number <= _LARGEST_COLOUR:
    return None
  return (number & 0xFF) << 16 | number & 0xFF00 | number >> 16


def _whole(text: str) -> int | None:
  """A whole number, also as pandas writes it beside empty cells (255.0)."""
  digits = text.removesuffix('.0')
  return int(digits) if digits.isdecimal() and len(digits) <= _MOST_DIGITS else None


class Owners:
  """Looks up the instances of a data set by what people and programs call them."""

  def __init__(self, names: Sequence[str]):
    """Takes the names of all instances of the data set."""
    self._names = tuple(names)
    self._known = frozenset(names)
    self._normal = {_normal(name): name for name in reversed(self._names)}
    self._objects: dict[str, list[str]] = {}
    for name in names:
      stem, mark, number = name.rpartition('#')
      if mark:
        self._objects.setdefault(stem, []).append(number)
    self._stems = {_normal(stem): stem for stem in reversed(self._objects)}

  def _only(self, stem: str) -> str | None:
    """The object of a picture that has one."""
    stem = self._stem(stem)
    numbers = self._objects.get(stem, ())
    return f'{stem}#{numbers[0]}' if len(numbers) == 1 else None

  def _exactly(self, name: str) -> str | None:
    return name if name in self._known else self._normal.get(_normal(name))

  def _stem(self, written: str) -> str:
    """A picture with objects in the form that names have, or what is written."""
    return written if written in self._objects else self._stems.get(_normal(written), written)

  def named(self, written: str) -> tuple[str | None, str]:
    """(The instance that is meant, or None; the folder before its name, if it took leaving out).

    The name of an instance may be in another Unicode form, or end in the suffix of its picture; a
    picture with one object stands for it. Folders before the name are left out last, and whoever
    asks has to see that they are the same for all.
    """
    if found := self._named(written):
      return found, ''
    path = pathlib.PurePosixPath(written.replace('\\', '/'))
    if len(path.parts) < 2:
      return None, ''
    return self._named(path.name), str(path.parent)

  def _named(self, written: str) -> str | None:
    stem, mark, number = written.rpartition('#')
    candidates = [written, _without_suffix(written)]
    if mark:
      candidates.append(f'{_without_suffix(stem)}#{number}')
    for name in candidates:
      if found := self._exactly(name) or self._only(name):
        return found
    return None

  def advice(self, written: str) -> str:
    """What a name might have been, as a clause."""
    stem = self._stem(_without_suffix(written))
    objects = self._objects.get(stem, ())
    if objects:
      shown = ', '.join(repr(f'{stem}#{one}') for one in objects[:_SHOWN])
      return f', which has {len(objects)} objects: {shown}{", ..." * (len(objects) > _SHOWN)}'
    bare = written.lstrip('0')
    padded = bare.isdecimal() and next(
      (name for name in self._names if name.partition('#')[0].lstrip('0') == bare), None
    )
    if padded:
      return f', such as {padded!r}; did a spreadsheet take its zeros?'
    close = difflib.get_close_matches(written, self._names, 1) or self._names[:_SHOWN]
    return f', such as {", ".join(map(repr, close))}' if close else ''

  def numbered(self, full_stem: str, object_stem: str) -> Meant:
    """What a row of RClicks' columns may mean.

    RClicks (arXiv 2410.11722) numbers an object blue * 65536 + green * 256 + red of its colour in
    the mask, for its loader has the channels of `cv2.imread`, and a grey map's level v as the
    colour (v, v, v). Ours are named as TETRIS' own loader counts, red * 65536 + green * 256 + blue,
    and on a grey map by the level.
    """
    if found := self._exactly(full_stem):
      return Meant(found, found)
    stem, mark, number = full_stem.rpartition(_OBJECT_MARK)
    if mark and object_stem and _whole(number) != _whole(object_stem):
      return Meant(None, None, 'whose full_stem and object_stem name different objects')
    if not mark:
      stem, number = full_stem, object_stem
    stem = self._stem(stem)
    if not number and len(self._objects.get(stem, ())) > 1:
      return Meant(None, None, 'whose picture has several objects, of which they name none')
    if not number:
      return Meant(self._only(stem), self._only(stem))
    published, own = self._published(stem, number), self._own(stem, number)
    if stem in self._objects and published is None and own is None:
      return Meant(None, None, 'whose object number its picture does not have')
    return Meant(published, own)

  def _own(self, stem: str, number: str) -> str | None:
    names = f'{stem}#{number}', f'{stem}#{_whole(number)}'
    return next((name for name in names if name in self._known), None)

  def _published(self, stem: str, number: str) -> str | None:
    whole = _whole(number)
    if whole is None:
      return None
    coloured = f'{stem}#{mirrored(whole)}'
    if coloured in self._known:
      return coloured
    level, rest = divmod(whole, _GREY)
    name = f'{stem}#{level}'
    return name if not rest and name in self._known and self._is_grey(stem) else None

  def _is_grey(self, stem: str) -> bool:
    """Whether all objects of a picture may be levels of a grey map."""
    values = [_whole(number) for number in self._objects[stem]]
    return all(value is not None and value <= _LARGEST_LEVEL for value in values)


def _normal(name: str) -> str:
  return unicodedata.normalize('NFC', name)


def _without_suffix(name: str) -> str:
  """A name without the suffix of a picture or mask."""
  stem, dot, suffix = name.rpartition('.')
  return stem if dot and f'.{suffix.lower()}' in images.SUFFIXES else name
