"""What a sweep is asked for: a run for every model, data set and preset, as experiments.attack."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
import tomllib
from collections.abc import Mapping
from typing import Any

from experiments import attack
from experiments.lib import flags
from experiments.lib.groups import UsageError
from tetris_jax.runs import files

__all__ = ['AXES', 'Axes', 'read', 'runs']

AXES = {'models': 'model', 'datasets': 'dataset', 'presets': 'preset'}
"""Tables of a sweep file, and the flag that an entry's name stands for."""

Axes = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""By table and name, what an entry asks for beside its name; flags of experiments.attack."""

_ALL = 'all'
_MOST_BYTES = 2**20
# They say which part of which run a process does, which is for the sweep to say.
_OWN = ('workdir', 'shard', 'shard_id', 'num_shards', 'plugins')


def read(path: str) -> tuple[Axes, Mapping[str, Any]]:
  """The entries of a sweep file, and what all runs have in common.

  Raises:
    UsageError: it cannot be read, is no TOML, or has other tables.
  """
  try:
    text = files.read_regular(pathlib.Path(path), most_bytes=_MOST_BYTES).decode()
    held = tomllib.loads(text)
  except (files.FileError, OSError) as error:
    raise UsageError(f'--file={path}: {error}') from error
  except ValueError as error:
    raise UsageError(f'--file={path} is no TOML: {error}') from error
  known = f'expected [{_ALL}] and tables such as [models.NAME], [datasets.NAME], [presets.NAME]'
  for name, table in held.items():
    if name not in (_ALL, *AXES):
      raise UsageError(f'--file={path}: {name} is unknown; {known}')
    entries = [table] if name == _ALL else table.values() if isinstance(table, dict) else [None]
    if not all(isinstance(one, dict) for one in entries):
      raise UsageError(f'--file={path}: {name} is no table; {known}')
  return {axis: held.get(axis, {}) for axis in AXES}, held.get(_ALL, {})


def runs(axes: Axes, common: Mapping[str, Any], folder: str) -> list[attack.Settings]:
  """A run of every model on every data set with every preset, each in a folder of its own.

  Args:
    axes: what is combined.
    common: what all runs have in common.
    folder: in which their work folders lie.

  Raises:
    UsageError: an axis is empty, or a flag is unknown, doubled, or has a value that it cannot have.
  """
  for axis in AXES:
    if not axes.get(axis):
      raise UsageError(f'--{axis} names nothing, and neither does [{axis}.NAME] of a --file')
  combined = [*itertools.product(*(axes[axis].items() for axis in AXES))]
  names = files.distinct_names(['-'.join(name for name, _ in entries) for entries in combined])
  return [
    dataclasses.replace(_settings(entries, common), workdir=str(pathlib.Path(folder) / name))
    for entries, name in zip(combined, names, strict=True)
  ]


def _settings(
  entries: tuple[tuple[str, Mapping[str, Any]], ...], common: Mapping[str, Any]
) -> attack.Settings:
  asked = dict(common)
  for axis, (name, own) in zip(AXES, entries, strict=True):
    for flag, value in {AXES[axis]: name, **own}.items():
      if flag in asked and flag not in common:
        raise UsageError(f'{axis}.{name}: {flag} is asked for by another table too')
      asked[flag] = value
  try:
    if taken := [flag for flag in asked if flag in _OWN]:
      raise ValueError(f'flags.{taken[0]} is for the sweep itself to say')
    return flags.of_document(attack.Settings, asked)
  except ValueError as error:
    told = ' x '.join(name for name, _ in entries)
    raise UsageError(f'{told}: {str(error).removeprefix("flags.")}') from error
