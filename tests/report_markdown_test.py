"""Markdown that stays Markdown, and the sections that reports share."""

import pytest
import runs
from report_attack_tables_test import CONFIG

from tetris_jax.report import markdown
from tetris_jax.report.attack import summary


def test_a_cell_ends_neither_its_column_nor_its_line():
  assert markdown.cell('a|b\n  c\td\udcff') == 'a\\|b c d?'


def test_a_table_has_its_first_columns_on_the_left():
  text = markdown.table(['a', 'b', 'c'], [['1', '2', '3']], left=2)
  assert text == '| a | b | c |\n| --- | --- | ---: |\n| 1 | 2 | 3 |'


def test_parts_are_paragraphs():
  assert markdown.document(['# a', 'b']) == '# a\n\nb\n'


def test_counts_and_settings_in_words():
  assert markdown.counted(summary.summarise(runs.MIXED, 'm', 'p', 2)) == (
    '2 ok, 1 failed, 2 skipped'
  )
  assert markdown.listed({'a': 1, 'b': None}) == 'a 1, b None'


def test_troubles_name_every_instance_without_numbers():
  text = markdown.troubles(runs.MIXED)
  lines = text.splitlines()
  assert lines[0] == '## Instances without numbers' and len(lines) == 2 + 2 + 3
  assert lines[4] == '| c | failed | damaged |'


@pytest.mark.parametrize('number', [50, 51])
def test_lists_are_cut_at_fifty(number):
  odd = [runs.row(f'i{k}', 0, 0, 0) | {'warnings': ['x', 'y']} for k in range(number)]
  text = markdown.warnings([*odd, runs.row('sound', 0, 0.5, 1)])
  assert text.count('| x; y |') == 50 and 'sound' not in text
  assert ('... and 1 more, see `rows.jsonl`.' in text) == (number == 51)


def test_facts_have_the_speed_unless_it_is_kept_apart():
  made = summary.summarise(runs.MIXED, 'toy', 'tetris', 2)
  assert 'Speed' not in markdown.facts(made, CONFIG)
  made |= {'evaluations_per_second': None, 'compile_seconds': 1.0}
  text = markdown.facts(made, CONFIG)
  assert '| Speed | - |' in text and '| Compiling | 1.0 s, programs: ? |' in text
  assert '| Data set | folder at `/d`, 5 instances |' in text
  assert '| Evaluations | 60 forward, of which 20 with gradient |' in text


def test_weights_of_ones_own_are_named_beside_the_published_file():
  made = summary.summarise(runs.MIXED, 'toy', 'tetris', 2)
  assert 'Weights given' not in markdown.facts(made, CONFIG)
  given = {**CONFIG, 'flags': {**CONFIG['flags'], 'weights': '/home/me/own|mine.pth'}}
  text = markdown.facts(made, given)
  assert '| Weights given | `own\\|mine.pth`, in place of the published file |' in text
