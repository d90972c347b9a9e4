"""One instance as a picture: where MIN, BASE and MAX clicked, and what the model made of it."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tetris_jax import types
from tetris_jax.report import style
from tetris_jax.scores.table import ORDER

__all__ = ['draw', 'rounds']

_PREDICTION = style.rgb(style.BLUE)
_TRUTH = style.rgb(style.YELLOW)
# A click's sign is told by its shape as well.
_POSITIVE = style.rgb(style.GREEN)
_NEGATIVE = style.rgb(style.VERMILLION)
_INK = (20, 20, 20)
_PAPER = (255, 255, 255)

_PANEL = 420  # Longer side of a panel in pixels of the finished picture.
_FINER = 2  # Everything is drawn this much larger and then reduced, for smooth edges.
_BADGE = 9
_TINT = 0.45


def rounds(num_clicks: int) -> tuple[int, ...]:
  """The rounds that are drawn, counted from 0: the first, where the range hides, and the last."""
  return (0,) if num_clicks == 1 else (0, num_clicks - 1)


def _grown(mask: np.ndarray, pixels: int) -> np.ndarray:
  """A mask (height, width) with all within `pixels` pixels of it, along rows and columns."""
  for _ in range(pixels):
    padded = np.pad(mask, 1)
    mask = mask | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
  return mask


def _edge(mask: np.ndarray, pixels: int) -> np.ndarray:
  """Pixels of a mask (height, width) within `pixels` pixels of its outside or of the border."""
  outside = np.pad(~mask, 1, constant_values=True)
  return mask & _grown(outside, pixels)[1:-1, 1:-1]


def _resized(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """A mask (height, width) at another size, smooth where enlarged."""
  from PIL import Image

  grey = Image.fromarray(mask.astype(np.uint8) * 255)
  return np.asarray(grey.resize((size[1], size[0]), Image.Resampling.BILINEAR)) > 127


def _free_place(
  wanted: np.ndarray, taken: Sequence[np.ndarray], distance: float, size: np.ndarray
) -> np.ndarray:
  """The place nearest to `wanted` (y, x) that is `distance` pixels from all taken ones."""
  margin = distance / 2
  for ring in range(40):
    for step in range(max(1, 6 * ring)):
      angle = 2 * np.pi * step / max(1, 6 * ring)
      place = wanted + 0.5 * distance * ring * np.array([np.sin(angle), np.cos(angle)])
      place = np.clip(place, margin, np.maximum(size - 1 - margin, margin))
      if all(np.hypot(*(place - other)) >= distance for other in taken):
        return place
  return wanted


def _badge(canvas: Any, centre: np.ndarray, positive: bool, text: str) -> None:
  """A click's number on a round (positive) or square (negative) ground, at 2x."""
  from PIL import ImageFont

  y, x = (float(value) for value in centre)
  radius = _BADGE * _FINER
  shape = canvas.ellipse if positive else canvas.rectangle
  reach = radius if positive else 0.88 * radius
  shape(
    (x - reach, y - reach, x + reach, y + reach),
    fill=_POSITIVE if positive else _NEGATIVE,
    outline=_PAPER,
    width=2 * _FINER,
  )
  canvas.text((x, y), text, fill=_PAPER, font=ImageFont.load_default(11 * _FINER), anchor='mm')


