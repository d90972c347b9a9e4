"""The global search of a click: forward passes over the whole legal region, no gradient.

Where it clicks is told in `tetris_jax.search.spread`; the candidates are those of
`tetris_jax.search.candidates`.
"""

from __future__ import annotations

import dataclasses
import numbers

import jax
import jax.numpy as jnp

from tetris_jax.geometry.region import inner_depth
from tetris_jax.scene import Scene, in_parts
from tetris_jax.search.base import Asked, Cost, Found, Rows, Search, score_at
from tetris_jax.search.candidates import Candidates, choose, smooth_colour
from tetris_jax.search.spread import (
  Answers,
  Evaluated,
  Tried,
  explored,
  extremes,
  nearest,
  wide_search,
)
from tetris_jax.types import MODES, Byproducts, Outlook

__all__ = ['Wide']

@dataclasses.dataclass(frozen=True)
class Wide(Search):
  """The global search: forward passes over the whole legal region.

  Attributes:
    budget: with one beam: decoder evaluations of one round, all that are kept included. The first
      round's search serves MIN and MAX together, a later round's is halved between them. With more
      beams each makes a search of that size, and what is kept of each comes on top.
    per_turn: clicks that are evaluated before the next is chosen.
    pool_size: legal pixels among which the search chooses.
    colour_weight: of a difference in colour, each channel in [0, 1], beside one in position, where
      1 is the root of the legal region's area.
    mask_weight: of the root of the share of found masks that tell two pixels apart, likewise.
    explore: the share of the search, its first clicks, that goes to the candidate farthest from all
      tried ones.
    follow: of the rest, the share that closes in on seams between two answers.
    num_beams: trajectories of MIN, and of MAX, that are carried through the rounds. The first is
      that of a search with one beam, so that more of them find no less.
    depth: clicks lie only deeper than this share of the largest inner distance of the legal region;
      the robot user's click is always a candidate.
  """

  budget: int = 64
  per_turn: int = 1
  pool_size: int = 2048
  colour_weight: float = 1.0
  mask_weight: float = 1.0
  explore: float = 0.6
  follow: float = 1.0
  num_beams: int = 1
  depth: float = 0.0

  shares_first_round = True
  robot_competes = True

  @property
  def together(self) -> int:  # type: ignore[override]
    """Evaluations that each row makes at a time."""
    return self.per_turn

  @property
  def turns(self) -> tuple[int, int]:
    """Decoder calls of the first round's search, and of each search of a later round."""
    # The same for every number of beams, so that the first beam is the greedy trajectory.
    searched = self.budget - len(MODES)
    return searched // self.per_turn, searched // (2 * self.per_turn)

  def check(self) -> None:
    """Raises ValueError for settings out of range, or a budget that is too small for them."""
    for name, least in (('budget', 1), ('per_turn', 1), ('pool_size', 2), ('num_beams', 1)):
      value = getattr(self, name)
      if not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(f'{name} is {value}; expected a whole number of at least {least}')
    if self.num_beams > self.budget:
      raise ValueError(
        f'num_beams is {self.num_beams}; a search of budget {self.budget} has no more clicks than '
        'that to carry on'
      )
    if not 0 <= self.depth < 1:
      raise ValueError(f'depth is {self.depth}; expected a share from 0 to below 1')
    for name in ('explore', 'follow'):
      value = getattr(self, name)
      if not 0 <= value <= 1:
        raise ValueError(f'{name} is {value}; expected a share from 0 to 1')
    for name in ('colour_weight', 'mask_weight'):
      value = getattr(self, name)
      if not 0 <= value < float('inf'):
        raise ValueError(f'{name} is {value}; expected at least 0')
    if self.turns[0] < 2:
      raise ValueError(
        f'budget is {self.budget}; at least {len(MODES) + 2 * self.per_turn} evaluations a round '
        f'are needed with per_turn {self.per_turn}'
      )

  def cost(self, num_clicks: int) -> Cost:
    """One search of the first round, one a beam of MIN and of MAX in every later one."""
    first, later = (turns * self.per_turn for turns in self.turns)
    return Cost(first + (num_clicks - 1) * 2 * self.num_beams * later, 0)

  def look(self, scene: Scene) -> jax.Array:
    """(batch, height, width, 3), `smooth_colour` of each image."""
    return jax.vmap(smooth_colour)(scene.image, scene.inside)

  def __call__(self, asked: Asked, rows: Rows) -> Found:
    """Searches the newest click of each row over its whole legal region."""
    return asked.each(lambda row: self._search(asked, row))(rows)

  def _search(self, asked: Asked, row: Rows) -> Found:
    robot, known = row.clicks.yx[asked.slot], row.known
    legal = row.legal
    depth = inner_depth(legal) if self.depth or known is not None else legal
    if self.depth:
      legal = legal & (depth > self.depth)
    pool = choose(legal, row.view, robot, self.pool_size, self.colour_weight)
    pixel = pool.yx.astype(jnp.int32)

    def score(yx: jax.Array) -> Evaluated:
      found = score_at(asked, row, yx)
      return Evaluated(found.iou, found.mask[pixel[:, 0], pixel[:, 1]])

    def evaluate(yx: jax.Array) -> Evaluated:
      return in_parts(lambda each, some: each(score)(some), asked.at_once, yx)

    before = None
    if known is not None:
      before = Evaluated(known.iou, known.mask[pixel[:, 0], pixel[:, 1]])
    turns = self.turns[0 if known is not None else 1]
    tried = wide_search(evaluate, pool, legal, row.wanted, turns, self, known=before)
    area = jnp.sum(legal, dtype=jnp.int32)
    best = extremes(pool, tried, self.num_beams, area)
    if known is not None:
      # Below a depth the candidates leave out a part of what users click.
      answers = None if self.depth else Answers(pool, tried, jnp.float32(self.mask_weight))
      return Found(*best, Byproducts(*self._outlook(pool, tried, depth), answers=answers))
    side = (row.wanted[1] > row.wanted[0]).astype(jnp.int32)
    return Found(*jax.tree.map(lambda x: x[side][None], best))

  def _outlook(
    self, pool: Candidates, tried: Tried, depth: jax.Array
  ) -> tuple[jax.Array, Outlook]:
    """IoUs of the clicks that were spread evenly, and what they say of the whole region."""
    answer = tried.iou[nearest(pool, tried, self.mask_weight)]
    yx = jnp.concatenate([tried.yx, pool.yx])
    made = jnp.arange(yx.shape[0], dtype=jnp.int32) < tried.yx.shape[0]
    # The robot user's click, the first, lies where it lies. Below a depth there are no candidates,
    # so none stand for the whole region.
    alone = jnp.sum(pool.exists, dtype=jnp.int32) == 1
    even = pool.exists.at[0].set(alone) & (self.depth == 0)
    even = jnp.concatenate([jnp.zeros_like(tried.iou, bool), even])
    at = yx.astype(jnp.int32)
    answer = jnp.concatenate([tried.iou, answer])
    found = Outlook(
      yx, made, even, answer, depth[at[:, 0], at[:, 1]], jnp.float32(self.depth)
    )
    return tried.iou[: explored(self, tried.iou.shape[0])], found
