"""COCO's JSON: files that are none, and numbers, flags and ids as tools write them."""

import json
import math

import pytest
from coco_files import annotation, document, image

from tetris_jax import data
from tetris_jax.data import coco_document

HELD = document([annotation()])


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-be', 'utf-32'])
def test_every_encoding_of_json_is_read(tmp_path, encoding):
  held = document([annotation()], images=[image(file_name='Übung.png')])
  (tmp_path / 'a.json').write_bytes(json.dumps(held, ensure_ascii=False).encode(encoding))
  found = coco_document.read_document(tmp_path / 'a.json')
  assert found == (held['images'], held['annotations'], held['categories'])


@pytest.mark.parametrize('categories', [None, {}, 'x', 5])
def test_categories_may_be_anything(tmp_path, categories):
  (tmp_path / 'a.json').write_text(json.dumps({**HELD, 'categories': categories}))
  assert coco_document.read_document(tmp_path / 'a.json').categories == []


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    (b'', 'it is empty'),
    (json.dumps(HELD).encode()[:50], 'it ends early, as if it were cut off'),
    (b'{"images": [], annotations: []}', 'it is no JSON: .* in line 1, column 16'),
    (b'null', 'it holds null'),
    (b'"text"', "it holds 'text'"),
    (b'2.5', r'it holds 2\.5'),
    (b'[]', 'it holds a bare list, no object with "images" and "annotations"'),
    (b'{}', r'it has no "images" \(it holds nothing\)'),
    (b'{"images": [], "info": 1}', r'it has no "annotations" \(it holds images, info\)'),
    (b'{"images": null, "annotations": []}', 'its "images" is null, expected a list'),
    (b'{"images": [], "annotations": {"1": {}}}', 'its "annotations" is an object'),
    (b'{"images": [], "annotations": 5}', 'its "annotations" is 5'),
    (b'{"images": [], "annotations": [1], "annotations": [2]}', "'annotations' stands twice"),
    ('{"images": [1], "annotations": [], "images": []}'.encode('utf-16'), "'images' stands twice"),
    (b'[' * 100_000, 'nested more than 100 deep'),
    (b'{"images": [], "annotations": [' + b'[' * 500 + b']' * 500 + b']}', 'more than 100 deep'),
    ('{"images": [], "annotations": [], "note": "é"}'.encode('latin-1'), 'not in UTF-8'),
  ],
)
def test_a_file_that_is_none_is_refused_in_words(tmp_path, content, message):
  (tmp_path / 'a.json').write_bytes(content)
  with pytest.raises(data.DataError, match=f'is no COCO annotation file: .*{message}') as error:
    coco_document.read_document(tmp_path / 'a.json')
  assert 'Error:' not in str(error.value)


def test_numbers_that_are_none_are_left_to_their_readers(tmp_path):
  (tmp_path / 'a.json').write_bytes(
    b'{"images": [NaN], "annotations": [' + b'9' * 5000 + b', -Infinity], "info": 1, "info": 2}'
  )
  images, annotations, _ = coco_document.read_document(tmp_path / 'a.json')
  assert math.isnan(images[0]) and annotations == [math.inf, -math.inf]


def test_a_file_that_cannot_be_read_is_named(tmp_path):
  with pytest.raises(data.DataError, match=r'a\.json cannot be read: No such file'):
    coco_document.read_document(tmp_path / 'a.json')


def test_a_name_that_stands_twice_elsewhere_is_no_matter(tmp_path):
  held = {**HELD, 'info': {'annotations': 'by hand'}}
  (tmp_path / 'a.json').write_text(json.dumps(held))
  assert len(coco_document.read_document(tmp_path / 'a.json').annotations) == 1


@pytest.mark.parametrize(
  ('value', 'number', 'whole'),
  [
    (2, 2, 2), (2.0, 2, 2), ('2', 2, 2), ('2.0', 2, 2), (2.5, 2.5, None), ('2.5', 2.5, None),
    (-3, -3, -3), (2**70, 2**70, 2**70), (10**400, None, 10**400), (None, None, None),
    (True, None, None), ('', None, None), ('x', None, None), ('nan', None, None), ([2], None, None),
    (math.nan, None, None), (math.inf, None, None), ('1e400', None, None), ({}, None, None),
    ('9' * 5000, None, None),
  ],
)  # fmt: skip
def test_numbers(value, number, whole):
  assert coco_document.number(value) == number
  assert coco_document.whole(value) == whole


@pytest.mark.parametrize(
  ('value', 'expected'),
  [
    (None, False), (False, False), (0, False), (0.0, False), ('0', False), ('False', False),
    ('', False), (True, True), (1, True), (1.0, True), ('1', True), (' true ', True), (2, None),
    (-1, None), ('maybe', None), ([], None), ({}, None), (math.nan, None),
  ],
)  # fmt: skip
def test_flags(value, expected):
  assert coco_document.flag(value) is expected


@pytest.mark.parametrize('value', [1, 0, -1, 1.5, 2**70, 'a', 'Übung', 'x' * 255])
def test_what_names_something(value):
  assert coco_document.is_id(value)


@pytest.mark.parametrize(
  'value', [None, True, '', 'a\0', '\ud800', 'x' * 256, [], {}, math.nan, math.inf, 10**400]
)
def test_what_names_nothing(value):
  assert not coco_document.is_id(value)


def test_what_is_a_text():
  assert all(coco_document.is_text(one) for one in ('a', 'Übung', 'x' * 999))
  assert not any(coco_document.is_text(one) for one in ('', 'a\0', '\ud800/a.png', None, 5, ['a']))


def test_what_can_be_a_path():
  assert all(coco_document.is_path(one) for one in ('a.png', 'x' * 255, '/'.join(['x' * 99] * 9)))
  assert not any(coco_document.is_path(one) for one in ('x' * 256, 'a/' + 'x' * 256, '', None))


def test_values_are_shown_short_and_in_the_words_of_json():
  shown = coco_document.shown
  assert [shown(one) for one in (None, True, {}, {'a': 1})] == [
    'null', 'true', 'an empty object', 'an object',
  ]  # fmt: skip
  assert all(len(shown(one)) < 200 for one in ('x' * 10_000, [[[1] * 99] * 99] * 99, 10**400))
