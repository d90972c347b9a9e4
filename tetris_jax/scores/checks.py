"""Warnings when an evaluation itself looks wrong, and what a search may have left unfound."""

from __future__ import annotations

import numpy as np

from tetris_jax.scores.table import CURVES
from tetris_jax.types import MODES, Array, Trajectories

__all__ = ['hidden', 'hidden_range', 'outside', 'warnings']

# Beyond rounding: masks of 10^7 pixels give IoUs that differ by 1e-7.
_TOLERANCE = 1e-6


def outside(yx: Array, size: Array | tuple[int, int]) -> np.ndarray:
  """Which clicks fall on no pixel of the picture.

  Args:
    yx: (..., 2) image pixels, whose centres are at whole numbers.
    size: (height, width).

  Returns:
    (...) bool.
  """
  yx = np.asarray(yx, np.float64)
  return np.any((yx < -0.5) | (yx > np.asarray(size, np.float64) - 0.5), axis=-1)


def warnings(
  found: Trajectories, row: int, *, size: tuple[int, int] | None = None
) -> list[str]:
  """What looks wrong about the trajectories of one instance.

  Args:
    found: of an attack.
    row: which instance of the batch.
    size: (height, width) of its picture; None where that is not known.

  Returns:
    Sentences, empty where nothing looks wrong: the model answered with NaN, in a trajectory or to
    a click that was tried; MIN <= BASE <= MAX does not hold after click 1, or all three are one;
    clicks lie outside of the picture; the gradients with which a local search starts are zero or
    not finite.
  """
  curves = {field: np.asarray(getattr(found, field))[row] for field in CURVES}
  iou = curves['iou']
  said = []
  for mode, known in enumerate(np.all([np.isfinite(x) for x in curves.values()], axis=0)):
    bad = np.flatnonzero(~known)
    if bad.size:
      said.append(
        f'{MODES[mode].upper()} has no IoU after click {bad[0] + 1}: the model answered with NaN '
        'or infinity'
      )
  if len(iou) == len(MODES) and np.isfinite(iou[:, 0]).all():
    base, low, high = iou[:, 0]
    if low > base + _TOLERANCE or high < base - _TOLERANCE:
      said.append(
        f'MIN {low:.4f}, BASE {base:.4f} and MAX {high:.4f} are out of order after click 1'
      )
    elif high - low <= _TOLERANCE:
      said.append(
        f'the range after click 1 is one point, IoU {base:.4f}: the model does not react to where '
        'the click is, or the search did not move it'
      )
  if size is not None:
    said += _beyond(np.asarray(found.clicks.yx)[row], size)
  outlook, gradient = found.byproducts.outlook, found.byproducts.gradient
  if outlook is not None:
    answers = np.asarray(outlook.iou)[row][np.asarray(outlook.evaluated)[row]]
    silent = int(np.sum(~np.isfinite(answers)))
    if silent:
      said.append(
        f'the model answered with NaN or infinity to {silent} of the {len(answers)} first clicks '
        'that were tried'
      )
  if gradient is not None:
    norm = np.asarray(gradient)[row]
    if not np.isfinite(norm).all():
      said.append("the gradient at the robot user's first click is not finite")
    elif not norm.any():
      said.append(
        "the gradient at the robot user's first click is zero; a search that follows it finds "
        'nothing'
      )
  return said


def _beyond(yx: np.ndarray, size: tuple[int, int]) -> list[str]:
  """How many clicks of each mode lie outside of the picture; yx is (modes, num_clicks, 2)."""
  said = []
  for mode, beyond in enumerate(outside(yx, size)):
    if beyond.any():
      said.append(
        f"{beyond.sum()} of {MODES[mode].upper()}'s {beyond.size} clicks "
        f'{"lies" if beyond.sum() == 1 else "lie"} outside of the picture, the first is click '
        f'{np.argmax(beyond) + 1}'
      )
  return said


def hidden_range(tried: Array, *, found: Array | None = None) -> np.ndarray:
  """How much wider the true range of IoU may be than the one found.

  At each end, once more the step from the second most extreme value to the most extreme, cut to
  [0, 1]: the estimator of an end point by Robson and Whitlock ("Estimation of a truncation point",
  Biometrika, 1964), which is nearly unbiased for independent draws. What later clicks found beyond
  these is subtracted. The clicks of a search are spread, not drawn, so: MobileSAM, first click of
  `strong_v1` on 29 objects, a grid as the truth, mean hidden range 0.023, mean estimate 0.020. A
  mean over a data set says something; that of one instance says little (rank correlation with the
  truth 0.27).

  Args:
    tried: (..., num_clicks) IoUs of one round, NaN where there is none. Clicks that were made
      where others gave reason to do not belong here.
    found: (...) float32, the range that all clicks found. Default: that of `tried`.

  Returns:
    (...) float64 in [0, 1]; NaN below two finite values.
  """
  iou = np.asarray(tried, np.float64)
  if iou.shape[-1] < 2:
    return np.full(iou.shape[:-1], np.nan)
  finite = np.isfinite(iou)
  low = np.sort(np.where(finite, iou, np.inf), axis=-1)
  high = -np.sort(np.where(finite, -iou, np.inf), axis=-1)
  enough = np.sum(finite, axis=-1) >= 2
  first, second = (np.where(enough, low[..., k], 0.0) for k in (0, 1))
  last, before = (np.where(enough, high[..., k], 0.0) for k in (0, 1))
  hidden = np.minimum(second - first, first) + np.minimum(last - before, 1 - last)
  if found is not None:
    hidden = np.maximum(last - first + hidden - np.asarray(found, np.float64), 0.0)
  return np.where(enough, hidden, np.nan)


def hidden(found: Trajectories, row: int) -> float:
  """`hidden_range` of the first click of one instance after a global search.

  Args:
    found: of an attack.
    row: which instance of the batch.

  Returns:
    In [0, 1]; 0 where every legal pixel was tried, NaN where nothing is known and for other
    searches.
  """
  outlook, tried = found.byproducts.outlook, found.byproducts.tried
  if outlook is None or tried is None:
    return float('nan')
  made = np.asarray(outlook.evaluated)[row]
  yx, iou = np.asarray(outlook.yx)[row][made], np.asarray(outlook.iou)[row][made]
  # A search comes back to the robot user's click when nothing else is left to try.
  if np.any(np.all(yx[1:] == yx[0], axis=-1)):
    return 0.0
  finite = iou[np.isfinite(iou)]
  wide = np.asarray(np.ptp(finite) if finite.size else 0.0)
  return float(hidden_range(np.asarray(tried)[row], found=wide))
