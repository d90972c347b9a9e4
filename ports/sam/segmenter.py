"""Models of the SAM family as click models: pure functions over a flat dict of parameters."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ports import choices
from ports.nn import trees
from ports.nn.resize import unaligned
from ports.sam import hq, network, preprocess, tiny_vit, vit
from ports.sam.kind import ENCODERS, FEEDBACKS, HQ_MASKS, PRECISIONS, Kind
from tetris_jax.types import Array, Clicks, Frame, ModelInfo, Params, Segmenter

# Added to the parameters: it is the same for every image, and is computed once.
POSITION = 'grid_position'

__all__ = [
  'ENCODERS',
  'FEEDBACKS',
  'HQ_MASKS',
  'PRECISIONS',
  'Features',
  'Kind',
  'State',
  'forgetful',
  'mobile_sam',
  'prepare_round',
  'prompted',
  'sam',
  'sam_hq',
  'upsampling',
]


class Features(NamedTuple):
  """What is kept of an image.

  Attributes:
    image: (grid * grid, 256) embedding.
    rows: (height, 4 * grid), low-resolution rows to image rows.
    columns: (4 * grid, width), likewise.
    scale: (2,) float32, (y, x) pixels of the frame per image pixel.
    hq: (4 * grid, 4 * grid, 32), what the high-quality token mixes; () without one.
  """

  image: jax.Array
  rows: jax.Array
  columns: jax.Array
  scale: jax.Array
  hq: jax.Array


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
def _definition(early: int) -> trees.Definition[Any]:
  """Of the prompt encoder and the mask decoder; `early` 0 is one without high-quality token."""
  if early:
    return trees.define(functools.partial(hq.PromptedHQ, early))
  return trees.define(network.Prompted)


def prompted(params: Params, *, early: int = 0) -> Any:
  """The prompt encoder and mask decoder with these parameters.

  Args:
    params: flat tree that holds at least `ports.sam.weights.decoder_shapes(early)`.
    early: width of the early feature that a high-quality decoder reads; 0 for SAM's own decoder.

  Returns:
    A `network.Prompted` or a `hq.PromptedHQ`.
  """
  definition = _definition(early)
  return trees.bind(definition, {name: jnp.asarray(params[name]) for name in definition.shapes})


def upsampling(
  count: int, length: Array, grid: int, cut: Array, *, side: int = preprocess.SIDE
) -> jax.Array:
  """Low-resolution logits to image pixels along one axis, as one (count, grid) matrix.

  Up to the frame, cut to the `cut` pixels that hold the image, on to `length` image pixels; both
  steps bilinear with corners not aligned, so both are linear and so is their product.

  Args:
    count: image pixels on the canvas.
    length: () image pixels of the picture; rows from there on are finite and mean nothing.
    grid: low-resolution logits along the axis.
    cut: () float32, pixels of the frame that hold the picture.
    side: of the frame, in pixels.
  """
  up = unaligned(side, jnp.float32(side), grid, jnp.float32(grid))
  down = unaligned(count, length, side, cut)
  return jnp.matmul(down, up, precision='highest')


def _embed(kind: Kind, params: Params, frame: jax.Array) -> tuple[jax.Array, jax.Array]:
  """(grid, grid, 256) embedding of the frame's pixels and the early feature, both float32."""
  if kind.precision == 'bfloat16':
    prefix = 'image_encoder/'
    params = {
      name: jnp.asarray(leaf).astype(jnp.bfloat16)
      for name, leaf in params.items()
      if name.startswith(prefix)
    }
    frame = frame.astype(jnp.bfloat16)
  if isinstance(kind.encoder, str):
    found = tiny_vit.with_early(params, frame)
  else:
    found = vit.apply(kind.encoder, params, frame)
  embedding, early = found
  return embedding.astype(jnp.float32), early.astype(jnp.float32)


