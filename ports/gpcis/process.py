"""A Gaussian process over an image's features, conditioned on what the clicks say.

Zhou et al., "Interactive Segmentation as Gaussian Process Classification" (CVPR 2023): a draw of
the prior by random Fourier features, corrected at every pixel through the inverse of the clicks'
covariance (Wilson et al., "Efficiently Sampling Functions from Gaussian Process Posteriors", arXiv
2002.09309). Clicks are few, so the system is small: one per image and set of clicks.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from tetris_jax.types import Array

__all__ = ['Prior', 'covariance', 'logits', 'pick', 'solve']

# Added to the diagonal in the released evaluation; where float32 has no solution with it (two
# clicks on one pixel) the next is taken.
_RIDGES = (1e-7, 2e-7, 1e-4)
# Rows of pixels that are computed at a time, and computed anew for a gradient: with all of them at
# once the Fourier features of one image of 384x384 pixels are 150 MB.
_ROWS = 16


class Prior(NamedTuple):
  """What is learned of the process; a feature's last three numbers are its pixel's colour.

  Attributes:
    phase: (d, num_waves), of the Fourier features sin(x @ phase + shift).
    shift: (num_waves,).
    omega: (num_waves,), their weights.
    log_scale: (d - 3,), logarithm of what squared distances are multiplied by.
    colour: () the weight of the colours' covariance.
  """

  phase: jax.Array
  shift: jax.Array
  omega: jax.Array
  log_scale: jax.Array
  colour: jax.Array


def covariance(prior: Prior, a: jax.Array, b: jax.Array) -> jax.Array:
  """exp(-sum_i s_i (a_i - b_i)^2 / 2) + colour exp(-|a' - b'|^2 / 2), of features and colours.

  Args:
    a: (n, d).
    b: (m, d).

  Returns:
    (n, m).
  """
  scale = jnp.concatenate([jnp.exp(prior.log_scale / 2), jnp.ones((3,))])
  a, b = a * scale[None], b * scale[None]
  halves = []
  for part in (slice(None, -3), slice(-3, None)):
    x, y = a[:, part], b[:, part]
    squares = jnp.sum(x * x, axis=1)[:, None] + jnp.sum(y * y, axis=1)[None]
    product = jnp.matmul(x, y.T, precision='highest')
    halves.append(jnp.exp(jnp.minimum(product - squares / 2, 0)))
  return halves[0] + prior.colour * halves[1]


def _prior(prior: Prior, x: jax.Array) -> jax.Array:
  """(n, d) -> (n,), the draw of the prior."""
  waves = jnp.sin(jnp.matmul(x, prior.phase, precision='highest') + prior.shift[None])
  return math.sqrt(2 / prior.omega.size) * (waves @ prior.omega)


def pick(
  features: jax.Array, yx: Array, label: Array, *, between: bool
) -> tuple[jax.Array, jax.Array]:
  """Features at the clicks, and which clicks count: those that are none and lie in the frame.

  Args:
    features: (h, w, d).
    yx: (num_slots, 2) in pixels.
    label: (num_slots,).
    between: bilinearly between pixels, through which a gradient reaches `yx`; otherwise those of
      the pixel that int() gives, as released. At whole numbers both are the same.

  Returns:
    (num_slots, d) and (num_slots,) bool.
  """
  yx, label = jnp.asarray(yx), jnp.asarray(label)
  size = jnp.array(features.shape[:2], jnp.float32)
  counts = (label >= 0) & jnp.all((yx >= 0) & (yx < size[None]), axis=1)
  yx = jnp.clip(yx, 0, size[None] - 1)
  low = jax.lax.stop_gradient(jnp.floor(yx))
  part = yx - low if between else jnp.zeros_like(yx)
  found = jnp.zeros((len(yx), features.shape[-1]), jnp.float32)
  for i in range(2):
    for j in range(2):
      at = (low + jnp.array([[i, j]], jnp.float32)).astype(jnp.int32)
      weight = jnp.where(jnp.array([[i, j]]) == 1, part, 1 - part).prod(axis=1)
      here = features.at[at[:, 0], at[:, 1]].get(mode='clip')
      found = found + weight[:, None] * here
  return found, counts


def solve(matrix: jax.Array, right: jax.Array, counts: jax.Array) -> jax.Array:
  """(matrix + ridge)^-1 right among the slots that count; 0 in the others.

  Args:
    matrix: (n, n) covariance.
    right: (n,).
    counts: (n,) bool.

  Returns:
    (n,) finite, differentiable in `matrix` and `right`.
  """
  both = counts[:, None] & counts[None, :]
  matrix = jnp.where(both, matrix, 0.0)
  right = jnp.where(counts, right, 0.0)

  def at(ridge: Array | float, matrix: jax.Array, right: jax.Array) -> jax.Array:
    return jnp.linalg.solve(matrix + jnp.diag(jnp.where(counts, ridge, 1.0)), right)

  fixed = jax.lax.stop_gradient((matrix, right))
  *tried, last = _RIDGES
  ridge: Array = jnp.float32(last)
  for smaller in reversed(tried):
    ridge = jnp.where(jnp.all(jnp.isfinite(at(smaller, *fixed))), smaller, ridge)
  return jnp.where(counts, at(ridge, matrix, right), 0.0)


def logits(
  prior: Prior, features: jax.Array, clicked: jax.Array, wanted: jax.Array, counts: jax.Array
) -> jax.Array:
  """The process at every pixel, given its values at the clicks.

  Args:
    prior: of the process.
    features: (h, w, d).
    clicked: (n, d), features of the clicks.
    wanted: (n,), what the process has to be there.
    counts: (n,) bool, the clicks that count.

  Returns:
    (h, w).
  """
  matrix = covariance(prior, clicked, clicked)
  update = solve(matrix, wanted - _prior(prior, clicked), counts)

  @jax.checkpoint
  def row(x: jax.Array) -> jax.Array:
    near = jnp.where(counts[None], covariance(prior, x, clicked), 0.0)
    return _prior(prior, x) + near @ update

  return jax.lax.map(row, features, batch_size=min(_ROWS, len(features)))
