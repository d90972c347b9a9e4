"""Pictures and masks that share a stem: listing, pairing and reading them, for any layout."""

from __future__ import annotations

import functools
import os
import pathlib
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from tetris_jax.data import images, naming
from tetris_jax.data.dataset import DataError, Entry
from tetris_jax.data.sample import Rejected

__all__ = [
  'Reader',
  'by_stem',
  'find_root',
  'is_litter',
  'listing',
  'order',
  'paired',
  'pairing',
  'picture_size',
  'read_only',
  'read_pair',
  'reject',
  'remembered',
  'require_files',
  'same',
]

_LITTER = frozenset((
  '__macosx', '@eadir', 'desktop.ini', 'ehthumbs.db', 'icon\r', 'picasa.ini', 'thumbs.db',
))  # fmt: skip
# What Windows' downloads turn into on other systems.
_LITTER_SUFFIX = ':zone.identifier'
_SHOWN = 8
# D/annotations/panoptic_val2017 of D, and a file in it.
_LEVELS_ABOVE = 3

Reader = Callable[[pathlib.Path], np.ndarray]
"""Path of a file -> array (height, width[, channels]); raises UnreadableImage."""


def find_root(
  name: str, data_dir: object, needed: Sequence[str], layout: str, *, download: str = ''
) -> pathlib.Path:
  """The folder of a data set, after a look that what it needs is there.

  Args:
    name: of the data set, as `open_dataset` takes it.
    data_dir: where the caller says that it lies.
    needed: names of folders and files right below it.
    layout: what it must hold, as a clause.
    download: where the data set comes from, as a clause; empty for one's own data.

  Raises:
    DataError: no `data_dir`, or it is no folder, or something is missing; the message says what was
      found instead and, where a folder below holds everything, names that one.
  """
  advice = f'{layout}; {download}' if download else layout
  if not data_dir or not str(data_dir):
    raise DataError(f'dataset={name} needs data_dir; {advice}')
  root = pathlib.Path(str(data_dir)).expanduser()
  if not root.exists():
    raise DataError(f'data_dir={data_dir} does not exist; {advice}')
  if not root.is_dir():
    raise DataError(f'data_dir={data_dir} is a file; {_meant(root, needed)}{advice}')
  missing = [part for part in needed if not _is_there(root, part)]
  if not missing:
    return root
  lacks = ' and no '.join(
    f'{"file" if _is_file_name(part) else "folder"} {part}' for part in missing
  )
  raise DataError(
    f'data_dir={data_dir} has no {lacks} (found {listing(root)}); '
    f'{_meant(root, needed)}{_misspelt(root, missing)}{advice}'
  )


def _meant(root: pathlib.Path, needed: Sequence[str]) -> str:
  """The folder above or below that holds all that is needed, as a question; '' for none."""
  here = pathlib.Path(os.path.abspath(root))
  tops = {pathlib.PurePath(part).parts[0] for part in needed}
  above = (
    folder
    for folder in here.parents[:_LEVELS_ABOVE]
    if here.relative_to(folder).parts[0] in tops and _holds(folder, needed)
  )
  hint = next(above, None) or _below(root, needed)
  return f'did you mean data_dir={hint}? ' if hint else ''


def _misspelt(root: pathlib.Path, missing: Sequence[str]) -> str:
  """Which names are there but for their case, as a sentence; '' for none."""
  there = {file.name.casefold(): file.name for file in root.iterdir()} if root.is_dir() else {}
  close = [(there[part.casefold()], part) for part in missing if part.casefold() in there]
  return ''.join(f'rename {found} to {part}; ' for found, part in close if found != part)


def _is_file_name(part: str) -> bool:
  return pathlib.PurePath(part).suffix in ('.json', '.txt')


def _is_there(root: pathlib.Path, part: str) -> bool:
  return (root / part).is_file() if _is_file_name(part) else (root / part).is_dir()


