"""Pictures and masks from a folder: D/images/a.jpg with D/masks/a.png, paired by stem."""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Iterable

import numpy as np

from tetris_jax.data import images
from tetris_jax.data.dataset import DataError, Dataset, Entry
from tetris_jax.data.sample import Rejected, Sample

__all__ = ['IGNORE_ABOVE', 'MAX_OBJECTS', 'OBJECT_ABOVE', 'read_folder']

# 255 object, 128 ignore, 0 background, with room for antialiased and JPEG-compressed masks.
OBJECT_ABOVE = 200
IGNORE_ABOVE = 60
# More ids than this in one mask are a picture or a depth map, not objects.
MAX_OBJECTS = 1000

_LITTER = frozenset(('thumbs.db', 'desktop.ini', '__macosx'))


def read_folder(
  data_dir: str | os.PathLike[str] | None,
  objects: str = 'binary',
  ignore_id: int | None = None,
) -> Dataset:
  """Lists the instances of `data_dir`, sorted by stem; pixels are read on access.

  `data_dir` holds the folders `images` and `masks`; a picture and its mask share the stem, the
  part of the file name before the last dot. Which suffix is which format does not matter, nor does
  its case. Files that begin with a dot and what desktops leave behind (Thumbs.db, desktop.ini) are
  passed over; everything else becomes an instance, if only a rejected one.

  objects='binary': one object a picture, named by the stem. Mask levels above 200 are the object,
  above 60 up to 200 ignored, the rest background: 255, 128 and 0 with room for antialiased borders
  and JPEG. A 1-bit mask's ones are the object.

  objects='ids': every number above 0 in the mask is an object, named `stem#id`, in ascending order;
  the other objects are background to it. The masks are read once at the start to find the ids.
  `ignore_id` (255 in VOC-like sets) marks pixels that no metric counts.

  Rejected as failed: a picture without mask, a mask without picture, two pictures or two masks of
  one stem, a size mismatch, a damaged file, an unknown suffix. Rejected as skipped: a mask without
  object pixels. A one-pixel object and one that fills the picture are ordinary samples.

  Raises:
    DataError: no `data_dir`, or it lacks the two folders, or nothing is in them.
    ValueError: `objects` or `ignore_id` is out of range.
  """
  if objects not in ('binary', 'ids'):
    raise ValueError(f"objects={objects!r}; expected 'binary' or 'ids'")
  if ignore_id is not None and (objects != 'ids' or ignore_id <= 0):
    raise ValueError(f"ignore_id={ignore_id!r} needs objects='ids' and a number above 0")
  root = _root(data_dir)
  pictures, odd_pictures = _by_stem(root / 'images')
  masks, odd_masks = _by_stem(root / 'masks')
  if not pictures and not odd_pictures:
    raise DataError(
      f'--data_dir={data_dir}: its folder images has no pictures '
      f'(found {_listing(root / "images")}); put them there, and their masks of the same stem into '
      'the folder masks'
    )
  # A picture of several objects is asked for once an object, one after the other.
  read_picture = functools.lru_cache(maxsize=1)(_read_only(images.read_picture))
  read_mask = functools.lru_cache(maxsize=1)(
    _read_only(functools.partial(images.read_mask, objects=objects))
  )

  entries = [
    _reject(f'{file.parent.name}/{file.name}', f'{file.parent.name}/{file.name} {reason}')
    for file, reason in odd_pictures + odd_masks
  ]
  for stem in {**pictures, **masks}:
    found = pictures.get(stem, []), masks.get(stem, [])
    reason = _pairing(stem, *found)
    if reason:
      entries.append(_reject(stem, reason))
      continue
    (picture,), (mask,) = found
    size = functools.partial(_size, picture)
    if objects == 'binary':
      read = functools.partial(_read_binary, stem, picture, mask, read_picture, read_mask)
      entries.append(Entry(stem, read, size))
      continue
    ids = _object_ids(stem, read_mask, mask, ignore_id)
    if isinstance(ids, Rejected):
      ids = dataclasses.replace(ids, size=ids.size or size())
      entries.append(Entry(stem, functools.partial(_same, ids), size))
      continue
    for number in ids:
      name = f'{stem}#{number}'
      read = functools.partial(
        _read_id, name, number, ignore_id, picture, mask, read_picture, read_mask
      )
      entries.append(Entry(name, read, size))
  # By code points, on which no locale has a say; ids of one stem stay in ascending order.
  return Dataset('folder', sorted(entries, key=_order))


def _root(data_dir: str | os.PathLike[str] | None) -> pathlib.Path:
  layout = 'it must hold the folders images and masks, with files of the same stem'
  if not data_dir or not os.fspath(data_dir):
    raise DataError(f'--dataset=folder needs --data_dir; {layout}')
  root = pathlib.Path(data_dir).expanduser()
  if not root.exists():
    raise DataError(f'--data_dir={data_dir} does not exist; {layout}')
  if not root.is_dir():
    raise DataError(f'--data_dir={data_dir} is a file; {layout}')
  missing = [name for name in ('images', 'masks') if not (root / name).is_dir()]
  if missing:
    raise DataError(
      f'--data_dir={data_dir} has no folder {" and no folder ".join(missing)} '
      f'(found {_listing(root)}); {layout}'
    )
  return root


