"""COCO's annotation files: instances (polygons, run lengths; also LVIS') and panoptic pictures.

The layout is the one of the download: `val2017/*.jpg` beside `annotations/instances_val2017.json`;
`coco_panoptic` has that of panoptic, and `coco_pictures` the rules by which pictures are found.
Instances are named `picture stem#annotation id`; where pictures of one stem share ids, the
picture's path stands in place of its stem. Crowds are no objects; no pixel is ignored.

What is odd about one annotation ends as its row; only a file that cannot be used at all, or of
which nothing is left, is refused.
"""

from __future__ import annotations

import functools
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from tetris_jax.data import coco_entries, coco_segmentation, images, pairs
from tetris_jax.data.coco_document import flag, is_id, read_document, shown
from tetris_jax.data.coco_entries import Item, LeftOut
from tetris_jax.data.coco_panoptic import read_coco_panoptic
from tetris_jax.data.coco_pictures import Picture, Pictures
from tetris_jax.data.coco_segmentation import decode_segmentation
from tetris_jax.data.dataset import Dataset, Entry
from tetris_jax.data.sample import Rejected, Sample

__all__ = ['decode_segmentation', 'read_coco', 'read_coco_panoptic']

# Annotators cross the border by a few pixels; further out lies another picture, or another scale.
_FAR_OUT = 0.1


def read_coco(
  data_dir: str | os.PathLike[str] | None,
  *,
  split: str = 'val2017',
  annotations: str | None = None,
  min_area: int = 0,
) -> Dataset:
  """Lists the objects of a COCO or LVIS annotation file in the order of their names.

  Args:
    data_dir: holds the pictures' folder, named as `split`, and `annotations`.
    split: names the folder of pictures, and the annotation file where none is given.
    annotations: path of the annotation file below `data_dir`; default
      `annotations/instances_<split>.json`.
    min_area: objects of a smaller "area", in pixels, are left out; where an annotation has none,
      its mask is measured.

  Raises:
    DataError: something is missing, the file is no annotation file, ids are not unique, or nothing
      is left of it.
  """
  file = os.path.expanduser(annotations or f'annotations/instances_{split}.json')
  root = coco_entries.find_root('coco', data_dir, split, file)
  document = read_document(root / file)
  pictures = Pictures(root, split, document.images, file)
  left_out, kept = LeftOut(min_area), {}
  for index, annotation in enumerate(document.annotations):
    about = annotation if isinstance(annotation, Mapping) else {}
    area = coco_entries.area_of(about)
    if flag(about.get('iscrowd')):
      left_out.crowds += 1
    elif area is not None and area < min_area:
      left_out.small += 1
    else:
      kept[index] = annotation
  total = len(document.annotations)
  left_out.require_some(file, 'annotations', total, kept=len(kept))
  coco_entries.require_pictures(file, list(kept.values()), pictures)
  reader = _Reader(pairs.remembered(images.read_picture), min_area)
  items = [
    reader.item(f'annotations[{index}]', annotation, pictures)
    for index, annotation in kept.items()
  ]
  coco_entries.find_root('coco', data_dir, split, file, found=pictures.files.found)
  notes = (*left_out.notes(file, 'annotations', total), *pictures.notes())
  return Dataset('coco', coco_entries.named(items, file), notes=notes)


