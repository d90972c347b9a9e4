"""Zooming into the object, by the rules of RITM's evaluation, as code that can be traced.

Sofiiuk et al., "Reviving Iterative Training with Mask Guidance" (arXiv 2102.06583) and its released
evaluation. The rectangle that the network sees surrounds the previous mask and the positive clicks;
it is kept from click to click until it no longer fits.

The released code rounds in float64, where products such as 1.4 * 45 fall just beside the halves at
which rounding turns. Every fifth box hits such a half, so the rounding is reproduced: in tables of
float64 by length, and from them in whole numbers.
"""

from __future__ import annotations

import dataclasses
import functools
from fractions import Fraction
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tetris_jax.types import POSITIVE, Array, Clicks, Frame

__all__ = ['Box', 'View', 'Zoom', 'choose', 'frame', 'surround', 'to_view']

_EXACT = -(1 << 20)  # as a power of two: no error at all


@dataclasses.dataclass(frozen=True)
class Zoom:
  """How a model zooms in.

  Attributes:
    target: the longer side that the rectangle gets, its aspect kept; or a fixed (height, width).
    skip_clicks: so many clicks see the whole image at its own size; -1 zooms from the first click
      on, into the whole image where nothing has been found yet.
    expansion: of the box around mask and clicks, about its centre.
    min_crop: sides of the rectangle are at least this, in image pixels, where the image allows.
    keep_iou: the rectangle is chosen anew when its overlap with the one that would be chosen now
      falls below; above 1 it is chosen anew at every click.
    threshold: the probability above which a pixel belongs to the mask that is zoomed into.
  """

  target: int | tuple[int, int] = 400
  skip_clicks: int = 1
  expansion: float = 1.4
  min_crop: int = 200
  keep_iou: float = 0.5
  threshold: float = 0.5

  def __post_init__(self) -> None:
    """Raises ValueError for settings out of range."""
    sides = (self.target,) if isinstance(self.target, int) else self.target
    if len(sides) > 2 or min(sides) < 1:
      raise ValueError(f'target is {self.target}; expected a side, or (height, width), in pixels')
    if self.skip_clicks < -1 or self.skip_clicks == 0:
      # With 0 the released code repeats its first prediction; no published evaluation uses it.
      raise ValueError(f'skip_clicks is {self.skip_clicks}; expected -1, or at least 1')
    if self.min_crop < 1 or self.expansion < 1:
      raise ValueError('min_crop and expansion are at least 1')

  @property
  def canvas(self) -> tuple[int, int]:
    """(height, width) that holds every zoomed rectangle."""
    return (self.target, self.target) if isinstance(self.target, int) else self.target

  @property
  def is_fixed(self) -> bool:
    """Whether the network always sees exactly `canvas`."""
    return self.skip_clicks < 0 and not isinstance(self.target, int)


class Box(NamedTuple):
  """A rectangle of pixels; `low` and `high`, both (2,) int32 (y, x), belong to it."""

  low: jax.Array
  high: jax.Array


class View(NamedTuple):
  """What the network sees at a click, and where its prediction goes.

  Attributes:
    whole: () bool, the image at its own size.
    start: (2,) int32, first pixel seen, (y, x).
    extent: (2,) int32, (height, width) in image pixels.
    size: (2,) int32, (height, width) in network pixels.
    paste: the pixels that the prediction is stretched over; those that are seen, except where the
      previous mask has vanished: the whole image is looked at then, and its prediction still goes
      where the last one went, as in the released code.
    box: what is remembered: the rectangle chosen last.
    zoomed: () bool, whether one has been chosen.
  """

  whole: jax.Array
  start: jax.Array
  extent: jax.Array
  size: jax.Array
  paste: Box
  box: Box
  zoomed: jax.Array


def surround(probability: Array, threshold: float) -> Box:
  """Bounding box of the pixels above the threshold; `low` exceeds `high` where there is none.

  Args:
    probability: (height, width) in [0, 1].
    threshold: in [0, 1].
  """
  mask = jnp.asarray(probability) > threshold
  ends = []
  for axis in (0, 1):
    some = jnp.any(mask, axis=1 - axis)
    index = jnp.arange(some.size, dtype=jnp.int32)
    low = jnp.min(jnp.where(some, index, some.size))
    ends.append((low, jnp.max(jnp.where(some, index, -1))))
  (top, bottom), (left, right) = ends
  return Box(jnp.stack([top, left]), jnp.stack([bottom, right]))


