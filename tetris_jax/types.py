"""The boundary: clicks, segmenters, batches and what an attack returns."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

__all__ = [
  'EMPTY',
  'LARGEST_SIDE',
  'MODES',
  'NEGATIVE',
  'POSITIVE',
  'STEP_DIAGONALS',
  'Array',
  'Batch',
  'Byproducts',
  'Clicks',
  'Decode',
  'Encode',
  'Frame',
  'FrameOf',
  'Init',
  'ModelInfo',
  'Outlook',
  'Params',
  'Pooled',
  'PredictedIou',
  'Prepare',
  'Segmenter',
  'Trajectories',
  'Walked',
  'check_shape',
]

Array = jax.Array | np.ndarray
Params = Mapping[str, Array]

POSITIVE, NEGATIVE, EMPTY = 1, 0, -1

MODES = ('base', 'min', 'max')

STEP_DIAGONALS = ('image', 'frame')

# Counts and squared distances of larger canvases would leave what is exact in 32 bits.
LARGEST_SIDE = 4096


def _declared(name: str, given: Array, dtype: str, kind: str, advice: str = '') -> jax.Array:
  """An array with its declared dtype; `kind` is the one of NumPy's that it has to be of."""
  try:
    array = jax.numpy.asarray(given)
  except (TypeError, ValueError) as error:
    found = type(given).__name__
    raise TypeError(f'{name} is a {found}; expected an array of {dtype}{advice}') from error
  if not jax.numpy.issubdtype(array.dtype, getattr(np, kind)):
    raise TypeError(f'{name} is {array.dtype}; expected {dtype}{advice}')
  return array.astype(dtype)


def check_shape(name: str, array: Array, *sides: int | str) -> None:
  """Raises ValueError for another shape; a side without a number is told by its name."""
  fits = array.ndim == len(sides) and all(
    isinstance(side, str) or side == found for side, found in zip(sides, array.shape, strict=True)
  )
  if not fits:
    wanted = f'({", ".join(map(str, sides))}{"," * (len(sides) == 1)})'
    raise ValueError(f'{name} has shape {tuple(array.shape)}; expected {wanted}')


class Clicks(NamedTuple):
  """Clicks of one trajectory, in click order; a fixed number of slots, the unused ones at the end.

  Attributes:
    yx: (..., num_slots, 2) float32, (y, x) in original image pixels, pixel centres at integers.
    label: (..., num_slots) int32: 1 positive, 0 negative, -1 an empty slot, which changes nothing.
  """

  yx: Array
  label: Array

  def checked(self) -> Clicks:
    """The same, with the dtypes above whatever width JAX was told to default to.

    Raises:
      TypeError: labels that are no numbers.
      ValueError: positions that are not those of the labels.
    """
    clicks = Clicks(
      _declared('clicks.yx', self.yx, 'float32', 'number'),
      _declared('clicks.label', self.label, 'int32', 'number'),
    )
    check_shape('clicks.yx', clicks.yx, *clicks.label.shape, 2)
    return clicks


class Batch(NamedTuple):
  """Instances padded at the bottom and the right to one canvas.

  Attributes:
    image: (batch, height, width, 3) float32 RGB in [0, 1]; 0 in the padding.
    mask: (batch, height, width) bool, the object; False in the padding.
    ignore: (batch, height, width) bool, pixels that no metric counts; False in the padding.
    size: (batch, 2) int32, true (height, width) inside the canvas.
    id: (batch,) uint32, a number that names the instance; randomness is folded with it.
  """

  image: Array
  mask: Array
  ignore: Array
  size: Array
  id: Array

  def checked(self) -> Batch:
    """The same, with the dtypes above whatever width JAX was told to default to.

    Raises:
      TypeError: an array of another kind, such as an image of whole numbers.
      ValueError: one of another shape, or a canvas with a side above `LARGEST_SIDE`.
    """
    batch = Batch(
      _declared('batch.image', self.image, 'float32', 'floating', ' in [0, 1]: divide by 255'),
      _declared('batch.mask', self.mask, 'bool', 'bool_', ', such as mask > 0'),
      _declared('batch.ignore', self.ignore, 'bool', 'bool_', ', such as ignore > 0'),
      _declared('batch.size', self.size, 'int32', 'number'),
      _declared('batch.id', self.id, 'uint32', 'integer'),
    )
    check_shape('batch.image', batch.image, 'batch', 'height', 'width', 3)
    count, height, width, _ = batch.image.shape
    if not count:
      raise ValueError('batch.image holds no instance; expected at least 1')
    if max(height, width) > LARGEST_SIDE:
      raise ValueError(
        f'a canvas of {height} x {width} pixels; sides up to {LARGEST_SIDE} are exact, so larger '
        'images have to be shrunk'
      )
    check_shape('batch.mask', batch.mask, count, height, width)
    check_shape('batch.ignore', batch.ignore, count, height, width)
    check_shape('batch.size', batch.size, count, 2)
    check_shape('batch.id', batch.id, count)
    return batch