def _by_stem(
  folder: pathlib.Path,
) -> tuple[dict[str, list[pathlib.Path]], list[tuple[pathlib.Path, str]]]:
  """Files of `folder` by stem, and those that cannot be pictures with the reason."""
  stems: dict[str, list[pathlib.Path]] = {}
  odd = []
  for file in sorted(folder.iterdir(), key=lambda file: file.name):
    if file.name.startswith('.') or file.name.lower() in _LITTER:
      continue
    if file.is_dir():
      odd.append((file, f'is a folder; only the files of {folder.name} itself are read'))
    elif file.suffix.lower() not in images.SUFFIXES:
      known = ', '.join(sorted(images.SUFFIXES))
      odd.append((file, f'has not the suffix of a picture ({known})'))
    else:
      stems.setdefault(file.stem, []).append(file)
  return stems, odd


def _pairing(stem: str, pictures: list[pathlib.Path], masks: list[pathlib.Path]) -> str | None:
  for kind, files in (('pictures', pictures), ('masks', masks)):
    if len(files) > 1:
      listed = ', '.join(file.name for file in files)
      return f'{len(files)} {kind} share the stem {stem!r}: {listed}; keep one'
  if not masks:
    return f'images/{pictures[0].name} has no mask: no file of that stem in the folder masks'
  if not pictures:
    return f'masks/{masks[0].name} has no picture: no file of that stem in the folder images'
  return None


_Reader = Callable[[pathlib.Path], np.ndarray]


def _read_binary(
  instance: str,
  picture: pathlib.Path,
  mask: pathlib.Path,
  read_picture: _Reader,
  read_mask: _Reader,
) -> Sample | Rejected:
  pair = _read_pair(instance, picture, mask, read_picture, read_mask)
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


def _read_id(
  instance: str,
  number: int,
  ignore_id: int | None,
  picture: pathlib.Path,
  mask: pathlib.Path,
  read_picture: _Reader,
  read_mask: _Reader,
) -> Sample | Rejected:
  pair = _read_pair(instance, picture, mask, read_picture, read_mask)
  if isinstance(pair, Rejected):
    return pair
  image, ids = pair
  found = ids == number
  if not found.any():
    reason = f'masks/{mask.name} changed while it was in use: object {number} is gone'
    return Rejected(instance, 'failed', reason, (found.shape[0], found.shape[1]))
  ignore = ids == ignore_id if ignore_id is not None else np.zeros_like(found)
  return Sample(instance, image, found, ignore)


def _read_pair(
  instance: str,
  picture: pathlib.Path,
  mask: pathlib.Path,
  read_picture: _Reader,
  read_mask: _Reader,
) -> tuple[np.ndarray, np.ndarray] | Rejected:
  try:
    image = read_picture(picture)
  except images.UnreadableImage as error:
    return Rejected(instance, 'failed', str(error), _size(picture))
  size = image.shape[0], image.shape[1]
  try:
    numbers = read_mask(mask)
  except images.UnreadableImage as error:
    return Rejected(instance, 'failed', str(error), size)
  if numbers.shape != size:
    reason = (
      f'masks/{mask.name} has {numbers.shape[0]} x {numbers.shape[1]} pixels (height x width), '
      f'images/{picture.name} has {size[0]} x {size[1]}'
    )
    if numbers.shape == size[::-1]:
      reason += '; pictures are turned as their EXIF orientation says'
    return Rejected(instance, 'failed', reason, size)
  return image, numbers


def _object_ids(
  stem: str, read_mask: _Reader, mask: pathlib.Path, ignore_id: int | None
) -> list[int] | Rejected:
  try:
    numbers = read_mask(mask)
  except images.UnreadableImage as error:
    return Rejected(stem, 'failed', str(error))
  size = numbers.shape[0], numbers.shape[1]
  if ignore_id is not None and (numbers == ignore_id).all():
    return Rejected(stem, 'skipped', f'masks/{mask.name} ignores every pixel', size)
  ids = [int(number) for number in np.unique(numbers) if number > 0 and number != ignore_id]
  if not ids:
    return Rejected(stem, 'skipped', f'masks/{mask.name} has no object: no id above 0', size)
  if len(ids) > MAX_OBJECTS:
    reason = f'masks/{mask.name} holds {len(ids)} different ids; at most {MAX_OBJECTS} are objects'
    return Rejected(stem, 'failed', reason, size)
  return ids


def _size(picture: pathlib.Path) -> tuple[int, int] | None:
  try:
    return images.picture_size(picture)
  except images.UnreadableImage:
    return None  # Reading the instance gives the reason.


def _reject(instance: str, reason: str) -> Entry:
  return Entry(
    instance, functools.partial(_same, Rejected(instance, 'failed', reason)), lambda: None
  )


def _same(rejected: Rejected) -> Rejected:
  return rejected


def _read_only(read: Callable[[pathlib.Path], np.ndarray]) -> _Reader:
  """Marks the array that `read` returns as read-only, since several samples share it."""

  def reader(path: pathlib.Path) -> np.ndarray:
    array = read(path)
    array.flags.writeable = False
    return array

  return reader


def _order(entry: Entry) -> tuple[str, int]:
  stem, mark, number = entry.instance.rpartition('#')
  return (stem, int(number)) if mark and number.isdecimal() else (entry.instance, 0)


def _listing(folder: pathlib.Path) -> str:
  names: Iterable[str] = sorted(file.name for file in folder.iterdir())
  names = [name for name in names if not name.startswith('.')]
  if not names:
    return 'nothing'
  shown = ', '.join(names[:8])
  return f'{shown}, ... ({len(names)} in all)' if len(names) > 8 else shown
