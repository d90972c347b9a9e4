"""The summary of a run: hand-computed scores, their n, and modes or instances that are absent."""

import json

import pytest
import runs

from tetris_jax.report.attack import summary
from tetris_jax.scores import priors, table


def test_scores_by_hand():
  found = summary.summarise(runs.MIXED, 'toy', 'tetris', 2)
  assert (found['n_ok'], found['n_failed'], found['n_skipped']) == (2, 1, 2)
  assert (found['model'], found['preset'], found['num_clicks']) == ('toy', 'tetris', 2)
  # MIN: (0.3 + 0.2) / 2; BASE: (0.6 + 0.35) / 2; MAX: (0.8 + 0.73) / 2.
  assert found['iou_auc'] == pytest.approx({'min': 0.25, 'base': 0.475, 'max': 0.765})
  assert found['biou_auc'] == pytest.approx({'min': 0.125, 'base': 0.2375, 'max': 0.3825})
  # D of a: 0.8 - 0.3 = 0.5, of b: 0.73 - 0.2 = 0.53.
  assert found['d'] == {'value': 0.515, 'low': 0.5, 'high': 0.53, 'n': 2}
  assert found['per_click']['base'] == pytest.approx([0.3, 0.65])
  assert found['noc']['90'] == {'min': 2.0, 'base': 2.0, 'max': 2.0}
  assert found['nof']['90'] == {'min': 2, 'base': 2, 'max': 2}
  assert (found['forward'], found['backward']) == (60, 20)


def test_every_mean_has_its_n_and_interval():
  estimates = summary.summarise(runs.MIXED, 'toy', 'tetris', 2)['estimates']
  leaves = [estimates['d'], estimates['biou_d']]
  leaves += [estimates[key][mode] for key in ('iou_auc', 'biou_auc') for mode in table.ORDER]
  leaves += [point for mode in table.ORDER for point in estimates['per_click'][mode]]
  leaves += [by_mode[mode] for by_mode in estimates['noc'].values() for mode in table.ORDER]
  assert len(leaves) == 2 + 6 + 6 + 12
  for leaf in leaves:
    assert leaf['n'] == 2
    assert leaf['low'] <= leaf['value'] <= leaf['high']


def test_clicks_outside_of_their_pictures_are_counted_by_mode():
  inside, beyond = runs.row('a', 0.1, 0.2, 0.3), runs.row('b', 0.1, 0.2, 0.3)
  beyond['clicks'] = beyond['clicks'] | {'max': [[-9.0, 2.0, 1], [3.0, 29.6, 0]]}
  rows = [inside, beyond, *runs.MIXED[2:]]
  found = summary.summarise(rows, 'toy', 'tetris', 2)
  assert found['n_outside'] == {'min': 0, 'base': 0, 'max': 2}
  inside['clicks'] = inside['clicks'] | {'min': None, 'max': None}
  found = summary.summarise([inside], 'toy', 'baseline', 2)
  assert found['n_outside'] == {'min': None, 'base': 0, 'max': None}


def test_a_preset_without_search():
  found = summary.summarise([runs.curves('a', None, [0.3, 0.9], None)], 'toy', 'baseline', 2)
  assert found['iou_auc'] == {'min': None, 'base': 0.6, 'max': None}
  assert found['d'] == {'value': None, 'low': None, 'high': None, 'n': 0}
  assert found['per_click'] == {'min': None, 'base': [0.3, 0.9], 'max': None}
  assert found['noc']['85'] == {'min': None, 'base': 2.0, 'max': None}
  assert found['estimates']['iou_auc']['base'] == {'value': 0.6, 'low': None, 'high': None, 'n': 1}


def test_no_instance_gives_no_mean():
  found = summary.summarise(runs.MIXED[2:], 'toy', 'tetris', 2)
  assert found['n_ok'] == 0
  assert found['d'] == {'value': None, 'low': None, 'high': None, 'n': 0}
  assert found['iou_auc'] == {'min': None, 'base': None, 'max': None}
  json.dumps(found, allow_nan=False)


def test_rows_of_different_runs_are_refused():
  with pytest.raises(ValueError, match='rows of different runs'):
    summary.summarise([runs.MIXED[0], runs.curves('x', [0.1], [0.1], [0.1])], 'toy', 'tetris', 2)
  with pytest.raises(ValueError, match='rows of different runs'):
    summary.summarise([runs.MIXED[0], runs.curves('x', None, [0.1, 0.2], None)], 'toy', 'tetris', 2)


def test_what_a_global_search_says_of_the_first_click_is_averaged():
  levels = [{'depth': d, 'n': 2, 'min': 0.1, 'max': 0.5} for d in priors.DEPTHS]
  spread = {prior: {'mean': 0.3, 'q50': 0.2} for prior in priors.PRIORS}
  first = runs.curves('a', [0.1], [0.3], [0.5])
  first |= {'levels': levels, 'quantiles': spread, 'hidden': 0.2}
  deep = [{'depth': d, 'n': 0, 'min': None, 'max': None} for d in priors.DEPTHS]
  second = runs.curves('b', [0.1], [0.3], [0.5])
  second |= {'levels': deep, 'quantiles': None, 'hidden': None}
  found = summary.summarise([first, second, *runs.MIXED[2:]], 'toy', 'strong_v1', 1)
  assert found['levels'][2]['d'] == {'value': 0.4, 'n': 1}
  assert found['quantiles']['distance'] == {
    'mean': {'value': 0.3, 'n': 1}, 'q50': {'value': 0.2, 'n': 1}
  }  # fmt: skip
  assert found['hidden'] == {'value': 0.2, 'low': None, 'high': None, 'n': 1}
  local = summary.summarise(runs.MIXED, 'toy', 'tetris', 2)
  assert (local['levels'], local['quantiles'], local['hidden']) == (None, None, None)
