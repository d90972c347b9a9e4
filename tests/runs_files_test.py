"""Files of work folders: no link is followed, nothing hangs, and names are names."""

import os
import socket

import pytest

from tetris_jax.runs import files


def read(path, most=100, inside=None):
  return files.read_regular(path, most_bytes=most, inside=inside)


def lines(path, most=100, longest=10):
  return list(files.read_lines(path, most_bytes=most, longest=longest))


def test_a_file_is_read_whole_and_by_lines(tmp_path):
  file = tmp_path / 'a'
  file.write_bytes(b'one\n\ntwo\r\nend')
  assert read(file) == b'one\n\ntwo\r\nend'
  assert lines(file) == [b'one\n', b'\n', b'two\r\n', b'end']
  file.write_bytes(b'')
  assert read(file) == b'' and lines(file) == []


def test_bounds_are_checked_before_anything_is_read(tmp_path):
  file = tmp_path / 'a'
  with open(file, 'wb') as made:
    made.truncate(10**12)  # Of which nothing lies on the disk.
  for one in (read, lines):
    with pytest.raises(files.FileError, match='it has 1000000000000 bytes, at most 100 are read'):
      one(file)
  file.write_bytes(b'short\n' + b'x' * 11)
  with pytest.raises(files.FileError, match='line 2 has more than 10 bytes'):
    lines(file)
  file.write_bytes(b'x' * 10)
  assert lines(file) == [b'x' * 10]


def test_what_is_not_there_is_told_apart(tmp_path):
  (tmp_path / 'file').write_text('')
  for path in (tmp_path / 'none', tmp_path / 'none' / 'a', tmp_path / 'file' / 'a'):
    with pytest.raises(files.MissingFileError, match='cannot read'):
      read(path)


def test_only_regular_files_are_opened(tmp_path):
  os.mkfifo(tmp_path / 'pipe')  # Opening it would wait for a writer.
  there = os.getcwd()
  with socket.socket(socket.AF_UNIX) as made:
    os.chdir(tmp_path)  # Paths of sockets are short.
    made.bind('socket')
    os.chdir(there)
  (tmp_path / 'folder').mkdir()
  (tmp_path / 'real').write_text('x')
  (tmp_path / 'link').symlink_to('real')
  (tmp_path / 'lost').symlink_to('nothing')
  for name, said in (
    ('pipe', 'a named pipe, expected a file'),
    ('socket', 'a socket, expected a file'),
    ('folder', 'a folder, expected a file'),
    ('link', 'a link; put the file itself in its place'),
    ('lost', 'a link; put the file itself in its place'),
  ):
    for one in (read, lines):
      with pytest.raises(files.FileError, match=said) as error:
        one(tmp_path / name)
      assert name in str(error.value)
  with pytest.raises(files.FileError, match='a device, expected a file'):
    read(type(tmp_path)('/dev/zero'))


def test_links_on_the_way_are_followed_above_the_folder_alone(tmp_path):
  (tmp_path / 'real' / 'figures').mkdir(parents=True)
  (tmp_path / 'real' / 'figures' / 'a').write_text('x')
  (tmp_path / 'work').symlink_to('real')
  work = tmp_path / 'work'
  assert read(work / 'figures' / 'a', inside=work) == b'x'
  (work / 'more').symlink_to('figures')
  with pytest.raises(files.FileError, match='more: it is a link, and none in a work folder'):
    read(work / 'more' / 'a', inside=work)


def test_folders_are_real(tmp_path):
  (tmp_path / 'real').mkdir()
  (tmp_path / 'link').symlink_to('real')
  (tmp_path / 'file').write_text('')
  assert files.check_folder(tmp_path / 'real')
  assert not files.check_folder(tmp_path / 'none')
  assert not files.check_folder(tmp_path / 'file' / 'x')
  for name, said in (('link', 'it is a link'), ('file', 'it is a file, expected a folder')):
    with pytest.raises(files.FileError, match=said):
      files.check_folder(tmp_path / name)


@pytest.mark.parametrize(
  'name',
  ['mobile_sam-davis_dev-strong_v1', 'gaussian_0.05', 'a b (2)', '日本語', 'a..b', '-x',
   'caf\udce9', "it's $5 & more", 'क्‍ष'],
)  # fmt: skip
def test_ordinary_names_stay_as_they_are(name):
  assert files.safe_name(name) == name


@pytest.mark.parametrize(
  ('text', 'name'),
  [
    ('../../escaped/x', '___.._escaped_x'),
    ('/etc/passwd', '_etc_passwd'),
    ('C:\\x', 'C:_x'),
    ('..', '__'),
    ('.hidden', '_hidden'),
    ('', '_'),
    ('a\nb\0c\x1b[2J\u2028', 'a_b_c_[2J_'),
    ('a\ud800b', 'a_b'),
    ('gnp\u202e', 'gnp_'),
  ],
)
def test_odd_names_become_one_component(text, name):
  assert files.safe_name(text) == name


def test_long_names_are_cut_and_stay_apart():
  one, other = files.safe_name('é' * 500), files.safe_name('é' * 501)
  assert one != other and one.startswith('é' * 90)
  assert len(one.encode()) <= 200 and files.safe_name(one) == one


def test_names_that_would_clash_are_numbered():
  assert files.distinct_names(['a/b', 'a_b', 'a\\b', 'x']) == ['a_b-2', 'a_b', 'a_b-3', 'x']
  assert files.distinct_names(['x', 'x']) == ['x', 'x-2']
  assert files.distinct_names([]) == []
