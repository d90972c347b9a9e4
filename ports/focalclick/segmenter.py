"""FocalClick as a click model: two passes a click, and the published way of evaluating them.

Chen et al., "FocalClick: Towards Practical Interactive Image Segmentation" (arXiv 2204.02574). The
target crop, a square whatever its aspect, goes through the coarse network; a crop around what the
click has changed is refined and put back.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ports import choices
from ports.clicks import maps, zoom
from ports.clicks.cascade import cascaded
from ports.clicks.zoom import Box, View, Zoom
from ports.focalclick import focus, network
from ports.nn.resize import aligned, crop
from tetris_jax.types import Array, Clicks, Frame, ModelInfo, Params, Segmenter

__all__ = ['MERGES', 'Context', 'State', 'focalclick', 'segmenter', 'target_of']

# Pixels along the side of what a network sees, on all data sets.
_SIDE = 256
# The first click sees the whole image, and the crop is chosen anew at every later one.
_ZOOM = Zoom(target=_SIDE, skip_clicks=1, min_crop=10, keep_iou=2.0, threshold=0.49)

# Above it a pixel of the coarse pass belongs to the mask that the focus crop surrounds: the
# released code compares logits with 0.49 there, and probabilities of the previous mask.
_COARSE = float(1 / (1 + np.exp(-0.49)))
_BEFORE = 0.49
# From the next click on the coarse pass only serves the focus crop, all else is kept.
_LAST_COARSE = 10

MERGES = ('never', 'always')


class State(NamedTuple):
  """What is remembered from click to click.

  Attributes:
    last: of the click maps' protocol, see `ports.clicks.maps.State`.
    shown: (height, width) bool, the mask as it was joined; None where masks are not joined.
  """

  last: maps.State
  shown: jax.Array | None


class Context(NamedTuple):
  """A round: the image, what is remembered, and the box around the previous mask."""

  maps: maps.Context
  shown: jax.Array | None


def target_of(protocol: maps.Protocol, context: maps.Context, clicks: Clicks) -> View:
  """The square that the coarse pass sees at the newest of `clicks`."""
  seen = maps.view(protocol, context, clicks)
  side = protocol.zoom.canvas
  return seen._replace(whole=jnp.array(False), size=jnp.array(side, jnp.int32))


def _pasted(probability: jax.Array, seen: View, canvas: tuple[int, int]) -> jax.Array:
  """(side, side) -> (height, width) in image pixels, 0 outside of the pasted rectangle.

  Where the previous mask has vanished, the whole image was seen and the rectangle is an older one:
  the released code stretches over the image, and what it gets over the rectangle.
  """
  extent = seen.paste.high - seen.paste.low + 1
  matrices = []
  for axis, (length, side) in enumerate(zip(canvas, probability.shape, strict=True)):
    over = aligned(length, side, seen.extent[axis], side)
    ends = jnp.stack([seen.extent[axis], jnp.int32(side)])
    size = jnp.stack([extent[axis], jnp.int32(side)])
    again = crop(over[..., None], (length, side), jnp.zeros_like(ends), ends, size, False)[..., 0]
    start = seen.paste.low[axis]
    # What is rolled around the canvas's end is 0: nothing is written behind the rectangle.
    matrices.append(jnp.roll(again, start, axis=0))
  rows, columns = matrices
  return jnp.linalg.multi_dot([rows, probability, columns.T], precision='highest')


def _newest(clicks: Clicks, size: jax.Array) -> tuple[jax.Array, jax.Array]:
  """The pixel that int() gives of the newest click, (2,) int32; and the number of clicks."""
  count = jnp.sum(jnp.asarray(clicks.label) >= 0, dtype=jnp.int32)
  yx = jax.lax.stop_gradient(jnp.asarray(clicks.yx))[jnp.maximum(count - 1, 0)]
  return jnp.clip(yx.astype(jnp.int32), 0, size - 1), count


def _refined(
  protocol: maps.Protocol,
  params: Params,
  context: maps.Context,
  clicks: Clicks,
  found: network.Coarse,
  seen: View,
  box: tuple[jax.Array, jax.Array],
) -> jax.Array:
  """Logits of the focus crop in image pixels, (height, width); 0 outside of it."""
  low, high = box
  extent = jnp.maximum(high - low, 1)
  focused = seen._replace(start=low, extent=extent)
  canvas = protocol.zoom.canvas
  image, drawn = maps.inputs(protocol, context, clicks, focused, canvas)
  whole = (seen.paste.high - seen.paste.low + 1).astype(jnp.float32)
  scale = seen.size.astype(jnp.float32) / whole
  ends = [
    jnp.clip((end - seen.paste.low).astype(jnp.float32) * scale, 0, canvas[0])
    for end in (low, low + extent)
  ]
  logits = network.refine(params, image, drawn[..., -2:], found, *ends).logits[0]
  rows, columns = (
    aligned(length, canvas[axis], extent[axis], canvas[axis], into=low[axis])
    for axis, length in enumerate(context.features.image.shape[:2])
  )
  return jnp.linalg.multi_dot([rows, logits, columns.T], precision='highest')


def _inside(box: tuple[jax.Array, jax.Array], canvas: tuple[int, int]) -> jax.Array:
  """(height, width) bool, the pixels of a rectangle."""
  (top, left), (bottom, right) = box
  rows, columns = (jnp.arange(n, dtype=jnp.int32) for n in canvas)
  vertical, horizontal = (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
  return vertical[:, None] & horizontal[None, :]


def _decode(
  variant: network.Variant,
  protocol: maps.Protocol,
  threshold: float,
  params: Params,
  context: Context,
  clicks: Clicks,
) -> tuple[jax.Array, State]:
  features, state, _ = context.maps
  image, size = features.image, features.size
  canvas = (image.shape[0], image.shape[1])
  seen = target_of(protocol, context.maps, clicks)
  found = network.coarse(
    variant, params, *maps.inputs(protocol, context.maps, clicks, seen, protocol.zoom.canvas)
  )
  probability = _pasted(jax.nn.sigmoid(found.logits[0]), seen, canvas)

  pixel, count = _newest(clicks, size)
  target = seen.paste.low, seen.paste.high + 1
  box = focus.focus_box(
    probability > _COARSE, state.probability > _BEFORE, target, pixel, size
  )
  fine = dataclasses.replace(protocol, radius=5.0)
  logits = _refined(fine, params, context.maps, clicks, found, seen, box)
  probability = jnp.where(count > _LAST_COARSE, state.probability, probability)
  logits = jnp.where(_inside(box, canvas), logits, maps.logit(probability))
  # What lies outside of the picture has no probability, whatever a finite logit says.
  written = _inside((jnp.zeros_like(size), size), canvas)
  probability = jnp.where(written, jax.nn.sigmoid(logits), 0)

  shown = context.shown
  if shown is not None:
    mask = probability > threshold
    shown = focus.merged(mask, shown, pixel, size)
    # The joined mask is what is reported, so its logits have its side, without a slope.
    logits = jnp.where(shown == mask, logits, -jax.lax.stop_gradient(logits))
  last = maps.State(probability, seen.box, seen.zoomed)
  return logits, State(last, shown)


def segmenter(
  variant: network.Variant,
  params: Params,
  info: ModelInfo,
  *,
  zoom_in: Zoom = _ZOOM,
  disks: str = 'soft',
  merge: str = 'never',
) -> Segmenter:
  """FocalClick with its two crops.

  Args:
    variant: which network.
    params: flat tree, see `ports.focalclick.weights`.
    info: of the model.
    zoom_in: of the target crop; its `target` is the side of the square that networks see.
    disks: "soft" for attacks, "hard" for the standard evaluation; see `ports.clicks.maps.Protocol`.
    merge: "always" joins each click's change to the mask before it (progressive merge), and what is
      zoomed into is the joined mask. The published evaluation does so where it starts from a given
      mask, and never where it starts from nothing.

  Returns:
    The segmenter. Its logits are (height, width) float32 in image pixels, differentiable in the
    clicks' places where `disks` is "soft"; no gradient flows through the choice of the crops.

  Raises:
    ValueError: an unknown kind of disk or of merge.
  """
  choices.check('merge', merge, MERGES)
  joins = merge == 'always'
  protocol = maps.Protocol(zoom_in, flip=False, disks=disks, radius=variant.radius)

  def init(params: Params, features: maps.Features) -> State:
    shown = jnp.zeros(features.image.shape[:2], bool) if joins else None
    return State(maps.init(params, features), shown)

  def prepare(params: Params, features: maps.Features, state: State) -> Context:
    del params
    last, shown = state
    looked = last.probability if shown is None else shown.astype(jnp.float32)
    seen: Box = zoom.surround(looked, zoom_in.threshold)
    return Context(maps.Context(features, last, seen), shown)

  def frame(params: Params, context: Context, clicks: Clicks, size: Array) -> Frame:
    del params, size
    return zoom.frame(target_of(protocol, context.maps, clicks))

  decode = functools.partial(_decode, variant, protocol, info.threshold)
  return Segmenter(maps.encode, init, decode, params, info, prepare, frame)


def focalclick(
  params: Mapping[str, np.ndarray],
  sha256: Mapping[str, str],
  *,
  name: str,
  size: str,
  disks: str = 'soft',
  merge: str = 'never',
  cascade: str = 'none',
) -> Segmenter:
  """FocalClick (arXiv 2204.02574) as published: squares of 256 pixels, threshold 0.5, no flip.

  Args:
    params: flat tree, see `ports.focalclick.weights`.
    sha256: of the file that it came from, by name.
    name: of the model; "_merge" is appended where masks are joined.
    size: key of `network.VARIANTS`.
    disks: see `segmenter`.
    merge: see `segmenter`.
    cascade: key of `ports.clicks.cascade.CASCADES`.

  Raises:
    ValueError: an unknown size, kind of disk or of merge, or cascade.
  """
  choices.check('size', size, network.VARIANTS)
  full = name if merge == 'never' else f'{name}_merge'
  info = ModelInfo(full, threshold=0.5, step_diagonal='frame', sha256=dict(sha256))
  model = segmenter(network.VARIANTS[size], dict(params), info, disks=disks, merge=merge)
  return cascaded(model, cascade)
