"""Figures over all instances: IoU against clicks for MIN, BASE and MAX."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from tetris_jax.report.attack.summary import ORDER

__all__ = ['COLOURS', 'draw_curves']

COLOURS = {'min': '#D55E00', 'base': '#000000', 'max': '#0072B2'}
"""Of the modes; told apart with any colour vision (Okabe and Ito, 2008)."""

_MARKERS = {'min': 'v', 'base': 'o', 'max': '^'}


def draw_curves(summary: Mapping[str, Any]) -> bytes:
  """Draws mean IoU and boundary IoU over clicks, with bands of their 95 % bootstrap intervals.

  Args:
    summary: as `tetris_jax.report.attack.summary.summarise` makes it.

  Returns:
    A PNG file.
  """
  import matplotlib.figure
  import matplotlib.ticker

  # A Figure of its own, not pyplot's: no global state, no display.
  figure = matplotlib.figure.Figure(figsize=(10, 4.4), dpi=150, layout='constrained')
  axes = figure.subplots(1, 2, sharex=True, sharey=True)
  estimates = summary['estimates']
  lowest = 100.0
  for panel, key, name in zip(
    axes, ('per_click', 'per_click_biou'), ('IoU', 'boundary IoU'), strict=True
  ):
    for mode in reversed(ORDER):
      curve = estimates[key][mode]
      if curve is None:
        continue
      clicks = range(1, len(curve) + 1)
      means = [100 * point['value'] for point in curve]
      panel.plot(
        clicks,
        means,
        color=COLOURS[mode],
        marker=_MARKERS[mode],
        markersize=5,
        linewidth=2,
        label=mode.upper(),
      )
      low = [100 * (point['value'] if point['low'] is None else point['low']) for point in curve]
      high = [100 * (point['value'] if point['high'] is None else point['high']) for point in curve]
      panel.fill_between(clicks, low, high, color=COLOURS[mode], alpha=0.15, linewidth=0)
      lowest = min(lowest, *low)
    panel.set_xlabel('Clicks', fontsize=12)
    panel.set_ylabel(f'Mean {name} x100', fontsize=12)
    panel.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    panel.tick_params(labelsize=11)
    panel.grid(color='0.88')
    panel.set_axisbelow(True)
    panel.spines[['top', 'right']].set_visible(False)
    panel.yaxis.set_tick_params(labelleft=True)
  axes[0].set_ylim(max(0.0, lowest - 5), 101)
  handles, labels = axes[0].get_legend_handles_labels()
  if handles:
    figure.legend(
      handles, labels, loc='outside lower center', ncols=3, frameon=False, fontsize=12
    )
  n = summary['n_ok']
  title = f'{summary["model"]}, {summary["preset"]}, {n} instance{"" if n == 1 else "s"}'
  if n > 1:
    title += '; bands: 95 % bootstrap intervals'
  figure.suptitle(title, fontsize=12)
  file = io.BytesIO()
  figure.savefig(file, format='png')
  return file.getvalue()
