"""Models beside each other under users and under attack: ranks and their table."""

from user_runs import ATTACKS, ROWS, config, row, run, walked

from tetris_jax.report.users import compare, summary


def test_spearman_needs_three_models():
  line = lambda model, attack, user: {
    'dataset': 'd', 'source': 'file', 'preset': 'p', 'model': model,
    'attack_d1': attack, 'attack_d': -attack, 'user_d': user,
  }  # fmt: skip
  lines = [line('x', 0.1, 0.3), line('y', 0.2, 0.4), line('z', 0.3, 0.9)]
  three, two = compare.ranks(lines)[0], compare.ranks(lines[:2])[0]
  assert (three['models'], three['d1'], three['d']) == (3, 1.0, -1.0)
  assert (two['models'], two['d1'], two['d']) == (2, None, None)


def test_lines_are_one_a_run_source_and_preset():
  runs = [run(config('m'), ROWS)]
  attacked = summary.summarise(ROWS, 'm', 1, ATTACKS)
  lines = compare.overview(runs, [attacked])
  found = [(line['source'], line['preset'], line['n'], line['n_both']) for line in lines]
  assert found == [
    ('file', 'p', 2, 1), ('file', 'q', 2, 1),
    (summary.ON_OBJECT, 'p', 2, 1), (summary.ON_OBJECT, 'q', 2, 1),
  ]  # fmt: skip
  assert (lines[0]['attack_d1'], lines[0]['attack_d'], lines[0]['user_d']) == (0.5, 0.4, 0.6)
  assert compare.members(lines, lines[1]) == [lines[1]]
  (alone, _) = compare.overview(runs, [summary.summarise(ROWS, 'm', 1, {})])
  assert (alone['preset'], alone['attack_d1'], alone['n_both']) == (None, None, 0)
  assert compare.ranks([alone]) == []


def test_the_report_says_what_groups_stand_for():
  groups = [[0.1, 0.95]] * 10
  rows = [row('a', 0.5, walked([0.1, 0.95], groups))]
  made = run(config(), rows)
  made.config['users']['groups'] = 'distance'
  text = compare.report([made], [summary.summarise(rows, 'm', 2, {})], [], [], [])
  assert '| dev | m | distance | 2.00 | 2.00 ± 0.00 | 0.0 | 0.0 | 2 | 1 |' in text
  assert 'they do not compare with published numbers' in text and 'Spearman' not in text
