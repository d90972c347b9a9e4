"""DeepLab v3+ over a ResNet, for networks that read click maps, in Flax; batch norms folded.

Chen et al., "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation"
(arXiv 1802.02611), without norm and ReLU between the two convolutions of a separable one. Sofiiuk
et al., "f-BRS" (arXiv 2001.10331) first added maps of clicks behind its stem.
"""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ports.nn.convolution import Conv, point
from ports.nn.layers import DepthwiseConv3x3
from ports.nn.resize import linear, resize
from ports.nn.resnet import Config

__all__ = ['Aspp', 'Decoder', 'Head', 'Separable', 'normalised', 'stretch']

# of ImageNet, RGB in [0, 1]
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
_RATES = (12, 24, 36)
# channels that the first stage's output is projected to
_SKIP = 32


def normalised(image: jax.Array) -> jax.Array:
  """(..., 3) RGB in [0, 1] less ImageNet's mean, by its deviation."""
  lead = (1,) * (image.ndim - 1) + (-1,)
  return (image - _MEAN.reshape(lead)) / _DEVIATION.reshape(lead)


def stretch(x: jax.Array, height: int, width: int) -> jax.Array:
  """(..., h, w, channels) bilinearly to (..., height, width, channels), corners aligned."""
  return resize(
    x,
    linear(height, x.shape[-3], align_corners=True),
    linear(width, x.shape[-2], align_corners=True),
  )


class Separable(nnx.Module):
  """A 3x3 convolution of every channel by itself, then a 1x1 one with ReLU."""

  def __init__(self, inputs: int, outputs: int, rngs: nnx.Rngs):
    self.depthwise = DepthwiseConv3x3(inputs, 1, rngs)
    self.pointwise = point(inputs, outputs, rngs)

  def __call__(self, x: jax.Array) -> jax.Array:
    """(batch, h, w, inputs) -> (batch, h, w, outputs)."""
    return jax.nn.relu(self.pointwise(self.depthwise(x)))


class Head(nnx.Module):
  """Separable convolutions, then a plain 1x1 one."""

  def __init__(self, widths: tuple[int, ...], outputs: int, rngs: nnx.Rngs):
    self.steps = nnx.List([Separable(a, b, rngs) for a, b in itertools.pairwise(widths)])
    self.last = point(widths[-1], outputs, rngs)

  def __call__(self, x: jax.Array) -> jax.Array:
    """(batch, h, w, widths[0]) -> (batch, h, w, outputs)."""
    for step in self.steps:
      x = step(x)
    return self.last(x)


class Aspp(nnx.Module):
  """Convolutions of four reaches and the mean over the image, beside one another."""

  def __init__(self, inputs: int, outputs: int, rngs: nnx.Rngs):
    self.branches = nnx.List([
      point(inputs, outputs, rngs),
      *(Conv(inputs, outputs, rngs, dilation=rate) for rate in _RATES),
    ])
    self.pool = point(inputs, outputs, rngs)
    self.project = point(5 * outputs, outputs, rngs)

  def __call__(self, x: jax.Array) -> jax.Array:
    """(batch, h, w, inputs) -> (batch, h, w, outputs)."""
    found = [jax.nn.relu(branch(x)) for branch in self.branches]
    mean = jax.nn.relu(self.pool(jnp.mean(x, axis=(1, 2), keepdims=True)))
    found.append(jnp.broadcast_to(mean, found[0].shape))
    return jax.nn.relu(self.project(jnp.concatenate(found, axis=-1)))


class Decoder(nnx.Module):
  """Joins deep features, stretched, with a projection of the first stage's."""

  def __init__(self, backbone: Config, channels: int, outputs: int, rngs: nnx.Rngs):
    self.skip = point(backbone.widths[0], _SKIP, rngs)
    self.head = Head((channels + _SKIP, channels, channels), outputs, rngs)

  def __call__(self, deep: jax.Array, fine: jax.Array) -> jax.Array:
    """(batch, h / 8, ..., channels) and (batch, h / 4, ..., n) -> (batch, h / 4, ..., outputs)."""
    fine = jax.nn.relu(self.skip(fine))
    deep = stretch(deep, *fine.shape[1:3])
    return self.head(jnp.concatenate([deep, fine], axis=-1))


