"""SAM's prompt encoder and two-way mask decoder in Flax, split by what a click touches.

Source of the architecture: Kirillov et al., "Segment Anything" (arXiv 2304.02643) and its released
code. The modules here hold the parameters under the released names; the arithmetic is arranged for
an attack, which evaluates one round many times while only one click moves:

* whatever does not depend on the clicks (the mask prompt, the first layer's image keys, values and
  queries) is computed by `prepare`, once per round;
* later attentions project the few tokens in place of the thousands of positions;
* the final attention is asked only for the tokens that are read, and only the mask with the best
  predicted IoU is formed;
* the up-scaling convolutions have stride equal to kernel, so no pixel mixes with another: they run
  as matrix products on blocks, and pixels are put in order once, when each is a single number.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ports.nn.layers import Conv1x1, gelu, layer_norm, norm
from ports.sam.preprocess import SIDE

__all__ = ['EMBED', 'GRID', 'HEADS', 'NUM_MASKS', 'Context', 'Prompted']

EMBED = 256
HEADS = 8
GRID = 64
NUM_MASKS = 4
_EYE = np.eye(HEADS, dtype=np.float32)


class Context(NamedTuple):
  """What a round's clicks do not touch.

  Attributes:
    image: (n, 256), image embedding plus mask prompt, row by row of the grid.
    key: (n, 128), first layer's image keys.
    value: (n, 128), first layer's image values.
    query: (n, 128), first layer's image queries.
  """

  image: jax.Array
  key: jax.Array
  value: jax.Array
  query: jax.Array


def _bias(linear: nnx.Linear) -> jax.Array:
  assert linear.bias is not None
  return linear.bias[...]


def _heads(x: jax.Array) -> jax.Array:
  return x.reshape(*x.shape[:-1], HEADS, x.shape[-1] // HEADS)


def _diagonal(x: jax.Array) -> jax.Array:
  """(t, width) -> (width, t * HEADS): the columns of one token hold one head each, else zeros."""
  spread = jnp.einsum('thc,hg->gcth', _heads(x), _EYE)
  return spread.reshape(x.shape[1], -1)


def _pool(scores: jax.Array, values: jax.Array) -> jax.Array:
  """Softmax of (n, columns) over n, applied to (n, width) values -> (columns, width)."""
  weights = jnp.exp(scores - jax.lax.stop_gradient(jnp.max(scores, axis=0, keepdims=True)))
  return (weights.T @ values) / jnp.sum(weights, axis=0)[:, None]


@jax.custom_jvp
def _share(scores: jax.Array) -> jax.Array:
  """Softmax of (n, t, HEADS) scores over the tokens."""
  weights = jnp.exp(scores - jnp.max(scores, axis=1, keepdims=True))
  return weights / jnp.sum(weights, axis=1, keepdims=True)


@_share.defjvp
def _share_jvp(primals, tangents):
  weights = _share(*primals)
  change = weights * tangents[0]
  return weights, change - weights * jnp.sum(change, axis=1, keepdims=True)


class Attention(nnx.Module):
  """Projections of one attention; `width` is the size of its inside.

  A few tokens face thousands of positions, so what belongs to the positions is never projected: a
  score (x W_k) . q is x . (W_k q), one column for each token and head, and a value is pooled
  first, then projected. Columns are ordered token by token, within a token head by head.
  """

  def __init__(self, width: int, rngs: nnx.Rngs):
    self.q_proj = nnx.Linear(EMBED, width, rngs=rngs)
    self.k_proj = nnx.Linear(EMBED, width, rngs=rngs)
    self.v_proj = nnx.Linear(EMBED, width, rngs=rngs)
    self.out_proj = nnx.Linear(width, EMBED, rngs=rngs)
    self.scale = 1 / math.sqrt(width // HEADS)

  def among_tokens(self, asking: jax.Array, values: jax.Array, use: jax.Array) -> jax.Array:
    """(t, 256), (t, 256) -> (t, 256); keys are those of `asking`; `use` (t,) hides the others."""
    q, k = _heads(self.q_proj(asking)), _heads(self.k_proj(asking))
    scores = jnp.einsum('qhc,khc->hqk', q, k) * self.scale
    weights = jax.nn.softmax(jnp.where(use[None, None, :], scores, -jnp.inf), axis=-1)
    mixed = jnp.einsum('hqk,khc->qhc', weights, _heads(self.v_proj(values)))
    return self.out_proj(mixed.reshape(asking.shape[0], -1))

  def query_columns(self, tokens: jax.Array) -> jax.Array:
    """Columns (256, t * HEADS) whose product with positions are the scores that tokens give them.

    The bias of the keys adds the same to all positions, so it falls out of the softmax.
    """
    kernel, query = _heads(self.k_proj.kernel[...]), _heads(self.q_proj(tokens)) * self.scale
    return jnp.einsum('ehc,thc->eth', kernel, query).reshape(EMBED, -1)

  def from_pooled(self, pooled: jax.Array) -> jax.Array:
    """(t * HEADS, 256) pooled positions -> (t, 256) what the tokens take from them."""
    kernel = _heads(self.v_proj.kernel[...])
    pooled = pooled.reshape(-1, HEADS, EMBED)
    value = jnp.einsum('the,ehc->thc', pooled, kernel).reshape(len(pooled), -1)
    return self.out_proj(value + _bias(self.v_proj)[None])

  def key_columns(self, tokens: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Columns (256, t * HEADS) and offsets (t * HEADS,): scores that positions give tokens."""
    key = _heads(self.k_proj(tokens)) * self.scale
    columns = jnp.einsum('ehc,thc->eth', _heads(self.q_proj.kernel[...]), key)
    offsets = jnp.einsum('hc,thc->th', _heads(_bias(self.q_proj)), key)
    return columns.reshape(EMBED, -1), offsets.reshape(-1)

  def spread(self, scores: jax.Array, tokens: jax.Array, use: jax.Array) -> jax.Array:
    """(n, t * HEADS) scores and (t, 256) values -> (n, 256) what positions take from tokens."""
    scores = jnp.where(use[None, :, None], scores.reshape(-1, len(tokens), HEADS), -jnp.inf)
    weights = _share(scores).reshape(len(scores), -1)
    value = _heads(self.v_proj(tokens))
    kernel = self.out_proj.kernel[...].reshape(*value.shape[1:], EMBED)
    columns = jnp.einsum('thc,hce->the', value, kernel).reshape(-1, EMBED)
    return weights @ columns + _bias(self.out_proj)[None]


