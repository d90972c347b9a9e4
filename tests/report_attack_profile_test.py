"""The profile of a run: hand-computed scores of users, and what is said of it."""

import json

import pytest
import runs

from tetris_jax.report.attack import profile, summary, tables


def with_users(row, iou, prior='distance'):
  """The row with users of these curves of two clicks."""
  auc = [sum(curve) / 2 for curve in iou]
  halves = [one / 2 for one in auc]
  users = {
    'prior': prior, 'count': len(iou), 'auc': {'iou': auc, 'biou': halves}, 'iou': iou,
    'first': [[1.0, 2.0]] * len(iou),
  }  # fmt: skip
  return row | {'users': users}


ROWS = [
  with_users(runs.row('a', 0.1, 0.3, 0.7), [[0.2, 0.4], [0.5, 0.5], [0.7, 0.9], [0.6, 0.6]]),
  with_users(runs.row('b', 0.2, 0.3, 1.0), [[0.9, 0.9], [0.4, 0.4], [0.4, 0.4], [0.1, 0.1]]),
]


def test_scores_by_hand():
  found = profile.summarise([*ROWS, runs.failed('c', 'x')])
  assert (found['prior'], found['count'], found['n']) == ('distance', 4, 2)
  # IoU-AuC 0.3 0.5 0.8 0.6 and 0.9 0.4 0.4 0.1.
  assert found['mean']['value'] == pytest.approx((2.2 + 1.8) / 8)
  assert found['d']['0.25']['value'] == pytest.approx((0.5 + 0.8) / 2)
  assert found['d']['0.5']['value'] == pytest.approx(((0.7 - 0.4) + (0.65 - 0.25)) / 2)
  assert found['d']['0.05']['value'] == pytest.approx(0.65)
  # D of the attack at 0: (0.6 + 0.8) / 2.
  assert found['alphas'][0] == 0 and found['curve'][0]['value'] == pytest.approx(0.7)
  assert found['curve'][-1]['value'] == pytest.approx(0)
  below = {level: one['value'] for level, one in found['below'].items()}
  assert below == pytest.approx({'50': 4 / 8, '80': 6 / 8, '90': 7 / 8})
  assert found['quantiles']['q50']['value'] == pytest.approx((0.5 + 0.4) / 2)
  # The first user of b reaches 0.8 at once, the third of a with the second click, others never.
  assert found['noc']['80']['value'] == pytest.approx((2 * 7 + 1) / 8)
  assert found['per_click']['mean'] == pytest.approx([(2.0 + 1.8) / 8, (2.4 + 1.8) / 8])
  # One user of a ends above MAX, one of b below MIN.
  assert found['outside']['value'] == pytest.approx(2 / 8)
  assert found['biou']['mean']['value'] == pytest.approx(0.25)
  assert found['forward'] == 16
  for one in (found['mean'], *found['d'].values(), *found['curve'], *found['below'].values()):
    assert one['n'] == 2 and one['low'] <= one['value'] <= one['high']
  json.dumps(found, allow_nan=False)


def test_the_first_click_is_told_of_users_and_search_together():
  pooled = {'iou': [0.2, 0.6, 1.0], 'mass': [0.25, 0.5, 0.25]}
  row = {**ROWS[0], 'users': {**ROWS[0]['users'], 'pooled': pooled}}
  found = profile.summarise([row, ROWS[1]])['pooled']
  assert found['clicks'] == 3
  assert found['mean'] == {'value': 0.6, 'low': None, 'high': None, 'n': 1}
  assert {name: one['value'] for name, one in found['d'].items()} == pytest.approx(
    {'0.05': 0.8, '0.25': 0.8, '0.5': 0.4}
  )
  assert 'pooled' not in profile.summarise(ROWS)
  run = runs.make('toy', [row])
  text = tables.report([row], runs.summarised(run), run.config, lambda instance: None)
  assert '| first click, pooled: D(0.5) | 40.0 |' in text and '3 of which stand for a part' in text


def test_without_users_nothing_is_said():
  assert profile.summarise(runs.MIXED) is None
  made = summary.summarise(runs.MIXED, 'toy', 'tetris', 2)
  assert 'users' not in made and profile.section(made) == []


def test_without_a_search_there_is_no_d_of_an_attack():
  row = runs.row('a', 0.1, 0.3, 0.7)
  for field in ('iou', 'biou'):
    row[field] = row[field] | {'min': None, 'max': None}
  found = profile.summarise([with_users(row, [[0.2, 0.4]])])
  assert found['curve'][0]['value'] is None and found['outside'] is None
  assert found['mean'] == {'value': 0.3, 'low': None, 'high': None, 'n': 1}


def test_rows_of_different_runs_are_refused():
  other = with_users(runs.row('c', 0.1, 0.3, 0.7), [[0.2, 0.4]])
  for more in (other, runs.row('c', 0.1, 0.3, 0.7)):
    with pytest.raises(ValueError, match='rows of different runs: users'):
      profile.summarise([*ROWS, more])


def test_the_report_has_the_profile():
  run = runs.make('toy', ROWS)
  made = runs.summarised(run)
  text = tables.report(ROWS, made, run.config, lambda instance: None)
  assert '## Users' in text and '| D(0.05) | 65.0 |' in text
  assert '4 sampled users an instance, 2 clicks each' in text
  assert '25.0 % of the users end outside of [MIN, MAX]' in text
