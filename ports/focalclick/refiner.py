"""FocalClick's refiner in Flax: logits of a crop, anew where it says that they should be.

Chen et al., "FocalClick: Towards Practical Interactive Image Segmentation" (arXiv 2204.02574).
Batch norms are folded.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from ports.hrnet.layers import Conv
from ports.nn import trees
from ports.nn.layers import Conv1x1, DepthwiseConv3x3
from ports.nn.resize import linear, resize
from tetris_jax.types import Params

__all__ = ['Refiner', 'apply', 'shapes']

_WIDTH = 32
# Image, positive and negative clicks, the coarse probability.
_INPUTS = 6


class Separable(nnx.Module):
  """A depthwise and a 1x1 convolution."""

  def __init__(self, rngs: nnx.Rngs):
    self.conv3x3 = DepthwiseConv3x3(_WIDTH, 1, rngs)
    self.conv1x1 = Conv1x1(_WIDTH, _WIDTH, rngs)

  def __call__(self, x: jax.Array) -> jax.Array:
    """(batch, h, w, 32) -> the same shape."""
    return jax.nn.relu(self.conv1x1(self.conv3x3(x)))


class Refiner(nnx.Module):
  """Names follow the released state dict."""

  def __init__(self, channels: int, rngs: nnx.Rngs):
    self.image_conv1 = Conv(_INPUTS, _WIDTH, rngs, stride=2)
    self.image_conv2 = Separable(rngs)
    self.image_conv3 = Separable(rngs)
    self.refine_fusion = Conv1x1(channels, _WIDTH, rngs)
    self.refine_fusion2 = Separable(rngs)
    self.refine_fusion3 = Separable(rngs)
    self.refine_pred = Conv(_WIDTH, 1, rngs)
    self.refine_trimap = Conv(_WIDTH, 1, rngs)

  def __call__(
    self, image: jax.Array, clicks: jax.Array, features: jax.Array, logits: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    """As `apply`."""
    seen = jnp.concatenate([image, clicks, jax.nn.sigmoid(logits)[..., None]], axis=-1)
    x = self.image_conv3(self.image_conv2(jax.nn.relu(self.image_conv1(seen))))
    features = jax.nn.relu(self.refine_fusion(features))
    x = x + _stretched(features, x.shape[1:3])
    x = self.refine_fusion3(self.refine_fusion2(x))
    # One resize for both maps.
    both = jnp.concatenate([self.refine_pred(x), self.refine_trimap(x)], axis=-1)
    both = _stretched(both, image.shape[1:3])
    share = jax.nn.sigmoid(both[..., 1])
    return both[..., 0] * share + logits * (1 - share), both[..., 1]


def _stretched(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
  """(batch, h, w, channels) at another (height, width), corners aligned."""
  rows, columns = (linear(n, x.shape[1 + i], align_corners=True) for i, n in enumerate(shape))
  return resize(x, rows, columns)


@functools.cache
def _definition(channels: int) -> trees.Definition[Refiner]:
  return trees.define(functools.partial(Refiner, channels), 'refiner/')


def shapes(channels: int) -> dict[str, tuple[int, ...]]:
  """Shape of every parameter by its name in the flat tree, see `ports.focalclick.weights`."""
  return dict(_definition(channels).shapes)


def apply(
  params: Params, image: jax.Array, clicks: jax.Array, features: jax.Array, logits: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Refined logits of a crop: pred * sigmoid(trimap) + logits * (1 - sigmoid(trimap)).

  Args:
    params: flat tree that holds at least the leaves of `shapes(channels)`.
    image: (batch, height, width, 3) float32 RGB in [0, 1], not normalised.
    clicks: (batch, height, width, 2), disks of positive and of negative clicks.
    features: (batch, h, w, channels) of the coarse pass, of the crop.
    logits: (batch, height, width) of the coarse pass, of the crop.

  Returns:
    Logits and trimap, (batch, height, width) each.
  """
  refiner = trees.bind(_definition(features.shape[-1]), params)
  return refiner(image, clicks, features, logits)
