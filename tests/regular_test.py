"""Files that users name: read through links, and nothing but files."""

import os

import pytest

from tetris_jax import regular


def test_a_file_is_read_also_through_a_link(tmp_path):
  (tmp_path / 'a').write_bytes(b'abc')
  (tmp_path / 'b').symlink_to('a')
  assert regular.read(tmp_path / 'a') == regular.read(str(tmp_path / 'b')) == b'abc'
  with regular.open_file(tmp_path / 'b') as file:
    assert file.seek(1) == 1 and file.read() == b'bc'


@pytest.mark.parametrize(('make', 'words'), [
  (os.mkfifo, 'a named pipe'), (os.mkdir, 'a folder'),
  (lambda path: path.symlink_to('/dev/zero'), 'a device'),
])  # fmt: skip
def test_what_is_no_file_is_not_waited_for(tmp_path, make, words):
  make(tmp_path / 'a')
  with pytest.raises(OSError, match=f'it is {words}, expected a file') as error:
    regular.read(tmp_path / 'a')
  assert error.value.strerror == f'it is {words}, expected a file'


def test_what_is_missing_is_said_by_the_system(tmp_path):
  with pytest.raises(FileNotFoundError):
    regular.open_file(tmp_path / 'a')
