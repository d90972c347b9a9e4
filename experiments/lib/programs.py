"""Programs of one model, each compiled once per shape, on all devices of this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import tetris_jax
from experiments.lib.progress import Say, ticking
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
    self._compiled: dict[Any, Callable[..., Any]] = {}
    self.seconds = 0.0
    self.compile_seconds = 0.0
    self.count = 0

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
      height, width = batch.mask.shape[1:]
      start = time.perf_counter()
      with ticking(f'compiling for pictures up to {height} x {width}', say):
        self._compiled[name] = self._lowered(function, static, given).compile()
      self.compile_seconds += time.perf_counter() - start
      self.count += 1
    start = time.perf_counter()
    found = jax.device_get(self._compiled[name](self._params, given, self._key))
    self.seconds += time.perf_counter() - start
    return found

  def _lowered(self, function: Callable[..., Any], static: dict[str, Any], given: Any) -> Any:
    def program(params: types.Params, given: Any, key: jax.Array) -> Any:
      batch, *more = given
      return function(key, self._segmenter.with_params(params), batch, *more, **static)

    divided = jax.jit(mesh.over_devices(program, self._devices))
    return divided.lower(self._params, given, self._key)
