"""Heat maps of IoU over the first click, as `experiments.heatmap` leaves them: sums, and the page.

Rows are those of `tetris_jax.runs.schema.MapRow`.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tetris_jax.report import markdown, style
from tetris_jax.report.summaries import counts, measured
from tetris_jax.runs import merge
from tetris_jax.scores import priors, statistics
from tetris_jax.scores.coverage import LEAST_RANGE

__all__ = ['HeatMaps', 'of_rows', 'of_run', 'read_heatmaps', 'share_table', 'shares', 'summarise']


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
  """Markdown: cost and mean share of the true range per preset, shares above 1 counted as 1.

  Where rows have warnings, these follow.
  """
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
    lines.append(f'| {markdown.cell(name)} | {cost} | {len(known)} | {" | ".join(found)} |')
  if any(row.get('warnings') for row in rows):
    lines += ['', markdown.warnings(rows)]
  return '\n'.join(lines) + '\n'


def read_heatmaps(folder: pathlib.Path, argument: str = 'heatmaps') -> HeatMaps:
  """Reads a work folder of `experiments.heatmap`, or one that holds all its shards.

  Args:
    folder: its path.
    argument: in which it was given; for errors.

  Raises:
    WorkdirError: it is none, has not finished or is damaged, or its shards do not merge.
  """
  return of_run(merge.read_run(str(folder), 'heatmap', argument))


def of_run(run: merge.Run) -> HeatMaps:
  """The maps of a run of `experiments.heatmap`."""
  return of_rows(run.model, run.dataset, run.rows, run.pictures)


def of_rows(
  model: str,
  dataset: str,
  rows: Sequence[Mapping[str, Any]],
  pictures: Mapping[str, pathlib.Path],
) -> HeatMaps:
  """The maps of these rows.

  Args:
    model: its name.
    dataset: its name.
    rows: of maps, with numbers or without.
    pictures: path of an instance's map, by name, where it was drawn.
  """
  made = measured(rows)
  widest = sorted(made, key=lambda row: row['min'] - row['max'])
  drawn = {row['instance']: pictures[row['instance']] for row in widest if row['picture']}
  return HeatMaps(model, dataset, made, drawn)


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
