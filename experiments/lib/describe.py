"""What `config.json` says of a run: all that its rows may hang on."""

from __future__ import annotations

import dataclasses
import pathlib
import platform
import re
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import jax

from experiments.lib import named
from experiments.lib.settings import Group, Run
from tetris_jax import data, types

__all__ = ['configuration', 'flags', 'version', 'versions']

# What is no path where a path may stand: a file elsewhere.
_ADDRESS = re.compile('hf:|https?://')


def version(package: str) -> str:
  """Of an installed package, else \"not installed\"."""
  try:
    return metadata.version(package)
  except metadata.PackageNotFoundError:
    return 'not installed'


def versions(*packages: str) -> dict[str, str]:
  """Of installed packages, by name."""
  return {name: version(name) for name in packages}


def flags(settings: Group) -> dict[str, Any]:
  """The settings by which runs are told apart, by name; see `settings.setting`."""
  found: dict[str, Any] = {}
  for field in dataclasses.fields(settings):
    value, told = getattr(settings, field.name), field.metadata
    given = value != field.default
    if told['recorded'] == 'never' or (told['recorded'] == 'given' and not given):
      continue
    if told['path'] and value is not None and not _ADDRESS.match(value):
      value = str(pathlib.Path(value).expanduser().resolve())
    found[field.name] = value
  return found


def _backend(device: jax.Device) -> dict[str, str]:
  """The version of what compiles for a device; a CPU's is jaxlib's."""
  if device.platform == 'cpu':
    return {}
  return {'backend': ' '.join(device.client.platform_version.split())}


def configuration(
  settings: Run, attacks: Mapping[str, Any], info: types.ModelInfo, dataset: data.Dataset
) -> dict[str, Any]:
  """What `config.json` holds; all but Python's and NumPy's versions must agree on resuming.

  Args:
    settings: of the program.
    attacks: entries that say what is done, such as "preset".
    info: of the model.
    dataset: all instances of the run, whichever shard this is.
  """
  device = jax.devices()[0]
  return {
    'flags': flags(settings),
    **attacks,
    'model': {
      'name': info.name,
      'threshold': info.threshold,
      'step_diagonal': info.step_diagonal,
      'sha256': dict(info.sha256),
    },
    'instances': named.fingerprint(dataset),
    'shard': dict(zip(('id', 'count'), settings.part, strict=True)),
    'versions': {
      **versions('tetris_jax', 'jax', 'jaxlib', 'numpy'),
      'python': platform.python_version(),
      **_backend(device),
    },
    'devices': {
      'platform': device.platform,
      'kind': device.device_kind,
      'count': jax.local_device_count(),
    },
  }
