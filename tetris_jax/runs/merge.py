"""Finished work folders to runs: shards of one configuration become one, or are refused by name."""

from __future__ import annotations

import dataclasses
import itertools
import os
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tetris_jax.runs import configs, files, identity, schema
from tetris_jax.runs import workdirs as results
from tetris_jax.runs.pieces import Piece, dataset_name, find_workdirs, read_piece
from tetris_jax.runs.typed import shown, told
from tetris_jax.runs.workdirs import WorkdirError

__all__ = [
  'MAY_DIFFER',
  'Piece',
  'Run',
  'collect',
  'dataset_name',
  'find_workdirs',
  'merge',
  'read_piece',
  'read_run',
]

MAY_DIFFER = ('shard.id', 'flags.data_dir', 'flags.weights')
"""Where a data set or a checkpoint lies differs between machines; fingerprint and sha256 are
compared as well and tell whether it is the same."""

_SHOWN, _MOST_SHARDS = 5, 20
# As a run names them; other files in its figures/ are none of its own.
_PICTURE = re.compile(r'([0-9]{5,9})_[A-Za-z0-9._-]*\.png')


@dataclasses.dataclass(frozen=True)
class Run:
  """A whole run.

  Attributes:
    model: its name.
    dataset: its name.
    preset: its name; the program's of heat maps.
    config: that of its first shard, as if it had been run in one piece.
    instances: as in `Piece`.
    rows: of all instances in data set order.
    totals: "seconds", "compile_seconds", "programs" and "evaluations" of all shards.
    pictures: path of an instance's picture, by name, where it was drawn.
  """

  model: str
  dataset: str
  preset: str
  config: Mapping[str, Any]
  instances: Sequence[Any]
  rows: Sequence[Mapping[str, Any]]
  totals: Mapping[str, float]
  pictures: Mapping[str, pathlib.Path]

  @property
  def name(self) -> str:
    """As work folders are named."""
    return f'{self.model}-{self.dataset}-{self.preset}'


def collect(
  folders: Sequence[pathlib.Path], program: schema.Kind = 'attack'
) -> list[Run]:
  """Whole runs of the work folders, ordered by data set, model and preset.

  Args:
    folders: of one program of experiments.
    program: its name.

  Raises:
    WorkdirError: see `read_piece` and `merge`; or one preset's name stands for different attacks.
  """
  groups: dict[tuple[str, str, str], list[Piece]] = {}
  for folder in folders:
    piece = read_piece(folder, program)
    groups.setdefault(piece.name, []).append(piece)
  _check_presets([pieces[0] for pieces in groups.values()])
  runs = [merge(pieces) for pieces in groups.values()]
  return sorted(runs, key=lambda run: (run.dataset, run.model, run.preset))


def read_run(path: str, program: schema.Kind, argument: str = 'workdirs') -> Run:
  """The one whole run that a path leads to.

  Args:
    path: of a work folder, or of one that holds all its shards.
    program: of experiments, that made it.
    argument: in which the path was given; for errors.

  Raises:
    WorkdirError: see `find_workdirs`, `read_piece` and `merge`.
  """
  return merge([read_piece(folder, program) for folder in find_workdirs([path], argument)])


def _check_presets(pieces: Sequence[Piece]) -> None:
  """Numbers of one name must compare, whatever the model and the data set."""
  first: dict[str, Piece] = {}
  for piece in pieces:
    preset = piece.config['preset']
    other = first.setdefault(preset['name'], piece)
    lines = results.difference(other.config['preset'], preset, ('num_clicks',))
    if lines:
      raise WorkdirError(
        f'{other.folder} and {piece.folder} mean different attacks by {shown(preset["name"])}; run '
        f'one of them again ("there" is the former, "now" the latter):{identity.below(lines)}'
      )