def require_files(
  name: str, root: pathlib.Path, folder: str, layout: str, *, download: str = ''
) -> None:
  """Raises DataError where a folder of a data set is empty, as after a download gone wrong."""
  if not any(not is_litter(file) for file in (root / folder).iterdir()):
    advice = f'{layout}; {download}' if download else layout
    raise DataError(f'dataset={name}, data_dir={root}: {folder} has no pictures; {advice}')


def _below(root: pathlib.Path, needed: Sequence[str]) -> pathlib.Path | None:
  """The first folder one or two levels below that holds all that is needed."""
  for pattern in ('*', '*/*'):
    for folder in sorted(root.glob(pattern)):
      if folder.is_dir() and _holds(folder, needed):
        return folder
  return None


def _holds(folder: pathlib.Path, needed: Sequence[str]) -> bool:
  return all(_is_there(folder, part) for part in needed)


def is_litter(file: pathlib.Path) -> bool:
  """Whether a file is none of the user's: hidden, or left behind by a desktop."""
  name = file.name.lower()
  return name.startswith('.') or name in _LITTER or name.endswith(_LITTER_SUFFIX)


def paired(
  root: pathlib.Path,
  folders: tuple[str, str],
  *,
  note: Callable[[str], None] = lambda text: None,
) -> tuple[list[tuple[str, pathlib.Path, pathlib.Path]], list[Entry]]:
  """The pairs of two folders as (stem, picture, mask), and entries of what is no pair.

  What pairs up beside equal stems is for `naming` to say: a pair whose stems differ is called by
  its picture's, and the masks of one picture's objects by their own.

  Args:
    root: holds both folders.
    folders: names of the folders of pictures and masks.
    note: told of pairs that a reader might not expect.
  """
  pictures, odd_pictures = by_stem(root / folders[0])
  masks, odd_masks = by_stem(root / folders[1])
  odd = odd_pictures + odd_masks
  entries = [
    reject(f'{file.parent.name}/{file.name}', f'{file.parent.name}/{file.name} {reason}', file)
    for file, reason in odd
  ]
  called = naming.aliases(pictures, masks, note)
  masks = {called.get(stem, stem): files for stem, files in masks.items()}
  owner = naming.owners(pictures, masks)
  shared = set(owner.values())
  found, alone = [], {}
  for stem in {**pictures, **masks}:
    if stem in shared and stem not in masks:
      continue  # Its masks have stems of their own.
    files = pictures.get(owner.get(stem, stem), []), masks.get(stem, [])
    reason = pairing(stem, *files, folders)
    if reason is None:
      found.append((stem, files[0][0], files[1][0]))
    elif files[0] and files[1]:
      entries.append(reject(stem, reason, *files[0], *files[1]))
    else:
      alone[stem] = reason
  hints = naming.Hints(pictures, masks, alone, odd=[file for file, _ in odd])
  for stem, reason in alone.items():
    other = folders[1] if stem in pictures else folders[0]
    files = pictures.get(stem, []), masks.get(stem, [])
    entries.append(reject(stem, reason + hints.of(stem, other), *files[0], *files[1]))
  return sorted(found), entries


def by_stem(
  folder: pathlib.Path,
) -> tuple[dict[str, list[pathlib.Path]], list[tuple[pathlib.Path, str]]]:
  """Files of `folder` by stem, and those that cannot be pictures with the reason."""
  stems: dict[str, list[pathlib.Path]] = {}
  odd = []
  for file in sorted(folder.iterdir(), key=lambda file: file.name):
    if is_litter(file):
      continue
    if file.is_dir():
      odd.append((file, f'is a folder; only the files of {folder.name} itself are read'))
    elif file.suffix.lower() not in images.SUFFIXES:
      known = ', '.join(sorted(images.SUFFIXES))
      odd.append((file, f'has not the suffix of a picture ({known})'))
    else:
      stems.setdefault(file.stem, []).append(file)
  return stems, odd


