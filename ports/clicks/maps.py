"""Models that read clicks as maps beside the image, with the protocol that surrounds them.

Maps, the previous mask fed back, zoom-in, averaging with the mirrored image, and pasting back, as
in RITM's released evaluation (arXiv 2102.06583). A model only says how maps become logits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ports import choices
from ports.clicks import zoom
from ports.clicks.zoom import Box, View, Zoom
from ports.nn.resize import aligned, crop
from tetris_jax.geometry.render import hard_disks, soft_disks
from tetris_jax.types import EMPTY, Array, Clicks, Frame, ModelInfo, Params, Segmenter

__all__ = [
  'DISKS', 'Context', 'Features', 'Finish', 'Forward', 'Protocol', 'State', 'encode', 'init',
  'inputs', 'logit', 'segmenter', 'view',
]

DISKS = ('soft', 'hard')

# Probabilities nearer to 0 or 1 have no finite or no distinct logit in float32.
_LEAST, _MOST = 1e-20, 1 - 2.0**-24

# (params, image (batch, h, w, 3), maps (batch, h, w, channels), size (2,) or None) ->
# (logits (batch, h', w'), (height, width) of the part of them that is the picture's). With a size
# the picture lies in the top left corner of (h, w), and what is outside must have no influence.
# Where the protocol says `with_clicks` a fifth argument follows: Clicks, yx (batch, num_slots, 2)
# in network pixels and label (batch, num_slots).
Forward = Callable[..., tuple[Array, Any]]

# (image (h, w, 3), maps (h, w, channels), logits (h, w)) -> logits (h, w), of what the network sees
# at its own size, averaged and not mirrored.
Finish = Callable[[Array, Array, Array], Array]


@dataclasses.dataclass(frozen=True)
class Protocol:
  """How a model is run around its network.

  Attributes:
    zoom: rules of zooming in.
    flip: averages the logits with those of the mirrored image.
    disks: "soft" draws anti-aliased disks, summed and clipped to 1, which a gradient passes
      through (arXiv 2402.06132); "hard" the disks of the standard evaluation, through which none
      does.
    radius: of a click's disk, in network pixels.
    previous: whether the previous mask is the first of the maps.
    more_radii: of further disks, whose maps follow.
    with_clicks: whether the network takes the clicks' places beside their maps.
  """

  zoom: Zoom
  flip: bool = True
  disks: str = 'soft'
  radius: float = 5.0
  previous: bool = True
  more_radii: tuple[float, ...] = ()
  with_clicks: bool = False

  def __post_init__(self) -> None:
    """Raises ValueError for disks of an unknown kind."""
    choices.check('disks', self.disks, DISKS)


class Features(NamedTuple):
  """The image itself: a network that reads maps can compute little without them.

  Attributes:
    image: (height, width, 3) float32 on its canvas.
    size: (2,) int32.
  """

  image: jax.Array
  size: jax.Array


class State(NamedTuple):
  """What is remembered from click to click.

  Attributes:
    probability: (height, width) float32 in image pixels; zeros before the first click.
    box: the rectangle zoomed into last.
    zoomed: () bool, whether there is one.
  """

  probability: jax.Array
  box: Box
  zoomed: jax.Array


class Context(NamedTuple):
  """A round: the image, what is remembered, and the box around the previous mask."""

  features: Features
  state: State
  seen: Box


def encode(params: Params, image: Array, size: Array) -> Features:
  """The image as it is, see `tetris_jax.types.Segmenter`."""
  del params
  return Features(jnp.asarray(image), jnp.asarray(size, jnp.int32))


def init(params: Params, features: Features) -> State:
  """What is remembered before the first click."""
  del params
  nothing = jnp.zeros((2,), jnp.int32)
  return State(
    jnp.zeros(features.image.shape[:2], jnp.float32), Box(nothing, nothing), jnp.array(False)
  )


def view(protocol: Protocol, context: Context, clicks: Clicks) -> View:
  """What the network sees at the newest of `clicks`, in image and in network pixels.

  Args:
    protocol: that surrounds the network.
    context: of the round, as the segmenter's `prepare` returns it.
    clicks: yx (num_slots, 2) in image pixels, label (num_slots,).
  """
  features, state, seen = context
  canvas = (features.image.shape[0], features.image.shape[1])
  return zoom.choose(
    protocol.zoom, state.box, state.zoomed, seen, clicks, features.size, canvas
  )


def _maps(protocol: Protocol, yx: jax.Array, label: Array, canvas: tuple[int, int]) -> jax.Array:
  """(height, width, 2) float32 by radius, positive clicks first."""
  if protocol.disks == 'soft':
    disks = soft_disks
  else:
    disks = hard_disks
    # A click whose coordinates are both negative is taken for padding by the released code.
    label = jnp.where(jnp.max(yx, axis=1) < 0, EMPTY, label)
  radii = (protocol.radius, *protocol.more_radii)
  maps = [disks(Clicks(yx, label), *canvas, radius).transpose(1, 2, 0) for radius in radii]
  return maps[0] if len(maps) == 1 else jnp.concatenate(maps, axis=-1)


def _places(protocol: Protocol, clicks: Clicks, seen: View) -> list[jax.Array]:
  """(num_slots, 2) in network pixels; a second one where the protocol flips: mirrored."""
  yx = zoom.to_view(clicks.yx, seen, exact=protocol.disks == 'hard')
  width = seen.size[1].astype(jnp.float32)
  return [yx, jnp.stack([yx[:, 0], width - yx[:, 1] - 1], axis=1)] if protocol.flip else [yx]


def inputs(
  protocol: Protocol, context: Context, clicks: Clicks, seen: View, canvas: tuple[int, int]
) -> tuple[jax.Array, jax.Array]:
  """What a network reads: the image and its maps.

  Args:
    protocol: that surrounds the network.
    context: of the round.
    clicks: yx (num_slots, 2) in image pixels, label (num_slots,).
    seen: what the network sees.
    canvas: (height, width) in whose top left corner it lies.

  Returns:
    Image (batch, height, width, 3) and maps (batch, height, width, channels); second in the batch,
    where the protocol flips: mirrored.
  """
  features, state, _ = context
  source = jnp.concatenate([features.image, state.probability[..., None]], axis=-1)
  images, maps = [], []
  for mirrored, yx in enumerate(_places(protocol, clicks, seen)):
    cut = crop(source, canvas, seen.start, seen.extent, seen.size, mirrored == 1)
    drawn = _maps(protocol, yx, jnp.asarray(clicks.label), canvas)
    images.append(cut[..., :3])
    maps.append(jnp.concatenate([cut[..., 3:], drawn], axis=-1) if protocol.previous else drawn)
  return jnp.stack(images), jnp.stack(maps)


def _predict(
  forward: Forward,
  finish: Finish | None,
  protocol: Protocol,
  params: Params,
  context: Context,
  clicks: Clicks,
  seen: View,
  canvas: tuple[int, int],
) -> jax.Array:
  """Probabilities (height, width) in image pixels; 0 outside of the pasted rectangle."""
  images, maps = inputs(protocol, context, clicks, seen, canvas)
  fixed = protocol.zoom.is_fixed
  more = []
  if protocol.with_clicks:
    places = jnp.stack(_places(protocol, clicks, seen))
    label = jnp.broadcast_to(jnp.asarray(clicks.label)[None], places.shape[:2])
    more.append(Clicks(places, label))
  logits, low = forward(params, images, maps, None if fixed else seen.size, *more)
  height, width = logits.shape[1:]
  rows = aligned(canvas[0], height, seen.size[0], low[0])
  total = jnp.zeros(canvas, jnp.float32)
  for mirrored, one in zip((False, True), logits, strict=False):
    columns = aligned(canvas[1], width, seen.size[1], low[1], mirrored=mirrored)
    total = total + jnp.linalg.multi_dot([rows, one, columns.T], precision='highest')
  mean: Array = total / logits.shape[0]
  if finish is not None:
    mean = finish(images[0], maps[0], mean)
  probability = jax.nn.sigmoid(mean)
  paste = seen.paste
  extent = paste.high - paste.low + 1
  rows, columns = (
    aligned(side, canvas[axis], extent[axis], seen.size[axis], into=paste.low[axis])
    for axis, side in enumerate(context.features.image.shape[:2])
  )
  return jnp.linalg.multi_dot([rows, probability, columns.T], precision='highest')


def logit(probability: jax.Array) -> jax.Array:
  """Logits of probabilities in [0, 1]; finite, and on the same side of any mask's threshold."""
  inside = jnp.clip(probability, _LEAST, _MOST)
  return jnp.log(inside) - jnp.log1p(-inside)


