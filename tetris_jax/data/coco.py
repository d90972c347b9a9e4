"""COCO's annotation files: instances (polygons, run lengths; also LVIS') and panoptic pictures.

The layout is the one of the download: `val2017/*.jpg` beside `annotations/instances_val2017.json`,
and for panoptic `annotations/panoptic_val2017.json` beside `annotations/panoptic_val2017/*.png`.
Instances are named `picture stem#annotation id`. Crowds are no objects; no pixel is ignored.
"""

from __future__ import annotations

import functools
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tetris_jax.data import images, labels, pairs
from tetris_jax.data.dataset import DataError, Dataset, Entry
from tetris_jax.data.sample import Rejected, Sample
from tetris_jax.data.samples import fill_polygons

__all__ = ['decode_segmentation', 'read_coco', 'read_coco_panoptic']

_PAGE = 'https://cocodataset.org/#download'
_DOWNLOAD = f'COCO is to be had at {_PAGE}'


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
    min_area: objects of a smaller "area", in pixels, are left out.

  Raises:
    DataError: something is missing, or the file is no annotation file.
  """
  file = annotations or f'annotations/instances_{split}.json'
  root = _root('coco', data_dir, split, file)
  document = _document(root / file)
  known = {one.get('id'): one for one in document['images']}
  read_picture = pairs.remembered(images.read_picture)
  entries = []
  for annotation in document['annotations']:
    name, picture, size = _whose(root / split, known, annotation, file)
    if annotation.get('iscrowd') or annotation.get('area', min_area) < min_area:
      continue
    read = functools.partial(_read, name, picture, size, annotation, read_picture)
    entries.append(Entry(name, read, functools.partial(pairs.picture_size, picture)))
  return Dataset('coco', sorted(entries, key=pairs.order))


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
    min_area: segments of a smaller "area", in pixels, are left out.

  Raises:
    DataError: something is missing, or the file is no annotation file.
  """
  file = annotations or f'annotations/panoptic_{split}.json'
  masks = file.removesuffix('.json')
  root = _root('coco_panoptic', data_dir, split, file, masks)
  document = _document(root / file)
  known = {one.get('id'): one for one in document['images']}
  things = {one['id'] for one in document.get('categories', []) if one.get('isthing')}
  reader = labels.Reader(_panoptic_numbers)
  entries = []
  for annotation in document['annotations']:
    name, picture, _ = _whose(root / split, known, {**annotation, 'id': ''}, file)
    mask = root / masks / pathlib.PurePosixPath(str(annotation.get('file_name'))).name
    for segment in annotation.get('segments_info', ()):
      wanted = stuff or segment.get('category_id') in things
      if segment.get('iscrowd') or not wanted or segment.get('area', min_area) < min_area:
        continue
      number = int(segment['id'])
      entries.append(labels.one_object(f'{name}{number}', picture, mask, reader, number=number))
  return Dataset('coco_panoptic', sorted(entries, key=pairs.order))


def decode_segmentation(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
  """(height, width) bool of a "segmentation": polygons, or run lengths, compressed or not.

  A pixel belongs to a polygon iff its centre does; COCO's own tool draws outlines on a grid five
  times as fine, and differs in single pixels on the border. Several polygons are one object's
  parts. Run lengths count down the columns, beginning with background.

  Args:
    segmentation: [[x0, y0, x1, y1, ...], ...] in pixels from the picture's corner, or
      {"size": [height, width], "counts": list or string}.
    size: (height, width) of the picture.

  Raises:
    ValueError: it is neither, or its run lengths are not those of the picture.
  """
  if isinstance(segmentation, Mapping):
    counts = segmentation.get('counts')
    runs = _decompress(counts) if isinstance(counts, (str, bytes)) else counts
    if not isinstance(runs, Sequence) or tuple(segmentation.get('size', ())) != size:
      raise ValueError(f'run lengths of {segmentation.get("size")} pixels in a picture of {size}')
    if any(run < 0 for run in runs) or sum(runs) != size[0] * size[1]:
      raise ValueError(f'run lengths of {sum(runs)} pixels in all for a picture of {size}')
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, np.asarray(runs, np.int64)).reshape(size[1], size[0]).T
  if not isinstance(segmentation, Sequence) or isinstance(segmentation, (str, bytes)):
    raise ValueError(f'a segmentation of type {type(segmentation).__name__}')
  mask = np.zeros(size, np.bool_)
  for polygon in segmentation:
    if len(polygon) < 6 or len(polygon) % 2:
      raise ValueError(f'a polygon of {len(polygon)} numbers; expected pairs, at least three')
    # From corners at integers to centres at integers.
    vertices = (np.asarray(polygon, np.float64).reshape(-1, 2) - 0.5).tolist()
    mask |= fill_polygons([vertices], size)
  return mask


