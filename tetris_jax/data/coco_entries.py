"""What COCO's instances and panoptic segments share: folders, names, and what is left out."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import marshal
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from tetris_jax.data import pairs
from tetris_jax.data.coco_document import number, shown
from tetris_jax.data.coco_pictures import Picture, Pictures
from tetris_jax.data.dataset import DataError, Entry

__all__ = [
  'Item',
  'LeftOut',
  'area_of',
  'digest',
  'find_root',
  'named',
  'problem_of',
  'rejected',
  'require_pictures',
]

_PAGE = 'https://cocodataset.org/#download'
_DOWNLOAD = f'COCO is to be had at {_PAGE}'
_SHOWN = 3
# COCO's own share of crowds is about 1 in 80.
_MANY_CROWDS = 0.1


@dataclasses.dataclass(frozen=True)
class Item:
  """An instance whose name is not final yet.

  Attributes:
    short: the name that it gets where no other has that.
    long: the one that it gets otherwise.
    place: the one that it gets where both name several, by its place in the file.
    make: name -> its entry.
  """

  short: str
  long: str
  place: str
  make: Callable[[str], Entry]


class LeftOut:
  """Counts of the objects that a reader leaves out, by reason.

  Attributes:
    crowds: by "iscrowd".
    small: by their "area".
    stuff: by the "isthing" of their categories.
    unclear: as nothing says whether their categories are of things.
  """

  def __init__(self, min_area: int):
    """Takes the smallest area that is asked for, in pixels."""
    self.crowds = self.small = self.stuff = self.unclear = 0
    self._min_area = min_area

  def notes(self, file: str, kind: str, total: int) -> Iterator[str]:
    """What is unusual about it, as a sentence.

    Args:
      file: name of the annotation file.
      kind: what is counted, in the plural.
      total: how many of them the file has.
    """
    few = self.crowds <= _MANY_CROWDS * total
    told = self._told(besides=('stuff', 'crowds') if few else ('stuff',))
    if told:
      yield f'{file}: of {total} {kind}, left out {told}'

  def require_some(self, file: str, kind: str, total: int, *, kept: int) -> None:
    """Raises DataError where nothing is kept.

    Args:
      file: name of the annotation file.
      kind: what is counted, in the plural.
      total: how many of them the file has.
      kept: how many of them have entries.
    """
    if kept:
      return
    if not total:
      raise DataError(f'{file} has no {kind}: there is nothing to measure')
    raise DataError(f'{file}: nothing is left of its {total} {kind}; left out {self._told()}')

  def _told(self, *, besides: Sequence[str] = ()) -> str:
    clauses = {
      'crowds': 'as crowds (iscrowd=1, which some tools set on every painted mask)',
      'small': f'as smaller than min_area={self._min_area} by their "area"',
      'stuff': 'as no things (isthing=0; stuff=true takes them)',
      'unclear': 'as their categories have no "isthing" (stuff=true takes them)',
    }
    counts = {name: getattr(self, name) for name in clauses if name not in besides}
    return '; '.join(f'{clauses[name]}: {count}' for name, count in counts.items() if count)


def find_root(
  name: str,
  data_dir: str | os.PathLike[str] | None,
  split: str,
  *needed: str,
  found: int | None = None,
) -> pathlib.Path:
  """The data set's folder; that of the pictures may be missing where some lie elsewhere.

  Args:
    name: of the data set.
    data_dir: where the caller says that it lies.
    split: the folder of pictures.
    *needed: the annotation file, and what else has to be there.
    found: how many pictures there are, as far as anybody has looked.

  Raises:
    DataError: something is missing.
  """
  layout = f'it must hold the folder {split} of pictures and {" and ".join(needed)}'
  root = pathlib.Path(str(data_dir)).expanduser() if data_dir else None
  if root is not None and not (root / needed[0]).is_file():
    others = _annotation_files(root, (os.path.dirname(needed[0]), split, ''))
    if others:
      layout += f' (or another file by annotations=..., such as {", ".join(others[:_SHOWN])})'
  elif found is None or found:
    return pairs.find_root(name, data_dir, needed, layout, download=_DOWNLOAD)
  return pairs.find_root(name, data_dir, (split, *needed), layout, download=_DOWNLOAD)


def _annotation_files(root: pathlib.Path, folders: Sequence[str]) -> list[str]:
  """JSON files right in these folders, by their paths below `root`."""
  found = [os.path.join(one, file.name) for one in folders for file in (root / one).glob('*.json')]
  return sorted(dict.fromkeys(found))


def area_of(about: Mapping[str, Any]) -> float | None:
  """The "area" of an annotation or segment in pixels; None where it has none that can be one.

  Tools that do not compute it write 0.
  """
  area = about.get('area')
  if isinstance(area, list) and len(area) == 1:
    area = area[0]
  found = number(area)
  return found if found is not None and found > 0 else None


def problem_of(where: str, annotation: Any, picture: Picture | None) -> str:
  """Why an annotation has no picture, or '' where it has one.

  Args:
    where: its place in the file.
    annotation: as the file has it.
    picture: of its "image_id", None for none.
  """
  if not isinstance(annotation, Mapping):
    return f'{where} is {shown(annotation)}; expected an object'
  if picture is None:
    if 'image_id' not in annotation:
      return 'it has no "image_id"'
    return f'its "image_id" is {shown(annotation["image_id"])}, which is no picture of the file'
  return picture.problem


def require_pictures(file: str, annotations: Sequence[Any], pictures: Pictures) -> None:
  """Raises DataError where annotations are on pictures, but none on one of the file's.

  Args:
    file: name of the annotation file.
    annotations: those that are not left out.
    pictures: of the file.
  """
  wanted = [one.get('image_id') for one in annotations if isinstance(one, Mapping)]
  if wanted and all(pictures.get(image_id) is None for image_id in wanted):
    first = ', '.join(shown(one) for one in wanted[:_SHOWN])
    raise DataError(
      f'{file}: its "images" lacks {first} or names no picture by that "id", and so it is with '
      f'every "image_id" of its annotations ({len(wanted)}); were its lists taken from two files?'
    )


def digest(*values: Any) -> str:
  """A text that changes with values of a JSON file."""
  try:
    # Format 2 writes values alone, whatever else refers to them; ten times as fast as JSON.
    content = marshal.dumps(values, 2)
  except ValueError:  # Lists in lists in lists, which nothing is read from either.
    return 'nested too deeply'
  return hashlib.blake2b(content, digest_size=8).hexdigest()


def rejected(
  reason: str, *, files: Iterable[pathlib.Path] = (), content: str = ''
) -> Callable[[str], Entry]:
  """The `make` of an `Item` that cannot be read.

  Args:
    reason: why.
    files: what it would be made of.
    content: as an `Entry` has it.
  """

  def make(instance: str) -> Entry:
    entry = pairs.reject(instance, reason)
    return dataclasses.replace(entry, files=tuple(files), content=content)

  return make


def named(items: Sequence[Item], file: str) -> list[Entry]:
  """The entries of `items` in the order of their names.

  Those that share an id in one picture are rejected, for nothing says which results are whose.

  Args:
    items: instances of one file.
    file: name of the annotation file.

  Raises:
    DataError: no instance is left that is called like no other.
  """
  counts = collections.Counter(item.short for item in items)
  names = [item.short if counts[item.short] == 1 else item.long for item in items]
  twice = {name: count for name, count in collections.Counter(names).items() if count > 1}
  if twice and len(twice) == len(set(names)):
    first = ', '.join(f'{name} ({count} times)' for name, count in list(twice.items())[:_SHOWN])
    raise DataError(
      f'{file}: annotation ids that stand more than once in a picture: {len(twice)}, such as '
      f'{first}; give every annotation its own "id", which results are kept by'
    )
  entries = []
  for item, name in zip(items, names, strict=True):
    if name in twice:
      shared = f'{name} are {twice[name]} annotations of one picture: give each an "id" of its own'
      entries.append(rejected(f'{shared}, which results are kept by')(item.place))
    else:
      entries.append(item.make(name))
  return sorted(entries, key=pairs.order)
