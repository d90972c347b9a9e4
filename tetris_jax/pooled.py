"""What all evaluated first clicks, users' and the search's, say together of a click prior.

A search of the whole legal region evaluates clicks at the state in which users make their first.
Reused, they cost no pass. They lie where the search wanted them, so they are no sample; instead
the prior is cut among all evaluated clicks: each of many places that stand for equal shares of it
goes to the click whose answer it most likely has, by place, colour and the masks that hold it
(`tetris_jax.search.spread.nearest`). Scores of IoUs with these masses err less than those of the
users alone, and are no longer unbiased: they take the unseen for like its neighbours. Error and
bias are measured in docs/measurements.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from tetris_jax.search.spread import Answers, Tried, nearest
from tetris_jax.types import Pooled

__all__ = ['Clicked', 'pool']

# Half as many as a search has candidates: each place goes to the nearest of them.
_PLACES = 1024


class Clicked(NamedTuple):
  """First clicks of an instance's users.

  Attributes:
    yx: (users, 2) float32 image pixels.
    iou: (users,) float32.
    mask: (users, candidates) bool, the masks at the pixels of a search's candidates.
  """

  yx: jax.Array
  iou: jax.Array
  mask: jax.Array


def _closest(yx: jax.Array, candidates: jax.Array) -> jax.Array:
  """(n,) int32, of each place (n, 2) the nearest candidate (count, 2)."""
  apart = jnp.square(yx[:, None] - candidates[None])
  return lax.argmin(apart[..., 0] + apart[..., 1], 1, jnp.int32)


def pool(
  answers: Answers, clicked: Clicked, at_share: Callable[[jax.Array], jax.Array]
) -> Pooled:
  """Cuts the prior among the clicks of one instance.

  Args:
    answers: of the search.
    clicked: the users'.
    at_share: (n,) float32 shares of the prior's mass -> (n, 2) float32, the places at which they
      are reached.

  Returns:
    `Pooled` without its leading (batch,).
  """
  candidates, tried, weight = answers
  places = at_share((jnp.arange(_PLACES, dtype=jnp.float32) + 0.5) / _PLACES)
  mass = jnp.zeros(candidates.yx.shape[0], jnp.float32)
  mass = mass.at[_closest(places, candidates.yx)].add(jnp.float32(1 / _PLACES))
  join = lambda mine, its: jnp.concatenate([mine, its])
  both = Tried(
    join(clicked.yx, tried.yx),
    join(_closest(clicked.yx, candidates.yx), tried.picked),
    join(clicked.iou, tried.iou),
    join(jnp.where(clicked.mask, 1.0, jnp.float32(-1)), tried.side),
  )
  share = jnp.zeros(both.iou.shape, jnp.float32).at[nearest(candidates, both, weight)].add(mass)
  return Pooled(both.iou, share)
