"""Heat maps of IoU over the first click, as `experiments.heatmap` leaves them: sums, and the page.

Rows are those of `tetris_jax.runs.schema.MapRow`.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tetris_jax import truth as grid
from tetris_jax.runs import merge
from tetris_jax.scores import metrics, priors

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


def _ok(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
  return [row for row in rows if row['status'] == 'ok']


def _in_means(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
  return [row for row in _ok(rows) if row['left_out'] is None]


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
  counts = {
    f'n_{status}': sum(row['status'] == status for row in rows)
    for status in ('ok', 'failed', 'skipped')
  }
  named = ('instance', 'status', 'reason')
  kept = _in_means(rows)
  return {
    **counts,
    'n': len(kept),
    'rejected': [{key: row[key] for key in named} for row in rows if row['status'] != 'ok'],
    'left_out': [
      {'instance': row['instance'], 'reason': row['left_out']}
      for row in _ok(rows)
      if row['left_out'] is not None
    ],
    **priors.mean_of_rows(kept),
  }


def share_table(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
  """Markdown: cost and mean share of the true range per preset, shares above 1 counted as 1."""
  least = grid.LEAST_RANGE
  lines = [
    f'Instances with a true range above {least}; a forward pass costs 1, a gradient 2 more.',
    '',
    '| preset | cost | instances | mean share | lowest share |',
    '|---|---|---|---|---|',
  ]
  for name in names:
    found = [row['presets'][name] for row in _ok(rows)]
    cost = max((f['forward'] + 2 * f['backward'] for f in found), default=0)
    known = _known_shares(rows, name)
    mean = f'{known.mean():.3f} | {known.min():.3f}' if len(known) else '- | -'
    lines.append(f'| {name} | {cost} | {len(known)} | {mean} |')
  return '\n'.join(lines) + '\n'


def read_heatmaps(folder: pathlib.Path, argument: str = 'heatmaps') -> HeatMaps:
  """Reads a work folder of `experiments.heatmap`, or one that holds all its shards.

  Args:
    folder: its path.
    argument: in which it was given; for errors.

  Raises:
    WorkdirError: it is none, has not finished or is damaged, or its shards do not merge.
  """
  run = merge.read_run(str(folder), 'heatmap', argument)
  made = _ok(run.rows)
  widest = sorted(made, key=lambda row: row['min'] - row['max'])
  drawn = {row['instance']: run.pictures[row['instance']] for row in widest if row['picture']}
  return HeatMaps(run.model, run.dataset, made, drawn)


def shares(maps: Sequence[HeatMaps]) -> list[dict[str, Any]]:
  """Mean share of the true range that each preset found, with its interval, and the lowest one.

  A share above 1, which a search between the grid's positions may reach, counts as 1; instances
  with hardly a range do not count, and neither do those that enter no mean.
  """
  out = []
  for one in maps:
    for preset in dict.fromkeys(name for row in one.rows for name in row['presets']):
      found = _known_shares(one.rows, preset)
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
