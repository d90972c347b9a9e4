"""Reading users' clicks: both layouts, every odd input, and where clicks end up."""

import numpy as np
import pytest

from tetris_jax.data import clicks
from tetris_jax.data.dataset import DataError

NAMES = ('a', 'b', 'many#3', 'many#7', 'one#5')


def write(tmp_path, text, encoding='utf-8'):
  path = tmp_path / 'clicks.csv'
  path.write_bytes(text.encode(encoding) if isinstance(text, str) else text)
  return path


def refused(tmp_path, text, encoding='utf-8', **options):
  with pytest.raises(DataError) as error:
    clicks.read_clicks(write(tmp_path, text, encoding), NAMES, **options)
  return str(error.value)


def test_plain_columns_in_any_order(tmp_path):
  text = '\ufeffuser,x,instance,y\r\n"Ann, A.",3,a,1.5\r\n\r\nBo,4,a,2\r\nAnn,5,b,6\r\n'
  found = clicks.read_clicks(write(tmp_path, text), NAMES)
  assert found.layout == 'plain' and found.name == 'clicks.csv' and found.left_out == {}
  assert found.clicks == {
    'a': [clicks.UserClick(2, 1.5, 3, None, 'Ann, A.'), clicks.UserClick(4, 2, 4, None, 'Bo')],
    'b': [clicks.UserClick(5, 6, 5, None, 'Ann')],
  }


def test_what_is_not_evaluated_is_counted(tmp_path):
  text = 'instance,y,x,label\na,1,2,1\na,1,2,1.0\na,3,4,0\nb,1,1,1\n'
  found = clicks.read_clicks(write(tmp_path, text), NAMES, selected=('a',))
  assert [click.line for click in found.clicks['a']] == [2, 3] and found.repeated == 1
  assert found.left_out == {
    'negative: a first click asks for the object': [4],
    'on an instance beyond the limit': [5],
  }


RCLICKS = ',dataset,full_stem,click_type,device,x,y,w,h,model_type,object_stem\n'


def test_rclicks_columns(tmp_path):
  lines = (
    '0,GrabCut,a,first,pc,7,3,20,10,,',
    '1,GrabCut,many_______7,first,mobile,5,2,20,10,,7',
    '2,GrabCut,many_______3,first,mobile,5,2,20,10,,3',
    '3,GrabCut,one,first,pc,1,0,20,10,,',
    '4,GrabCut,a_sam,fn,pc,1,0,20,10,sam,',
    '5,DAVIS,a,first,pc,1,0,20,10,,',
    '6,GrabCut,gone,first,pc,1,0,20,10,,',
  )
  path = write(tmp_path, RCLICKS + '\n'.join(lines))
  found = clicks.read_clicks(path, NAMES, clicks_dataset='GrabCut')
  assert found.layout == 'rclicks' and set(found.clicks) == {'a', 'many#3', 'many#7', 'one#5'}
  assert found.clicks['a'] == [clicks.UserClick(2, 3, 7, (10, 20), '')]
  assert sorted(found.left_out.items()) == [
    ('no first click: a later one needs the mask that its user saw', [6]),
    ('on DAVIS, not GrabCut', [7]),
    ('on an instance that the data set does not have', [8]),
  ]
  assert 'say which ones are meant by clicks_dataset' in refused(
    tmp_path, RCLICKS + '\n'.join(lines)
  )
  assert "no click on 'TETRIS'; its column dataset has 'DAVIS', 'GrabCut'" in refused(
    tmp_path, RCLICKS + '\n'.join(lines), clicks_dataset='TETRIS'
  )
  only = refused(tmp_path, RCLICKS + lines[-1])
  assert 'no first click on any' in only and '1 on an instance that the data set does not' in only


