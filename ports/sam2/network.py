"""SAM 2's prompt encoder and mask decoder in Flax: SAM's, with finer features and one more token.

Architecture: Ravi et al., "SAM 2: Segment Anything in Images and Videos" (arXiv 2408.00714), and
its released code, as it works on a single image. What is the same is SAM's (`ports.sam.network`),
and so is the arithmetic, arranged for an attack: what no click touches is prepared once. New are

* features of the encoder at 1/4 and 1/8 of the picture, added while the mask is scaled up. They
  are kept in the blocks that the up-scaling works in, so that adding them moves no pixel;
* a token for whether there is an object, which does not gate the mask of a single image;
* predicted IoU through a sigmoid;
* the mask for prompts that are not ambiguous gives way to the best of the other three where it is
  not stable: where it changes much with the threshold.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from ports.nn import trees
from ports.nn.layers import Conv1x1, gelu, norm
from ports.sam import network
from ports.sam2 import hiera
from tetris_jax.types import Params

__all__ = ['Fine', 'MaskDecoder', 'Prompted', 'bind', 'encode', 'shapes', 'stability']

# Of the released configuration (`apply_postprocessing`): a mask is stable where its area at
# logits above 0.05 is at least 0.98 of that above -0.05.
_DELTA = 0.05
_STABLE = 0.98


class Fine(NamedTuple):
  """Features that are finer than the embedding of n cells.

  Attributes:
    half: (n, 4, 64), block i of a cell is its pixel (i // 2, i % 2) at double size.
    quarter: (n, 4, 4, 32), likewise of each of these.
  """

  half: jax.Array
  quarter: jax.Array


def _in_blocks(x: jax.Array) -> jax.Array:
  """(2 h, 2 w, ...) -> (h, w, 4, ...)."""
  height, width, *rest = x.shape
  x = x.reshape(height // 2, 2, width // 2, 2, *rest).swapaxes(1, 2)
  return x.reshape(height // 2, width // 2, 4, *rest)


def stability(logits: jax.Array) -> jax.Array:
  """Area above 0.05 over area above -0.05 of (h, w) logits; 1 where there is none."""
  inner, outer = jnp.sum(logits > _DELTA), jnp.sum(logits > -_DELTA)
  return jnp.where(outer > 0, inner / jnp.maximum(outer, 1), 1.0)


class MaskDecoder(network.MaskDecoder):
  """SAM's mask decoder with the object's token, finer features and the choice by stability."""

  def __init__(self, rngs: nnx.Rngs):
    super().__init__(rngs)
    self.obj_score_token = nnx.Embed(1, network.EMBED, rngs=rngs)
    self.pred_obj_score_head = network.Mlp(1, rngs)
    self.conv_s0 = Conv1x1(hiera.WIDTH, network.EMBED // 8, rngs)
    self.conv_s1 = Conv1x1(hiera.WIDTH, network.EMBED // 4, rngs)

  def own_tokens(self) -> jax.Array:
    """(6, 256) output tokens before they are read: object, predicted IoU, then the masks."""
    return jnp.concatenate([self.obj_score_token.embedding[...], super().own_tokens()])

  def predicted(self, tokens: jax.Array) -> jax.Array:
    """(4,) predicted IoU of the masks, from the (6, 256) tokens that were read."""
    return jax.nn.sigmoid(self.iou_prediction_head(tokens[1]))

  def object_score(self, tokens: jax.Array) -> jax.Array:
    """() logit of there being an object, from the (6, 256) tokens that were read."""
    return self.pred_obj_score_head(tokens[0])[0]

  def finer_masks(self, image: jax.Array, fine: Fine, hyper: jax.Array) -> jax.Array:
    """(n, 256) image and (m, 32) mixing weights -> (m, 4 * side, 4 * side) logits."""
    up = self.output_upscaling
    x = gelu(norm(up['0'](image) + fine.half, up['1']))
    x = gelu(up['3'](x) + fine.quarter)
    masks = network.in_order(x.reshape(-1, hyper.shape[1]) @ hyper.T)
    return jnp.moveaxis(masks, -1, 0)

  def predict_finer(
    self,
    context: network.Context,
    position: jax.Array,
    sparse: jax.Array,
    use: jax.Array,
    fine: Fine,
  ):
    """All of it: (4, 4 * side, 4 * side) logits, (4,) predicted IoU, (6, 256) tokens."""
    tokens, image = self.tokens(context, position, sparse, use)
    masks = self.finer_masks(image, fine, self.hyper(tokens[1:], 0))
    return masks, self.predicted(tokens), tokens

  def answer_finer(
    self,
    context: network.Context,
    position: jax.Array,
    sparse: jax.Array,
    use: jax.Array,
    fine: Fine,
    choice: str,
    first: jax.Array,
  ) -> tuple[jax.Array, jax.Array]:
    """The mask that is the answer: (4 * side, 4 * side) logits and their () predicted IoU.

    Args:
      context: of the round.
      position: (n, 256), of the grid.
      sparse: (p, 256) prompt tokens.
      use: (p,) bool, those that exist.
      fine: of the image.
      choice: one of `network.MASK_CHOICES`.
      first: () bool, whether there is one click.
    """
    tokens, image = self.tokens(context, position, sparse, use)
    predicted = self.predicted(tokens)
    best = 1 + jnp.argmax(predicted[1:])
    if choice == 'best_of_three':
      hyper = self.hyper(tokens[1:], 1)[best - 1]
      return self.finer_masks(image, fine, hyper[None])[0], predicted[best]
    hyper = self.hyper(tokens[1:], 0)
    masks = self.finer_masks(image, fine, jnp.stack([hyper[0], hyper[best]]))
    gives_way = stability(masks[0]) < _STABLE
    if choice == 'advised':
      gives_way = gives_way | first
    chosen = jnp.where(gives_way, best, 0)
    return jnp.where(gives_way, masks[1], masks[0]), predicted[chosen]


class Prompted(network.Prompted):
  """Prompt encoder and mask decoder, and what is added to the image where no memory is."""

  mask_decoder: MaskDecoder

  def __init__(self, rngs: nnx.Rngs):
    super().__init__(rngs)
    self.mask_decoder = MaskDecoder(rngs)
    self.no_mem_embed = nnx.Param(jnp.zeros((network.EMBED,)))


@functools.cache
def _definition() -> trees.Definition[Prompted]:
  return trees.define(Prompted)


def shapes(config: hiera.Config) -> dict[str, tuple[int, ...]]:
  """Shape of every parameter by its name in the flat tree, see `ports.sam2.weights`."""
  return hiera.shapes(config) | dict(_definition().shapes)


def bind(params: Params) -> Prompted:
  """Prompt encoder and mask decoder with these parameters; for use inside one trace."""
  definition = _definition()
  return trees.bind(definition, {name: jnp.asarray(params[name]) for name in definition.shapes})


def encode(
  config: hiera.Config, params: Params, image: jax.Array, *, precision: str = 'float32'
) -> tuple[jax.Array, Fine]:
  """All of an image that no click touches, float32.

  Args:
    config: sizes of the encoder.
    params: flat tree that holds at least the leaves of `shapes(config)`.
    image: (side, side, 3) float32, as `ports.sam2.preprocess` makes it; side a multiple of 32.
    precision: in which the trunk computes; the pyramid's few products are float32.

  Returns:
    (side / 16, side / 16, 256) embedding, and the finer features.
  """
  prompted, trunk_params = bind(params), dict(params)
  if precision != 'float32':
    for name in hiera.shapes(config):
      if name.startswith('image_encoder/trunk/'):
        trunk_params[name] = jnp.asarray(params[name]).astype(precision)
  encoder = hiera.bind(config, trunk_params)
  stages = [x.astype(jnp.float32) for x in encoder.trunk(image.astype(precision))]
  neck = encoder.neck
  embedding = neck.coarse(stages) + prompted.no_mem_embed[...].reshape(1, 1, -1)
  quarter = _in_blocks(_in_blocks(neck.fine(stages, 0, prompted.mask_decoder.conv_s0)))
  half = _in_blocks(neck.fine(stages, 1, prompted.mask_decoder.conv_s1))
  cells = embedding.shape[0] * embedding.shape[1]
  return embedding, Fine(half.reshape(cells, 4, -1), quarter.reshape(cells, 4, 4, -1))
