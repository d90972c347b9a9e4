"""Where a global search clicks: far from all it tried, then along the seams between answers.

Forward evaluations only. An answer flips where the click passes from one part of the object to
another, and parts are told apart by place, by colour, and by which of the masks found so far hold
them. So the distance between two candidates is that of place and colour plus the share of found
masks that hold one and not the other, and it is measured anew after every answer. At first the
next click is the candidate farthest from all tried ones.

The extremes often lie on the seam itself, in a strip a few pixels wide where one answer turns into
the other. So later clicks bisect the way between two neighbours whose masks differ, again and again
until they touch (`tetris_jax.search.seams`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tetris_jax.mesh import varying
from tetris_jax.search import seams
from tetris_jax.search.candidates import Candidates
from tetris_jax.types import Array

__all__ = [
  'Answers',
  'Evaluated',
  'Extremes',
  'Settings',
  'Tried',
  'explored',
  'extremes',
  'nearest',
  'wide_search',
]

# Clicks with the same mask count as two from this share of the root of the legal region's area on.
_ELSEWHERE = 0.1


class Settings(Protocol):
  """What is chosen by; `tetris_jax.search.wide.Wide` tells what each means."""

  @property
  def per_turn(self) -> int:
    """Clicks evaluated before the next is chosen."""

  @property
  def mask_weight(self) -> float:
    """Of a difference in masks beside one in position."""

  @property
  def explore(self) -> float:
    """Share of the clicks, the first ones, that spread."""

  @property
  def follow(self) -> float:
    """Share of the others that go to seams."""


class Evaluated(NamedTuple):
  """What the decoder says of some clicks.

  Attributes:
    iou: (num_clicks,) float32, NaN where the logits are not finite.
    mask: (num_clicks, num_pixels) bool, the hard masks at the pixels asked for.
  """

  iou: jax.Array
  mask: jax.Array


class Tried(NamedTuple):
  """The clicks of a search, in order.

  Attributes:
    yx: (num_tried, 2) float32, whole image pixels; seams are followed between the candidates.
    picked: (num_tried,) int32, the candidate at that place, or the nearest one.
    iou: (num_tried,) float32.
    side: (num_tried, num_candidates) float32, 1 where a candidate lies in the mask, else -1.
  """

  yx: jax.Array
  picked: jax.Array
  iou: jax.Array
  side: jax.Array


class Answers(NamedTuple):
  """What a search knows of a region: see `nearest`.

  Attributes:
    candidates: spread over the region.
    tried: the clicks that were evaluated.
    mask_weight: () float32, of a difference in masks beside one in position.
  """

  candidates: Candidates
  tried: Tried
  mask_weight: jax.Array


class Extremes(NamedTuple):
  """The clicks of lowest and highest IoU.

  Attributes:
    yx: (2, ..., 2) float32, image pixels.
    iou: (2, ...) float32.
    new: (2, ...) bool, False where the first is repeated for want of another.
  """

  yx: jax.Array
  iou: jax.Array
  new: jax.Array


class _Found(NamedTuple):
  """What a search carries from click to click.

  Attributes:
    tried: of fixed length, `side` being 0 for "not tried".
    place: (num_candidates, num_tried) float32, squared distance in place and colour.
    agreement: (num_candidates, num_tried) float32, masks that hold both or none, less those that
      hold one, of the candidate and the click. Sums of whole numbers, exact in any order.
    seams: neighbours among the clicks.
  """

  tried: Tried
  place: jax.Array
  agreement: jax.Array
  seams: seams.Seams


def _squared(feature: jax.Array, other: jax.Array) -> jax.Array:
  """(n, f), (f,) -> (n,) squared distances, term by term so that equal rows give 0."""
  terms = (jnp.square(feature[:, k] - other[k]) for k in range(feature.shape[1]))
  return sum(terms, start=jnp.zeros(feature.shape[0], jnp.float32))


def explored(settings: Settings, total: int) -> int:
  """How many of a search's `total` clicks, its first ones, are spread over the candidates."""
  return max(1, int(settings.explore * total))


