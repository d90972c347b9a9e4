"""Layers of HRNet, for pictures that may lie on a larger canvas, in Flax.

Sun et al., "High-Resolution Representations for Labeling Pixels and Regions" (arXiv 1904.04514).
Batch norms are folded into the convolutions.
"""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from ports.nn.convolution import Conv, point
from ports.nn.resize import aligned, resize
from tetris_jax.types import Array

__all__ = ['LEVEL', 'Bottleneck', 'Conv', 'Exchange', 'Levels', 'point', 'repeat']

# The network's output, and its finest branch, are at 1 / 2**LEVEL of its input.
LEVEL = 2


class Levels:
  """A canvas and its picture at resolutions 1, 1/2, ... 1/32, levels 0 to 5; sizes round up.

  Made from the canvas's height and width in pixels and the picture's size, (2,) int32 and maybe
  traced, or None where the picture fills the canvas.

  Attributes:
    canvas: (height, width) by level.
    size: (height, width) of the picture by level; ints, or (2,) int32 if traced.
    masks: (1, height, width, 1) float32 by level, 1 inside of the picture; None where it fills the
      canvas.
  """

  def __init__(self, height: int, width: int, size: Array | None):
    self.canvas = [(height, width)]
    self.size: list[Any] = [(height, width) if size is None else jnp.asarray(size, jnp.int32)]
    for _ in range(5):
      height, width = -(-height // 2), -(-width // 2)
      self.canvas.append((height, width))
      self.size.append((height, width) if size is None else (self.size[-1] + 1) // 2)
    self.masks = [None if size is None else self._mask(level) for level in range(6)]
    # Made here, once: what a loop's body makes is of no use outside of it.
    self._matrices = {
      (level, to): self._matrix(level, to) for to in range(LEVEL, 5) for level in range(to + 1, 6)
    }

  def _mask(self, level: int) -> jax.Array:
    (height, width), size = self.canvas[level], self.size[level]
    rows = jnp.arange(height, dtype=jnp.int32) < size[0]
    columns = jnp.arange(width, dtype=jnp.int32) < size[1]
    return (rows[:, None] & columns[None, :]).astype(jnp.float32)[None, :, :, None]

  def _matrix(self, level: int, to: int) -> list[jax.Array]:
    return [
      aligned(self.canvas[to][i], self.canvas[level][i], self.size[to][i], self.size[level][i])
      for i in range(2)
    ]

  def cut(self, x: jax.Array, level: int) -> jax.Array:
    """(batch, h, w, channels) at a level -> the same, zeros outside of the picture."""
    mask = self.masks[level]
    return x if mask is None else x * mask

  def stretch(self, x: jax.Array, level: int, to: int) -> jax.Array:
    """(batch, h, w, channels) at `level` -> the size of the finer level `to`, corners aligned."""
    if level == to:
      return x
    return resize(x, *self._matrices[level, to])


def repeat(stacked: Any, x: Any, *more: Any) -> Any:
  """x = module(x, *more) for every module of a stack, compiled once.

  Unrolled, the larger networks take minutes to compile.

  Args:
    stacked: module whose arrays have the stack along their first axis.
    x: arrays, whose shapes a module keeps.
    *more: passed to each.
  """
  graph, state = nnx.split(stacked)
  one = lambda x, leaves: (nnx.merge(graph, leaves)(x, *more), None)
  return jax.lax.scan(one, x, state)[0]


class Basic(nnx.Module):
  """Two 3x3 convolutions with a residual."""

  def __init__(self, width: int, rngs: nnx.Rngs, stack: tuple[int, ...]):
    self.conv1 = Conv(width, width, rngs, stack=stack)
    self.conv2 = Conv(width, width, rngs, stack=stack)

  def __call__(self, x: jax.Array, levels: Levels, level: int) -> jax.Array:
    """(batch, h, w, width) -> the same shape."""
    y = jax.nn.relu(self.conv1(levels.cut(x, level)))
    return jax.nn.relu(self.conv2(levels.cut(y, level)) + x)


class Bottleneck(nnx.Module):
  """1x1, 3x3, 1x1 with a residual."""

  def __init__(self, inputs: int, width: int, rngs: nnx.Rngs):
    self.conv1 = point(inputs, width, rngs)
    self.conv2 = Conv(width, width, rngs)
    self.conv3 = point(width, 4 * width, rngs)
    self.downsample = point(inputs, 4 * width, rngs) if inputs != 4 * width else None

  def __call__(self, x: jax.Array, levels: Levels) -> jax.Array:
    """(batch, h, w, inputs) -> (batch, h, w, 4 * width)."""
    y = jax.nn.relu(self.conv1(x))
    y = jax.nn.relu(self.conv2(levels.cut(y, LEVEL)))
    residual = x if self.downsample is None else self.downsample(x)
    return jax.nn.relu(self.conv3(y) + residual)


class Exchange(nnx.Module):
  """Parallel branches, then every branch receives the sum of all; `count` of them, stacked."""

  def __init__(self, widths: tuple[int, ...], depth: int, count: int, rngs: nnx.Rngs):
    self.branches = nnx.List([Basic(width, rngs, (count, depth)) for width in widths])

    def path(to: int, start: int) -> Any:
      if start == to:
        return None
      if start > to:
        return point(widths[start], widths[to], rngs, (count,))
      steps = [widths[start]] * (to - start) + [widths[to]]
      return nnx.List([
        Conv(a, b, rngs, stride=2, stack=(count,))
        for a, b in itertools.pairwise(steps)
      ])

    branches = range(len(widths))
    self.fuse_layers = nnx.List([
      nnx.List([path(to, start) for start in branches]) for to in branches
    ])

  def _send(self, x: jax.Array, start: int, to: int, levels: Levels) -> jax.Array:
    path = self.fuse_layers[to][start]
    if start == to:
      return x
    if start > to:
      return levels.stretch(path(x), LEVEL + start, LEVEL + to)
    for i, conv in enumerate(path):
      x = conv(levels.cut(x, LEVEL + start + i))
      x = x if i == len(path) - 1 else jax.nn.relu(x)
    return x

  def __call__(self, xs: list[jax.Array], levels: Levels) -> list[jax.Array]:
    """Branch i at resolution 1 / 2**(2 + i), the same shapes out."""
    ys = []
    for i, (x, blocks) in enumerate(zip(xs, self.branches, strict=True)):
      ys.append(repeat(blocks, x, levels, LEVEL + i))
    sent = [
      [self._send(y, start, to, levels) for start, y in enumerate(ys)] for to in range(len(ys))
    ]
    return [jax.nn.relu(sum(parts[1:], parts[0])) for parts in sent]
