"""Which file a picture of COCO's annotation file is, and how large it should be.

A picture is looked for, in this order,
  1. where "file_name" says, below the split's folder, then below `data_dir` itself (the other way
     round where "file_name" begins with the split's folder);
  2. where "coco_url" says, whose last folder lies beside the split's folder or below `data_dir`:
     so are the two folders of LVIS found;
  3. by its last name right in the split's folder, if no other picture of the file bears that name.
Backslashes separate folders, `%20` and the like are decoded, and Unicode forms and the case of
suffixes count as one, each only where the name as written is not there. Nothing is read from
outside of `data_dir`.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import pathlib
import unicodedata
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tetris_jax.data.coco_document import is_id, is_path, is_text, shown, whole
from tetris_jax.data.dataset import DataError

__all__ = ['Files', 'Picture', 'Pictures']

_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class Picture:
  """A picture of an annotation file.

  Attributes:
    stem: of its file; instances are named by it.
    written: its path in the annotation file, with slashes.
    path: where it lies, or would; None where `problem` says why it cannot be read at all.
    size: (height, width) as the annotation file has them, None where it does not say.
    hint: what explains that there is no file at `path`; '' where there is one.
    problem: a clause; '' for none.
  """

  stem: str
  written: str
  path: pathlib.Path | None
  size: tuple[int | None, int | None] = (None, None)
  hint: str = ''
  problem: str = ''


class Files:
  """Finds files below a folder; every folder is listed once.

  Attributes:
    found: how many files were found.
    moved: as written, those that were found by their last name only.
  """

  def __init__(self, root: pathlib.Path, folder: pathlib.Path, written: Sequence[tuple[str, str]]):
    """Takes what will be looked for.

    Args:
      root: the data set's folder.
      folder: where files lie that bear no folder in their names.
      written: the pairs that `find` will be asked for.
    """
    self.found = 0
    self.moved: list[str] = []
    self._root, self._folder = str(root), str(folder)
    self._tops = [(os.path.join(os.path.abspath(one), ''), one) for one in self._bases()]
    self._claimed = {_slashed(name) or _tail(url) for name, url in written}
    self._bearers = collections.Counter(os.path.basename(path) for path in self._claimed)
    self._listings: dict[str, frozenset[str]] = {}
    self._forms: dict[str, dict[str, str | None]] = {}
    self._stems: dict[str, str] | None = None

  def find(self, name: str, *, url: str = '') -> tuple[pathlib.Path | None, str]:
    """Where a file lies, and what explains that it is not there ('' where it is).

    Args:
      name: "file_name" as written; may be empty.
      url: "coco_url"; may be empty.

    Returns:
      A path, also where there is no file, and a clause; no path for names outside of the root.
    """
    for look in (self._exactly, self._in_other_form):
      for reading in self._readings(name, url):
        for place in self._places(*reading):
          found = look(place)
          if found is not None:
            self.found += 1
            return pathlib.Path(found), ''
    path, tail = _slashed(name), _tail(url)
    return self._moved(path or tail, list(self._places(path, tail))[:1])

  def _readings(self, name: str, url: str) -> Iterator[tuple[str, str]]:
    """Names and folders of addresses that the file may have, one of both at a time."""
    yield name, ''
    path = _slashed(name)
    yield path, ''
    tail = _tail(url)
    yield '', tail
    for one in (path, tail):
      decoded = urllib.parse.unquote(one)
      if decoded != one and decoded not in self._claimed:
        yield ('', decoded) if one is tail else (decoded, '')

  def _moved(self, written: str, places: Sequence[str]) -> tuple[pathlib.Path | None, str]:
    """Likewise, by the last name alone."""
    last = os.path.basename(written)
    here = os.path.join(self._folder, last)
    moved = self._exactly(here) or self._in_other_form(here)
    if moved is not None and self._bearers[last] == 1:
      self.found += 1
      self.moved.append(written)
      return pathlib.Path(moved), ''
    if not places:
      return None, f'its file {shown(written)} lies outside of data_dir, where nothing is read'
    return pathlib.Path(places[0]), self._hint(last, moved)

  def _bases(self) -> tuple[str, str]:
    return self._root, self._folder

  def _places(self, name: str, url: str) -> Iterator[str]:
    """Where a file may lie, the likeliest first."""
    root, folder = self._bases()
    bases = [folder, root]
    if '/' in name and any(f'{one}/'.startswith(f'{folder}/') for one in self._inside(root, name)):
      bases.reverse()
    for base in bases if name else ():
      yield from self._inside(base, name)
    beside = [os.path.dirname(folder), root] if '/' in url else []
    for base in [*beside, folder, root] if url else ():
      yield from self._inside(base, url)

  def _inside(self, base: str, path: str) -> Iterator[str]:
    """`base / path` without its "..", if that is below the root or the split's folder."""
    absolute = os.path.abspath(os.path.join(base, path))
    for top, shown_as in self._tops:
      if absolute.startswith(top):
        yield os.path.join(shown_as, absolute[len(top) :])
        return

  def _exactly(self, path: str) -> str | None:
    folder, name = os.path.split(path)
    return path if name in self._listing(folder) else None

  def _in_other_form(self, path: str) -> str | None:
    """A file whose name differs in its Unicode form or the case of its suffix, if there is one.

    It must be no other picture's by its own name.
    """
    folder, name = os.path.split(path)
    if folder not in self._forms:
      forms: dict[str, str | None] = {}
      for one in self._listing(folder):
        forms[_form(one)] = None if _form(one) in forms else one
      self._forms[folder] = forms
    other = self._forms[folder].get(_form(name))
    if other is None or other == name:
      return None
    found = os.path.join(folder, other)
    below = (found[len(base) + 1 :] for base in self._bases() if found.startswith(f'{base}/'))
    return None if any(one in self._claimed for one in below) else found

  def _listing(self, folder: str) -> frozenset[str]:
    if folder not in self._listings:
      try:
        self._listings[folder] = frozenset(os.listdir(folder))
      except (OSError, ValueError):  # No such folder, or a name that no folder can have.
        self._listings[folder] = frozenset()
    return self._listings[folder]

  def _hint(self, last: str, moved: str | None) -> str:
    here = os.path.basename(self._folder)
    if moved is not None:
      bearers = self._bearers[last]
      return f'{here}/{last} is there, but {bearers} pictures of the file bear that name'
    if self._stems is None:
      names = sorted(self._listing(self._folder), reverse=True)
      self._stems = {_stem(name): name for name in names}
    other = self._stems.get(_stem(last))
    if other is not None:
      return f'did you mean {here}/{other}?'
    return f'it was looked for in {here} and in data_dir'


