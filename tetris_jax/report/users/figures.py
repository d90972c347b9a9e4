"""Figures of users' clicks: spread per instance, distance to the robot user, rounds, models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tetris_jax.report import style
from tetris_jax.scores.table import NOC

__all__ = ['draw_distance', 'draw_models', 'draw_rounds', 'draw_spread']

# Of a name beside an axis or in a legend, which else would leave the axes no room.
_LONGEST = 40


def draw_spread(rows: Sequence[Mapping[str, Any]], source: str, model: str) -> bytes:
  """IoU of users' first clicks, instance by instance, the widest spread to the right.

  Args:
    rows: that are ok.
    source: of the clicks.
    model: its name, for the title.

  Returns:
    A PNG file.
  """
  import matplotlib.ticker

  found = [row for row in rows if source in row['users']]
  iou = [100 * np.array(row['users'][source]['iou']) for row in found]
  order = np.argsort([some.max() - some.min() for some in iou], kind='stable')
  quantiles = np.array([np.quantile(iou[k], (0, 0.25, 0.5, 0.75, 1)) for k in order]).T
  robot = [100 * found[k]['robot']['iou'] for k in order]
  place = np.arange(1, len(order) + 1)
  width = float(np.clip(240 / len(order), 1.5, 8))
  figure, (axis,) = style.figure(1, 8, 4.2)
  axis.vlines(place, quantiles[0], quantiles[4], color=style.CYCLE[0], alpha=0.3, lw=width,
              label='all users')
  axis.vlines(place, quantiles[1], quantiles[3], color=style.CYCLE[0], alpha=0.55, lw=width,
              label='middle half')
  axis.plot(place, quantiles[2], '_', color=style.CYCLE[1], ms=width + 3, mew=2, label='median')
  axis.plot(place, robot, 'o', color=style.BLACK, ms=max(2.0, width / 1.6), label='robot user')
  axis.set_xlim(0.4, len(order) + 0.6)
  axis.set_ylim(-2, 102)
  axis.set_ylabel('IoU x100 after one click', fontsize=12)
  axis.set_xlabel('Instances by spread', fontsize=12)
  axis.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
  clicks = sum(map(len, iou))
  whose = f'{style.label(model)}, {style.label(source)}'
  axis.set_title(f'{whose}: {clicks} clicks on {len(iou)} instances', fontsize=12)
  figure.legend(loc='outside lower center', ncols=4, frameon=False, fontsize=11)
  return style.png(figure)


def draw_distance(rows: Sequence[Mapping[str, Any]]) -> bytes:
  """Share of clicks within a distance to the robot user's, in pixels and parts of the diagonal.

  Args:
    rows: that are ok.

  Returns:
    A PNG file.
  """
  sources = dict.fromkeys(name for row in rows for name in row['users'])
  figure, axes = style.figure(2, 10, 4.2)
  for colour, source in zip(style.CYCLE * len(sources), sources, strict=False):
    pixels, parts = [], []
    for row in rows:
      if source in row['users']:
        offset = np.array(row['users'][source]['yx']) - np.array(row['robot']['yx'])
        pixels.append(np.hypot(offset[:, 0], offset[:, 1]))
        parts.append(100 * pixels[-1] / np.hypot(*row['size']))
    for axis, values in zip(axes, (pixels, parts), strict=True):
      ordered = np.sort(np.concatenate(values))
      share = 100 * np.arange(len(ordered) + 1) / len(ordered)
      name = f'{style.label(source, _LONGEST)} ({len(ordered)})'
      axis.step(np.append(0, ordered), share, where='post', color=colour, lw=2,
                label=name if axis is axes[0] else None)
  for axis, name in zip(axes, ('pixels', '% of diagonal'), strict=True):
    axis.set_xlabel(f"Distance to the robot user's click, {name}", fontsize=12)
    axis.set_ylabel('Clicks within, %', fontsize=12)
    axis.set_xlim(left=0)
    axis.set_ylim(0, 101)
  figure.legend(loc='outside lower center', ncols=4, frameon=False, fontsize=11)
  return style.png(figure)


def _bars(axis: Any, walks: Mapping[str, Any], num_clicks: int) -> None:
  """NoC@90 of each walk."""
  names = list(walks)
  noc = [walks[name]['noc90'] for name in names]
  height = [one['value'] for one in noc]
  low = [one['value'] - (one['value'] if one['low'] is None else one['low']) for one in noc]
  high = [(one['value'] if one['high'] is None else one['high']) - one['value'] for one in noc]
  colours = [style.BLACK if name == 'base' else style.BLUE for name in names]
  axis.bar(range(len(names)), height, color=colours, yerr=[low, high], ecolor='0.45', capsize=3)
  labels = [style.label(name, _LONGEST) for name in names]
  axis.set_xticks(range(len(names)), labels, rotation=45, ha='right', rotation_mode='anchor')
  axis.set_ylabel(f'{NOC.titled()}, with 95 % intervals', fontsize=12)
  axis.set_ylim(0, num_clicks * 1.05)


def _walk(axis: Any, walks: Mapping[str, Any], name: str, colour: str) -> None:
  """Mean IoU after each click of one walk."""
  curve = [100 * point['value'] for point in walks[name]['per_click']]
  label = style.label(name, _LONGEST)
  axis.plot(range(1, len(curve) + 1), curve, 'o-', color=colour, ms=4, lw=2, label=label)


def draw_rounds(summary: Mapping[str, Any]) -> bytes:
  """NoC@90 of every user who walked through the rounds, and mean IoU after each click.

  Args:
    summary: as `tetris_jax.report.users.summary.summarise` makes it.

  Returns:
    A PNG file.
  """
  import matplotlib.ticker

  walks = summary['trajectories']
  figure, (bars, curves) = style.figure(2, 11, 4.4)
  _bars(bars, walks, summary['num_clicks'])
  shown = [
    name
    for name in walks
    if name != 'base' and (not name.startswith('G') or name in ('G1', 'G10'))
  ]
  for colour, name in zip(style.CYCLE * len(shown), shown, strict=False):
    _walk(curves, walks, name, colour)
  _walk(curves, walks, 'base', style.BLACK)
  curves.set_xlabel('Clicks', fontsize=12)
  curves.set_ylabel('Mean IoU x100', fontsize=12)
  curves.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
  curves.legend(frameon=False, fontsize=11)
  figure.suptitle(f'{style.label(summary["model"])}, {summary["n_ok"]} instances', fontsize=12)
  return style.png(figure)


def draw_models(lines: Sequence[Mapping[str, Any]], title: str) -> bytes:
  """D of models under users beside that under attack.

  Args:
    lines: "model", "attack_d1" and "user_d" of each, in [0, 1].
    title: above the figure.

  Returns:
    A PNG file.
  """
  figure, (axis,) = style.figure(1, 5.6, 4.8)
  for line in lines:
    at = 100 * line['attack_d1'], 100 * line['user_d']
    axis.plot(*at, 'o', color=style.CYCLE[0], ms=8)
    name = style.label(line['model'], _LONGEST)
    axis.annotate(name, at, xytext=(6, 5), textcoords='offset points', fontsize=10)
  axis.set_xlabel('MAX@1 - MIN@1 of the attack, x100', fontsize=12)
  axis.set_ylabel('Highest - lowest IoU of users, x100', fontsize=12)
  axis.margins(0.2)
  axis.set_title(style.label(title), fontsize=11)
  return style.png(figure)
