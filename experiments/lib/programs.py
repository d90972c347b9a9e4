"""Programs of one model, of one shape on every device of this process.

Whoever has a batch leases a device for it, and devices know nothing of each other: no collective,
no batch divided over them. So what a batch gives is the same bits wherever and whenever it is done.
The first device compiles a program; the others compile the same text for themselves, which on a GPU
finds in JAX's cache what the first has made, kernels that were chosen by trying them included.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

import tetris_jax
from experiments.lib import memory
from experiments.lib.progress import STDERR, Say, ticking
from tetris_jax import crowd, presets, types

__all__ = ['Programs', 'Say', 'Spent', 'attack', 'slots_for']


def attack(
  key: jax.Array,
  segmenter: types.Segmenter,
  batch: types.Batch,
  *click_maps: types.Array,
  config: presets.AttackConfig,
  rounds: tuple[int, ...] = (),
  users: crowd.Crowd | None = None,
) -> types.Trajectories:
  """`tetris_jax.attack` as a program: of the masks only those after some rounds are kept.

  Args:
    key: of users, and of a search that draws at random.
    segmenter: the model.
    batch: the instances.
    *click_maps: one array, where the users' prior reads maps.
    config: the preset.
    rounds: whose masks are kept, from 0; where there are none, `mask` is None.
    users: who clicks beside the attack.
  """
  draws = users is not None or (config.search is not None and config.search.draws)
  found = tetris_jax.attack(
    segmenter, batch, config, key=key if draws else None, users=users,
    click_maps=click_maps[0] if click_maps else None,
  )  # fmt: skip
  kept = found.mask
  if kept is not None:
    kept = kept[:, :, np.array(rounds)] if rounds else None
  return found._replace(mask=kept)


def slots_for(wanted: int, fewest: int) -> int:
  """At least so many slots: `fewest`, or twice, four times as many, so that few programs differ."""
  count = fewest
  while count < wanted:
    count *= 2
  return count


@dataclasses.dataclass
class Spent:
  """What calls have taken.

  Attributes:
    seconds: in calls, compiling aside.
    compile_seconds: on compiling.
    count: of programs compiled.
  """

  seconds: float = 0.0
  compile_seconds: float = 0.0
  count: int = 0

  def add(self, other: Spent) -> None:
    """Counts what others have taken too."""
    self.seconds += other.seconds
    self.compile_seconds += other.compile_seconds
    self.count += other.count


class _Program(NamedTuple):
  """A compiled program.

  Attributes:
    need: bytes that a call takes beside what is there; None where unknown.
    lower: for any device.
  """

  need: int | None
  lower: Callable[[_Lane], Any]


def _bare(error: Exception) -> Exception:
  """An error to be kept: without what raised it, which holds batches and programs."""
  try:
    return copy.copy(error)
  except Exception:  # Of a class that is not made from what it says.
    return error


class _Lane:
  """A device with the parameters, the key and the programs that lie on it."""

  def __init__(self, device: jax.Device, params: types.Params, key: jax.Array):
    self.device = device
    self.params, self.key = jax.device_put((params, key), device)
    self.calls: dict[Any, Callable[..., Any]] = {}


class Programs:
  """What a run calls on its devices. Threads may share it.

  Attributes:
    spent: by all calls so far.
  """

  def __init__(
    self, segmenter: types.Segmenter, seed: int, devices: Sequence[jax.Device] | None = None
  ):
    """Puts the parameters on the devices.

    Args:
      segmenter: the model.
      seed: of the key that every program is given.
      devices: of one kind; by default all of this process.
    """
    devices = jax.local_devices() if devices is None else devices
    params, key = dict(segmenter.params), jax.random.key(seed)
    self._segmenter = segmenter
    self._lanes = [_Lane(device, params, key) for device in devices]
    self._free: queue.SimpleQueue[_Lane] = queue.SimpleQueue()
    for lane in self._lanes:
      self._free.put(lane)
    # Of a thread: its lanes and what it has spent on them, the last one in use.
    self._leased = threading.local()
    self._resident = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    self._compiled: dict[Any, _Program | Exception] = {}
    self._compiling: dict[Any, threading.Lock] = {}
    self._lock = threading.Lock()
    self.spent, self._ahead = Spent(), Spent()
    self._taken = 0  # Bytes, by calls in hand.
    STDERR.say(self._stated())

  @property
  def device(self) -> jax.Device:
    """The first of them, like which all others are."""
    return self._lanes[0].device

  @property
  def devices(self) -> int:
    """How many there are, and so how many batches are worked on at once."""
    return len(self._lanes)

  def _stated(self) -> str:
    """What is known of the memory that a run needs before anything is compiled."""
    room = memory.device_room(self.device)
    free = f'{memory.shown(room.free)} of {room.of} are free' if room else 'what is free is unknown'
    return (
      f'memory: {free}; the model has {memory.shown(self._resident)}, what a batch needs beside it '
      'is said as soon as its program is compiled'
    )

  @contextlib.contextmanager
  def lease(self) -> Iterator[Spent]:
    """A device for the calls of this thread, and what these take; waits until one is free.

    What was compiled ahead since the last one is part of it.
    """
    lane, held = self._free.get(), self._held()
    with self._lock:
      spent, self._ahead = self._ahead, Spent()
    held.append((lane, spent))
    try:
      yield spent
    finally:
      held.pop()
      self._free.put(lane)

  def _held(self) -> list[tuple[_Lane, Spent]]:
    if not hasattr(self._leased, 'held'):
      self._leased.held = []
    held: list[tuple[_Lane, Spent]] = self._leased.held
    return held

  def _count(self, spent: Spent) -> None:
    with self._lock:
      self.spent.add(spent)
    for _, own in self._held()[-1:]:
      own.add(spent)

  def call(
    self, say: Say, function: Callable[..., Any], batch: types.Batch, *more: Any, **static: Any
  ) -> Any:
    """Calls a function of a batch, on the leased device; without a lease on the first one.

    Args:
      say: told when a program has to be compiled, and meanwhile how long that has taken.
      function: traceable; (key, segmenter, batch, *more, **static) -> a tree of arrays with a
        leading dimension (batch,). The same object each time, for programs are found again by it.
      batch: the instances.
      *more: arrays with a leading dimension (batch,).
      **static: hashable; each has a program of its own.

    Returns:
      The result as NumPy arrays.
    """
    given = (batch, *more)
    lane = self._held()[-1][0] if self._held() else self._lanes[0]
    call, need = self._compiled_for(lane, say, function, given, static)
    start = time.perf_counter()
    try:
      with self._taking(lane, need):
        found = jax.device_get(call(lane.params, given, lane.key))
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
      if not memory.ran_out(error):
        raise
      raise self._too_little(batch, need) from error
    self._count(Spent(seconds=time.perf_counter() - start))
    return found

  @contextlib.contextmanager
  def _taking(self, lane: _Lane, need: int | None) -> Iterator[None]:
    """While a call takes memory of the first device, which is free again after it."""
    shares = self.device.platform == 'cpu' or lane is self._lanes[0]
    each = (need or 0) // self._sharing if shares else 0
    with self._lock:
      self._taken += each
    try:
      yield
    finally:
      with self._lock:
        self._taken -= each

  def ahead(
    self, say: Say, function: Callable[..., Any], batch: types.Batch, *more: Any, **static: Any
  ) -> None:
    """Compiles for the first device what `call` is going to be asked for, while others measure.

    What cannot be compiled, perhaps for want of the memory that a batch takes now, is tried again
    there. Where memory maps are few, so that other programs would have to go, nothing is done.

    Args:
      say: as of `call`.
      function: as of `call`.
      batch: arrays, or their `jax.ShapeDtypeStruct`.
      *more: likewise.
      **static: as of `call`.
    """
    if memory.crowded():
      return
    held, beside = self._held(), Spent()
    held.append((self._lanes[0], beside))
    try:
      with contextlib.suppress(Exception):
        self._compiled_for(self._lanes[0], say, function, (batch, *more), static, keep=False)
    finally:
      held.pop()
      with self._lock:
        self._ahead.add(beside)

  def need(
    self, function: Callable[..., Any], batch: types.Batch, *more: Any, **static: Any
  ) -> int | None:
    """Bytes that `call` would take beside what is there; None where the compiler does not say.

    The program is compiled and not kept, except in JAX's cache.

    Args:
      function: as of `call`.
      batch: arrays, or their `jax.ShapeDtypeStruct`.
      *more: likewise.
      **static: as of `call`.

    Raises:
      memory.OutOfMemoryError: there is none to compile it.
    """
    count, height, width = batch.mask.shape
    lower = self._lowered(function, (batch, *more), static)
    what = f'compiling for {count} picture{"s" if count > 1 else ""} up to {height} x {width}'
    try:
      with ticking(what, STDERR.say):
        compiled = lower(self._lanes[0]).compile()
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
      raise memory.explained(error, count) from error
    return self._need(compiled)

  def _need(self, compiled: Any) -> int | None:
    """Bytes that a call takes on every device that has a share in the memory of the first."""
    return memory.need_of(compiled, self._resident, self._sharing)

  @property
  def _sharing(self) -> int:
    return self.devices if self.device.platform == 'cpu' else 1

  def _compiled_for(
    self,
    lane: _Lane,
    say: Say,
    function: Callable[..., Any],
    given: Any,
    static: dict[str, Any],
    keep: bool = True,
  ) -> tuple[Callable[..., Any], int | None]:
    """The program of a call on a device, and what it needs; `keep` failures too."""
    arrays, structure = jax.tree.flatten(given)
    shapes = tuple((array.shape, str(array.dtype)) for array in arrays)
    name = function, tuple(sorted(static.items())), structure, shapes
    make = lambda: self._compile(say, lane, name, function, given, static)
    return self._on(lane, name, make, keep)

  def _on(
    self, lane: _Lane, name: Any, compile_it: Callable[[], _Program], keep: bool
  ) -> tuple[Callable[..., Any], int | None]:
    """A program on a device, and what it needs; compiled once, whoever asks for it first."""
    with self._lock:
      lock = self._compiling.setdefault(name, threading.Lock())
    with lock:
      program = self._compiled.get(name)
      if program is None:
        try:
          program = compile_it()
        except Exception as error:  # It is as broken for the next batch, and may take minutes.
          if keep:
            self._compiled[name] = _bare(error)
          raise
        self._compiled[name] = program
    if isinstance(program, Exception):
      raise _bare(program)
    call = lane.calls.get(name)
    if call is None:  # Beside the others, each for its own device.
      call = lane.calls[name] = self._built(lane, name, program.lower)
    return call, program.need

  def _built(self, lane: _Lane, name: Any, lower: Callable[[_Lane], Any], count: int = 0) -> Any:
    """Compiles a program for a device, and counts what that took."""
    if memory.crowded():
      self._let_go_of_all_but(name)
    start = time.perf_counter()
    compiled = lower(lane).compile()
    self._count(Spent(compile_seconds=time.perf_counter() - start, count=count))
    return compiled

  def _let_go_of_all_but(self, name: Any) -> None:
    """Drops other programs on all devices; those that cannot be compiled stay known."""
    for other, program in list(self._compiled.items()):
      if other != name and not isinstance(program, Exception):
        self._compiled.pop(other, None)
    for lane in self._lanes:
      for other in set(lane.calls) - {name}:
        lane.calls.pop(other, None)

  def _compile(
    self,
    say: Say,
    lane: _Lane,
    name: Any,
    function: Callable[..., Any],
    given: Any,
    static: dict[str, Any],
  ) -> _Program:
    """Compiles a program and says what it needs; raises OutOfMemoryError where that cannot be."""
    batch = given[0]
    height, width = batch.mask.shape[1:]
    lower = self._lowered(function, given, static)
    try:
      with ticking(f'compiling for pictures up to {height} x {width}', say):
        compiled = self._built(lane, name, lower, count=1)
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
      raise memory.explained(error, len(batch.size)) from error
    need = self._check(say, batch, compiled)
    lane.calls[name] = compiled
    return _Program(need, lower)

  def _check(self, say: Say, batch: types.Batch, compiled: Any) -> int | None:
    """Bytes that a program needs, which are said; raises OutOfMemoryError where they cannot be."""
    count, sharing = len(batch.size), self._sharing
    need, room = self._need(compiled), memory.device_room(self.device)
    if need is not None and room is not None:
      # It begins when those in hand have ended.
      free, most = room.free + self._taken, room.most + self._taken
      if need > most:
        raise self._too_little(batch, need)
      small = '' if need <= free else 'warning: the system may end this process: '
      batches = f'{sharing} batches' if sharing > 1 else 'a batch'
      said = f'{memory.shown(need)} for {batches} of {count}, {memory.shown(free)} are free'
      say(f'{small}memory: {said}')
    return need

  def _too_little(self, batch: types.Batch, need: int | None) -> memory.OutOfMemoryError:
    height, width = batch.mask.shape[1:]
    room = memory.device_room(self.device)
    what = f'the program for pictures up to {height} x {width}'
    return memory.too_little(what, need, room, len(batch.size))

  def _lowered(
    self, function: Callable[..., Any], given: Any, static: dict[str, Any]
  ) -> Callable[[_Lane], Any]:
    def program(params: types.Params, given: Any, key: jax.Array) -> Any:
      batch, *more = given
      return function(key, self._segmenter.with_params(params), batch, *more, **static)

    return lambda lane: jax.jit(program).lower(lane.params, given, lane.key)
