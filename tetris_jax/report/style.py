"""How reports look: colours, markers, figures, and numbers as the field prints them."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from typing import Any

__all__ = [
  'BLACK',
  'BLUE',
  'CYCLE',
  'GREEN',
  'INTERVAL',
  'MARKERS',
  'MODE_COLOURS',
  'NOTHING',
  'VERMILLION',
  'YELLOW',
  'figure',
  'interval',
  'label',
  'number',
  'one_line',
  'p_value',
  'plain',
  'png',
  'rgb',
  'short',
  'two_decimals',
  'whole',
  'x100',
]

# Told apart with any colour vision (Okabe and Ito, 2008).
BLACK, BLUE, VERMILLION, GREEN, YELLOW = '#000000', '#0072B2', '#D55E00', '#009E73', '#F0E442'
CYCLE = (BLUE, VERMILLION, GREEN, '#CC79A7', '#E69F00', '#56B4E9')
"""Colours of things that are many, in the order in which they are taken."""

MODE_COLOURS = {'min': VERMILLION, 'base': BLACK, 'max': BLUE}
MARKERS = {'min': 'v', 'base': 'o', 'max': '^'}
"""Of the modes, as matplotlib names them."""

NOTHING = '-'
"""What a table shows where there is no number."""

_LONGEST_NAME = 120
# Control characters, and those that turn the order in which a line is shown.
_UNSEEN = re.compile('[\\x00-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069]')

INTERVAL = '95 % interval'
"""The head of a column of `interval`."""


def rgb(colour: str) -> tuple[int, int, int]:
  """The red, green and blue of "#RRGGBB", each in 0 to 255."""
  red, green, blue = bytes.fromhex(colour.removeprefix('#'))
  return red, green, blue


def x100(value: float | None) -> str:
  """A number in [0, 1] as the field prints it."""
  if value is None:
    return NOTHING
  return f'{round(100 * value, 1) + 0.0:.1f}'  # + 0.0 turns -0.0 into 0.0.


def two_decimals(value: float | None) -> str:
  """Mean clicks, a share, a correlation."""
  return NOTHING if value is None else f'{value:.2f}'


def whole(value: int | None) -> str:
  """A count or a rank."""
  return NOTHING if value is None else str(value)


_FORMATS: Mapping[str, Callable[[Any], str]] = {
  'x100': x100, 'clicks': two_decimals, 'count': whole,
}  # fmt: skip


def number(format: str, value: float | None) -> str:
  """A metric's value.

  Args:
    format: of the metric, see `tetris_jax.scores.table.Metric`.
    value: None where there is none.
  """
  return _FORMATS[format](value)


def interval(estimate: Mapping[str, Any] | None, format: str = 'x100') -> str:
  """Both ends of an estimate's interval, or `NOTHING` where it has none."""
  if not estimate or estimate['low'] is None:
    return NOTHING
  return f'{number(format, estimate["low"])} to {number(format, estimate["high"])}'


def p_value(value: float | None) -> str:
  """Of a test."""
  if value is None:
    return NOTHING
  return '< 0.001' if value < 0.001 else f'{value:.3f}'


def plain(text: Any) -> str:
  """Text that UTF-8 can hold; file names need not be."""
  return str(text).encode(errors='replace').decode()


def one_line(text: Any) -> str:
  """`plain` text in one line, without what is no character to be seen or turns the others."""
  return _UNSEEN.sub('?', ' '.join(plain(text).split()))


def short(text: Any, most: int = _LONGEST_NAME) -> str:
  """A name in one line, cut in the middle where it has more than `most` characters."""
  shown, half = one_line(text), most // 2
  return shown if len(shown) <= most else f'{shown[:half]}…{shown[-half:]}'


def label(text: Any, most: int = _LONGEST_NAME) -> str:
  """`short` text in a figure, where a dollar sign begins a formula."""
  return short(text, most).replace('$', r'\$')


def figure(columns: int, width: float, height: float, **shared: Any) -> tuple[Any, Any]:
  """A matplotlib figure with a row of panels, each with a grid behind what is drawn.

  Args:
    columns: how many panels.
    width: in inches.
    height: in inches.
    **shared: of `sharex` and `sharey`.

  Returns:
    The figure, and an array of its axes.
  """
  import matplotlib.figure

  # A Figure of its own, not pyplot's: no global state, no display.
  made = matplotlib.figure.Figure(figsize=(width, height), dpi=150, layout='constrained')
  axes = made.subplots(1, columns, squeeze=False, **shared)[0]
  for axis in axes:
    axis.grid(color='0.88')
    axis.set_axisbelow(True)
    axis.spines[['top', 'right']].set_visible(False)
  return made, axes


def png(made: Any) -> bytes:
  """A matplotlib figure as a PNG file."""
  file = io.BytesIO()
  made.savefig(file, format='png')
  return file.getvalue()
