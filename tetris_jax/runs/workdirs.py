"""Rows on disk: one folder a run, written atomically, resumable, never merged with a gap.

A work folder holds

- `config.json`: its layout, what was asked and by which versions; written first, and again only
  where the data set has other instances than before;
- `instances.json`: names and sizes of all instances, in order;
- `results/00012.jsonl`: one shard a finished batch: a header line, its rows, a checksum line;
- `rows.jsonl`: all rows in data set order; `summary.json` and whatever a report adds, which say
  that the run has finished.

The batch is the unit of completion: a killed run redoes the batches that have no whole shard, and
since batches are cut from the full plan, its rows equal those of an undisturbed run byte for byte.
A shard that is written again, because something of its batch was mended, keeps its other rows.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import shutil
import socket
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tetris_jax import documents
from tetris_jax.runs import files, numbered, schema, typed
from tetris_jax.runs.writing import (
  WorkdirError,
  as_document,
  as_line,
  explained,
  write_atomically,
)

__all__ = [
  'DamagedShardError',
  'Shard',
  'Workdir',
  'WorkdirError',
  'check_layout',
  'difference',
  'fingerprint',
  'open_workdir',
  'read_rows',
  'write_atomically',
]

_NOT_COMPARED = ('versions.python', 'versions.numpy', 'devices.count')
# What follows from the instances, which may be mended between two calls.
_OF_INSTANCES = ('instances', 'users.clicks.left_out', 'users.clicks.repeated')
_RESULTS = 'results'
_LEAST_FREE_BYTES = 16 * 2**20
# Of rows.jsonl, some ten kilobytes an instance, and of one row.
_MOST_BYTES, _LONGEST_LINE = 2**33, 2**26


class DamagedShardError(Exception):
  """A shard is truncated or altered; its batch has to be redone."""


class Shard(NamedTuple):
  """What one batch left on disk.

  Attributes:
    rows: one dict an instance, in batch order.
    facts: what the run wants to remember of the batch and no row may hold, such as seconds.
  """

  rows: Sequence[Mapping[str, Any]]
  facts: schema.Facts


def read_rows(path: pathlib.Path | str, kind: schema.Kind = 'attack') -> list[dict[str, Any]]:
  """The rows of a `rows.jsonl`.

  Args:
    path: of the file.
    kind: the program that wrote it.

  Raises:
    WorkdirError: there is no such file, or a line is not a row of that program.
  """
  rows = []
  lines = files.read_lines(pathlib.Path(path), most_bytes=_MOST_BYTES, longest=_LONGEST_LINE)
  try:
    for number, line in enumerate(lines, 1):
      try:
        row = documents.parse(line.decode('utf-8-sig'))
        schema.check_row(row, kind)
      except UnicodeDecodeError as error:
        raise explained('read', pathlib.Path(path), error) from error
      except ValueError as error:
        raise WorkdirError(f'{path}, line {number}: not a row ({error})') from error
      rows.append(row)
  except files.FileError as error:
    raise WorkdirError(str(error)) from error
  return rows


def check_layout(folder: pathlib.Path | str, config: Any) -> None:
  """Refuses the work folder of another version of this package.

  Args:
    folder: whose it is.
    config: what its `config.json` holds.

  Raises:
    WorkdirError: it is of another layout; the message says what to do.
  """
  found = config.get('schema', 1) if isinstance(config, Mapping) else None
  if found == schema.SCHEMA:
    return
  if type(found) is not int:
    raise WorkdirError(f'{folder}: config.json tells no layout; use another workdir')
  age = 'an earlier' if found < schema.SCHEMA else 'a later'
  raise WorkdirError(
    f'{folder} was written by {age} version (layout {found}, this is {schema.SCHEMA}); run its '
    'command again in another workdir'
  )


def _flat(config: Any, prefix: str = '') -> dict[str, Any]:
  if not isinstance(config, Mapping):
    return {prefix: config}
  out: dict[str, Any] = {}
  for key, value in config.items():
    out.update(_flat(value, f'{prefix}.{key}' if prefix else str(key)))
  return out


def fingerprint(instances: Sequence[Any]) -> dict[str, Any]:
  """How many instances a run has, and the sha256 of their names and sizes.

  Args:
    instances: [name, [height, width] or None] of each, in order.
  """
  digest = hashlib.sha256()
  for name, size in instances:
    digest.update(f'{name!r} {size}\n'.encode('utf-8', 'surrogateescape'))
  return {'count': len(instances), 'sha256': digest.hexdigest()}


def difference(
  there: Mapping[str, Any], now: Mapping[str, Any], also_ignored: Sequence[str] = ()
) -> list[str]:
  """What differs between two configurations in anything that may change a row, one line each.

  Entries of "flags" are named without that word; Python's and NumPy's versions and the number of
  devices are recorded but not compared, and neither are the dotted keys of `also_ignored` and what
  stands below them.
  """
  old, new = _flat(json.loads(json.dumps(there))), _flat(json.loads(json.dumps(now)))
  ignored = (*_NOT_COMPARED, *also_ignored)
  below = tuple(f'{one}.' for one in ignored)
  lines = []
  for key in sorted(old.keys() | new.keys()):
    if key in ignored or key.startswith(below) or old.get(key) == new.get(key):
      continue
    name = key.removeprefix('flags.')
    lines.append(f'{name}: {old.get(key)!r} there, {new.get(key)!r} now')
  return lines


class Workdir:
  """An open work folder; `open_workdir` makes it and holds its lock.

  Attributes:
    path: the folder.
  """

  def __init__(
    self,
    path: pathlib.Path,
    config: Mapping[str, Any] | None = None,
    folders: Sequence[str] = (),
  ):
    """Takes what `open_workdir` was given; a folder that nothing is resumed in needs its path only.

    Args:
      path: the folder.
      config: of its run.
      folders: in it.
    """
    self.path = path
    self._config = config or {}
    self._beside = [path / name for name in folders if name != _RESULTS]

  def hold(self, instances: Sequence[Any]) -> list[Any]:
    """Makes these the instances of the run: whatever lies beside rows gets their positions.

    Args:
      instances: [name, [height, width] or None] of each, in order.

    Returns:
      Those that it held before.

    Raises:
      WorkdirError: something cannot be read or written.
    """
    names = [name for name, _ in instances]
    try:
      there = json.loads((self.path / 'config.json').read_text())
      held = before = self._held()
      if before is None:
        before = [*instances] if there.get('instances') == fingerprint(instances) else []
      if held != json.loads(json.dumps(instances)):
        self.reopen()
        for folder in self._beside:
          numbered.detach(folder, [name for name, _ in before], names)
        self.write_json('instances.json', {'instances': instances})
      if difference(there, self._config):
        self.write_json('config.json', self._config)
      for folder in self._beside:
        numbered.attach(folder, names)
    except OSError as error:
      raise explained('use workdir', self.path, error) from error
    return before

  def _held(self) -> list[Any] | None:
    """What `instances.json` says; None where it is damaged or not there."""
    try:
      found = json.loads((self.path / 'instances.json').read_text())['instances']
      return [[name, size] for name, size in found]
    except (OSError, ValueError, KeyError, TypeError):
      return None

  def reopen(self) -> None:
    """Takes back that the run has finished: its rows are about to change."""
    try:
      (self.path / 'summary.json').unlink(missing_ok=True)
    except OSError as error:
      raise explained('remove', self.path / 'summary.json', error) from error

  def shard_path(self, batch: int) -> pathlib.Path:
    """Where the rows of a batch lie."""
    return self.path / _RESULTS / f'{batch:05d}.jsonl'

  def shards(self) -> list[int]:
    """The numbers of the batches that have a shard, damaged or not, ascending."""
    found = (file.stem for file in (self.path / _RESULTS).glob('*.jsonl'))
    return sorted(int(stem) for stem in found if stem.isdecimal())

  def write_shard(self, batch: int, shard: Shard) -> None:
    """Marks a batch as finished. Raises WorkdirError when it cannot be written."""
    body = as_line({'batch': batch, 'rows': len(shard.rows), 'facts': shard.facts})
    body += b''.join(as_line(row) for row in shard.rows)
    body += as_line({'sha256': hashlib.sha256(body).hexdigest()})
    write_atomically(self.shard_path(batch), body)

  def read_shard(self, batch: int, kind: schema.Kind = 'attack') -> Shard | None:
    """The rows of a finished batch, or None when it has not been finished.

    Args:
      batch: its number in the plan.
      kind: the program that wrote it.

    Raises:
      DamagedShardError: it is truncated or altered, or holds what is no row; redo the batch.
      WorkdirError: it cannot be read.
    """
    path = self.shard_path(batch)
    try:
      data = path.read_bytes()
    except FileNotFoundError:
      return None
    except OSError as error:
      raise explained('read', path, error) from error
    lines = data.splitlines(keepends=True)
    body, end = b''.join(lines[:-1]), lines[-1] if lines else b''
    if end != as_line({'sha256': hashlib.sha256(body).hexdigest()}):
      raise DamagedShardError(f'{path}: truncated or altered, its checksum does not match')
    try:
      header, *rows = (json.loads(line) for line in lines[:-1])
      if header['batch'] != batch or header['rows'] != len(rows):
        raise DamagedShardError(f'{path} was written for batch {header["batch"]}')
      for row in rows:
        schema.check_row(row, kind)
      facts = header['facts']
      for complaint in typed.mismatches(facts, schema.Facts, 'facts'):
        raise ValueError(complaint)
    except (ValueError, KeyError, TypeError) as error:
      raise DamagedShardError(f'{path} is no shard: {error}') from error
    return Shard(rows, facts)

  def write_rows(self, order: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> list[Any]:
    """Merges rows into `rows.jsonl` in data set order and returns them so.

    Raises:
      WorkdirError: an instance has no row or two, or a row is of no instance.
    """
    by_name: dict[str, Mapping[str, Any]] = {}
    for row in rows:
      if row['instance'] in by_name:
        raise WorkdirError(f'instance {row["instance"]} has two rows')
      by_name[row['instance']] = row
    order = list(order)
    missing = [name for name in order if name not in by_name]
    if missing or len(order) != len(by_name):
      raise WorkdirError(
        f'{len(by_name)} rows for {len(order)} instances; without a row: {", ".join(missing[:5])}'
      )
    merged = [by_name[name] for name in order]
    write_atomically(self.path / 'rows.jsonl', b''.join(as_line(row) for row in merged))
    return merged

  def write_json(self, name: str, value: Mapping[str, Any]) -> None:
    """Writes a JSON file into the folder. Raises WorkdirError when it cannot be written."""
    write_atomically(self.path / name, as_document(value))


def _lock(path: pathlib.Path) -> int:
  """An open file whose lock dies with this process, so that a killed run blocks nobody."""
  import fcntl  # POSIX only, and only a run that writes needs it.

  file = os.open(path / '.lock', os.O_RDWR | os.O_CREAT, 0o644)
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    holder = os.read(file, 200).decode(errors='replace').strip() or 'another process'
    os.close(file)
    raise WorkdirError(
      f'{path} is in use by {holder}; wait for it to end or use another workdir'
    ) from None
  except OSError as error:
    if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
      raise
    warnings.warn(f'{path}: this file system has no locks; run one process at a time', stacklevel=4)
  os.ftruncate(file, 0)
  os.write(file, f'process {os.getpid()} on {socket.gethostname()}\n'.encode())
  return file


def _start(path: pathlib.Path, config: Mapping[str, Any], folders: Sequence[str]) -> None:
  """Checks the configuration of an earlier run, or begins a new one; clears what a kill left."""
  for folder in (path, *(path / name for name in folders)):
    for leftover in folder.glob('.*.tmp'):
      leftover.unlink()
  file = path / 'config.json'
  if file.exists():
    try:
      there = json.loads(file.read_text())
    except ValueError as error:
      raise WorkdirError(f'{file} is not JSON ({error}); use another workdir') from error
    check_layout(path, there)
    lines = difference(there, config, _OF_INSTANCES)
    if lines:
      listed = '\n  '.join(lines)
      raise WorkdirError(
        f'{path} holds a run with another configuration; give the same settings to resume it, '
        f'or use another workdir:\n  {listed}'
      )
    return
  if any((path / _RESULTS).glob('*.jsonl')):
    raise WorkdirError(f'{path} has results but no config.json; use another workdir')
  write_atomically(file, as_document(config))


@contextlib.contextmanager
def open_workdir(
  path: pathlib.Path | str,
  config: Mapping[str, Any],
  folders: Sequence[str] = (_RESULTS, 'figures'),
) -> Iterator[Workdir]:
  """Opens a work folder for writing: makes it, locks it, and begins or resumes its run.

  Args:
    path: the folder; made when missing.
    config: JSON-able, without "schema", which is put before it; see `difference` for what must
      agree with an earlier run. Its instances need not, see `Workdir.hold`.
    folders: made in it, with rows and with what lies beside them.

  Raises:
    WorkdirError: it cannot be written to, is nearly full, is in use by a living process, or holds
      a run with another configuration or of another version's layout.
  """
  path = pathlib.Path(path)
  if path.exists() and not path.is_dir():
    raise WorkdirError(f'workdir {path} is a file; name a folder')
  lock = None
  try:
    try:
      for folder in folders:
        (path / folder).mkdir(parents=True, exist_ok=True)
      lock = _lock(path)
      free = shutil.disk_usage(path).free
    except OSError as error:
      raise explained('use workdir', path, error) from error
    if free < _LEAST_FREE_BYTES:
      raise WorkdirError(
        f'{path}: {free / 2**20:.1f} MiB free, at least {_LEAST_FREE_BYTES // 2**20} needed'
      )
    whole = {'schema': schema.SCHEMA, **config}
    try:
      _start(path, whole, folders)
    except OSError as error:
      raise explained('use workdir', path, error) from error
    yield Workdir(path, whole, folders)
  finally:
    if lock is not None:
      os.close(lock)
