"""SAM 2 and SAM 2.1 as click models: pure functions over a flat dict of parameters."""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ports import choices
from ports.nn.resize import unaligned
from ports.sam.network import EMBED
from ports.sam.segmenter import FEEDBACKS, POSITION, PRECISIONS, State, forgetful, prepare_round
from ports.sam2 import hiera, network, preprocess
from tetris_jax.types import Array, Clicks, Frame, ModelInfo, Params, Segmenter

__all__ = ['MASK_CHOICES', 'Features', 'Kind', 'sam2']

MASK_CHOICES = ('single', 'best_of_three', 'advised')
"""Which of the four masks is the answer: the one for prompts that are not ambiguous, or where it is
not stable the best of the others, as in the published evaluation (RClicks, `multimask_output=False`
at every click); of the three others the one with the highest predicted IoU; or, as the authors'
own configuration has it (`multimask_max_pt_num`), the latter at the first click and the former
afterwards."""

# Logits are fed back within these bounds, as by the released predictor.
_LARGEST = 32.0


@dataclasses.dataclass(frozen=True)
class Kind:
  """What tells the models of the family apart, beside their parameters.

  Attributes:
    encoder: its sizes.
    mask_choice: one of `MASK_CHOICES`.
    feedback: one of `ports.sam.segmenter.FEEDBACKS`.
    side: of the input, in pixels; a multiple of 32.
    precision: one of `ports.sam.segmenter.PRECISIONS`, of the encoder.
  """

  encoder: hiera.Config
  mask_choice: str = MASK_CHOICES[0]
  feedback: str = FEEDBACKS[0]
  side: int = preprocess.SIDE
  precision: str = PRECISIONS[0]

  def __post_init__(self) -> None:
    """Raises ValueError for what cannot be."""
    for what, known in (
      ('mask_choice', MASK_CHOICES),
      ('feedback', FEEDBACKS),
      ('precision', PRECISIONS),
    ):
      choices.check(what, getattr(self, what), known)
    if self.side < 32 or self.side % 32:
      raise ValueError(f'side is {self.side}; expected a multiple of 32 pixels')

  @property
  def grid(self) -> int:
    """Cells a side of the image embedding."""
    return self.side // 16

  @property
  def suffix(self) -> str:
    """What is not the default, as it is appended to a model's name."""
    chosen = {
      self.mask_choice: MASK_CHOICES[0],
      self.feedback: FEEDBACKS[0],
      self.precision: PRECISIONS[0],
      str(self.side): str(preprocess.SIDE),
    }
    return ''.join(f'_{value}' for value, default in chosen.items() if value != default)


class Features(NamedTuple):
  """What is kept of an image.

  Attributes:
    image: (grid * grid, 256) embedding.
    fine: finer features of it.
    rows: (height, 4 * grid), low-resolution rows to image rows.
    columns: (4 * grid, width), likewise.
    scale: (2,) float32, (y, x) pixels of the input per image pixel.
  """

  image: jax.Array
  fine: network.Fine
  rows: jax.Array
  columns: jax.Array
  scale: jax.Array


def _encode(kind: Kind, params: Params, image: Array, size: Array) -> Features:
  height, width = image.shape[:2]
  frame = preprocess.preprocess(image, size, side=kind.side)
  embedding, fine = network.encode(kind.encoder, params, frame, precision=kind.precision)
  true = jnp.asarray(size).astype(jnp.float32)
  low = 4 * kind.grid
  return Features(
    embedding.reshape(-1, EMBED),
    fine,
    unaligned(height, true[0], low, low),
    unaligned(width, true[1], low, low).T,
    kind.side / true,
  )


def _init(kind: Kind, params: Params, features: Features) -> State:
  del params, features
  low = 4 * kind.grid
  return State(jnp.zeros((low, low), jnp.float32), jnp.array(False), jnp.float32(0))


def _prepare(kind: Kind, params: Params, features: Features, state: State) -> Any:
  del kind
  return prepare_round(network.bind(params), params, features, state)


def _decode(
  kind: Kind, params: Params, context: Any, clicks: Clicks
) -> tuple[jax.Array, State]:
  decoder, features = context
  module = network.bind(params)
  xy = (jnp.asarray(clicks.yx) * features.scale[None])[:, ::-1]
  label = jnp.asarray(clicks.label)
  sparse, use = module.prompt_encoder.encode_clicks(xy, label, kind.side)
  low, predicted = module.mask_decoder.answer_finer(
    decoder,
    jnp.asarray(params[POSITION]),
    sparse,
    use,
    features.fine,
    kind.mask_choice,
    jnp.sum(label >= 0) == 1,
  )
  fed_back = jnp.clip(low, -_LARGEST, _LARGEST)
  return features.rows @ low @ features.columns, State(fed_back, jnp.array(True), predicted)


def _frame(kind: Kind, params: Params, context: Any, clicks: Clicks, size: Array) -> Frame:
  """The whole input, which the image fills."""
  del params, context, clicks
  extent = jnp.asarray(size).astype(jnp.float32)
  return Frame(jnp.zeros_like(extent), extent, jnp.full_like(extent, kind.side))


@functools.cache
def _functions(kind: Kind) -> tuple[Any, ...]:
  """encode, init, decode, prepare and frame; the same each time, for programs go by them."""
  prepare, decode = _prepare, _decode
  if kind.feedback == 'forget_at_negative_second':
    prepare, decode = forgetful(_prepare, _decode)
  chosen = (_encode, _init, decode, prepare, _frame)
  return tuple(functools.partial(function, kind) for function in chosen)


def sam2(
  params: Mapping[str, np.ndarray],
  sha256: Mapping[str, str],
  *,
  name: str,
  size: str,
  mask_choice: str = MASK_CHOICES[0],
  feedback: str = FEEDBACKS[0],
  precision: str = PRECISIONS[0],
  side: int = preprocess.SIDE,
) -> Segmenter:
  """SAM 2 or SAM 2.1 (arXiv 2408.00714) on single images, as a click model.

  Clicks in click order; one mask at every click, its logits fed back at the next.

  Args:
    params: flat tree, see `ports.sam2.weights`.
    sha256: of the file that it came from, by name.
    name: of the model.
    size: key of `hiera.CONFIGS`.
    mask_choice: one of `MASK_CHOICES`; like what follows, appended to the model's name where it is
      not the default.
    feedback: one of `ports.sam.segmenter.FEEDBACKS`.
    precision: one of `ports.sam.segmenter.PRECISIONS`, of the encoder; all else is float32.
    side: of the input, in pixels, a multiple of 32.

  Returns:
    The segmenter.

  Raises:
    ValueError: an unknown size or choice.
  """
  choices.check('size', size, hiera.CONFIGS)
  kind = Kind(hiera.CONFIGS[size], mask_choice, feedback, side, precision)
  encode, init, decode, prepare, frame = _functions(kind)
  position = np.asarray(network.bind(params).prompt_encoder.grid_position(kind.grid))
  return Segmenter(
    encode,
    init,
    decode,
    dict(params) | {POSITION: position},
    ModelInfo(name + kind.suffix, threshold=0.5, step_diagonal='image', sha256=dict(sha256)),
    prepare,
    frame,
    operator.attrgetter('predicted_iou'),
  )
