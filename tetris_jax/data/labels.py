"""Objects by number in a label picture: which there are, and a sample for each."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from tetris_jax.data import images, pairs, smoothing
from tetris_jax.data.dataset import Entry
from tetris_jax.data.sample import Rejected, Sample

__all__ = [
  'IGNORED',
  'MAX_OBJECTS',
  'Reader',
  'distinct',
  'every_object',
  'numbers',
  'one_object',
]

IGNORED = -1
"""The label of pixels that no metric counts; 0 is background and objects are above."""

# More ids than this in one mask are a picture or a depth map, not objects.
MAX_OBJECTS = 1000
# Decoders let go of the interpreter, and this many masks at once keep a disk busy.
_MOST_THREADS = 8


class Reader:
  """How a data set's files are read.

  Attributes:
    picture: path -> (height, width, 3) uint8.
    labels: path -> (height, width) int32, `IGNORED`, 0 or an object's number.
    listed: likewise, with the same numbers but perhaps of another size; cheaper than `labels`.
    size: path of a picture -> (height, width) as `picture` gives it, or None where unknown.
  """

  def __init__(
    self,
    labels: pairs.Reader,
    *,
    picture: pairs.Reader | None = None,
    size: Callable[[pathlib.Path], tuple[int, int] | None] = pairs.picture_size,
    listed: pairs.Reader | None = None,
  ):
    """Wraps both readers so that the same file twice in a row is decoded once."""
    # Looked up when called, so that whoever replaces images.read_picture is heard.
    self.picture = pairs.remembered(picture or (lambda path: images.read_picture(path)))
    self.labels = pairs.remembered(labels)
    self.listed = listed or labels
    self.size = size


def one_object(
  instance: str, picture: pathlib.Path, mask: pathlib.Path, reader: Reader, *, number: int = 1
) -> Entry:
  """The entry of the object with a number, read when asked for."""
  return Entry(
    instance,
    functools.partial(_read, instance, picture, mask, reader, number),
    functools.partial(reader.size, picture),
    (picture, mask),
  )


def every_object(
  found: Sequence[tuple[str, pathlib.Path, pathlib.Path]],
  reader: Reader,
  *,
  keep: Callable[[np.ndarray, int], bool] = lambda labels, number: True,
) -> list[Entry]:
  """Entries `stem#number` of all objects; every mask is read once to find them.

  Args:
    found: (stem, picture, mask) of each picture.
    reader: of the data set.
    keep: (labels, number) -> whether an object belongs to the data set.
  """
  look = functools.partial(numbers, read=reader.listed, keep=keep)
  workers = min(_MOST_THREADS, os.cpu_count() or 1)
  with concurrent.futures.ThreadPoolExecutor(workers) as pool:
    looked = list(pool.map(lambda one: look(one[0], one[2]), found))
  entries = []
  for (stem, picture, mask), there in zip(found, looked, strict=True):
    size = functools.partial(reader.size, picture)
    if isinstance(there, Rejected):
      there = dataclasses.replace(there, size=there.size or size())
      entries.append(Entry(stem, functools.partial(pairs.same, there), size))
      continue
    entries += [
      one_object(f'{stem}#{number}', picture, mask, reader, number=number)
      for number in there
    ]
  return entries


def numbers(
  stem: str,
  mask: pathlib.Path,
  read: pairs.Reader,
  *,
  keep: Callable[[np.ndarray, int], bool] = lambda labels, number: True,
) -> list[int] | Rejected:
  """The numbers of the objects in a mask, ascending, or why there are none."""
  name = f'{mask.parent.name}/{mask.name}'
  try:
    labels = read(mask)
  except images.UnreadableImage as error:
    return Rejected(stem, 'failed', str(error))
  size = labels.shape[0], labels.shape[1]
  if (labels == IGNORED).all():
    return Rejected(stem, 'skipped', f'{name} ignores every pixel', size)
  there = distinct(labels)
  if not there:
    return Rejected(stem, 'skipped', f'{name} has no object: no id above 0', size)
  if len(there) > MAX_OBJECTS:
    reason = f'{name} holds {len(there)} different ids; at most {MAX_OBJECTS} are objects'
    return Rejected(stem, 'failed', reason, size)
  return [number for number in there if keep(labels, number)]


def distinct(labels: np.ndarray) -> list[int]:
  """The numbers above 0 in a label picture, ascending."""
  return [int(number) for number in smoothing.pixels_of(labels)[0] if number > 0]


def _read(
  instance: str, picture: pathlib.Path, mask: pathlib.Path, reader: Reader, number: int
) -> Sample | Rejected:
  pair = pairs.read_pair(instance, picture, mask, reader.picture, reader.labels)
  if isinstance(pair, Rejected):
    return pair
  image, labels = pair
  found, ignore = labels == number, labels == IGNORED
  size = found.shape[0], found.shape[1]
  name = f'{mask.parent.name}/{mask.name}'
  if found.any():
    return Sample(instance, image, found, ignore)
  if ignore.all():
    return Rejected(instance, 'skipped', f'{name} ignores every pixel', size)
  if instance.endswith(f'#{number}'):
    reason = f'{name}: object {number} has no pixel at {size[0]} x {size[1]} pixels'
    return Rejected(instance, 'skipped', reason, size)
  return Rejected(instance, 'skipped', f'{name} has no object', size)
