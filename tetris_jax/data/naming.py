"""Which mask belongs to which picture where their names are not the same, and what was meant."""

from __future__ import annotations

import difflib
import os
import pathlib
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

__all__ = ['Hints', 'Stems', 'aliases', 'owners']

Stems = Mapping[str, Sequence[pathlib.Path]]
"""Files of a folder by stem."""

# What tools append to or put before the name of a picture to name its mask, and some pictures.
_OF_MASKS = frozenset((
  'alpha', 'anno', 'annot', 'annotation', 'annotations', 'bin', 'binary', 'binarymask', 'fg',
  'foreground', 'ground', 'groundtruth', 'gt', 'gtcoarse', 'gtfine', 'instance', 'instanceids',
  'instances', 'l', 'label', 'labelids', 'labels', 'labeltrainids', 'm', 'manual1', 'mask', 'masks',
  'matte', 'obj', 'object', 'seg', 'segm', 'segmentation', 'segmentations', 'trimap', 'truth',
))  # fmt: skip
_OF_PICTURES = frozenset((
  'im', 'image', 'images', 'img', 'leftimg8bit', 'orig', 'original', 'photo', 'picture', 'rgb',
  'sat', 'training',
))  # fmt: skip
_BETWEEN_WORDS = r'[-_. ]+'
# Also where a capital or a number begins without anything between: aMask, image001.
_BETWEEN_PARTS = r'[-_. #]+|(?<=[a-z])(?=[A-Z])|(?<=[A-Za-z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])'
# More names than this with the same numbers in them, and the nearest one means nothing.
_MOST_COMPARED = 64
_NEAR = 0.6


def aliases(
  pictures: Stems, masks: Stems, note: Callable[[str], None]
) -> dict[str, str]:
  """Stem of a mask -> stem of the picture that it means, though it is spelt otherwise.

  Only masks without a picture of their own and pictures without a mask of their own are looked at,
  and only pairs of which there can be no other:
    - names that differ in their Unicode normal form, as between macOS and others, or in case;
    - a mask named after the whole file, `a.jpg.png` of `a.jpg`;
    - names that differ by words such as `_mask`, where all masks (and all pictures) have the same;
      masks that are numbered besides, as `a_mask_1` beside `a_mask`, are left to `owners`.

  Args:
    pictures: of the data set.
    masks: likewise.
    note: told of the pairs that a reader might not expect.
  """
  free = [stem for stem in pictures if stem not in masks]
  left = [stem for stem in masks if stem not in pictures]
  found = _matched(free, left, _normal)
  for key, why in (
    (_folded, 'from whose name its own differs in case only'),
    (lambda stem: _folded(pictures[stem][0].name), 'after whose whole name it is called'),
  ):
    more = _matched(
      [stem for stem in free if stem not in found.values()],
      [stem for stem in left if stem not in found],
      key,
      _folded,
    )
    if more:
      note(_told(more, pictures, masks, why))
    found |= more
  if not found and len(left) == len(masks):
    of_objects = owners(pictures, masks)
    found = _systematic(list(pictures), [stem for stem in left if stem not in of_objects])
    if found:
      note(_told(found, pictures, masks, 'from whose name all masks differ in the same way'))
  return found


def _told(found: Mapping[str, str], pictures: Stems, masks: Stems, why: str) -> str:
  mask, picture = next(iter(found.items()))
  more = f' ({len(found)} such pairs)' if len(found) > 1 else ''
  taken = f'{_shown(masks[mask][0])} is taken for the mask of {_shown(pictures[picture][0])}'
  return f'{taken}, {why}{more}'


def _shown(file: pathlib.Path) -> str:
  return f'{file.parent.name}/{file.name}'


