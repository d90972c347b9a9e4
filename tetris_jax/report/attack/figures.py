"""Figures over all instances: IoU against clicks for MIN, BASE and MAX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tetris_jax.report import style
from tetris_jax.scores import table

__all__ = ['draw_curves']


def _draw_mode(panel: Any, mode: str, curve: Sequence[Mapping[str, Any]]) -> float:
  """A curve with its band, of estimates; returns where it is lowest, x100."""
  clicks = range(1, len(curve) + 1)
  low, high = (
    [100 * (point['value'] if point[end] is None else point[end]) for point in curve]
    for end in ('low', 'high')
  )
  panel.plot(
    clicks,
    [100 * point['value'] for point in curve],
    color=style.MODE_COLOURS[mode],
    marker=style.MARKERS[mode],
    markersize=5,
    linewidth=2,
    label=mode.upper(),
  )
  panel.fill_between(
    clicks, low, high, color=style.MODE_COLOURS[mode], alpha=0.15, linewidth=0
  )
  return min(low)


def _title(summary: Mapping[str, Any]) -> str:
  n = summary['n_ok']
  names = [style.label(summary[key]) for key in ('model', 'preset')]
  title = f'{", ".join(names)}, {n} instance{"" if n == 1 else "s"}'
  return title + ('; bands: 95 % bootstrap intervals' if n > 1 else '')


def draw_curves(summary: Mapping[str, Any]) -> bytes:
  """Draws every x100 metric of each click, with bands of its 95 % bootstrap intervals.

  Args:
    summary: as `tetris_jax.report.attack.summary.summarise` makes it.

  Returns:
    A PNG file.
  """
  import matplotlib.ticker

  shown = [metric for metric in table.of_kind('click') if metric.format == 'x100']
  figure, axes = style.figure(len(shown), 5 * len(shown), 4.4, sharex=True, sharey=True)
  lowest = 100.0
  for panel, metric in zip(axes, shown, strict=True):
    for mode in reversed(table.ORDER):
      curve = summary['estimates'][metric.name][mode]
      if curve is not None:
        lowest = min(lowest, _draw_mode(panel, mode, curve))
    panel.set_xlabel('Clicks', fontsize=12)
    panel.set_ylabel(f'Mean {metric.label or metric.title} x100', fontsize=12)
    panel.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    panel.tick_params(labelsize=11)
    panel.yaxis.set_tick_params(labelleft=True)
  axes[0].set_ylim(max(0.0, lowest - 5), 101)
  handles, labels = axes[0].get_legend_handles_labels()
  if handles:
    figure.legend(handles, labels, loc='outside lower center', ncols=3, frameon=False, fontsize=12)
  figure.suptitle(_title(summary), fontsize=12)
  return style.png(figure)
