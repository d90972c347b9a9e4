"""Curves over clicks: which modes are drawn, what the axes say."""

import numpy as np
import runs

from tetris_jax.report import style
from tetris_jax.report.attack import figures, summary


def has(image, colour, tolerance=12):
  return (np.abs(image - np.array(colour)).max(-1) <= tolerance).any()


def test_curves_are_drawn_for_the_modes_that_ran():
  full = summary.summarise(runs.MIXED, 'toy', 'tetris', 2)
  base = summary.summarise(
    [runs.curves('a', None, [0.3, 0.9], None)], 'toy', 'baseline', 2
  )
  for mode, in_base in (('min', False), ('base', True)):
    rgb = style.rgb(style.MODE_COLOURS[mode])
    assert has(runs.pixels(figures.draw_curves(full)), rgb)
    assert has(runs.pixels(figures.draw_curves(base)), rgb) == in_base


def test_each_panel_says_what_it_shows(monkeypatch):
  kept = []
  monkeypatch.setattr(style, 'png', lambda figure: kept.append(figure) or b'')
  figures.draw_curves(summary.summarise(runs.MIXED, 'toy', 'tetris', 2))
  left, right = kept[0].axes
  assert (left.get_ylabel(), right.get_ylabel()) == ('Mean IoU x100', 'Mean boundary IoU x100')
  assert kept[0].get_suptitle() == 'toy, tetris, 2 instances; bands: 95 % bootstrap intervals'
  curves = {line.get_label(): line.get_ydata() for line in left.get_lines()}
  np.testing.assert_allclose(curves['BASE'], [30, 65])
  np.testing.assert_allclose(right.get_lines()[0].get_ydata(), [30, 46.5])  # MAX.
