"""SAM's prompt encoder in Flax: clicks to tokens, and a mask's logits to an embedding.

Source of the architecture: Kirillov et al., "Segment Anything" (arXiv 2304.02643) and its released
code, whose names the parameters have.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from ports.nn.layers import Conv1x1, gelu, layer_norm
from ports.sam.preprocess import SIDE

__all__ = ['EMBED', 'GRID', 'PromptEncoder']

EMBED = 256
"""Width of a token, and of a position of the image."""

GRID = 64
"""Positions a side, of the released models."""


class PromptEncoder(nnx.Module):
  """Clicks to tokens, and a mask's logits to an embedding of the grid's size."""

  def __init__(self, rngs: nnx.Rngs):
    self.pe_layer = nnx.Dict({'gaussian_matrix': nnx.Param(jnp.zeros((2, EMBED // 2)))})
    self.point_embeddings = nnx.List([nnx.Embed(1, EMBED, rngs=rngs) for _ in range(4)])
    self.not_a_point_embed = nnx.Embed(1, EMBED, rngs=rngs)
    self.no_mask_embed = nnx.Embed(1, EMBED, rngs=rngs)
    downscaling: dict[str, Any] = {
      '0': nnx.Conv(1, 4, (2, 2), (2, 2), padding='VALID', rngs=rngs),
      '1': layer_norm(4, 1e-6, rngs),
      '3': nnx.Conv(4, 16, (2, 2), (2, 2), padding='VALID', rngs=rngs),
      '4': layer_norm(16, 1e-6, rngs),
      '6': Conv1x1(16, EMBED, rngs),
    }
    self.mask_downscaling = nnx.Dict(downscaling)

  def encode_position(self, unit: jax.Array) -> jax.Array:
    """(..., 2) (x, y) in [0, 1] of the frame -> (..., 256) random Fourier features."""
    angle = 2 * math.pi * ((2 * unit - 1) @ self.pe_layer['gaussian_matrix'][...])
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)

  def grid_position(self, side: int = GRID) -> jax.Array:
    """(side * side, 256) encoding of the grid's cell centres, row by row."""
    centre = (jnp.arange(side, dtype=jnp.float32) + 0.5) / side
    y, x = jnp.meshgrid(centre, centre, indexing='ij')
    return self.encode_position(jnp.stack([x, y], axis=-1)).reshape(-1, EMBED)

  def encode_clicks(self, xy: jax.Array, label: jax.Array, side: int = SIDE):
    """Clicks to tokens; the padding point that SAM appends comes last.

    Args:
      xy: (k, 2) float32, (x, y) in pixels of the frame.
      label: (k,) int32: 1, 0, or -1 for an empty slot.
      side: of the frame, in pixels.

    Returns:
      (k + 1, 256) tokens and (k + 1,) bool, those that exist.
    """
    kind = jnp.where(
      (label == 1)[:, None],
      self.point_embeddings[1].embedding[...],
      self.point_embeddings[0].embedding[...],
    )
    points = self.encode_position((xy + 0.5) / side) + kind
    tokens = jnp.concatenate([points, self.not_a_point_embed.embedding[...]])
    return tokens, jnp.append(label >= 0, True)

  def encode_mask(self, logits: jax.Array) -> jax.Array:
    """(4 * side, 4 * side) logits -> (side * side, 256)."""
    down = self.mask_downscaling
    x = gelu(down['1'](down['0'](logits[None, :, :, None])))
    x = gelu(down['4'](down['3'](x)))
    return down['6'](x).reshape(-1, EMBED)