def _encode(kind: Kind, params: Params, image: Array, size: Array) -> Features:
  height, width = image.shape[:2]
  embedding, early = _embed(kind, params, preprocess.preprocess(image, size, side=kind.side))
  resized = preprocess.resized_size(size, side=kind.side).astype(jnp.float32)
  true = jnp.asarray(size).astype(jnp.float32)
  grid = 4 * kind.grid
  added = jnp.zeros((), jnp.float32)
  if kind.hq:
    added = prompted(params, early=kind.early).mask_decoder.features(embedding, early)
  return Features(
    embedding.reshape(-1, network.EMBED),
    upsampling(height, true[0], grid, resized[0], side=kind.side),
    upsampling(width, true[1], grid, resized[1], side=kind.side).T,
    resized / true,
    added,
  )


def _init(kind: Kind, params: Params, features: Features) -> State:
  del params, features
  side = 4 * kind.grid
  return State(jnp.zeros((side, side), jnp.float32), jnp.array(False), jnp.float32(0))


def _module(kind: Kind, params: Params) -> Any:
  return prompted(params, early=kind.early if kind.hq else 0)


def prepare_round(module: network.Prompted, params: Params, features: Any, state: State) -> Any:
  """What of a round no click touches.

  Args:
    module: prompt encoder and mask decoder.
    params: flat tree with `POSITION` in it.
    features: a named tuple with the (grid * grid, 256) embedding as `image`.
    state: what was fed back.

  Returns:
    The `network.Context`, and the features without the embedding, which is in it.
  """
  encoder = module.prompt_encoder
  dense = jnp.where(
    state.given, encoder.encode_mask(state.logits), encoder.no_mask_embed.embedding[...]
  )
  context = module.mask_decoder.transformer.prepare(
    features.image + dense, jnp.asarray(params[POSITION])
  )
  return context, features._replace(image=jnp.zeros((), jnp.float32))


def forgetful(
  prepare: Callable[..., Any], decode: Callable[..., Any]
) -> tuple[Callable[..., Any], Callable[..., Any]]:
  """`prepare` and `decode` without the fed-back mask at a second click that is negative.

  Args:
    prepare: (kind, params, features, state) -> (decoder's context, features).
    decode: (kind, params, that context, clicks) -> logits and state.
  """

  def prepare_both(kind: Any, params: Params, features: Any, state: State) -> Any:
    """With the mask that was fed back, and without one."""
    forgotten = state._replace(given=jnp.array(False))
    with_it, without = (prepare(kind, params, features, one) for one in (state, forgotten))
    return with_it, without[0]

  def decode_either(
    kind: Any, params: Params, contexts: Any, clicks: Clicks
  ) -> tuple[jax.Array, State]:
    (context, features), without = contexts
    label = jnp.asarray(clicks.label)
    forget = (jnp.sum(label >= 0, dtype=jnp.int32) == 2) & (label[1] == 0)
    context = jax.tree.map(lambda a, b: jnp.where(forget, b, a), context, without)
    return decode(kind, params, (context, features), clicks)

  return prepare_both, decode_either


def _prepare(kind: Kind, params: Params, features: Features, state: State) -> Any:
  return prepare_round(_module(kind, params), params, features, state)


def _decode(
  kind: Kind, params: Params, context: Any, clicks: Clicks
) -> tuple[jax.Array, State]:
  decoder, features = context
  module = _module(kind, params)
  xy = (jnp.asarray(clicks.yx) * features.scale[None])[:, ::-1]
  label = jnp.asarray(clicks.label)
  sparse, use = module.prompt_encoder.encode_clicks(xy, label, kind.side)
  given = decoder, jnp.asarray(params[POSITION]), sparse, use
  first = jnp.sum(label >= 0, dtype=jnp.int32) == 1
  if kind.hq:
    low, predicted = module.mask_decoder.answer_hq(
      *given, kind.mask_choice, first, features.hq, kind.hq == 'hq_only'
    )
  else:
    low, predicted = module.mask_decoder.answer(*given, kind.mask_choice, first)
  return features.rows @ low @ features.columns, State(low, jnp.array(True), predicted)


def _frame(kind: Kind, params: Params, context: Any, clicks: Clicks, size: Array) -> Frame:
  """The part of the frame that holds the image."""
  del params, context, clicks
  extent = jnp.asarray(size).astype(jnp.float32)
  resized = preprocess.resized_size(size, side=kind.side).astype(jnp.float32)
  return Frame(jnp.zeros_like(extent), extent, resized)


