"""A data set: an ordered list of named instances whose pixels are read when asked for."""

from __future__ import annotations

import collections
import dataclasses
import pathlib
import traceback
from collections.abc import Callable, Iterable, Iterator

from tetris_jax.data import doubts
from tetris_jax.data.sample import Rejected, Sample
from tetris_jax.types import LARGEST_SIDE

__all__ = ['DataError', 'Dataset', 'Entry']


_LONGEST_SAID = 200


class DataError(ValueError):
  """A data set that cannot be used at all; the message names the argument and what to do."""


@dataclasses.dataclass(frozen=True)
class Entry:
  """One instance that has not been read yet.

  Attributes:
    instance: stable name, unique in its data set.
    read: () -> Sample or Rejected; decodes the pixels.
    size: () -> (height, width) in pixels without decoding them, or None where that is not known.
    files: what it is made of and its pixels depend on: its picture, its mask.
    content: what else they depend on, such as an annotation, as a text that changes with it.
  """

  instance: str
  read: Callable[[], Sample | Rejected]
  size: Callable[[], tuple[int, int] | None]
  files: tuple[pathlib.Path, ...] = ()
  content: str = ''


def _too_large(instance: str, size: tuple[int, int]) -> Rejected:
  height, width = size
  reason = (
    f'{height} x {width} pixels; the kernel is exact up to {LARGEST_SIDE} a side: shrink the '
    'picture and its mask'
  )
  return Rejected(instance, 'failed', reason, size)


def _raised(entry: Entry, error: Exception, size: tuple[int, int] | None) -> Rejected:
  """An instance whose reader has raised what it should have told; the last line is named."""
  first = (str(error).strip().splitlines() or ['no message'])[0][:_LONGEST_SAID]
  where = traceback.extract_tb(error.__traceback__)[-1]
  place = f'{pathlib.PurePath(where.filename).name}, line {where.lineno}'
  reason = f'it could not be read: {type(error).__name__}: {first} ({place})'
  return Rejected(entry.instance, 'failed', reason, size)


class Dataset:
  """Instances in a fixed order; iterating yields a `Sample` or a `Rejected` for each.

  What its reader raises for an instance makes that one a `Rejected`, and costs no other.
  Nothing is kept after it was handed out, so memory does not grow with the number of instances.
  A picture that is too large by its header is not decoded. What makes a sample look as if its files
  had been read wrongly (see `tetris_jax.data.doubts`) is added to its warnings.

  Attributes:
    name: of the data set.
    notes: what a user has to be told before trusting a score, a sentence each.
  """

  def __init__(self, name: str, entries: Iterable[Entry], *, notes: Iterable[str] = ()):
    """Takes `entries` in their final order.

    Args:
      name: of the data set, as `open_dataset` takes it.
      entries: its instances.
      notes: what a user has to be told before trusting a score, a sentence each.

    Raises:
      DataError: two entries share a name.
    """
    self.name = name
    self.notes = tuple(notes)
    self._entries = tuple(entries)
    counts = collections.Counter(self.names)
    twice = sorted(instance for instance, count in counts.items() if count > 1)
    if twice:
      raise DataError(
        f'data set {name!r} has several instances named {twice[0]!r}; rename one of their files'
      )

  @property
  def names(self) -> tuple[str, ...]:
    """Names of the instances, in order."""
    return tuple(entry.instance for entry in self._entries)

  def __len__(self) -> int:
    return len(self._entries)

  def __getitem__(self, index: int) -> Sample | Rejected:
    entry, size = self._entries[index], self.size(index)
    if size is not None and max(size) > LARGEST_SIDE:
      return _too_large(entry.instance, size)
    try:
      found = entry.read()
      if not isinstance(found, Sample):
        return found
      if max(found.size) > LARGEST_SIDE:
        return _too_large(found.instance, found.size)
      said = doubts.about(found, entry.files)
    except Exception as error:  # Whatever it is, it costs this instance and no other.
      return _raised(entry, error, size)
    return dataclasses.replace(found, warnings=(*found.warnings, *said)) if said else found

  def __iter__(self) -> Iterator[Sample | Rejected]:
    return (self[index] for index in range(len(self)))

  def size(self, index: int) -> tuple[int, int] | None:
    """(height, width) of an instance in pixels without decoding it; None where unknown."""
    try:
      return self._entries[index].size()
    except Exception:  # Reading it whole says why.
      return None

  def files(self, index: int) -> tuple[pathlib.Path, ...]:
    """The files that an instance is made of, as far as it is made of files."""
    return self._entries[index].files

  def content(self, index: int) -> str:
    """What else an instance depends on, as a text that changes with it; '' for nothing."""
    return self._entries[index].content

  def select(self, indices: Iterable[int]) -> Dataset:
    """The data set of these instances only, in the order given."""
    return Dataset(
      self.name, (self._entries[index] for index in indices), notes=self.notes
    )
