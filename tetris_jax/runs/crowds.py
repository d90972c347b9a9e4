"""What rows of an attack hold of the sampled users beside it."""

from __future__ import annotations

from typing import TypedDict

__all__ = ['Crowd', 'CrowdScores', 'PooledClicks']


class CrowdScores(TypedDict):
  """IoU-AuC of each sampled user's trajectory, of IoU and of boundary IoU."""

  iou: list[float]
  biou: list[float]


class PooledClicks(TypedDict):
  """First clicks that were evaluated, users' and the search's; see `tetris_jax.pooled`.

  Attributes:
    iou: of each.
    mass: the share of the click prior that each stands for; what stands for none is left out.
  """

  iou: list[float]
  mass: list[float]


class _Crowd(TypedDict):
  prior: str
  count: int
  auc: CrowdScores
  iou: list[list[float]]
  first: list[list[float]]


class Crowd(_Crowd, total=False):
  """Trajectories of sampled users beside those of the attack; all users are equally likely.

  Attributes:
    prior: the click prior that they follow.
    count: how many there are; the next lists have an entry for each, in one order.
    auc: what their trajectories score.
    iou: IoU after each click.
    first: [y, x] of the first click, in image pixels.
    pooled: first clicks of these users and of the search; there only beside a search of the whole
      region.
  """

  pooled: PooledClicks
