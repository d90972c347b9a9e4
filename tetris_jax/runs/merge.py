"""Finished work folders to runs: shards of one configuration become one, or are refused by name."""

from __future__ import annotations

import dataclasses
import glob
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from tetris_jax.runs import schema
from tetris_jax.runs import workdirs as results
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

_OWN = ('folder', 'tfds', 'coco', 'coco_panoptic')
_SHOWN = 5
_SPEED = ('device_seconds', 'compile_seconds', 'programs', 'evaluations_per_second')


def dataset_name(dataset: str, data_dir: str | None) -> str:
  """How a data set is called; one's own is named by the folder it lies in."""
  own = dataset in _OWN and data_dir
  return pathlib.PurePath(data_dir).name if own and data_dir else dataset


@dataclasses.dataclass(frozen=True)
class Piece:
  """A finished work folder: a whole run, or one shard of it.

  Attributes:
    folder: where it lies.
    config: of its `config.json`.
    instances: [name, [height, width] or None] of every instance of the whole run, in order.
    rows: its own.
    summary: of its `summary.json`, and of its `speed.json` where speed is kept apart.
  """

  folder: pathlib.Path
  config: Mapping[str, Any]
  instances: Sequence[Any]
  rows: Sequence[Mapping[str, Any]]
  summary: Mapping[str, Any]

  @property
  def shard(self) -> tuple[int, int]:
    """Its number and how many there are."""
    return self.config['shard']['id'], self.config['shard']['count']

  @property
  def program(self) -> str:
    """Of experiments, that made it."""
    return self.config.get('program', 'attack')

  @property
  def name(self) -> tuple[str, str, str]:
    """Model, data set and preset; one's own data set is named by the folder it lies in.

    Heat maps are of several presets, and have the program's name instead.
    """
    flags = self.config['flags']
    dataset = dataset_name(flags['dataset'], flags['data_dir'])
    preset = self.config['preset']['name'] if 'preset' in self.config else self.program
    return self.config['model']['name'], dataset, preset

  @property
  def totals(self) -> dict[str, float]:
    """What its batches took, as of `Run`; 0 where the program says nothing of speed."""
    told = {key: self.summary.get(key) or 0 for key in _SPEED}
    return {
      'seconds': told['device_seconds'],
      'compile_seconds': told['compile_seconds'],
      'programs': told['programs'],
      'evaluations': told['evaluations_per_second'] * told['device_seconds'],
    }


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


def find_workdirs(paths: Sequence[str], argument: str = 'workdirs') -> list[pathlib.Path]:
  """The work folders that are meant: each path one, or a folder of shards, or a pattern of them.

  Args:
    paths: as the caller was given them.
    argument: in which; for errors.

  Raises:
    WorkdirError: a path leads to none, or to one that another path has led to.
  """
  found: list[pathlib.Path] = []
  for path in paths:
    pattern = glob.has_magic(path) and not pathlib.Path(path).exists()
    places = sorted(glob.glob(path)) if pattern else [path]
    here = []
    for place in map(pathlib.Path, places):
      here += [place] if (place / 'config.json').is_file() else []
      here += sorted(config.parent for config in place.glob('shard-*/config.json'))
    if not here:
      raise WorkdirError(
        f'{argument}: {path} is no work folder and holds no shards (neither config.json nor '
        'shard-*/config.json is there)'
      )
    found += here
  seen: set[pathlib.Path] = set()
  for folder in found:
    if folder.resolve() in seen:
      raise WorkdirError(f'{argument} names {folder} twice')
    seen.add(folder.resolve())
  return found


