"""JSON documents: what is read, and that everything else is told in words by one error."""

import math

import hypothesis
import hypothesis.strategies as st
import pytest

from tetris_jax import documents


@pytest.mark.parametrize(
  ('data', 'value'),
  [
    (b'{"a": [1, 2.5, null, true, "x"]}', {'a': [1, 2.5, None, True, 'x']}),
    (b' 7\r\n', 7),
    ('{"a": "é"}'.encode(), {'a': 'é'}),
    (b'\xef\xbb\xbf[1]', [1]),
    ('[1]'.encode('utf-16'), [1]),
    ('[1]'.encode('utf-32'), [1]),
    ('[1]', [1]),
    (b'"\\udcff"', '\udcff'),  # Names of files need not be UTF-8.
    (b'[1e99, -9007199254740993]', [1e99, -9007199254740993]),
    (b'[' * 100 + b']' * 100, None),
  ],
)
def test_what_is_read(data, value):
  found = documents.parse(data)
  assert found == value or value is None


@pytest.mark.parametrize(
  ('data', 'said'),
  [
    (b'', 'it is empty'),
    (b' \n', 'it is empty'),
    (b'{"a": [1,', 'it ends early, as if it were cut off'),
    (b'{"a": "b', 'it ends early, as if it were cut off'),
    (b'[1 2]', "it is no JSON: expecting ',' delimiter in line 1, column 4"),
    (b'{}\n{}', 'it is no JSON: extra data in line 2, column 1'),
    (b'\0\0\0\0\0', 'it is no'),
    (b'\xff', 'it is not in UTF-8 (byte 1: invalid start byte)'),
    (b'\xff\xfe\0', 'it is not in UTF-16'),
    (b'[' * 100_000, 'nested more than 100 deep'),
    (b'[' * 101 + b']' * 101, 'nested more than 100 deep'),
    (b'{"a":' * 500 + b'1' + b'}' * 500, 'nested more than 100 deep'),
    (b'[NaN]', 'it holds NaN, which is no number'),
    (b'{"a": -Infinity}', 'it holds -Infinity, which is no number'),
    (b'{"a": [0, 1e999]}', 'too large, such as 1e999'),
    (b'[-1e999]', 'too large, such as 1e999'),
    (b'[' + b'9' * 10_000 + b']', 'it holds a number of 10000 digits'),
    (b'{"a": 1, "b": 2, "a": 1}', "'a' stands twice in one object"),
  ],
)
def test_what_is_refused_is_told(data, said):
  with pytest.raises(documents.DocumentError) as error:
    documents.parse(data)
  assert said in str(error.value) and len(str(error.value)) < 200
  assert isinstance(error.value, ValueError)


def test_a_reader_may_guard_numbers_where_they_stand():
  text = b'[NaN, -Infinity, 1e999, 3, -' + b'9' * 10_000 + b']'
  nan, *others = documents.parse(text, finite=False)
  assert math.isnan(nan) and others == [-math.inf, math.inf, 3, -math.inf]


def test_a_reader_may_say_which_keys_stand_once():
  twice = b'{"images": [1], "images": [2], "info": 3, "info": 4}'
  assert documents.parse(twice, once=()) == {'images': [2], 'info': 4}
  assert documents.parse(b'{"info": 3, "info": 4}', once=('images',)) == {'info': 4}
  with pytest.raises(documents.DocumentError, match="'images' stands twice"):
    documents.parse(twice, once=('images',))
  with pytest.raises(documents.DocumentError) as error:
    documents.parse(b'{"%s": 1, "%s": 2}' % (b'k' * 10_000, b'k' * 10_000))
  assert len(str(error.value)) < 80


@hypothesis.given(st.binary(max_size=60) | st.text('[]{}",:0e1.\\u-', max_size=60).map(str.encode))
def test_whatever_it_holds_a_document_is_a_value_or_our_error(data):
  try:
    documents.parse(data)
  except documents.DocumentError as error:
    assert str(error)
