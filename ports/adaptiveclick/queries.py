"""AdaptiveClick's decoder of masks: learned queries that attend where their masks are, in Flax.

Lin et al., "AdaptiveClick" (arXiv 2305.04276), as released: no click becomes a query. Positive
clicks open the places of their disks to queries that are of the object's class; each query attends
within its own last mask besides (arXiv 2112.01527).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from ports.adaptiveclick.pixels import LEVELS, Pixels, sines, unaligned
from ports.nn.layers import layer_norm, norm
from ports.nn.resnet import max_pool

__all__ = ['Masks', 'QueryDecoder']

_HEADS = 8


class Masks(NamedTuple):
  """What the queries say.

  Attributes:
    classes: (queries, 2) logits; the second is of the object.
    masks: (queries, h, w) logits at 1/4 of the input.
    blocked: (queries, h', w') bool, where the next layer may not attend.
  """

  classes: jax.Array
  masks: jax.Array
  blocked: jax.Array


class Attention(nnx.Module):
  """Multi-head attention with PyTorch's fused projection."""

  def __init__(self, width: int, rngs: nnx.Rngs):
    self.in_proj = nnx.Linear(width, 3 * width, rngs=rngs)
    self.out_proj = nnx.Linear(width, width, rngs=rngs)

  def __call__(
    self, query: jax.Array, key: jax.Array, value: jax.Array, blocked: jax.Array | None = None
  ) -> jax.Array:
    """(q, width), (k, width), (k, width), (q, k) bool -> (q, width)."""
    width = query.shape[-1]
    bias = self.in_proj.bias
    assert bias is not None
    parts = []
    for i, x in enumerate((query, key, value)):
      part = slice(i * width, (i + 1) * width)
      y = x @ self.in_proj.kernel[...][:, part] + bias[...][part][None]
      parts.append(y.reshape(len(x), _HEADS, width // _HEADS).swapaxes(0, 1))
    q, k, v = parts
    scores = q @ k.swapaxes(1, 2) * (width // _HEADS) ** -0.5
    if blocked is not None:
      scores = jnp.where(blocked[None], -jnp.inf, scores)
    found = (jax.nn.softmax(scores, axis=-1) @ v).swapaxes(0, 1)
    return self.out_proj(found.reshape(len(query), width))


class Layer(nnx.Module):
  """Attention to the pixels, attention among the queries, two linear layers."""

  def __init__(self, width: int, hidden: int, rngs: nnx.Rngs):
    self.cross = Attention(width, rngs)
    self.cross_norm = layer_norm(width, 1e-5, rngs)
    self.own = Attention(width, rngs)
    self.own_norm = layer_norm(width, 1e-5, rngs)
    self.linear1 = nnx.Linear(width, hidden, rngs=rngs)
    self.linear2 = nnx.Linear(hidden, width, rngs=rngs)
    self.norm = layer_norm(width, 1e-5, rngs)

  def __call__(
    self, x: jax.Array, places: jax.Array, source: jax.Array, positions: jax.Array,
    blocked: jax.Array,
  ) -> list[jax.Array]:
    """(queries, width) -> the same behind each of the three steps."""
    crossed = norm(
      x + self.cross(x + places, source + positions, source, blocked), self.cross_norm
    )
    asked = crossed + places
    own = norm(crossed + self.own(asked, asked, crossed), self.own_norm)
    last = norm(own + self.linear2(jax.nn.relu(self.linear1(own))), self.norm)
    return [crossed, own, last]


class QueryDecoder(nnx.Module):
  """The queries and all that makes masks of them."""

  def __init__(
    self, width: int, mask_width: int, hidden: int, depth: int, queries: int, rngs: nnx.Rngs
  ):
    self.query_feat = nnx.Embed(queries, width, rngs=rngs)
    self.query_embed = nnx.Embed(queries, width, rngs=rngs)
    self.level_embed = nnx.Embed(LEVELS, width, rngs=rngs)
    self.layers = nnx.List([Layer(width, hidden, rngs) for _ in range(depth)])
    self.decoder_norm = layer_norm(width, 1e-5, rngs)
    self.class_embed = nnx.Linear(width, 2, rngs=rngs)
    sizes = ((width, width), (width, width), (width, mask_width))
    self.mask_embed = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in sizes])

  def _masks(
    self, x: jax.Array, features: jax.Array, clicks: jax.Array, size: tuple[int, int]
  ) -> Masks:
    """Masks of queries, and where the next layer, of `size`, may not attend."""
    x = norm(x, self.decoder_norm)
    classes = self.class_embed(x)
    for i, step in enumerate(self.mask_embed):
      x = jax.nn.relu(step(x)) if i < 2 else step(x)
    masks = jnp.einsum('qc,hwc->qhw', x, features, precision='highest')
    small = jax.lax.stop_gradient(unaligned(masks.transpose(1, 2, 0), *size)).transpose(2, 0, 1)
    object_like = (classes[:, 1] > classes[:, 0])[:, None, None]
    opened = object_like & (jax.lax.stop_gradient(clicks)[None] >= 0.5)
    return Masks(classes, masks, (jax.nn.sigmoid(small) < 0.5) & ~opened)

  def __call__(
    self, pixels: Pixels, clicks: jax.Array, taps: dict[str, jax.Array] | None = None
  ) -> list[Masks]:
    """What the queries say before the first layer and behind each.

    Args:
      pixels: of the pixel decoder.
      clicks: (h, w) disks of the positive clicks at the input's resolution.
      taps: takes inner tensors.
    """
    sizes = [(level.shape[0], level.shape[1]) for level in pixels.levels]
    width = pixels.levels[0].shape[-1]
    near = [_opened(clicks, size) for size in sizes]
    source = [
      level.reshape(-1, width) + self.level_embed.embedding[i][None]
      for i, level in enumerate(pixels.levels)
    ]
    positions = [jnp.asarray(sines(*size, width)).reshape(-1, width) for size in sizes]
    x, places = self.query_feat.embedding[...], self.query_embed.embedding[...]
    found = [self._masks(x, pixels.features, near[0], sizes[0])]
    for i, layer in enumerate(self.layers):
      level, following = i % LEVELS, (i + 1) % LEVELS
      blocked = found[-1].blocked.reshape(len(x), -1)
      blocked = blocked & ~jnp.all(blocked, axis=1, keepdims=True)
      steps = layer(x, places, source[level], positions[level], blocked)
      x = steps[-1]
      if taps is not None:
        for name, step in zip(('cross_attention', 'self_attention', 'ffn'), steps, strict=True):
          taps[f'transformer_{name}_layers.{i}'] = step
      found.append(self._masks(x, pixels.features, near[following], sizes[following]))
    return found


def _opened(clicks: jax.Array, size: tuple[int, int]) -> jax.Array:
  """Disks (h, w) at a level: pooled by halves as often as the widths say, then resized."""
  x = clicks[None, :, :, None]
  for _ in range(int(math.log(clicks.shape[1] / size[1], 2))):
    x = max_pool(x)
  return unaligned(x[0], *size)[..., 0]
