"""Which mask belongs to which picture where their names are not the same, and what was meant."""

from __future__ import annotations

import difflib
import os
import pathlib
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

__all__ = ['Hints', 'Stems', 'after_hash', 'aliases', 'numbered']

Stems = Mapping[str, Sequence[pathlib.Path]]
"""Files of a folder by stem."""

# What tools append to or put before the name of a picture to name its mask, and some pictures.
_OF_MASKS = frozenset((
  'alpha', 'anno', 'annotation', 'annotations', 'bin', 'binary', 'binarymask', 'fg', 'foreground',
  'groundtruth', 'gt', 'gtcoarse', 'gtfine', 'instance', 'instanceids', 'instances', 'l', 'label',
  'labelids', 'labels', 'labeltrainids', 'm', 'manual1', 'mask', 'masks', 'matte', 'obj', 'object',
  'seg', 'segm', 'segmentation', 'segmentations', 'truth',
))  # fmt: skip
_OF_PICTURES = frozenset((
  'im', 'image', 'images', 'img', 'leftimg8bit', 'orig', 'original', 'photo', 'picture', 'rgb',
  'sat', 'training',
))  # fmt: skip
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
    - names that differ by words such as `_mask`, where all masks (and all pictures) have the same.

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
    found = _systematic(list(pictures), left)
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


def _parts(stem: str, words: frozenset[str]) -> tuple[str, str, str]:
  """What stands before the name proper, the name, and what stands after it."""
  tokens = re.split(r'([-_. ]+)', stem)
  start, end = 0, len(tokens)
  while end - start > 2 and tokens[end - 1].casefold() in words:
    end -= 2
  while end - start > 2 and tokens[start].casefold() in words:
    start += 2
  return ''.join(tokens[:start]), ''.join(tokens[start:end]), ''.join(tokens[end:])


def after_hash(stem: str) -> str | None:
  """Of the masks a#001 and a#002, where one picture a has two objects, the picture's stem."""
  owner, mark, number = stem.rpartition('#')
  return owner if mark and number.isdecimal() else None


def numbered(pictures: Stems, masks: Stems) -> dict[str, str]:
  """Stem of the masks a_1, a_2 of the objects of one picture a -> that picture's stem.

  Also of a_mask_1 and a_1_mask. Not where a has a mask a as well, nor where any picture is called
  a_NUMBER: then a_1 is more likely the mask of a picture that is missing.
  """
  taken = {_owner(stem) for stem in pictures}
  ours = _unique(pictures, _normal)
  found = {}
  for stem in masks:
    owner = _owner(stem)
    if owner is None or stem in pictures or owner in taken:
      continue
    picture = owner if owner in pictures else ours.get(_normal(owner))
    if picture is not None and picture not in masks:
      found[stem] = picture
  return found


def _owner(stem: str) -> str | None:
  """Of a_1, and of a_mask_1 and a_1_mask, what is numbered."""
  tokens = re.split(r'(_)' if '_' in stem else r'([-. ]+)', stem)
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
    self._beginning: dict[str, str] = {}
    for stem in alone:
      side = 0 if stem in pictures else 1
      self._by_number[side].setdefault(_numbers(stem), []).append(stem)
      self._by_core[side].setdefault(_core(stem), stem)
      if side:
        for mark in re.finditer(r'[-_. ]+', stem):
          self._beginning.setdefault(stem[: mark.start()], stem)
    self._alone_pictures = frozenset(stem for stem in alone if stem in pictures)
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
      meant = plain[close[0]] if close and len(near) <= _MOST_COMPARED else self._begun(stem)
    if meant is None:
      return ''
    return f'; did you mean {_shown(files[meant][0])}? A picture and its mask share the stem'

  def _begun(self, stem: str) -> str | None:
    """The mask that begins with a picture's stem, or the picture with whose stem a mask begins."""
    if stem in self._pictures:
      return self._beginning.get(stem)
    starts = [stem[: mark.start()] for mark in re.finditer(r'[-_. ]+', stem)]
    return next((start for start in reversed(starts) if start in self._alone_pictures), None)

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
  return _folded(_parts(stem, _OF_MASKS | _OF_PICTURES)[1]).strip()


def _numbers(stem: str) -> tuple[int, ...]:
  return tuple(int(digits) for digits in re.findall(r'[0-9]+', stem))


def _without_numbers(stem: str) -> str:
  return re.sub(r'[0-9]+', '0', _folded(stem))
