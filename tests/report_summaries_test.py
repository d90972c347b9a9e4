"""Counts, rounded estimates and speed: what every summary has."""

import runs

from tetris_jax.report import summaries
from tetris_jax.scores.statistics import Estimate


def test_rows_are_counted_by_how_they_ended():
  assert summaries.counts(runs.MIXED) == {'n_ok': 2, 'n_failed': 1, 'n_skipped': 2}
  assert [row['instance'] for row in summaries.measured(runs.MIXED)] == ['a', 'b']
  assert summaries.counts([]) == {'n_ok': 0, 'n_failed': 0, 'n_skipped': 0}


def test_estimates_are_rounded_and_keep_what_is_missing():
  assert summaries.entry(Estimate(1 / 3, 0.1234567, 2 / 3, 5)) == {
    'value': 0.333333, 'low': 0.123457, 'high': 0.666667, 'n': 5
  }  # fmt: skip
  assert summaries.entry(Estimate(None, None, None, 0))['value'] is None


def test_speed_is_of_what_ran():
  totals = {'seconds': 3.0, 'compile_seconds': 1.23456, 'evaluations': 10.0, 'programs': 2.0}
  assert summaries.speed(totals) == {
    'evaluations_per_second': 3.333, 'device_seconds': 3.0, 'compile_seconds': 1.235, 'programs': 2
  }  # fmt: skip
  nothing = {'seconds': 0.0, 'compile_seconds': 0.0, 'evaluations': 0.0}
  assert summaries.speed(nothing)['evaluations_per_second'] is None
  assert summaries.speed(nothing)['programs'] == 0