@functools.cache
def _functions(kind: Kind) -> tuple[Any, ...]:
  """encode, init, decode, prepare and frame; the same each time, for programs go by them."""
  prepare, decode = _prepare, _decode
  if kind.feedback == 'forget_at_negative_second':
    prepare, decode = forgetful(_prepare, _decode)
  chosen = (_encode, _init, decode, prepare, _frame)
  return tuple(functools.partial(function, kind) for function in chosen)


def _segmenter(
  name: str, kind: Kind, params: Mapping[str, np.ndarray], sha256: Mapping[str, str]
) -> Segmenter:
  info = ModelInfo(
    f'{name}{kind.suffix}', threshold=0.5, step_diagonal='image', sha256=dict(sha256)
  )
  position = np.asarray(_module(kind, params).prompt_encoder.grid_position(kind.grid))
  encode, init, decode, prepare, frame = _functions(kind)
  return Segmenter(
    encode,
    init,
    decode,
    dict(params) | {POSITION: position},
    info,
    prepare,
    frame,
    operator.attrgetter('predicted_iou'),
  )


def mobile_sam(
  params: Mapping[str, np.ndarray],
  sha256: Mapping[str, str],
  *,
  mask_choice: str = network.MASK_CHOICES[0],
  feedback: str = FEEDBACKS[0],
  precision: str = PRECISIONS[0],
) -> Segmenter:
  """MobileSAM (arXiv 2306.14289): TinyViT-5M encoder, SAM's prompt encoder and mask decoder.

  Clicks in click order; one mask at every click, its logits fed back at the next.

  Args:
    params: flat tree, see `ports.sam.weights`.
    sha256: of the files that it came from, by name.
    mask_choice: one of `network.MASK_CHOICES`; like what follows, appended to the model's name
      where it is not the first.
    feedback: one of `FEEDBACKS`.
    precision: one of `PRECISIONS`.

  Returns:
    The segmenter.

  Raises:
    ValueError: an unknown choice.
  """
  return _segmenter(
    'mobile_sam', Kind(ENCODERS['vit_tiny'], mask_choice, feedback, precision), params, sha256
  )


def _encoder(size: str) -> str | vit.Config:
  choices.check('size', size, ENCODERS)
  return ENCODERS[size]


def sam(
  params: Mapping[str, np.ndarray],
  sha256: Mapping[str, str],
  *,
  name: str,
  size: str,
  mask_choice: str = network.MASK_CHOICES[0],
  feedback: str = FEEDBACKS[0],
  precision: str = PRECISIONS[0],
) -> Segmenter:
  """SAM (arXiv 2304.02643) as a click model.

  Args:
    params: flat tree, see `ports.sam.weights`.
    sha256: of the file that it came from, by name.
    name: of the model.
    size: key of `ENCODERS`.
    mask_choice: see `mobile_sam`, as what follows.
    feedback: see `mobile_sam`.
    precision: see `mobile_sam`.

  Returns:
    The segmenter.

  Raises:
    ValueError: an unknown size or choice.
  """
  return _segmenter(name, Kind(_encoder(size), mask_choice, feedback, precision), params, sha256)


def sam_hq(
  params: Mapping[str, np.ndarray],
  sha256: Mapping[str, str],
  *,
  name: str,
  size: str,
  mask_choice: str = network.MASK_CHOICES[0],
  feedback: str = FEEDBACKS[0],
  precision: str = PRECISIONS[0],
  hq: str = HQ_MASKS[0],
) -> Segmenter:
  """SAM-HQ (arXiv 2306.01567) as a click model.

  Args:
    params: flat tree, see `ports.sam.weights`.
    sha256: of the file that it came from, by name.
    name: of the model.
    size: key of `ENCODERS`.
    mask_choice: see `mobile_sam`, as what follows; the mask to which the high-quality logits are
      added, and whose predicted IoU and choice do not know of them.
    feedback: see `mobile_sam`.
    precision: see `mobile_sam`.
    hq: one of `HQ_MASKS`.

  Returns:
    The segmenter.

  Raises:
    ValueError: an unknown size or choice.
  """
  choices.check('hq', hq, HQ_MASKS)
  kind = Kind(_encoder(size), mask_choice, feedback, precision, hq)
  return _segmenter(name, kind, params, sha256)
