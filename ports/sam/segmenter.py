"""Models of the SAM family as click models: pure functions over a flat dict of parameters."""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ports.nn import trees
from ports.sam import network, preprocess, tiny_vit
from tetris_jax.types import Array, Clicks, Frame, ModelInfo, Params, Segmenter

# Added to the parameters: it is the same for every image, and is computed once.
POSITION = 'grid_position'

__all__ = ['Features', 'State', 'mobile_sam', 'prompted', 'upsampling']


class Features(NamedTuple):
  """What is kept of an image.

  Attributes:
    image: (grid * grid, 256) embedding.
    rows: (height, 4 * grid), low-resolution rows to image rows.
    columns: (4 * grid, width), likewise.
    scale: (2,) float32, (y, x) pixels of the 1024 frame per image pixel.
  """

  image: jax.Array
  rows: jax.Array
  columns: jax.Array
  scale: jax.Array


class State(NamedTuple):
  """The mask that is fed back.

  Attributes:
    logits: (4 * grid, 4 * grid) float32, of the last round.
    given: () bool, False before the first click.
    predicted_iou: () float32, of that mask by the model's own account; 0 before the first click.
  """

  logits: jax.Array
  given: jax.Array
  predicted_iou: jax.Array


@functools.cache
def _definition() -> trees.Definition[network.Prompted]:
  return trees.define(network.Prompted)


def prompted(params: Params) -> network.Prompted:
  """The prompt encoder and mask decoder with these parameters.

  Args:
    params: flat tree that holds at least `ports.sam.weights.decoder_shapes()`.
  """
  definition = _definition()
  return trees.bind(definition, {name: jnp.asarray(params[name]) for name in definition.shapes})


def _interpolation(count: int, length: Array, size: int, source: Array) -> jax.Array:
  """(count, size) matrix: `source` samples stretched bilinearly over `length`, corners not aligned.

  Both lengths may be traced; rows from `length` on are meaningless but finite.
  """
  at = (jnp.arange(count, dtype=jnp.float32) + 0.5) * (source / length) - 0.5
  at = jnp.clip(at, 0, source - 1)[:, None]
  return jnp.maximum(0, 1 - jnp.abs(at - jnp.arange(size, dtype=jnp.float32)[None]))


def upsampling(count: int, length: Array, grid: int, cut: Array) -> jax.Array:
  """Low-resolution logits to image pixels along one axis, as one (count, grid) matrix.

  Up to the 1024 frame, cut to the `cut` pixels that hold the image, on to `length` image pixels;
  both steps bilinear with corners not aligned, so both are linear and so is their product.

  Args:
    count: image pixels on the canvas.
    length: () image pixels of the picture; rows from there on are finite and mean nothing.
    grid: low-resolution logits along the axis.
    cut: () float32, pixels of the 1024 frame that hold the picture.
  """
  up = _interpolation(preprocess.SIDE, jnp.float32(preprocess.SIDE), grid, jnp.float32(grid))
  down = _interpolation(count, length, preprocess.SIDE, cut)
  return jnp.matmul(down, up, precision='highest')


def _encode(params: Params, image: Array, size: Array) -> Features:
  height, width = image.shape[:2]
  embedding = tiny_vit.apply(params, preprocess.preprocess(image, size))
  resized = preprocess.resized_size(size).astype(jnp.float32)
  true = jnp.asarray(size).astype(jnp.float32)
  grid = 4 * network.GRID
  return Features(
    embedding.reshape(-1, network.EMBED),
    upsampling(height, true[0], grid, resized[0]),
    upsampling(width, true[1], grid, resized[1]).T,
    resized / true,
  )


def _init(params: Params, features: Features) -> State:
  del params, features
  side = 4 * network.GRID
  return State(jnp.zeros((side, side), jnp.float32), jnp.array(False), jnp.float32(0))


def _prepare(params: Params, features: Features, state: State) -> Any:
  module = prompted(params)
  encoder = module.prompt_encoder
  dense = jnp.where(
    state.given, encoder.encode_mask(state.logits), encoder.no_mask_embed.embedding[...]
  )
  context = module.mask_decoder.transformer.prepare(
    features.image + dense, jnp.asarray(params[POSITION])
  )
  return context, features._replace(image=jnp.zeros((), jnp.float32))


def _prepare_both(params: Params, features: Features, state: State) -> Any:
  """With the mask that was fed back, and without one."""
  forgotten = state._replace(given=jnp.array(False))
  return _prepare(params, features, state), _prepare(params, features, forgotten)[0]


def _decode_forgetful(params: Params, contexts: Any, clicks: Clicks) -> tuple[jax.Array, State]:
  (context, features), without = contexts
  label = jnp.asarray(clicks.label)
  forget = (jnp.sum(label >= 0, dtype=jnp.int32) == 2) & (label[1] == 0)
  context = jax.tree.map(lambda a, b: jnp.where(forget, b, a), context, without)
  return _decode(params, (context, features), clicks)


def _decode(params: Params, context: Any, clicks: Clicks) -> tuple[jax.Array, State]:
  decoder, features = context
  module = prompted(params)
  xy = (jnp.asarray(clicks.yx) * features.scale[None])[:, ::-1]
  sparse, use = module.prompt_encoder.encode_clicks(xy, jnp.asarray(clicks.label))
  low, predicted = module.mask_decoder.best(decoder, jnp.asarray(params[POSITION]), sparse, use)
  return features.rows @ low @ features.columns, State(low, jnp.array(True), predicted)


def _frame(params: Params, context: Any, clicks: Clicks, size: Array) -> Frame:
  """The part of the 1024 frame that holds the image."""
  del params, context, clicks
  extent = jnp.asarray(size).astype(jnp.float32)
  resized = preprocess.resized_size(size).astype(jnp.float32)
  return Frame(jnp.zeros_like(extent), extent, resized)


def mobile_sam(
  params: Mapping[str, np.ndarray],
  sha256: Mapping[str, str],
  *,
  forget_at_negative_second: bool = False,
) -> Segmenter:
  """MobileSAM (arXiv 2306.14289): TinyViT-5M encoder, SAM's prompt encoder and mask decoder.

  Clicks in click order; the mask with the best predicted IoU of three at every click, its logits
  fed back at the next.

  Args:
    params: flat tree, see `ports.sam.weights`.
    sha256: of the files that it came from, by name.
    forget_at_negative_second: gives no mask back at a second click that is negative, as the
      predictor of RClicks does (its points then fill two rows, as a first click's do). Numbers so
      made compare with those that the predictor made, and with no others.

  Returns:
    The segmenter.
  """
  info = ModelInfo('mobile_sam', threshold=0.5, step_diagonal='image', sha256=dict(sha256))
  position = np.asarray(prompted(params).prompt_encoder.grid_position())
  params = dict(params) | {POSITION: position}
  if forget_at_negative_second:
    name = 'mobile_sam_forget_at_negative_second'
    info = dataclasses.replace(info, name=name)
  return Segmenter(
    _encode,
    _init,
    _decode_forgetful if forget_at_negative_second else _decode,
    params,
    info,
    _prepare_both if forget_at_negative_second else _prepare,
    _frame,
    operator.attrgetter('predicted_iou'),
  )
