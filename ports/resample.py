"""Resampling between fixed sizes as torch does it, one small matrix per axis.

A resize is linear and separable: `rows @ image @ columns.T`. The matrices are made with NumPy while
a program is traced. Places are computed in float32, because torch does so: where 512 samples become
448 its rounding of a place moves a weight by up to 3e-5, which is its answer.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ['cubic', 'linear', 'resize']


def _centres(count: int, size: int) -> np.ndarray:
  """(count,) float32, the places of new pixel centres among the old ones."""
  scale = np.float32(size) / np.float32(count)
  return scale * (np.arange(count, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5)


def linear(count: int, size: int, align_corners: bool) -> np.ndarray:
  """(count, size) float32: `size` samples, resampled bilinearly at `count` places, no antialias.

  With `align_corners` the first and last samples coincide, otherwise the outer edges of their
  pixels do; places outside the samples take the nearest one.
  """
  if align_corners:
    scale = np.float32(size - 1) / np.float32(max(count - 1, 1))
    at = scale * np.arange(count, dtype=np.float32)
  else:
    at = _centres(count, size)
  at = np.clip(at, 0, size - 1)
  weights = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(size)))
  return weights.astype(np.float32)


def cubic(count: int, size: int) -> np.ndarray:
  """(count, size) float32: the same by cubic convolution with a = -0.75, corners not aligned.

  The kernel of Keys, "Cubic convolution interpolation for digital image processing" (1981), with
  torch's parameter (`jax.image` has Keys' own, -0.5). Taps outside the samples take the nearest
  one. No antialias.
  """
  a = -0.75
  at = _centres(count, size)
  first = np.floor(at).astype(int)
  weights = np.zeros((count, size))
  for tap in range(-1, 3):
    distance = np.abs(at - (first + tap))
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = a * (((distance - 5) * distance + 8) * distance - 4)
    weight = np.where(distance <= 1, near, far)
    np.add.at(weights, (np.arange(count), np.clip(first + tap, 0, size - 1)), weight)
  return weights.astype(np.float32)


def resize(x: jax.Array, rows: np.ndarray, columns: np.ndarray) -> jax.Array:
  """(height, width, channels) -> (new height, new width, channels).

  Args:
    x: the image.
    rows: (new height, height).
    columns: (new width, width).
  """
  x = jnp.einsum('yh,hwc->ywc', rows, x)
  return jnp.einsum('xw,ywc->yxc', columns, x)
