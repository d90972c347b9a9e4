"""Models made of other models: the picture shrunk first, or the answer averaged with its mirror's.

They are what a robustness score has to tell apart. A plug-in makes them models of the zoo:

  zoo.register('mobile_sam_mirror', zoo.Model(
    build=lambda params, sha256: variants.mirrored(zoo.segmenter('mobile_sam')),
    num_parameters=11_016_236, paper='MobileSAM, averaged with its mirror image'))
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from tetris_jax.types import Array, Clicks, ModelInfo, Params, Segmenter

__all__ = ['mirrored', 'shrunk']


def _through(size: jax.Array, scale: jax.Array, canvas: int) -> jax.Array:
  """(canvas, canvas) float32: a line of `size` pixels shrunk by `scale` and enlarged again."""
  pixel = jnp.arange(canvas, dtype=jnp.float32)
  least = jnp.ceil(size * scale)
  centre = (pixel + 0.5) / scale - 0.5
  # Shrinking: a triangle as wide as a pixel of the small line; enlarging: bilinear.
  down = jnp.maximum(1 - scale * jnp.abs(pixel[None, :] - centre[:, None]), 0)
  down = jnp.where((pixel < size)[None, :] & (pixel < least)[:, None], down, 0.0)
  down = down / jnp.maximum(jnp.sum(down, axis=1, keepdims=True), 1e-6)
  place = jnp.clip((pixel + 0.5) * scale - 0.5, 0, least - 1)
  up = jnp.maximum(1 - jnp.abs(place[:, None] - pixel[None, :]), 0)
  return jnp.where((pixel < size)[:, None], up, 0.0) @ down


def shrunk(segmenter: Segmenter, longest: int) -> Segmenter:
  """The model on a picture without the detail that is lost at a smaller size.

  The picture is shrunk (antialiased) and enlarged again, so that clicks and masks keep their
  places. A picture that is no larger is as it was.

  Args:
    segmenter: the model.
    longest: the longer side of the small picture, in pixels.

  Raises:
    ValueError: `longest` below 1.
  """
  if longest < 1:
    raise ValueError(f'longest is {longest}; expected at least 1 pixel')

  def encode(params: Params, image: jax.Array, size: jax.Array) -> Any:
    sides = jnp.asarray(size, jnp.float32)
    scale = jnp.minimum(longest / jnp.max(sides), 1.0)
    rows, columns = (_through(sides[i], scale, image.shape[i]) for i in (0, 1))
    made = jnp.einsum('yh,hwc,xw->yxc', rows, image, columns)
    return segmenter.encode(params, jnp.where(scale < 1, made, image), size)

  return dataclasses.replace(segmenter, encode=encode, info=_named(segmenter, str(longest)))


def _named(segmenter: Segmenter, suffix: str) -> ModelInfo:
  info = segmenter.info
  return dataclasses.replace(info, name=f'{info.name}_{suffix}', sha256=dict(info.sha256))


def _flipped(array: Array, width: jax.Array) -> jax.Array:
  """An array (height, width, ...) with its first `width` columns in reverse order, the rest 0."""
  array = jnp.asarray(array)
  column = jnp.arange(array.shape[1], dtype=jnp.int32)
  taken = jnp.take(array, jnp.maximum(width - 1 - column, 0), axis=1)
  inside = (column < width).reshape(1, -1, *[1] * (array.ndim - 2))
  return jnp.where(inside, taken, jnp.zeros_like(taken))


def _flipped_clicks(clicks: Clicks, width: jax.Array) -> Clicks:
  yx = jnp.asarray(clicks.yx)
  x = width.astype(jnp.float32) - 1 - yx[..., 1]
  return Clicks(jnp.stack([yx[..., 0], x], axis=-1), clicks.label)


def mirrored(segmenter: Segmenter) -> Segmenter:
  """The model's logits averaged over the picture and its mirror image, each with its own state.

  Two encodings and two evaluations in the place of one.

  Args:
    segmenter: the model.
  """

  def encode(params: Params, image: jax.Array, size: jax.Array) -> Any:
    width = jnp.asarray(size, jnp.int32)[1]
    both = (image, _flipped(image, width))
    return [segmenter.encode(params, one, size) for one in both], width

  def init(params: Params, features: Any) -> Any:
    return [segmenter.init(params, one) for one in features[0]]

  def prepare(params: Params, features: Any, state: Any) -> Any:
    pairs = zip(features[0], state, strict=True)
    return [segmenter.prepare(params, one, its) for one, its in pairs], features[1]

  def decode(params: Params, context: Any, clicks: Clicks) -> tuple[jax.Array, Any]:
    (plain, mirror), width = context
    logits, state = segmenter.decode(params, plain, clicks)
    other, others = segmenter.decode(params, mirror, _flipped_clicks(clicks, width))
    return (jnp.asarray(logits) + _flipped(other, width)) / 2, [state, others]

  def frame(params: Params, context: Any, clicks: Clicks, size: Array) -> Any:
    return segmenter.frame(params, context[0][0], clicks, size)

  def predicted_iou(state: Any) -> jax.Array:
    one, other = (jnp.asarray(segmenter.predicted_iou(its)) for its in state)
    return (one + other) / 2

  return Segmenter(
    encode, init, decode, segmenter.params, _named(segmenter, 'mirror'), prepare, frame,
    predicted_iou,
  )  # fmt: skip
