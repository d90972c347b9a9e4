"""Heat maps to explore: one HTML file, in which a click's place shows its numbers and its mask."""

from __future__ import annotations

import base64
import dataclasses
import pathlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tetris_jax import types
from tetris_jax.report import embedding, style
from tetris_jax.report import pictures as pictures_lib
from tetris_jax.report.heatmaps import picture
from tetris_jax.report.heatmaps.summary import HeatMaps
from tetris_jax.runs import files, maps
from tetris_jax.runs.merge import Run
from tetris_jax.scores import priors
from tetris_jax.scores.table import ORDER

__all__ = ['MAX_BYTES', 'Beside', 'beside', 'file_names', 'render']

MAX_BYTES = 24_000_000
"""Of all objects on a page; one takes about half a megabyte."""

# Scores and shares as whole numbers: four decimals are more than a map shows.
_SCORE, _SHARE = 10_000, 1000
_WIDTH = 800
_HERE = pathlib.Path(__file__).parent
_SCORES = ('iou', 'biou', 'predicted')


@dataclasses.dataclass(frozen=True)
class Beside:
  """Other runs of the same model on the same data set.

  Attributes:
    attacks: rows of attacks by preset and instance.
    users: rows of users' clicks by instance.
  """

  attacks: Mapping[str, Mapping[str, Mapping[str, Any]]] = dataclasses.field(default_factory=dict)
  users: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)


def beside(one: HeatMaps, attacks: Sequence[Run], users: Sequence[Run]) -> Beside:
  """What of other runs belongs to maps: that of the same model, data set, instance and size.

  Args:
    one: the maps.
    attacks: runs of attacks.
    users: runs of users' clicks.
  """
  sizes = {row['instance']: row['size'] for row in one.rows}

  def rows(run: Run) -> dict[str, Mapping[str, Any]]:
    return {
      row['instance']: row
      for row in run.rows
      if row['status'] == 'ok' and sizes.get(row['instance']) == row['size']
    }

  same = lambda run: (run.model, run.dataset) == (one.model, one.dataset)
  clicked: dict[str, Mapping[str, Any]] = {}
  for run in filter(same, users):
    clicked |= rows(run)
  return Beside({run.preset: rows(run) for run in filter(same, attacks)}, clicked)


def file_names(all_maps: Sequence[HeatMaps]) -> list[str]:
  """Names of the pages of several maps."""
  if len(all_maps) == 1:
    return ['explorer.html']
  names = [f'explorer-{one.model}-{one.dataset}' for one in all_maps]
  return [f'{name}.html' for name in files.distinct_names(names)]


def render(
  one: HeatMaps,
  most: int = 12,
  *,
  others: Beside | None = None,
  read: pictures_lib.Reader | None = None,
) -> str | None:
  """The page of the maps of one model on one data set, those of the widest range first.

  A map that is damaged is left out and said; one without masks or photograph, which its run was
  asked not to keep, is shown without.

  Args:
    one: the maps, whose arrays and photographs lie beside their pictures.
    most: how many there may be; fewer where `MAX_BYTES` are reached.
    others: what else is shown.
    read: reads pictures; by default one that says on standard error which are left out.

  Returns:
    The page; None where no map can be shown.
  """
  read, others = read or pictures_lib.Reader(), others or Beside()
  rows = {row['instance']: row for row in one.rows}
  shown: list[dict[str, Any]] = []
  spent = 0
  for name, file in one.pictures.items():
    if len(shown) == most:
      break
    try:
      made = _object(rows[name], file, others, read)
    except maps.DamagedMapError as error:
      read.say(style.one_line(f'note: left out of the page to explore: {error}'))
      continue
    size = len(embedding.as_data(made))
    if spent + size > MAX_BYTES:
      break
    spent += size
    shown.append(made)
  if not shown:
    return None
  held = {
    'model': one.model,
    'dataset': one.dataset,
    'side': maps.MASK_SIDE,
    'most': len(one.pictures),
    'objects': shown,
  }
  script = (_HERE / 'explorer.js').read_text('utf-8')
  parts = {'DATA': embedding.as_data(held), 'SCRIPT': script, 'SIDE': str(maps.MASK_SIDE)}
  return embedding.filled(_HERE / 'explorer.html', parts)


def _object(
  row: Mapping[str, Any], file: pathlib.Path, others: Beside, read: pictures_lib.Reader
) -> dict[str, Any]:
  """What the page holds of an instance. Raises maps.DamagedMapError."""
  made = maps.read_map(file.with_suffix('.npz'), row['presets'])
  _check(made, row['presets'], file.with_suffix('.npz'))
  photograph = picture.photograph_of(file)
  found = read(photograph) if photograph.is_file() else None
  legal = made['legal']
  shape = _shown_size(legal.shape)
  name = row['instance']
  return {
    'name': name,
    'size': list(legal.shape),
    'stride': int(made['stride']),
    'photo': embedding.jpeg_url(found.image, width=_WIDTH) if found else None,
    'shape': list(shape),
    'legal': _packed(np.packbits(_nearest(legal, shape))),
    'yx': [_whole(made['yx'][:, axis]) for axis in (0, 1)],
    **{key: _whole(made[key], _SCORE) for key in _SCORES},
    'masks': _packed(_differences(made['masks'])) if 'masks' in made else None,
    'priors': _priors(made) if 'depth' in made else {},
    'presets': _presets(row, made, others),
    'users': _users(name, others),
    'notes': [*row.get('warnings', ()), *filter(None, [row['left_out']])],
  }