def _matched(
  pictures: Iterable[str],
  masks: Iterable[str],
  key: Callable[[str], str],
  mask_key: Callable[[str], str] | None = None,
) -> dict[str, str]:
  """Pairs (mask, picture) of one key, where neither side has another of that key."""
  ours, theirs = _unique(pictures, key), _unique(masks, mask_key or key)
  return {mask: ours[name] for name, mask in theirs.items() if name in ours}


def _unique(stems: Iterable[str], key: Callable[[str], str]) -> dict[str, str]:
  found: dict[str, list[str]] = {}
  for stem in stems:
    found.setdefault(key(stem), []).append(stem)
  return {name: those[0] for name, those in found.items() if len(those) == 1}


def _normal(stem: str) -> str:
  return unicodedata.normalize('NFC', stem)


def _folded(stem: str) -> str:
  return _normal(_normal(stem).casefold())


def _systematic(pictures: Sequence[str], masks: Sequence[str]) -> dict[str, str]:
  """Pairs by what is left of the names, where all of a folder have lost the same words."""
  if len({_parts(stem, _OF_MASKS)[::2] for stem in masks}) != 1:
    return {}
  of_mask = lambda stem: _folded(_parts(stem, _OF_MASKS)[1])
  found = _matched(pictures, masks, _folded, of_mask)
  if not found and len({_parts(stem, _OF_PICTURES)[::2] for stem in pictures}) == 1:
    of_picture = lambda stem: _folded(_parts(stem, _OF_PICTURES)[1])
    found = _matched(pictures, masks, of_picture, of_mask)
  return found


def _parts(
  stem: str, words: frozenset[str], *, between: str = _BETWEEN_WORDS
) -> tuple[str, str, str]:
  """What stands before the name proper, the name, and what stands after it."""
  tokens = re.split(f'({between})', stem)
  start, end = 0, len(tokens)
  while end - start > 2 and tokens[end - 1].casefold() in words:
    end -= 2
  while end - start > 2 and tokens[start].casefold() in words:
    start += 2
  return ''.join(tokens[:start]), ''.join(tokens[start:end]), ''.join(tokens[end:])


def owners(pictures: Stems, masks: Stems) -> dict[str, str]:
  """Stem of a mask of one of a picture's objects -> that picture's stem.

  Masks a#1 and a#2 are those of two objects of a, in any Unicode normal form. So are a_1 and a_2,
  a_mask_1 and a_1_mask, but not where a has a mask a as well, nor where any picture is called
  a_NUMBER: then a_1 is more likely the mask of a picture that is missing.

  Args:
    pictures: of the data set.
    masks: likewise, perhaps by what `aliases` calls them.
  """
  taken = {_owner(stem) for stem in pictures}
  ours = _unique(pictures, _normal)
  found = {}
  for stem in masks:
    if stem in pictures:
      continue
    marked, numbered = _before_hash(stem), _owner(stem)
    owner = marked or (numbered if numbered not in taken else None)
    if owner is None:
      continue
    picture = owner if owner in pictures else ours.get(_normal(owner))
    if picture is not None and (marked or picture not in masks):
      found[stem] = picture
  return found


def _before_hash(stem: str) -> str | None:
  """Of a#001, what is numbered."""
  owner, mark, number = stem.rpartition('#')
  return owner if mark and number.isdecimal() else None


def _owner(stem: str) -> str | None:
  """Of a_1, and of a_mask_1 and a_1_mask, what is numbered."""
  tokens = re.split(r'(_)' if '_' in stem else f'({_BETWEEN_WORDS})', stem)
  end, count = len(tokens), 0
  while end > 2 and (tokens[end - 1].casefold() in _OF_MASKS or tokens[end - 1].isdecimal()):
    count += tokens[end - 1].isdecimal()
    end -= 2
    if count == 1 and tokens[end - 1].casefold() not in _OF_MASKS:
      break
  # Without a word, only RITM's underscore numbers objects.
  plain = end + 2 == len(tokens) and tokens[end : end + 1] != ['_']
  return ''.join(tokens[:end]) if count == 1 and not plain and tokens[0] else None


