"""Warnings when an evaluation itself looks wrong, and what a search may have left unfound."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from tetris_jax import trajectory
from tetris_jax.objectives import dice_loss
from tetris_jax.robot import next_click
from tetris_jax.scene import each_row, look
from tetris_jax.types import MODES, Array, Batch, Segmenter, Trajectories

__all__ = ['gradient_norms', 'hidden_range', 'warnings']

# Beyond rounding: masks of 10^7 pixels give IoUs that differ by 1e-7.
_TOLERANCE = 1e-6


def warnings(
  found: Trajectories, gradient: Array | None = None, names: Sequence[str] | None = None
) -> list[str]:
  """What looks wrong about trajectories, one sentence per kind and instance.

  Args:
    found: of an attack.
    gradient: (batch,), see `gradient_norms`; without it zero gradients go unnoticed.
    names: of the instances. Default: their positions.

  Returns:
    Sentences, in order of the instances; empty where nothing looks wrong.
  """
  iou, biou = np.asarray(found.iou), np.asarray(found.biou)
  said = []
  for row in range(len(iou)):
    name = str(row) if names is None else names[row]
    for mode, curve in enumerate(iou[row]):
      bad = np.flatnonzero(~(np.isfinite(curve) & np.isfinite(biou[row, mode])))
      if bad.size:
        said.append(
          f'{name}: {MODES[mode].upper()} has no IoU after click {bad[0] + 1}: '
          'the model answered with NaN or infinity'
        )
    if iou.shape[1] == len(MODES) and np.isfinite(iou[row, :, 0]).all():
      base, low, high = iou[row, :, 0]
      if low > base + _TOLERANCE or high < base - _TOLERANCE:
        said.append(
          f'{name}: MIN {low:.4f}, BASE {base:.4f} and MAX {high:.4f} are out of order after '
          'click 1'
        )
      elif high - low <= _TOLERANCE:
        said.append(
          f'{name}: the range after click 1 is one point, IoU {base:.4f}: the model does not '
          'react to where the click is, or the search did not move it'
        )
    if gradient is not None:
      norm = float(np.asarray(gradient)[row])
      if not np.isfinite(norm):
        said.append(f"{name}: the gradient at the robot user's first click is not finite")
      elif norm == 0:
        said.append(
          f"{name}: the gradient at the robot user's first click is zero; a search that follows "
          'it finds nothing'
        )
  return said


def gradient_norms(segmenter: Segmenter, batch: Batch, at_once: int | None = None) -> jax.Array:
  """Norm of the gradient of the Dice loss at the robot user's first click.

  One value-and-gradient an instance; pure and traceable.

  Args:
    segmenter: the model.
    batch: padded instances.
    at_once: images that are encoded together. Default: all.

  Returns:
    (batch,) float32, per image pixel; 0 says that the model hides where the click is from a search
    that follows gradients.
  """
  scene = look(segmenter, batch, at_once)
  walk = trajectory.begin(segmenter, scene, 1, 1)
  propose = each_row(next_click, None, 0, None, 0, None)
  robot, label = propose(scene.mask, walk.mask, scene.valid, walk.clicks, scene.size)
  clicks = trajectory.put(walk.clicks, jnp.int32(0), robot, label)
  prepare = each_row(segmenter.prepare, ..., None, 0, rows=(scene.mask.shape[0], 1))
  context = prepare(segmenter.params, scene.features, walk.state)

  def norm(row):
    context, clicks, mask, inside = row

    def loss(yx):
      moved = clicks._replace(yx=clicks.yx.at[0].set(yx))
      logits, _ = segmenter.decode(segmenter.params, context, moved)
      return dice_loss(logits, mask, inside)

    return jnp.linalg.norm(jax.grad(loss)(clicks.yx[0]))

  alone = jax.tree.map(lambda x: x[:, 0], (context, clicks))
  return jax.lax.map(norm, (*alone, scene.mask, scene.inside))


def hidden_range(tried: Array, found: Array | None = None) -> np.ndarray:
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
