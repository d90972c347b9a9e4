"""SAM's prompt encoder and two-way mask decoder in Flax, split by what a click touches.

Source of the architecture: Kirillov et al., "Segment Anything" (arXiv 2304.02643) and its released
code. The modules here hold the parameters under the released names; the arithmetic is arranged for
an attack, which evaluates one round many times while only one click moves:

* whatever does not depend on the clicks (the mask prompt, the first layer's image keys, values and
  queries) is computed by `prepare`, once per round;
* the final attention is asked only for the tokens that are read, and only the mask with the best
  predicted IoU is formed;
* the up-scaling convolutions have stride equal to kernel, so no pixel mixes with another: they run
  as matrix products on blocks, and pixels are put in order once, when each is a single number.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

EMBED = 256
HEADS = 8
GRID = 64
SIDE = 1024
NUM_MASKS = 4


class Context(NamedTuple):
  """What a round's clicks do not touch.

  Attributes:
    image: (tokens, 256), image embedding plus mask prompt, the decoder's keys.
    position: (tokens, 256), positional encoding of the grid.
    key: (tokens, 128), first layer's image keys.
    value: (tokens, 128), first layer's image values.
    query: (tokens, 128), first layer's image queries.
  """

  image: jax.Array
  position: jax.Array
  key: jax.Array
  value: jax.Array
  query: jax.Array


def _heads(x: jax.Array) -> jax.Array:
  return x.reshape(x.shape[0], HEADS, x.shape[1] // HEADS)


def attend(query: jax.Array, key: jax.Array, value: jax.Array, use: jax.Array | None = None):
  """Attention of (q, c), (k, c), (k, c) -> (q, c) in `HEADS` heads; `use` (k,) bool picks keys."""
  q, k, v = _heads(query), _heads(key), _heads(value)
  scores = jnp.einsum('qhc,khc->hqk', q, k) * (1 / math.sqrt(q.shape[-1]))
  if use is not None:
    scores = jnp.where(use[None, None, :], scores, -jnp.inf)
  weights = jax.nn.softmax(scores, axis=-1)
  return jnp.einsum('hqk,khc->qhc', weights, v).reshape(query.shape[0], value.shape[1])


class Attention(nnx.Module):
  """Projections of one attention; `width` is the size of its inside."""

  def __init__(self, width: int, rngs: nnx.Rngs):
    self.q_proj = nnx.Linear(EMBED, width, rngs=rngs)
    self.k_proj = nnx.Linear(EMBED, width, rngs=rngs)
    self.v_proj = nnx.Linear(EMBED, width, rngs=rngs)
    self.out_proj = nnx.Linear(width, EMBED, rngs=rngs)

  def __call__(self, query, key, value, use=None):
    """(q, 256), (k, 256), (k, 256) -> (q, 256)."""
    return self.out_proj(
      attend(self.q_proj(query), self.k_proj(key), self.v_proj(value), use)
    )


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


def _norm(rngs: nnx.Rngs, width: int = EMBED, epsilon: float = 1e-5) -> nnx.LayerNorm:
  return nnx.LayerNorm(width, epsilon=epsilon, use_fast_variance=False, rngs=rngs)


class TwoWayBlock(nnx.Module):
  """Tokens look at themselves and at the image, then the image looks at the tokens."""

  def __init__(self, first: bool, rngs: nnx.Rngs):
    self.first = first
    self.self_attn = Attention(EMBED, rngs)
    self.cross_attn_token_to_image = Attention(EMBED // 2, rngs)
    self.cross_attn_image_to_token = Attention(EMBED // 2, rngs)
    self.mlp = TokenMlp(rngs)
    self.norm1, self.norm2 = _norm(rngs), _norm(rngs)
    self.norm3, self.norm4 = _norm(rngs), _norm(rngs)

  def project(self, image: jax.Array, position: jax.Array):
    """The image's keys, values and queries in this block, each (tokens, 128)."""
    placed = image + position
    return (
      self.cross_attn_token_to_image.k_proj(placed),
      self.cross_attn_token_to_image.v_proj(image),
      self.cross_attn_image_to_token.q_proj(placed),
    )

  def __call__(self, tokens, prompt, image, projected, use):
    """tokens, prompt (t, 256), image (n, 256), `projected` of the image -> new tokens and image."""
    key, value, query = projected
    if self.first:
      tokens = self.self_attn(tokens, tokens, tokens, use)
    else:
      placed = tokens + prompt
      tokens = tokens + self.self_attn(placed, placed, tokens, use)
    tokens = self.norm1(tokens)
    down = self.cross_attn_token_to_image
    tokens = self.norm2(
      tokens + down.out_proj(attend(down.q_proj(tokens + prompt), key, value))
    )
    tokens = self.norm3(tokens + self.mlp(tokens))
    up = self.cross_attn_image_to_token
    seen = attend(query, up.k_proj(tokens + prompt), up.v_proj(tokens), use)
    return tokens, self.norm4(image + up.out_proj(seen))


