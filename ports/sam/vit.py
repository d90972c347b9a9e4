"""SAM's image encoder in Flax: a plain vision transformer with windows and relative positions.

Architecture: Li et al., "Exploring Plain Vision Transformer Backbones for Object Detection" (arXiv
2203.16527), as Kirillov et al., "Segment Anything" (arXiv 2304.02643), use and release it: most
blocks attend within windows of 14 by 14 tokens, four attend globally, and every attention adds a
bias that is a sum of one for the rows and one for the columns between two tokens. Parameters keep
the released names.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from ports.nn import trees
from ports.nn.layers import PatchConv, gelu, layer_norm, norm
from tetris_jax.types import Array, Params

__all__ = ['CONFIGS', 'Config', 'apply', 'shapes']

_OUTPUT = 256
_PATCH = 16
# Scores of this many queries with all tokens are formed at once in a global block: of all 4096 at
# once they would take 1 GiB for ViT-H, and no cache holds them.
_QUERIES = 128


@dataclasses.dataclass(frozen=True)
class Config:
  """Sizes of an encoder.

  Attributes:
    width: of a token.
    depth: blocks.
    heads: of an attention.
    global_blocks: which blocks attend globally, from 0.
    side: of the picture, in pixels.
    window: tokens a side, of the other blocks.
  """

  width: int
  depth: int
  heads: int
  global_blocks: tuple[int, ...]
  side: int = 1024
  window: int = 14

  def __post_init__(self) -> None:
    """Raises ValueError for sizes that do not fit."""
    if self.width % self.heads or self.side % _PATCH or self.side < _PATCH or self.window < 1:
      raise ValueError(
        f'{self}: width must be a multiple of heads, side one of {_PATCH}, window at least 1'
      )

  @property
  def grid(self) -> int:
    """Tokens a side."""
    return self.side // _PATCH


CONFIGS = {
  'vit_b': Config(768, 12, 12, (2, 5, 8, 11)),
  'vit_l': Config(1024, 24, 16, (5, 11, 17, 23)),
  'vit_h': Config(1280, 32, 16, (7, 15, 23, 31)),
}
"""The released sizes."""


def _between(table: jax.Array, side: int) -> jax.Array:
  """(2 * side - 1, size) by distance -> (side, side, size) by query and key."""
  index = jnp.arange(side)
  return table[index[:, None] - index[None, :] + side - 1]


class Attention(nnx.Module):
  """Multi-head self-attention among the tokens of each square, with decomposed positions."""

  def __init__(self, config: Config, side: int, rngs: nnx.Rngs):
    width, size = config.width, config.width // config.heads
    self.qkv = nnx.Linear(width, 3 * width, rngs=rngs)
    self.proj = nnx.Linear(width, width, rngs=rngs)
    self.rel_pos_h = nnx.Param(jnp.zeros((2 * side - 1, size)))
    self.rel_pos_w = nnx.Param(jnp.zeros((2 * side - 1, size)))
    self.heads = config.heads
    self.side = side

  def _attend(self, query: jax.Array, key: jax.Array, value: jax.Array, rows: jax.Array):
    """What some rows of queries take from all tokens.

    Args:
      query: (squares, heads, r, side, size).
      key: (squares, heads, side * side, size).
      value: likewise.
      rows: (r,) of the square, those of the queries.

    Returns:
      (squares, heads, r * side, size).
    """
    squares, heads, count, side, size = query.shape
    # The positions see the query as it is, the keys see it scaled.
    above = _between(self.rel_pos_h[...], side)[rows]
    beside = _between(self.rel_pos_w[...], side)
    by_row = jnp.einsum('nhrcd,rkd->nhrck', query, above)
    by_column = jnp.einsum('nhrcd,ckd->nhrck', query, beside)
    flat = (query * size**-0.5).reshape(squares, heads, count * side, size)
    scores = flat @ key.swapaxes(2, 3)
    scores = scores.reshape(squares, heads, count, side, side, side)
    scores = scores + by_row[..., :, None] + by_column[..., None, :]
    scores = scores.reshape(squares, heads, count * side, side * side)
    # The softmax is divided out after the product: on CPU XLA computes the exponentials anew for
    # both of its uses otherwise.
    weights = jnp.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights @ value / weights.sum(axis=-1, keepdims=True)

  def __call__(self, x: jax.Array) -> jax.Array:
    """(squares, side, side, width) -> the same shape."""
    squares, side, _, width = x.shape
    size = width // self.heads
    qkv = self.qkv(x).reshape(squares, side, side, 3, self.heads, size)
    query, key, value = jnp.transpose(qkv, (3, 0, 4, 1, 2, 5))
    key = key.reshape(squares, self.heads, side * side, size)
    value = value.reshape(squares, self.heads, side * side, size)
    count = max(1, min(side, _QUERIES // side))
    while side % count:
      count -= 1
    if count == side:
      found = self._attend(query, key, value, jnp.arange(side))
    else:
      parts = query.reshape(squares, self.heads, side // count, count, side, size)
      rows = jnp.arange(side).reshape(-1, count)
      found = jax.lax.map(
        lambda part: self._attend(part[0], key, value, part[1]), (jnp.moveaxis(parts, 2, 0), rows)
      )
      found = jnp.moveaxis(found, 0, 2).reshape(squares, self.heads, side * side, size)
    found = found.swapaxes(1, 2).reshape(squares, side, side, width)
    return self.proj(found)


class Mlp(nnx.Module):
  """Two linear layers with a GELU between."""

  def __init__(self, width: int, rngs: nnx.Rngs):
    self.lin1 = nnx.Linear(width, 4 * width, rngs=rngs)
    self.lin2 = nnx.Linear(4 * width, width, rngs=rngs)

  def __call__(self, x: jax.Array) -> jax.Array:
    """(..., width) -> the same shape."""
    return self.lin2(gelu(self.lin1(x)))


class Block(nnx.Module):
  """Attention and MLP, each behind a norm and beside a residual."""

  def __init__(self, config: Config, window: int, rngs: nnx.Rngs):
    self.norm1 = layer_norm(config.width, 1e-6, rngs)
    self.attn = Attention(config, window or config.grid, rngs)
    self.norm2 = layer_norm(config.width, 1e-6, rngs)
    self.mlp = Mlp(config.width, rngs)
    self.window = window

  def __call__(self, x: jax.Array) -> jax.Array:
    """(grid, grid, width) -> the same shape; `window` 0 is the whole grid.

    The grid is padded with zeros to whole windows behind the norm, and the padded tokens take
    part: their queries, keys and values are the biases. The released network does so.
    """
    inside = norm(x, self.norm1)
    if not self.window:
      x = x + self.attn(inside[None])[0]
    else:
      grid, _, width = x.shape
      window = self.window
      count = math.ceil(grid / window)
      short = count * window - grid
      inside = jnp.pad(inside, ((0, short), (0, short), (0, 0)))
      inside = inside.reshape(count, window, count, window, width).swapaxes(1, 2)
      found = self.attn(inside.reshape(count * count, window, window, width))
      found = found.reshape(count, count, window, window, width).swapaxes(1, 2)
      x = x + found.reshape(count * window, count * window, width)[:grid, :grid]
    return x + self.mlp(norm(x, self.norm2))


class Encoder(nnx.Module):
  """The encoder with the released names; the neck is a list of layers there."""

  def __init__(self, config: Config, rngs: nnx.Rngs):
    width = config.width
    self.patch_embed = nnx.Dict({'proj': PatchConv(3, width, _PATCH, rngs)})
    self.pos_embed = nnx.Param(jnp.zeros((1, config.grid, config.grid, width)))
    self.blocks = nnx.List([
      Block(config, 0 if index in config.global_blocks else config.window, rngs)
      for index in range(config.depth)
    ])
    neck: dict[str, Any] = {
      '0': nnx.Conv(width, _OUTPUT, (1, 1), use_bias=False, rngs=rngs),
      '1': layer_norm(_OUTPUT, 1e-6, rngs),
      # torch pads by 1 on every side, as "SAME" does at stride 1
      '2': nnx.Conv(_OUTPUT, _OUTPUT, (3, 3), use_bias=False, rngs=rngs),
      '3': layer_norm(_OUTPUT, 1e-6, rngs),
    }
    self.neck = nnx.Dict(neck)

  def embed(self, image: jax.Array) -> jax.Array:
    """(side, side, 3) -> (grid, grid, width), positions added."""
    return self.patch_embed['proj'](image) + self.pos_embed[0]

  def finish(self, x: jax.Array) -> jax.Array:
    """(grid, grid, width) -> (grid, grid, 256)."""
    neck = self.neck
    x = norm(x @ neck['0'].kernel[0, 0], neck['1'])
    return norm(neck['2'](x), neck['3'])


@functools.cache
def _definition(config: Config) -> trees.Definition[Encoder]:
  return trees.define(functools.partial(Encoder, config), 'image_encoder/')


def shapes(config: Config) -> dict[str, tuple[int, ...]]:
  """Shape of every parameter of the encoder by its name in the flat tree."""
  return dict(_definition(config).shapes)


def bind(config: Config, params: Params) -> Encoder:
  """The encoder with these parameters; for use inside one trace, as `apply` does."""
  definition = _definition(config)
  return trees.bind(definition, {name: jnp.asarray(params[name]) for name in definition.shapes})


def apply(config: Config, params: Params, image: Array) -> tuple[jax.Array, jax.Array]:
  """Image embedding, (grid, grid, 256) float32, and what the first global block gives.

  Args:
    config: sizes.
    params: flat tree that holds at least the leaves of `shapes(config)`.
    image: (side, side, 3) float32, normalised and padded as `ports.sam.preprocess` does.

  Returns:
    The embedding, and (grid, grid, width), which SAM-HQ reads as the early feature.
  """
  encoder = bind(config, params)
  x = encoder.embed(jnp.asarray(image))
  early = x
  for index, block in enumerate(encoder.blocks):
    x = block(x)
    if index == min(config.global_blocks):
      early = x
  return encoder.finish(x), early
