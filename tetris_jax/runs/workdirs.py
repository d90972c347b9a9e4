"""Rows on disk: one folder a run, written atomically, resumable, never merged with a gap.

A work folder holds

- `config.json`: its layout, what was asked and by which versions; written first, and again only
  where the data set has other instances than before;
- `instances.json`: names and sizes of all instances, in order;
- `results/00012.jsonl`: one shard a finished batch, see `tetris_jax.runs.shards`;
- `rows.jsonl`: all rows in data set order; `summary.json` and whatever a report adds, which say
  that the run has finished.

The batch is the unit of completion: a killed run redoes the batches that have no whole shard, and
since batches are cut from the full plan, its rows equal those of an undisturbed run byte for byte.
A shard that is written again, because something of its batch was mended, keeps its other rows.

The folder may be a link and come from anybody; no link in it is followed.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tetris_jax import documents
from tetris_jax.runs import files, locks, numbered, schema, shards
from tetris_jax.runs.identity import (
  OF_INSTANCES,
  below,
  check_layout,
  difference,
  digest,
  fingerprint,
)
from tetris_jax.runs.shards import DamagedShardError, Shard
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

_RESULTS = 'results'
_LEAST_FREE_BYTES = 16 * 2**20
# Of rows.jsonl, some ten kilobytes an instance, and of one row.
_MOST_BYTES, _LONGEST_LINE = 2**33, 2**26
# Of a document: instances.json of two million instances.
_MOST_OF_A_DOCUMENT = 2**28
_LEFT_BY_A_KILL = re.compile(r'\..+\.[0-9]+\.tmp', re.DOTALL)


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


def _document(path: pathlib.Path) -> Any:
  """A JSON document of a work folder.

  Raises:
    documents.DocumentError: it is none.
    files.FileError: it is not there, or no file.
  """
  return documents.parse(files.read_regular(path, most_bytes=_MOST_OF_A_DOCUMENT))


class Workdir:
  """An open work folder; `open_workdir` makes it and holds its lock.

  Attributes:
    path: the folder.
    config: of its run.
    beside: folders in it of what lies beside rows.
    restored: what was done because `config.json` was lost, a sentence; '' where it was not.
  """

  def __init__(
    self,
    path: pathlib.Path,
    config: Mapping[str, Any] | None = None,
    folders: Sequence[str] = (),
    restored: str = '',
  ):
    """Takes what `open_workdir` was given; a folder that nothing is resumed in needs its path only.

    Args:
      path: the folder.
      config: of its run.
      folders: in it.
      restored: see above.
    """
    self.path, self.restored = path, restored
    self.config = config or {}
    self._run = digest(config) if config else None
    self.beside = [path / name for name in folders if name != _RESULTS]

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
      there = _document(self.path / 'config.json')
      held = before = self._held()
      if before is None:
        same = not self.restored and there.get('instances') == fingerprint(instances)
        before = [*instances] if same else []
      if held != json.loads(json.dumps(instances)):
        self.reopen()
        for folder in self.beside:
          numbered.detach(folder, [name for name, _ in before], names)
        self.write_json('instances.json', {'instances': instances})
      if difference(there, self.config):
        self.write_json('config.json', self.config)
      for folder in self.beside:
        numbered.attach(folder, names)
    except (OSError, documents.DocumentError) as error:
      raise explained('use workdir', self.path, error) from error
    except files.FileError as error:
      raise WorkdirError(str(error)) from error
    return before

  def _held(self) -> list[Any] | None:
    """What `instances.json` says; None where it is damaged or not there."""
    try:
      found = _document(self.path / 'instances.json')['instances']
      return [[str(name), size] for name, size in found]
    except (files.FileError, ValueError, KeyError, TypeError):
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
    write_atomically(self.shard_path(batch), shards.as_bytes(shard, batch, self._run))

  def read_shard(self, batch: int, kind: schema.Kind = 'attack') -> Shard | None:
    """The rows of a finished batch, or None when it has not been finished.

    Args:
      batch: its number in the plan.
      kind: the program that wrote it.

    Raises:
      DamagedShardError: it is truncated or altered, holds what is no row, or is of another batch or
        another run; redo the batch.
      WorkdirError: it cannot be read.
    """
    path = self.shard_path(batch)
    try:
      header, rows = shards.read(path, kind, inside=self.path)
    except files.MissingFileError:
      return None
    except files.FileError as error:
      raise WorkdirError(f'{error}, or remove it, and its batch is done again') from error
    if header.batch != batch:
      raise DamagedShardError(f'{path} was written for batch {header.batch}')
    if header.run is not None and self._run is not None and header.run != self._run:
      raise DamagedShardError(f'{path} is of a run with another configuration')
    return Shard(rows, header.facts)

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


def _clear(folder: pathlib.Path) -> None:
  """Removes the half-written files that a killed run left, and nothing else."""
  for name in os.listdir(folder):
    place = folder / name
    if _LEFT_BY_A_KILL.fullmatch(name) and (place.is_symlink() or not place.is_dir()):
      place.unlink()


def _start(path: pathlib.Path, config: Mapping[str, Any]) -> str:
  """Checks the configuration of an earlier run, or begins a new one; returns what was restored."""
  file = path / 'config.json'
  try:
    there = _document(file)
  except files.MissingFileError:
    lost = ''
  except documents.DocumentError as error:
    lost = str(error)
  else:
    check_layout(path, there)
    lines = difference(there, config, OF_INSTANCES)
    if lines:
      raise WorkdirError(
        f'{path} holds a run with another configuration; give the same settings to resume it, '
        f'or use another workdir:{below(lines)}'
      )
    return ''
  told = _restored(Workdir(path), digest(config), lost)
  write_atomically(file, as_document(config))
  return told


def _restored(workdir: Workdir, run: str, lost: str) -> str:
  """What is said where shards know what `config.json` no longer says; '' where a run begins.

  Args:
    workdir: the folder.
    run: the digest that its shards must have.
    lost: what is wrong with `config.json`; '' where there is none.

  Raises:
    WorkdirError: it cannot be known that all there is belongs to this run.
  """
  path, numbers = workdir.path, workdir.shards()
  if not numbers and not lost:
    return ''
  why = f'{path / "config.json"} is not JSON ({lost})' if lost else f'{path} has no config.json'
  found: list[str | None] = []
  for number in numbers:
    with contextlib.suppress(DamagedShardError):  # The batch is done again, and that is said.
      found.append(shards.read_header(workdir.shard_path(number), inside=path).run)
  if not found or None in found:
    raise WorkdirError(
      f'{why}, and nothing in results/ says of which run it is; use another workdir'
    )
  if set(found) != {run}:
    raise WorkdirError(
      f'{why}, and what results/ holds is of a run with another configuration; give the settings '
      'that it was made with, or use another workdir'
    )
  return (
    f'{why}: it is written again, for {len(found)} finished batch{"es" * (len(found) > 1)} in '
    'results/ say that they are of this run'
  )


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
  whole = {'schema': schema.SCHEMA, **config}
  with contextlib.ExitStack() as held:
    try:
      path.mkdir(parents=True, exist_ok=True)
      for folder in folders:
        files.make_folder(path / folder)
      held.enter_context(locks.locked(path))
      free = shutil.disk_usage(path).free
      if free < _LEAST_FREE_BYTES:
        raise WorkdirError(
          f'{path}: {free / 2**20:.1f} MiB free, at least {_LEAST_FREE_BYTES // 2**20} needed'
        )
      for folder in ('.', *folders):
        _clear(path / folder)
      restored = _start(path, whole)
    except files.FileError as error:
      raise WorkdirError(f'workdir {path} cannot be used: {error}') from error
    except OSError as error:
      raise explained('use workdir', path, error) from error
    yield Workdir(path, whole, folders, restored)