def _panel_size(size: tuple[int, int]) -> tuple[int, int]:
  """(height, width) at 2x of a panel of a photograph of that (height, width)."""
  scale = _FINER * _PANEL / max(size)
  return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _panel(
  photograph: np.ndarray,
  truth: np.ndarray,
  predicted: np.ndarray,
  yx: np.ndarray,
  label: np.ndarray,
) -> Any:
  """A picture of one mask with the clicks that led to it, at 2x; yx in pixels of the photograph."""
  from PIL import Image, ImageDraw

  size = _panel_size((truth.shape[0], truth.shape[1]))
  base = Image.fromarray(photograph).resize((size[1], size[0]), Image.Resampling.BICUBIC)
  pixels = np.asarray(base).astype(np.float32)
  mask, outline = _resized(predicted, size), _edge(_resized(truth, size), 2 * _FINER)
  pixels[mask] = (1 - _TINT) * pixels[mask] + _TINT * np.array(_PREDICTION, np.float32)
  pixels[_edge(mask, _FINER)] = _PREDICTION
  pixels[_grown(outline, _FINER // 2)] = _INK
  pixels[outline] = _TRUTH
  panel = Image.fromarray(pixels.astype(np.uint8))

  # Pixel centres are at integers in the photograph, and at half integers for the resize.
  exact = (yx + 0.5) * np.array(size) / np.array(truth.shape) - 0.5
  _draw_clicks(ImageDraw.Draw(panel), exact, label, size)
  return panel


def _draw_clicks(
  canvas: Any, exact: np.ndarray, label: np.ndarray, size: tuple[int, int]
) -> None:
  """Clicks as dots, each with a line to its number; `exact` and `size` at 2x."""
  places: list[np.ndarray] = []
  for position in exact:
    distance = 2.3 * _BADGE * _FINER
    places.append(_free_place(position, places, distance, np.array(size, np.float64)))
  for position, place, sign in zip(exact, places, label, strict=True):
    colour = _POSITIVE if sign == types.POSITIVE else _NEGATIVE
    line = (*(float(v) for v in place[::-1]), *(float(v) for v in position[::-1]))
    canvas.line(line, fill=_PAPER, width=3 * _FINER)
    canvas.line(line, fill=colour, width=_FINER)
    dot = [float(v) for v in position[::-1]]
    reach = 2.5 * _FINER
    box = (dot[0] - reach, dot[1] - reach, dot[0] + reach, dot[1] + reach)
    canvas.ellipse(box, fill=colour, outline=_PAPER, width=_FINER)
  for number, (place, sign) in enumerate(zip(places, label, strict=True), 1):
    _badge(canvas, place, sign == types.POSITIVE, str(number))


def _legend(canvas: Any, x: float, y: float) -> None:
  """What the colours and shapes mean, from (x, y) to the right, at 2x."""
  from PIL import ImageFont

  font = ImageFont.load_default(13 * _FINER)
  half = 7 * _FINER
  for kind in ('truth', 'prediction', 'positive click', 'negative click'):
    centre = np.array([y, x + half])
    box = (x, y - half, x + 2 * half, y + half)
    if kind == 'truth':
      canvas.rectangle(box, outline=_INK, width=4 * _FINER)
      inner = (box[0] + 1, box[1] + 1, box[2] - 1, box[3] - 1)
      canvas.rectangle(inner, outline=_TRUTH, width=3 * _FINER)
    elif kind == 'prediction':
      canvas.rectangle(box, fill=(140, 184, 214), outline=_PREDICTION, width=_FINER)
    else:
      _badge(canvas, centre, kind == 'positive click', '1')
    x += 2 * half + 6 * _FINER
    canvas.text((x, y), kind, fill=_INK, font=font, anchor='lm')
    x += canvas.textlength(kind, font=font) + 18 * _FINER


def _fitted(canvas: Any, text: str, font: Any, width: float) -> str:
  """`text`, shortened in the middle to at most `width` pixels."""
  kept = len(text)
  shown = text
  while canvas.textlength(shown, font=font) > width and kept > 4:
    kept -= 1
    shown = f'{text[: kept // 2]}…{text[-(kept // 2) :]}'
  return shown


class _Layout(NamedTuple):
  """Where things are, in pixels at 2x.

  Attributes:
    gap: between panels and around all.
    head: height of the line above all panels, and `foot` of the legend below them.
    foot: see `head`.
    title: height of the line above a panel.
    panel: height of a panel.
    cell: width of a column, at least that of a panel.
  """

  gap: int
  head: int
  foot: int
  title: int
  panel: int
  cell: int

  def size(self, rows: int, columns: int) -> tuple[int, int]:
    """(width, height) of the page."""
    height = self.head + rows * (self.title + self.panel + self.gap) + self.foot
    return columns * (self.cell + self.gap) + self.gap, height

  def corner(self, row: int, column: int) -> tuple[int, int]:
    """(x, y) of the upper left corner of a panel's title."""
    y = self.head + row * (self.title + self.panel + self.gap)
    return self.gap + column * (self.cell + self.gap), y


def _layout(size: tuple[int, int], columns: int) -> _Layout:
  """Of panels of a photograph of that (height, width)."""
  height, width = _panel_size(size)
  # The legend needs some 440 pixels, also under one narrow panel.
  cell = max(width, 450 * _FINER // columns)
  return _Layout(10 * _FINER, 30 * _FINER, 30 * _FINER, 24 * _FINER, height, cell)


def draw(
  instance: str, image: np.ndarray, mask: np.ndarray, trajectories: types.Trajectories
) -> bytes:
  """Draws photograph, truth, prediction and numbered clicks, a column a mode and a row a round.

  Args:
    instance: its name.
    image: (height, width, 3) uint8 RGB.
    mask: (height, width) bool, the object.
    trajectories: its own, without the batch axis: clicks.yx (modes, num_clicks, 2), iou
      (modes, num_clicks), and mask (modes, len(rounds(num_clicks)), height, width), padded or not.

  Returns:
    A PNG file.
  """
  from PIL import Image, ImageDraw, ImageFont

  iou, label = np.asarray(trajectories.iou), np.asarray(trajectories.clicks.label)
  yx, predicted = np.asarray(trajectories.clicks.yx), np.asarray(trajectories.mask)
  drawn = rounds(iou.shape[1])
  columns = [mode for mode in ORDER if types.MODES.index(mode) < len(iou)]
  place = _layout((mask.shape[0], mask.shape[1]), len(columns))

  page = Image.new('RGB', place.size(len(drawn), len(columns)), _PAPER)
  canvas = ImageDraw.Draw(page)
  big, small = ImageFont.load_default(16 * _FINER), ImageFont.load_default(14 * _FINER)
  name = _fitted(canvas, ' '.join(style.plain(instance).split()), big, page.width - 2 * place.gap)
  middle = place.head / 2 + place.gap / 4
  canvas.text((place.gap, middle), name, fill=_INK, font=big, anchor='lm')
  for (row, click), (column, mode) in itertools.product(enumerate(drawn), enumerate(columns)):
    index = types.MODES.index(mode)
    left, top = place.corner(row, column)
    plural = 's' if click else ''
    text = f'{mode.upper()}, {click + 1} click{plural}: IoU {iou[index, click]:.3f}'
    canvas.text((left, top + place.title / 2), text, fill=_INK, font=small, anchor='lm')
    found = predicted[index, row, : mask.shape[0], : mask.shape[1]]
    made = slice(click + 1)
    panel = _panel(image, mask, found, yx[index, made], label[index, made])
    page.paste(panel, (left, top + place.title))
  _legend(canvas, place.gap, page.height - place.foot / 2 - place.gap / 4)

  page = page.resize((page.width // _FINER, page.height // _FINER), Image.Resampling.BOX)
  file = io.BytesIO()
  page.save(file, 'PNG')
  return file.getvalue()