class Frame(NamedTuple):
  """The rectangle of the image that a network sees, and the size at which it sees it.

  A click at `yx` image pixels lies at `(yx - offset) * size / extent` network pixels.

  Attributes:
    offset: (..., 2) float32, (y, x) of the rectangle's first pixel, in image pixels.
    extent: (..., 2) float32, (height, width) of the rectangle, in image pixels.
    size: (..., 2) float32, (height, width) of the rectangle, in network pixels.
  """

  offset: Array
  extent: Array
  size: Array


@dataclasses.dataclass(frozen=True)
class ModelInfo:
  """What the kernel and the reports need to know of a model; hashable.

  Attributes:
    name: as the field writes it, such as "mobile_sam".
    threshold: the probability above which a pixel belongs to the predicted mask, in (0, 1).
    step_diagonal: whose diagonal sets the published attack's step: "image" (SAM family) or
      "frame" (models that read rendered click maps).
    sha256: of the source files that the parameters came from, by file name; cannot be changed.
  """

  name: str
  threshold: float = 0.5
  step_diagonal: str = 'image'
  sha256: Mapping[str, str] = dataclasses.field(default_factory=dict)

  def __post_init__(self) -> None:
    """Raises ValueError for what cannot be."""
    if not self.name:
      raise ValueError('name is empty')
    if not 0 < self.threshold < 1:
      raise ValueError(f'threshold is {self.threshold}; expected a probability between 0 and 1')
    if self.step_diagonal not in STEP_DIAGONALS:
      known = ', '.join(map(repr, STEP_DIAGONALS))
      raise ValueError(f'step_diagonal is {self.step_diagonal!r}; known: {known}')
    object.__setattr__(self, 'sha256', MappingProxyType(dict(self.sha256)))

  def __hash__(self) -> int:
    known = tuple(sorted(self.sha256.items()))
    return hash((self.name, self.threshold, self.step_diagonal, known))

  def __reduce__(self) -> tuple[Any, ...]:
    # A read-only view of a dict does not pickle.
    return ModelInfo, (self.name, self.threshold, self.step_diagonal, dict(self.sha256))


class Encode(Protocol):
  """All of a model that no click touches; once per image."""

  def __call__(self, params: Params, image: jax.Array, size: jax.Array, /) -> Any:
    """Features of an image.

    Args:
      params: flat dict of arrays.
      image: (height, width, 3) float32 in [0, 1], 0 in the padding.
      size: (2,) int32, the true (height, width) inside of the canvas.
    """


class Init(Protocol):
  """What a model remembers before the first click."""

  def __call__(self, params: Params, features: Any, /) -> Any:
    """The state; its shapes and dtypes are those that `Decode` returns."""


class Prepare(Protocol):
  """All of a round that its click does not touch; once per round."""

  def __call__(self, params: Params, features: Any, state: Any, /) -> Any:
    """The context of the round."""


class Decode(Protocol):
  """A mask from clicks; at every evaluation."""

  def __call__(self, params: Params, context: Any, clicks: Clicks, /) -> tuple[Array, Any]:
    """Logits and the new state.

    Args:
      params: flat dict of arrays.
      context: of the round.
      clicks: yx (num_slots, 2), in which it is differentiable, and label (num_slots,); an empty
        slot changes nothing.

    Returns:
      (height, width) float32 logits in image pixels, anything finite in the padding; and the state.
    """


class FrameOf(Protocol):
  """The rectangle in which a search moves the newest click."""

  def __call__(
    self, params: Params, context: Any, clicks: Clicks, size: Array, /
  ) -> Frame:
    """The frame, with fields of shape (2,); size (2,) int32 is the image's."""


class PredictedIou(Protocol):
  """What a model itself expects of its mask."""

  def __call__(self, state: Any, /) -> Array:
    """() float32 in [0, 1], or NaN; of a state that `Decode` returned."""


def _whole_image(params: Params, context: Any, clicks: Clicks, size: Array) -> Frame:
  del params, context, clicks
  extent = jax.numpy.asarray(size, jax.numpy.float32)
  return Frame(jax.numpy.zeros_like(extent), extent, extent)


def _unpredicted(state: Any) -> jax.Array:
  del state
  return jax.numpy.float32(jax.numpy.nan)


def _pair(params: Params, features: Any, state: Any) -> tuple[Any, Any]:
  del params
  return features, state


