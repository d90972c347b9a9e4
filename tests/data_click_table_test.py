"""Tables as spreadsheets, data frames and annotation tools save them."""

import math

import pytest

from tetris_jax.data import click_table
from tetris_jax.data.dataset import DataError

LAYOUTS = ((('instance', 'y', 'x'), ('user', 'label')), (('full_stem', 'x'), ('y',)))
ROWS = [{'instance': 'a', 'y': '4', 'x': '5'}, {'instance': 'b', 'y': '6', 'x': '7'}]


def table(tmp_path, text, names=()):
  path = tmp_path / 'c.csv'
  path.write_bytes(text if isinstance(text, bytes) else text.encode())
  return click_table.Table(path, LAYOUTS, names)


def refused(tmp_path, text):
  with pytest.raises(DataError) as error:
    table(tmp_path, text).require(LAYOUTS[0], 'instance,y,x')
  assert str(tmp_path / 'c.csv') in str(error.value)
  return str(error.value)


@pytest.mark.parametrize(
  ('text', 'lines'),
  [
    ('instance,y,x\na,4,5\nb,6,7\n', [2, 3]),
    ('instance,y,x\ra,4,5\rb,6,7\r', [2, 3]),
    ('\ufeff"instance","y","x"\r\n"a","4","5"\r\n"b","6","7"', [2, 3]),
    ('instance, y, x\n"a", "4", "5"\n"b", "6", "7"\n', [2, 3]),
    ('Instance,Y,X\na,4,5\nb,6,7\n', [2, 3]),
    ('instance;y;x\na;4;5\nb;6;7\n', [2, 3]),
    ('instance\ty\tx\na\t4\t5\nb\t6\t7\n', [2, 3]),
    ('instance|y|x\na|4|5\nb|6|7\n', [2, 3]),
    ('sep=,\ninstance,y,x\na,4,5\nb,6,7\n', [3, 4]),
    ('"SEP=;"\r\ninstance;y;x\r\na;4;5\r\nb;6;7\r\n', [3, 4]),
    ('sep=\t\ninstance\ty\tx\na\t4\t5\nb\t6\t7\n', [3, 4]),
    ('# "made\n\n#by hand\ninstance,y,x\na,4,5\nb,6,7\n', [5, 6]),
    ('instance,y,x,\na,4,5,\nb,6,7,\n', [2, 3]),
    ('instance,y,x\na,4,5,\nb,6,7,,\n', [2, 3]),
    ('instance,y,x,,\na,4,5,,\n,,,,\nb,6,7,,\n', [2, 4]),
    (',instance,y,x\n0,a,4,5\n1,b,6,7\n', [2, 3]),
    ('Unnamed: 0,instance,y,x\n0,a,4,5\n1,b,6,7\n', [2, 3]),
  ],
)
def test_the_same_rows_however_they_are_written(tmp_path, text, lines):
  found = table(tmp_path, text)
  found.require(LAYOUTS[0], '')
  assert [row for _, row in found.rows] == ROWS
  assert [line for line, _ in found.rows] == lines and found.commented == []


@pytest.mark.parametrize(
  ('text', 'parts'),
  [
    ('instance,y,x,time_ms\na,1,2,8\n', ["unknown 'time_ms'", 'take out what is no part']),
    ('instance,y,x,\na,1,2,8\n', ["unknown ''"]),
    ('instance,y,x,Y\na,1,2,8\n', ["twice 'y'"]),
    ('a,1,2\nb,3,4\n', ["lacks 'instance', 'y', 'x'", 'line 1']),
    ('# by hand\ninstance,y\na,1\n', ["lacks 'x'", 'line 2']),
    # A line above the header, of fewer cells; R's numbers of rows without a column.
    ('My clicks\ninstance,y,x\na,1,2\n', ["line 1: columns: lacks 'instance', 'y', 'x'"]),
    ('"instance","y","x"\n"1","a",4,5\n', ['line 2: 4 fields', 'rows have a column of their own']),
    ('instance,y,x\na,4,5,5,25\n', ['line 2', '5 fields', 'decimals are written with a point']),
    ('instance;y;x\na;4\n', ['line 2: 2 fields, the header has 3']),
    ('# nothing\n\nsep=;\n', ['is empty']),
    ('[{"instance": "a"}]', ['is JSON or XML']),
    ('<?xml version="1.0"?><annotations/>', ['is JSON or XML']),
    (b'PK\x03\x04\x14\0', ['is a ZIP archive, as Excel workbooks are']),
    (b'\xd0\xcf\x11\xe0\xa1', ['is an Excel workbook']),
    (b'\x1f\x8b\x08', ['is compressed']),
  ],
)
def test_what_is_no_such_table_is_refused(tmp_path, text, parts):
  message = refused(tmp_path, text)
  for part in parts:
    assert part in message