@pytest.mark.parametrize(
  ('text', 'parts'),
  [
    ('', ['is empty']),
    ('\n \n', ['is empty']),
    ('instance,y,x\n', ['no click']),
    ('instance,y\na,1\n', ["lacks 'x'"]),
    ('instance,y,x,when\na,1,2,3\n', ["unknown 'when'", 'user,label']),
    ('instance,y,x,x\na,1,2,3\n', ["twice 'x'"]),
    ('instance y x\na 1 2\n', ["lacks 'instance'", 'separated by commas']),
    ('instance,y,x\na,1,2\na,1,5,2\n', ['line 3', '4 fields', '3']),
    ('instance,y,x\na,nan,2\n', ['line 2', 'column y', "'nan'"]),
    ('instance,y,x\na,1,inf\n', ['line 2', 'column x', 'finite']),
    ('instance,y,x\na,1,\n', ['line 2', 'column x', "''"]),
    ('instance,y,x\na,1,2\nA,1,2\n', ['line 3', 'column instance', "'A'"]),
    ('instance,y,x\nmany#4,1,2\n', ["such as 'many#"]),
    ('instance,y,x,label\na,1,2,yes\n', ['line 2', 'column label', "'yes'", '1 (positive)']),
    ('instance,y,x,label\na,1,2,-1\n', ['line 2', 'column label']),
    ('instance,y,x\na,1_0,2\n', ['line 2', 'column y', "'1_0'"]),
    ('instance,y,x,label\na,1,2,0_1\n', ['line 2', 'column label', "'0_1'"]),
    (RCLICKS + '0,GrabCut,a,first,pc,7,3,2_0,10,,', ['column w', "'2_0'"]),
    ('instance,y,x,user\na,1,2,u\nb,1,2,u\na,3,4,u\n', ['line 4', 'column user', 'line 2']),
    ('instance,y,x\n"a,1,2\n', ['line', 'unexpected end']),
    ('instance,y,x\na,1,2\0\n', ['NUL']),
    (b'instance,y,x\na,1,2\nb\xe9,1,2\n', ['line 3', '0xe9', 'UTF-8']),
    ('instance,y,x\na,1,2\n'.encode('utf-16'), ['UTF-16']),
    (RCLICKS + '0,GrabCut,a,second,pc,7,3,20,10,,', ['line 2', 'column click_type', 'first']),
    (RCLICKS + '0,GrabCut,a,first,pc,7,3,0,10,,', ['line 2', 'column w', 'at least 1']),
    (RCLICKS + '0,GrabCut,a,first,pc,7,3,9.5,10,,', ['column w', 'whole']),
    (
      RCLICKS + '0,GrabCut,a,first,pc,7,3,20,10,,\n0,GrabCut,a,first,pc,7,3,20,11,,',
      ['line 3', 'column w, h', '20 x 10 as before'],
    ),
  ],
)
def test_bad_files_are_refused_by_line_and_column(tmp_path, text, parts):
  message = refused(tmp_path, text)
  assert str(tmp_path / 'clicks.csv') in message
  for part in parts:
    assert part in message


PICTURE = ('1#16711680', '1#255', '2#655360')
"""Red (255, 0, 0) and blue (0, 0, 255) on one picture, red (10, 0, 0) on another."""


def numbered(tmp_path, names, *numbers):
  """The instances of rows in RClicks' columns, whose full stems are given."""
  lines = [f'TETRIS,{stem},first,pc,{k},3,20,10,,' for k, stem in enumerate(numbers, 2)]
  head = 'dataset,full_stem,click_type,device,x,y,w,h,model_type,object_stem\n'
  found = clicks.read_clicks(write(tmp_path, head + '\n'.join(lines)), names)
  at = {click.line: name for name, some in found.clicks.items() for click in some}
  return [at.get(line) for line in range(2, 2 + len(lines))], found


def test_rclicks_numbers_count_blue_first(tmp_path):
  asked = '1_______255', '1_______16711680', '2_______10'
  instances, found = numbered(tmp_path, PICTURE, *asked)
  assert instances == ['1#16711680', '1#255', '2#655360'] and found.notes == ()
  # A level v of a grey map is the colour (v, v, v) there, and v here.
  grey = '3#1', '3#255', '4#65793', '4#7'
  stems = '3_______65793', '3_______16777215', '4_______65793'
  assert numbered(tmp_path, grey, *stems)[0] == ['3#1', '3#255', '4#65793']
  # Picture 4 has colours, so that its 7 is (0, 0, 7) and no level.
  instances, found = numbered(tmp_path, grey, '3_______65793', '4_______460551')
  assert instances == ['3#1', None]
  assert found.left_out == {'whose object number its picture does not have': [3]}


def test_numbers_that_go_by_the_names_alone_are_read_so_and_said(tmp_path):
  names = '1#16711680', '2#655360', '3#5'
  asked = '1_______16711680', '2_______655360', '3_______5'
  instances, found = numbered(tmp_path, names, *asked)
  assert instances == list(names)
  assert "'1_______16711680' in line 2 as '1#16711680'" in found.notes[0]
  assert 'blue * 65536' in found.notes[0]


@pytest.mark.parametrize('other', ['1_______255', '2_______10'])
def test_two_rules_of_numbering_in_one_file_are_refused(tmp_path, other):
  # Of 5 alone there is only the name; the others go by both rules, or by RClicks' alone.
  with pytest.raises(DataError) as error:
    numbered(tmp_path, (*PICTURE, '3#5'), '3_______5', other)
  assert "'3_______5' in line 2" in str(error.value) and f'{other!r} in line 3' in str(error.value)
  assert 'columns instance,y,x' in str(error.value)


def test_one_odd_number_among_many_is_left_out(tmp_path):
  instances, found = numbered(tmp_path, (*PICTURE, '3#5'), '3_______5', *['2_______10'] * 10)
  assert instances == [None, *['2#655360'] * 10]
  assert list(found.left_out.values()) == [[2]] and found.notes == ()


def test_plain_numbers_are_those_of_the_names(tmp_path):
  path = write(tmp_path, 'instance,y,x\n1#255,3,4\n1#16711680,5,6\n')
  found = clicks.read_clicks(path, PICTURE)
  assert {name: some[0].line for name, some in found.clicks.items()} == {
    '1#255': 2, '1#16711680': 3,
  }  # fmt: skip


