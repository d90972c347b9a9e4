"""Batches of one run in other folders: those of its shards, or of the whole, are taken over.

A run in one piece lies in a folder, and its shards in `shard-00000-of-00004` and so on below that.
All are cut from one plan, so what a shard has finished is finished for the whole, for other shards
of the run, and the other way round; only which part of the run a folder is differs between them.
"""

from __future__ import annotations

import contextlib
import pathlib
import re
from collections.abc import Collection, Sequence

from tetris_jax.runs import files, numbered, pieces, schema
from tetris_jax.runs import workdirs as results

__all__ = ['folders_of', 'take_over']

_SHARD = re.compile(r'shard-[0-9]{5}-of-[0-9]{5}')
# Of a picture, a map or a mask.
_MOST_BYTES = 2**30


def folders_of(whole: pathlib.Path) -> list[pathlib.Path]:
  """The folders of a run that are there, its own first; no link among those of shards.

  Args:
    whole: where the run in one piece lies, or would lie.
  """
  below = sorted(whole.glob('shard-*'))
  shards = [one for one in below if _SHARD.fullmatch(one.name) and not one.is_symlink()]
  return [one for one in (whole, *shards) if (one / 'config.json').exists()]


def _whole_of(folder: pathlib.Path) -> pathlib.Path:
  return folder.parent if _SHARD.fullmatch(folder.name) else folder


def take_over(
  workdir: results.Workdir,
  names: Sequence[str],
  wanted: Collection[int],
  kind: schema.Kind,
) -> list[str]:
  """Copies batches that other folders of the run have finished, with what lies beside their rows.

  Files come first, so where a batch is, the rest is too. Nothing is changed in the other folders,
  which may be in use.

  Args:
    workdir: of the run, or of a shard of it.
    names: of the instances of the data set as it is now, in order.
    wanted: batches, by number; those that have a shard here are left as they are.
    kind: of the program.

  Returns:
    What was taken over, and why other folders were not, a sentence each.

  Raises:
    results.WorkdirError: something cannot be read or written.
  """
  said = []
  for folder in folders_of(_whole_of(workdir.path)):
    left = [number for number in wanted if not workdir.shard_path(number).exists()]
    if not left:
      break
    if folder.resolve() == workdir.path.resolve():
      continue
    try:
      there = pieces.read_config(folder, kind)
    except results.WorkdirError as error:
      said.append(f'nothing is taken over from {folder}: {error}')
      continue
    if lines := results.difference(there, workdir.config, pieces.OF_ONE_RUN):
      said.append(f'nothing is taken over from {folder}, which is of another run: {lines[0]}')
      continue
    count = _taken(results.Workdir(folder, there), workdir, left, names, kind)
    if count:
      said.append(f'{count:,} finished batch{"es" * (count > 1)} taken over from {folder}')
  return said


def _taken(
  there: results.Workdir,
  here: results.Workdir,
  wanted: Collection[int],
  names: Sequence[str],
  kind: schema.Kind,
) -> int:
  """How many batches were copied."""
  held = sorted(set(there.shards()) & set(wanted))
  places = {name: position for position, name in enumerate(names)}
  beside = numbered.files_of([there.path / place.name for place in here.beside]) if held else {}
  count = 0
  for number in held:
    shard = None
    with contextlib.suppress(results.DamagedShardError):  # It is done anew, here or there.
      shard = there.read_shard(number, kind)
    if shard is None or not all(row['instance'] in places for row in shard.rows):
      continue
    for row in shard.rows:
      for file in beside.get(places[row['instance']], ()):
        _copy(file, here.path / file.parent.name / file.name, there.path)
    if not count:
      here.reopen()
    here.write_shard(number, shard)
    count += 1
  return count


def _copy(file: pathlib.Path, to: pathlib.Path, inside: pathlib.Path) -> None:
  try:
    content = files.read_regular(file, most_bytes=_MOST_BYTES, inside=inside)
  except files.FileError:  # As where it is missing: it is made again.
    return
  results.write_atomically(to, content)
