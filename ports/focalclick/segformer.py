"""SegFormer's network as FocalClick builds it, in Flax.

Xie et al., "SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers"
(arXiv 2105.15203). The click maps have a patch embedding of their own, which is added between the
first and the second stage, so the finest level that the head reads has seen no click.
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
from flax import nnx

from ports.hrnet.layers import Conv
from ports.nn import trees
from ports.nn.layers import Conv1x1, DepthwiseConv3x3, PatchConv, gelu, layer_norm, norm
from ports.nn.resize import linear, resize
from tetris_jax.types import Params

__all__ = ['CONFIGS', 'Config', 'Output', 'SegFormer', 'apply', 'shapes']

# Of the norms in embeddings and behind the reduction of keys; all others have 1e-6.
_EPSILON = 1e-5


@dataclasses.dataclass(frozen=True)
class Config:
  """Sizes of one network.

  Attributes:
    widths: channels by stage; stage i works at 1 / 2**(2 + i) of the input.
    depths: blocks by stage.
    channels: of the head.
  """

  widths: tuple[int, int, int, int]
  depths: tuple[int, int, int, int]
  channels: int


CONFIGS = {
  'b0': Config((32, 64, 160, 256), (2, 2, 2, 2), 256),
  'b3': Config((64, 128, 320, 512), (3, 4, 18, 3), 512),
}

_HEADS = 1, 2, 5, 8
# Keys and values are at 1 / this of a stage's resolution.
_REDUCTIONS = 8, 4, 2, 1


class Embed(nnx.Module):
  """Patches that overlap: a convolution with a stride, and a norm."""

  def __init__(self, inputs: int, outputs: int, size: int, stride: int, rngs: nnx.Rngs):
    self.proj = Conv(inputs, outputs, rngs, size=size, stride=stride)
    self.norm = layer_norm(outputs, _EPSILON, rngs)

  def __call__(self, x: jax.Array) -> jax.Array:
    """(batch, h, w, inputs) -> (batch, ceil(h / stride), ceil(w / stride), outputs)."""
    return norm(self.proj(x), self.norm)


class Attention(nnx.Module):
  """Self-attention whose keys and values are taken at a lower resolution."""

  def __init__(self, width: int, heads: int, reduction: int, rngs: nnx.Rngs):
    self.q = nnx.Linear(width, width, rngs=rngs)
    self.kv = nnx.Linear(width, 2 * width, rngs=rngs)
    self.proj = nnx.Linear(width, width, rngs=rngs)
    self.sr = PatchConv(width, width, reduction, rngs) if reduction > 1 else None
    self.norm = layer_norm(width, _EPSILON, rngs) if reduction > 1 else None
    self.heads = heads

  def __call__(self, x: jax.Array) -> jax.Array:
    """(batch, h, w, width) -> the same shape."""
    batch, _, _, width = x.shape
    split = (batch, -1, self.heads, width // self.heads)
    query = self.q(x).reshape(split).swapaxes(1, 2)
    low = x
    if self.sr is not None and self.norm is not None:
      low = norm(self.sr(x), self.norm)
    both = self.kv(low).reshape(batch, -1, 2, *split[2:])
    key, value = jnp.transpose(both, (2, 0, 3, 1, 4))
    scores = query @ key.swapaxes(2, 3) * split[3] ** -0.5
    out = (jax.nn.softmax(scores, axis=-1) @ value).swapaxes(1, 2)
    return self.proj(out.reshape(x.shape))


class Mlp(nnx.Module):
  """Two linear layers with a depthwise convolution and a GELU between."""

  def __init__(self, width: int, rngs: nnx.Rngs):
    self.fc1 = nnx.Linear(width, 4 * width, rngs=rngs)
    self.dwconv = DepthwiseConv3x3(4 * width, 1, rngs)
    self.fc2 = nnx.Linear(4 * width, width, rngs=rngs)

  def __call__(self, x: jax.Array) -> jax.Array:
    """(batch, h, w, width) -> the same shape."""
    return self.fc2(gelu(self.dwconv(self.fc1(x))))


class Block(nnx.Module):
  """Attention and MLP, each behind a norm and beside a residual."""

  def __init__(self, width: int, heads: int, reduction: int, rngs: nnx.Rngs):
    self.norm1 = layer_norm(width, 1e-6, rngs)
    self.attn = Attention(width, heads, reduction, rngs)
    self.norm2 = layer_norm(width, 1e-6, rngs)
    self.mlp = Mlp(width, rngs)

  def __call__(self, x: jax.Array) -> jax.Array:
    """(batch, h, w, width) -> the same shape."""
    x = x + self.attn(norm(x, self.norm1))
    return x + self.mlp(norm(x, self.norm2))


class Stage(nnx.Module):
  """Blocks at one resolution."""

  def __init__(self, inputs: int, config: Config, index: int, rngs: nnx.Rngs):
    width = config.widths[index]
    size, stride = (7, 4) if index == 0 else (3, 2)
    self.embed = Embed(inputs, width, size, stride, rngs)
    self.blocks = nnx.List([
      Block(width, _HEADS[index], _REDUCTIONS[index], rngs) for _ in range(config.depths[index])
    ])
    self.norm = layer_norm(width, 1e-6, rngs)

  def __call__(self, x: jax.Array) -> jax.Array:
    """(batch, h, w, inputs) -> (batch, ceil(h / stride), ceil(w / stride), width)."""
    x = self.embed(x)
    for block in self.blocks:
      x = block(x)
    return norm(x, self.norm)


class Head(nnx.Module):
  """Joins the levels at the finest one and classifies its pixels."""

  def __init__(self, config: Config, rngs: nnx.Rngs):
    channels = config.channels
    self.linear = nnx.List([nnx.Linear(width, channels, rngs=rngs) for width in config.widths])
    self.fuse = Conv1x1(4 * channels, channels, rngs)
    self.pred = Conv1x1(channels, 1, rngs)

  def __call__(self, levels: list[jax.Array]) -> jax.Array:
    """Levels, finest first -> features (batch, h, w, channels) of the finest one.

    The reference resizes every level to the finest and convolves their concatenation, the coarsest
    first. A 1x1 convolution and a resize commute, so a level's share is made at its own resolution.
    """
    _, height, width, _ = levels[0].shape
    channels = self.pred.kernel.shape[2]
    kernels = self.fuse.kernel[0, 0].reshape(len(levels), channels, channels)[::-1]
    total = self.fuse.bias[...][None, None, None]
    for level, layer, kernel in zip(levels, self.linear, kernels, strict=True):
      share = layer(level) @ kernel
      if share.shape[1:3] != (height, width):
        rows = linear(height, share.shape[1], align_corners=False)
        share = resize(share, rows, linear(width, share.shape[2], align_corners=False))
      total = total + share
    return jax.nn.relu(total)


class SegFormer(nnx.Module):
  """The encoder, the embedding of the maps, and the head."""

  def __init__(self, config: Config, rngs: nnx.Rngs):
    self.maps = Embed(3, config.widths[0], 7, 4, rngs)
    inputs = (3, *config.widths[:3])
    self.stages = nnx.List([Stage(inputs[i], config, i, rngs) for i in range(4)])
    self.head = Head(config, rngs)

  def __call__(self, image: jax.Array, maps: jax.Array) -> Output:
    """As `apply`."""
    levels = [self.stages[0](image)]
    x = levels[0] + self.maps(maps)
    for stage in list(self.stages)[1:]:
      x = stage(x)
      levels.append(x)
    features = self.head(levels)
    return Output(self.head.pred(features)[..., 0], features, levels)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Output:
  """What the network says at a quarter of the input's resolution.

  Attributes:
    logits: (batch, h, w) float32.
    features: (batch, h, w, channels), what the logits are a 1x1 convolution of.
    levels: outputs of the stages, finest first.
  """

  logits: jax.Array
  features: jax.Array
  levels: list[jax.Array]


@functools.cache
def _definition(config: Config) -> trees.Definition[SegFormer]:
  return trees.define(functools.partial(SegFormer, config), 'segformer/')


def shapes(config: Config) -> dict[str, tuple[int, ...]]:
  """Shape of every parameter by its name in the flat tree, see `ports.focalclick.weights`."""
  return dict(_definition(config).shapes)


def apply(config: Config, params: Params, image: jax.Array, maps: jax.Array) -> Output:
  """What the network says of a batch.

  Args:
    config: of the network.
    params: flat tree that holds at least the leaves of `shapes(config)`.
    image: (batch, height, width, 3) float32 RGB, normalised; sides multiples of 32.
    maps: (batch, height, width, 3): previous mask's probability, positive, negative clicks.
  """
  return trees.bind(_definition(config), params)(image, maps)
