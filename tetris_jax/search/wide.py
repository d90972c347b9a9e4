"""The global search of a click: every next one far from all that was tried.

Forward evaluations only. An answer flips where the click passes from one part of the object to
another, and parts are told apart by place, by colour, and by which of the masks found so far hold
them. So the distance between two candidates is that of place and colour plus the share of found
masks that hold one and not the other, and it is measured anew after every answer. The next click is
the candidate farthest from all tried ones. Many such clicks leave gaps where nothing looks odd, so
later every second one is the farthest by place alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from tetris_jax.search.candidates import Candidates
from tetris_jax.types import Array, AttackConfig

__all__ = ['Evaluated', 'Extremes', 'Tried', 'extremes', 'nearest', 'refine', 'wide_search']

_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))


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
    picked: (num_tried,) int32, into the candidates.
    iou: (num_tried,) float32.
    side: (num_tried, num_candidates) float32, 1 where a candidate lies in the mask, else -1.
  """

  picked: jax.Array
  iou: jax.Array
  side: jax.Array


class Extremes(NamedTuple):
  """The clicks of lowest and highest IoU.

  Attributes:
    yx: (2, ..., 2) float32, image pixels.
    iou: (2, ...) float32.
  """

  yx: jax.Array
  iou: jax.Array


def _squared(feature: jax.Array, others: jax.Array) -> jax.Array:
  """(n, f), (m, f) -> (n, m) squared distances, term by term so that equal rows give 0."""
  terms = (
    jnp.square(feature[:, k][:, None] - others[:, k][None, :]) for k in range(feature.shape[1])
  )
  return sum(terms, start=jnp.zeros((feature.shape[0], others.shape[0]), jnp.float32))


def nearest(candidates: Candidates, tried: Tried, config: AttackConfig) -> jax.Array:
  """Which click's answer each candidate most likely shares, by the distance of the search.

  Args:
    candidates: what was chosen from.
    tried: what was found.
    config: mask_weight.

  Returns:
    (num_candidates,) int32, into the clicks; of finite answers, if there are any.
  """
  index, number = tried.picked, tried.picked.shape[0]
  agreement = tried.side.T @ tried.side[:, index]
  apart = _squared(candidates.feature, candidates.feature[index])
  apart = apart + config.mask_weight**2 * (0.5 - 0.5 * agreement / number)
  # Between equals, a candidate's own click comes first.
  own = jnp.arange(candidates.exists.shape[0])[:, None] == index[None]
  apart = jnp.where(own, -1.0, apart)
  apart = jnp.where(jnp.isfinite(tried.iou)[None], apart, jnp.inf)
  return jnp.argmin(apart, axis=1).astype(jnp.int32)


def wide_search(
  evaluate: Callable[[jax.Array], Evaluated],
  candidates: Candidates,
  turns: int,
  config: AttackConfig,
  known: Evaluated | None = None,
) -> Tried:
  """Tries `turns * config.per_turn` candidates, the first of `candidates` first.

  Args:
    evaluate: (per_turn, 2) image pixels -> `Evaluated` at the candidates' pixels.
    candidates: at least one exists.
    turns: decoder calls.
    config: per_turn, mask_weight, explore.
    known: what is known of the first candidate, with iou () and mask (num_candidates,). It is not
      evaluated again, and comes first among the tried ones.

  Returns:
    What was tried.
  """
  count, per_turn = candidates.exists.shape[0], config.per_turn
  done = 0 if known is None else 1
  total = done + turns * per_turn
  weight = config.mask_weight**2
  place = candidates.feature[:, :2]
  first = int(config.explore * total)

  def select(turn: jax.Array, index: jax.Array, side: jax.Array) -> jax.Array:
    """The next `per_turn` candidates; `side` is (total, count): 1, -1, and 0 for "not tried"."""
    before = done + turn * per_turn
    tried = jnp.arange(total) < before
    number = jnp.maximum(before, 1).astype(jnp.float32)
    # Sums of whole numbers: exact in any order.
    agreement = side.T @ side[:, index]
    apart = _squared(candidates.feature, candidates.feature[index])
    apart = jnp.maximum(apart + weight * (0.5 - 0.5 * agreement / number), 1e-9)
    nearest = jnp.min(jnp.where(tried[None], apart, jnp.inf), axis=1, initial=1e3)
    placed = _squared(place, place[index])
    placed = jnp.min(jnp.where(tried[None], placed, jnp.inf), axis=1, initial=1e3)
    free = candidates.exists & ~jnp.any(
      (jnp.arange(count)[:, None] == index[None]) & tried[None], axis=1
    )
    chosen = []
    for k in range(per_turn):
      at = before + k
      by_place = (at >= first) & ((at - first) % 2 == 1)
      value = jnp.where(free, jnp.where(by_place, placed, nearest), -1.0)
      pick = jnp.where(at == 0, 0, jnp.argmax(value)).astype(jnp.int32)
      chosen.append(pick)
      free = free & (jnp.arange(count) != pick)
      if k + 1 < per_turn:
        also = _squared(candidates.feature, candidates.feature[pick][None])[:, 0]
        also += weight * (0.5 - 0.5 * (side.T @ side[:, pick]) / number)
        nearest = jnp.minimum(nearest, jnp.maximum(also, 1e-9))
        placed = jnp.minimum(placed, _squared(place, place[pick][None])[:, 0])
    return jnp.stack(chosen)

  def one_turn(turn, carry):
    index, iou, side = carry
    picked = select(turn, index, side)
    found = evaluate(candidates.yx[picked])
    at = done + turn * per_turn
    index = lax.dynamic_update_slice_in_dim(index, picked, at, 0)
    iou = lax.dynamic_update_slice_in_dim(iou, found.iou, at, 0)
    sign = jnp.where(found.mask, 1.0, -1.0)
    return index, iou, lax.dynamic_update_slice_in_dim(side, sign, at, 0)

  iou, side = jnp.zeros(total, jnp.float32), jnp.zeros((total, count), jnp.float32)
  if known is not None:
    iou, side = iou.at[0].set(known.iou), side.at[0].set(jnp.where(known.mask, 1.0, -1.0))
  start = jnp.zeros(total, jnp.int32), iou, side
  return Tried(*lax.fori_loop(0, turns, one_turn, start))


