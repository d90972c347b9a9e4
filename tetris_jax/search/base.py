"""The `Search` protocol: how ONE click is found, whatever the rounds around it.

A search is a frozen dataclass of its own settings. The round engine hands it rows, each a
trajectory in which the robot user has just clicked; it answers with better places for that click.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from tetris_jax.scene import Scene, Score, Target, decoded, hard_score
from tetris_jax.types import Array, Byproducts, Clicks, Segmenter

__all__ = ['Asked', 'Cost', 'Found', 'Known', 'Rows', 'Search', 'decode_at', 'score_at']


class Cost(NamedTuple):
  """Decoder evaluations of one instance.

  Attributes:
    forward: all evaluations.
    backward: gradients among them.
  """

  forward: int
  backward: int


class Known(NamedTuple):
  """What the robot user's click is known to give, where it was evaluated before the search.

  Attributes:
    iou: (...) float32.
    mask: (..., height, width) bool.
  """

  iou: jax.Array
  mask: jax.Array


class Rows(NamedTuple):
  """What a search sees of each row; leading dimensions (rows...), or none for one row.

  Attributes:
    context: what the model prepared for the round.
    clicks: all slots, the robot user's click in the newest one.
    legal: (height, width) bool, where a click of this label corrects the mask.
    wanted: (2,) float32, the weights of a lower and of a higher IoU: (1, 0) for a MIN row, (0, 1)
      for MAX, and (1, 1) in a first round that serves both.
    target: what predictions are compared with.
    view: the row's part of what `Search.look` made; None where it made nothing.
    known: of the robot user's click in a shared first round, else None.
    key: of the row's draws; None where the search draws nothing.
  """

  context: Any
  clicks: Clicks
  legal: jax.Array
  wanted: jax.Array
  target: Target
  view: Any = None
  known: Known | None = None
  key: jax.Array | None = None


class Asked(NamedTuple):
  """What all rows share.

  Attributes:
    segmenter: the model.
    slot: () int32, of the newest click.
    at_once: evaluations that go through the decoder together, at most; None for all.
    each: maps a function of one row over the rows, or does nothing where they are a single row
      without a leading dimension.
  """

  segmenter: Segmenter
  slot: jax.Array
  at_once: int | None
  each: Callable[[Callable[..., Any]], Callable[..., Any]]


class Found(NamedTuple):
  """A search's answer for each row.

  Attributes:
    yx: (sides, num_beams, 2) float32 image pixels, best first; sides are MIN and MAX in a shared
      first round, else the row's own.
    iou: (sides, num_beams) float32; only a search with several beams is asked for it.
    new: (sides, num_beams) bool, False where the first is repeated for want of another; likewise.
    byproducts: of the row, without the leading (batch,) dimension; those of the first round are
      reported, of MIN and MAX where each has its own search.
  """

  yx: jax.Array
  iou: jax.Array | None = None
  new: jax.Array | None = None
  byproducts: Byproducts = Byproducts()


@runtime_checkable
class Search(Protocol):
  """How one click is found; to be derived from by a frozen dataclass of settings.

  Attributes:
    num_beams: trajectories of MIN, and of MAX, that are carried through the rounds.
    shares_first_round: whether one search of the first click serves MIN and MAX.
    robot_competes: whether the robot user's own trajectory may win over those searched.
    draws: whether `Rows.key` is needed.
    together: evaluations that each row makes at a time.
  """

  num_beams: int = 1
  shares_first_round: bool = False
  robot_competes: bool = False
  draws: bool = False
  together: int = 1

  def __post_init__(self) -> None:
    """Raises ValueError for settings out of range."""
    self.check()

  def check(self) -> None:
    """Raises ValueError for settings out of range; called where the settings are made."""

  @abc.abstractmethod
  def cost(self, num_clicks: int) -> Cost:
    """Evaluations that the searches of all rounds make, without those that the engine keeps."""
    ...

  def look(self, scene: Scene) -> Any:
    """What the search needs of the images, once for all rounds: a tree with leading (batch,)."""
    del scene

  @abc.abstractmethod
  def __call__(self, asked: Asked, rows: Rows) -> Found:
    """Searches the newest click of each row."""
    ...


def decode_at(asked: Asked, row: Rows, yx: Array) -> tuple[jax.Array, Any]:
  """Logits (height, width) and state with the newest click of ONE row at yx (2,)."""
  moved = row.clicks._replace(yx=jnp.asarray(row.clicks.yx).at[asked.slot].set(yx))
  return decoded(asked.segmenter, row.context, moved, row.target.mask.shape)


def score_at(asked: Asked, row: Rows, yx: Array) -> Score:
  """Mask and IoU with the newest click of ONE row at yx (2,)."""
  logits, _ = decode_at(asked, row, yx)
  return hard_score(logits, asked.segmenter.info.threshold, row.target)
