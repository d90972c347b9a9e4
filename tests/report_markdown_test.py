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


HOSTILE = (
  '</td><img src=x onerror=alert(1)>&lt;b&gt;[go](javascript:alert(1))`x`\n\n# head\u2028| a'
)


def test_names_are_neither_html_nor_links_nor_lines():
  found = markdown.cell(HOSTILE)
  assert '<' not in found and '&lt;/td>' in found and '&amp;lt;b&amp;gt;' in found
  assert '[go\\](javascript:' in found and '\\`x\\`' in found and '\\| a' in found
  assert len(found.splitlines()) == 1
  assert markdown.cell('[a][b] ![c](d)') == '[a\\][b] ![c\\](d)'


@pytest.mark.parametrize(
  'name', ['sam_b & co', 'img[1]', 'IMG (2)', 'a*b_c', 'x > y', "it's", '日本語', 'a#12', '100 %']
)
def test_ordinary_names_stay_as_they_are(name):
  assert markdown.cell(name) == name
  assert markdown.code(name) == f'`{name}`'
  assert markdown.link(name, 'figures/00000_a-b.png') == f'[{name}](figures/00000_a-b.png)'


def test_code_ends_where_it_ought_to():
  assert markdown.code('a|b') == '`a\\|b`'
  assert markdown.code('a` <b>') == 'a\\` &lt;b>'
  assert markdown.code('') == ''
  assert markdown.code('<!-- x') == '&lt;!-- x'


def test_links_lead_to_their_files_alone():
  assert markdown.link('a[b', 'figures/x.png') == '[a\\[b](figures/x.png)'
  assert markdown.link('a](javascript:x)', 'f.png') == '[a\\](javascript:x)](f.png)'
  assert markdown.image('x', 'figures/spread_a) [b](c\udcff.png') == (
    '![x](figures/spread_a%29%20%5Bb%5D%28c%FF.png)'
  )
  assert markdown.noted(['one\ntwo', '<b>']) == '- one two\n- &lt;b>'


def test_facts_of_hostile_configurations_are_text():
  made = summary.summarise(runs.MIXED, 'toy', 'tetris', 2)
  config = {
    'flags': {'dataset': HOSTILE, 'data_dir': HOSTILE, 'seed': HOSTILE, 'weights': HOSTILE},
    'preset': {HOSTILE: HOSTILE}, 'model': {'name': HOSTILE, 'sha256': {HOSTILE: HOSTILE}},
    'instances': {'count': 5}, 'versions': {HOSTILE: HOSTILE},
    'devices': {'platform': HOSTILE, 'kind': HOSTILE, 'count': 1},
  }  # fmt: skip
  text = markdown.facts(made, config)
  assert '<' not in text and '](j' not in text.replace('\\](j', '')
  rows = [line for line in text.splitlines() if line.startswith('|')]
  assert {line.replace('\\|', '').count('|') for line in rows} == {3}
  assert len(text.splitlines()) == len(rows) + 2
