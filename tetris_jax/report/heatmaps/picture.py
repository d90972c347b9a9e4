"""A heat map to look at: IoU of a click over where it is made, and the clicks that were found."""

from __future__ import annotations

import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tetris_jax import types
from tetris_jax.report import style

__all__ = ['LEAST_SPAN', 'colour_limits', 'draw', 'field', 'photograph_of', 'reduced']

LEAST_SPAN = 0.02
"""Of the colour scale, so that differences that mean nothing look like nothing."""

# Of different sizes and mostly hollow, so that all three are seen where they coincide.
_MARKERS = {
  'min': {'markersize': 19, 'markerfacecolor': 'none', 'markeredgewidth': 2.2},
  'max': {'markersize': 12, 'markerfacecolor': 'none', 'markeredgewidth': 2.2},
  'base': {'markersize': 5, 'markerfacecolor': 'black', 'markeredgewidth': 0.5},
}
_HALO = 2.4
_TITLES = {
  'min': 'MIN, lowest IoU that the preset found',
  'max': 'MAX, highest IoU',
  'base': "robot user's click",
}


def photograph_of(picture: pathlib.Path) -> pathlib.Path:
  """Where the photograph lies that belongs to a map's picture."""
  return picture.with_suffix('.photo.png')


def reduced(image: np.ndarray, *, side: int) -> bytes:
  """A photograph (height, width, 3) uint8 as a PNG file of at most `side` pixels a side."""
  from PIL import Image

  photograph = Image.fromarray(image)
  photograph.thumbnail((side, side), Image.Resampling.LANCZOS)
  file = io.BytesIO()
  photograph.save(file, 'PNG')
  return file.getvalue()


def field(made: Mapping[str, np.ndarray]) -> np.ndarray:
  """IoU painted over the legal pixels, each position as the square of its stride.

  Args:
    made: "yx" (n, 2), the robot user's click first; "iou" (n,); "stride" (); "legal" (height,
      width) bool.

  Returns:
    (height, width) float64; NaN outside of the legal region and where no square reaches.
  """
  stride, legal = int(made['stride']), made['legal']
  out = np.full(legal.shape, np.nan)
  yx = made['yx'].astype(int)
  # The robot user's click, the first, is painted only where it is on the lattice itself.
  for (y, x), value in zip(yx[1:], made['iou'][1:], strict=True):
    top, left = y - stride // 2, x - stride // 2
    out[max(top, 0) : top + stride, max(left, 0) : left + stride] = value
  return np.where(legal, out, np.nan)


def colour_limits(iou: np.ndarray) -> tuple[float, float]:
  """The ends of the colour scale: the extremes of `iou`, or `LEAST_SPAN` around them in [0, 1]."""
  low, high = float(np.min(iou)), float(np.max(iou))
  if high - low >= LEAST_SPAN:
    return low, high
  start = min(max((low + high - LEAST_SPAN) / 2, 0.0), 1.0 - LEAST_SPAN)
  return start, start + LEAST_SPAN


def _mark(mode: str, halo: bool = False) -> dict[str, Any]:
  """How the click of a mode is plotted, or the white rim below it."""
  look: dict[str, Any] = {'marker': style.MARKERS[mode], **_MARKERS[mode]}
  look |= {'linestyle': 'none', 'clip_on': False, 'markeredgecolor': style.MODE_COLOURS[mode]}
  if halo:
    look['markeredgecolor'] = 'white'
    look['markeredgewidth'] = look['markeredgewidth'] + _HALO
  return look


def _plot(axis: Any, clicks: Mapping[str, np.ndarray]) -> None:
  """Plots clicks (2,) by mode; every rim below every marker, so that none is cut by another's."""
  for halo in (True, False):
    for mode in _MARKERS:
      if mode in clicks:
        y, x = clicks[mode]
        axis.plot(x, y, **_mark(mode, halo))


def _limits(legal: np.ndarray) -> tuple[tuple[float, float], tuple[float, float]]:
  """The ends of both axes, x and then y from the bottom up, around the legal region."""
  rows, columns = np.nonzero(legal)
  margin = 0.06 * max(np.ptp(rows), np.ptp(columns)) + 4
  return (
    (max(columns.min() - margin, -0.5), min(columns.max() + margin, legal.shape[1] - 0.5)),
    (min(rows.max() + margin, legal.shape[0] - 0.5), max(rows.min() - margin, -0.5)),
  )


