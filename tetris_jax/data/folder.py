"""Pictures and masks from a folder: D/images/a.jpg with D/masks/a.png, paired by stem."""

from __future__ import annotations

import functools
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from tetris_jax.data import images, labels, levels, pairs
from tetris_jax.data.dataset import DataError, Dataset, Entry
from tetris_jax.data.index import Index, Indexing
from tetris_jax.data.sample import Rejected, Sample
from tetris_jax.types import LARGEST_SIDE

__all__ = ['FOLDERS', 'IGNORE_ABOVE', 'OBJECT_ABOVE', 'read_folder']

FOLDERS = ('images', 'masks')

# 255 object, 128 ignore, 0 background, with room for antialiased and JPEG-compressed masks.
OBJECT_ABOVE = 200
IGNORE_ABOVE = 60


def read_folder(
  data_dir: str | os.PathLike[str] | None,
  *,
  objects: str = 'binary',
  ignore_id: int | None = None,
  bits: int = 0,
  indexing: Indexing | None = None,
) -> Dataset:
  """Lists the instances of `data_dir`, sorted by stem; pixels are read on access.

  `data_dir` holds the folders `images` and `masks`; a picture and its mask share the stem, the
  part of the file name before the last dot. Which suffix is which format does not matter, nor does
  its case. Files that begin with a dot and what desktops leave behind (Thumbs.db, desktop.ini) are
  passed over; everything else becomes an instance, if only a rejected one.

  Where no stem is shared, these pair up as well, named by the picture: stems that differ in their
  Unicode normal form or in case, a mask `a.jpg.png` of `a.jpg`, and names such as `a_mask` where
  all masks have that. Masks `a#1`, `a#2`, or `a_1`, `a_2` where `a` has no mask `a` and no picture
  is named so, are objects of the picture `a`, named by the mask.

  objects='binary': one object a picture, named by the stem. Mask levels above 200 are the object,
  above 60 up to 200 ignored, the rest background: 255, 128 and 0 with room for antialiased borders
  and JPEG. A 1-bit mask's ones are the object.

  objects='ids': every number above 0 in the mask is an object, named `stem#id`, in ascending order;
  the other objects are background to it. The masks are read once at the start to find the ids, as
  `indexing` says. `ignore_id` (255 in VOC-like sets) marks pixels that no metric counts.

  Of pictures deeper than 8 bits `bits` are in use, 8 to 16; 0: see `tetris_jax.data.levels`.

  Rejected as failed: a picture without mask, a mask without picture, two pictures or two masks of
  one stem, a size mismatch, a damaged file, an unknown suffix. Rejected as skipped: a mask without
  object pixels. A one-pixel object is an ordinary sample; one that fills the picture has a warning.

  Raises:
    DataError: no `data_dir`, or it lacks the two folders, or nothing is in them.
    ValueError: `objects`, `ignore_id` or `bits` is out of range.
  """
  if objects not in ('binary', 'ids'):
    raise ValueError(f"objects={objects!r}; expected 'binary' or 'ids'")
  if ignore_id is not None and (objects != 'ids' or ignore_id <= 0):
    raise ValueError(f"ignore_id={ignore_id!r} needs objects='ids' and a number above 0")
  pictures = _pictures(bits)
  layout = 'it must hold the folders images and masks, with files of the same stem'
  root = pairs.find_root('folder', data_dir, FOLDERS, layout)
  notes: list[str] = []
  found, entries = pairs.paired(root, FOLDERS, note=notes.append)
  if not any(file for file in (root / 'images').iterdir() if not pairs.is_litter(file)):
    raise DataError(
      f'data_dir={data_dir}: its folder images has no pictures '
      f'(found {pairs.listing(root / "images")}); put them there, and their masks of the same stem '
      'into the folder masks'
    )
  if objects == 'binary':
    entries += _binary(found, pictures)
  else:
    reader = labels.Reader(functools.partial(_read_ids, ignore_id=ignore_id), picture=pictures)
    index = Index(indexing, name=f'folder ignore_id={ignore_id}', root=root)
    entries = labels.every_object(found, reader, others=entries, index=index)
  return Dataset('folder', sorted(entries, key=pairs.order), notes=notes)


def _pictures(bits: int) -> pairs.Reader:
  if not levels.checked_bits(bits):
    return images.read_picture
  return functools.partial(images.read_picture, bits=bits)


def _binary(
  found: Sequence[tuple[str, pathlib.Path, pathlib.Path]], pictures: pairs.Reader
) -> list[Entry]:
  read_levels = pairs.remembered(functools.partial(images.read_mask, largest_side=LARGEST_SIDE))
  read_picture = pairs.remembered(pictures)
  entries = []
  for stem, picture, mask in found:
    read = functools.partial(_read_binary, stem, picture, mask, read_picture, read_levels)
    size = functools.partial(pairs.picture_size, picture)
    entries.append(Entry(stem, read, size, (picture, mask)))
  return entries


def _read_ids(mask: pathlib.Path, ignore_id: int | None) -> np.ndarray:
  """(height, width) int32 object numbers, `labels.IGNORED` where the mask holds `ignore_id`."""
  ids = images.read_mask(mask, objects='ids', largest_side=LARGEST_SIDE)
  return ids if ignore_id is None else np.where(ids == ignore_id, labels.IGNORED, ids)


def _read_binary(
  instance: str,
  picture: pathlib.Path,
  mask: pathlib.Path,
  read_picture: pairs.Reader,
  read_mask: pairs.Reader,
) -> Sample | Rejected:
  pair = pairs.read_pair(instance, picture, mask, read_picture, read_mask)
  if isinstance(pair, Rejected):
    return pair
  image, levels = pair
  found = levels > OBJECT_ABOVE
  ignore = (levels > IGNORE_ABOVE) & ~found
  size = found.shape[0], found.shape[1]
  if found.any():
    return Sample(instance, image, found, ignore)
  if ignore.all():
    return Rejected(instance, 'skipped', f'masks/{mask.name} ignores every pixel', size)
  highest = int(levels.max())
  hint = "; if its numbers name objects, read it with objects='ids'" if highest else ''
  reason = (
    f'masks/{mask.name} has no object: its highest value is {highest}, '
    f'an object has values above {OBJECT_ABOVE}{hint}'
  )
  return Rejected(instance, 'skipped', reason, size)
