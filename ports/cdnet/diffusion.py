"""CDNet's pixel diffusion: the mask is averaged over pixels of alike colour, clicks held.

Chen et al., "Conditional Diffusion for Interactive Segmentation" (ICCV 2021), as released; the
affinities are those of Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels"
(arXiv 2005.08104).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

__all__ = ['diffuse']

_DILATIONS = (1, 2, 4, 8)
_STEPS = 5
# Where the mask is nearer to undecided it starts from 0.
_LEAST = 0.25
# what a click adds where its disk is 1; the mask itself is in [-1, 1]
_CLICK = 10.0


def _around(x: jax.Array) -> list[jax.Array]:
  """(h, w, ...) -> what lies around every pixel, row by row; the border is repeated outwards.

  The middle is among them, as the fifth of every nine.
  """
  height, width = x.shape[:2]
  found = []
  for reach in _DILATIONS:
    pads = [(reach, reach)] * 2 + [(0, 0)] * (x.ndim - 2)
    padded = jnp.pad(x, pads, mode='edge')
    found += [
      padded[i * reach : i * reach + height, j * reach : j * reach + width]
      for i in range(3)
      for j in range(3)
    ]
  return found


def _neighbours(x: jax.Array) -> jax.Array:
  """(h, w, ...) -> (32, h, w, ...), the middle left out."""
  return jnp.stack([near for i, near in enumerate(_around(x)) if i % 9 != 4])


def _affinities(image: jax.Array) -> jax.Array:
  """(h, w, 3) in [0, 1] -> (32, h, w) that sum to one over the first axis."""
  deviation = jnp.std(jnp.stack(_around(image)), axis=0, ddof=1)
  apart = jnp.abs(_neighbours(image) - image[None])
  return jax.nn.softmax(-jnp.mean(apart / (1e-8 + 0.1 * deviation[None]), axis=-1), axis=0)


def diffuse(image: jax.Array, logits: jax.Array, maps: jax.Array) -> jax.Array:
  """Logits after diffusion; differentiable in `logits` and in `maps`.

  With s = 2 sigmoid(logits) - 1, and s' = s where |s| > 0.25 and 0 elsewhere:
  five times the mean over 32 neighbours, weighted by how alike the colours are, of
  s' + 10 positive - 10 negative, and then + s. What comes out is taken for logits.

  Args:
    image: (h, w, 3) RGB in [0, 1], not normalised.
    logits: (h, w).
    maps: (h, w, 2), disks of the positive clicks, of the negative ones.

  Returns:
    (h, w).
  """
  weights = _affinities(image)
  mask = 2 * (jax.nn.sigmoid(logits) - 0.5)
  x = jnp.where(jnp.abs(mask) > _LEAST, mask, 0.0)
  x = x + maps[..., 0] * _CLICK - maps[..., 1] * _CLICK
  for _ in range(_STEPS):
    x = jnp.sum(weights * _neighbours(x), axis=0)
  return x + mask
