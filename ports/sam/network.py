"""SAM's two-way mask decoder in Flax, split by what a click touches.

Source of the architecture: Kirillov et al., "Segment Anything" (arXiv 2304.02643) and its released
code. The modules here hold the parameters under the released names; the arithmetic is arranged for
an attack, which evaluates one round many times while only one click moves:

* whatever does not depend on the clicks (the mask prompt, the first layer's image keys, values and
  queries) is computed by `prepare`, once per round;
* later attentions project the few tokens in place of the thousands of positions, as long as the
  tokens are few: of many, the gradient costs less where positions are projected;
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
from flax import nnx

from ports.nn.layers import gelu, layer_norm, norm
from ports.sam.prompts import EMBED, GRID, PromptEncoder

__all__ = [
  'EMBED',
  'GRID',
  'HEADS',
  'MASK_CHOICES',
  'NUM_MASKS',
  'Context',
  'MaskDecoder',
  'Mlp',
  'Prompted',
  'in_order',
]

HEADS = 8
NUM_MASKS = 4

MANY_TOKENS = 12
"""From so many tokens on, five of them the decoder's own, positions are projected in every block.
Forward and gradient take 96 products a token and position channel without, and about 1,100 with."""

MASK_CHOICES = ('best_of_three', 'single', 'advised')
"""Which of the four masks is the answer: of the three for ambiguous clicks the one with the highest
predicted IoU, as published evaluations take it; the one for prompts that are not; or, as the
authors advise, the former at the first click and the latter afterwards."""


class Places(NamedTuple):
  """Positions of the image as one layer projects them, (HEADS, n, 16) each."""

  key: jax.Array
  value: jax.Array
  query: jax.Array


class Context(NamedTuple):
  """What a round's clicks do not touch.

  Attributes:
    image: (n, 256), image embedding plus mask prompt, row by row of the grid.
    places: of the first layer.
  """

  image: jax.Array
  places: Places


def _bias(linear: nnx.Linear) -> jax.Array:
  assert linear.bias is not None
  return linear.bias[...]


def _heads(x: jax.Array) -> jax.Array:
  return x.reshape(*x.shape[:-1], HEADS, x.shape[-1] // HEADS)


def _by_head(x: jax.Array) -> jax.Array:
  """(n, width) -> (HEADS, n, width / HEADS)."""
  return jnp.swapaxes(_heads(x), 0, 1)


def _pool(scores: jax.Array, values: jax.Array) -> jax.Array:
  """Softmax of (..., n, columns) over n, applied to (..., n, width) -> (..., columns, width)."""
  weights = jnp.exp(scores - jax.lax.stop_gradient(jnp.max(scores, axis=-2, keepdims=True)))
  return (jnp.swapaxes(weights, -1, -2) @ values) / jnp.sum(weights, axis=-2)[..., None]


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

  Where a few tokens face thousands of positions, what belongs to the positions need not be
  projected: a score (x W_k) . q is x . (W_k q), one column for each token and head, and a value is
  pooled first, then projected. Columns are ordered token by token, within a token head by head.
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

  def take(self, tokens: jax.Array, places: Places) -> jax.Array:
    """(t, 256) tokens -> (t, 256) what they take from the positions."""
    query = _by_head(self.q_proj(tokens) * self.scale)
    pooled = _pool(jnp.einsum('hnc,htc->hnt', places.key, query), places.value)
    return self.out_proj(jnp.swapaxes(pooled, 0, 1).reshape(len(tokens), -1))

  def give(
    self, asking: jax.Array, tokens: jax.Array, places: Places, use: jax.Array
  ) -> jax.Array:
    """(t, 256) tokens, as keys and as values -> (n, 256) what positions take from them."""
    key, value = _by_head(self.k_proj(asking) * self.scale), _by_head(self.v_proj(tokens))
    scores = jnp.einsum('hnc,htc->hnt', places.query, key)
    weights = jax.nn.softmax(jnp.where(use[None, None, :], scores, -jnp.inf), axis=-1)
    mixed = jnp.einsum('hnt,htc->nhc', weights, value)
    return self.out_proj(mixed.reshape(len(mixed), -1))

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

  def project(self, image: jax.Array, position: jax.Array) -> Places:
    """(n, 256) image and its positions, as this block's tokens and image see them."""
    down, up, placed = (
      self.cross_attn_token_to_image, self.cross_attn_image_to_token, image + position
    )
    return Places(
      _by_head(down.k_proj(placed)), _by_head(down.v_proj(image)), _by_head(up.q_proj(placed))
    )

  def first(
    self, prompt: jax.Array, context: Context, use: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    """As the first block: (t, 256) prompt -> new (t, 256) tokens and (n, 256) image."""
    tokens = norm(self.self_attn.among_tokens(prompt, prompt, use), self.norm1)
    return self._among_places(tokens, prompt, context.image, context.places, use)

  def later(
    self,
    tokens: jax.Array,
    prompt: jax.Array,
    image: jax.Array,
    position: jax.Array,
    use: jax.Array,
  ) -> tuple[jax.Array, jax.Array]:
    """tokens, prompt (t, 256), image, position (n, 256) -> new tokens and image."""
    attended = self.self_attn.among_tokens(tokens + prompt, tokens, use)
    tokens = norm(tokens + attended, self.norm1)
    if len(tokens) >= MANY_TOKENS:
      return self._among_places(tokens, prompt, image, self.project(image, position), use)
    placed = image + position
    down = self.cross_attn_token_to_image
    pooled = _pool(placed @ down.query_columns(tokens + prompt), image)
    tokens = norm(tokens + down.from_pooled(pooled), self.norm2)
    tokens = norm(tokens + self.mlp(tokens), self.norm3)
    up = self.cross_attn_image_to_token
    columns, offsets = up.key_columns(tokens + prompt)
    scores = placed @ columns + offsets[None]
    return tokens, norm(image + up.spread(scores, tokens, use), self.norm4)

  def _among_places(
    self, tokens: jax.Array, prompt: jax.Array, image: jax.Array, places: Places, use: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    """What follows the tokens' look at themselves."""
    tokens = norm(
      tokens + self.cross_attn_token_to_image.take(tokens + prompt, places), self.norm2
    )
    tokens = norm(tokens + self.mlp(tokens), self.norm3)
    given = self.cross_attn_image_to_token.give(tokens + prompt, tokens, places, use)
    return tokens, norm(image + given, self.norm4)


class Transformer(nnx.Module):
  """Two blocks and a last attention from the tokens to the image."""

  def __init__(self, rngs: nnx.Rngs):
    self.layers = nnx.List([TwoWayBlock(rngs), TwoWayBlock(rngs)])
    self.final_attn_token_to_image = Attention(EMBED // 2, rngs)
    self.norm_final_attn = _norm(rngs)

  def prepare(self, image: jax.Array, position: jax.Array) -> Context:
    """(n, 256) embedding with the mask prompt added, and its positions -> `Context`."""
    return Context(image, self.layers[0].project(image, position))

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

  def own_tokens(self) -> jax.Array:
    """(5, 256) output tokens before they are read: predicted IoU, then the masks."""
    return jnp.concatenate([self.iou_token.embedding[...], self.mask_tokens.embedding[...]])

  def tokens(self, context: Context, position: jax.Array, sparse: jax.Array, use: jax.Array):
    """Runs the transformer.

    Args:
      context: of the round.
      position: (n, 256), of the grid.
      sparse: (p, 256) prompt tokens.
      use: (p,) bool, those that exist.

    Returns:
      Output tokens, as many as `own_tokens` has, and the (n, 256) image.
    """
    own = self.own_tokens()
    prompt = jnp.concatenate([own, sparse])
    use = jnp.concatenate([jnp.ones(len(own), bool), use])
    return self.transformer(prompt, context, position, use, len(own))

  def upscale(self, image: jax.Array) -> jax.Array:
    """(n, 256) image -> (n, 4, 4, 32): of each cell its blocks at double size, then of these."""
    up = self.output_upscaling
    return gelu(up['3'](gelu(norm(up['0'](image), up['1']))))

  def masks(self, image: jax.Array, hyper: jax.Array) -> jax.Array:
    """(n, 256) image and (32, m) mixing weights -> (4 * side, 4 * side, m) logits."""
    return in_order(self.upscale(image).reshape(-1, len(hyper)) @ hyper)

  def predict(self, context: Context, position: jax.Array, sparse: jax.Array, use: jax.Array):
    """All four masks: (4, 4 * side, 4 * side) logits and their (4,) predicted IoU."""
    tokens, image = self.tokens(context, position, sparse, use)
    masks = jnp.moveaxis(self.masks(image, self.hyper(tokens, 0).T), -1, 0)
    return masks, self.iou_prediction_head(tokens[0])

  def hyper(self, tokens: jax.Array, first: int) -> jax.Array:
    """(4 - first, 32) mixing weights of the masks from `first` on."""
    heads = list(self.output_hypernetworks_mlps)[first:]
    return jnp.stack([mlp(tokens[first + i + 1]) for i, mlp in enumerate(heads)])

  def choose(
    self, tokens: jax.Array, choice: str, first: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    """The mixing weights of the mask that is the answer, (32,), and its () predicted IoU.

    Args:
      tokens: of `tokens`.
      choice: one of `MASK_CHOICES`.
      first: () bool, whether there is one click.
    """
    predicted = self.iou_prediction_head(tokens[0])
    if choice == 'single':
      return self.output_hypernetworks_mlps[0](tokens[1]), predicted[0]
    best = jax.lax.argmax(predicted[1:], 0, jnp.int32)
    if choice == 'best_of_three':
      return self.hyper(tokens, 1)[best], predicted[1:][best]
    chosen = jnp.where(first, best + 1, 0)
    return self.hyper(tokens, 0)[chosen], predicted[chosen]

  def answer(
    self,
    context: Context,
    position: jax.Array,
    sparse: jax.Array,
    use: jax.Array,
    choice: str,
    first: jax.Array,
  ) -> tuple[jax.Array, jax.Array]:
    """One mask's (4 * side, 4 * side) logits and its () predicted IoU; see `choose`."""
    tokens, image = self.tokens(context, position, sparse, use)
    hyper, predicted = self.choose(tokens, choice, first)
    return self.masks(image, hyper[:, None])[..., 0], predicted


def in_order(blocks: jax.Array) -> jax.Array:
  """What `MaskDecoder.upscale` gives, (n * 16, m), as a picture (4 * side, 4 * side, m)."""
  side = math.isqrt(blocks.shape[0] // 16)
  # Row, column of the grid, then twice (row, column) of what one becomes at double size.
  x = blocks.reshape(side, side, 2, 2, 2, 2, -1)
  return x.transpose(0, 2, 4, 1, 3, 5, 6).reshape(4 * side, 4 * side, -1)


class Prompted(nnx.Module):
  """Prompt encoder and mask decoder together, as every model of the family has them."""

  def __init__(self, rngs: nnx.Rngs):
    self.prompt_encoder = PromptEncoder(rngs)
    self.mask_decoder = MaskDecoder(rngs)
