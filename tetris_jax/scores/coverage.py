"""How much of the true range of IoU a search found, beside an exhaustive one."""

from __future__ import annotations

import numpy as np

from tetris_jax.types import Array

__all__ = ['LEAST_RANGE', 'share_of_range']

LEAST_RANGE = 0.02
"""A true range of IoU that is no wider has no share worth naming."""


def share_of_range(
  low: Array, high: Array, iou: Array, *, least: float = LEAST_RANGE
) -> np.ndarray:
  """What part of the true range of IoU a search found, of each instance.

  Args:
    low: (batch,) the lowest IoU that the search found.
    high: (batch,) the highest.
    iou: (batch, count) of the same round, as `iou` of `tetris_jax.truth.Grid`; NaN where a position
      does not count. An instance without any has no range.
    least: a true range of no more than this has no share worth naming.

  Returns:
    (batch,) float64, not cut at 1: a search may step between the lattice's pixels. NaN where the
    true range is no more than `least`.
  """
  iou = np.asarray(iou, np.float64)
  known = np.isfinite(iou)
  ends = [np.max(np.where(known, sign * iou, -np.inf), axis=1) for sign in (1, -1)]
  true = np.where(known.any(axis=1), ends[0] + ends[1], 0.0)
  found = np.asarray(high, np.float64) - np.asarray(low, np.float64)
  return np.where(true > least, found / np.where(true > least, true, 1.0), np.nan)
