"""What an attack found as rows, one an instance: JSON-able, exact, the same whatever the batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tetris_jax import types
from tetris_jax.scores import checks, priors

__all__ = ['empty_row', 'floats', 'trajectory_rows']

_DECIMALS = 6


def _float(value: Any) -> float:
  """The shortest decimal that gives back the same float32, as a Python float."""
  return float(str(np.float32(value)))


def floats(values: Any) -> Any:
  """float32 numbers of an array as nested lists of the shortest decimals that restore them."""
  values = np.asarray(values, np.float32)
  return [floats(some) for some in values] if values.ndim else _float(values)


def _modes(values: np.ndarray, convert: Any) -> dict[str, Any]:
  """(modes, ...) by the modes' names in the rows' order; None for a mode that was not run."""
  found = dict(zip(types.MODES, values, strict=False))
  return {mode: convert(found[mode]) if mode in found else None for mode in ('min', 'base', 'max')}


def empty_row(
  instance: str, status: str, reason: str, size: tuple[int, int] | None
) -> dict[str, Any]:
  """The row of an instance without numbers.

  Args:
    instance: its name.
    status: "failed" or "skipped".
    reason: what was found, one sentence.
    size: (height, width) in pixels, or None where unknown.

  Raises:
    ValueError: another status, or no reason.
  """
  if status not in ('failed', 'skipped') or not reason:
    raise ValueError(f'{instance}: a row without numbers needs failed or skipped and a reason')
  return {
    'instance': instance,
    'status': status,
    'reason': reason,
    'size': None if size is None else [int(size[0]), int(size[1])],
    'iou': None,
    'biou': None,
    'clicks': None,
    'forward': None,
    'backward': None,
  }


def _complaint(iou: np.ndarray, biou: np.ndarray, yx: np.ndarray) -> str:
  """Why one instance's trajectories are no result: (modes, num_clicks[, 2]) each; else ''."""
  for name, values in (('IoU', iou), ('boundary IoU', biou), ('click', yx)):
    if not np.isfinite(values).all():
      mode, click = np.argwhere(~np.isfinite(values))[0][:2]
      return f'{name} of {types.MODES[mode]} after click {click + 1} is not a finite number'
  if len(iou) == 1:
    return ''
  base, low, high = (float(value) for value in iou[:, 0])
  if not low <= base <= high:
    return (
      'order violated at click 1: MIN <= BASE <= MAX must hold, found '
      f'{low:.6f}, {base:.6f}, {high:.6f}'
    )
  return ''


def _first_click(
  trajectories: types.Trajectories, i: int, size: tuple[int, int]
) -> dict[str, Any]:
  """What a global search says of instance `i` beyond its trajectories."""
  outlook = trajectories.byproducts.outlook
  assert outlook is not None
  fields = (np.asarray(leaf)[i] for leaf in outlook)
  yx, evaluated, even, iou, depth, searched = fields
  hidden = checks.hidden(trajectories, i)
  diagonal = float(np.hypot(*size))
  robot, kept = yx[0], _float(searched)
  found = priors.outlook(yx, iou, depth, evaluated, even, robot, diagonal, searched=kept)
  return {**_rounded(found), 'hidden': None if np.isnan(hidden) else round(hidden, _DECIMALS)}


def _rounded(tree: Any) -> Any:
  if isinstance(tree, dict):
    return {key: _rounded(value) for key, value in tree.items()}
  if isinstance(tree, list):
    return [_rounded(value) for value in tree]
  return round(tree, _DECIMALS) if isinstance(tree, float) else tree


def trajectory_rows(
  trajectories: types.Trajectories,
  instances: Sequence[str],
  sizes: Sequence[tuple[int, int]],
) -> list[dict[str, Any]]:
  """Rows of the first `len(instances)` members of a batch; the rest of the batch is filling.

  A trajectory with a NaN, or one that breaks MIN <= BASE <= MAX at the first click, becomes a
  failed row. Numbers are kept as the shortest decimals that restore the float32 exactly, so a row
  can be replayed. "warnings" are those of `tetris_jax.scores.checks`. Rows of a global search also
  hold "levels", "quantiles" (see `tetris_jax.scores.priors.outlook`) and "hidden" (see
  `tetris_jax.scores.checks.hidden_range`) of the first click.

  Args:
    trajectories: of the batch; see `types.Trajectories` for shapes.
    instances: names.
    sizes: (height, width) of each.
  """
  iou, biou = np.asarray(trajectories.iou), np.asarray(trajectories.biou)
  yx = np.asarray(trajectories.clicks.yx)
  label = np.asarray(trajectories.clicks.label)
  forward, backward = np.asarray(trajectories.forward), np.asarray(trajectories.backward)
  rows = []
  for i, (instance, size) in enumerate(zip(instances, sizes, strict=True)):
    complaint = _complaint(iou[i], biou[i], yx[i])
    if complaint:
      rows.append(empty_row(instance, 'failed', complaint, size))
      continue
    click = np.concatenate([yx[i].astype(np.float64), label[i][..., None]], -1)
    rows.append(
      {
        'instance': instance,
        'status': 'ok',
        'reason': '',
        'size': [int(size[0]), int(size[1])],
        'iou': _modes(iou[i], lambda curve: [_float(x) for x in curve]),
        'biou': _modes(biou[i], lambda curve: [_float(x) for x in curve]),
        'clicks': _modes(click, lambda cs: [[_float(y), _float(x), int(s)] for y, x, s in cs]),
        'forward': int(forward[i]),
        'backward': int(backward[i]),
        'warnings': checks.warnings(trajectories, i),
      }
    )
    if trajectories.byproducts.outlook is not None:
      rows[-1] |= _first_click(trajectories, i, size)
  return rows
