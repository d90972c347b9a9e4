"""What a search climbs or descends: smooth stand-ins for the overlap of prediction and mask."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from tetris_jax.types import Array

__all__ = ['dice_loss', 'soft_iou_loss']


def dice_loss(logits: Array, mask: Array, inside: Array) -> jax.Array:
  """`1 - 2 sum(p g) / (sum p + sum g + 1e-7)` with p the sigmoid of the logits, g the mask.

  Args:
    logits: (..., height, width) float32.
    mask: (..., height, width) bool.
    inside: (..., height, width) bool, the pixels that count: the image without its padding. What
      the logits hold elsewhere changes neither value nor gradient, as long as it is finite.

  Returns:
    (...) float32 in [0, 1].
  """
  intersection, predicted, wanted = _sums(logits, mask, inside)
  return 1 - 2 * intersection / (predicted + wanted + 1e-7)


def soft_iou_loss(logits: Array, mask: Array, inside: Array) -> jax.Array:
  """`1 - sum(p g) / (sum p + sum g - sum(p g) + 1e-7)`; the same arguments as `dice_loss`.

  Args:
    logits: (..., height, width) float32.
    mask: (..., height, width) bool.
    inside: (..., height, width) bool, the pixels that count.

  Returns:
    (...) float32 in [0, 1].
  """
  intersection, predicted, wanted = _sums(logits, mask, inside)
  return 1 - intersection / (predicted + wanted - intersection + 1e-7)


def _sums(logits: Array, mask: Array, inside: Array) -> tuple[jax.Array, jax.Array, jax.Array]:
  inside = jnp.asarray(inside)
  probability = jnp.where(inside, jax.nn.sigmoid(jnp.asarray(logits, jnp.float32)), 0.0)
  wanted = jnp.asarray(mask) & inside
  count = jnp.sum(wanted, axis=(-2, -1), dtype=jnp.int32).astype(jnp.float32)
  return _sum(jnp.where(wanted, probability, 0.0)), _sum(probability), count


def _sum(x: jax.Array) -> jax.Array:
  # By rows first: a running float32 sum over the whole image loses its last digits.
  return jnp.sum(jnp.sum(x, axis=-1), axis=-1)