def extremes(candidates: Candidates, tried: Tried, count: int) -> Extremes:
  """The clicks of lowest and of highest IoU, and the next ones whose masks differ from theirs.

  Two masks differ where at least 2 % of the candidates lie in one and not in the other. Where all
  others are alike, the first is repeated.

  Args:
    candidates: what was chosen from, the robot user's click first.
    tried: what was found; the robot user's click where all IoUs are NaN.
    count: how many of each side.

  Returns:
    Extremes with fields (2, count, ...).
  """
  size = jnp.maximum(jnp.sum(candidates.exists, dtype=jnp.int32), 1).astype(jnp.float32)
  real = candidates.exists.astype(jnp.float32)
  sides = []
  for sense in (-1.0, 1.0):
    value = jnp.where(jnp.isfinite(tried.iou), sense * tried.iou, -jnp.inf)
    robot = value[0]
    picked: list[jax.Array] = []
    for _ in range(count):
      best = jnp.argmax(value)
      # None of another mask, or none on this side of the robot user's IoU.
      usable = (value[best] >= robot) & jnp.isfinite(value[best])
      best = jnp.where(usable, best, picked[0]) if picked else best
      picked.append(best)
      same = (tried.side * real[None]) @ tried.side[best]
      alike = 0.5 - 0.5 * same / size < 0.02
      value = jnp.where(alike | (jnp.arange(value.shape[0]) == best), -jnp.inf, value)
    sides.append(jnp.stack(picked))
  at = jnp.stack(sides)
  return Extremes(candidates.yx[tried.picked[at]], tried.iou[at])


def refine(
  evaluate: Callable[[jax.Array], Evaluated],
  legal: Array,
  best: Extremes,
  wanted: Array,
  radius: Array,
  turns: int,
  per_turn: int,
) -> Extremes:
  """Looks around the extremes, in rings that shrink where nothing better is found.

  The wanted sides take turns. Each proposal is the first legal pixel, other than the centre, among
  eight on the ring, a golden angle apart.

  Args:
    evaluate: (per_turn, 2) image pixels -> `Evaluated`.
    legal: (height, width) bool.
    best: where to start.
    wanted: (2,) float32; a side of weight 0 stays as it is.
    radius: () float32, of the first ring in pixels.
    turns: decoder calls.
    per_turn: clicks each.

  Returns:
    The extremes, no worse.
  """
  legal, wanted = jnp.asarray(legal), jnp.asarray(wanted)
  last = jnp.array(legal.shape, jnp.int32) - 1
  sign = jnp.array([-1.0, 1.0], jnp.float32)

  def one_turn(turn, carry):
    best, radius, step = carry
    both = jnp.all(wanted > 0)
    side = jnp.where(both, turn % 2, jnp.argmax(wanted)).astype(jnp.int32)
    centre = best.yx[side]
    number = (step + jnp.arange(per_turn, dtype=jnp.int32))[:, None] * 8 + jnp.arange(8)[None]
    angle = number.astype(jnp.float32) * _GOLDEN_ANGLE
    ring = jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=-1)
    proposed = jnp.round(centre[None, None] + radius[side] * ring)
    pixel = jnp.clip(proposed.astype(jnp.int32), 0, last[None, None])
    inside = jnp.all(pixel == proposed.astype(jnp.int32), axis=-1)
    moved = jnp.any(proposed != centre[None, None], axis=-1)
    fine = legal[pixel[..., 0], pixel[..., 1]] & inside & moved
    first = jnp.argmax(fine, axis=1)
    row = jnp.arange(per_turn)
    yx = jnp.where(fine[row, first][:, None], proposed[row, first], centre[None])
    found = evaluate(yx).iou
    gain = jnp.where(jnp.isfinite(found), sign[side] * (found - best.iou[side]), -jnp.inf)
    winner = jnp.argmax(gain)
    better = gain[winner] > 0
    here = jnp.arange(2) == side
    take = here & better
    best = Extremes(
      jnp.where(take[:, None], yx[winner][None], best.yx),
      jnp.where(take, found[winner], best.iou),
    )
    shrunk = jnp.where(here & ~better, jnp.maximum(0.6 * radius, 1.0), radius)
    return best, shrunk, step + per_turn

  start = best, jnp.broadcast_to(radius, (2,)), jnp.int32(0)
  return lax.fori_loop(0, turns, one_turn, start)[0] if turns else best
