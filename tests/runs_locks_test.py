"""Locks: one holder at a time, and no file of anybody else is touched."""

import os
import socket

import pytest

from tetris_jax.runs import files, locks
from tetris_jax.runs.writing import WorkdirError

ME = f'process {os.getpid()} on {socket.gethostname()}'


def test_the_holder_is_named_and_the_next_one_gets_it(tmp_path):
  for _ in range(2):
    with locks.locked(tmp_path):
      assert (tmp_path / '.lock').read_text() == f'{ME}\n'
      with pytest.raises(WorkdirError, match=f'in use by {ME}; wait'), locks.locked(tmp_path):
        pass


def test_what_another_file_says_is_not_repeated(tmp_path):
  with locks.locked(tmp_path):
    (tmp_path / '.lock').write_bytes(b'\x1b[31mred\n' * 9)
    with pytest.raises(WorkdirError, match='in use by another process;'), locks.locked(tmp_path):
      pass


def test_no_file_outside_is_truncated(tmp_path):
  mine, folder = tmp_path / 'mine', tmp_path / 'w'
  mine.write_text('precious')
  folder.mkdir()
  (folder / '.lock').symlink_to(mine)
  with pytest.raises(files.FileError, match='it is a link'), locks.locked(folder):
    pass
  (folder / '.lock').unlink()
  os.link(mine, folder / '.lock')
  with locks.locked(folder), pytest.raises(WorkdirError, match='in use'), locks.locked(folder):
    pass
  assert mine.read_text() == 'precious'


def test_a_pipe_does_not_make_it_wait(tmp_path):
  os.mkfifo(tmp_path / '.lock')
  with pytest.raises(files.FileError, match='it is a named pipe'), locks.locked(tmp_path):
    pass