def test_decimal_commas_are_points_where_commas_separate_nothing(tmp_path):
  found = table(tmp_path, 'instance;y;x;user\na,1;4,5;5;u,v\n')
  found.decimal_commas(('y', 'x', 'label'))
  assert found.rows == [(2, {'instance': 'a,1', 'y': '4.5', 'x': '5', 'user': 'u,v'})]
  for text in ('instance;y;x\na;4,5;1.024\n', 'instance;y;x\na;1.024,5;3\n'):
    mixed = table(tmp_path, text)
    with pytest.raises(DataError, match=r'line 2, column y: .*expected decimal points alone'):
      mixed.decimal_commas(('y', 'x'))
  quoted = table(tmp_path, 'instance,y,x\na,"4,5",5\n')
  quoted.decimal_commas(('y', 'x'))
  with pytest.raises(DataError, match=r"found '4,5', expected .* with a decimal point"):
    quoted.number(*quoted.rows[0], 'y')


def test_what_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(click_table, '_MOST_CLICKS', 3)
  assert len(table(tmp_path, 'instance,y,x\n' + 'a,1,2\n' * 3).rows) == 3
  message = refused(tmp_path, 'instance,y,x\n' + 'a,1,2\n' * 4)
  assert message.endswith('has more than 3 clicks; split it by data set')
  monkeypatch.setattr(click_table, '_MOST_LINES', 4)
  assert table(tmp_path, 'instance,y,x\r\n' + '\r\n' * 3).rows == []
  assert refused(tmp_path, '\r\n' * 5).endswith('has more than 4 lines; split it by data set')
  monkeypatch.setattr(click_table, '_LONGEST_LINE', 20)
  assert 'line 2 has 21 characters' in refused(tmp_path, 'instance,y,x\n' + 'a' * 21)


def test_lines_end_as_on_any_system(tmp_path):
  found = table(tmp_path, 'instance,y,x\ra,1,2\r\n"b\nc",3,4\n\x0bd,5,6')
  names = [(line, row['instance']) for line, row in found.rows]
  assert names == [(2, 'a'), (4, 'b\nc'), (5, 'd')]


def test_commas_between_thousands_are_no_decimal_commas(tmp_path):
  thousands = table(tmp_path, 'instance\ty\tx\na\t640\t1,044\n')
  with pytest.raises(DataError, match=r"column x: found '1,044', expected no comma between thous"):
    thousands.decimal_commas(('y', 'x'))
  for cells in ('1,044;2,125', '640;1,04', '640;0,044', '640;1044,125'):
    decimals = table(tmp_path, f'instance;y;x;label\na;{cells};1\n')
    decimals.decimal_commas(('y', 'x', 'label'))
    assert decimals.rows[0][1]['x'] == cells.split(';')[1].replace(',', '.')


def test_comments_between_rows_are_remembered(tmp_path):
  text = 'instance,y,x\n#a,1,2\n# note\n#b,3,4\n'
  found = table(tmp_path, text, ('#b',))
  assert found.commented == [2, 3] and found.rows == [(4, {'instance': '#b', 'y': '3', 'x': '4'})]


def test_numbers_are_finite_and_sides_whole(tmp_path):
  found = table(tmp_path, 'instance,y,x\na,1e1,nan\n')
  line, row = found.rows[0]
  assert found.number(line, row, 'y') == 10 and found.side(line, row, 'y') == 10
  with pytest.raises(DataError, match='line 2, column x'):
    found.number(line, row, 'x')
  with pytest.raises(DataError, match=r'column y: found .0.5., expected a whole number'):
    found.side(line, row | {'y': '0.5'}, 'y')
  assert math.isnan(click_table.to_number('1_0')) and click_table.to_number(' 2 ') == 2