class _Reader:
  """Instances of an annotation file."""

  def __init__(self, read_picture: pairs.Reader, min_area: int):
    self._read_picture = read_picture
    self._min_area = min_area

  def item(self, where: str, annotation: Any, pictures: Pictures) -> Item:
    """The instance of an annotation that stands at `where` in the file."""
    about = annotation if isinstance(annotation, Mapping) else {}
    picture = pictures.get(about.get('image_id'))
    reason = coco_entries.problem_of(where, annotation, picture)
    identity, named = about.get('id'), is_id(about.get('id'))
    if not reason and not named:
      found = shown(identity) if 'id' in about else 'missing'
      reason = f'the "id" of {where} is {found}, and its results would be kept by it'
    if not reason and flag(about.get('iscrowd')) is None:
      reason = f'its "iscrowd" is {shown(about["iscrowd"])}; expected 0 or 1'
    after = identity if named else where
    size = picture.size if picture else None
    content = coco_entries.digest(about.get('segmentation'), about.get('bbox'), size)
    files = (picture.path,) if picture and picture.path else ()
    stem, path = (picture.stem, picture.written) if picture else ('?', where)
    if reason or picture is None:
      make = coco_entries.rejected(reason, files=files, content=content)
    else:
      make = functools.partial(self._entry, about, picture, content)
    return Item(f'{stem}#{after}', f'{path}#{after}', f'{stem}#{where}', make)

  def _entry(
    self, about: Mapping[str, Any], picture: Picture, content: str, instance: str
  ) -> Entry:
    path = picture.path or pathlib.Path()
    read = functools.partial(self._read, instance, about, picture, path)
    size = functools.partial(pairs.picture_size, path)
    return Entry(instance, read, size, (path,), content)

  def _read(
    self, instance: str, about: Mapping[str, Any], picture: Picture, path: pathlib.Path
  ) -> Sample | Rejected:
    try:
      image = self._read_picture(path)
    except images.UnreadableImage as error:
      reason = f'{error}; {picture.hint}' if picture.hint else str(error)
      return Rejected(instance, 'failed', reason, pairs.picture_size(path))
    size = image.shape[0], image.shape[1]
    reason = _disagreement(path, size, picture)
    if reason:
      return Rejected(instance, 'failed', reason, size)
    segmentation = about.get('segmentation')
    if segmentation is None:
      return Rejected(instance, 'failed', _nothing_drawn(about), size)
    try:
      parts = coco_segmentation.outline(segmentation, size, bbox=about.get('bbox'))
    except ValueError as error:
      return Rejected(instance, 'failed', f'its segmentation is damaged: {error}', size)
    mask = coco_segmentation.fill(parts, size)
    far = coco_segmentation.reach(parts, size)
    doubt = coco_segmentation.doubt(parts, size, bbox=about.get('bbox'))
    if not mask.any():
      reason = '; '.join(filter(None, (_nothing_inside(parts, far), doubt)))
      return Rejected(instance, 'skipped', reason, size)
    count = int(mask.sum())
    if coco_entries.area_of(about) is None and count < self._min_area:
      reason = f'its mask has {count} pixels, fewer than min_area={self._min_area}'
      return Rejected(instance, 'skipped', reason, size)
    cut = f'its polygons reach {far:.0%} of a side beyond the picture and are cut off there'
    warnings = tuple(filter(None, (cut if far > _FAR_OUT else '', doubt)))
    return Sample(instance, image, mask, np.zeros_like(mask), warnings)


def _disagreement(path: pathlib.Path, size: tuple[int, int], picture: Picture) -> str:
  """Why a picture is not the one that was annotated; '' where its size does not tell."""
  if all(said in (None, found) for said, found in zip(picture.size, size, strict=True)):
    return ''
  reason = f'{path.name} has {size[0]} x {size[1]} pixels, its annotation says {picture.size}'
  if picture.size == size[::-1]:
    reason += (
      ', the same exchanged: either "height" and "width" are, or it was drawn on the picture '
      'before that was turned as its EXIF orientation says'
    )
  return reason


def _nothing_drawn(about: Mapping[str, Any]) -> str:
  if 'segments_info' in about:
    return 'it has no "segmentation" but "segments_info", which coco_panoptic reads'
  if 'bbox' in about:
    return 'it has no "segmentation"; its "bbox" alone is no mask'
  return 'it has no "segmentation"'


def _nothing_inside(parts: coco_segmentation.Outline, far: float) -> str:
  if far >= 1 or (far > 0 and parts.mask is None):
    return 'its segmentation lies outside of the picture, or holds no pixel centre in it'
  return 'its segmentation holds no pixel centre'
