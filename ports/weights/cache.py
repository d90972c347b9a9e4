"""Converted parameters on disk: an Orbax checkpoint and what it was made from, written whole."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ports.weights.errors import CheckpointError
from tetris_jax import documents, regular

__all__ = ['cache_dir', 'check_writable', 'digest', 'quiet_orbax', 'restore', 'save']

_RECORD = 'record.json'
_PARAMS = 'params'
# Orbax holds what it writes or reads several times over. A tree of more bytes is written in parts:
# ViT-H, 2.6 GB, in one took 4 GB beside the parameters themselves.
_PART_BYTES = 256 << 20


def cache_dir() -> pathlib.Path:
  """$TETRIS_CACHE, or tetris_jax in the user's cache folder ($XDG_CACHE_HOME, ~/.cache)."""
  chosen = os.environ.get('TETRIS_CACHE')
  if chosen:
    return pathlib.Path(chosen).expanduser().absolute()
  base = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
  return pathlib.Path(base).expanduser().absolute() / 'tetris_jax'


def digest(params: Mapping[str, np.ndarray]) -> str:
  """sha256 over names, dtypes, shapes and bytes of a flat tree, in whatever order it is."""
  found = hashlib.sha256()
  for name in sorted(params):
    array = params[name]
    found.update(f'{name} {array.dtype} {array.shape}\n'.encode())
    found.update(np.ascontiguousarray(array).data)
  return found.hexdigest()


def _leaves(params: Mapping[str, np.ndarray]) -> dict[str, list[Any]]:
  return {name: [str(array.dtype), *array.shape] for name, array in params.items()}


def _parts(params: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
  """The tree in parts of at most `_PART_BYTES`, or of one leaf; at least one part."""
  parts: list[dict[str, np.ndarray]] = [{}]
  left = _PART_BYTES
  for name, array in params.items():
    if parts[-1] and array.nbytes > left:
      parts.append({})
      left = _PART_BYTES
    parts[-1][name] = array
    left -= array.nbytes
  return parts


def _part_name(number: int) -> str:
  """Of a part's folder; a tree in one part lies where all did before there were parts."""
  return f'{_PARAMS}-{number}' if number else _PARAMS


@contextlib.contextmanager
def quiet_orbax() -> Iterator[None]:
  """Keeps Orbax's dozen lines per checkpoint out of a program's log."""
  from absl import logging

  before = logging.get_verbosity()
  logging.set_verbosity(min(before, logging.WARNING))
  try:
    yield
  finally:
    logging.set_verbosity(before)


def _unwritable(folder: pathlib.Path, error: Exception | str, megabytes: float) -> CheckpointError:
  return CheckpointError(
    f'cannot write the cache {folder}: {error}. It needs about {megabytes:.0f} MB; free some '
    'space or set TETRIS_CACHE to another folder'
  )


def check_writable(folder: pathlib.Path, num_bytes: int) -> None:
  """Raises CheckpointError, naming TETRIS_CACHE, where `save` could not put `folder`.

  Args:
    folder: that will be written; its parents are made.
    num_bytes: that it will take.
  """
  parent = folder.parent
  try:
    parent.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=parent).close()
    free = shutil.disk_usage(parent).free
  except OSError as error:
    raise _unwritable(parent, error, num_bytes / 1e6) from error
  if free < num_bytes:
    raise _unwritable(parent, f'only {free / 1e6:.0f} MB are free', num_bytes / 1e6)


def save(
  folder: pathlib.Path,
  params: Mapping[str, np.ndarray],
  record: Mapping[str, Any],
  *,
  replace: bool = False,
) -> None:
  """Writes `params` and `record` as `folder`, whole or not at all.

  Written beside its place and renamed. Where another process has put the same folder there
  meanwhile, its copy stays: a folder's name says what it was made from.

  Args:
    folder: absolute.
    params: flat tree.
    record: JSON values; names, dtypes, shapes and a digest of the arrays are added.
    replace: removes what is there already, which is kept otherwise.

  Raises:
    CheckpointError: the cache cannot be written; names TETRIS_CACHE.
  """
  import orbax.checkpoint as ocp

  temporary = None
  try:
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = pathlib.Path(tempfile.mkdtemp(prefix=f'.{folder.name}-', dir=folder.parent))
    new = temporary / 'new'
    new.mkdir()
    parts = _parts(params)
    with quiet_orbax(), ocp.StandardCheckpointer() as checkpointer:
      for number, part in enumerate(parts):
        checkpointer.save(new / _part_name(number), part)
        checkpointer.wait_until_finished()
    full = {**record, 'leaves': _leaves(params), 'digest': digest(params)}
    if len(parts) > 1:
      full['parts'] = len(parts)
    (new / _RECORD).write_text(json.dumps(full, indent=1))
    if replace:
      with contextlib.suppress(FileNotFoundError):
        folder.rename(temporary / 'old')
    try:
      new.rename(folder)
    except OSError:
      if not (folder / _RECORD).exists():
        raise
  except Exception as error:
    # the storage behind Orbax raises many types for a full or read-only disk
    megabytes = sum(array.nbytes for array in params.values()) / 1e6
    raise _unwritable(folder.parent, error, megabytes) from error
  finally:
    if temporary is not None:
      shutil.rmtree(temporary, ignore_errors=True)


def restore(folder: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
  """(params, record) of what `save` wrote; names, shapes, dtypes and bytes are compared.

  Raises:
    CheckpointError: anything is missing or differs; says which folder to delete.
  """
  import orbax.checkpoint as ocp

  def damaged(found: str) -> CheckpointError:
    return CheckpointError(
      f'damaged cache {folder}: {found}. Delete this folder, or load the model with force=True'
    )

  try:
    record = documents.parse(regular.read(folder / _RECORD))
    leaves, written = record['leaves'], record['digest']
    if not isinstance(record, dict) or not isinstance(leaves, dict):
      raise TypeError('the record is no table of leaves')
    params: dict[str, np.ndarray] = {}
    with quiet_orbax(), ocp.StandardCheckpointer() as checkpointer:
      for number in range(record.get('parts', 1)):
        restored = checkpointer.restore(folder / _part_name(number))
        params |= {name: np.asarray(array) for name, array in restored.items()}
  except Exception as error:
    # the storage behind Orbax raises many types for damaged files
    first = (str(error).splitlines() or [''])[0][:200]
    raise damaged(f'{type(error).__name__}: {first}') from error
  found = _leaves(params)
  for name in sorted(set(leaves) | set(found)):
    if leaves.get(name) != found.get(name):
      was = str(leaves.get(name))[:80]
      raise damaged(f'{name[:80]} is {found.get(name)}, was {was} when written')
  if digest(params) != written:
    raise damaged('the arrays are not those that were written')
  return params, record