def nearest(
  candidates: Candidates, tried: Tried, mask_weight: float | jax.Array
) -> jax.Array:
  """Which click's answer each candidate most likely shares, by the distance of the search.

  Args:
    candidates: what was chosen from.
    tried: what was found.
    mask_weight: of a difference in masks beside one in position.

  Returns:
    (num_candidates,) int32, into the clicks; of finite answers, if there are any.
  """
  index, number = tried.picked, tried.picked.shape[0]
  agreement = tried.side.T @ tried.side[:, index]
  apart = jax.vmap(_squared, (None, 0), 1)(candidates.feature, candidates.feature[index])
  apart = apart + mask_weight**2 * (0.5 - 0.5 * agreement / number)
  # Between equals, a candidate's own click comes first.
  own = jnp.all(candidates.yx[:, None] == tried.yx[None], axis=-1)
  apart = jnp.where(own, -1.0, apart)
  apart = jnp.where(jnp.isfinite(tried.iou)[None], apart, jnp.inf)
  return lax.argmin(apart, 1, jnp.int32)


class _Ground(NamedTuple):
  """What a search of `total` clicks goes by; `total` and `settings` are static."""

  candidates: Candidates
  legal: jax.Array
  wanted: jax.Array
  real: jax.Array
  area: jax.Array
  total: int
  settings: Settings


def _enter(
  ground: _Ground,
  found: _Found,
  number: jax.Array,
  yx: jax.Array,
  iou: jax.Array,
  mask: jax.Array,
) -> _Found:
  """Enters one click as the `number`-th."""
  candidates, real, tried = ground.candidates, ground.real, found.tried
  at = lax.argmin(_squared(candidates.yx, yx), 0, jnp.int32)
  side = jnp.where(mask, 1.0, jnp.float32(-1))
  picked = tried.picked.at[number].set(at)
  sides = tried.side.at[number].set(side)
  agreement = found.agreement + side[:, None] * side[picked][None]
  agreement = agreement.at[:, number].set(sides[:, at] @ sides)
  place = found.place.at[:, number].set(_squared(candidates.feature, candidates.feature[at]))
  differs = 0.5 - 0.5 * (sides @ (side * real)) / jnp.sum(real)
  grown = seams.add(found.seams, number, yx, differs, ground.area)
  iou = tried.iou.at[number].set(iou)
  return _Found(Tried(tried.yx.at[number].set(yx), picked, iou, sides), place, agreement, grown)


