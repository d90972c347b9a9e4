"""A folder that is written whole or not at all: filled beside its place, then moved there."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import socket
import stat
from collections.abc import Iterator, Sequence

from tetris_jax.runs import files
from tetris_jax.runs.workdirs import WorkdirError

__all__ = ['check_apart', 'discard', 'staged']


# Folders that are being filled, each with what was made for it and is to be empty again.
_filled: list[tuple[pathlib.Path, list[pathlib.Path]]] = []
# Where runs keep what cannot be made again.
_OF_RUNS = ('results', 'maps', 'masks')


def check_apart(
  targets: Sequence[pathlib.Path], folders: Sequence[pathlib.Path], called: str
) -> None:
  """Refuses to write over work folders.

  Args:
    targets: folders that are to be written.
    folders: work folders that are read.
    called: how messages name the folder that was asked for.

  Raises:
    WorkdirError: a target is one of them, holds them as shards, is a folder of one of them, or is
      the work folder of another run.
  """
  taken = set()
  for folder in map(os.path.realpath, folders):
    taken |= {folder, *(os.path.join(folder, name) for name in ('figures', *_OF_RUNS))}
    if os.path.basename(folder).startswith('shard-'):
      taken.add(os.path.dirname(folder))
  for target in targets:
    own = any(os.path.lexists(target / name) for name in _OF_RUNS)
    if own or os.path.realpath(target) in taken:
      raise WorkdirError(f'{called} holds work folders; name another folder')


@contextlib.contextmanager
def staged(out: pathlib.Path, called: str) -> Iterator[pathlib.Path]:
  """An empty folder to fill, whose files take their places in `out` when the block ends well.

  Files of other names stay in `out`. It may be a link to a folder; links in it are not followed:
  one in the place of a file is replaced, one in the place of a folder refused before a file moves.
  Where the block raises, `out` is as it was, and absent if it was.

  Args:
    out: the folder.
    called: how messages name it.

  Raises:
    WorkdirError: it cannot be written.
  """
  parents: list[pathlib.Path] = []
  before = len(_filled)
  try:
    with _spoken(called):
      _check_place(out, called)
      # On the same file system, so that files are moved by renaming them.
      beside = out if out.is_dir() else out.parent
      parents += _made_folders(beside)
      _clear(beside)
      stage = beside / f'.{_host()}-{os.getpid()}.report'
      _filled.append((stage, parents))
      stage.mkdir()
    yield stage
    with _spoken(called):
      if beside == out:
        _move(stage, out)
      else:
        stage.rename(out)
  finally:
    _remove(_filled[before:] or [(None, parents)])
    del _filled[before:]


def discard() -> None:
  """Removes what is being filled, for a process that ends without leaving its blocks."""
  _remove(_filled)


def _remove(filled: Sequence[tuple[pathlib.Path | None, list[pathlib.Path]]]) -> None:
  for stage, parents in filled:
    if stage is not None:
      shutil.rmtree(stage, ignore_errors=True)
    for folder in reversed(parents):
      with contextlib.suppress(OSError):  # It is no longer empty, as it should be.
        folder.rmdir()


@contextlib.contextmanager
def _spoken(called: str) -> Iterator[None]:
  try:
    yield
  except files.FileError as error:
    raise WorkdirError(f'{called} cannot be written: {error}') from error
  except OSError as error:
    raise WorkdirError(f'{called} cannot be written: {error}') from error


def _check_place(out: pathlib.Path, called: str) -> None:
  if os.path.lexists(out) and not out.is_dir():
    what = 'leads nowhere' if out.is_symlink() else 'is a file'
    raise WorkdirError(f'{called} {what}; name a folder')


def _made_folders(folder: pathlib.Path) -> list[pathlib.Path]:
  """Makes a folder and those above it; returns the ones that were missing, the outermost first."""
  missing: list[pathlib.Path] = []
  while not folder.is_dir():
    missing.insert(0, folder)
    folder = folder.parent
  for one in missing:
    one.mkdir()
  return missing


def _host() -> str:
  return files.safe_name(socket.gethostname())


def _clear(folder: pathlib.Path) -> None:
  """Removes what reports of this machine left there that were killed."""
  for name in os.listdir(folder):
    left = re.fullmatch(rf'\.{re.escape(_host())}-([0-9]{{1,9}})\.report', name)
    if left and not _alive(int(left[1])) and not (folder / name).is_symlink():
      shutil.rmtree(folder / name, ignore_errors=True)


def _alive(process: int) -> bool:
  if process == os.getpid():
    return False
  if os.name != 'posix':  # Where asking would end it.
    return True
  try:
    os.kill(process, 0)
  except ProcessLookupError:
    return False
  except OSError:  # It is somebody else's.
    return True
  return True


def _move(stage: pathlib.Path, out: pathlib.Path) -> None:
  """Moves all files of one folder to their places in another; refuses before it moves the first."""
  found = sorted(stage.rglob('*'))
  moves = {path: out / path.relative_to(stage) for path in found if path.is_file()}
  folders = [out / path.relative_to(stage) for path in found if path.is_dir()]
  for folder in folders:
    if files.check_folder(folder) and not os.access(folder, os.W_OK | os.X_OK):
      raise PermissionError(f'no permission to write into {folder}')
  for place in moves.values():
    if os.path.lexists(place) and stat.S_ISDIR(os.lstat(place).st_mode):
      raise IsADirectoryError(f'{place} is a folder, expected a file')
  for folder in folders:
    folder.mkdir(exist_ok=True)
  for path, place in moves.items():
    os.replace(path, place)
