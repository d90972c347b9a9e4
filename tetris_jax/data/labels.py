"""Objects by number in a label picture: which there are, and a sample for each."""

from __future__ import annotations

import contextlib
import functools
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tetris_jax.data import images, pairs, smoothing
from tetris_jax.data import index as index_lib
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
  'whole',
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
    rule: by which colours are an object, as a clause for masks that have none.
  """

  def __init__(
    self,
    labels: pairs.Reader,
    *,
    picture: pairs.Reader | None = None,
    size: Callable[[pathlib.Path], tuple[int, int] | None] = pairs.picture_size,
    listed: pairs.Reader | None = None,
    rule: str = '',
  ):
    """Wraps both readers so that the same file twice in a row is decoded once."""
    # Looked up when called, so that whoever replaces images.read_picture is heard.
    self.picture = pairs.remembered(picture or (lambda path: images.read_picture(path)))
    self.labels = pairs.remembered(labels)
    self.listed = listed or labels
    self.size, self.rule = size, rule


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
  others: Sequence[Entry] = (),
  index: index_lib.Index | None = None,
) -> list[Entry]:
  """Entries `stem#number` of all objects; every mask is read once to find them.

  With a limit, only so many masks are read as it takes for the first entries of all in
  `pairs.order`, and those are returned in it.

  Args:
    found: (stem, picture, mask) of each picture.
    reader: of the data set.
    keep: (labels, number) -> whether an object belongs to the data set.
    others: entries of the data set that are known already; they come first.
    index: what is known of masks from earlier times.
  """
  index = index or index_lib.Index(None)
  if index.limit:
    # The order of equals is that of the whole list.
    place = {stem: at for at, (stem, _, _) in enumerate(found)}
    found = sorted(found, key=lambda one: (_least(one[0]), place[one[0]]))
  questions = [_question(*one, reader, keep) for one in found]
  threads = min(_MOST_THREADS, os.cpu_count() or 1)
  answers = index.answers(questions, 'masks', threads=threads)
  ranked = [(pairs.order(entry), -1, entry) for entry in others]
  with contextlib.closing(answers):
    for at, one in enumerate(found):
      if index.limit and _enough(ranked, index.limit, (_least(one[0]), place[one[0]])):
        break
      answer = next(answers)
      index.left_out += answer['left_out']
      rank = place[one[0]] if index.limit else at
      ranked += [(pairs.order(entry), rank, entry) for entry in _entries(*one, reader, answer)]
    else:
      next(answers, None)
  if index.limit:
    ranked = sorted(ranked, key=lambda one: one[:2])[: index.limit]
  return [entry for _, _, entry in ranked]


def _least(stem: str) -> tuple[str, int]:
  """What no entry of a mask comes before, in `pairs.order`: its objects, or the mask refused."""
  return min((stem, 0), pairs.order(stem))


def _enough(
  ranked: Sequence[tuple[tuple[str, int], int, Entry]], limit: int, least: tuple[Any, int]
) -> bool:
  """Whether the first `limit` entries are there, whatever follows from `least` on."""
  return len(ranked) >= limit and sum(one[:2] < least for one in ranked) >= limit


def _question(
  stem: str,
  picture: pathlib.Path,
  mask: pathlib.Path,
  reader: Reader,
  keep: Callable[[np.ndarray, int], bool],
) -> index_lib.Question:
  def ask() -> dict[str, Any]:
    left_out = []

    def kept(labels: np.ndarray, number: int) -> bool:
      if keep(labels, number):
        return True
      left_out.append(number)
      return False

    there = numbers(stem, mask, reader.listed, keep=kept)
    if isinstance(there, Rejected):
      return {'rejected': [there.status, there.reason, there.size], 'left_out': 0}
    return {'numbers': there, 'left_out': len(left_out)}

  return index_lib.Question(
    f'{mask.parent.name}/{mask.name}',
    functools.partial(index_lib.stamp_of, mask),
    ask,
    # A file that could not be read may be readable the next time.
    lambda answer: answer.get('rejected', ('',))[0] != 'failed',
    _is_answer,
  )


def _is_answer(found: Any) -> bool:
  """Whether what was kept of a mask is an answer, whoever wrote it."""
  if not isinstance(found, dict) or not index_lib.is_kept([found.get('left_out')], int):
    return False
  if 'numbers' in found:
    there = found['numbers']
    return isinstance(there, list) and index_lib.is_kept(there, *[int] * len(there))
  rejected: Any = found.get('rejected')
  if not index_lib.is_kept(rejected, str, str, (list, type(None))):
    return False
  status, _, size = rejected
  return status in ('failed', 'skipped') and (size is None or index_lib.is_kept(size, int, int))


def _entries(
  stem: str, picture: pathlib.Path, mask: pathlib.Path, reader: Reader, answer: dict[str, Any]
) -> list[Entry]:
  if 'numbers' in answer:
    return [
      one_object(f'{stem}#{number}', picture, mask, reader, number=number)
      for number in answer['numbers']
    ]
  status, reason, size = answer['rejected']
  measure = functools.partial(reader.size, picture)
  rejected = Rejected(stem, status, reason, tuple(size) if size else measure())
  return [Entry(stem, functools.partial(pairs.same, rejected), measure, (picture, mask))]


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


def whole(numbers: np.ndarray, name: str) -> np.ndarray:
  """Numbers of any kind as int32, where that loses nothing.

  Args:
    numbers: bool, integers, or floats without fractions.
    name: what messages call them.

  Raises:
    images.UnreadableImage: there are fractions, negative or infinite numbers, or larger ones.
  """
  if numbers.dtype.kind == 'f' and numbers.size:
    odd = numbers[~(np.isfinite(numbers) & (numbers == np.floor(numbers)))]
    if odd.size:
      count = len(np.unique(numbers))
      raise images.UnreadableImage(
        f'{name} holds {count} different numbers, such as {odd[0]:.4g}, which are no whole ones; '
        'numbers name objects, and fractions are what probabilities and smoothed edges have'
      )
  least, most = (int(numbers.min()), int(numbers.max())) if numbers.size else (0, 0)
  if least < 0 or most > np.iinfo(np.int32).max:
    raise images.UnreadableImage(
      f'{name} holds {len(np.unique(numbers))} different numbers, from {least} to {most}; objects '
      f'have numbers above 0 and up to {np.iinfo(np.int32).max}, and 0 is no object'
    )
  return numbers.astype(np.int32)


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
  rule = f': {reader.rule}' if reader.rule else ''
  return Rejected(instance, 'skipped', f'{name} has no object{rule}', size)