@functools.partial(
  jax.tree_util.register_dataclass,
  data_fields=('params',),
  meta_fields=('encode', 'init', 'decode', 'info', 'prepare', 'frame', 'predicted_iou'),
)
@dataclasses.dataclass(frozen=True)
class Segmenter:
  """A click model as pure functions of ONE instance; the kernel maps them over batches.

  It may be an argument of a jitted function, though no static one: its parameters are leaves, the
  rest is static.

  Attributes:
    encode: (params, image (H, W, 3), size (2,)) -> features. No click in it; once per image.
    init: (params, features) -> state, what the model remembers before the first click.
    decode: (params, context, clicks) -> (logits (H, W) in image pixels, state). Differentiable
      in `clicks.yx`. Logits outside `size` may hold anything finite.
    params: flat dict of arrays, passed to every function.
    info: name, threshold and the like.
    prepare: (params, features, state) -> context. All of a round that the clicks do not touch,
      computed once per round. Default: the pair (features, state).
    frame: (params, context, clicks, size (2,)) -> Frame in which the newest of `clicks` is
      moved. Default: the image itself.
    predicted_iou: (state that `decode` returned) -> () float32, the IoU that the model itself
      expects of its mask. Default: NaN, it expects nothing.
  """

  encode: Encode
  init: Init
  decode: Decode
  params: Params
  info: ModelInfo
  prepare: Prepare = _pair
  frame: FrameOf = _whole_image
  predicted_iou: PredictedIou = _unpredicted

  def with_params(self, params: Params) -> Segmenter:
    """The same model with other parameters, such as those that a jitted function was given."""
    return dataclasses.replace(self, params=params)


class Outlook(NamedTuple):
  """What a global search of the first click says of the whole legal region.

  Attributes:
    yx: (batch, count, 2) float32 image pixels: the clicks that the search made, the robot user's
      first, and then candidates.
    evaluated: (batch, count) bool, those clicks.
    even: (batch, count) bool, candidates that are spread evenly over the region; none where the
      search keeps to a depth, for then they leave out a part of it.
    iou: (batch, count) float32: of the clicks the IoU found, of a candidate that of the click whose
      answer it most likely shares; NaN where the answer was not finite.
    depth: (batch, count) float32 in [0, 1], distance to outside of the legal region as a share of
      the largest.
    searched: (batch,) float32, the depth to which the search kept.
  """

  yx: Array
  evaluated: Array
  even: Array
  iou: Array
  depth: Array
  searched: Array


class Byproducts(NamedTuple):
  """What a search of the first click says beyond the clicks; None where it does not say it.

  Attributes:
    tried: (batch, evaluations) float32, IoUs of the clicks of the first round's search that were
      spread over the region, in order.
    outlook: `Outlook` on the whole legal region.
    gradient: (batch, 2) float32, norms of the loss's gradients at the robot user's click, of MIN
      and MAX, per pixel of the network's frame; (batch, 1) where one of them was not asked for.
    answers: `tetris_jax.search.spread.Answers` of a search of the whole legal region, for the
      estimates of `tetris_jax.pooled`; an attack does not return them.
  """

  tried: Array | None = None
  outlook: Outlook | None = None
  gradient: Array | None = None
  answers: Any = None


class Pooled(NamedTuple):
  """All first clicks that were evaluated, and what each stands for; see `tetris_jax.pooled`.

  Attributes:
    iou: (batch, evaluated) float32, of the users in their order and then of the search's clicks.
    mass: (batch, evaluated) float32, the share of the click prior where that answer is the
      likeliest; it adds up to 1.
  """

  iou: Array
  mass: Array


class Walked(NamedTuple):
  """Trajectories of several users, leading dimensions (batch, users).

  Attributes:
    clicks: `Clicks` with yx (batch, users, num_clicks, 2), label (batch, users, num_clicks).
    iou: (batch, users, num_clicks) float32; NaN where the model's logits are not finite.
    biou: likewise, boundary IoU.
    pooled: of the first click, beside a search of the whole legal region; else None.
  """

  clicks: Clicks
  iou: Array
  biou: Array
  pooled: Pooled | None = None


class Trajectories(NamedTuple):
  """What an attack found: for each instance one trajectory per mode.

  Modes are those that were asked for, in this order, and no others: of `modes=('min',)` the second
  dimension is 1, `iou[:, 0]` is MIN's. By default they are `MODES`; a config without a search has
  only the first.

  Attributes:
    clicks: `Clicks` with yx (batch, modes, num_clicks, 2) and label (batch, modes, num_clicks).
    iou: (batch, modes, num_clicks) float32 in [0, 1], IoU after each click.
    biou: likewise, boundary IoU.
    mask: (batch, modes, num_clicks, height, width) bool, the predicted masks, or None.
    forward: (batch,) int32, decoder evaluations spent on the instance.
    backward: (batch,) int32, gradients among them.
    byproducts: what the search says of the first click besides.
    users: of the sampled users who clicked beside it; None where nobody did. What they cost is not
      in `forward`.
  """

  clicks: Clicks
  iou: Array
  biou: Array
  mask: Array | None
  forward: Array
  backward: Array
  byproducts: Byproducts = Byproducts()
  users: Walked | None = None
