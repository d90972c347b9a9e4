"""What was found as rows, one an instance: JSON-able, exact, the same whatever the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tetris_jax import types
from tetris_jax.runs import maps, schema
from tetris_jax.scores import checks, coverage, metrics, priors
from tetris_jax.scores.table import ORDER

__all__ = ['Given', 'floats', 'map_row', 'trajectory_rows', 'users_row']

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
  return {mode: convert(found[mode]) if mode in found else None for mode in ORDER}


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
  warned: Sequence[Sequence[str]] | None = None,
  *,
  prior: str = '',
) -> list[dict[str, Any]]:
  """Rows of the first `len(instances)` members of a batch; the rest of the batch is filling.

  A trajectory with a NaN, or one that breaks MIN <= BASE <= MAX at the first click, becomes a
  failed row. Numbers are kept as the shortest decimals that restore the float32 exactly, so a row
  can be replayed. "warnings" are those of `tetris_jax.scores.checks` and then those of the samples.
  Rows of a global search also hold "levels", "quantiles" (see `tetris_jax.scores.priors.outlook`)
  and "hidden" (see `tetris_jax.scores.checks.hidden_range`) of the first click, and those beside
  which users clicked "users".

  Args:
    trajectories: of the batch; see `types.Trajectories` for shapes.
    instances: names.
    sizes: (height, width) of each.
    warned: the warnings of each sample; None for none.
    prior: that users followed, where some clicked beside the attack.
  """
  iou, biou = np.asarray(trajectories.iou), np.asarray(trajectories.biou)
  yx = np.asarray(trajectories.clicks.yx)
  label = np.asarray(trajectories.clicks.label)
  forward, backward = np.asarray(trajectories.forward), np.asarray(trajectories.backward)
  rows = []
  for i, (instance, size) in enumerate(zip(instances, sizes, strict=True)):
    complaint = _complaint(iou[i], biou[i], yx[i]) or _complaint_of_users(trajectories.users, i)
    if complaint:
      rows.append(schema.empty_row('attack', instance, 'failed', complaint, size))
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
        'warnings': [
          *checks.warnings(trajectories, i, size=size),
          *(warned[i] if warned else ()),
        ],
      }
    )
    if trajectories.byproducts.outlook is not None:
      rows[-1] |= _first_click(trajectories, i, size)
    if trajectories.users is not None:
      rows[-1]['users'] = _crowd(trajectories.users, i, prior)
  return rows


def _complaint_of_users(walked: types.Walked | None, i: int) -> str:
  """Why the users of instance `i` are no result; else ''."""
  if walked is None:
    return ''
  bad = ~(np.isfinite(np.asarray(walked.iou)[i]) & np.isfinite(np.asarray(walked.biou)[i]))
  if not bad.any():
    return ''
  user, click = np.argwhere(bad)[0]
  return f'IoU of sampled user {user + 1} after click {click + 1} is not a finite number'


def _crowd(walked: types.Walked, i: int, prior: str) -> dict[str, Any]:
  """The users of instance `i` as its row holds them."""
  iou, biou = np.asarray(walked.iou)[i], np.asarray(walked.biou)[i]
  scores = lambda curves: [round(float(auc), _DECIMALS) for auc in metrics.iou_auc(curves)]
  pooled = {} if walked.pooled is None else {'pooled': _pooled(walked.pooled, i)}
  return {
    'prior': prior,
    'count': len(iou),
    'auc': {'iou': scores(iou), 'biou': scores(biou)},
    'iou': floats(iou),
    'first': floats(np.asarray(walked.clicks.yx)[i, :, 0]),
    **pooled,
  }


def _pooled(pooled: types.Pooled, i: int) -> dict[str, Any]:
  """The evaluated first clicks that stand for any of the prior."""
  iou, mass = (np.asarray(leaf)[i] for leaf in pooled)
  kept = mass > 0
  return {
    'iou': floats(iou[kept]),
    'mass': [round(float(share), _DECIMALS) for share in mass[kept]],
  }


class Given(NamedTuple):
  """First clicks of one source on an instance.

  Attributes:
    yx: (n, 2) float32 image pixels.
    clamped: (n,) bool, those that lay outside of the image and were moved in.
    line: of the file that they come from, one each, or None.
    user: who made them, likewise.
  """

  yx: np.ndarray
  clamped: np.ndarray
  line: list[int] | None = None
  user: list[str] | None = None


def users_row(
  instance: str,
  mask: np.ndarray,
  sources: Mapping[str, Given],
  first: tuple[types.Array, types.Array, types.Array],
  walks: Mapping[str, tuple[types.Array, types.Array, types.Array, types.Array]],
  warned: Sequence[str] = (),
) -> dict[str, Any]:
  """The row of users' clicks on one instance; a failed one where a score is not finite.

  Args:
    instance: its name.
    mask: (height, width) bool, the object.
    sources: first clicks by source.
    first: yx (positions, 2), iou (positions,) and biou (positions,) of the robot user's first click
      and then of all sources in their order; what follows is filling.
    walks: by user, yx (num_clicks, 2), label (num_clicks,), iou (num_clicks,) and biou
      (num_clicks,).
    warned: the sample's warnings; a row without any has no such field.
  """
  used = 1 + sum(len(given.yx) for given in sources.values())
  yx, iou, biou = (np.asarray(values)[:used] for values in first)
  scores = [iou, biou, *(curve for walk in walks.values() for curve in walk[2:])]
  if not all(np.isfinite(some).all() for some in scores):
    reason = 'IoU of a click is not a finite number'
    return schema.empty_row('users', instance, 'failed', reason, mask.shape)
  users, start = {}, 1
  for name, given in sources.items():
    end = start + len(given.yx)
    at = np.rint(given.yx).astype(int)
    users[name] = {
      'yx': floats(given.yx),
      'iou': floats(iou[start:end]),
      'biou': floats(biou[start:end]),
      'on_object': mask[at[:, 0], at[:, 1]].tolist(),
      'clamped': given.clamped.tolist(),
      **({} if given.line is None else {'line': given.line, 'user': given.user}),
    }
    start = end
  return {
    'instance': instance,
    'status': 'ok',
    'reason': '',
    'size': [int(side) for side in mask.shape],
    'robot': {'yx': floats(yx[0]), 'iou': floats(iou[0]), 'biou': floats(biou[0])},
    'users': users,
    'trajectories': {name: _walk(*walk) for name, walk in walks.items()},
    'forward': used + sum(len(walk[1]) for walk in walks.values()),
    'backward': 0,
    **_warned(warned),
  }


def _warned(said: Sequence[str]) -> dict[str, Any]:
  """The field of warnings, which rows without any lack, as they did before there were some."""
  return {'warnings': list(said)} if said else {}


def _walk(
  yx: types.Array, label: types.Array, iou: types.Array, biou: types.Array
) -> dict[str, Any]:
  clicks = zip(floats(yx), np.asarray(label).tolist(), strict=True)
  return {
    'iou': floats(iou),
    'biou': floats(biou),
    'clicks': [[*position, sign] for position, sign in clicks],
  }


def _mapped_badly(made: Mapping[str, np.ndarray], presets: Mapping[str, float]) -> str:
  """Why a map is no result; '' where it is one."""
  for where in ('', *(f'{name}/' for name in presets)):
    for key, title in (('iou', 'IoU'), ('biou', 'boundary IoU')):
      if not np.isfinite(made[f'{where}{key}']).all():
        whose = where.rstrip('/') or 'the map'
        return f'{title} of a click of {whose} is not a finite number'
  return ''


def map_row(
  instance: str,
  made: Mapping[str, np.ndarray],
  depth: np.ndarray,
  presets: Mapping[str, float],
  file: str,
  left_out: str | None,
  warned: Sequence[str] = (),
) -> dict[str, Any]:
  """The row of a heat map, not drawn yet; a failed one where a score is not finite.

  Args:
    instance: its name.
    made: the arrays of its map; see `tetris_jax.runs.maps`.
    depth: (height, width) in [0, 1], of every legal pixel the distance to outside of the region as
      a share of the largest.
    presets: the depth that each preset keeps to, 0 for one that clicks everywhere.
    file: the name of its map.
    left_out: why the map says too little of its region for a mean; None where it says enough.
    warned: the sample's warnings; a row without any has no such field.
  """
  yx, iou, legal = made['yx'], made['iou'], made['legal']
  if complaint := _mapped_badly(made, presets):
    return schema.empty_row('heatmap', instance, 'failed', complaint, legal.shape)
  at = np.rint(yx).astype(int)
  deep = depth[at[:, 0], at[:, 1]]
  everywhere = np.ones(len(yx), bool)
  # The first position is the robot user's click, which need not lie on the lattice.
  even = (np.arange(len(yx)) > 0) | (len(yx) == 1)
  diagonal = float(np.hypot(*legal.shape))
  return {
    'instance': instance,
    'status': 'ok',
    'reason': '',
    'size': [int(side) for side in legal.shape],
    'stride': int(made['stride']),
    'positions': len(iou),
    'legal_pixels': int(np.count_nonzero(legal)),
    'left_out': left_out,
    'min': float(iou.min()),
    'base': float(iou[0]),
    'max': float(iou.max()),
    'presets': {
      # A search that keeps to a depth is measured against what lies there.
      name: _preset(made, name, np.where(deep > least, iou, np.nan) if least else iou)
      for name, least in presets.items()
    },
    **priors.outlook(yx, iou, deep, everywhere, even, yx[0], diagonal),
    'map': file,
    'picture': None,
    **_warned(warned),
  }


def _preset(made: Mapping[str, np.ndarray], name: str, iou: np.ndarray) -> dict[str, Any]:
  """What a preset found of the range of these IoUs, (positions,), NaN where one does not count."""
  own = {key: made[f'{name}/{key}'] for key in maps.OF_A_PRESET}
  _, low, high = own['iou'][:, None]
  share = float(coverage.share_of_range(low, high, iou[None])[0])
  hidden = float(own['hidden'])
  return {
    'min': float(low[0]),
    'max': float(high[0]),
    'forward': int(own['spent'][0]),
    'backward': int(own['spent'][1]),
    'share_of_range': None if np.isnan(share) else share,
    'hidden': None if np.isnan(hidden) else hidden,
  }