def _novelty(
  ground: _Ground, found: _Found, tried: jax.Array, number: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """How far each candidate is from all tried ones (n,), and which may still be clicked (n,)."""
  candidates, weight = ground.candidates, ground.settings.mask_weight**2
  apart = found.place + weight * (0.5 - 0.5 * found.agreement / number)
  apart = jnp.where(tried[None], jnp.maximum(apart, 1e-9), jnp.inf)
  novel = jnp.min(apart, axis=1, initial=1e3)
  there = jnp.all(candidates.yx[:, None] == found.tried.yx[None], axis=-1)
  return novel, candidates.exists & ~jnp.any(there & tried[None], axis=1)


def _select(ground: _Ground, found: _Found, before: jax.Array) -> jax.Array:
  """The next `per_turn` clicks (per_turn, 2), after `before` ones."""
  candidates, total, settings = ground.candidates, ground.total, ground.settings
  count, per_turn = candidates.exists.shape[0], settings.per_turn
  first, weight = explored(settings, total), settings.mask_weight**2
  tried = jnp.arange(total, dtype=jnp.int32) < before
  number = jnp.maximum(before, 1).astype(jnp.float32)
  novel, free = _novelty(ground, found, tried, number)
  dues = [seams.due(before + k - first, settings.follow) for k in range(per_turn)]
  # It costs more than all else here.
  promise = lax.cond(
    jnp.any(jnp.stack(dues)),
    lambda: seams.promise(found.seams, found.tried.iou, tried, ground.legal, ground.wanted),
    lambda: varying(jnp.full((total, total), -jnp.inf, jnp.float32), found),
  )
  pairs = jnp.arange(total * total, dtype=jnp.int32).reshape(total, total)
  chosen = []
  for k in range(per_turn):
    at = before + k
    pick = lax.argmax(jnp.where(free, novel, -1.0), 0, jnp.int32)
    pick = jnp.where(at == 0, 0, pick)
    pair = lax.argmax(promise.reshape(-1), 0, jnp.int32)
    due = dues[k] & (promise.reshape(-1)[pair] > -jnp.inf)
    middle = seams.middle(found.seams, pair)
    chosen.append(jnp.where(due, middle, candidates.yx[pick]))
    if k + 1 < per_turn:
      promise = jnp.where(
        due & (pairs == pair), -jnp.inf, promise
      )
      free = free & (due | (jnp.arange(count, dtype=jnp.int32) != pick))
      also = _squared(candidates.feature, candidates.feature[pick])
      side = found.tried.side
      also += weight * (0.5 - 0.5 * (side.T @ side[:, pick]) / number)
      novel = jnp.where(due, novel, jnp.minimum(novel, jnp.maximum(also, 1e-9)))
  return jnp.stack(chosen)


def wide_search(
  evaluate: Callable[[jax.Array], Evaluated],
  candidates: Candidates,
  legal: Array,
  wanted: Array,
  turns: int,
  settings: Settings,
  *,
  known: Evaluated | None = None,
) -> Tried:
  """Tries `turns * settings.per_turn` clicks, the first of `candidates` first.

  Args:
    evaluate: (per_turn, 2) image pixels -> `Evaluated` at the candidates' pixels.
    candidates: at least one exists.
    legal: (height, width) bool, where a click may lie.
    wanted: (2,) float32, the weight of a lower and of a higher IoU.
    turns: decoder calls.
    settings: per_turn, mask_weight, explore and follow.
    known: what is known of the first candidate, with iou () and mask (num_candidates,). It is not
      evaluated again, and comes first among the tried ones.

  Returns:
    What was tried.
  """
  legal, wanted = jnp.asarray(legal), jnp.asarray(wanted)
  count, per_turn = candidates.exists.shape[0], settings.per_turn
  done = 0 if known is None else 1
  total = done + turns * per_turn
  real = candidates.exists.astype(jnp.float32)
  area = jnp.sum(legal, dtype=jnp.int32)
  ground = _Ground(candidates, legal, wanted, real, area, total, settings)

  def one_turn(turn, found):
    before = done + turn * per_turn
    yx = _select(ground, found, before)
    answer = evaluate(yx)
    for k in range(per_turn):
      found = _enter(ground, found, before + k, yx[k], answer.iou[k], answer.mask[k])
    return found

  nothing = Tried(
    jnp.zeros((total, 2), jnp.float32),
    jnp.zeros(total, jnp.int32),
    jnp.zeros(total, jnp.float32),
    jnp.zeros((total, count), jnp.float32),
  )
  empty = jnp.zeros((count, total), jnp.float32)
  found = varying(_Found(nothing, empty, empty, seams.none(total)), (candidates, legal))
  if known is not None:
    found = _enter(ground, found, jnp.int32(0), candidates.yx[0], known.iou, known.mask)
  return lax.fori_loop(np.int32(0), np.int32(turns), one_turn, found).tried


def extremes(candidates: Candidates, tried: Tried, count: int, area: Array) -> Extremes:
  """The clicks of lowest and of highest IoU, and the best ones that are unlike them.

  The second has another mask than the first: 2 % of the candidates or more lie in one of the two
  alone. The others have another mask than those before, or lie elsewhere: a tenth of the root of
  the legal region's area away, or more. Where there is none, the first is repeated.

  Args:
    candidates: what was chosen from, the robot user's click first.
    tried: what was found; the robot user's click where all IoUs are NaN.
    count: how many of each side.
    area: () int32, pixels of the legal region.

  Returns:
    Extremes with fields (2, count, ...).
  """
  size = jnp.maximum(jnp.sum(candidates.exists, dtype=jnp.int32), 1).astype(jnp.float32)
  real = candidates.exists.astype(jnp.float32)
  reach = _ELSEWHERE**2 * jnp.asarray(area).astype(jnp.float32)
  sides, new = [], []
  for sense in (-1.0, 1.0):
    value = jnp.where(jnp.isfinite(tried.iou), sense * tried.iou, -jnp.inf)
    picked: list[jax.Array] = []
    there: list[jax.Array] = []
    alike = near = jnp.zeros(value.shape, bool)
    for number in range(count):
      free = jnp.where(alike if number == 1 else near, -jnp.inf, value)
      best = lax.argmax(free, 0, jnp.int32)
      # None is left, or none on this side of the robot user's IoU.
      usable = (free[best] >= value[0]) & jnp.isfinite(free[best])
      best = jnp.where(usable, best, picked[0]) if picked else best
      picked.append(best)
      there.append(usable | (number == 0))
      same = (tried.side * real[None]) @ tried.side[best]
      alike = 0.5 - 0.5 * same / size < 0.02
      near |= alike & (_squared(tried.yx, tried.yx[best]) < reach)
      near |= jnp.arange(value.shape[0], dtype=jnp.int32) == best
    sides.append(jnp.stack(picked))
    new.append(jnp.stack(there))
  at = jnp.stack(sides)
  return Extremes(tried.yx[at], tried.iou[at], jnp.stack(new))
