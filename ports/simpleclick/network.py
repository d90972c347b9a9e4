"""SimpleClick's network in Flax: a plain ViT, a simple feature pyramid and a light head.

Architecture: Liu et al., "SimpleClick: Interactive Image Segmentation with Simple Vision
Transformers" (arXiv 2210.11006). The click maps have a patch embedding of their own, which is
added to the image's; so the image's part and the position table are prepared once per image, and
all that follows depends on the clicks.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ports.nn import trees
from ports.nn.layers import Conv1x1, ImageNorm, PatchConv, UpConv2x2, gelu, layer_norm, norm
from ports.nn.resize import cubic, linear, resize
from tetris_jax.types import Array, Params

__all__ = ['CONFIGS', 'Config', 'SimpleClick', 'apply', 'bind', 'decode', 'prepare', 'shapes']

# of ImageNet, RGB in [0, 1]
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
# pixels that the ViT was pre-trained on, whose tokens make one attention window
_WINDOW_PIXELS = 224


@dataclasses.dataclass(frozen=True)
class Config:
  """Sizes of one network.

  Attributes:
    width: channels of a token.
    depth: transformer blocks; a multiple of 4 and at least 8.
    heads: of the attention.
    patch: pixels along a side of a token.
    grid: tokens along a side of the square that the position table was trained for.
    pyramid: channels at 1/4, 1/8, 1/16 and 1/32 of the input (for patches of 16 pixels).
    channels: of the head at the fusion.
    upsample: how far the head enlarges the finest level before it classifies: 1, 2 or 4.
  """

  width: int
  depth: int
  heads: int
  patch: int
  grid: int
  pyramid: tuple[int, int, int, int]
  channels: int
  upsample: int = 1

  def __post_init__(self):
    depth_fits = self.depth >= 8 and self.depth % 4 == 0
    if not depth_fits or self.width % self.heads or self.upsample not in (1, 2, 4):
      raise ValueError(
        f'{self}: depth must be a multiple of 4 from 8 on, width one of heads, upsample 1, 2 or 4'
      )

  @property
  def group(self) -> int:
    """Blocks of a group; all but the last attend within windows."""
    return 6 if self.depth == 12 else self.depth // 4


CONFIGS = {
  'vit_xt': Config(160, 8, 4, 16, 28, (96, 192, 288, 384), 128),
  'vit_b': Config(768, 12, 12, 16, 28, (128, 256, 512, 1024), 256),
  'vit_l': Config(1024, 24, 16, 16, 28, (192, 384, 768, 1536), 256),
  'vit_h': Config(1280, 32, 16, 14, 32, (240, 480, 960, 1920), 256),
}
"""The published sizes, the same for COCO+LVIS and SBD; all were trained at 448 x 448 pixels."""


class Attention(nnx.Module):
  """Multi-head self-attention among the tokens of each window."""

  def __init__(self, width: int, heads: int, rngs: nnx.Rngs):
    self.qkv = nnx.Linear(width, 3 * width, rngs=rngs)
    self.proj = nnx.Linear(width, width, rngs=rngs)
    self.heads = heads

  def __call__(self, x: jax.Array) -> jax.Array:
    """(windows, tokens, width) -> the same shape."""
    windows, tokens, width = x.shape
    size = width // self.heads
    qkv = self.qkv(x).reshape(windows, tokens, 3, self.heads, size)
    query, key, value = jnp.transpose(qkv, (2, 0, 3, 1, 4))
    scores = (query * size**-0.5) @ key.swapaxes(2, 3)
    # The softmax is divided out after the product: on CPU XLA computes the exponentials anew for
    # both of its uses otherwise.
    # No gradient through the largest score: it cancels, and costs half of the backward pass.
    weights = jnp.exp(scores - jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True)))
    x = (weights @ value / weights.sum(axis=-1, keepdims=True)).swapaxes(1, 2)
    return self.proj(x.reshape(windows, tokens, width))


class Mlp(nnx.Module):
  """Two linear layers with a GELU between."""

  def __init__(self, width: int, rngs: nnx.Rngs):
    self.fc1 = nnx.Linear(width, 4 * width, rngs=rngs)
    self.fc2 = nnx.Linear(4 * width, width, rngs=rngs)

  def __call__(self, x: jax.Array) -> jax.Array:
    """(..., width) -> the same shape."""
    return self.fc2(gelu(self.fc1(x)))


class Block(nnx.Module):
  """Attention and MLP, each behind a norm and beside a residual."""

  def __init__(self, width: int, heads: int, rngs: nnx.Rngs):
    self.norm1 = layer_norm(width, 1e-6, rngs)
    self.attn = Attention(width, heads, rngs)
    self.norm2 = layer_norm(width, 1e-6, rngs)
    self.mlp = Mlp(width, rngs)

  def __call__(self, x: jax.Array) -> jax.Array:
    """(windows, tokens, width) -> the same shape."""
    x = x + self.attn(norm(x, self.norm1))
    return x + self.mlp(norm(x, self.norm2))


class Backbone(nnx.Module):
  """The plain ViT, without class token and without a last norm."""

  def __init__(self, config: Config, rngs: nnx.Rngs):
    self.patch_embed = PatchConv(3, config.width, config.patch, rngs)
    self.pos_embed = nnx.Param(jnp.zeros((config.grid, config.grid, config.width)))
    self.blocks = nnx.List([Block(config.width, config.heads, rngs) for _ in range(config.depth)])
    self.group = config.group
    self.window = _WINDOW_PIXELS // config.patch

  def positions(self, rows: int, columns: int) -> jax.Array:
    """(rows, columns, width), the position table resized where the grid is another."""
    table = self.pos_embed[...]
    grid = table.shape[0]
    if (rows, columns) == (grid, grid):
      return table
    return resize(table, cubic(rows, grid), cubic(columns, grid))

  def windows(self, rows: int, columns: int) -> tuple[int, int]:
    """How many attention windows lie along each axis of a grid of tokens."""
    along = rows // self.window, columns // self.window
    if not all(along) or rows % along[0] or columns % along[1]:
      raise ValueError(
        f'{rows} x {columns} tokens do not split into equal attention windows of about '
        f'{self.window} x {self.window}: use an input whose sides are multiples of '
        f'{_WINDOW_PIXELS} pixels'
      )
    return along

  def block_outputs(self, x: jax.Array) -> Iterator[jax.Array]:
    """Yields every block's output, (windows, tokens, width): (1, all, width) for global ones."""
    rows, columns, width = x.shape
    down, across = self.windows(rows, columns)
    split = (down, rows // down, across, columns // across, width)
    for i, block in enumerate(self.blocks, 1):
      if i % self.group == 1:
        x = x.reshape(split).swapaxes(1, 2).reshape(down * across, -1, width)
      elif i % self.group == 0:
        x = x.reshape(down, across, split[1], split[3], width).swapaxes(1, 2)
        x = x.reshape(1, rows * columns, width)
      x = block(x)
      yield x

  def __call__(self, x: jax.Array) -> jax.Array:
    """(rows, columns, width), both embeddings and positions added -> the same shape."""
    *_, last = self.block_outputs(x)
    return last.reshape(x.shape)


class Down4(nnx.Module):
  """To four times the tokens' resolution."""

  def __init__(self, inputs: int, outputs: int, rngs: nnx.Rngs):
    inner = max(2 * outputs, inputs // 2)
    self.up1 = UpConv2x2(inputs, inner, rngs)
    self.norm1 = ImageNorm(inner, rngs)
    self.up2 = UpConv2x2(inner, inner // 2, rngs)
    self.norm2 = ImageNorm(inner // 2, rngs)
    self.conv = Conv1x1(inner // 2, outputs, rngs)
    self.norm3 = ImageNorm(outputs, rngs)

  def __call__(self, x: jax.Array) -> jax.Array:
    """(h, w, inputs) -> (4 h, 4 w, outputs)."""
    x = self.norm2(self.up2(gelu(self.norm1(self.up1(x)))))
    return gelu(self.norm3(self.conv(x)))


class Down8(nnx.Module):
  """To twice the tokens' resolution."""

  def __init__(self, inputs: int, outputs: int, rngs: nnx.Rngs):
    inner = max(outputs, inputs // 2)
    self.up = UpConv2x2(inputs, inner, rngs)
    self.norm1 = ImageNorm(inner, rngs)
    self.conv = Conv1x1(inner, outputs, rngs)
    self.norm2 = ImageNorm(outputs, rngs)

  def __call__(self, x: jax.Array) -> jax.Array:
    """(h, w, inputs) -> (2 h, 2 w, outputs)."""
    return gelu(self.norm2(self.conv(self.norm1(self.up(x)))))


class Down16(nnx.Module):
  """At the tokens' resolution."""

  def __init__(self, inputs: int, outputs: int, rngs: nnx.Rngs):
    self.conv = Conv1x1(inputs, outputs, rngs)
    self.norm = ImageNorm(outputs, rngs)

  def __call__(self, x: jax.Array) -> jax.Array:
    """(h, w, inputs) -> (h, w, outputs)."""
    return gelu(self.norm(self.conv(x)))


class Down32(nnx.Module):
  """To half the tokens' resolution."""

  def __init__(self, inputs: int, outputs: int, rngs: nnx.Rngs):
    inner = max(outputs, 2 * inputs)
    self.down = PatchConv(inputs, inner, 2, rngs)
    self.norm1 = ImageNorm(inner, rngs)
    self.conv = Conv1x1(inner, outputs, rngs)
    self.norm2 = ImageNorm(outputs, rngs)

  def __call__(self, x: jax.Array) -> jax.Array:
    """(h, w, inputs) -> (h // 2, w // 2, outputs)."""
    return gelu(self.norm2(self.conv(self.norm1(self.down(x)))))


class Neck(nnx.Module):
  """Four levels from the ViT's one."""

  def __init__(self, config: Config, rngs: nnx.Rngs):
    self.down_4 = Down4(config.width, config.pyramid[0], rngs)
    self.down_8 = Down8(config.width, config.pyramid[1], rngs)
    self.down_16 = Down16(config.width, config.pyramid[2], rngs)
    self.down_32 = Down32(config.width, config.pyramid[3], rngs)

  def __call__(self, x: jax.Array) -> list[jax.Array]:
    """(h, w, width) -> levels, finest first."""
    return [self.down_4(x), self.down_8(x), self.down_16(x), self.down_32(x)]


class UpStep(nnx.Module):
  """Doubles the resolution and halves the channels."""

  def __init__(self, inputs: int, rngs: nnx.Rngs):
    outputs = inputs // 2
    self.up = UpConv2x2(inputs, outputs, rngs)
    self.norm1 = ImageNorm(outputs, rngs)
    self.conv = Conv1x1(outputs, outputs, rngs)
    self.norm2 = ImageNorm(outputs, rngs)

  def __call__(self, x: jax.Array) -> jax.Array:
    """(h, w, inputs) -> (2 h, 2 w, inputs // 2)."""
    return gelu(self.norm2(self.conv(self.norm1(self.up(x)))))


class Head(nnx.Module):
  """Fuses the levels at the finest one and classifies its pixels."""

  def __init__(self, config: Config, rngs: nnx.Rngs):
    channels = config.channels
    self.convs = nnx.List([Conv1x1(inputs, channels, rngs) for inputs in config.pyramid])
    self.fusion_conv = Conv1x1(len(config.pyramid) * channels, channels, rngs)
    self.up_convs = nnx.List(
      [UpStep(channels // 2**i, rngs) for i in range({1: 0, 2: 1, 4: 2}[config.upsample])]
    )
    self.conv_seg = Conv1x1(channels // config.upsample, 1, rngs)

  def fuse(self, levels: list[jax.Array]) -> jax.Array:
    """Levels -> (h, w, channels) of the finest one.

    The reference resizes every level to the finest and convolves their concatenation. A 1x1
    convolution and a resize commute, so each level's share is computed at its own resolution.
    """
    height, width, _ = levels[0].shape
    channels = self.fusion_conv.kernel.shape[-1]
    kernels = self.fusion_conv.kernel[0, 0].reshape(len(levels), channels, channels)
    total = self.fusion_conv.bias[...].reshape(1, 1, channels)
    for level, conv, kernel in zip(levels, self.convs, kernels, strict=True):
      share = jax.nn.relu(conv(level)) @ kernel
      if share.shape[:2] != (height, width):
        rows = linear(height, share.shape[0], align_corners=False)
        share = resize(share, rows, linear(width, share.shape[1], align_corners=False))
      total = total + share
    return jax.nn.relu(total)

  def __call__(self, levels: list[jax.Array]) -> jax.Array:
    """Levels, finest first -> logits (upsample * h, upsample * w) of the finest one."""
    x = self.fuse(levels)
    for step in self.up_convs:
      x = step(x)
    return self.conv_seg(x)[..., 0]


class SimpleClick(nnx.Module):
  """The whole network; module names follow the published state dict where it has good ones."""

  def __init__(self, config: Config, rngs: nnx.Rngs):
    self.patch_embed_coords = PatchConv(3, config.width, config.patch, rngs)
    self.backbone = Backbone(config, rngs)
    self.neck = Neck(config, rngs)
    self.head = Head(config, rngs)

  def prepare(self, image: jax.Array) -> jax.Array:
    """(height, width, 3) in [0, 1] -> tokens (rows, columns, width) before the clicks."""
    mean, deviation = _MEAN.reshape(1, 1, 3), _DEVIATION.reshape(1, 1, 3)
    tokens = self.backbone.patch_embed((image - mean) / deviation)
    return tokens + self.backbone.positions(*tokens.shape[:2])

  def decode(self, prepared: jax.Array, maps: jax.Array) -> jax.Array:
    """Prepared tokens and maps (height, width, 3) -> logits (height, width)."""
    height, width, _ = maps.shape
    tokens = self.backbone(prepared + self.patch_embed_coords(maps))
    low = self.head(self.neck(tokens))
    rows = linear(height, low.shape[0], align_corners=True)
    return rows @ low @ linear(width, low.shape[1], align_corners=True).T


@functools.cache
def _definition(config: Config) -> trees.Definition[SimpleClick]:
  return trees.define(functools.partial(SimpleClick, config))


def shapes(config: Config) -> dict[str, tuple[int, ...]]:
  """Shape of every parameter by its name in the flat tree, see `ports.simpleclick.weights`."""
  return dict(_definition(config).shapes)


def bind(config: Config, params: Params) -> SimpleClick:
  """The network with these parameters; for use inside one trace, as `apply` does."""
  return trees.bind(_definition(config), params)


def prepare(config: Config, params: Params, image: Array) -> jax.Array:
  """All that no click touches: the image's tokens with their positions, once per image.

  Args:
    config: of the network.
    params: flat tree that holds at least the leaves of `shapes(config)`.
    image: (height, width, 3) float32 RGB in [0, 1], not normalised.

  Returns:
    (height // patch, width // patch, width of a token) float32.
  """
  return bind(config, params).prepare(jnp.asarray(image))


def decode(config: Config, params: Params, prepared: Array, maps: Array) -> jax.Array:
  """Logits of the object for click maps over a prepared image; differentiable in `maps`.

  Args:
    config: of the network.
    params: flat tree, as for `prepare`.
    prepared: what `prepare` returned for the image.
    maps: (height, width, 3) float32 of the image's size: probability of the previous mask (zeros
      before the first click), hard or soft disks of the positive clicks, of the negative ones.

  Returns:
    (height, width) float32.

  Raises:
    ValueError: a size whose tokens do not split into equal attention windows; multiples of 224
      pixels always do.
  """
  return bind(config, params).decode(jnp.asarray(prepared), jnp.asarray(maps))


def apply(config: Config, params: Params, image: Array, maps: Array) -> jax.Array:
  """Logits (height, width): `decode` over `prepare`, with their arguments."""
  return decode(config, params, prepare(config, params, image), maps)
