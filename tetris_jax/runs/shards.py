"""A batch on disk: a header line, its rows, and a checksum line that tells whether it is whole.

The header says of which configuration the rows are, so that a shard is known for one of its run
also where the folder's `config.json` is lost, and one of another run never enters.
"""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tetris_jax import documents
from tetris_jax.runs import files, schema, typed
from tetris_jax.runs.writing import as_line

__all__ = ['DamagedShardError', 'Header', 'Shard', 'as_bytes', 'read', 'read_header']

# Rows have some ten kilobytes.
_MOST_BYTES = 2**28


class DamagedShardError(Exception):
  """A shard is truncated or altered; its batch has to be redone."""


class Header(NamedTuple):
  """What a shard says of itself.

  Attributes:
    batch: its number in the plan.
    run: the digest of the configuration; None of earlier versions, which did not say.
    facts: what the run wants to remember of the batch and no row may hold, such as seconds.
  """

  batch: int
  run: str | None
  facts: schema.Facts


class Shard(NamedTuple):
  """What one batch left on disk.

  Attributes:
    rows: one dict an instance, in batch order.
    facts: as of `Header`.
  """

  rows: Sequence[Mapping[str, Any]]
  facts: schema.Facts


def as_bytes(shard: Shard, batch: int, run: str | None = None) -> bytes:
  """The file of a shard; see `Header` for what is said of it."""
  named = {} if run is None else {'run': run}
  body = as_line({'batch': batch, 'rows': len(shard.rows), **named, 'facts': shard.facts})
  body += b''.join(as_line(row) for row in shard.rows)
  return body + as_line({'sha256': hashlib.sha256(body).hexdigest()})


def read(
  path: pathlib.Path, kind: schema.Kind, *, inside: pathlib.Path
) -> tuple[Header, list[dict[str, Any]]]:
  """What a shard says of itself, and its rows.

  Args:
    path: of the file.
    kind: the program that wrote it.
    inside: its work folder.

  Raises:
    DamagedShardError: it is truncated or altered, or holds what is no row.
    files.FileError: it cannot be read, or is none.
  """
  first, *others = _lines(path, inside)
  try:
    header = _header(documents.parse(first), len(others))
    rows = [documents.parse(line) for line in others]
    for row in rows:
      schema.check_row(row, kind)
  except ValueError as error:
    raise DamagedShardError(f'{path} is no shard: {error}') from error
  return header, rows


def read_header(path: pathlib.Path, *, inside: pathlib.Path) -> Header:
  """What a shard says of itself; arguments and errors as of `read`."""
  first, *others = _lines(path, inside)
  try:
    return _header(documents.parse(first), len(others))
  except ValueError as error:
    raise DamagedShardError(f'{path} is no shard: {error}') from error


def _lines(path: pathlib.Path, inside: pathlib.Path) -> list[bytes]:
  """The lines of a whole shard but for its checksum, the header first."""
  data = files.read_regular(path, most_bytes=_MOST_BYTES, inside=inside)
  # Git may have converted the ends of lines.
  lines = data.replace(b'\r\n', b'\n').splitlines(keepends=True)
  body, end = b''.join(lines[:-1]), lines[-1] if lines else b''
  if not body or end != as_line({'sha256': hashlib.sha256(body).hexdigest()}):
    raise DamagedShardError(f'{path}: truncated or altered, its checksum does not match')
  return lines[:-1]


def _header(held: Any, count: int) -> Header:
  """The header in a first line; raises ValueError for what is none."""
  if not isinstance(held, Mapping):
    raise ValueError('it begins with no header')
  batch, run = held.get('batch'), held.get('run')
  if type(batch) is not int or not (run is None or isinstance(run, str)):
    raise ValueError('its header does not say of which batch it is')
  if held.get('rows') != count:
    raise ValueError(f'it has {count} rows, its header says {typed.shown(held.get("rows"))}')
  facts: Any = held.get('facts')
  for complaint in typed.mismatches(facts, schema.Facts, 'facts'):
    raise ValueError(complaint)
  made_of = facts.get('made_of')
  if made_of is not None and len(made_of) != count:
    raise ValueError(f'facts.made_of has {len(made_of)} entries for {count} rows')
  return Header(batch, run, facts)
