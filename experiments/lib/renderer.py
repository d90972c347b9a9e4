"""Time and memory of drawing clicks as maps, for `experiments.bench --suite=renderer`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lib import timing
from tetris_jax import types
from tetris_jax.geometry import render

__all__ = ['measure']

# Network pixels, of every click-map model here.
_RADIUS = 5.0


def _clicks(num_trajectories: int, num_clicks: int, side: int) -> types.Clicks:
  rng = np.random.default_rng(0)
  yx = rng.uniform(0, side, (num_trajectories, num_clicks, 2)).astype(np.float32)
  return types.Clicks(yx, rng.integers(0, 2, yx.shape[:2], np.int32))


def measure(
  repeats: int, *, side: int = 400, num_clicks: int = 20, num_trajectories: int = 64
) -> dict[str, Any]:
  """Rates of each kind of map, all trajectories in one program.

  Args:
    repeats: timed calls of each program.
    side: of the square maps.
    num_clicks: of a trajectory, all positions drawn at random.
    num_trajectories: drawn together.

  Returns:
    By name: seconds of a call that draws all maps; for soft disks also of a weighted sum of the
    maps with its gradient towards all clicks; and what each program needs of memory beside its
    arguments and its results. `maps_mib` is what the maps themselves take.
  """
  clicks = _clicks(num_trajectories, num_clicks, side)
  weight = np.random.default_rng(1).normal(size=(2, side, side)).astype(np.float32)

  def forward(draw: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    return jax.vmap(lambda yx, label: draw(types.Clicks(yx, label), side, side))

  def total(yx: jax.Array, label: jax.Array, weight: jax.Array) -> jax.Array:
    return jnp.sum(soft(types.Clicks(yx, label), side, side) * weight)

  soft = functools.partial(render.soft_disks, radius=_RADIUS)
  hard = functools.partial(render.hard_disks, radius=_RADIUS)
  programs = {
    'soft_disks_forward': (forward(soft), clicks),
    'soft_disks_value_and_grad': (
      jax.vmap(jax.value_and_grad(total), (0, 0, None)), (*clicks, weight)
    ),
    'hard_disks_forward': (forward(hard), clicks),
    'distance_maps_forward': (forward(render.distance_maps), clicks),
  }
  found: dict[str, Any] = {
    'side': side,
    'num_clicks': num_clicks,
    'num_trajectories': num_trajectories,
    'maps_mib': round(num_trajectories * 2 * side**2 * 4 / 2**20, 1),
  }
  for name, (program, args) in programs.items():
    seconds, facts, _ = timing.timed(program, args, repeats)
    found[name] = {'seconds': round(seconds, 6)} | facts
  return found | timing.peak_mib()