def read_piece(folder: pathlib.Path, program: schema.Kind = 'attack') -> Piece:
  """Reads a work folder.

  Args:
    folder: where it lies.
    program: of experiments, that has to have made it.

  Raises:
    WorkdirError: it is of another program or of another version, has not finished, or a file of it
      is damaged.
  """
  try:
    config = json.loads((folder / 'config.json').read_text())
    results.check_layout(folder, config)
    found = config.get('program', 'attack')
    if found != program:
      raise WorkdirError(
        f'{folder} is a work folder of experiments.{found}; expected experiments.{program}'
      )
    if not (folder / 'summary.json').is_file():
      raise WorkdirError(f'{folder} has not finished; give its command again, then merge')
    instances = json.loads((folder / 'instances.json').read_text())['instances']
    summary = json.loads((folder / 'summary.json').read_text())
    if (folder / 'speed.json').is_file():
      summary |= json.loads((folder / 'speed.json').read_text())
    rows = results.read_rows(folder / 'rows.jsonl', program)
    piece = Piece(folder, config, instances, rows, summary)
    piece.shard, piece.name, piece.totals  # noqa: B018  Raises where a key is missing.
    same = results.fingerprint(instances) == config['instances']
  except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
    raise WorkdirError(
      f'{folder} is no work folder of experiments.{program}, or is damaged: '
      f'{type(error).__name__}: {error}'
    ) from error
  if not same:
    raise WorkdirError(f'{folder}: instances.json is not that of its config.json')
  return piece


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
      listed = '\n  '.join(lines)
      raise WorkdirError(
        f'{other.folder} and {piece.folder} mean different attacks by {preset["name"]!r}; run one '
        f'of them again ("there" is the former, "now" the latter):\n  {listed}'
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
      listed = '\n  '.join(lines)
      hint = ''
      if all(line.startswith('instances.') for line in lines):
        hint = ': the data set was mended in between; run the commands of both again'
      raise WorkdirError(
        f'{first.folder} and {piece.folder} are of different configurations and do not merge{hint} '
        f'("there" is the former, "now" the latter):\n  {listed}'
      )
  by_shard: dict[int, Piece] = {}
  for piece in pieces:
    number, count = piece.shard
    if number in by_shard:
      what = 'the whole run' if count == 1 else f'shard {number} of {count}'
      raise WorkdirError(f'{what} is in both {by_shard[number].folder} and {piece.folder}')
    by_shard[number] = piece
  count = first.shard[1]
  missing = [str(number) for number in range(count) if number not in by_shard]
  if missing:
    plural = 's' if len(missing) > 1 else ''
    raise WorkdirError(
      f'{"-".join(first.name)}: shard{plural} {", ".join(missing)} of {count} missing; found '
      + ', '.join(str(by_shard[number].folder) for number in sorted(by_shard))
    )
  ordered = [by_shard[number] for number in range(count)]
  model, dataset, preset = first.name
  config = {**ordered[0].config, 'shard': {'id': 0, 'count': 1}}
  totals = {key: sum(piece.totals[key] for piece in ordered) for key in first.totals}
  rows = _in_order(ordered)
  pictures = _maps(ordered) if first.program == 'heatmap' else _pictures(ordered)
  return Run(model, dataset, preset, config, first.instances, rows, totals, pictures)


def _in_order(pieces: Sequence[Piece]) -> list[Mapping[str, Any]]:
  """The rows of all shards in data set order, each instance exactly once."""
  owner: dict[str, Piece] = {}
  rows: dict[str, Mapping[str, Any]] = {}
  for piece in pieces:
    for row in piece.rows:
      name = row['instance']
      if name in rows:
        raise WorkdirError(f'{name} has a row in {owner[name].folder} and one in {piece.folder}')
      owner[name], rows[name] = piece, row
  order = [name for name, _ in pieces[0].instances]
  for what, names in (
    ('has no row in', [name for name in order if name not in rows]),
    ('is no instance of the run but has a row in', sorted(set(rows) - set(order))),
  ):
    if names:
      folders = ', '.join(str(piece.folder) for piece in pieces)
      more = f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''
      raise WorkdirError(f'{", ".join(names[:_SHOWN])}{more} {what} {folders}')
  return [rows[name] for name in order]


def _pictures(pieces: Sequence[Piece]) -> dict[str, pathlib.Path]:
  """Pictures by instance; their file names begin with the instance's position."""
  order = [name for name, _ in pieces[0].instances]
  found = {}
  for piece in pieces:
    for file in sorted((piece.folder / 'figures').glob('[0-9][0-9][0-9][0-9][0-9]*_*.png')):
      position = file.name.partition('_')[0]
      if position.isdecimal() and int(position) < len(order):
        found[order[int(position)]] = file
  return found


def _maps(pieces: Sequence[Piece]) -> dict[str, pathlib.Path]:
  """Pictures of heat maps by instance, as their rows name them.

  Raises:
    WorkdirError: one is missing.
  """
  found = {}
  for piece in pieces:
    for row in piece.rows:
      if row.get('picture'):
        found[row['instance']] = file = piece.folder / 'maps' / row['picture']
        if not file.is_file():
          raise WorkdirError(f"{file} is missing; give the run's command again")
  return found