def _check(made: Mapping[str, np.ndarray], presets: Iterable[str], path: pathlib.Path) -> None:
  """Raises maps.DamagedMapError for arrays that a row with numbers cannot have come from."""
  shapes: dict[str, tuple[int, ...]] = {key: (len(made['yx']),) for key in ('iou', 'biou')}
  for name in presets:
    shapes |= {f'{name}/yx': (3, 2), f'{name}/iou': (3,), f'{name}/biou': (3,)}
  for key, shape in shapes.items():
    if made[key].shape != shape or not np.isfinite(made[key]).all():
      raise maps.DamagedMapError(f'{path} is damaged ({key} is no array of {shape} finite numbers)')


def _whole(values: np.ndarray, scale: float = 1) -> list[int | None]:
  """Numbers times a scale as whole ones; None for what is not finite."""
  return [
    None if not np.isfinite(value) else round(scale * float(value)) for value in values
  ]


def _shown_size(size: tuple[int, ...]) -> tuple[int, int]:
  """(height, width) at which an object's outline is drawn."""
  scale = min(1.0, _WIDTH / max(size))
  return max(1, round(scale * size[0])), max(1, round(scale * size[1]))


def _nearest(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
  """A mask (height, width) at another size, of each cell the centre's pixel."""
  rows, columns = (
    (2 * np.arange(shape[axis]) + 1) * mask.shape[axis] // (2 * shape[axis]) for axis in (0, 1)
  )
  return mask[rows[:, None], columns[None, :]]


def _differences(masks: np.ndarray) -> np.ndarray:
  """Packed masks (positions, bytes), each but the first as what differs from the one before.

  Neighbours answer nearly alike, so that hardly anything is left to compress.
  """
  return np.concatenate([masks[:1], masks[1:] ^ masks[:-1]])


def _packed(array: np.ndarray) -> str:
  """Bytes compressed, as the page unpacks them."""
  return base64.b64encode(zlib.compress(array.tobytes(), 9)).decode()


def _priors(made: Mapping[str, np.ndarray]) -> dict[str, list[int | None]]:
  """Each prior's weight of every position, as a share of the largest.

  The robot user's click, which need not lie on the lattice, stands in no lattice's place.
  """
  yx, diagonal = made['yx'], float(np.hypot(*made['legal'].shape))
  alone = slice(0 if len(yx) == 1 else 1, None)
  found = {}
  for prior in priors.PRIORS:
    weight = priors.weights(prior, yx[alone], made['depth'][alone], yx[0], diagonal)
    shares = _whole(weight / weight.max(), _SHARE)
    found[prior] = shares if len(yx) == 1 else [None, *shares]
  return found


def _presets(
  row: Mapping[str, Any], made: Mapping[str, np.ndarray], others: Beside
) -> list[dict[str, Any]]:
  """First clicks that attacks found: those of the maps' own run, then of other runs."""
  out: list[dict[str, Any]] = []
  for name in row['presets']:
    clicks = {
      mode: _click(made[f'{name}/yx'][at], made[f'{name}/iou'][at], made[f'{name}/biou'][at])
      for at, mode in enumerate(types.MODES)
    }
    out.append({'name': name, 'share': row['presets'][name]['share_of_range'], 'clicks': clicks})
  known = {one['name']: one['clicks'] for one in out}
  for name, rows in others.attacks.items():
    other = rows.get(row['instance'])
    if other is None:
      continue
    clicks = {
      mode: _click(other['clicks'][mode][0][:2], other['iou'][mode][0], other['biou'][mode][0])
      for mode in ORDER
      if other['iou'][mode] is not None
    }
    # Over one click an attack finds what the maps' run has found already.
    if known.get(name) != clicks:
      shown = f'{name} (attack)' if name in known else name
      out.append({'name': shown, 'share': None, 'clicks': clicks})
  return out


def _click(yx: Sequence[float], iou: float, biou: float | None) -> list[float | None]:
  scores = (None if score is None else round(float(score), 4) for score in (iou, biou))
  return [*(round(float(at), 2) for at in yx), *scores]


def _users(name: str, others: Beside) -> list[dict[str, Any]]:
  """Users' first clicks by source: those of a run of users, and those that attacks sampled."""
  out = []
  for source, found in others.users.get(name, {'users': {}})['users'].items():
    given = zip(found['yx'], found['iou'], found['biou'], strict=True)
    out.append({'name': source, 'clicks': [_click(*one) for one in given]})
  for rows in others.attacks.values():
    sampled = rows.get(name, {}).get('users')
    if sampled:
      places = zip(sampled['first'], sampled['iou'], strict=True)
      clicks = [_click(yx, curve[0], None) for yx, curve in places]
      # Whatever the preset, they are the same users.
      out.append({'name': f'sampled by {sampled["prior"]}', 'clicks': clicks})
      break
  return [one for one in out if one['clicks']]