class Transformer(nnx.Module):
  """Two blocks and a last attention from the tokens to the image."""

  def __init__(self, rngs: nnx.Rngs):
    self.layers = nnx.List([TwoWayBlock(True, rngs), TwoWayBlock(False, rngs)])
    self.final_attn_token_to_image = Attention(EMBED // 2, rngs)
    self.norm_final_attn = _norm(rngs)

  def last(self, tokens, prompt, image, position):
    """Final attention of (q, 256) tokens.

    Few tokens ask, so the keys are never formed: a score (q W_q)(x W_k)^T is x (W_k W_q^T q), which
    costs `q * heads` columns in place of 128; a bias on the keys adds the same to every position
    and falls out of the softmax. Values likewise: weights first, then W_v.
    """
    attention = self.final_attn_token_to_image
    q = _heads(attention.q_proj(tokens + prompt))
    kernel = attention.k_proj.kernel[...].reshape(EMBED, HEADS, -1)
    asked = jnp.einsum('ehc,qhc->ehq', kernel, q) * (1 / math.sqrt(q.shape[-1]))
    asked = asked.reshape(EMBED, -1)
    weights = jax.nn.softmax((image + position) @ asked, axis=0)
    pooled = (weights.T @ image).reshape(HEADS, tokens.shape[0], EMBED)
    kernel = attention.v_proj.kernel[...].reshape(EMBED, HEADS, -1)
    value = jnp.einsum('hqe,ehc->qhc', pooled, kernel).reshape(tokens.shape[0], -1)
    value = attention.out_proj(value + attention.v_proj.bias[...])
    return self.norm_final_attn(tokens + value)


class Blocks(nnx.Module):
  """A 2x2 transposed convolution with stride 2, as a product: (n, c) -> (n, 4, out)."""

  def __init__(self, width: int, out: int, rngs: nnx.Rngs):
    self.kernel = nnx.Param(jnp.zeros((2, 2, out, width)))
    self.bias = nnx.Param(jnp.zeros((out,)))
    del rngs

  def __call__(self, x):
    """Block i of an input pixel is its output pixel (i // 2, i % 2)."""
    out, width = self.kernel.shape[2:]
    kernel = self.kernel[...].reshape(4 * out, width)
    return (x @ kernel.T).reshape(*x.shape[:-1], 4, out) + self.bias[...]


class MaskDecoder(nnx.Module):
  """Image embedding and prompt tokens to mask logits at four times the grid."""

  def __init__(self, rngs: nnx.Rngs):
    self.transformer = Transformer(rngs)
    self.iou_token = nnx.Embed(1, EMBED, rngs=rngs)
    self.mask_tokens = nnx.Embed(NUM_MASKS, EMBED, rngs=rngs)
    self.output_upscaling = nnx.Dict({
      '0': Blocks(EMBED, EMBED // 4, rngs),
      '1': _norm(rngs, EMBED // 4, 1e-6),
      '3': Blocks(EMBED // 4, EMBED // 8, rngs),
    })
    self.output_hypernetworks_mlps = nnx.List(
      [Mlp(EMBED // 8, rngs) for _ in range(NUM_MASKS)]
    )
    self.iou_prediction_head = Mlp(NUM_MASKS, rngs)

  def prepare(self, image: jax.Array, position: jax.Array) -> Context:
    """(n, 256) embedding with the mask prompt added, and its positions -> `Context`."""
    first = self.transformer.layers[0]
    return Context(image, position, *first.project(image, position))

  def tokens(self, context: Context, sparse: jax.Array, use: jax.Array):
    """Runs the two blocks and the last attention.

    Args:
      context: of the round.
      sparse: (p, 256) prompt tokens.
      use: (p,) bool, those that exist.

    Returns:
      (5, 256) output tokens (predicted IoU, then the masks) and the (n, 256) image.
    """
    own = jnp.concatenate([self.iou_token.embedding[...], self.mask_tokens.embedding[...]])
    prompt = jnp.concatenate([own, sparse])
    use = jnp.concatenate([jnp.ones(len(own), bool), use])
    first, second = self.transformer.layers
    projected = (context.key, context.value, context.query)
    tokens, image = first(prompt, prompt, context.image, projected, use)
    projected = second.project(image, context.position)
    tokens, image = second(tokens, prompt, image, projected, use)
    read = slice(0, len(own))
    return self.transformer.last(tokens[read], prompt[read], image, context.position), image

  def masks(self, image: jax.Array, hyper: jax.Array) -> jax.Array:
    """(n, 256) image and (m, 32) mixing weights -> (m, 4 * side, 4 * side) logits."""
    up = self.output_upscaling
    x = jax.nn.gelu(up['1'](up['0'](image)), approximate=False)
    x = jax.nn.gelu(up['3'](x), approximate=False)
    x = jnp.einsum('nabc,mc->mnab', x, hyper)
    side = math.isqrt(image.shape[0])
    x = x.reshape(-1, side, side, 2, 2, 2, 2)  # row, column, then (row, column) twice finer
    return x.transpose(0, 1, 3, 5, 2, 4, 6).reshape(-1, 4 * side, 4 * side)

  def predict(self, context, sparse, use):
    """All four masks: (4, 4 * side, 4 * side) logits and their (4,) predicted IoU."""
    tokens, image = self.tokens(context, sparse, use)
    hyper = jnp.stack([
      mlp(tokens[i + 1]) for i, mlp in enumerate(self.output_hypernetworks_mlps)
    ])
    return self.masks(image, hyper), self.iou_prediction_head(tokens[0])

  def best(self, context, sparse, use):
    """The mask, of the last three, with the highest predicted IoU: logits and that IoU."""
    tokens, image = self.tokens(context, sparse, use)
    predicted = self.iou_prediction_head(tokens[0])[1:]
    hyper = jnp.stack([
      mlp(tokens[i + 2]) for i, mlp in enumerate(list(self.output_hypernetworks_mlps)[1:])
    ])
    chosen = jnp.argmax(predicted)
    return self.masks(image, hyper[chosen][None])[0], predicted[chosen]


class PromptEncoder(nnx.Module):
  """Clicks to tokens, and a mask's logits to an embedding of the grid's size."""

  def __init__(self, rngs: nnx.Rngs):
    self.pe_layer = nnx.Dict({'gaussian_matrix': nnx.Param(jnp.zeros((2, EMBED // 2)))})
    self.point_embeddings = nnx.List([nnx.Embed(1, EMBED, rngs=rngs) for _ in range(4)])
    self.not_a_point_embed = nnx.Embed(1, EMBED, rngs=rngs)
    self.no_mask_embed = nnx.Embed(1, EMBED, rngs=rngs)
    patch = {'kernel_size': (2, 2), 'strides': (2, 2), 'padding': 'VALID', 'rngs': rngs}
    self.mask_downscaling = nnx.Dict({
      '0': nnx.Conv(1, 4, **patch),
      '1': _norm(rngs, 4, 1e-6),
      '3': nnx.Conv(4, 16, **patch),
      '4': _norm(rngs, 16, 1e-6),
      '6': nnx.Conv(16, EMBED, kernel_size=(1, 1), rngs=rngs),
    })

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
    x = jax.nn.gelu(down['1'](down['0'](logits[None, :, :, None])), approximate=False)
    x = jax.nn.gelu(down['4'](down['3'](x)), approximate=False)
    return down['6'](x).reshape(-1, EMBED)


class Prompted(nnx.Module):
  """Prompt encoder and mask decoder together, as every model of the family has them."""

  def __init__(self, rngs: nnx.Rngs):
    self.prompt_encoder = PromptEncoder(rngs)
    self.mask_decoder = MaskDecoder(rngs)
