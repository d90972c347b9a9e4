"""The largest batch that fits: what programs need at a few sizes, against what the device has."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

import jax
import numpy as np

from experiments.lib import memory
from experiments.lib.progress import STDERR
from experiments.lib.settings import AUTO
from tetris_jax import data, types
from tetris_jax.runs import pieces, relatives, schema
from tetris_jax.runs import workdirs as results

__all__ = [
  'LARGEST',
  'Fit',
  'kept',
  'largest',
  'like',
  'most_of',
  'most_on',
  'resolved',
  'shapes',
  'sizes',
]

LARGEST = 512
"""No batch is larger, for none gains by that and all of it is lost with a machine."""

# Of what is free: allocators leave gaps, and libraries of a GPU take some beside the program.
_SHARE = 0.85
# Programs that are compiled on the way, each for as long as that of the run.
_MOST_COMPILED = 6
_WITHOUT_ROOM = 8


class _Settings(Protocol):
  """Of a program that makes runs."""

  __dataclass_fields__: ClassVar[dict[str, Any]]

  @property
  def batch_size(self) -> int | str: ...
  @property
  def folder(self) -> pathlib.Path: ...
  @property
  def whole(self) -> pathlib.Path: ...


_S = TypeVar('_S', bound=_Settings)


class Fit(NamedTuple):
  """A batch size.

  Attributes:
    size: instances a batch.
    why: it is this one.
  """

  size: int
  why: str


def sizes(most: int) -> Iterator[int]:
  """1, 2, 3, 4, 6, 8, 12 and so on up to `most`, so that devices of one kind agree."""
  size = 1
  while size <= most:
    yield size
    if size > 1 and 3 * size // 2 <= most:
      yield 3 * size // 2
    size *= 2


def shapes(canvas: tuple[int, int], size: int) -> types.Batch:
  """What a batch of so many instances on a canvas (height, width) looks like, without pixels."""
  of: Any = lambda shape, kind: jax.ShapeDtypeStruct((size, *shape), kind)
  return types.Batch(
    image=of((*canvas, 3), np.float32),
    mask=of(canvas, np.bool_),
    ignore=of(canvas, np.bool_),
    size=of((2,), np.int32),
    id=of((), np.uint32),
  )


def like(array: Any, *more: int, kind: Any) -> jax.ShapeDtypeStruct:
  """What an array of another type looks like that has the shape of one, and further dimensions."""
  return jax.ShapeDtypeStruct((*array.shape, *more), kind)


def most_of(needs: Sequence[int | None]) -> int | None:
  """What the largest of several programs needs, which run in turn; None where one is unknown."""
  known = [need for need in needs if need is not None]
  return max(known) if len(known) == len(needs) else None


def most_on(dataset: data.Dataset) -> tuple[tuple[int, int], int]:
  """The largest canvas (height, width) of a data set, and how many instances one has at most."""
  counts: dict[tuple[int, int], int] = {}
  for group in data.plan(dataset, 1)[0]:
    counts[group.canvas] = counts.get(group.canvas, 0) + 1
  if not counts:
    return data.canvas_for((1, 1)), 1
  return max(counts, key=lambda canvas: (canvas[0] * canvas[1], canvas)), max(counts.values())


def largest(
  device: jax.Device, need: Callable[[int], int | None], most: int = LARGEST
) -> Fit:
  """The largest of `sizes` that a device has memory for.

  Two small programs are compiled, a straight line through what they need is followed to what is
  free, and the program there is compiled too: a size counts when its own program has been seen to
  fit. On a CPU it is 1: rows go through the decoder one by one there.

  Args:
    device: on which batches are measured.
    need: (size) -> bytes that its program takes, None where unknown; may raise OutOfMemoryError.
    most: how many instances there are to be had.
  """
  if device.platform == 'cpu':
    return Fit(1, 'on a CPU more at once take no less time each, and more is lost by a stop')
  most = min(most, LARGEST)
  room = memory.device_room(device)
  if room is None:
    size = max(sizes(min(_WITHOUT_ROOM, most)))
    return Fit(size, 'as the device does not say what memory it has')
  return _searched(_Probes(need, int(_SHARE * room.free)), most, room)


class _Probes:
  """What programs need, by batch size, as far as they were compiled.

  Attributes:
    known: bytes, or infinity where not even compiling had room.
  """

  def __init__(self, need: Callable[[int], int | None], budget: int):
    self._need, self._budget = need, budget
    self.known: dict[int, float] = {}
    self.unknown = False

  def fits(self, size: int) -> bool:
    """Whether a program has room, which is compiled for it once."""
    if size not in self.known:
      try:
        found = self._need(size)
      except memory.OutOfMemoryError:
        self.known[size] = float('inf')
      else:
        self.unknown = self.unknown or found is None
        self.known[size] = found or 0
    return self.known[size] <= self._budget

  @property
  def best(self) -> int:
    """The largest that has been seen to fit; 1 where none has."""
    return max((size for size in self.known if self.fits(size)), default=1)

  def guess(self, most: int) -> int:
    """What is to be tried next, or `best` where nothing is.

    By the line through the two largest that are known; where one has not fitted, at least half way
    to it, for the line may bend.
    """
    best = self.best
    bad = min((size for size in self.known if not self.fits(size)), default=most + 1)
    between = [size for size in sizes(most) if best < size < bad]
    told = sorted(size for size, bytes_ in self.known.items() if bytes_ != float('inf'))[-2:]
    on_line = [size for size in between if size <= self._line(*told)] if len(told) == 2 else []
    half_way = between[len(between) // 2 :][:1] if bad <= most else []
    return max([best, *on_line, *half_way])

  def _line(self, low: int, high: int) -> float:
    """Where the line through two sizes reaches what there is."""
    each = max((self.known[high] - self.known[low]) / (high - low), 1.0)
    return high + (self._budget - self.known[high]) / each


def _searched(probes: _Probes, most: int, room: memory.Room) -> Fit:
  for size in sizes(min(most, 2)):
    if not probes.fits(size):
      break
  for _ in range(_MOST_COMPILED - 2):
    guess = probes.guess(most)
    if guess in probes.known:
      break
    probes.fits(guess)
  if probes.unknown:
    size = max(sizes(min(_WITHOUT_ROOM, most)))
    return Fit(size, 'as the compiler does not say what memory programs need')
  size, free = probes.best, f'{memory.shown(room.free)} of {room.of} are free'
  if not probes.fits(size):
    return Fit(size, f'and even that is doubtful: {free}')
  why = f'needs {memory.shown(probes.known[size])}, {free}'
  if size == max(sizes(most)):
    return Fit(size, f'{why}, and more have no use')
  return Fit(size, why)


def _stated(settings: _Settings, kind: schema.Kind) -> Fit | None:
  """What the run has been made with so far, be it by other shards; None where it begins."""
  for folder in dict.fromkeys((settings.folder, *relatives.folders_of(settings.whole))):
    with contextlib.suppress(results.WorkdirError):
      size = pieces.read_config(folder, kind)['flags'].get('batch_size')
      if type(size) is int and size > 0:
        return Fit(size, f'as {folder / "config.json"} states')
  return None


def _settled(settings: _S, fit: Fit | None) -> _S:
  if fit is None:
    return settings
  STDERR.say(f'batch_size={AUTO}: {fit.size}, {fit.why}')
  return dataclasses.replace(settings, batch_size=fit.size)


def kept(settings: _S, kind: schema.Kind) -> _S:
  """The settings with what their run states in the place of `AUTO`; as they are where it begins.

  Args:
    settings: of a program that makes runs.
    kind: of the program.
  """
  return _settled(settings, _stated(settings, kind) if settings.batch_size == AUTO else None)


def resolved(
  settings: _S,
  kind: schema.Kind,
  dataset: data.Dataset,
  device: jax.Device,
  need: Callable[[_S, tuple[int, int]], int | None],
) -> _S:
  """The settings with a batch size in the place of `AUTO`, which is said.

  A run that has begun keeps its own, and shards take that of those that lie beside them.

  Args:
    settings: of a program that makes runs.
    kind: of the program.
    dataset: all its instances.
    device: on which batches are measured.
    need: (settings with a number, canvas) -> bytes that their programs take at most.
  """
  settings = kept(settings, kind)
  if settings.batch_size != AUTO:
    return settings
  canvas, most = most_on(dataset)
  sized = lambda size: dataclasses.replace(settings, batch_size=size)
  return _settled(settings, largest(device, lambda size: need(sized(size), canvas), most))
