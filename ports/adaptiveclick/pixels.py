"""AdaptiveClick's pixel decoder: levels of a pyramid that look at one another, in Flax.

Cheng et al., "Masked-attention Mask Transformer for Universal Image Segmentation" (arXiv
2112.01527): deformable attention over the three coarser levels, then one step to the finest.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ports.adaptiveclick.deformable import DeformableAttention, Sizes
from ports.nn.convolution import Conv, point
from ports.nn.layers import layer_norm, norm
from ports.nn.resize import linear, resize

__all__ = ['LEVELS', 'PixelDecoder', 'Pixels', 'sines', 'unaligned']

LEVELS = 3
_HEADS = 8
_POINTS = 4
_GROUPS = 32
_TEMPERATURE = 10000.0


class Pixels(NamedTuple):
  """What the decoder of masks reads.

  Attributes:
    levels: (h, w, width) at 1/32, 1/16 and 1/8 of the input, coarse to fine.
    features: (h, w, mask width) at 1/4, whose products with queries are masks.
  """

  levels: list[jax.Array]
  features: jax.Array


def sines(height: int, width: int, channels: int) -> np.ndarray:
  """(height, width, channels) float32, sines and cosines of rows, then of columns.

  Carion et al., "End-to-End Object Detection with Transformers" (arXiv 2005.12872): counts from 1,
  the last one nearly 2 pi; sine at even places, cosine at odd ones.
  """
  half = channels // 2
  even = 2 * (np.arange(half) // 2)
  period = (np.float32(_TEMPERATURE) ** (even / half).astype(np.float32)).astype(np.float32)
  found = []
  for count in (height, width):
    at = np.arange(1, count + 1, dtype=np.float32)
    at = at / (np.float32(count) + np.float32(1e-6)) * np.float32(2 * math.pi)
    angle = at[:, None] / period[None]
    wave = np.where(np.arange(half) % 2 == 0, np.sin(angle), np.cos(angle))
    found.append(wave.astype(np.float32))
  rows = np.broadcast_to(found[0][:, None], (height, width, half))
  return np.concatenate([rows, np.broadcast_to(found[1][None], (height, width, half))], axis=-1)


def unaligned(x: jax.Array, height: int, width: int) -> jax.Array:
  """(h, w, channels) bilinearly to (height, width, channels), no antialias, corners not aligned."""
  return resize(
    x,
    linear(height, x.shape[0], align_corners=False),
    linear(width, x.shape[1], align_corners=False),
  )


class GroupNorm(nnx.Module):
  """Norm over the pixels and the channels of each of 32 groups, epsilon 1e-5."""

  def __init__(self, channels: int):
    self.scale = nnx.Param(jnp.ones((channels,)))
    self.bias = nnx.Param(jnp.zeros((channels,)))

  def __call__(self, x: jax.Array) -> jax.Array:
    """(h, w, channels) -> the same shape."""
    y = x.reshape(*x.shape[:2], _GROUPS, -1)
    y = y - jnp.mean(y, axis=(0, 1, 3), keepdims=True)
    y = y * jax.lax.rsqrt(jnp.mean(y * y, axis=(0, 1, 3), keepdims=True) + 1e-5)
    scale, bias = self.scale[...][None, None], self.bias[...][None, None]
    return y.reshape(x.shape) * scale + bias


class NormedConv(nnx.Module):
  """Convolution with bias and group norm."""

  def __init__(self, inputs: int, outputs: int, size: int, rngs: nnx.Rngs):
    self.conv = point(inputs, outputs, rngs) if size == 1 else Conv(inputs, outputs, rngs)
    self.norm = GroupNorm(outputs)

  def __call__(self, x: jax.Array) -> jax.Array:
    """(h, w, inputs) -> (h, w, outputs)."""
    return self.norm(self.conv(x[None])[0])


class Layer(nnx.Module):
  """Deformable attention and two linear layers, each with a norm behind its residual."""

  def __init__(self, width: int, hidden: int, rngs: nnx.Rngs):
    self.self_attn = DeformableAttention(width, _HEADS, LEVELS, _POINTS, rngs)
    self.norm1 = layer_norm(width, 1e-5, rngs)
    self.linear1 = nnx.Linear(width, hidden, rngs=rngs)
    self.linear2 = nnx.Linear(hidden, width, rngs=rngs)
    self.norm2 = layer_norm(width, 1e-5, rngs)

  def __call__(self, x: jax.Array, positions: jax.Array, sizes: Sizes) -> jax.Array:
    """(tokens, width) -> the same shape."""
    x = norm(x + self.self_attn(x + positions, x, sizes), self.norm1)
    return norm(x + self.linear2(jax.nn.relu(self.linear1(x))), self.norm2)


class PixelDecoder(nnx.Module):
  """From a pyramid of four levels to three levels and to features of pixels."""

  def __init__(
    self, pyramid: tuple[int, ...], width: int, mask_width: int, hidden: int, depth: int,
    rngs: nnx.Rngs,
  ):
    self.input_proj = nnx.List([
      NormedConv(inputs, width, 1, rngs) for inputs in reversed(pyramid[1:])
    ])
    self.level_embed = nnx.Param(jnp.zeros((LEVELS, width)))
    self.layers = nnx.List([Layer(width, hidden, rngs) for _ in range(depth)])
    self.lateral = NormedConv(pyramid[0], width, 1, rngs)
    self.output = NormedConv(width, width, 3, rngs)
    self.mask_features = point(width, mask_width, rngs)

  def __call__(
    self, levels: list[jax.Array], taps: dict[str, jax.Array] | None = None
  ) -> Pixels:
    """Levels (h, w, channels), finest first -> `Pixels`."""
    projected = [
      project(level) for project, level in zip(self.input_proj, levels[:0:-1], strict=True)
    ]
    width = projected[0].shape[-1]
    sizes = tuple((x.shape[0], x.shape[1]) for x in projected)
    tokens = jnp.concatenate([x.reshape(-1, width) for x in projected])
    positions = jnp.concatenate([
      jnp.asarray(sines(*size, width)).reshape(-1, width) + self.level_embed[i][None]
      for i, size in enumerate(sizes)
    ])
    for i, layer in enumerate(self.layers):
      tokens = layer(tokens, positions, sizes)
      if taps is not None:
        taps[f'transformer.encoder.layers.{i}'] = tokens
    found, start = [], 0
    for rows, columns in sizes:
      found.append(tokens[start : start + rows * columns].reshape(rows, columns, width))
      start += rows * columns
    fine = jax.nn.relu(self.lateral(levels[0]))
    fine = jax.nn.relu(self.output(fine + unaligned(found[-1], *fine.shape[:2])))
    features = self.mask_features(fine[None])[0]
    if taps is not None:
      taps |= {f'input_proj.{i}': x for i, x in enumerate(projected)}
      taps |= {'layer_1': fine, 'mask_features': features}
    return Pixels(found, features)
