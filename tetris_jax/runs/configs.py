"""What is read again of a `config.json` that may come from anybody, and that rows are of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypedDict

from tetris_jax.runs import typed
from tetris_jax.runs.schema import Kind
from tetris_jax.runs.typed import shown, told
from tetris_jax.scores import priors
from tetris_jax.scores.table import ORDER

__all__ = ['ConfigError', 'Speed', 'check_config', 'speed', 'unlike']

_MOST_NAME, _MOST_COUNT = 1_000, 10**6
# A billion seconds, and more evaluations in one than any machine does.
_MOST_SPEED = 1e12


class ConfigError(ValueError):
  """A configuration that is not as its type says; the message names the field."""


class _Named(TypedDict):
  name: str


class _Attack(_Named):
  num_clicks: int


class _Weighed(_Named):
  sha256: dict[str, str]


class _Flags(TypedDict):
  dataset: str
  data_dir: str | None


class _AllFlags(_Flags, total=False):
  weights: str | None


class _Instances(TypedDict):
  count: int
  sha256: str


class _Shard(TypedDict):
  id: int
  count: int


class _Devices(TypedDict):
  platform: str
  kind: str
  count: int


class _Left(TypedDict):
  count: int
  first_line: int


class _File(TypedDict):
  name: str
  repeated: int
  left_out: dict[str, _Left]


class _Users(TypedDict):
  clicks: _File | None
  groups: str | None


class _Config(TypedDict):
  flags: _AllFlags
  model: _Named
  instances: _Instances
  shard: _Shard


class _Reported(TypedDict):
  """What reports tell of a run beyond its name."""

  flags: _AllFlags
  model: _Weighed
  preset: _Attack
  instances: _Instances
  shard: _Shard
  versions: dict[str, str]
  devices: _Devices


class _OfUsers(_Reported):
  users: _Users


class Speed(TypedDict, total=False):
  """What a summary says of its batches; see `tetris_jax.report.summaries.speed`."""

  evaluations_per_second: float | None
  device_seconds: float | None
  compile_seconds: float | None
  programs: float | None


_TYPES: dict[str, Any] = {'attack': _Reported, 'users': _OfUsers, 'heatmap': _Config}


def check_config(config: Any, program: Kind) -> None:
  """Checks what is read of a configuration; it may hold more.

  Args:
    config: of a `config.json`.
    program: of experiments, that wrote it.

  Raises:
    ConfigError: something is missing, of another type, or cannot be.
  """
  for complaint in typed.mismatches(config, _TYPES[program], others=True):
    raise ConfigError(complaint)
  names = {'flags.dataset': config['flags']['dataset'], 'model.name': config['model']['name']}
  if program != 'heatmap':
    names['preset.name'] = config['preset']['name']
    _check_count('preset.num_clicks', config['preset']['num_clicks'])
    _check_count('devices.count', config['devices']['count'])
  for field, name in names.items():
    if not 0 < len(name) <= _MOST_NAME:
      raise ConfigError(f'{field} has {len(name)} characters, expected 1 to {_MOST_NAME}')
  number, count = config['shard']['id'], config['shard']['count']
  _check_count('shard.count', count)
  if not 0 <= number < count:
    raise ConfigError(f'shard.id is {shown(number)} of shard.count {shown(count)}')


def _check_count(field: str, count: int) -> None:
  if not 1 <= count <= _MOST_COUNT:
    raise ConfigError(f'{field} is {shown(count)}, expected 1 to {_MOST_COUNT}')


def speed(summary: Any) -> Speed:
  """What a `summary.json` or `speed.json` says of how fast it was, checked.

  Raises:
    ConfigError: it is no object, or a number of its speed is none.
  """
  for complaint in typed.mismatches(summary, Speed, others=True):
    raise ConfigError(complaint)
  found: Any = {field: summary[field] for field in typed.keys(Speed) if field in summary}
  for field, value in found.items():
    if not 0 <= (value or 0) <= _MOST_SPEED:
      raise ConfigError(f'{field} is {shown(value)}')
  return found


def unlike(
  row: Mapping[str, Any], first: Mapping[str, Any], config: Mapping[str, Any], program: Kind
) -> Iterator[str]:
  """What of a row with numbers cannot be of one run with another, a sentence each.

  Args:
    row: as `tetris_jax.runs.schema.check_row` lets it pass.
    first: likewise, the first one with numbers of the run.
    config: of the run.
    program: of experiments, that made them.
  """
  if program == 'attack':
    yield from _other_length('iou.base', row['iou']['base'], config)
    yield from _other('modes', *([m for m in ORDER if one['iou'][m]] for one in (row, first)))
    yield from _other('levels', *(_depths(one) for one in (row, first)))
    yield from _other('users', *(_crowd(one) for one in (row, first)))
    if row.get('levels') == []:
      yield 'levels is empty'
    yield from _other_quantiles(row)
  elif program == 'users':
    walks = row['trajectories']
    for name, walk in walks.items():
      yield from _other_length(f'trajectories.{told(name)}.iou', walk['iou'], config)
    yield from _other('trajectories', *(list(one['trajectories']) for one in (row, first)))
    if walks and 'base' not in walks:
      yield 'trajectories.base is missing, the robot user beside whom all others stand'
  else:
    yield from _other('presets', *(list(one['presets']) for one in (row, first)))


def _other_length(path: str, curve: Sequence[float], config: Mapping[str, Any]) -> Iterator[str]:
  expected = config['preset']['num_clicks']
  if len(curve) != expected:
    yield f'{path} has {len(curve)} entries, but preset.num_clicks is {shown(expected)}'


def _other(path: str, here: Any, there: Any) -> Iterator[str]:
  if here != there:
    yield f'{path} are {shown(here)}, but {shown(there)} in the first row with numbers'


def _depths(row: Mapping[str, Any]) -> list[float] | None:
  return [level['depth'] for level in row['levels']] if 'levels' in row else None


def _crowd(row: Mapping[str, Any]) -> tuple[str, int] | None:
  return (row['users']['prior'], row['users']['count']) if 'users' in row else None


def _other_quantiles(row: Mapping[str, Any]) -> Iterator[str]:
  found = row.get('quantiles')
  if found is None:
    return
  wanted = list(found.get(priors.PRIORS[0], ()))
  for prior in priors.PRIORS:
    if prior not in found:
      yield f'quantiles.{prior} is missing'
    elif list(found[prior]) != wanted:
      yield f'quantiles.{prior} are {shown(list(found[prior]))}, expected {shown(wanted)}'
