"""Whether runs compare: on which instances, and what else differs between them, in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from tetris_jax.report import style
from tetris_jax.runs.merge import Run
from tetris_jax.runs.workdirs import WorkdirError, fingerprint

__all__ = ['notes', 'on_common']

_MOST_NAMED, _MOST_NOTES = 3, 20
# Recorded, but no number hangs on them; `tetris_jax.runs.workdirs.difference` passes them over too.
_HARMLESS = ('python', 'numpy')
_DATA_FLAGS = ('data_options', 'objects', 'ignore_id')


def _groups(runs: Sequence[Run]) -> dict[tuple[str, str], list[int]]:
  """Positions of the runs whose numbers stand side by side, by data set and preset."""
  groups: dict[tuple[str, str], list[int]] = {}
  for position, run in enumerate(runs):
    groups.setdefault((run.dataset, run.preset), []).append(position)
  return groups


def _listed(run: Run) -> dict[str, tuple[int, ...] | None]:
  """Sizes of all instances of a run, by name."""
  return {name: None if size is None else tuple(size) for name, size in run.instances}


def on_common(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
  """The runs as they compare: those of one data set and preset on the instances that all have.

  An instance is the same where name and size are. Runs of one list are returned as they are.

  Args:
    runs: whole ones.

  Returns:
    As many runs in the same order, and a note for every data set and preset whose lists differ.

  Raises:
    WorkdirError: runs of one data set and preset have no instance in common.
  """
  out, said = list(runs), []
  for (dataset, preset), positions in _groups(runs).items():
    some = [runs[position] for position in positions]
    if all(run.config['instances'] == some[0].config['instances'] for run in some):
      continue
    where = f'{style.short(dataset)}, {style.short(preset)}'
    listed = [_listed(run) for run in some]
    shared = set.intersection(*({*one.items()} for one in listed))
    if not shared:
      models = ', '.join(style.short(run.model) for run in some)
      raise WorkdirError(
        f'{where}: the runs of {models} have no instance of the same name and size in common, so '
        'nothing compares; report them apart'
      )
    for position in positions:
      out[position] = _restricted(runs[position], {name for name, _ in shared})
    counts = ', '.join(f'{style.short(run.model)} {len(run.instances)}' for run in some)
    said.append(
      f'{where}: the runs have other instances, so all numbers here are of the {len(shared)} that '
      f'all have (same name and size). Instances of each: {counts}.'
    )
  return out, said


def _restricted(run: Run, names: set[str]) -> Run:
  instances = [one for one in run.instances if one[0] in names]
  return dataclasses.replace(
    run,
    config={**run.config, 'instances': fingerprint(instances)},
    instances=instances,
    rows=[row for row in run.rows if row['instance'] in names],
    pictures={name: file for name, file in run.pictures.items() if name in names},
  )


def notes(runs: Sequence[Run]) -> list[str]:
  """What of the runs in one table differs beside models, data sets and presets, a sentence each.

  Versions and devices are compared over all, numbers of clicks and how the data were read among
  runs of one data set and preset.
  """
  said = []
  versions = {key for run in runs for key in run.config.get('versions', {})}
  for key in sorted(versions - {*_HARMLESS}):
    values = [_at(run, 'versions', key) for run in runs]
    said += _differing(f'Made with other versions of {style.short(key)}', runs, values)
  said += _differing('Made on other devices', runs, [_device(run) for run in runs])
  for (dataset, preset), positions in _groups(runs).items():
    some = [runs[position] for position in positions]
    where = f'{style.short(dataset)}, {style.short(preset)}'
    counts = [_at(run, 'preset', 'num_clicks') for run in some]
    said += _differing(f'{where}: other numbers of clicks', some, counts)
    for key in _DATA_FLAGS:
      read = [_at(run, 'flags', key) for run in some]
      said += _differing(f'{where}: read with another {key}', some, read)
  more = [f'And {len(said) - _MOST_NOTES} more differences between their config.json.']
  return said if len(said) <= _MOST_NOTES else said[:_MOST_NOTES] + more


def _at(run: Run, section: str, key: str) -> str:
  found: Mapping[str, Any] = run.config.get(section, {})
  return style.short(found.get(key, 'unknown'))


def _device(run: Run) -> str:
  found = run.config.get('devices', {})
  return style.short(f'{found.get("kind", "unknown")} ({found.get("platform", "unknown")})')


def _differing(what: str, runs: Sequence[Run], values: Sequence[str]) -> list[str]:
  """A sentence that names which runs have which value; none where all have one."""
  by_value: dict[str, list[Run]] = {}
  for run, value in zip(runs, values, strict=True):
    by_value.setdefault(value, []).append(run)
  if len(by_value) < 2:
    return []
  parts = [f'{value} ({_named(some)})' for value, some in by_value.items()]
  return [f'{what}: {"; ".join(parts)}.']


def _named(runs: Sequence[Run]) -> str:
  names = [style.short(run.name) for run in runs[:_MOST_NAMED]]
  more = [f'and {len(runs) - _MOST_NAMED} more'] if len(runs) > _MOST_NAMED else []
  return ', '.join([*names, *more])
