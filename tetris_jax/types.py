"""The boundary: clicks, segmenters, batches, attack settings and what an attack returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

Array = jax.Array | np.ndarray
Params = Mapping[str, Array]

POSITIVE, NEGATIVE, EMPTY = 1, 0, -1

# Counts and squared distances of larger canvases would leave what is exact in 32 bits.
LARGEST_SIDE = 4096


class Clicks(NamedTuple):
  """Clicks of one trajectory, in click order; a fixed number of slots, the unused ones at the end.

  Attributes:
    yx: (..., num_slots, 2) float32, (y, x) in original image pixels, pixel centres at integers.
    label: (..., num_slots) int32: 1 positive, 0 negative, -1 an empty slot, which changes nothing.
  """

  yx: Array
  label: Array


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
  """What the kernel and the reports need to know of a model.

  Attributes:
    name: as the field writes it, such as "mobile_sam".
    threshold: the probability above which a pixel belongs to the predicted mask.
    step_diagonal: whose diagonal sets the published attack's step: "image" (SAM family) or
      "frame" (models that read rendered click maps).
    sha256: of the source files that the parameters came from, by file name.
  """

  name: str
  threshold: float = 0.5
  step_diagonal: str = 'image'
  sha256: Mapping[str, str] = dataclasses.field(default_factory=dict)


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


class Segmenter(NamedTuple):
  """A click model as pure functions of ONE instance; the kernel maps them over batches.

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

  encode: Callable[..., Any]
  init: Callable[..., Any]
  decode: Callable[..., tuple[Array, Any]]
  params: Params
  info: ModelInfo
  prepare: Callable[..., Any] = _pair
  frame: Callable[..., Frame] = _whole_image
  predicted_iou: Callable[[Any], Array] = _unpredicted


@dataclasses.dataclass(frozen=True)
class AttackConfig:
  """A named attack; `tetris_jax.presets` holds the ones whose numbers compare.

  Attributes:
    name: the preset's name, written beside every number that it made.
    search: "none" (the robot user alone), "local" (Adam from the robot user's click) or "global"
      (forward passes over the whole legal region).
    num_clicks: rounds of a trajectory.
    num_steps: evaluations of one local search; one fewer moves.
    step_scale: multiplies the published step of 5 network pixels per 400x400 diagonal.
    dice_weight: weight of the Dice loss beside the location loss.
    location_slack: a step whose location loss exceeds this multiple of the best one's is refused.
    radius: of the clicked disk, in network pixels.
    budget: global search with one beam: decoder evaluations of one round, all that are kept
      included. The first round's search serves MIN and MAX together, a later round's is halved
      between them. With more beams each makes a search of that size, and what is kept of each
      comes on top.
    per_turn: clicks that a global search evaluates before it chooses the next.
    pool_size: legal pixels among which a global search chooses.
    colour_weight: of a difference in colour, each channel in [0, 1], beside one in position, where
      1 is the root of the legal region's area.
    mask_weight: of the root of the share of found masks that tell two pixels apart, likewise.
    explore: the share of a global search, its first clicks, that goes to the candidate farthest
      from all tried ones.
    follow: of the rest, the share that closes in on seams between two answers.
    num_beams: trajectories of MIN, and of MAX, that a global search carries through the rounds. The
      first is that of a search with one beam, so that more of them find no less.
    depth: a global search clicks only deeper than this share of the largest inner distance of the
      legal region; the robot user's click is always a candidate.
  """

  name: str
  search: str = 'local'
  num_clicks: int = 10
  num_steps: int = 11
  step_scale: float = 1.0
  dice_weight: float = 1e-3
  location_slack: float = 1.05
  radius: float = 5.0
  budget: int = 64
  per_turn: int = 1
  pool_size: int = 2048
  colour_weight: float = 1.0
  mask_weight: float = 1.0
  explore: float = 0.6
  follow: float = 1.0
  num_beams: int = 1
  depth: float = 0.0


class Outlook(NamedTuple):
  """What a global search of the first click says of the whole legal region.

  Attributes:
    yx: (batch, count, 2) float32 image pixels: the clicks that the search made, the robot user's
      first, and then candidates.
    evaluated: (batch, count) bool, those clicks.
    even: (batch, count) bool, candidates that are spread evenly over the region; none with
      `AttackConfig.depth`, for then they leave out a part of it.
    iou: (batch, count) float32: of the clicks the IoU found, of a candidate that of the click whose
      answer it most likely shares; NaN where the answer was not finite.
    depth: (batch, count) float32 in [0, 1], distance to outside of the legal region as a share of
      the largest.
    searched: (batch,) float32, the depth to which the search kept, `AttackConfig.depth`.
  """

  yx: Array
  evaluated: Array
  even: Array
  iou: Array
  depth: Array
  searched: Array


class Trajectories(NamedTuple):
  """What an attack found: for each instance one trajectory per mode.

  Modes are ordered as `MODES`; a config without a search has only the first.

  Attributes:
    clicks: `Clicks` with yx (batch, modes, num_clicks, 2) and label (batch, modes, num_clicks).
    iou: (batch, modes, num_clicks) float32 in [0, 1], IoU after each click.
    biou: likewise, boundary IoU.
    mask: (batch, modes, num_clicks, height, width) bool, the predicted masks, or None.
    forward: (batch,) int32, decoder evaluations spent on the instance.
    backward: (batch,) int32, gradients among them.
    tried: (batch, evaluations) float32, IoUs of the first clicks of the first round's global
      search, in order, which were spread over the region; None for other searches.
    outlook: `Outlook` of the first click; None for other searches.
    gradient: (batch, 2) float32, norms of the loss's gradients at the robot user's first click, of
      MIN and MAX, per pixel of the network's frame; None for searches that take none.
  """

  clicks: Clicks
  iou: Array
  biou: Array
  mask: Array | None
  forward: Array
  backward: Array
  tried: Array | None = None
  outlook: Outlook | None = None
  gradient: Array | None = None


MODES = ('base', 'min', 'max')
