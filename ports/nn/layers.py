"""Layers that match PyTorch to rounding error, written for speed where XLA's own are slow.

Images are channels last and may have leading batch axes: (..., height, width, channels).
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
from flax import nnx

__all__ = [
  'Conv1x1',
  'DepthwiseConv3x3',
  'ImageNorm',
  'PatchConv',
  'UpConv2x2',
  'gelu',
  'layer_norm',
  'norm',
]


@jax.custom_jvp
def gelu(x: jax.Array) -> jax.Array:
  """x * Phi(x) with the exact normal distribution function, torch's default.

  The derivative is written out, so that one array is kept for a backward pass, not five.
  """
  return x * (0.5 + 0.5 * jax.lax.erf(x * 0.5**0.5))


@gelu.defjvp
def _gelu_jvp(primals, tangents):
  (x,), (change,) = primals, tangents
  cumulative = 0.5 + 0.5 * jax.lax.erf(x * 0.5**0.5)
  density = jnp.exp(-0.5 * x * x) * (2 * math.pi) ** -0.5
  return x * cumulative, (cumulative + x * density) * change


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _standardise(x: jax.Array, epsilon: float) -> jax.Array:
  centred = x - jnp.mean(x, axis=-1, keepdims=True)
  variance = jnp.mean(centred * centred, axis=-1, keepdims=True)
  return centred * jax.lax.rsqrt(variance + epsilon)


@_standardise.defjvp
def _standardise_jvp(epsilon, primals, tangents):
  (x,), (change,) = primals, tangents
  centred = x - jnp.mean(x, axis=-1, keepdims=True)
  variance = jnp.mean(centred * centred, axis=-1, keepdims=True) + epsilon
  y = centred * jax.lax.rsqrt(variance)
  # Divided here, multiplied above: as one shared factor XLA's CPU backend would write the
  # deviation out for every element and read it back.
  change = (change - jnp.mean(change, axis=-1, keepdims=True)) / jnp.sqrt(variance)
  return y, change - y * jnp.mean(y * change, axis=-1, keepdims=True)


def norm(x: jax.Array, parameters: nnx.LayerNorm) -> jax.Array:
  """What `parameters(x)` gives, with a derivative that keeps two arrays and takes two means.

  Args:
    x: (..., width).
    parameters: scale and bias (width,), as `layer_norm` makes them.

  Returns:
    (..., width).
  """
  scale, bias = parameters.scale, parameters.bias
  assert scale is not None and bias is not None
  lead = (1,) * (x.ndim - 1) + (-1,)
  y = _standardise(x, parameters.epsilon)
  return y * scale[...].reshape(lead) + bias[...].reshape(lead)


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


class PatchConv(nnx.Module):
  """Convolution whose stride is its size, with bias; kernel (size, size, in, out).

  As one matrix product over patches. Rows and columns that fill no whole patch are left out, as
  a convolution without padding leaves them.
  """

  def __init__(self, inputs: int, outputs: int, size: int, rngs: nnx.Rngs):
    init = nnx.initializers.lecun_normal()
    self.kernel = nnx.Param(init(rngs.params(), (size, size, inputs, outputs)))
    self.bias = nnx.Param(jnp.zeros((outputs,)))

  def __call__(self, x: jax.Array) -> jax.Array:
    """(..., h, w, in) -> (..., h // size, w // size, out)."""
    size, _, inputs, outputs = self.kernel.shape
    lead, rows, columns = x.shape[:-3], x.shape[-3] // size, x.shape[-2] // size
    x = x[..., : rows * size, : columns * size, :]
    x = x.reshape(*lead, rows, size, columns, size, inputs).swapaxes(-4, -3)
    x = x.reshape(*lead, rows, columns, size * size * inputs)
    bias = self.bias[...].reshape((1,) * (x.ndim - 1) + (-1,))
    return x @ self.kernel[...].reshape(-1, outputs) + bias


class UpConv2x2(nnx.Module):
  """Transposed convolution of size 2 and stride 2 with bias; kernel (2, 2, out, in), unflipped.

  As one matrix product: no two pixels of the input touch the same pixel of the output.
  """

  def __init__(self, inputs: int, outputs: int, rngs: nnx.Rngs):
    init = nnx.initializers.lecun_normal()
    self.kernel = nnx.Param(init(rngs.params(), (2, 2, outputs, inputs)))
    self.bias = nnx.Param(jnp.zeros((outputs,)))

  def __call__(self, x: jax.Array) -> jax.Array:
    """(..., h, w, in) -> (..., 2 h, 2 w, out)."""
    *lead, height, width, inputs = x.shape
    outputs = self.kernel.shape[2]
    x = x @ self.kernel[...].reshape(4 * outputs, inputs).T
    x = x.reshape(*lead, height, width, 2, 2, outputs).swapaxes(-4, -3)
    x = x.reshape(*lead, 2 * height, 2 * width, outputs)
    return x + self.bias[...].reshape((1,) * (x.ndim - 1) + (-1,))


class ImageNorm(nnx.Module):
  """Norm of an image over its pixels and channels at once: torch's GroupNorm with one group.

  Epsilon is 1e-5, torch's default; scale and bias are per channel.
  """

  def __init__(self, channels: int, rngs: nnx.Rngs):
    del rngs
    self.scale = nnx.Param(jnp.ones((channels,)))
    self.bias = nnx.Param(jnp.zeros((channels,)))

  def __call__(self, x: jax.Array) -> jax.Array:
    """(..., h, w, channels) -> the same shape."""
    y = _standardise(x.reshape(*x.shape[:-3], -1), 1e-5).reshape(x.shape)
    lead = (1,) * (x.ndim - 1) + (-1,)
    return y * self.scale[...].reshape(lead) + self.bias[...].reshape(lead)
