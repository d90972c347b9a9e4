"""COCO's panoptic segments: an annotation file, and PNGs whose pixels are segments' numbers.

The layout is the one of the download: `val2017/*.jpg` beside `annotations/panoptic_val2017.json`
and `annotations/panoptic_val2017/*.png`. Segments are named `picture stem#number`; `coco` has more.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tetris_jax.data import coco_entries, files, headers, images, labels
from tetris_jax.data.coco_document import flag, is_path, read_document, shown, whole
from tetris_jax.data.coco_entries import Item, LeftOut
from tetris_jax.data.coco_pictures import Files, Picture, Pictures
from tetris_jax.data.dataset import Dataset, Entry
from tetris_jax.data.sample import Rejected, Sample

__all__ = ['read_coco_panoptic']

# Three bytes of a pixel; 0 is where no segment is.
_LARGEST = 256**3 - 1


def read_coco_panoptic(
  data_dir: str | os.PathLike[str] | None,
  *,
  split: str = 'val2017',
  annotations: str | None = None,
  stuff: bool = False,
  min_area: int = 0,
) -> Dataset:
  """Lists the segments of a COCO panoptic annotation file in the order of their names.

  A segment's pixels are those of its number, red + 256 * green + 65536 * blue, in the PNG that
  the file names, which lies in the folder of the annotation file's name without its suffix.

  Args:
    data_dir: holds the pictures' folder, named as `split`, and `annotations`.
    split: names the folder of pictures, and the annotation file where none is given.
    annotations: path of the annotation file below `data_dir`; default
      `annotations/panoptic_<split>.json`.
    stuff: whether segments of categories that are no things count as well.
    min_area: segments of a smaller "area", in pixels, are left out; where one has none, its mask
      is measured.

  Raises:
    DataError: something is missing, the file is no annotation file, ids are not unique, or nothing
      is left of it.
  """
  file = os.path.expanduser(annotations or f'annotations/panoptic_{split}.json')
  masks = file.removesuffix('.json')
  root = coco_entries.find_root('coco_panoptic', data_dir, split, file, masks)
  document = read_document(root / file)
  pictures = Pictures(root, split, document.images, file)
  coco_entries.require_pictures(file, document.annotations, pictures)
  things = None if stuff else _things(document.categories)
  reader = _Reader(pictures, root, masks, document.annotations, things, min_area)
  items = [
    item
    for index, annotation in enumerate(document.annotations)
    for item in reader.items(f'annotations[{index}]', annotation)
  ]
  reader.left_out.require_some(file, 'segments', reader.total, kept=len(items))
  found = pictures.files.found
  coco_entries.find_root('coco_panoptic', data_dir, split, file, masks, found=found)
  notes = (*reader.left_out.notes(file, 'segments', reader.total), *pictures.notes())
  return Dataset('coco_panoptic', coco_entries.named(items, file), notes=notes)


class _Reader:
  """Segments of an annotation file.

  Attributes:
    left_out: counts of those that `items` left out so far.
    total: how many segments it has seen.
  """

  def __init__(
    self,
    pictures: Pictures,
    root: pathlib.Path,
    masks: str,
    annotations: Sequence[Any],
    things: Mapping[Any, bool] | None,
    min_area: int,
  ):
    self.left_out = LeftOut(min_area)
    self.total = 0
    self._pictures, self._things, self._min_area = pictures, things, min_area
    names = [_file_name(one) for one in annotations]
    self._files = Files(root, root / masks, [(name, '') for name in names if name])
    self._labels = labels.Reader(_numbers)

  def items(self, where: str, annotation: Any) -> Iterator[Item]:
    """The segments of the annotation that stands at `where` in the file, or why there are none."""
    about = annotation if isinstance(annotation, Mapping) else {}
    picture = self._pictures.get(about.get('image_id'))
    reason = coco_entries.problem_of(where, annotation, picture)
    name, segments = _file_name(about), about.get('segments_info')
    if not reason and not isinstance(segments, list):
      reason = f'its "segments_info" is {shown(segments)}; expected a list'
      if 'segmentation' in about:
        reason += ' (it has a "segmentation", which dataset=coco reads)'
    if not reason and not name:
      reason = f'its "file_name" is {shown(about.get("file_name"))}; expected that of its PNG'
    mask, hint = self._files.find(name) if not reason else (None, '')
    reason = reason or (hint if mask is None else '')
    if reason or picture is None or mask is None or not isinstance(segments, list):
      self.total += 1
      short = picture.stem if picture else pathlib.PurePosixPath(name).stem or where
      yield Item(short, where, where, coco_entries.rejected(reason))
      return
    hints = [one for one in (picture.hint, hint) if one]
    for index, segment in enumerate(segments):
      self.total += 1
      judged = self._judged(f'segments_info[{index}]', segment)
      if judged is not None:
        place = f'{picture.stem}#{where}.segments_info[{index}]'
        yield self._item(place, segment, picture, mask, judged, hints)

  def _judged(self, where: str, segment: Any) -> str | None:
    """'' for an object, None for what is left out, or why it cannot be read."""
    if not isinstance(segment, Mapping):
      return f'{where} is {shown(segment)}; expected an object'
    crowd, area = flag(segment.get('iscrowd')), coco_entries.area_of(segment)
    thing = True if self._things is None else self._things.get(_key(segment.get('category_id')))
    if crowd:
      self.left_out.crowds += 1
    elif thing is None:
      self.left_out.unclear += 1
    elif not thing:
      self.left_out.stuff += 1
    elif area is not None and area < self._min_area:
      self.left_out.small += 1
    elif crowd is None:
      return f'its "iscrowd" is {shown(segment["iscrowd"])}; expected 0 or 1'
    else:
      number = whole(segment.get('id'))
      if number is None or not 0 < number <= _LARGEST:
        found = shown(segment.get('id'))
        return f'the "id" of {where} is {found}; expected its number in the PNG, 1 to {_LARGEST}'
      return ''
    return None

  def _item(
    self,
    place: str,
    segment: Any,
    picture: Picture,
    mask: pathlib.Path,
    reason: str,
    hints: Sequence[str],
  ) -> Item:
    path = picture.path or pathlib.Path()
    number = whole(segment.get('id')) if isinstance(segment, Mapping) else None
    if reason or number is None:
      make = coco_entries.rejected(reason, files=(path, mask))
      after = number if number and 0 < number <= _LARGEST else place.rpartition('.')[-1]
      return Item(f'{picture.stem}#{after}', f'{picture.written}#{after}', place, make)
    least = self._min_area if coco_entries.area_of(segment) is None else 0

    def make_entry(instance: str) -> Entry:
      entry = labels.one_object(instance, path, mask, self._labels, number=number)
      read = functools.partial(_read, entry, least, hints)
      return dataclasses.replace(entry, read=read, files=(path, mask))

    return Item(f'{picture.stem}#{number}', f'{picture.written}#{number}', place, make_entry)


def _read(entry: Entry, least: int, hints: Sequence[str]) -> Sample | Rejected:
  found = entry.read()
  if isinstance(found, Rejected):
    if found.status == 'skipped':
      hints = ['a segment is red + 256 * green + 65536 * blue in its PNG']
    return dataclasses.replace(found, reason='; '.join((found.reason, *hints)))
  count = int(found.mask.sum())
  if count < least:
    reason = f'its mask has {count} pixels, fewer than min_area={least}'
    return Rejected(found.instance, 'skipped', reason, found.size)
  return found


def _file_name(annotation: Any) -> str:
  name = annotation.get('file_name') if isinstance(annotation, Mapping) else None
  return name if is_path(name) else ''


def _things(categories: Sequence[Any]) -> dict[Any, bool]:
  """Whether a category is of things, by id, as far as it says."""
  found = {}
  for category in categories:
    if isinstance(category, Mapping) and category.get('isthing') is not None:
      thing = flag(category['isthing'])
      if thing is not None:
        found[_key(category.get('id'))] = thing
  return found


def _key(identity: Any) -> Any:
  """An id that 1, 1.0 and "1" have in common."""
  as_number = whole(identity)
  return as_number if as_number is not None else str(identity)


def _numbers(path: pathlib.Path) -> np.ndarray:
  rgb = images.read_picture(path).astype(np.int32)
  with files.header(path) as (held, file):
    lossy = headers.about(held, file).lossy
  if lossy:
    raise images.UnreadableImage(
      f'{path.parent.name}/{path.name} is a {lossy}, whose rounding changes the numbers of '
      'segments; keep them as PNG'
    )
  return rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]
