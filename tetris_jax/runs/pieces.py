"""Work folders as they were handed over: found, read, and checked before they are used."""

from __future__ import annotations

import dataclasses
import glob
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tetris_jax import documents
from tetris_jax.runs import configs, files, schema, shards
from tetris_jax.runs import workdirs as results
from tetris_jax.runs.typed import shown, told
from tetris_jax.runs.workdirs import WorkdirError

__all__ = [
  'MOST_BYTES',
  'OF_ONE_RUN',
  'Piece',
  'check_shards',
  'dataset_name',
  'expanded',
  'find_workdirs',
  'read_config',
  'read_piece',
]

MOST_BYTES = {'config.json': 2**20, 'summary.json': 2**26, 'speed.json': 2**20}
"""Of files in a work folder; of others, such as `instances.json` of two million instances, 2^28."""

OF_ONE_RUN = ('shard', 'flags.data_dir', 'flags.weights')
"""Of configurations, what differs between a run in one piece and its shards: which part of it a
folder is, and where machines have the same data and weights."""

_OWN = ('folder', 'tfds', 'coco', 'coco_panoptic')


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
    speed: of its batches, from `summary.json`, or `speed.json` where that is kept apart.
  """

  folder: pathlib.Path
  config: Mapping[str, Any]
  instances: Sequence[Any]
  rows: Sequence[Mapping[str, Any]]
  speed: configs.Speed

  @property
  def shard(self) -> tuple[int, int]:
    """Its number and how many there are."""
    return self.config['shard']['id'], self.config['shard']['count']

  @property
  def program(self) -> schema.Kind:
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
    seconds = self.speed.get('device_seconds') or 0
    return {
      'seconds': seconds,
      'compile_seconds': self.speed.get('compile_seconds') or 0,
      'programs': self.speed.get('programs') or 0,
      'evaluations': (self.speed.get('evaluations_per_second') or 0) * seconds,
    }


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
    here = []
    for place in map(pathlib.Path, expanded([path])):
      here += _workdirs_in(place)
    if not here:
      raise WorkdirError(
        f'{argument}: {path} is no work folder and holds no shards (neither config.json nor '
        'shard-*/config.json is there)'
      )
    found += here
  seen: set[pathlib.Path] = set()
  for folder in found:
    # Of links in a circle, which lead nowhere, resolve() raises one thing or another.
    place = pathlib.Path(os.path.realpath(folder))
    if place in seen:
      raise WorkdirError(f'{argument} names {folder} twice')
    seen.add(place)
  return found


def _workdirs_in(place: pathlib.Path) -> list[pathlib.Path]:
  """The work folder that a place is, or those of the shards in it.

  Of a run in one piece that has taken over what its shards had done, there are both, and it stands
  for them; for shards of another run it does not.
  """
  # What is no file there is refused by name when it is read.
  own = [place] if os.path.lexists(place / 'config.json') else []
  # Unlike a path's own, this one takes what cannot be looked into for empty.
  configs = glob.glob(os.path.join(glob.escape(str(place)), 'shard-*', 'config.json'))
  shards = sorted(pathlib.Path(config).parent for config in configs)
  if not own or (shards and not os.path.lexists(place / 'summary.json')):
    return shards
  return own + [shard for shard in shards if not _same_run(place, shard)]


def _same_run(whole: pathlib.Path, shard: pathlib.Path) -> bool:
  try:
    one, other = (_document(folder, 'config.json') for folder in (whole, shard))
  except (files.FileError, ValueError):  # It is said where that one is read.
    return False
  both = isinstance(one, Mapping) and isinstance(other, Mapping)
  return both and not results.difference(one, other, OF_ONE_RUN)


def expanded(paths: Sequence[str]) -> list[str]:
  """Paths as they stand, and in the place of a pattern, which is no path, what it matches."""
  return [
    place
    for path in paths
    for place in (
      sorted(glob.glob(path)) if glob.has_magic(path) and not os.path.exists(path) else [path]
    )
  ]


def _document(folder: pathlib.Path, name: str) -> Any:
  """A JSON document of a work folder; raises ValueError for what is none."""
  data = files.read_regular(folder / name, most_bytes=MOST_BYTES.get(name, 2**28))
  try:
    return documents.parse(data)
  except documents.DocumentError as error:
    raise ValueError(f'{name}: {error}') from error


def _listed(folder: pathlib.Path) -> list[Any]:
  """What `instances.json` lists; raises ValueError for what is no list of instances."""
  held = _document(folder, 'instances.json')
  found = held.get('instances') if isinstance(held, Mapping) else None
  if not isinstance(found, list):
    raise ValueError('instances.json holds no list "instances"')
  for number, one in enumerate(found):
    pair = isinstance(one, list) and len(one) == 2
    if not (pair and isinstance(one[0], str) and (one[1] is None or _is_size(one[1]))):
      raise ValueError(
        f'instances.json: entry {number} is {shown(one)}, expected a name and a size or null'
      )
  return found


def _is_size(value: Any) -> bool:
  return isinstance(value, list) and len(value) == 2 and all(type(side) is int for side in value)


def read_config(folder: pathlib.Path, program: schema.Kind = 'attack') -> Mapping[str, Any]:
  """The configuration of a work folder.

  Args:
    folder: where it lies.
    program: of experiments, that has to have made it.

  Raises:
    WorkdirError: it is of another program or of another version, or its `config.json` is damaged,
      is none, or lies elsewhere behind a link.
  """
  try:
    config = _document(folder, 'config.json')
    results.check_layout(folder, config)
    found = config.get('program', 'attack')
    if found != program:
      raise WorkdirError(
        f'{folder} is a work folder of experiments.{told(str(found))}; expected '
        f'experiments.{program}'
      )
    configs.check_config(config, program)
  except files.FileError as error:
    raise WorkdirError(str(error)) from error
  except configs.ConfigError as error:
    raise _no_folder(folder, program, f'config.json: {error}') from error
  except ValueError as error:
    raise _no_folder(folder, program, error) from error
  return config


def _no_folder(folder: pathlib.Path, program: schema.Kind, why: object) -> WorkdirError:
  return WorkdirError(
    f'{folder} is no work folder of experiments.{program}, or is damaged: {why}'
  )


def read_piece(folder: pathlib.Path, program: schema.Kind = 'attack') -> Piece:
  """Reads a work folder.

  Args:
    folder: where it lies.
    program: of experiments, that has to have made it.

  Raises:
    WorkdirError: it is of another program or of another version, has not finished, or a file of it
      is damaged, is none, or lies elsewhere behind a link.
  """
  config = read_config(folder, program)
  try:
    if not os.path.lexists(folder / 'summary.json'):
      raise WorkdirError(f'{folder} has not finished; give its command again, then merge')
    speed = _speed(folder, 'summary.json')
    if os.path.lexists(folder / 'speed.json'):
      speed |= _speed(folder, 'speed.json')
    instances = _listed(folder)
  except files.FileError as error:
    raise WorkdirError(str(error)) from error
  except ValueError as error:
    raise _no_folder(folder, program, error) from error
  if results.fingerprint(instances) != config['instances']:
    raise WorkdirError(f'{folder}: instances.json is not that of its config.json')
  rows = results.read_rows(folder / 'rows.jsonl', program)
  piece = Piece(folder, config, instances, rows, speed)
  check_shards(piece)
  return piece


def _speed(folder: pathlib.Path, name: str) -> configs.Speed:
  """What a summary says of how fast it ran."""
  held = _document(folder, name)
  try:
    return configs.speed(held)
  except configs.ConfigError as error:
    raise ValueError(f'{name}: {error}') from error


def check_shards(piece: Piece) -> None:
  """Compares rows with the shards that they were merged from, where these lie beside them.

  A merged report has none, and the rows of instances whose size was unknown are in none.

  Raises:
    WorkdirError: a shard is damaged, or a row is in none of the shards that its instance is in; the
      message names the folder, the instance and the field.
  """
  folder = piece.folder / 'results'
  rows = {row['instance']: row for row in piece.rows}
  agreed: set[str] = set()
  others: dict[str, tuple[str, Any]] = {}
  try:
    names = sorted(os.listdir(folder)) if files.check_folder(folder) else []
    # What begins with a dot is another system's, such as ._00000.jsonl.
    for name in (one for one in names if re.fullmatch(r'[^.].*\.jsonl', one, re.DOTALL)):
      for row in _kept(folder / name, piece):
        instance = row['instance']
        if row == rows.get(instance):
          agreed.add(instance)
        elif instance in rows:
          others[instance] = name, row
  except files.FileError as error:
    raise WorkdirError(str(error)) from error
  except OSError as error:
    raise WorkdirError(f'cannot read {folder}: {error.strerror or error}') from error
  for instance, (name, row) in others.items():
    if instance not in agreed:
      field = _first_difference(row, rows[instance])
      raise WorkdirError(
        f'{piece.folder}: rows.jsonl has {field} of instance {shown(instance)} otherwise than '
        f'results/{name}, which its checksum shows to be as it was written; give the run\'s '
        'command again, which merges its shards'
      )


def _kept(file: pathlib.Path, piece: Piece) -> list[dict[str, Any]]:
  """The rows of a shard."""
  try:
    return shards.read(file, piece.program, inside=piece.folder)[1]
  except shards.DamagedShardError as error:
    raise WorkdirError(
      f"{error}; give the run's command again, which does its batch again"
    ) from error


def _first_difference(one: Any, other: Any, path: str = '') -> str:
  """Where two values of JSON differ first, as field.field[number]."""
  if isinstance(one, Mapping) and isinstance(other, Mapping) and one.keys() == other.keys():
    inner = ((f'{path}.{told(key)}' if path else told(key), one[key], other[key]) for key in one)
  elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
    inner = ((f'{path}[{n}]', *pair) for n, pair in enumerate(zip(one, other, strict=True)))
  else:
    return path or 'the row'
  return next(_first_difference(a, b, place) for place, a, b in inner if a != b)
