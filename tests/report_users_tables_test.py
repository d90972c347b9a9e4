"""The report of users' clicks: numbers beside their n, and what it does not claim."""

from user_runs import ATTACKS, config, row, source, walked

from tetris_jax.report.users import summary, tables


def test_every_mean_is_printed_with_its_own_n():
  rows = [
    row('a', 0.5, file=source([[1.0, 1.0], [2.0, 2.0]], [0.2, 0.8])),
    row('b', 0.9, file=source([[10.0, 25.0]], [0.6])),
  ]
  made = summary.summarise(rows, 'm', 1, ATTACKS)
  made |= {'evaluations_per_second': 1.0, 'compile_seconds': 2.0, 'programs': 3}
  text = tables.report(rows, made, config())
  lines = [line for line in text.splitlines() if '| file |' in line]
  assert lines[0].endswith(' 60.0 | 75.0 | 2 | 1 | 3 |')
  assert lines[2].endswith(' 60.0 | 50.0 | 40.0 | 2 | 1 | 3 |') and '`p`' in lines[2]
  assert text.count('| n | n with 2 or more clicks | clicks |') == 2
  assert 'programs: 3' in text


def test_the_report_names_what_stands_in_for_rclicks():
  groups = [[0.1, 0.95]] * 10
  rows = [row('a|b', 0.5, walked([0.1, 0.95], groups), distance=source([[1.0, 1.0]], [0.3]))]
  made = summary.summarise(rows, 'm', 2, {})
  made |= {'evaluations_per_second': None, 'compile_seconds': 0.0}
  about = config()
  about['users'] |= {'groups': 'distance'}
  text = tables.report(rows, made, about)
  assert "stands in for RClicks' learned clickability model" in text
  assert '| NoC@90, mean ± std | 2.00 ± 0.00 | 1 |' in text
  about['users']['clicks'] = {
    'name': 'c.csv', 'repeated': 2, 'left_out': {'on DAVIS': {'count': 7, 'first_line': 3}},
  }
  assert '| left out: on DAVIS | 7 | 3 |' in tables.report(rows, made, about)


def test_warnings_are_told_where_rows_have_some():
  plain = row('a', 0.5, file=source([[1.0, 1.0]], [0.2]))
  texts = []
  for rows in ([plain], [plain | {'warnings': ['the mask may be inverted']}]):
    made = summary.summarise(rows, 'm', 1, {})
    made |= {'evaluations_per_second': None, 'compile_seconds': 0.0}
    texts.append(tables.report(rows, made, config()))
  assert 'Warnings' not in texts[0]
  assert '## Warnings' in texts[1] and '| a | the mask may be inverted |' in texts[1]


def test_the_report_says_that_most_clicks_miss_and_how_numbers_were_read():
  about = config()
  about['users']['clicks'] = {
    'name': 'c.csv', 'repeated': 0, 'left_out': {}, 'notes': ['numbers are read so'],
  }
  for hits, there in ((False, True), (True, False)):
    rows = [row('a', 0.5, file=source([[1.0, 1.0]], [0.2], [hits]))]
    made = summary.summarise(rows, 'm', 1, {})
    made |= {'evaluations_per_second': 1.0, 'compile_seconds': 2.0, 'programs': 3}
    text = tables.report(rows, made, about)
    start = '**Note: 1 of the 1 evaluated clicks miss their objects; '
    assert (start + summary.OTHER_CAUSES in text) is there
    assert (f'{start}exchanged.**' in tables.report(rows, made, about, cause='exchanged')) is there
    assert 'Note: numbers are read so.' in text
