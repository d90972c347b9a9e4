"""Heat maps of IoU over the first click, as `experiments.heatmap` leaves them: sums, and the page.

Functions that read rows take those of `shares.json`: of every instance "instance", "status" ("ok",
"failed" or "skipped") and "reason"; of those that are ok true "min" and "max" IoU of any first
click, "left_out", the reason why the map enters no mean or None, "map" and "picture", file names in
maps/, the latter None where it was not drawn; and for each of "presets" the "share_of_range" that
it found, None where there is hardly a range.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tetris_jax.report import style
from tetris_jax.report.summaries import counts, measured
from tetris_jax.runs import merge, workdirs
from tetris_jax.runs.workdirs import WorkdirError
from tetris_jax.scores import priors, statistics
from tetris_jax.scores.coverage import LEAST_RANGE

__all__ = ['HeatMaps', 'read_heatmaps', 'share_table', 'shares', 'summarise']


@dataclasses.dataclass(frozen=True)
class HeatMaps:
  """The maps of one model on one data set.

  Attributes:
    model: its name.
    dataset: its name.
    rows: of its `shares.json`, those that are ok.
    pictures: path of an instance's map, by name, the widest true range first.
  """

  model: str
  dataset: str
  rows: Sequence[Mapping[str, Any]]
  pictures: Mapping[str, pathlib.Path]


def _in_means(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
  return [row for row in measured(rows) if row['left_out'] is None]


def _known_shares(rows: Sequence[Mapping[str, Any]], preset: str) -> np.ndarray:
  """The shares of a preset that enter means, cut at 1.

  A search between the grid's positions may reach more than 1; instances with hardly a range do not
  count.
  """
  held = [row['presets'][preset] for row in _in_means(rows) if preset in row['presets']]
  known = [found['share_of_range'] for found in held if found['share_of_range'] is not None]
  return np.minimum(np.array(known, np.float64), 1.0)


def summarise(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
  """What `summary.json` holds.

  Returns:
    "n_ok", "n_failed" and "n_skipped" instances; "n" in the means; "rejected" with "instance",
    "status" and "reason" of those that are not ok; "left_out" with "instance" and "reason" of those
    that are but enter no mean; and the means, "levels" and "quantiles", of
    `tetris_jax.scores.priors.mean_of_rows`.
  """
  named = ('instance', 'status', 'reason')
  kept = _in_means(rows)
  return {
    **counts(rows),
    'n': len(kept),
    'rejected': [{key: row[key] for key in named} for row in rows if row['status'] != 'ok'],
    'left_out': [
      {'instance': row['instance'], 'reason': row['left_out']}
      for row in measured(rows)
      if row['left_out'] is not None
    ],
    **priors.mean_of_rows(kept),
  }


def share_table(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
  """Markdown: cost and mean share of the true range per preset, shares above 1 counted as 1."""
  lines = [
    f'Instances with a true range above {LEAST_RANGE}; a forward pass costs 1, a gradient 2 more.',
    '',
    '| preset | cost | instances | mean share | lowest share |',
    '|---|---|---|---|---|',
  ]
  for name in names:
    spent = [row['presets'][name] for row in measured(rows)]
    cost = max((one['forward'] + 2 * one['backward'] for one in spent), default=0)
    known = _known_shares(rows, name)
    found = [f'{known.mean():.3f}', f'{known.min():.3f}'] if len(known) else [style.NOTHING] * 2
    lines.append(f'| {name} | {cost} | {len(known)} | {" | ".join(found)} |')
  return '\n'.join(lines) + '\n'


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
    lines = workdirs.difference(first, config, merge.MAY_DIFFER)
    if lines:
      listed = '; '.join(lines)
      raise WorkdirError(f'heatmaps: {folders[0]} and {one} do not merge: {listed}')
  count = first['shard']['count']
  numbers = sorted(config['shard']['id'] for config, _ in pieces)
  if numbers != list(range(count)):
    raise WorkdirError(f'heatmaps: {folder}: expected each of {count} shards, found {numbers}')
  rows = [row for _, rows in pieces for row in rows]
  if len(rows) != first['instances']['count']:
    raise WorkdirError(
      f'heatmaps: {folder} has {len(rows)} rows for {first["instances"]["count"]} instances'
    )
  flags = first['flags']
  name = merge.dataset_name(flags['dataset'], flags['data_dir'])
  # File names begin with the instance's position.
  made = sorted(measured(rows), key=lambda row: row['map'])
  widest = sorted(made, key=lambda row: row['min'] - row['max'])
  pictures = {row['instance']: row['picture'] for row in widest if row['picture']}
  return HeatMaps(first['model']['name'], name, made, pictures)


def _read_piece(
  folder: pathlib.Path,
) -> tuple[Mapping[str, Any], list[dict[str, Any]]]:
  """Configuration of one shard, and its rows with whole paths of pictures."""
  try:
    config = json.loads((folder / 'config.json').read_text())
    if config['program'] != 'heatmap':
      raise ValueError(f'it is of experiments.{config["program"]}')
    str(config['model']['name']), str(config['flags']['dataset']), config['flags']['data_dir']
    int(config['shard']['id']), int(config['shard']['count']), int(config['instances']['count'])
    rows = json.loads((folder / 'shares.json').read_text())['rows']
    for row in rows:
      str(row['instance']), str(row['reason'])
      if row['status'] != 'ok':
        continue
      float(row['max'] - row['min']), str(row['map']), row['left_out']
      for found in row['presets'].values():
        found['share_of_range']
      row['picture'] = row['picture'] and folder / 'maps' / row['picture']
  except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
    raise WorkdirError(
      f'heatmaps: {folder} is no finished work folder of experiments.heatmap: '
      f'{type(error).__name__}: {error}'
    ) from error
  for row in rows:
    if row['status'] == 'ok' and row['picture'] and not row['picture'].is_file():
      raise WorkdirError(f'heatmaps: {row["picture"]} is missing; give the run\'s command again')
  return config, rows


def shares(maps: Sequence[HeatMaps]) -> list[dict[str, Any]]:
  """Mean share of the true range that each preset found, with its interval, and the lowest one.

  A share above 1, which a search between the grid's positions may reach, counts as 1; instances
  with hardly a range do not count, and neither do those that enter no mean.
  """
  out = []
  for one in maps:
    for preset in dict.fromkeys(name for row in one.rows for name in row['presets']):
      found = _known_shares(one.rows, preset)
      estimate = statistics.mean(found)
      out.append(
        {
          'model': one.model,
          'dataset': one.dataset,
          'preset': preset,
          'share': estimate._asdict(),
          'lowest': float(found.min()) if len(found) else None,
        }
      )
  return out
