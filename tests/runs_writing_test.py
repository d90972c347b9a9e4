"""Files whole or not at all, and what is said where one cannot be written."""

import errno
import json
import pathlib

import pytest

from tetris_jax.runs import writing


def test_a_file_is_written_and_replaced_whole(tmp_path):
  for content in (b'first', b'second'):
    writing.write_atomically(tmp_path / 'a', content)
    assert (tmp_path / 'a').read_bytes() == content
  assert [file.name for file in tmp_path.iterdir()] == ['a']


def test_nothing_is_left_of_what_cannot_be_written(tmp_path):
  with pytest.raises(writing.WorkdirError, match=r'cannot write .*a: No such file or directory'):
    writing.write_atomically(tmp_path / 'no' / 'a', b'x')
  assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_with_what_to_do():
  full = writing.explained('write', pathlib.Path('a'), OSError(errno.ENOSPC, 'No space left'))
  assert str(full) == (
    'cannot write a: No space left; free some space, then run the same command again'
  )
  odd = writing.explained('read', pathlib.Path('a'), ValueError('odd'))
  assert str(odd) == 'cannot read a: odd'


def test_json_is_plain_ascii_and_finite():
  value = {'name': 'caf\udce9'}
  assert writing.as_line(value) == b'{"name": "caf\\udce9"}\n'
  assert json.loads(writing.as_document(value)) == value
  with pytest.raises(ValueError, match='not JSON compliant'):
    writing.as_line({'x': float('nan')})
