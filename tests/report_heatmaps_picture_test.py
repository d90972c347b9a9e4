"""Pictures of heat maps, by what matplotlib is told and by the pixels that come out."""

import warnings

import matplotlib.figure
import numpy as np
import pytest
import runs

from tetris_jax.report import style
from tetris_jax.report.heatmaps import picture


def a_map(legal, stride=2, low=0.2, high=0.8, clicks=None):
  """A map whose IoU goes from `low` to `high`, and a preset's clicks, all on the robot user's."""
  inside = np.argwhere(legal)
  robot = inside[len(inside) // 2]
  yx = np.concatenate([robot[None], inside[(inside % stride == stride // 2).all(1)]])
  clicks = np.array([robot] * 3 if clicks is None else clicks)
  return {
    'yx': yx.astype(np.float32),
    'iou': np.linspace(low, high, len(yx)),
    'stride': np.int32(stride),
    'legal': legal,
    'p/yx': clicks.astype(np.float32),
    'p/iou': np.array([low, low, high]),
  }


def block(size=(40, 50)):
  legal = np.zeros(size, bool)
  legal[10:30, 10:40] = True
  return legal


def drawn(legal, monkeypatch=None, share=0.5, name='one', **changes):
  """The picture's pixels, and the figure where `monkeypatch` lets it be caught."""
  kept = []
  if monkeypatch is not None:
    save = matplotlib.figure.Figure.savefig

    def catch(self, *args, **kwargs):
      kept.append(self)
      return save(self, *args, **kwargs)

    monkeypatch.setattr(matplotlib.figure.Figure, 'savefig', catch)
  image = np.full((*legal.shape, 3), 90, np.uint8)
  png = picture.draw(name, image, a_map(legal, **changes), {'p': share})
  return runs.pixels(png), kept[0] if kept else None


def test_the_field_paints_squares_of_legal_pixels():
  legal = block()
  made = a_map(legal, stride=4)
  found = picture.field(made)
  assert np.isnan(found[~legal]).all()
  for (y, x), value in zip(made['yx'][1:].astype(int), made['iou'][1:], strict=True):
    square = np.s_[y - 2 : y + 2, x - 2 : x + 2]
    assert (found[square][legal[square]] == value).all()


@pytest.mark.parametrize(
  ('low', 'high', 'expected'),
  [
    (0.2, 0.8, (0.2, 0.8)),
    (0.2174, 0.21741, (0.207405, 0.227405)),
    (0.0, 0.001, (0.0, 0.02)),
    (1.0, 1.0, (0.98, 1.0)),
  ],
)
def test_the_colour_scale_has_a_least_span(low, high, expected):
  found = picture.colour_limits(np.array([high, low]))
  np.testing.assert_allclose(found, expected, atol=1e-9)


def test_a_scale_of_hardly_a_range_is_flat_and_has_no_offset(monkeypatch):
  _, figure = drawn(block(), monkeypatch, low=0.2174, high=0.21741)
  bar = figure.axes[-1]
  assert bar.get_ylabel() == 'IoU of a click there'
  assert bar.yaxis.get_major_formatter().get_offset() == ''
  ticks = [float(label.get_text()) for label in bar.get_yticklabels()]
  assert len(ticks) > 2 and min(ticks) > 0.2 and max(ticks) < 0.23
  assert bar.yaxis.get_major_formatter().get_useOffset() is False
  _, shown = figure.axes[1].images
  colours = shown.cmap(shown.norm(np.array([0.2174, 0.21741])))
  np.testing.assert_allclose(*colours, atol=0.02)


@pytest.mark.parametrize('shape', [(1, 40), (40, 1), (1, 1), (40, 40)])
def test_pictures_without_an_outline_are_drawn(shape, monkeypatch):
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    pixels, figure = drawn(np.ones(shape, bool), monkeypatch, stride=1)
  assert min(pixels.shape[:2]) > 200
  texts = [text.get_text() for text in figure.legends[0].get_texts()]
  assert 'object' not in texts and len(texts) == 3


def test_the_legend_names_every_marker(monkeypatch):
  _, figure = drawn(block(), monkeypatch)
  texts = [text.get_text() for text in figure.legends[0].get_texts()]
  assert [text.split(',')[0] for text in texts] == ['MIN', 'MAX', "robot user's click", 'object']
  markers = {line.get_marker() for line in figure.legends[0].get_lines()}
  assert {'v', '^', 'o'} <= markers


def test_all_markers_are_seen_where_they_coincide():
  def seen(pixels, colour, among=None):
    near = np.abs(pixels - style.rgb(colour)).max(-1) < 25
    return int((near if among is None else near & among).sum())

  apart, _ = drawn(block(), clicks=[(20, 25), (13, 14), (26, 36)])
  upon, _ = drawn(block())
  # The legend has one of each as well, so only what lies above it counts.
  above = np.arange(len(upon))[:, None] < len(upon) - 80
  above = np.broadcast_to(above, upon.shape[:2])
  for mode, least in (('min', 0.5), ('max', 0.5), ('base', 0.9)):
    free = seen(apart, style.MODE_COLOURS[mode], above)
    hidden = seen(upon, style.MODE_COLOURS[mode], above)
    assert free > 20 and hidden > least * free, mode


def test_names_are_no_formulas(monkeypatch):
  _, figure = drawn(block(), monkeypatch, name='a$_{b$\udce4')
  assert figure.axes[0].get_title() == 'a$_{b$?\nrobot click 0.200'
