"""Clicks as maps: anti-aliased disks that a gradient passes through, exact disks, distances."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from tetris_jax.types import NEGATIVE, POSITIVE, Clicks

__all__ = ['distance_maps', 'hard_disks', 'soft_disks']


def soft_disks(clicks: Clicks, height: int, width: int, radius: float) -> jax.Array:
  """Anti-aliased disks: of every pixel's square the share that the disk covers.

  Clicks of one label are summed and clipped to 1. Differentiable in `clicks.yx` (forward mode as
  well as reverse, once); only pixels that the rim crosses have a slope.

  Args:
    clicks: yx (num_slots, 2) in pixels of the map, label (num_slots,); empty slots draw nothing.
    height: of the map.
    width: of the map.
    radius: in pixels of the map; a Python number.

  Returns:
    (2, height, width) float32 in [0, 1], positive clicks first.
  """
  yx, label = map(jnp.asarray, clicks.checked())
  reach = math.floor(radius + 0.5)
  step = jnp.arange(-reach, reach + 2, dtype=jnp.int32)
  # Far clicks are brought near only for indexing; their disks lie outside either way.
  limit = jnp.array([height, width], jnp.float32) + 2 * reach
  start = jnp.clip(jnp.floor(lax.stop_gradient(yx)), -2.0 * reach - 2, limit[None, :])
  pixel = start.astype(jnp.int32)[:, :, None] + step[None, None, :]
  channel = jnp.where(label == POSITIVE, 0, jnp.where(label == NEGATIVE, 1, jnp.int32(2)))
  return _drawn(yx, pixel, channel, height, width, radius)


def _at(pixel: jax.Array, channel: jax.Array, height: int, width: int) -> tuple[jax.Array, ...]:
  """Indices of the pixels around each click, (num_slots, rows, columns) when broadcast."""
  row, column = pixel[:, 0, :, None], pixel[:, 1, None, :]
  # Negative indices would wrap; past the end they are dropped.
  row, column = jnp.where(row < 0, height, row), jnp.where(column < 0, width, column)
  return channel[:, None, None], row, column


def _borders(yx: jax.Array, pixel: jax.Array) -> jax.Array:
  """Borders of the pixels around each click, relative to it: (num_slots, 2, pixels + 1)."""
  border = jnp.concatenate([pixel, pixel[..., -1:] + 1], axis=-1).astype(jnp.float32) - 0.5
  return border - yx[:, :, None]


def _summed(
  yx: jax.Array, pixel: jax.Array, channel: jax.Array, height: int, width: int, radius: float
) -> jax.Array:
  disks = jax.vmap(lambda border: _coverage(border[0], border[1], radius))(_borders(yx, pixel))
  maps = jnp.zeros((2, height, width), jnp.float32)
  return maps.at[_at(pixel, channel, height, width)].add(disks, mode='drop')


@functools.partial(jax.custom_jvp, nondiff_argnums=(3, 4, 5))
def _drawn(
  yx: jax.Array, pixel: jax.Array, channel: jax.Array, height: int, width: int, radius: float
) -> jax.Array:
  return jnp.minimum(_summed(yx, pixel, channel, height, width, radius), 1)


@_drawn.defjvp
def _drawn_jvp(height: int, width: int, radius: float, at: Any, moved: Any) -> Any:
  # Of use to a gradient: nothing as large as the maps is kept or gone through, only the few pixels
  # around the clicks. And the functions that an area consists of have infinite slopes.
  yx, pixel, channel = at
  place = _at(pixel, channel, height, width)
  total = _summed(yx, pixel, channel, height, width, radius)
  free = total.at[place].get(mode='fill', fill_value=1) < 1
  slope = jax.vmap(lambda border: _slope(border[0], border[1], radius))(_borders(yx, pixel))
  change = jnp.einsum('skhw,sk->shw', slope, moved[0], precision='highest')
  change = jnp.zeros_like(total).at[place].add(jnp.where(free, change, 0), mode='drop')
  return jnp.minimum(total, 1), change


def _inner(corners: jax.Array) -> jax.Array:
  """(rows + 1, columns + 1), integrals up to the corners of pixels -> (rows, columns) of pixels."""
  across = corners[:, 1:] - corners[:, :-1]
  return across[1:] - across[:-1]


def _half_chord(t: jax.Array, radius: float) -> jax.Array:
  """Half of the disk's chord at distance t from its centre."""
  # As a product: the root would make 1e-3 of what a difference of squares leaves at the end.
  return jnp.sqrt(jnp.maximum((radius - t) * (radius + t), 0))