class Pictures:
  """The pictures of an annotation file by their ids."""

  def __init__(self, root: pathlib.Path, split: str, images: Sequence[Any], file: str):
    """Takes the file's "images".

    Args:
      root: the data set's folder.
      split: the folder of pictures below it.
      images: may hold anything; what has no id is nobody's picture.
      file: name of the annotation file, for messages.

    Raises:
      DataError: ids that several pictures have.
    """
    known = [one for one in images if isinstance(one, Mapping) and is_id(one.get('id'))]
    self._unnamed = len(images) - len(known)
    self._known = _by_id(known, file)
    self._by_number: dict[int, list[Any]] = collections.defaultdict(list)
    for identity in self._known:
      as_number = whole(identity)
      if as_number is not None:
        self._by_number[as_number].append(identity)
    self.files = Files(root, root / split, [_names(one) for one in self._known.values()])
    self._pictures: dict[Any, Picture] = {}

  def get(self, image_id: Any) -> Picture | None:
    """The picture of an "image_id"; None where the file has none, or several that it may mean.

    1, 1.0 and "1" are the same id, as far as the file does not tell them apart.
    """
    if not is_id(image_id):
      return None
    if image_id not in self._known:
      as_number = whole(image_id)
      same = self._by_number.get(as_number, []) if as_number is not None else []
      if len(same) != 1:
        return None
      image_id = same[0]
    if image_id not in self._pictures:
      self._pictures[image_id] = self._picture(image_id, self._known[image_id])
    return self._pictures[image_id]

  def notes(self) -> Iterator[str]:
    """What to tell of pictures that do not lie where the file says."""
    if moved := self.files.moved:
      yield (
        f'pictures that do not lie where the annotation file says: {len(moved)}, such as '
        f'{shown(moved[0])}; they are found by their last names, which no other picture bears'
      )
    if self._unnamed:
      yield f'"images" of the annotation file without a usable "id": {self._unnamed}'

  def _picture(self, image_id: Any, about: Mapping[str, Any]) -> Picture:
    name, url = _names(about)
    written = _slashed(name) or _tail(url)
    stem = pathlib.PurePosixPath(written).stem
    if not stem or written.endswith('/') or not is_id(stem):
      found = shown(about.get('file_name'))
      problem = f'its picture has no name: "file_name" is {found}'
      return Picture(f'image {image_id}', written, None, problem=problem)
    path, hint = self.files.find(name, url=url)
    if path is None:
      return Picture(stem, written, None, problem=hint)
    if '\\' in name and path.name == name:
      stem = path.stem  # Here it separates nothing.
    sides = []
    for key in ('height', 'width'):
      side = whole(about.get(key) or 0)
      if side is None or side < 0:
        found = shown(about.get(key))
        problem = f'its picture\'s "{key}" is {found}; expected a whole number above 0, or none'
        return Picture(stem, written, path, problem=problem)
      sides.append(side or None)
    return Picture(stem, written, path, (sides[0], sides[1]), hint)


