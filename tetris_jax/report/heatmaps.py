"""Heat maps of IoU over the first click, as `experiments.heatmap` leaves them, for the page."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tetris_jax import metrics
from tetris_jax.results import WorkdirError

__all__ = ['HeatMaps', 'read_heatmaps', 'shares']


@dataclasses.dataclass(frozen=True)
class HeatMaps:
  """The maps of one model on one data set.

  Attributes:
    model: its name.
    source: name of the folder that they came from.
    rows: of its `shares.json`: "instance", true "min" and "max" IoU of any first click, and for
      each of "presets" the "share_of_range" that it found, None where there is hardly a range.
    pictures: path of an instance's map, by name, the widest true range first.
  """

  model: str
  source: str
  rows: Sequence[Mapping[str, Any]]
  pictures: Mapping[str, pathlib.Path]


def read_heatmaps(folder: pathlib.Path) -> HeatMaps:
  """Reads a work folder of `experiments.heatmap`.

  Raises:
    WorkdirError: it is none, has not finished, or is damaged.
  """
  try:
    model = json.loads((folder / 'config.json').read_text())['model']
    rows = json.loads((folder / 'shares.json').read_text())['rows']
    ranges = [row['max'] - row['min'] for row in rows]
    names = [row['instance'] for row in rows]
    if not all('share_of_range' in found for row in rows for found in row['presets'].values()):
      raise KeyError('share_of_range')
  except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
    raise WorkdirError(
      f'--heatmaps: {folder} is no finished work folder of experiments.heatmap: '
      f'{type(error).__name__}: {error}'
    ) from error
  # Their names begin with the instance's position, and rows are in that order.
  files = sorted((folder / 'maps').glob('*.png'))
  if len(files) != len(rows):
    raise WorkdirError(f'--heatmaps: {folder} has {len(files)} maps for {len(rows)} rows')
  widest = sorted(zip(ranges, names, files, strict=True), key=lambda one: -one[0])
  pictures = {name: file for _, name, file in widest}
  return HeatMaps(str(model), folder.name, rows, pictures)


def shares(maps: Sequence[HeatMaps]) -> list[dict[str, Any]]:
  """Mean share of the true range that each preset found, with its interval, and the lowest one.

  A share above 1, which a search between the grid's positions may reach, counts as 1; instances
  with hardly a range do not count.
  """
  out = []
  for one in maps:
    presets = dict.fromkeys(name for row in one.rows for name in row['presets'])
    for preset in presets:
      held = [row['presets'][preset] for row in one.rows if preset in row['presets']]
      known = [found['share_of_range'] for found in held if found['share_of_range'] is not None]
      found = np.minimum(np.array(known, np.float64), 1.0)
      estimate = metrics.mean(found)
      out.append(
        {
          'model': one.model,
          'source': one.source,
          'preset': preset,
          'share': dict(zip(('value', 'low', 'high', 'n'), estimate, strict=True)),
          'lowest': float(found.min()) if len(found) else None,
        }
      )
  return out