@pytest.mark.parametrize(
  'text',
  [
    'instance,y,x\na,0.41,0.52\nb,0,1\n',
    'instance;y;x\na;0,41;0,52\n',
    'instance,y,x,label\na,0.41,0.52,1\nb,30,40,0\n',
    RCLICKS + '0,GrabCut,a,first,pc,0.41,0.52,20,10,,\n',
  ],
)
def test_coordinates_that_are_shares_of_the_sides_are_refused(tmp_path, text):
  message = refused(tmp_path, text)
  assert 'lie in [0, 1]' in message and 'multiply y by its height' in message


def test_pixels_may_lie_in_the_corner(tmp_path):
  path = write(tmp_path, 'instance,y,x\na,0,1\nb,0.5,2\n')
  assert set(clicks.read_clicks(path, NAMES).clicks) == {'a', 'b'}
  tiny = RCLICKS + '0,GrabCut,a,first,pc,1,0,2,2,,\n'
  assert set(clicks.read_clicks(write(tmp_path, tiny), NAMES).clicks) == {'a'}


@pytest.mark.parametrize(
  ('label', 'kept'),
  [('1', True), ('True', True), ('TRUE', True), ('positive', True), ('1.0', True)]
  + [('0', False), ('False', False), ('negative', False), ('0.0', False)],
)
def test_labels_as_programs_write_them(tmp_path, label, kept):
  path = write(tmp_path, f'instance,y,x,label\na,2,3,1\nb,4,5,{label}\n')
  assert ('b' in clicks.read_clicks(path, NAMES).clicks) is kept


@pytest.mark.parametrize(
  ('text', 'parts'),
  [
    ('instance,y,x,label\na,1,2,\n', ['column label', 'leave the column out']),
    ('instance,y,x\nx/a.png,1,2\ny/b.png,1,2\n', ['line 3', "'y/b.png'", 'in line 2']),
    ('instance,y,x\nmany,1,2\n', ['line 2', 'has 2 objects', "'many#3', 'many#7'"]),
    ('instance,y,x\nzzz,1,2\n', ["such as 'a', 'b', 'many#3'"]),
    (RCLICKS + '0,TETRIS,many_______3,first,pc,7,3,20,10,,7', ['name different objects']),
    (RCLICKS + '0,TETRIS,many_______9,first,pc,7,3,20,10,,', ['number its picture does not']),
  ],
)
def test_what_is_meant_by_no_instance_is_said(tmp_path, text, parts):
  message = refused(tmp_path, text)
  for part in parts:
    assert part in message


def test_lines_that_are_commented_out_are_counted(tmp_path):
  path = write(tmp_path, '# by hand\ninstance,y,x\n#a,1,2\n#b,3,4\nb,5,6\n')
  found = clicks.read_clicks(path, (*NAMES, '#b'))
  assert {name: some[0].line for name, some in found.clicks.items()} == {'#b': 4, 'b': 5}
  assert found.left_out == {'commented out': [3]}


def test_rclicks_columns_after_a_spreadsheet(tmp_path):
  text = (
    'Dataset;full_stem;Click_Type;x;y;w;h;object_stem\n'
    'tetris;1_______255;First;7,5;3;20;10,0;255.0\n'
  )
  found = clicks.read_clicks(write(tmp_path, text), PICTURE, clicks_dataset='TETRIS')
  assert found.clicks == {'1#16711680': [clicks.UserClick(2, 3, 7.5, (10, 20), '')]}


def test_a_file_that_is_not_there(tmp_path):
  with pytest.raises(DataError, match=r'clicks=.*none\.csv cannot be read: No such file'):
    clicks.read_clicks(tmp_path / 'none.csv', NAMES)


def click(y, x, size=None):
  return clicks.UserClick(2, y, x, size, '')


def test_clicks_outside_go_to_the_border():
  found = clicks.place([click(3, 4), click(-2, 4), click(5, 30), click(9.4, 19.5)], (10, 20))
  np.testing.assert_array_equal(found.yx, np.float32([[3, 4], [0, 4], [5, 19], [9, 19]]))
  assert found.clamped.tolist() == [False, True, True, False]
  with pytest.raises(ValueError, match='were y and x exchanged'):
    clicks.place([click(15, 4), click(30, 4)], (10, 20))


def test_clicks_on_a_larger_version_are_scaled_and_rounded_down():
  # 40 x 20 shown, 20 x 10 here: column 39 is 19.5, rounded down.
  found = clicks.place([click(19, 39, (20, 40)), click(5, 8, (20, 40))], (10, 20))
  np.testing.assert_array_equal(found.yx, np.float32([[9, 19], [2, 4]]))
  # 1000 x 667 has the proportions of 301 x 201 but for rounding.
  assert clicks.place([click(0, 999, (667, 1000))], (201, 301)).yx.tolist() == [[0, 300]]
  with pytest.raises(ValueError, match='20 x 40 pixels and has 20 x 20'):
    clicks.place([click(1, 1, (20, 40))], (20, 20))