class Hints:
  """What may have been meant by names that have no partner."""

  def __init__(
    self,
    pictures: Stems,
    masks: Stems,
    alone: Collection[str],
    *,
    odd: Iterable[pathlib.Path] = (),
  ):
    """Takes the files by stem, the stems without a partner, and files that are no pictures."""
    self._pictures, self._masks = pictures, masks
    self._by_number: tuple[dict[tuple[int, ...], list[str]], ...] = ({}, {})
    self._by_core: tuple[dict[str, str], ...] = ({}, {})
    self._by_beginning: tuple[dict[str, str], ...] = ({}, {})
    self._by_name: tuple[dict[str, str], ...] = ({}, {})
    for stem in alone:
      side = 0 if stem in pictures else 1
      self._by_number[side].setdefault(_numbers(stem), []).append(stem)
      self._by_core[side].setdefault(_core(stem), stem)
      self._by_name[side].setdefault(_folded(stem), stem)
      for beginning in _beginnings(stem):
        self._by_beginning[side].setdefault(beginning, stem)
    self._odd = {(file.parent.name, file.stem): file for file in odd}

  def of(self, stem: str, other: str) -> str:
    """A clause that begins with a semicolon, or ''.

    Args:
      stem: without a partner.
      other: name of the folder in which there is none.
    """
    if (other, stem) in self._odd:
      return f'; {_shown(self._odd[other, stem])} is no picture file'
    if stem in self._masks and (owner := _owner(stem)) in self._pictures:
      return self._of_number(owner or '')
    side = 1 if stem in self._pictures else 0
    files = self._masks if side else self._pictures
    meant = self._by_core[side].get(_core(stem))
    if meant is None:
      near = self._by_number[side].get(_numbers(stem), [])
      plain = {_without_numbers(one): one for one in near[:_MOST_COMPARED]}
      close = difflib.get_close_matches(_without_numbers(stem), plain, 1, _NEAR)
      meant = plain[close[0]] if close and len(near) <= _MOST_COMPARED else self._begun(stem, side)
    if meant is None:
      return ''
    return f'; did you mean {_shown(files[meant][0])}? A picture and its mask share the stem'

  def _begun(self, stem: str, side: int) -> str | None:
    """The name of the other side that begins with a stem, or else that a stem begins with."""
    longer = self._by_beginning[side].get(_folded(stem))
    if longer is not None:
      return longer
    shorter = (self._by_name[side].get(beginning) for beginning in reversed(_beginnings(stem)))
    return next((one for one in shorter if one is not None), None)

  def _of_number(self, owner: str) -> str:
    picture = _shown(self._pictures[owner][0])
    why = 'some pictures are numbered so themselves'
    if owner in self._masks:
      why = f'that has {_shown(self._masks[owner][0])}'
    return (
      f'; did you mean a further object of {picture}? It is not taken for one, since {why}: '
      f'name the masks of its objects {owner}#1, {owner}#2, ...'
    )


def _core(stem: str) -> str:
  """A stem without a picture's suffix and without words of masks or pictures."""
  inner, suffix = os.path.splitext(stem)
  stem = inner if re.fullmatch(r'\.[A-Za-z]{3,4}', suffix) else stem
  words = _OF_MASKS | _OF_PICTURES
  name = _parts(stem, words)[1]
  return _folded(_parts(name, words, between=_BETWEEN_PARTS)[1]).strip()


def _beginnings(stem: str) -> list[str]:
  """What a stem begins with, up to the end of a word or number, the shortest first."""
  return [_folded(stem[: one.start()]) for one in re.finditer(_BETWEEN_PARTS, stem) if one.start()]


def _numbers(stem: str) -> tuple[int, ...]:
  return tuple(int(digits) for digits in re.findall(r'[0-9]+', stem))


def _without_numbers(stem: str) -> str:
  return re.sub(r'[0-9]+', '0', _folded(stem))