def _by_id(known: Sequence[Mapping[str, Any]], file: str) -> dict[Any, Mapping[str, Any]]:
  found: dict[Any, Mapping[str, Any]] = {}
  twice: dict[Any, list[str]] = {}
  for one in known:
    before = found.setdefault(one['id'], one)
    told = [(*_names(each), each.get('height'), each.get('width')) for each in (before, one)]
    if told[0] != told[1]:
      names = twice.setdefault(one['id'], [_shown_name(before)])
      names.append(_shown_name(one))
  if twice:
    first = list(twice.items())[:_SHOWN]
    listed = '; '.join(f'{shown(one)} ({", ".join(names[:_SHOWN])})' for one, names in first)
    raise DataError(
      f'{file}: image ids that stand for several pictures: {len(twice)}, such as {listed}; give '
      'every picture its own id (files that were joined have to be renumbered)'
    )
  return found


def _names(about: Mapping[str, Any]) -> tuple[str, str]:
  """Its "file_name" and "coco_url", '' for what is no text."""
  name, url = about.get('file_name'), about.get('coco_url')
  return name if is_path(name) else '', url if is_text(url) else ''


def _shown_name(about: Mapping[str, Any]) -> str:
  name, url = _names(about)
  return shown(name or url)


def _slashed(name: str) -> str:
  name = name.replace('\\', '/')
  while name.startswith('./'):
    name = name[2:].lstrip('/')
  return name


def _tail(url: str) -> str:
  """Folder and name of a picture from its address, such as "train2017/000000391895.jpg"."""
  try:
    path = urllib.parse.urlsplit(url).path
  except ValueError:  # Brackets that enclose no host.
    return ''
  return '/'.join([part for part in path.split('/') if part not in ('', '.', '..')][-2:])


def _stem(name: str) -> str:
  """What names share that differ in their suffixes, in case, or in spaces around."""
  return os.path.splitext(name)[0].strip().casefold()


def _form(name: str) -> str:
  stem, suffix = os.path.splitext(name)
  return unicodedata.normalize('NFC', stem) + suffix.lower()