@functools.lru_cache(maxsize=64)
def _half_lengths(expansion: float, min_crop: int, side: int) -> np.ndarray:
  """Half of a box's new length h = max(expansion * n, min_crop) / 2, by n, in float64.

  Rows q, sign and power: h = q / 2 + e with |e| <= 1/4, the sign of e, and the smallest power of
  two that is at least |e|.
  """
  half = 0.5 * np.maximum(expansion * np.arange(side + 1, dtype=np.float64), min_crop)
  doubled = np.rint(2 * half)
  error = half - doubled / 2
  mantissa, exponent = np.frexp(np.abs(error))
  power = np.where(error == 0, _EXACT, exponent - (mantissa == 0.5))
  return np.stack([doubled, np.sign(error), power]).astype(np.int32)


def _power(x: jax.Array) -> jax.Array:
  """Exponent of the largest power of two that is at most x, for x >= 1."""
  return 31 - jax.lax.clz(jnp.maximum(x, 1))


def _rounded(doubled: jax.Array, sign: jax.Array, power: jax.Array) -> jax.Array:
  """round(doubled / 2 + e) of float64: half to even where the sum falls on a half in float64.

  Args:
    doubled: int32.
    sign: of e.
    power: |e| is at most 2**power.
  """
  low = doubled >> 1
  # An error of up to half a unit in the last of 53 binary places is lost in the sum.
  lost = power <= _power(jnp.abs(doubled)) - 1 - 53
  up = jnp.where(lost, low & 1, (sign > 0).astype(jnp.int32))
  return low + jnp.where((doubled & 1) == 1, up, 0)


def _expanded(box: Box, zoom: Zoom, size: jax.Array, side: int) -> Box:
  """The box widened about its centre and cut at the image's border."""
  table = jnp.asarray(_half_lengths(zoom.expansion, zoom.min_crop, side))
  doubled, sign, power = jnp.take(table, jnp.clip(box.high - box.low + 1, 0, side), axis=1)
  centre = box.low + box.high
  low = _rounded(centre - doubled, -sign, power)
  high = _rounded(centre + doubled, sign, power)
  return Box(jnp.maximum(low, 0), jnp.minimum(high, size - 1))


@functools.lru_cache(maxsize=64)
def _scales(target: int, side: int) -> np.ndarray:
  """The float64 factor target / n, by n: its error as n * factor = target + r * unit.

  Rows r and power: unit is the factor's last binary place, power that of its first.
  """
  rows = [(0, 0)]
  for n in range(1, side + 1):
    factor = target / n
    power = int(np.frexp(factor)[1]) - 1
    rows.append((int((Fraction(factor) * n - target) / Fraction(2) ** (power - 52)), power))
  return np.array(rows, np.int32).T


def _scaled(extent: jax.Array, target: int, side: int) -> jax.Array:
  """round(extent * (target / max(extent))) of float64, at least 1."""
  longest = jnp.max(extent)
  error, power = jnp.take(jnp.asarray(_scales(target, side)), longest, axis=1)
  doubled = 2 * target * extent
  quotient, rest = doubled // longest, doubled % longest
  half = (rest == 0) & ((quotient & 1) == 1)
  low = quotient >> 1
  places = jnp.maximum(_power(quotient) - 1 - power, 0)
  lost = 2 * extent * jnp.abs(error) <= (longest << places)
  up = jnp.where(lost, low & 1, (error > 0).astype(jnp.int32))
  nearest = (doubled + longest) // (2 * longest)
  return jnp.maximum(jnp.where(half, low + up, nearest), 1)


def _overlap(a: Box, b: Box) -> tuple[jax.Array, jax.Array]:
  """Products of the intersections and of the unions along both axes, float32."""
  shared = jnp.minimum(a.high, b.high) - jnp.maximum(a.low, b.low) + 1
  joined = jnp.maximum(a.high, b.high) - jnp.minimum(a.low, b.low) + 1
  shared = jnp.maximum(shared, 0).astype(jnp.float32)
  return shared[0] * shared[1], joined[0].astype(jnp.float32) * joined[1].astype(jnp.float32)


