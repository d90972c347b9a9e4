"""Scores of users' clicks against hand-computed values."""

import pytest
from user_runs import ATTACKS, ROWS, row, source, walked

from tetris_jax.report.users import summary


def test_first_clicks_by_hand():
  found = summary.summarise(ROWS, 'm', 1, {})
  assert list(found['users']) == ['file', summary.ON_OBJECT]
  one = found['users']['file']
  assert (one['n'], one['n_clicks'], one['n_off_object'], one['n_clamped']) == (2, 4, 1, 1)
  assert one['mean']['value'] == pytest.approx((0.5 + 0.6) / 2)
  assert one['robot']['value'] == pytest.approx(0.7)
  # Instance b has a single click and hence no spread.
  assert one['std'] == {'value': round(0.06**0.5, 6), 'low': None, 'high': None, 'n': 1}
  assert one['nsr']['value'] == pytest.approx(0.06**0.5 / 0.5, abs=1e-6)
  assert one['d'] == {'value': 0.6, 'low': None, 'high': None, 'n': 1}
  # Of a, one of three is below the robot user; of b, the only one.
  assert one['below_robot']['value'] == pytest.approx((1 / 3 + 1) / 2, abs=1e-6)
  assert one['distance_pixels']['mean'] == pytest.approx((5 + 0 + 10 + 15) / 4)
  assert one['distance_diagonal']['median'] == pytest.approx((0.1 + 0.2) / 2)
  legal = found['users'][summary.ON_OBJECT]
  assert legal['n_clicks'] == 3 and legal['mean']['value'] == pytest.approx((0.5 + 0.6) / 2)
  assert legal['d']['value'] == pytest.approx(0.6)


def test_outcomes_inside_an_attack_by_hand():
  one = summary.summarise(ROWS, 'm', 1, ATTACKS)['users']['file']['attacks']
  # 0.2 lies below 0.3; 0.8 and 0.6 lie on an end and count as inside.
  assert (one['p']['inside'], one['p']['below'], one['p']['above']) == (0.75, 0.25, 0.0)
  assert one['p']['inside_per_instance']['value'] == pytest.approx((2 / 3 + 1) / 2, abs=1e-6)
  # b has a single click, so that of all three D only a counts.
  for key, value in (('user_d', 0.6), ('attack_d1', 0.5), ('attack_d', 0.4)):
    assert one['p'][key] == {'value': value, 'low': None, 'high': None, 'n': 1}
  assert one['q']['n_clicks'] == 3 and one['q']['inside_per_instance']['n'] == 1
  assert one['q']['above'] == pytest.approx(2 / 3, abs=1e-6)


def test_clicks_that_all_lie_off_the_object():
  rows = [row('a', 0.5, file=source([[1.0, 1.0], [2.0, 2.0]], [0.1, 0.3], [False, False]))]
  found = summary.summarise(rows, 'm', 1, ATTACKS)['users']
  assert list(found) == ['file'] and found['file']['n_off_object'] == 2
  rows.append(row('b', 0.5, file=source([[1.0, 1.0]], [0.4])))
  found = summary.summarise(rows, 'm', 1, ATTACKS)['users']
  assert list(found) == ['file', summary.ON_OBJECT] and found[summary.ON_OBJECT]['n_clicks'] == 1
  assert list(summary.summarise(rows[1:], 'm', 1, ATTACKS)['users']) == ['file']


def test_groups_by_hand():
  fast, slow, never = [0.9, 0.9, 0.9], [0.1, 0.9, 0.9], [0.1, 0.1, 0.1]
  rows = [
    row('a', 0.5, walked(slow, [never, *[slow] * 8, fast])),
    row('b', 0.5, walked(fast, [fast] * 10)),
  ]
  found = summary.summarise(rows, 'm', 3, {})
  assert found['trajectories']['base']['noc90']['value'] == 1.5
  assert found['trajectories']['G1']['nof90'] == 1
  groups = found['groups']
  assert groups['mean']['value'] == pytest.approx((2 + 1) / 2)
  assert groups['std']['value'] == pytest.approx((0.2**0.5) / 2, abs=1e-6)
  assert groups['delta_base']['value'] == 0
  assert groups['delta_groups']['value'] == pytest.approx((2 + 0) / 2)
  assert found['groups']['iou_auc']['n'] == 2


@pytest.mark.parametrize(
  ('hits', 'said'),
  [
    (([False, False, True], [False]), '3 of the 4 evaluated clicks miss their objects'),
    (([False], [False]), '2 of the 2 evaluated clicks miss their objects'),
    # Half is not most, nor is one odd instance with many clicks.
    (([False, True], [False, True]), ''),
    (([False] * 9, [True], [True]), ''),
    (([True], [True]), ''),
    ((), ''),
  ],
)
def test_most_clicks_miss_only_over_clicks_and_instances(hits, said):
  rows = [
    row(name, 0.5, file=source([[1.0, 1.0]] * len(some), [0.2] * len(some), some))
    for name, some in zip('abc', hits, strict=False)
  ]
  assert summary.mostly_missed(rows) == said
  rows.append(row('d', 0.5, uniform=source([[1.0, 1.0]], [0.1], [False])))
  assert summary.mostly_missed(rows) == said