def merge(pieces: Sequence[Piece]) -> Run:
  """One run of all its shards.

  Raises:
    WorkdirError: they are of several configurations, a shard is missing or there twice, or an
      instance has no row or two; the message names what and in which folders.
  """
  first = pieces[0]
  for piece in pieces[1:]:
    lines = results.difference(first.config, piece.config, MAY_DIFFER)
    if lines:
      hint = ''
      if all(line.startswith('instances.') for line in lines):
        hint = ': the data set was mended in between; run the commands of both again'
      raise WorkdirError(
        f'{first.folder} and {piece.folder} are of different configurations and do not merge{hint} '
        f'("there" is the former, "now" the latter):{identity.below(lines)}'
      )
  by_shard: dict[int, Piece] = {}
  for piece in pieces:
    number, count = piece.shard
    if number in by_shard:
      what = 'the whole run' if count == 1 else f'shard {number} of {count}'
      raise WorkdirError(f'{what} is in both {by_shard[number].folder} and {piece.folder}')
    by_shard[number] = piece
  count = first.shard[1]
  if missing := count - len(by_shard):
    absent = (str(number) for number in range(count) if number not in by_shard)
    raise WorkdirError(
      f'{told("-".join(first.name))}: shard{"s" if missing > 1 else ""} '
      f'{_some(absent, missing, _MOST_SHARDS)} of {count} missing; found '
      + ', '.join(str(by_shard[number].folder) for number in sorted(by_shard))
    )
  ordered = [by_shard[number] for number in range(count)]
  model, dataset, preset = first.name
  config = {**ordered[0].config, 'shard': {'id': 0, 'count': 1}}
  totals = {key: sum(piece.totals[key] for piece in ordered) for key in first.totals}
  rows = _in_order(ordered)
  _check_alike(ordered)
  pictures = _maps(ordered) if first.program == 'heatmap' else _pictures(ordered)
  return Run(model, dataset, preset, config, first.instances, rows, totals, pictures)


def _some(names: Iterable[str], count: int, most: int = _SHOWN) -> str:
  """The first of so many names, and how many more there are."""
  more = f' and {count - most} more' if count > most else ''
  return f'{", ".join(itertools.islice(names, most))}{more}'


def _check_alike(pieces: Sequence[Piece]) -> None:
  """Rows with numbers must be of one attack: as many clicks, the same modes, levels and walks."""
  program = pieces[0].program
  ok = [(piece, row) for piece in pieces for row in piece.rows if row['status'] == 'ok']
  for piece, row in ok:
    for complaint in configs.unlike(row, ok[0][1], piece.config, program):
      raise WorkdirError(f'{piece.folder}: instance {shown(row["instance"])}: {complaint}')


def _in_order(pieces: Sequence[Piece]) -> list[Mapping[str, Any]]:
  """The rows of all shards in data set order, each instance exactly once."""
  owner: dict[str, Piece] = {}
  rows: dict[str, Mapping[str, Any]] = {}
  for piece in pieces:
    for row in piece.rows:
      name = row['instance']
      if name in rows:
        raise WorkdirError(
          f'{told(name)} has a row in {owner[name].folder} and one in {piece.folder}'
        )
      owner[name], rows[name] = piece, row
  order = [name for name, _ in pieces[0].instances]
  listed: set[str] = set()
  for name in order:
    if name in listed:
      raise WorkdirError(f'{pieces[0].folder}: instances.json lists {told(name)} twice')
    listed.add(name)
  for what, names in (
    ('has no row in', [name for name in order if name not in rows]),
    ('is no instance of the run but has a row in', sorted(set(rows) - set(order))),
  ):
    if names:
      folders = ', '.join(str(piece.folder) for piece in pieces)
      raise WorkdirError(f'{_some(map(told, names), len(names))} {what} {folders}')
  return [rows[name] for name in order]


def _pictures(pieces: Sequence[Piece]) -> dict[str, pathlib.Path]:
  """Pictures by instance; their file names begin with the instance's position.

  Raises:
    WorkdirError: figures/ is a link, or no folder.
  """
  order = [name for name, _ in pieces[0].instances]
  found = {}
  for piece in pieces:
    folder = piece.folder / 'figures'
    for file in sorted(os.listdir(folder)) if _is_there(folder) else ():
      named = _PICTURE.fullmatch(file)
      if named and int(named[1]) < len(order):
        found[order[int(named[1])]] = folder / file
  return found


def _is_there(folder: pathlib.Path) -> bool:
  """Whether a folder inside a work folder is there; raises WorkdirError as `files.check_folder`."""
  try:
    return files.check_folder(folder)
  except files.FileError as error:
    raise WorkdirError(str(error)) from error


def _maps(pieces: Sequence[Piece]) -> dict[str, pathlib.Path]:
  """Pictures of heat maps by instance, as their rows name them.

  Raises:
    WorkdirError: one is missing, or maps/ is a link.
  """
  found = {}
  for piece in pieces:
    _is_there(piece.folder / 'maps')
    for row in piece.rows:
      if row.get('picture'):
        found[row['instance']] = file = piece.folder / 'maps' / row['picture']
        if not os.path.lexists(file):
          raise WorkdirError(f"{file} is missing; give the run's command again")
  return found
