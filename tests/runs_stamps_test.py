"""Stamps of files: what counts as changed, and that nothing is read without need or twice."""

import hashlib
import os
import shutil

from tetris_jax.runs import stamps


def put(path, content, mtime=None):
  path.write_bytes(content)
  if mtime is not None:
    os.utime(path, ns=(mtime, mtime))
  return path


def test_a_stamp_says_how_a_file_is(tmp_path):
  path = put(tmp_path / 'a.png', b'abc', 1_000)
  assert stamps.Stamps().of(path) == {
    'name': 'a.png', 'size': 3, 'mtime_ns': 1_000, 'sha256': hashlib.sha256(b'abc').hexdigest(),
  }  # fmt: skip


def test_what_differs_in_its_content_alone_is_another_file(tmp_path):
  path = put(tmp_path / 'a.png', b'abc', 1_000)
  then = stamps.Stamps().of(path)
  same = lambda: stamps.Stamps().same(path, then)
  assert same()
  os.utime(path)
  assert same()  # Touched, or copied.
  put(path, b'abd', 2_000)
  assert not same()
  put(path, b'abcd', 1_000)
  assert not same()
  put(path, b'abc')
  assert same()  # And back.
  moved = tmp_path / 'copy' / 'a.png'
  moved.parent.mkdir()
  shutil.copy(path, moved)
  assert stamps.Stamps().same(moved, then)
  path.rename(tmp_path / 'b.png')
  assert not stamps.Stamps().same(tmp_path / 'b.png', then)


def test_what_is_missing_or_unreadable_has_a_stamp_that_says_so(tmp_path):
  path = tmp_path / 'a.png'
  then = stamps.Stamps().of(path)
  assert then == {'name': 'a.png', 'size': None, 'mtime_ns': None, 'sha256': None}
  assert stamps.Stamps().same(path, then)
  put(path, b'')
  assert not stamps.Stamps().same(path, then)
  there = stamps.Stamps().of(path)
  path.unlink()
  assert not stamps.Stamps().same(path, there)
  # Neither a folder nor a pipe, which would wait for ever, has a sum.
  path.mkdir()
  os.mkfifo(tmp_path / 'pipe')
  for odd in (path, tmp_path / 'pipe'):
    then = stamps.Stamps().of(odd)
    assert then['size'] is not None and then['sha256'] is None
    assert stamps.Stamps().same(odd, then)
    os.utime(odd, ns=(5, 5))
    assert not stamps.Stamps().same(odd, then)


def test_a_content_is_read_only_where_it_has_to_be_and_once(tmp_path, monkeypatch):
  path, read = put(tmp_path / 'a.png', b'abc', 1_000), []
  whole = stamps._sha256
  monkeypatch.setattr(stamps, '_sha256', lambda path: (read.append(path.name), whole(path))[1])
  one = stamps.Stamps()
  then = one.of(path)
  assert one.of(path) == then and read == ['a.png']
  other = stamps.Stamps()
  assert other.same(path, then) and len(read) == 1
  os.utime(path, ns=(2_000, 2_000))
  assert other.same(path, then) and other.same(path, then) and len(read) == 2
  put(path, b'abcd')
  assert not other.same(path, then) and len(read) == 2  # Another size is another file.
