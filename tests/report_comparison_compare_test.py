"""Runs beside each other: ranks, tau, paired differences."""

import numpy as np
import pytest
import runs as runs_lib

from tetris_jax.report.comparison import compare
from tetris_jax.scores import statistics


def overviewed(runs):
  return compare.overview(runs, [runs_lib.summarised(run) for run in runs])


def constant(model, low, base, high, names='abcd', **more):
  rows = [runs_lib.row(name, low, base, high) for name in names]
  return runs_lib.make(model, rows, **more)


def test_scores_of_an_instance_are_those_of_its_curves():
  run = runs_lib.make('m', [runs_lib.row('a', 0.25, 0.5, 1.0), runs_lib.failed('b', 'why')])
  assert compare.instance_scores(run) == {
    'a': {'auc': 0.5, 'd': 0.75, 'min': 0.25, 'base': 0.5, 'max': 1.0}
  }


def test_ranks_are_within_a_data_set_and_preset_and_share_ties():
  runs = [
    constant('a', 0.2, 0.9, 0.9),  # Best by BASE, least robust.
    constant('b', 0.7, 0.8, 0.8),
    constant('c', 0.6, 0.8, 0.9),
    constant('d', 0.7, 0.7, 0.8),
    constant('a', 0.1, 0.2, 0.3, dataset='other'),
  ]
  lines = overviewed(runs)
  assert [line['rank'] for line in lines] == [1, 2, 2, 4, None]
  assert [line['robust_rank'] for line in lines] == [4, 1, 3, 1, None]
  (order,) = compare.orders(lines)
  # D is 0.7, 0.1, 0.3, 0.1. Of six pairs: ab, ac, ad, cd change; bc and bd are ties.
  assert order['kendall_tau'] == pytest.approx(-4 / 5)
  assert order['n_models'] == 4


def test_a_run_without_a_search_has_no_d():
  rows = [runs_lib.row('a', 0.1, 0.5, 0.9)]
  for field in ('iou', 'biou'):
    rows[0][field] = {'min': None, 'base': [0.5, 0.5], 'max': None}
  run = runs_lib.make('m', rows, preset='baseline')
  (line,) = overviewed([run])
  assert line['d']['value'] is None and line['iou_auc']['min'] is None
  assert compare.orders([line]) == compare.pairs([run, constant('m', 0, 0.5, 1)]) == []


def test_pairs_compare_models_and_presets_on_the_same_instances():
  first = runs_lib.make('a', runs_lib.random_rows(30, 1, 0.8))
  second = runs_lib.make('b', runs_lib.random_rows(30, 2, 0.3))
  second.rows[3].update(runs_lib.failed('picture 3', 'gone'))
  strong = runs_lib.make('a', runs_lib.random_rows(30, 3, 0.9), preset='strong')
  foreign = runs_lib.make('c', runs_lib.random_rows(30, 4, 0.9))
  foreign.config['instances']['sha256'] = 'of others'
  elsewhere = runs_lib.make('d', runs_lib.random_rows(30, 4, 0.9), dataset='other')
  models, presets = compare.pairs([first, second, strong, foreign, elsewhere])
  assert (models['first'], models['second'], models['same']) == ('a', 'b', 'tetris')
  assert (presets['first'], presets['second'], presets['same']) == ('tetris', 'strong', 'a')
  scores = [compare.instance_scores(run) for run in (first, second)]
  one, other = (np.array([found[name]['d'] for name in scores[1]]) for found in scores)
  assert models['difference']['n'] == 29
  assert models['difference']['value'] == pytest.approx((one - other).mean())
  assert models['difference']['low'] > 0
  assert models['p_value'] == statistics.permutation_test(one, other)
