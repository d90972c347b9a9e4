"""Programs of one model, each compiled once per shape, on all devices of this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

import tetris_jax
from experiments.lib import memory
from experiments.lib.progress import STDERR, Say, ticking
from tetris_jax import crowd, mesh, presets, types

__all__ = ['Programs', 'Say', 'attack']


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


class _Program(NamedTuple):
  """A compiled program.

  Attributes:
    call: the program.
    need: bytes that a call takes beside what is there; None where unknown.
  """

  call: Callable[..., Any]
  need: int | None


class Programs:
  """What a run calls on its devices.

  Attributes:
    seconds: spent in calls so far, compiling aside.
    compile_seconds: spent on compiling so far.
    count: programs compiled so far.
  """

  def __init__(self, segmenter: types.Segmenter, seed: int):
    """Puts the parameters on the devices.

    Args:
      segmenter: the model.
      seed: of the key that every program is given.
    """
    self._devices = jax.local_devices()
    self._segmenter = segmenter
    self._params = mesh.replicate(dict(segmenter.params), self._devices)
    self._key = jax.random.key(seed)
    self._resident = sum(leaf.nbytes for leaf in jax.tree.leaves(dict(segmenter.params)))
    self._compiled: dict[Any, _Program | Exception] = {}
    self.seconds = 0.0
    self.compile_seconds = 0.0
    self.count = 0
    STDERR.say(self._stated())

  def _stated(self) -> str:
    """What is known of the memory that a run needs before anything is compiled."""
    room = memory.device_room(self._devices[0])
    free = f'{memory.shown(room.free)} of {room.of} are free' if room else 'what is free is unknown'
    return (
      f'memory: {free}; the model has {memory.shown(self._resident)}, what a batch needs beside it '
      'is said as soon as its program is compiled'
    )

  def slots(self, batch_size: int) -> int:
    """The smallest batch that holds `batch_size` instances and divides over the devices."""
    return -(-batch_size // len(self._devices)) * len(self._devices)

  def call(
    self, say: Say, function: Callable[..., Any], batch: types.Batch, *more: Any, **static: Any
  ) -> Any:
    """Calls a function of a batch, each device on its own part of it.

    Args:
      say: told when a program has to be compiled, and meanwhile how long that has taken.
      function: traceable; (key, segmenter, batch, *more, **static) -> a tree of arrays with a
        leading dimension (batch,). The same object each time, for programs are found again by it.
      batch: the instances; `slots` of them or a multiple.
      *more: arrays with a leading dimension (batch,).
      **static: hashable; each has a program of its own.

    Returns:
      The result as NumPy arrays.
    """
    given = (batch, *more)
    arrays, structure = jax.tree.flatten(given)
    shapes = tuple((array.shape, str(array.dtype)) for array in arrays)
    name = function, tuple(sorted(static.items())), structure, shapes
    if name not in self._compiled:
      try:
        self._compiled[name] = self._compile(say, function, given, static)
      except Exception as error:  # It is as broken for the next batch, and may take minutes.
        self._compiled[name] = error
    program = self._compiled[name]
    if isinstance(program, Exception):
      raise program
    start = time.perf_counter()
    try:
      found = jax.device_get(program.call(self._params, given, self._key))
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
      if not memory.ran_out(error):
        raise
      raise self._too_little(batch, program.need) from error
    self.seconds += time.perf_counter() - start
    return found

  def _compile(
    self, say: Say, function: Callable[..., Any], given: Any, static: dict[str, Any]
  ) -> _Program:
    """Compiles a program and says what it needs; raises OutOfMemoryError where that cannot be."""
    batch = given[0]
    height, width = batch.mask.shape[1:]
    start = time.perf_counter()
    try:
      with ticking(f'compiling for pictures up to {height} x {width}', say):
        compiled = self._lowered(function, static, given).compile()
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
      raise memory.explained(error, len(batch.size)) from error
    self.compile_seconds += time.perf_counter() - start
    self.count += 1
    device = self._devices[0]
    sharing = len(self._devices) if device.platform == 'cpu' else 1
    need, room = memory.need_of(compiled, self._resident, sharing), memory.device_room(device)
    if need is not None and room is not None:
      if need > room.most:
        raise self._too_little(batch, need)
      small = '' if need <= room.free else 'warning: the system may end this process: '
      count = len(batch.size)
      said = f'{memory.shown(need)} for a batch of {count}, {memory.shown(room.free)} are free'
      say(f'{small}memory: {said}')
    return _Program(compiled, need)

  def _too_little(self, batch: types.Batch, need: int | None) -> memory.OutOfMemoryError:
    height, width = batch.mask.shape[1:]
    room, count = memory.device_room(self._devices[0]), len(self._devices)
    what = f'the program for pictures up to {height} x {width}'
    return memory.too_little(what, need, room, len(batch.size), count)

  def _lowered(self, function: Callable[..., Any], static: dict[str, Any], given: Any) -> Any:
    def program(params: types.Params, given: Any, key: jax.Array) -> Any:
      batch, *more = given
      return function(key, self._segmenter.with_params(params), batch, *more, **static)

    divided = jax.jit(mesh.over_devices(program, self._devices))
    return divided.lower(self._params, given, self._key)
