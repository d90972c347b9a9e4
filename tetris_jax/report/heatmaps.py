"""Heat maps of IoU over the first click, as `experiments.heatmap` leaves them, for the page."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tetris_jax import metrics, results
from tetris_jax.results import WorkdirError

__all__ = ['HeatMaps', 'read_heatmaps', 'shares']


@dataclasses.dataclass(frozen=True)
class HeatMaps:
  """The maps of one model on one data set.

  Attributes:
    model: its name.
    dataset: its name.
    rows: of its `shares.json`: "instance", true "min" and "max" IoU of any first click, and for
      each of "presets" the "share_of_range" that it found, None where there is hardly a range.
    pictures: path of an instance's map, by name, the widest true range first.
  """

  model: str
  dataset: str
  rows: Sequence[Mapping[str, Any]]
  pictures: Mapping[str, pathlib.Path]


def read_heatmaps(folder: pathlib.Path) -> HeatMaps:
  """Reads a work folder of `experiments.heatmap`, or one that holds all its shards.

  Raises:
    WorkdirError: it is none, has not finished or is damaged, or its shards do not merge.
  """
  whole = (folder / 'config.json').is_file()
  folders = [folder] if whole else sorted(folder.glob('shard-*')) or [folder]
  pieces = [_read_piece(one) for one in folders]
  first = pieces[0][0]
  for (config, _), one in zip(pieces, folders, strict=True):
    lines = results.difference(first, config, ('shard.id',))
    if lines:
      listed = '; '.join(lines)
      raise WorkdirError(f'--heatmaps: {folders[0]} and {one} do not merge: {listed}')
  count = first['shard']['count']
  numbers = sorted(config['shard']['id'] for config, _ in pieces)
  if numbers != list(range(count)):
    raise WorkdirError(f'--heatmaps: {folder}: expected each of {count} shards, found {numbers}')
  # File names begin with the instance's position.
  made = sorted((pair for _, pairs in pieces for pair in pairs), key=lambda pair: pair[0].name)
  widest = sorted(made, key=lambda pair: pair[1]['min'] - pair[1]['max'])
  pictures = {row['instance']: file for file, row in widest}
  return HeatMaps(first['model'], first['dataset'], [row for _, row in made], pictures)


def _read_piece(
  folder: pathlib.Path,
) -> tuple[Mapping[str, Any], list[tuple[pathlib.Path, Mapping[str, Any]]]]:
  """Configuration of one shard, and its pictures with their rows."""
  try:
    config = json.loads((folder / 'config.json').read_text())
    for key in ('model', 'dataset'):
      if not isinstance(config[key], str):
        raise TypeError(f'{key} is no text')
    rows = json.loads((folder / 'shares.json').read_text())['rows']
    for row in rows:
      float(row['max'] - row['min']), str(row['instance'])
    if not all('share_of_range' in found for row in rows for found in row['presets'].values()):
      raise KeyError('share_of_range')
    int(config['shard']['id']), int(config['shard']['count'])
  except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
    raise WorkdirError(
      f'--heatmaps: {folder} is no finished work folder of experiments.heatmap: '
      f'{type(error).__name__}: {error}'
    ) from error
  # Their names begin with the instance's position, and rows are in that order.
  files = sorted((folder / 'maps').glob('*.png'))
  if len(files) != len(rows):
    raise WorkdirError(f'--heatmaps: {folder} has {len(files)} maps for {len(rows)} rows')
  return config, list(zip(files, rows, strict=True))


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
          'dataset': one.dataset,
          'preset': preset,
          'share': dict(zip(('value', 'low', 'high', 'n'), estimate, strict=True)),
          'lowest': float(found.min()) if len(found) else None,
        }
      )
  return out
