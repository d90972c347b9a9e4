"""Tests of archives: one member is read, hostile or damaged packages are refused."""

import hashlib
import io
import tarfile
import zipfile

import pytest

from ports.weights import archives
from ports.weights.errors import CheckpointError

DATA = b'weights' * 100


def write_tar(path, members):
  with tarfile.open(path, 'w:gz') as archive:
    for name, data in members.items():
      info = tarfile.TarInfo(name)
      if data is None:
        info.type, info.linkname = tarfile.SYMTYPE, '/etc/passwd'
        archive.addfile(info)
      else:
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
  return path


def write_zip(path, members):
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
    for name, data in members.items():
      archive.writestr(name, data)
  return path


WRITERS = [(write_tar, 'a.tgz'), (write_zip, 'a.whl')]


@pytest.mark.parametrize(('write', 'name'), WRITERS)
def test_one_member_is_read(tmp_path, write, name):
  path = write(tmp_path / name, {'package/a': DATA, 'package/b': b'x'})
  assert archives.read_member(path, 'package/a', len(DATA)) == DATA
  with pytest.raises(CheckpointError, match=f'{name} has no member package/c'):
    archives.read_member(path, 'package/c', 1)
  with pytest.raises(CheckpointError, match='package/a'):
    archives.read_member(path, 'package/a', len(DATA) - 1)


@pytest.mark.parametrize(('write', 'name'), WRITERS)
@pytest.mark.parametrize('evil', ['../evil', 'package/../../evil', '/evil', 'c:/evil'])
def test_members_that_point_outside_are_refused_by_name(tmp_path, write, name, evil):
  path = write(tmp_path / name, {evil: b'x', 'package/a': DATA})
  with pytest.raises(CheckpointError, match='points outside') as error:
    archives.read_member(path, 'package/a', len(DATA))
  assert evil in str(error.value)


def test_links_are_not_followed(tmp_path):
  path = write_tar(tmp_path / 'a.tgz', {'package/a': None})
  with pytest.raises(CheckpointError, match='link'):
    archives.read_member(path, 'package/a', len(DATA))


@pytest.mark.parametrize(('write', 'name'), WRITERS)
def test_truncated_archives_are_errors(tmp_path, write, name):
  noise = bytes(hashlib.sha256(bytes([i])).digest()[0] for i in range(250)) * 4
  data = write(tmp_path / name, {'package/a': noise, 'package/b': noise}).read_bytes()
  for length in (0, 10, len(data) // 4):
    (tmp_path / name).write_bytes(data[:length])
    with pytest.raises(CheckpointError, match=name):
      archives.read_member(tmp_path / name, 'package/a', len(noise))


def test_a_member_that_is_there_twice_is_refused(tmp_path):
  path = tmp_path / 'a.tgz'
  with tarfile.open(path, 'w:gz') as archive:
    for data in (DATA, DATA[::-1]):
      info = tarfile.TarInfo('package/a')
      info.size = len(data)
      archive.addfile(info, io.BytesIO(data))
  with pytest.raises(CheckpointError, match='twice there'):
    archives.read_member(path, 'package/a', len(DATA))


@pytest.mark.parametrize('name', ['a', 'a/b.c', 'a..b/c', './a', 'a/C:b'])
def test_names_inside_the_archive_are_harmless(name):
  archives.check_member_name(name)


@pytest.mark.parametrize('name', ['', '/a', '..', 'a/..', 'a\\..\\b', '\\a', 'C:a', 'a\0b'])
def test_names_that_lead_out_of_it_are_not(name):
  with pytest.raises(CheckpointError, match='points outside'):
    archives.check_member_name(name)