class TokenMlp(nnx.Module):
  """Two linear layers with a ReLU between."""

  def __init__(self, rngs: nnx.Rngs):
    self.lin1 = nnx.Linear(EMBED, 2048, rngs=rngs)
    self.lin2 = nnx.Linear(2048, EMBED, rngs=rngs)

  def __call__(self, x):
    """(n, 256) -> (n, 256)."""
    return self.lin2(jax.nn.relu(self.lin1(x)))


class Mlp(nnx.Module):
  """Three linear layers with ReLUs between, as the heads use them."""

  def __init__(self, out: int, rngs: nnx.Rngs):
    self.layers = nnx.List(
      [nnx.Linear(EMBED, width, rngs=rngs) for width in (EMBED, EMBED, out)]
    )

  def __call__(self, x):
    """(..., 256) -> (..., out)."""
    first, second, last = self.layers
    return last(jax.nn.relu(second(jax.nn.relu(first(x)))))


def _norm(rngs: nnx.Rngs) -> nnx.LayerNorm:
  return layer_norm(EMBED, 1e-5, rngs)


class TwoWayBlock(nnx.Module):
  """Tokens look at themselves and at the image, then the image looks at the tokens."""

  def __init__(self, rngs: nnx.Rngs):
    self.self_attn = Attention(EMBED, rngs)
    self.cross_attn_token_to_image = Attention(EMBED // 2, rngs)
    self.cross_attn_image_to_token = Attention(EMBED // 2, rngs)
    self.mlp = TokenMlp(rngs)
    self.norm1, self.norm2 = _norm(rngs), _norm(rngs)
    self.norm3, self.norm4 = _norm(rngs), _norm(rngs)

  def first(self, prompt: jax.Array, context: Context, use: jax.Array):
    """As the first block: (t, 256) prompt -> new (t, 256) tokens and (n, 256) image."""
    tokens = norm(self.self_attn.among_tokens(prompt, prompt, use), self.norm1)
    down = self.cross_attn_token_to_image
    columns = _diagonal(down.q_proj(tokens + prompt) * down.scale)
    pooled = _pool(context.key @ columns, context.value)
    pooled = pooled.reshape(len(tokens), HEADS, HEADS, -1)
    value = jnp.einsum('thgc,hg->thc', pooled, _EYE).reshape(len(tokens), -1)
    tokens = norm(tokens + down.out_proj(value), self.norm2)
    tokens = norm(tokens + self.mlp(tokens), self.norm3)
    up = self.cross_attn_image_to_token
    scores = context.query @ _diagonal(up.k_proj(tokens + prompt) * up.scale)
    return tokens, norm(context.image + up.spread(scores, tokens, use), self.norm4)

  def later(
    self,
    tokens: jax.Array,
    prompt: jax.Array,
    image: jax.Array,
    position: jax.Array,
    use: jax.Array,
  ):
    """tokens, prompt (t, 256), image, position (n, 256) -> new tokens and image."""
    attended = self.self_attn.among_tokens(tokens + prompt, tokens, use)
    tokens = norm(tokens + attended, self.norm1)
    placed = image + position
    down = self.cross_attn_token_to_image
    pooled = _pool(placed @ down.query_columns(tokens + prompt), image)
    tokens = norm(tokens + down.from_pooled(pooled), self.norm2)
    tokens = norm(tokens + self.mlp(tokens), self.norm3)
    up = self.cross_attn_image_to_token
    columns, offsets = up.key_columns(tokens + prompt)
    scores = placed @ columns + offsets[None]
    return tokens, norm(image + up.spread(scores, tokens, use), self.norm4)


class Transformer(nnx.Module):
  """Two blocks and a last attention from the tokens to the image."""

  def __init__(self, rngs: nnx.Rngs):
    self.layers = nnx.List([TwoWayBlock(rngs), TwoWayBlock(rngs)])
    self.final_attn_token_to_image = Attention(EMBED // 2, rngs)
    self.norm_final_attn = _norm(rngs)

  def prepare(self, image: jax.Array, position: jax.Array) -> Context:
    """(n, 256) embedding with the mask prompt added, and its positions -> `Context`."""
    first: TwoWayBlock = self.layers[0]
    placed = image + position
    return Context(
      image,
      first.cross_attn_token_to_image.k_proj(placed),
      first.cross_attn_token_to_image.v_proj(image),
      first.cross_attn_image_to_token.q_proj(placed),
    )

  def __call__(
    self, prompt: jax.Array, context: Context, position: jax.Array, use: jax.Array, read: int
  ):
    """(t, 256) prompt, those of them that exist -> the first `read` tokens, (n, 256) image."""
    tokens, image = self.layers[0].first(prompt, context, use)
    tokens, image = self.layers[1].later(tokens, prompt, image, position, use)
    last = self.final_attn_token_to_image
    tokens, prompt = tokens[:read], prompt[:read]
    pooled = _pool((image + position) @ last.query_columns(tokens + prompt), image)
    return norm(tokens + last.from_pooled(pooled), self.norm_final_attn), image


class Blocks(nnx.Module):
  """A 2x2 transposed convolution with stride 2, as a product: (n, c) -> (n, 4, out)."""

  def __init__(self, width: int, out: int, rngs: nnx.Rngs):
    self.kernel = nnx.Param(jnp.zeros((2, 2, out, width)))
    self.bias = nnx.Param(jnp.zeros((out,)))
    del rngs  # filled from a checkpoint, as all parameters are

  def __call__(self, x):
    """Block i of an input pixel is its output pixel (i // 2, i % 2)."""
    out, width = self.kernel.shape[2:]
    kernel = self.kernel[...].reshape(4 * out, width)
    bias = self.bias[...].reshape((1,) * x.ndim + (-1,))
    return (x @ kernel.T).reshape(*x.shape[:-1], 4, out) + bias


class MaskDecoder(nnx.Module):
  """Image embedding and prompt tokens to mask logits at four times the grid."""

  def __init__(self, rngs: nnx.Rngs):
    self.transformer = Transformer(rngs)
    self.iou_token = nnx.Embed(1, EMBED, rngs=rngs)
    self.mask_tokens = nnx.Embed(NUM_MASKS, EMBED, rngs=rngs)
    upscaling: dict[str, Any] = {
      '0': Blocks(EMBED, EMBED // 4, rngs),
      '1': layer_norm(EMBED // 4, 1e-6, rngs),
      '3': Blocks(EMBED // 4, EMBED // 8, rngs),
    }
    self.output_upscaling = nnx.Dict(upscaling)
    self.output_hypernetworks_mlps = nnx.List(
      [Mlp(EMBED // 8, rngs) for _ in range(NUM_MASKS)]
    )
    self.iou_prediction_head = Mlp(NUM_MASKS, rngs)

  def tokens(self, context: Context, position: jax.Array, sparse: jax.Array, use: jax.Array):
    """Runs the transformer.

    Args:
      context: of the round.
      position: (n, 256), of the grid.
      sparse: (p, 256) prompt tokens.
      use: (p,) bool, those that exist.

    Returns:
      (5, 256) output tokens (predicted IoU, then the masks) and the (n, 256) image.
    """
    own = jnp.concatenate([self.iou_token.embedding[...], self.mask_tokens.embedding[...]])
    prompt = jnp.concatenate([own, sparse])
    use = jnp.concatenate([jnp.ones(len(own), bool), use])
    return self.transformer(prompt, context, position, use, len(own))

  def masks(self, image: jax.Array, hyper: jax.Array) -> jax.Array:
    """(n, 256) image and (32, m) mixing weights -> (4 * side, 4 * side, m) logits."""
    up = self.output_upscaling
    x = gelu(up['3'](gelu(norm(up['0'](image), up['1']))))
    x = x.reshape(-1, len(hyper)) @ hyper
    side = math.isqrt(image.shape[0])
    # Row, column of the grid, then twice (row, column) of what one becomes at double size.
    x = x.reshape(side, side, 2, 2, 2, 2, -1)
    return x.transpose(0, 2, 4, 1, 3, 5, 6).reshape(4 * side, 4 * side, -1)

  def predict(self, context: Context, position: jax.Array, sparse: jax.Array, use: jax.Array):
    """All four masks: (4, 4 * side, 4 * side) logits and their (4,) predicted IoU."""
    tokens, image = self.tokens(context, position, sparse, use)
    hyper = jnp.stack([
      mlp(tokens[i + 1]) for i, mlp in enumerate(self.output_hypernetworks_mlps)
    ])
    masks = jnp.moveaxis(self.masks(image, hyper.T), -1, 0)
    return masks, self.iou_prediction_head(tokens[0])

  def best(self, context: Context, position: jax.Array, sparse: jax.Array, use: jax.Array):
    """The mask, of the last three, with the highest predicted IoU: logits and that IoU."""
    tokens, image = self.tokens(context, position, sparse, use)
    predicted = self.iou_prediction_head(tokens[0])[1:]
    hyper = jnp.stack([
      mlp(tokens[i + 2]) for i, mlp in enumerate(list(self.output_hypernetworks_mlps)[1:])
    ])
    chosen = jax.lax.argmax(predicted, 0, jnp.int32)
    return self.masks(image, hyper[chosen][:, None])[..., 0], predicted[chosen]


class PromptEncoder(nnx.Module):
  """Clicks to tokens, and a mask's logits to an embedding of the grid's size."""

  def __init__(self, rngs: nnx.Rngs):
    self.pe_layer = nnx.Dict({'gaussian_matrix': nnx.Param(jnp.zeros((2, EMBED // 2)))})
    self.point_embeddings = nnx.List([nnx.Embed(1, EMBED, rngs=rngs) for _ in range(4)])
    self.not_a_point_embed = nnx.Embed(1, EMBED, rngs=rngs)
    self.no_mask_embed = nnx.Embed(1, EMBED, rngs=rngs)
    downscaling: dict[str, Any] = {
      '0': nnx.Conv(1, 4, (2, 2), (2, 2), padding='VALID', rngs=rngs),
      '1': layer_norm(4, 1e-6, rngs),
      '3': nnx.Conv(4, 16, (2, 2), (2, 2), padding='VALID', rngs=rngs),
      '4': layer_norm(16, 1e-6, rngs),
      '6': Conv1x1(16, EMBED, rngs),
    }
    self.mask_downscaling = nnx.Dict(downscaling)

  def encode_position(self, unit: jax.Array) -> jax.Array:
    """(..., 2) (x, y) in [0, 1] of the frame -> (..., 256) random Fourier features."""
    angle = 2 * math.pi * ((2 * unit - 1) @ self.pe_layer['gaussian_matrix'][...])
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)

  def grid_position(self, side: int = GRID) -> jax.Array:
    """(side * side, 256) encoding of the grid's cell centres, row by row."""
    centre = (jnp.arange(side, dtype=jnp.float32) + 0.5) / side
    y, x = jnp.meshgrid(centre, centre, indexing='ij')
    return self.encode_position(jnp.stack([x, y], axis=-1)).reshape(-1, EMBED)

  def encode_clicks(self, xy: jax.Array, label: jax.Array, side: int = SIDE):
    """Clicks to tokens; the padding point that SAM appends comes last.

    Args:
      xy: (k, 2) float32, (x, y) in pixels of the frame.
      label: (k,) int32: 1, 0, or -1 for an empty slot.
      side: of the frame, in pixels.

    Returns:
      (k + 1, 256) tokens and (k + 1,) bool, those that exist.
    """
    kind = jnp.where(
      (label == 1)[:, None],
      self.point_embeddings[1].embedding[...],
      self.point_embeddings[0].embedding[...],
    )
    points = self.encode_position((xy + 0.5) / side) + kind
    tokens = jnp.concatenate([points, self.not_a_point_embed.embedding[...]])
    return tokens, jnp.append(label >= 0, True)

  def encode_mask(self, logits: jax.Array) -> jax.Array:
    """(4 * side, 4 * side) logits -> (side * side, 256)."""
    down = self.mask_downscaling
    x = gelu(down['1'](down['0'](logits[None, :, :, None])))
    x = gelu(down['4'](down['3'](x)))
    return down['6'](x).reshape(-1, EMBED)


class Prompted(nnx.Module):
  """Prompt encoder and mask decoder together, as every model of the family has them."""

  def __init__(self, rngs: nnx.Rngs):
    self.prompt_encoder = PromptEncoder(rngs)
    self.mask_decoder = MaskDecoder(rngs)
