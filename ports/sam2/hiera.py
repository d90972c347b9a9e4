"""Hiera with a feature pyramid, the image encoder of SAM 2, in Flax.

Architecture: Ryali et al., "Hiera: A Hierarchical Vision Transformer without the
Bells-and-Whistles" (arXiv 2306.00989), with the windowed positions of Bolya et al., "Window
Attention is Bugged" (arXiv 2311.05613), as Ravi et al., "SAM 2: Segment Anything in Images and
Videos" (arXiv 2408.00714), use and release it: four stages at 1/4, 1/8, 1/16 and 1/32 of the
picture, each twice as wide as the one before. Most blocks attend within windows. The first block
of a later stage pools its queries, within windows of the stage before. Parameters keep the
released names.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from flax import nnx

from ports.nn import trees
from ports.nn.convolution import convolve
from ports.nn.layers import Conv1x1, gelu, layer_norm, norm
from ports.nn.resize import cubic, resize
from tetris_jax.types import Params

__all__ = ['CONFIGS', 'WIDTH', 'Config', 'Encoder', 'bind', 'shapes']

WIDTH = 256
"""Channels of the pyramid."""

# Scores of this many queries with all tokens are formed at once: of a whole grid of 64 x 64 tokens
# they would take half a GiB in the large model, and no cache holds them.
_QUERIES = 512


@dataclasses.dataclass(frozen=True)
class Config:
  """Sizes of one encoder.

  Attributes:
    width: channels of the first stage.
    heads: of its attention.
    stages: blocks of each stage.
    everywhere: blocks, counted from 0, that attend to the whole grid.
    background: tokens along a side of the position table that is stretched over the grid.
    windows: tokens along a side of a window, by stage; even where another stage follows, whose
      first block pools the queries of a window two by two.
  """

  width: int
  heads: int
  stages: tuple[int, int, int, int]
  everywhere: tuple[int, ...]
  background: int
  windows: tuple[int, int, int, int] = (8, 4, 14, 7)

  def __post_init__(self) -> None:
    """Raises ValueError for sizes that do not fit."""
    if self.width % self.heads or any(window % 2 for window in self.windows[:3]):
      raise ValueError(
        f'{self}: width must be a multiple of heads, and windows even but for the last'
      )

  @property
  def ends(self) -> tuple[int, ...]:
    """The last block of each stage."""
    return tuple(sum(self.stages[: i + 1]) - 1 for i in range(4))

  @property
  def widths(self) -> tuple[int, ...]:
    """Channels of each stage."""
    return tuple(self.width * 2**i for i in range(4))


CONFIGS = {
  'tiny': Config(96, 1, (1, 2, 7, 2), (5, 7, 9), 7),
  'small': Config(96, 1, (1, 2, 11, 2), (7, 10, 13), 7),
  'base_plus': Config(112, 2, (2, 3, 16, 3), (12, 16, 20), 14),
  'large': Config(144, 2, (2, 6, 36, 4), (23, 33, 43), 7, (8, 4, 16, 8)),
}
"""The published sizes, the same in SAM 2 and SAM 2.1."""


def _pool(x: jax.Array) -> jax.Array:
  """(..., h, w, channels) -> (..., h / 2, w / 2, channels), the largest of each 2 x 2."""
  *lead, height, width, channels = x.shape
  return x.reshape(*lead, height // 2, 2, width // 2, 2, channels).max(axis=(-4, -2))


def _split(x: jax.Array, window: int) -> jax.Array:
  """(h, w, channels) -> (windows, window, window, channels), filled up with zeros."""
  height, width, channels = x.shape
  rows, columns = math.ceil(height / window), math.ceil(width / window)
  x = jnp.pad(x, ((0, rows * window - height), (0, columns * window - width), (0, 0)))
  x = x.reshape(rows, window, columns, window, channels).swapaxes(1, 2)
  return x.reshape(rows * columns, window, window, channels)


def _join(x: jax.Array, height: int, width: int) -> jax.Array:
  """(windows, window, window, channels) -> (height, width, channels), without what filled it up."""
  _, window, _, channels = x.shape
  rows, columns = math.ceil(height / window), math.ceil(width / window)
  x = x.reshape(rows, columns, window, window, channels).swapaxes(1, 2)
  return x.reshape(rows * window, columns * window, channels)[:height, :width]


def _attend(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
  """(..., q, c) queries, (..., k, c) keys and values -> (..., q, c)."""
  scores = query @ key.swapaxes(-1, -2)
  # The softmax is divided out after the product: on CPU XLA computes the exponentials anew for
  # both of its uses otherwise.
  weights = jnp.exp(scores - scores.max(axis=-1, keepdims=True))
  return weights @ value / weights.sum(axis=-1, keepdims=True)


class Attention(nnx.Module):
  """Multi-head self-attention within windows; where it pools, of a quarter of the queries."""

  def __init__(self, inputs: int, outputs: int, heads: int, pools: bool, rngs: nnx.Rngs):
    self.qkv = nnx.Linear(inputs, 3 * outputs, rngs=rngs)
    self.proj = nnx.Linear(outputs, outputs, rngs=rngs)
    self.heads = heads
    self.pools = pools

  def _by_head(self, x: jax.Array) -> jax.Array:
    """(windows, tokens, width) -> (windows, heads, tokens, width / heads)."""
    windows, tokens, width = x.shape
    return x.reshape(windows, tokens, self.heads, width // self.heads).swapaxes(1, 2)

  def __call__(self, x: jax.Array) -> jax.Array:
    """(windows, h, w, inputs) -> (windows, h, w, outputs), or half of h and w."""
    windows, height, width, _ = x.shape
    query, key, value = jnp.split(self.qkv(x), 3, axis=-1)
    outputs = query.shape[-1]
    if self.pools:
      query, height, width = _pool(query), height // 2, width // 2
    query = query * (outputs // self.heads) ** -0.5
    parts = (part.reshape(windows, -1, outputs) for part in (query, key, value))
    query, key, value = map(self._by_head, parts)
    if height * width > _QUERIES and height * width % _QUERIES == 0:
      rows = query.reshape(windows, self.heads, -1, _QUERIES, query.shape[-1])
      found = jax.lax.map(lambda some: _attend(some, key, value), jnp.moveaxis(rows, 2, 0))
      found = jnp.moveaxis(found, 0, 2).reshape(query.shape)
    else:
      found = _attend(query, key, value)
    return self.proj(found.swapaxes(1, 2).reshape(windows, height, width, outputs))


class Mlp(nnx.Module):
  """Two linear layers with a GELU between."""

  def __init__(self, width: int, rngs: nnx.Rngs):
    self.layers = nnx.List([
      nnx.Linear(width, 4 * width, rngs=rngs), nnx.Linear(4 * width, width, rngs=rngs)
    ])

  def __call__(self, x: jax.Array) -> jax.Array:
    """(..., width) -> the same shape."""
    first, second = self.layers
    return second(gelu(first(x)))


class Block(nnx.Module):
  """Attention and MLP, each behind a norm and beside a residual; it may pool and widen."""

  def __init__(
    self, inputs: int, outputs: int, heads: int, window: int, rngs: nnx.Rngs
  ):
    self.norm1 = layer_norm(inputs, 1e-6, rngs)
    self.pools = inputs != outputs
    self.attn = Attention(inputs, outputs, heads, self.pools, rngs)
    self.norm2 = layer_norm(outputs, 1e-6, rngs)
    self.mlp = Mlp(outputs, rngs)
    if self.pools:
      self.proj = nnx.Linear(inputs, outputs, rngs=rngs)
    self.window = window

  def __call__(self, x: jax.Array) -> jax.Array:
    """(h, w, inputs) -> (h, w, outputs), or half of h and w; `window` 0 is the whole grid.

    The grid is filled up with zeros to whole windows behind the norm, and what fills it takes
    part: its queries, keys and values are the biases. The released network does so.
    """
    inside = norm(x, self.norm1)
    if self.pools:
      x = _pool(self.proj(inside))
    if self.window:
      x = x + _join(self.attn(_split(inside, self.window)), *x.shape[:2])
    else:
      x = x + self.attn(inside[None])[0]
    return x + self.mlp(norm(x, self.norm2))


def _layout(config: Config) -> Iterator[tuple[int, int, int, int]]:
  """Inputs, outputs, heads and window of every block."""
  inputs, heads, index = config.width, config.heads, 0
  for stage, depth in enumerate(config.stages):
    for i in range(depth):
      opens = stage > 0 and i == 0
      outputs, heads = (2 * inputs, 2 * heads) if opens else (inputs, heads)
      # The window lags a block behind: the queries that are pooled come from the stage before.
      window = 0 if index in config.everywhere else config.windows[stage - opens]
      yield inputs, outputs, heads, window
      inputs, index = outputs, index + 1


class PatchEmbed(nnx.Module):
  """A convolution of size 7 and stride 4."""

  def __init__(self, width: int, rngs: nnx.Rngs):
    self.kernel = nnx.Param(nnx.initializers.lecun_normal()(rngs.params(), (7, 7, 3, width)))
    self.bias = nnx.Param(jnp.zeros((width,)))

  def __call__(self, x: jax.Array) -> jax.Array:
    """(h, w, 3) -> (h / 4, w / 4, width)."""
    return convolve(x[None], self.kernel[...], 4)[0] + self.bias[...].reshape(1, 1, -1)


class Trunk(nnx.Module):
  """The four stages."""

  def __init__(self, config: Config, rngs: nnx.Rngs):
    side, window = config.background, config.windows[0]
    self.pos_embed = nnx.Param(jnp.zeros((side, side, config.width)))
    self.pos_embed_window = nnx.Param(jnp.zeros((window, window, config.width)))
    self.patch_embed = PatchEmbed(config.width, rngs)
    self.blocks = nnx.List([Block(*sizes, rngs) for sizes in _layout(config)])
    self.ends = config.ends

  def positions(self, height: int, width: int) -> jax.Array:
    """(height, width, channels): one table stretched over the grid, one repeated in windows."""
    table, tile = self.pos_embed[...], self.pos_embed_window[...]
    rows, columns = cubic(height, table.shape[0]), cubic(width, table.shape[1])
    stretched = resize(table.astype(jnp.float32), rows, columns).astype(table.dtype)
    return stretched + jnp.tile(tile, (height // len(tile), width // len(tile), 1))

  def block_outputs(self, image: jax.Array) -> Iterator[jax.Array]:
    """Yields every block's output (h, w, channels) for a (side, side, 3) image."""
    x = self.patch_embed(image)
    x = x + self.positions(*x.shape[:2])
    for block in self.blocks:
      x = block(x)
      yield x

  def __call__(self, image: jax.Array) -> list[jax.Array]:
    """(side, side, 3) -> the stages' outputs, finest first."""
    return [x for i, x in enumerate(self.block_outputs(image)) if i in self.ends]