def segmenter(
  forward: Forward,
  params: Params,
  info: ModelInfo,
  protocol: Protocol,
  finish: Finish | None = None,
) -> Segmenter:
  """A network that reads click maps, as a click model.

  Where the image may be larger than the zoomed rectangle and is looked at whole, the program holds
  the network twice, for the image's canvas and for the rectangle's, and runs the one it needs;
  mapped over a batch it runs both. With a zoom that `is_fixed` there is one, without any padding.

  Args:
    forward: the network.
    params: passed to it.
    info: of the model.
    protocol: what surrounds it.
    finish: what becomes of its averaged logits; for a zoom that `is_fixed`, as nothing tells it
      where a picture ends on its canvas.

  Returns:
    The segmenter. Its logits are (height, width) float32 in image pixels, differentiable in the
    clicks' places where `protocol.disks` is "soft".
  """

  def prepare(params: Params, features: Features, state: State) -> Context:
    del params
    return Context(features, state, zoom.surround(state.probability, protocol.zoom.threshold))

  def decode(params: Params, context: Context, clicks: Clicks) -> tuple[jax.Array, State]:
    seen = view(protocol, context, clicks)
    zoomed, image = protocol.zoom.canvas, context.features.image.shape[:2]

    def predict(canvas: tuple[int, int]) -> jax.Array:
      return _predict(forward, finish, protocol, params, context, clicks, seen, canvas)

    if protocol.zoom.skip_clicks < 0 or (image[0] <= zoomed[0] and image[1] <= zoomed[1]):
      probability = predict(zoomed)
    else:
      probability = jax.lax.cond(
        seen.whole, lambda: predict((image[0], image[1])), lambda: predict(zoomed)
      )
    return logit(probability), State(probability, seen.box, seen.zoomed)

  def frame(params: Params, context: Context, clicks: Clicks, size: Array) -> Frame:
    del params, size
    return zoom.frame(view(protocol, context, clicks))

  return Segmenter(encode, init, decode, params, info, prepare, frame)
