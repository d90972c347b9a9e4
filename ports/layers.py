"""Layers that match PyTorch to rounding error, written for speed where XLA's own are slow.

Images are channels last and may have leading batch axes: (..., height, width, channels).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

__all__ = ['Conv1x1', 'DepthwiseConv3x3', 'gelu', 'layer_norm']


def gelu(x: jax.Array) -> jax.Array:
  """x * Phi(x) with the exact normal distribution function, torch's default."""
  return 0.5 * x * (1 + jax.lax.erf(x * 0.5**0.5))


def layer_norm(width: int, epsilon: float, rngs: nnx.Rngs) -> nnx.LayerNorm:
  """Norm over the last axis; torch's LayerNorm has epsilon 1e-5, SAM's LayerNorm2d 1e-6.

  The variance is the mean squared distance from the mean: Flax's default, the difference of two
  means, loses digits where activations are large.
  """
  return nnx.LayerNorm(width, epsilon=epsilon, use_fast_variance=False, rngs=rngs)


class Conv1x1(nnx.Module):
  """Convolution of one pixel with bias, as a matrix product; kernel (1, 1, in, out)."""

  def __init__(self, inputs: int, outputs: int, rngs: nnx.Rngs):
    init = nnx.initializers.lecun_normal()
    self.kernel = nnx.Param(init(rngs.params(), (1, 1, inputs, outputs)))
    self.bias = nnx.Param(jnp.zeros((outputs,)))

  def __call__(self, x: jax.Array) -> jax.Array:
    """(..., in) -> (..., out)."""
    bias = self.bias[...].reshape((1,) * (x.ndim - 1) + (-1,))
    return x @ self.kernel[0, 0] + bias


class DepthwiseConv3x3(nnx.Module):
  """3x3 convolution of every channel by itself, padding 1, with bias; kernel (3, 3, 1, channels).

  As nine shifted multiply-adds: on CPU an order of magnitude faster than XLA's grouped
  convolution.
  """

  def __init__(self, channels: int, stride: int, rngs: nnx.Rngs):
    init = nnx.initializers.lecun_normal()
    self.kernel = nnx.Param(init(rngs.params(), (3, 3, 1, channels)))
    self.bias = nnx.Param(jnp.zeros((channels,)))
    self.stride = stride

  def __call__(self, x: jax.Array) -> jax.Array:
    """(..., h, w, channels) -> (..., ceil(h / stride), ceil(w / stride), channels)."""
    height, width, channels = x.shape[-3:]
    aligned = (1,) * (x.ndim - 1) + (channels,)
    padded = jnp.pad(x, [(0, 0)] * (x.ndim - 3) + [(1, 1), (1, 1), (0, 0)])
    total = self.bias[...].reshape(aligned)
    for i in range(3):
      for j in range(3):
        window = padded[..., i : i + height : self.stride, j : j + width : self.stride, :]
        total = total + window * self.kernel[i, j, 0].reshape(aligned)
    return total
