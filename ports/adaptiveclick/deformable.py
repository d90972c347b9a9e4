"""Deformable attention over several resolutions, in plain JAX.

Zhu et al., "Deformable DETR" (arXiv 2010.04159): every token looks at a few places of every level,
whose offsets and weights it computes from itself.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

__all__ = ['DeformableAttention', 'places', 'sample']

Sizes = tuple[tuple[int, int], ...]


def places(sizes: Sizes) -> np.ndarray:
  """(tokens, 2) (x, y) in [0, 1], the pixel centres of all levels, one level after the other."""
  found = []
  for height, width in sizes:
    y, x = np.meshgrid(
      (np.arange(height, dtype=np.float32) + 0.5) / height,
      (np.arange(width, dtype=np.float32) + 0.5) / width,
      indexing='ij',
    )
    found.append(np.stack([x, y], axis=-1).reshape(-1, 2))
  return np.concatenate(found).astype(np.float32)


def sample(value: jax.Array, xy: jax.Array, weight: jax.Array) -> jax.Array:
  """Weighted sum of bilinear samples of one level; outside of it there are zeros.

  Args:
    value: (h, w, heads, size).
    xy: (tokens, heads, points, 2), (x, y) as fractions of the level: 0 and 1 are its outer edges.
    weight: (tokens, heads, points).

  Returns:
    (tokens, heads, size).
  """
  height, width, heads, _ = value.shape
  at = xy * jnp.array([width, height], jnp.float32)[None, None, None] - 0.5
  low = jnp.floor(at)
  part = at - low
  low = low.astype(jnp.int32)
  head = jnp.arange(heads, dtype=jnp.int32)[None, :, None]
  total = jnp.zeros((), jnp.float32)
  for j in range(2):
    for i in range(2):
      x, y = low[..., 0] + i, low[..., 1] + j
      inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
      share = (part[..., 0] if i else 1 - part[..., 0]) * (part[..., 1] if j else 1 - part[..., 1])
      share = jnp.where(inside, share * weight, 0.0)
      near = value.at[jnp.clip(y, 0, height - 1), jnp.clip(x, 0, width - 1), head].get(
        mode='promise_in_bounds'
      )
      total = total + jnp.einsum('thp,thpc->thc', share, near, precision='highest')
  return total


class DeformableAttention(nnx.Module):
  """Of tokens of several levels among themselves."""

  def __init__(self, width: int, heads: int, levels: int, points: int, rngs: nnx.Rngs):
    count = heads * levels * points
    self.sampling_offsets = nnx.Linear(width, 2 * count, rngs=rngs)
    self.attention_weights = nnx.Linear(width, count, rngs=rngs)
    self.value_proj = nnx.Linear(width, width, rngs=rngs)
    self.output_proj = nnx.Linear(width, width, rngs=rngs)
    self.heads = heads
    self.points = points

  def __call__(self, query: jax.Array, source: jax.Array, sizes: Sizes) -> jax.Array:
    """Tokens with and without positions, level after level -> tokens.

    Args:
      query: (tokens, width), which the places and weights are computed from.
      source: (tokens, width), which is sampled.
      sizes: (height, width) of the levels.

    Returns:
      (tokens, width).
    """
    tokens, width = query.shape
    shape = (tokens, self.heads, len(sizes), self.points)
    offsets = self.sampling_offsets(query).reshape(*shape, 2)
    weights = self.attention_weights(query).reshape(tokens, self.heads, -1)
    weights = jax.nn.softmax(weights, axis=-1).reshape(shape)
    value = self.value_proj(source).reshape(tokens, self.heads, width // self.heads)
    centres = jnp.asarray(places(sizes))[:, None, None]
    total, start = jnp.zeros((), jnp.float32), 0
    for level, (rows, columns) in enumerate(sizes):
      here = value[start : start + rows * columns].reshape(rows, columns, self.heads, -1)
      start += rows * columns
      pixels = jnp.array([columns, rows], jnp.float32)[None, None, None]
      xy = centres + offsets[:, :, level] / pixels
      total = total + sample(here, xy, weights[:, :, level])
    return self.output_proj(total.reshape(tokens, width))
