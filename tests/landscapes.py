"""Click models whose extremes are known, for tests of searches and of the rounds around them."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

import tetris_jax
from tetris_jax import types

SIDE = 24
NEEDLE = (16, 17)


def needle(counter=None):
  """Marks the left half of the object, but all of it for a click near the needle.

  The object is the square of rows and columns 4 to 19. A click in the top two rows marks only a
  quarter. The picture is dark where the needle is. Nothing else matters, and no gradient does.
  """

  def encode(params, image, size):
    del params, size
    if counter is not None:
      counter.append(1)
    return image[..., 0]

  def init(params, features):
    del params, features
    return jnp.zeros((), jnp.int32)

  def decode(params, context, clicks):
    features, rounds = context
    newest = jnp.maximum(jnp.sum(clicks.label >= 0) - 1, 0)
    y, x = clicks.yx[newest]
    row = jnp.arange(features.shape[0])[:, None]
    column = jnp.arange(features.shape[1])[None]
    hit = (jnp.abs(y - NEEDLE[0]) <= 1) & (jnp.abs(x - NEEDLE[1]) <= 1)
    right = jnp.where(hit, 20, jnp.where(y <= 5, 8, 12))
    marked = (row >= 4) & (row < 20) & (column >= 4) & (column < right)
    return jnp.where(marked, 1.0, -1.0) * params['scale'], rounds + 1

  info = types.ModelInfo('needle')
  return types.Segmenter(encode, init, decode, {'scale': np.float32(3)}, info)


def batch_of(canvas=(SIDE, SIDE), count=1):
  """The picture on a canvas, several times."""
  mask = np.zeros((count, *canvas), bool)
  mask[:, 4:20, 4:20] = True
  image = np.zeros((count, *canvas, 3), np.float32)
  image[:, :SIDE, :SIDE] = 0.7
  image[:, NEEDLE[0] - 1 : NEEDLE[0] + 2, NEEDLE[1] - 1 : NEEDLE[1] + 2] = 0.1
  size = np.tile(np.int32([SIDE, SIDE]), (count, 1))
  return types.Batch(image, mask, np.zeros_like(mask), size, np.arange(count, dtype=np.uint32))


def run(config, batch, **options):
  """The attack on `needle`, jitted."""
  attack = jax.jit(lambda batch: tetris_jax.attack(needle(), batch, config, **options))
  return jax.device_get(attack(batch))


def trap():
  """The lowest first click, in the top rows, gives itself away: the second click is perfect.

  One in the bottom rows is not as low, but the second is no better. Elsewhere nothing helps, so
  the robot user, who stays there, ends lower than who starts lowest.
  """

  def decode(params, context, clicks):
    features, first = context
    del params
    row = jnp.arange(features.shape[0])[:, None]
    column = jnp.arange(features.shape[1])[None]
    y = clicks.yx[0, 0]
    made = jnp.sum(clicks.label >= 0)
    top, bottom = y <= 7, y >= 17
    right = jnp.where(top, jnp.where(made > 1, 20, 6), jnp.where(bottom, 8, 14))
    marked = (row >= 4) & (row < 20) & (column >= 4) & (column < right)
    return jnp.where(marked, 3.0, -3.0), first

  return dataclasses.replace(needle(), decode=decode)


def rough():
  """What is marked depends on every click so far, and on nothing that one could foresee."""

  def decode(params, context, clicks):
    features, rounds = context
    del params
    made = clicks.label >= 0
    noise = jnp.sin(clicks.yx[:, 0] * 12.9898 + clicks.yx[:, 1] * 78.233) * 43.7
    order = jnp.arange(1.0, made.shape[0] + 1, dtype=jnp.float32)
    mixed = jnp.sum(jnp.where(made, noise * order, 0.0))
    right = 6 + jnp.floor(13 * (mixed - jnp.floor(mixed))).astype(jnp.int32)
    row = jnp.arange(features.shape[0])[:, None]
    column = jnp.arange(features.shape[1])[None]
    marked = (row >= 4) & (row < 20) & (column >= 4) & (column < right)
    return jnp.where(marked, 3.0, -3.0), rounds

  return dataclasses.replace(needle(), decode=decode)
