"""TinyViT-5M, the image encoder of MobileSAM, in Flax.

Architecture: Wu et al., "TinyViT: Fast Pretraining Distillation for Small Vision Transformers"
(arXiv 2207.10666), in the layout of Zhang et al., "Faster Segment Anything: Towards Lightweight
SAM for Mobile Applications" (arXiv 2306.14289): four stages of width 64, 128, 160, 320, the last
merge without stride, then SAM's neck. Batch norms are folded into the convolutions before them,
and the relative attention biases are expanded to (heads, tokens, tokens).
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
from flax import nnx

from ports.nn import trees
from ports.nn.layers import Conv1x1, DepthwiseConv3x3, gelu, layer_norm
from tetris_jax.types import Array, Params

__all__ = ['EARLY', 'TinyViT', 'apply', 'bind', 'shapes', 'with_early']

_WIDTHS = (64, 128, 160, 320)
_DEPTHS = (2, 2, 6, 2)
# The first stage has convolutions in place of attention.
_HEADS = (0, 4, 5, 10)
_WINDOWS = (0, 7, 14, 7)
_OUTPUT = 256

EARLY = _WIDTHS[2]
"""Width of the early feature: what the second stage gives, merged."""


def _conv3x3(
  inputs: int, outputs: int, stride: int, rngs: nnx.Rngs, use_bias: bool = True
) -> nnx.Conv:
  # torch pads by 1 on every side; "SAME" would pad only at the end where the stride is 2
  return nnx.Conv(
    inputs, outputs, (3, 3), stride, padding=((1, 1), (1, 1)), use_bias=use_bias, rngs=rngs
  )


class PatchEmbed(nnx.Module):
  """Two convolutions of stride 2."""

  def __init__(self, rngs: nnx.Rngs):
    self.conv1 = _conv3x3(3, _WIDTHS[0] // 2, 2, rngs)
    self.conv2 = _conv3x3(_WIDTHS[0] // 2, _WIDTHS[0], 2, rngs)

  def __call__(self, x: jax.Array) -> jax.Array:
    """(h, w, 3) -> (h / 4, w / 4, 64)."""
    return self.conv2(gelu(self.conv1(x)))


class MBConv(nnx.Module):
  """Inverted bottleneck with a depthwise convolution and a residual."""

  def __init__(self, width: int, rngs: nnx.Rngs):
    self.conv1 = Conv1x1(width, 4 * width, rngs)
    self.conv2 = DepthwiseConv3x3(4 * width, 1, rngs)
    self.conv3 = Conv1x1(4 * width, width, rngs)

  def __call__(self, x: jax.Array) -> jax.Array:
    """(h, w, width) -> the same shape."""
    return gelu(x + self.conv3(gelu(self.conv2(gelu(self.conv1(x))))))


class PatchMerging(nnx.Module):
  """Widens, and shrinks the grid by `stride`."""

  def __init__(self, inputs: int, outputs: int, stride: int, rngs: nnx.Rngs):
    self.conv1 = Conv1x1(inputs, outputs, rngs)
    self.conv2 = DepthwiseConv3x3(outputs, stride, rngs)
    self.conv3 = Conv1x1(outputs, outputs, rngs)

  def __call__(self, x: jax.Array) -> jax.Array:
    """(h, w, inputs) -> (h / stride, w / stride, outputs)."""
    return self.conv3(gelu(self.conv2(gelu(self.conv1(x)))))


class WindowAttention(nnx.Module):
  """Multi-head self-attention within windows, with a bias per pair of positions."""

  def __init__(self, width: int, heads: int, window: int, rngs: nnx.Rngs):
    self.norm = layer_norm(width, 1e-5, rngs)
    self.qkv = nnx.Linear(width, 3 * width, rngs=rngs)
    self.proj = nnx.Linear(width, width, rngs=rngs)
    self.bias = nnx.Param(jnp.zeros((heads, window**2, window**2)))
    self.heads = heads
    self.window = window

  def __call__(self, x: jax.Array) -> jax.Array:
    """(h, w, width) -> the same shape.

    The grid is padded with zeros to whole windows before the norm, and the padded tokens take
    part: they become the norm's bias. The released network does so.
    """
    height, width, channels = x.shape
    window, heads = self.window, self.heads
    rows, columns = math.ceil(height / window), math.ceil(width / window)
    x = jnp.pad(x, ((0, rows * window - height), (0, columns * window - width), (0, 0)))
    x = x.reshape(rows, window, columns, window, channels).swapaxes(1, 2)
    x = x.reshape(rows * columns, window**2, channels)
    # each head's query, key and value lie together
    qkv = self.qkv(self.norm(x)).reshape(rows * columns, window**2, heads, 3, channels // heads)
    query, key, value = jnp.transpose(qkv, (3, 0, 2, 1, 4))
    scores = query @ key.swapaxes(2, 3) * (channels // heads) ** -0.5 + self.bias[...][None]
    # The softmax is divided out after the product: on CPU XLA computes the exponentials anew for
    # both of its uses otherwise, and the attention takes two to three times as long.
    weights = jnp.exp(scores - scores.max(axis=-1, keepdims=True))
    x = (weights @ value / weights.sum(axis=-1, keepdims=True)).swapaxes(1, 2)
    x = self.proj(x.reshape(rows * columns, window**2, channels))
    x = x.reshape(rows, columns, window, window, channels).swapaxes(1, 2)
    return x.reshape(rows * window, columns * window, channels)[:height, :width]


class Mlp(nnx.Module):
  """Norm, then two linear layers with a GELU between."""

  def __init__(self, width: int, rngs: nnx.Rngs):
    self.norm = layer_norm(width, 1e-5, rngs)
    self.fc1 = nnx.Linear(width, 4 * width, rngs=rngs)
    self.fc2 = nnx.Linear(4 * width, width, rngs=rngs)

  def __call__(self, x: jax.Array) -> jax.Array:
    """(..., width) -> the same shape."""
    return self.fc2(gelu(self.fc1(self.norm(x))))


class Block(nnx.Module):
  """Window attention, a depthwise convolution without residual, and an MLP."""

  def __init__(self, width: int, heads: int, window: int, rngs: nnx.Rngs):
    self.attn = WindowAttention(width, heads, window, rngs)
    self.local_conv = DepthwiseConv3x3(width, 1, rngs)
    self.mlp = Mlp(width, rngs)

  def __call__(self, x: jax.Array) -> jax.Array:
    """(h, w, width) -> the same shape."""
    x = self.local_conv(x + self.attn(x))
    return x + self.mlp(x)


class Stage(nnx.Module):
  """Blocks of one width, and the merge to the next width where there is one."""

  def __init__(self, index: int, rngs: nnx.Rngs):
    width = _WIDTHS[index]
    heads, window = _HEADS[index], _WINDOWS[index]
    self.blocks = nnx.List([
      MBConv(width, rngs) if index == 0 else Block(width, heads, window, rngs)
      for _ in range(_DEPTHS[index])
    ])
    # the released network keeps the grid at the last merge, so that SAM gets 64 x 64
    stride = 1 if index == 2 else 2
    self.downsample = (
      PatchMerging(width, _WIDTHS[index + 1], stride, rngs) if index < 3 else None
    )

  def __call__(self, x: jax.Array) -> jax.Array:
    """(h, w, width) -> (h', w', next width)."""
    for block in self.blocks:
      x = block(x)
    return x if self.downsample is None else self.downsample(x)


class Neck(nnx.Module):
  """To SAM's 256 channels."""

  def __init__(self, rngs: nnx.Rngs):
    self.conv1 = nnx.Conv(_WIDTHS[3], _OUTPUT, (1, 1), use_bias=False, rngs=rngs)
    self.norm1 = layer_norm(_OUTPUT, 1e-6, rngs)
    self.conv2 = _conv3x3(_OUTPUT, _OUTPUT, 1, rngs, use_bias=False)
    self.norm2 = layer_norm(_OUTPUT, 1e-6, rngs)

  def __call__(self, x: jax.Array) -> jax.Array:
    """(h, w, 320) -> (h, w, 256)."""
    return self.norm2(self.conv2(self.norm1(self.conv1(x))))