def choose(
  zoom: Zoom,
  box: Box,
  zoomed: Array,
  seen: Box,
  clicks: Clicks,
  size: Array,
  canvas: tuple[int, int],
) -> View:
  """What the network sees at the newest of `clicks`. No gradient flows through the choice.

  Args:
    zoom: the rules.
    box: the rectangle chosen last; anything where there is none.
    zoomed: () bool, whether there is one.
    seen: `surround` of the previous probabilities.
    clicks: yx (num_slots, 2) in image pixels, label (num_slots,).
    size: (2,) int32, the image's height and width.
    canvas: (height, width) that the image lies on.
  """
  size = jnp.asarray(size, jnp.int32)
  yx, label = jax.lax.stop_gradient(jnp.asarray(clicks.yx)), jnp.asarray(clicks.label)
  positive = (label == POSITIVE)[:, None]
  found = jnp.all(seen.low <= seen.high)
  side = max(canvas)

  # A click belongs to the pixel that int() gives.
  pixel = jnp.clip(yx.astype(jnp.int32), 0, (size - 1)[None, :])
  low = jnp.minimum(seen.low, jnp.min(jnp.where(positive, pixel, side), axis=0))
  high = jnp.maximum(seen.high, jnp.max(jnp.where(positive, pixel, -1), axis=0))
  whole = Box(jnp.zeros_like(size), size - 1)
  wanted = _expanded(Box(low, high), zoom, size, side)
  wanted = jax.tree.map(lambda a, b: jnp.where(found, a, b), wanted, whole)

  zooms = jnp.sum(label >= 0, dtype=jnp.int32) > zoom.skip_clicks
  if zoom.skip_clicks >= 0:
    zooms = zooms & found
  before = (yx < box.low.astype(jnp.float32)[None]) | (yx >= box.high.astype(jnp.float32)[None])
  outside = jnp.any(positive & before)
  shared, joined = _overlap(wanted, box)
  renew = ~zoomed | outside | (shared < zoom.keep_iou * joined)
  box = jax.tree.map(lambda a, b: jnp.where(zooms & renew, a, b), wanted, box)
  zoomed = jnp.asarray(zoomed) | zooms

  view = jax.tree.map(lambda a, b: jnp.where(zooms, a, b), box, whole)
  paste = jax.tree.map(lambda a, b: jnp.where(zoomed, a, b), box, whole)
  extent = view.high - view.low + 1
  if isinstance(zoom.target, int):
    target = _scaled(extent, zoom.target, side)
  else:
    target = jnp.array(zoom.target, jnp.int32)
  return View(~zooms, view.low, extent, jnp.where(zooms, target, extent), paste, box, zoomed)


def frame(view: View) -> Frame:
  """The view as the kernel knows it: first pixel and extent in image pixels, size in network's."""
  return Frame(*(x.astype(jnp.float32) for x in (view.start, view.extent, view.size)))


def to_view(yx: Array, view: View, *, exact: bool = False) -> jax.Array:
  """Clicks (num_slots, 2) in image pixels -> network pixels: `size * (yx - start) / extent`.

  This is the released rule; it is not where aligned corners would put the click.

  Args:
    yx: clicks.
    view: what the network sees.
    exact: rounds the quotient as float32 should; XLA multiplies by a rounded reciprocal, and
      448 * 120 / 240 is not 224 then. A hard disk's rim turns on it, a soft one's does not.
  """
  at = frame(view)
  scaled = at.size[None] * (jnp.asarray(yx) - at.offset[None])
  moved = scaled / at.extent[None]
  if exact:
    # Twelve bits of the quotient and then the other twelve, whose products with a side are exact.
    bits = jax.lax.bitcast_convert_type(moved, jnp.int32) & jnp.int32(-(1 << 12))
    high = jax.lax.bitcast_convert_type(bits, jnp.float32)
    left = (scaled - high * at.extent[None]) - (moved - high) * at.extent[None]
    moved = moved + jax.lax.stop_gradient(left / at.extent[None])
  return jnp.where(view.whole, yx, moved)