def pairing(
  stem: str,
  pictures: Sequence[pathlib.Path],
  masks: Sequence[pathlib.Path],
  folders: tuple[str, str],
) -> str | None:
  """Why the files of one stem are no pair, or None where they are one.

  Args:
    stem: of all these files.
    pictures: files of that stem in the first of `folders`.
    masks: likewise, in the second.
    folders: names of the folders of pictures and masks.
  """
  for kind, files in (('pictures', pictures), ('masks', masks)):
    if len(files) > 1:
      listed = ', '.join(file.name for file in files)
      return f'{len(files)} {kind} share the stem {stem!r}: {listed}; keep one'
  if not masks:
    picture = f'{folders[0]}/{pictures[0].name}'
    return f'{picture} has no mask: no file of that stem in the folder {folders[1]}'
  if not pictures:
    mask = f'{folders[1]}/{masks[0].name}'
    return f'{mask} has no picture: no file of that stem in the folder {folders[0]}'
  return None


def read_pair(
  instance: str,
  picture: pathlib.Path,
  mask: pathlib.Path,
  read_picture: Reader,
  read_mask: Reader,
) -> tuple[np.ndarray, np.ndarray] | Rejected:
  """A picture (height, width, 3) and its mask (height, width[, channels]), or why there is none."""
  try:
    image = read_picture(picture)
  except images.UnreadableImage as error:
    return Rejected(instance, 'failed', str(error), picture_size(picture))
  size = image.shape[0], image.shape[1]
  try:
    numbers = read_mask(mask)
  except images.UnreadableImage as error:
    return Rejected(instance, 'failed', str(error), size)
  found = numbers.shape[0], numbers.shape[1]
  if found != size:
    reason = (
      f'{mask.parent.name}/{mask.name} has {found[0]} x {found[1]} pixels (height x width), '
      f'{picture.parent.name}/{picture.name} has {size[0]} x {size[1]}'
    )
    if found == size[::-1]:
      reason += '; pictures are turned as their EXIF orientation says'
    return Rejected(instance, 'failed', reason, size)
  return image, numbers


def picture_size(picture: pathlib.Path) -> tuple[int, int] | None:
  """(height, width) in pixels from a picture's header; None where it cannot be read."""
  try:
    return images.picture_size(picture)
  except images.UnreadableImage:
    return None  # Reading the instance gives the reason.


def reject(instance: str, reason: str, *files: pathlib.Path) -> Entry:
  """The entry of an instance that cannot be read, whose size nobody knows.

  Args:
    instance: its name.
    reason: a sentence.
    *files: what there is of it.
  """
  read = functools.partial(same, Rejected(instance, 'failed', reason))
  return Entry(instance, read, lambda: None, files)


def same(rejected: Rejected) -> Rejected:
  """Its argument; what reading a rejected entry gives."""
  return rejected


def remembered(read: Reader) -> Reader:
  """`read`, but the same file twice in a row is decoded once; the arrays are read-only.

  A picture of several objects is asked for once an object, one after the other.
  """
  return functools.lru_cache(maxsize=1)(read_only(read))


def read_only(read: Reader) -> Reader:
  """Marks the array that `read` returns as read-only, since several samples share it."""

  def reader(path: pathlib.Path) -> np.ndarray:
    array = read(path)
    array.flags.writeable = False
    return array

  return reader


def order(entry: Entry | str) -> tuple[str, int]:
  """Sorts entries by code points of the stem, on which no locale has a say, then by object id.

  Args:
    entry: or the name of its instance.
  """
  name = entry if isinstance(entry, str) else entry.instance
  stem, mark, number = name.rpartition('#')
  return (stem, int(number)) if mark and number.isdecimal() else (name, 0)


def listing(folder: pathlib.Path) -> str:
  """The first names in a folder, as a message lists them."""
  names: Iterable[str] = sorted(file.name for file in folder.iterdir())
  names = [name for name in names if not name.startswith('.')]
  if not names:
    return 'nothing'
  shown = ', '.join(names[:_SHOWN])
  return f'{shown}, ... ({len(names)} in all)' if len(names) > _SHOWN else shown