class TinyViT(nnx.Module):
  """The encoder; module names follow the released state dict where it has good ones."""

  def __init__(self, rngs: nnx.Rngs):
    self.patch_embed = PatchEmbed(rngs)
    self.layers = nnx.List([Stage(i, rngs) for i in range(4)])
    self.neck = Neck(rngs)

  def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(1024, 1024, 3) -> (64, 64, 256), and (64, 64, `EARLY`)."""
    first, second, *rest = self.layers
    early = x = second(first(self.patch_embed(x)))
    for stage in rest:
      x = stage(x)
    return self.neck(x), early


@functools.cache
def _definition() -> trees.Definition[TinyViT]:
  return trees.define(TinyViT, 'image_encoder/')


def shapes() -> dict[str, tuple[int, ...]]:
  """Shape of every parameter of the encoder by its name in the flat tree."""
  return dict(_definition().shapes)


def bind(params: Params) -> TinyViT:
  """The encoder with these parameters; for use inside one trace, as `apply` does."""
  return trees.bind(_definition(), params)


def apply(params: Params, image: Array) -> jax.Array:
  """Image embedding, (64, 64, 256) float32.

  Args:
    params: flat tree that holds at least the leaves of `shapes()`.
    image: (1024, 1024, 3) float32, normalised and padded as `ports.sam.preprocess` does.
  """
  return with_early(params, image)[0]


def with_early(params: Params, image: Array) -> tuple[jax.Array, jax.Array]:
  """As `apply`, and the early feature that SAM-HQ reads, (64, 64, `EARLY`)."""
  return bind(params)(jnp.asarray(image))