class Neck(nnx.Module):
  """A projection of each stage; only at 1/16 a coarser one is added."""

  def __init__(self, config: Config, rngs: nnx.Rngs):
    # coarsest first, as released
    self.convs = nnx.List([Conv1x1(width, WIDTH, rngs) for width in config.widths[::-1]])

  def coarse(self, stages: list[jax.Array]) -> jax.Array:
    """Stages, finest first -> (side / 16, side / 16, 256)."""
    below = self.convs[0](stages[3])
    return self.convs[1](stages[2]) + below.repeat(2, axis=0).repeat(2, axis=1)

  def fine(self, stages: list[jax.Array], index: int, then: Conv1x1) -> jax.Array:
    """Stage 0 or 1 through its projection and `then`: (h, w, outputs of `then`).

    One projection behind another is one projection: the 256 channels between are not formed.
    """
    conv = self.convs[3 - index]
    kernel = conv.kernel[0, 0] @ then.kernel[0, 0]
    bias = conv.bias[...] @ then.kernel[0, 0] + then.bias[...]
    return stages[index] @ kernel + bias.reshape(1, 1, -1)


class Encoder(nnx.Module):
  """Trunk and neck."""

  def __init__(self, config: Config, rngs: nnx.Rngs):
    self.trunk = Trunk(config, rngs)
    self.neck = Neck(config, rngs)


@functools.cache
def _definition(config: Config) -> trees.Definition[Encoder]:
  return trees.define(functools.partial(Encoder, config), 'image_encoder/')


def shapes(config: Config) -> dict[str, tuple[int, ...]]:
  """Shape of every parameter of the encoder by its name in the flat tree."""
  return dict(_definition(config).shapes)


def bind(config: Config, params: Params) -> Encoder:
  """The encoder with these parameters; for use inside one trace."""
  return trees.bind(_definition(config), params)