def _decompress(counts: str | bytes) -> list[int]:
  """Run lengths from COCO's string: 5 bits a character, signed, the fourth on as differences."""
  text = counts.encode('latin-1') if isinstance(counts, str) else counts
  runs: list[int] = []
  value, shift = 0, 0
  for character in text:
    bits = character - 48
    if not 0 <= bits < 64:
      raise ValueError(f'a compressed run length holds the character {chr(character)!r}')
    value |= (bits & 0x1F) << shift
    shift += 5
    if bits & 0x20:
      continue
    if bits & 0x10:
      value -= 1 << shift
    runs.append(value + (runs[-2] if len(runs) > 2 else 0))
    value, shift = 0, 0
  if shift:
    raise ValueError('a compressed run length ends early')
  return runs


def _root(
  name: str, data_dir: str | os.PathLike[str] | None, split: str, *needed: str
) -> pathlib.Path:
  layout = f'it must hold the folder {split} of pictures and {" and ".join(needed)}'
  return pairs.find_root(name, data_dir, (split, *needed), layout, download=_DOWNLOAD)


def _document(path: pathlib.Path) -> Any:
  try:
    document = json.loads(path.read_text('utf-8'))
    document['images'], document['annotations']
  except (OSError, ValueError, KeyError, TypeError) as error:
    found = f'{type(error).__name__}: {error}'
    raise DataError(f'{path} is no COCO annotation file: {found}') from error
  return document


def _whose(
  folder: pathlib.Path, known: Mapping[Any, Any], annotation: Mapping[str, Any], file: str
) -> tuple[str, pathlib.Path, tuple[int, int]]:
  """An annotation's instance name, its picture and that picture's (height, width)."""
  try:
    about = known[annotation['image_id']]
    # LVIS has the picture's address where COCO has its name.
    shown = about.get('file_name') or about['coco_url']
    picture = folder / pathlib.PurePosixPath(shown).name
    return f'{picture.stem}#{annotation["id"]}', picture, (about['height'], about['width'])
  except (KeyError, TypeError) as error:
    raise DataError(
      f'{file}: an annotation lacks {error} or names no picture of the file'
    ) from error


def _read(
  instance: str,
  picture: pathlib.Path,
  size: tuple[int, int],
  annotation: Mapping[str, Any],
  read_picture: pairs.Reader,
) -> Sample | Rejected:
  try:
    image = read_picture(picture)
  except images.UnreadableImage as error:
    return Rejected(instance, 'failed', str(error), pairs.picture_size(picture))
  found = image.shape[0], image.shape[1]
  if found != size:
    reason = f'{picture.name} has {found[0]} x {found[1]} pixels, its annotation says {size}'
    return Rejected(instance, 'failed', reason, found)
  try:
    mask = decode_segmentation(annotation.get('segmentation'), size)
  except ValueError as error:
    return Rejected(instance, 'failed', f'its segmentation is damaged: {error}', size)
  if not mask.any():
    return Rejected(instance, 'skipped', 'its segmentation holds no pixel centre', size)
  return Sample(instance, image, mask, np.zeros_like(mask))


def _panoptic_numbers(path: pathlib.Path) -> np.ndarray:
  rgb = images.read_picture(path).astype(np.int32)
  return rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]
