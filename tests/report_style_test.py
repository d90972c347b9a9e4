"""Numbers as the field prints them, colours, and figures that come out as pictures."""

import numpy as np
import pytest
import runs

from tetris_jax.report import style
from tetris_jax.scores import table


@pytest.mark.parametrize(
  ('show', 'value', 'text'),
  [
    (style.x100, 0.1234, '12.3'),
    (style.x100, -1e-9, '0.0'),
    (style.x100, 1.0, '100.0'),
    (style.two_decimals, 2.5, '2.50'),
    (style.whole, 7, '7'),
    (style.p_value, 0.0004, '< 0.001'),
    (style.p_value, 0.125, '0.125'),
  ],
)
def test_numbers_are_printed_as_the_field_does(show, value, text):
  assert show(value) == text
  assert show(None) == style.NOTHING


def test_every_format_of_a_metric_is_printed():
  found = {metric.format: style.number(metric.format, 1) for metric in table.METRICS.values()}
  assert found == {'x100': '100.0', 'clicks': '1.00', 'count': '1'}


def test_an_interval_has_two_ends_or_none():
  estimate = {'value': 0.5, 'low': 0.25, 'high': 0.75, 'n': 4}
  assert style.interval(estimate) == '25.0 to 75.0'
  assert style.interval(estimate, 'clicks') == '0.25 to 0.75'
  assert style.interval(estimate | {'low': None, 'high': None}) == style.NOTHING
  assert style.interval(None) == style.NOTHING


def test_text_that_no_file_can_hold_is_replaced():
  assert style.plain('a\udcff b') == 'a? b'
  assert style.plain(3) == '3'


def test_colours_differ_and_name_their_parts():
  assert style.rgb('#0072B2') == (0, 114, 178)
  assert len(set(style.CYCLE)) == len(style.CYCLE)
  for by_mode in (style.MODE_COLOURS, style.MARKERS):
    assert set(by_mode) == set(table.ORDER) and len(set(by_mode.values())) == 3


def test_a_figure_has_panels_and_becomes_a_picture():
  figure, axes = style.figure(2, 4, 3, sharey=True)
  axes[0].plot([0, 1], [0, 1], color=style.BLUE)
  assert len(axes) == 2 and axes[1].get_ylim() == axes[0].get_ylim()
  pixels = runs.pixels(style.png(figure))
  assert pixels.shape == (450, 600, 3)
  assert (np.abs(pixels - style.rgb(style.BLUE)).max(-1) < 12).any()


def test_a_name_is_one_line_of_what_can_be_seen():
  assert style.one_line('a\n b\u2028c\x1b[2J\udcff\u202e') == 'a b c?[2J??'
  assert style.one_line("日本語 क्‍ष it's $5") == "日本語 क्‍ष it's $5"
  assert style.short('x' * 120) == 'x' * 120
  assert style.short('x' * 100 + 'y' * 100) == 'x' * 60 + '…' + 'y' * 60
  assert style.short('abcdefgh', 4) == 'ab…gh'


@pytest.mark.parametrize(
  'name',
  ['$', '$$', '$\\frac{$', 'a$b$c', '\\$x$', '$_{$', '\udcff\ud800', 'a\nb', '\0', '$' * 9999],
)
def test_no_name_is_a_formula_in_a_figure(name):
  figure, (axis,) = style.figure(1, 3, 2)
  axis.set_title(style.label(name))
  axis.set_xticks([0], [style.label(name, 20)])
  axis.annotate(style.label(name, 20), (0, 0))
  figure.suptitle(style.label(name))
  assert runs.pixels(style.png(figure)).shape == (300, 450, 3)