def _figure(legal: np.ndarray, panels: int, outlined: bool) -> tuple[Any, Any]:
  """A figure and its axes, cut to the legal region, with its outline if so asked."""
  import matplotlib.figure

  across, down = _limits(legal)
  aspect = (down[0] - down[1]) / (across[1] - across[0])
  figure = matplotlib.figure.Figure(
    # No narrower than the legend.
    figsize=(max(4.2 * panels + 0.8, 8.5), float(np.clip(4.2 * aspect, 2, 8)) + 1.5),
    dpi=100,
    layout='constrained',
  )
  axes = figure.subplots(1, panels, squeeze=False)[0]
  for axis in axes:
    if outlined:
      axis.contour(legal, [0.5], colors=style.YELLOW, linewidths=1.2)
    axis.set_xlim(*across)
    axis.set_ylim(*down)
    axis.set_xticks([])
    axis.set_yticks([])
  return figure, axes


def _title(axis: Any, text: str) -> None:
  # A name is no formula.
  axis.set_title(text, fontsize=9, parse_math=False)


def _draw_map(axis: Any, grey: np.ndarray, made: Mapping[str, np.ndarray]) -> Any:
  """The map over a grey photograph; returns what a colour bar is made of."""
  low, high = colour_limits(made['iou'])
  axis.imshow(grey, cmap='gray', vmin=0, vmax=1)
  return axis.imshow(field(made), cmap='viridis', vmin=low, vmax=high)


def _draw_preset(
  axis: Any, name: str, share: float | None, made: Mapping[str, np.ndarray]
) -> None:
  """The clicks that a preset found and, as a title, what it found by them."""
  _plot(axis, dict(zip(types.MODES, made[f'{name}/yx'], strict=True)))
  iou = dict(zip(types.MODES, made[f'{name}/iou'], strict=True))
  ends = f'MIN {iou["min"]:.3f}  MAX {iou["max"]:.3f}'
  _title(axis, f'{style.short(name)}: {ends}\nshare of range {style.two_decimals(share)}')


def _draw_legend(figure: Any, modes: Sequence[str], outlined: bool) -> None:
  import matplotlib.lines

  handles = [
    matplotlib.lines.Line2D([], [], label=_TITLES[mode], **_mark(mode)) for mode in modes
  ]
  if outlined:
    handles.append(matplotlib.lines.Line2D([], [], label='object', color=style.YELLOW, linewidth=2))
  figure.legend(
    handles=handles, loc='outside lower center', ncols=4, frameon=False, fontsize=9
  )


def draw(
  instance: str,
  image: np.ndarray,
  made: Mapping[str, np.ndarray],
  shares: Mapping[str, float | None],
) -> bytes:
  """Photograph with outline and robot click, then the map once per preset with its clicks.

  Args:
    instance: its name.
    image: (height, width, 3) uint8.
    made: as for `field`, and for each preset "<preset>/yx" (3, 2) and "<preset>/iou" (3,) in the
      order of `tetris_jax.types.MODES`. All IoUs are finite and a pixel is legal.
    shares: of the true range that each preset found, by its name; None where there is hardly one.

  Returns:
    A PNG file.
  """
  import matplotlib.ticker

  legal = made['legal']
  # A contour needs two rows and two columns, and has no line where all pixels are legal.
  outlined = min(legal.shape) > 1 and not legal.all()
  figure, axes = _figure(legal, 1 + len(shares), outlined)
  axes[0].imshow(image)
  _plot(axes[0], {'base': made['yx'][0]})
  _title(axes[0], f'{style.short(instance)}\nrobot click {made["iou"][0]:.3f}')
  grey = image.mean(-1) / 255 * 0.5 + 0.5
  shown = None
  for axis, (name, share) in zip(axes[1:], shares.items(), strict=True):
    shown = _draw_map(axis, grey, made)
    _draw_preset(axis, name, share, made)
  if shown is not None:
    plain = matplotlib.ticker.ScalarFormatter(useOffset=False)
    figure.colorbar(shown, ax=axes, label='IoU of a click there', shrink=0.85, format=plain)
  _draw_legend(figure, list(_MARKERS) if shares else ['base'], outlined)
  return style.png(figure)