def _coverage(y: jax.Array, x: jax.Array, radius: float) -> jax.Array:
  """Areas of pixels inside of a disk about the origin.

  The area up to a corner, {Y <= y, X <= x}, consists of a function of y, the same of x, and their
  product; that of a pixel follows from its four corners.

  Args:
    y: (rows + 1,) borders of rows.
    x: (columns + 1,) borders of columns.
    radius: of the disk.

  Returns:
    (rows, columns) in [0, 1].
  """

  def strip(t: jax.Array) -> jax.Array:  # the area with Y < 0 and 0 < X < t, odd in t
    return 0.5 * (t * _half_chord(t, radius) + radius**2 * jnp.arcsin(t / radius))

  row, column = jnp.clip(y, -radius, radius)[:, None], jnp.clip(x, -radius, radius)[None, :]
  below, left = strip(row), strip(column)
  quarter = math.pi * radius**2 / 4
  corner = quarter + below + left + row * column
  # Outside of the disk, the two lines of a corner do not meet within it.
  below, left = 2 * (quarter + below), 2 * (quarter + left)
  high = jnp.where(column < 0, left, below + left - 4 * quarter)
  cut = jnp.where(row < 0, jnp.where(column < 0, 0.0, below), high)
  share = _inner(jnp.where(row**2 + column**2 < radius**2, corner, cut))

  # Differences of float32 areas are off by 1e-5; the disk's inside and outside are not.
  near, far = (
    jnp.square(ends(y))[:, None] + jnp.square(ends(x))[None, :]
    for ends in (
      lambda t: jnp.maximum(jnp.maximum(t[:-1], -t[1:]), 0),
      lambda t: jnp.maximum(-t[:-1], t[1:]),
    )
  )
  share = jnp.where(far <= radius**2, 1.0, jnp.clip(share, 0, 1))
  return jnp.where(near >= radius**2, 0.0, share)


def _slope(y: jax.Array, x: jax.Array, radius: float) -> jax.Array:
  """Derivative of `_coverage` as the disk moves: (2, rows, columns) along y and x.

  What a pixel gains is what its sides have of their length inside of the disk: that of the side
  which is moved over less that of the opposite one.
  """
  along_y, along_x = _half_chord(y, radius)[:, None], _half_chord(x, radius)[None, :]
  sides_y = jnp.clip(x[None, :], -along_y, along_y)
  sides_x = jnp.clip(y[:, None], -along_x, along_x)
  return -jnp.stack([_inner(sides_y), _inner(sides_x)])


def hard_disks(clicks: Clicks, height: int, width: int, radius: float) -> jax.Array:
  """1 where the squared distance to the nearest click is at most radius^2, else 0.

  Args:
    clicks: yx (num_slots, 2) in pixels of the map, label (num_slots,); empty slots draw nothing.
    height: of the map.
    width: of the map.
    radius: in pixels of the map.

  Returns:
    (2, height, width) float32, positive clicks first.
  """
  return (_nearest_squared(clicks, height, width) <= radius**2).astype(jnp.float32)


def distance_maps(
  clicks: Clicks, height: int, width: int, *, norm_radius: float = 260.0
) -> jax.Array:
  """`tanh(2 d / norm_radius)` with d the distance to the nearest click; 1 without a click.

  Args:
    clicks: yx (num_slots, 2) in pixels of the map, label (num_slots,); empty slots count nothing.
    height: of the map.
    width: of the map.
    norm_radius: in pixels of the map; 260 in the published models.

  Returns:
    (2, height, width) float32 in [0, 1], positive clicks first.
  """
  return jnp.tanh(2 * jnp.sqrt(_nearest_squared(clicks, height, width)) / norm_radius)


def _nearest_squared(clicks: Clicks, height: int, width: int) -> jax.Array:
  yx, label = map(jnp.asarray, clicks.checked())
  vertical = jnp.square(jnp.arange(height, dtype=jnp.float32)[None, :] - yx[:, 0, None])
  horizontal = jnp.square(jnp.arange(width, dtype=jnp.float32)[None, :] - yx[:, 1, None])
  here = label[None, :] == jnp.array([POSITIVE, NEGATIVE], jnp.int32)[:, None]
  vertical = jnp.where(here[:, :, None], vertical[None], jnp.inf)
  # Click by click: XLA's CPU reduction over the slots is 30x slower (11 ms for 20 at 400x400).
  nearest = jnp.full((2, height, width), jnp.inf, jnp.float32)
  for slot in range(label.shape[0]):
    squared = vertical[:, slot, :, None] + horizontal[slot][None, None, :]
    nearest = jnp.minimum(nearest, squared)
  return nearest
