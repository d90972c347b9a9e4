"""Why clicks miss: what people do to coordinates is found by trying it on the masks."""

import numpy as np
import pytest

from experiments.lib import missed
from tetris_jax import data
from tetris_jax.report.users import summary

SIZE = 60, 120
"""The objects lie in its upper right."""


def sample(name, top=5, left=70):
  mask = np.zeros(SIZE, bool)
  mask[top : top + 20, left : left + 30] = True
  return data.Sample(name, np.zeros((*SIZE, 3), np.uint8), mask, np.zeros(SIZE, bool))


SAMPLES = [sample('a'), sample('b', top=12), sample('c', left=65)]


def clicked(change, size=None):
  """Three clicks on every object, after a change that somebody's tool has made."""
  at = np.array([[14, 80], [17, 85], [20, 90]], float)
  return {
    one.instance: [data.UserClick(2, *map(float, change(yx)), size, '') for yx in at]
    for one in SAMPLES
  }


def as_they_are(yx):
  return yx


@pytest.mark.parametrize(
  ('change', 'said'),
  [
    (lambda yx: yx[::-1], 'y and x exchanged'),
    (lambda yx: (59 - yx[0], yx[1]), 'y counted from the bottom'),
    (lambda yx: yx / SIZE, 'shares of the height'),
    (lambda yx: 100 * yx / SIZE, 'per cent of the height'),
    (lambda yx: yx * 1024 / 120, 'at 1024 pixels on its longer side'),
  ],
)
def test_a_change_that_makes_clicks_hit_is_named(change, said):
  found = missed.likely_cause(clicked(change), SAMPLES)
  assert said in found and found.startswith('of 9 looked at, 9 hit with')


def test_clicks_on_a_larger_version_are_tried_in_its_pixels():
  exchanged = clicked(lambda yx: 2 * yx[::-1], (120, 240))
  assert 'y and x exchanged' in missed.likely_cause(exchanged, SAMPLES)


def test_where_nothing_helps_other_causes_are_named():
  elsewhere = clicked(lambda yx: (50.0, 30.0))
  assert missed.likely_cause(elsewhere, SAMPLES) == summary.OTHER_CAUSES
  assert missed.likely_cause({}, []) == summary.OTHER_CAUSES


def rows(*on_object):
  return [
    {'instance': one.instance, 'status': 'ok', 'users': {'file': {'on_object': hits}}}
    for one, hits in zip(SAMPLES, on_object, strict=True)
  ]


def dataset(samples):
  entries = [data.Entry(one.instance, lambda one=one: one, lambda: SIZE) for one in samples]
  return data.Dataset('d', entries)


def test_it_is_said_where_most_clicks_miss_and_nowhere_else(capsys):
  wrong = clicked(lambda yx: yx[::-1])
  off, on = [False] * 3, [True] * 3
  cause = missed.told('c.csv', rows(off, off, [True, False, True]), wrong, dataset(SAMPLES))
  said = capsys.readouterr().err
  assert 'y and x exchanged' in cause and cause in said
  assert said.startswith('note: --clicks=c.csv: 7 of the 9 evaluated clicks miss their objects; of')
  for fine in ((on, on, on), (off, on, on), ([False] * 99, on, on)):
    assert missed.told('c.csv', rows(*fine), clicked(as_they_are), dataset(SAMPLES)) == ''
  assert missed.told(None, rows(off, off, off), {}, dataset(SAMPLES)) == ''
  assert capsys.readouterr().err == ''


def test_not_all_of_a_large_data_set_is_read_again(monkeypatch, capsys):
  monkeypatch.setattr(missed, '_MOST_INSTANCES', 2)
  read = []
  entries = [
    data.Entry(one.instance, lambda one=one: read.append(one.instance) or one, lambda: SIZE)
    for one in SAMPLES
  ]
  wrong, off = clicked(lambda yx: yx[::-1]), [False] * 3
  missed.told('c.csv', rows(off, off, off), wrong, data.Dataset('d', entries))
  assert read == ['a', 'c'] and 'of 6 looked at, 6 hit' in capsys.readouterr().err
