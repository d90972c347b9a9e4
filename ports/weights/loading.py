"""Parameters of a model of the zoo on this machine: fetched or read, converted, kept."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import tempfile
from collections.abc import Mapping

import numpy as np

from ports.model import Model, Params
from ports.weights import cache, checkpoints, hub, layouts, torch_files, trained
from ports.weights.cache import cache_dir
from ports.weights.convert import Once
from ports.weights.downloads import download
from ports.weights.errors import CheckpointError, Misfit
from ports.weights.sources import Download, fetch_package, from_folder, say
from tetris_jax import regular

__all__ = ['CONVERTER', 'demands', 'fitted', 'load']

# Part of the name of a cached folder: a converter that writes another tree gets another number.
CONVERTER = 1


def _folder(name: str, sources: Mapping[str, str]) -> pathlib.Path:
  """Where the parameters that were made of these files are kept."""
  made_of = ' '.join(f'{file}={sources[file]}' for file in sorted(sources))
  key = hashlib.sha256(made_of.encode()).hexdigest()[:12]
  return cache_dir() / 'weights' / f'{name}-{CONVERTER}-{key}'


def _cached(folder: pathlib.Path, force: bool) -> tuple[Params, str] | None:
  """What is in the cache, and what was said when it was made; None where nothing fit is there."""
  if force or not folder.exists():
    return None
  try:
    params, record = cache.restore(folder)
  except CheckpointError as error:
    say(f'{error}\nIt will be replaced.')
    return None
  return params, str(record.get('taken', ''))


def _refuse_non_finite(params: Params, file: str) -> None:
  """Raises CheckpointError for what a converter of somebody's own let through."""
  bad = [name for name, array in params.items() if not np.isfinite(array).all()]
  if bad:
    raise CheckpointError(f'{file}: weights that are not finite: {", ".join(bad[:5])}')


def _keep(
  name: str, params: Params, sources: Mapping[str, str], replace: bool, taken: str = ''
) -> Params:
  folder = _folder(name, sources)
  record = {'model': name, 'converter': CONVERTER, 'sources': dict(sources), 'taken': taken}
  cache.save(folder, params, record, replace=replace)
  say(f'{name}: {sum(a.size for a in params.values()):,} parameters kept in {folder}')
  return params


def _convert(model: Model, file: str, state: Mapping[str, np.ndarray]) -> Params:
  """The tree; raises Misfit also for a converter of somebody's own that looks an entry up."""
  assert model.convert is not None and model.original is not None
  try:
    return model.convert({model.original.file: state})
  except Misfit as error:
    error.file, error.shapes = file, {name: a.shape for name, a in state.items()}
    raise
  except KeyError as error:
    wanted = [str(name) for name in error.args[:1]]
    misfit = Misfit([f'missing: {name}' for name in wanted], wanted)
    misfit.file = file
    raise misfit from error


def demands(model: Model) -> Misfit | None:
  """What a model with a checkpoint misses in an empty one, which is all that it takes.

  Args:
    model: a row with a published checkpoint.

  Returns:
    With the names that it takes and its parameters; None where its converter does not say.
  """
  assert model.convert is not None and model.original is not None
  try:
    model.convert({model.original.file: {}})
  except Misfit as error:
    return error
  except Exception:
    # a converter of somebody's own, which says nothing of an empty file
    return None
  return None


def fitted(model: Model, state: Mapping[str, np.ndarray], file: str) -> tuple[Params, str]:
  """Parameters of a model out of one checkpoint, whatever is around the names of its weights.

  Args:
    model: a row with a published checkpoint.
    state: all tensors of the file; a `Once` is emptied.
    file: its name.

  Returns:
    The tree, and what `ports.weights.layouts.unwrap` says of the file.

  Raises:
    Misfit: the weights do not fit the network.
    CheckpointError: there are several, and which are meant cannot be told.
  """
  try:
    return _convert(model, file, state), ''
  except Misfit as error:
    inner, taken = layouts.unwrap(state, error.wanted, file)
    if not taken:
      raise
  if isinstance(state, Once):
    state.clear()
    inner = Once(inner)
  return _convert(model, f'{file}: {taken}', inner), taken


def _from_packages(
  name: str, model: Model, given: pathlib.Path | None, force: bool
) -> tuple[Params, dict[str, str]]:
  packages, original = model.packages, model.original
  assert original is not None
  if not packages and given is not None:
    raise CheckpointError(f'{given} is a folder; give the checkpoint itself as weights=PATH')
  if not packages:
    raise CheckpointError(
      f'no package brings the weights of {name}. Download {original.file} (about '
      f'{original.size / 1e6:.0f} MB, licence {original.licence}) from {original.url} and give it, '
      'or a checkpoint of your own in that layout, as weights=PATH'
    )
  sources = {package.file: package.sha256 for package in packages}
  folder = _folder(name, sources)
  cached = _cached(folder, force)
  if cached is not None:
    return cached[0], sources
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
    assert model.convert is not None
    say(f'{name}: converting {", ".join(paths)}')
    states = {file: checkpoints.read(path, sources[file]) for file, path in paths.items()}
    return _keep(name, model.convert(states), sources, replace), sources


def _called(original: Download, found: str, file: str) -> str:
  """What results call a file of this sum; tells the user where it is not the published one."""
  if found == original.sha256:
    return original.file
  if file.startswith(hub.PREFIX):
    return file
  if original.sha256 is None:
    return original.file
  say(f'{file}: not the published {original.file} but own weights, sha256 {found}')
  return f'{original.file} (own weights)'


def _read(model: Model, path: pathlib.Path, found: str) -> tuple[Params, str]:
  """As `fitted`, from the file of this sum; nothing else of it is kept."""
  read = checkpoints.read(path, found, finite=False)
  networks = getattr(read, 'networks', ())
  state = Once(read)
  del read
  try:
    params, taken = fitted(model, state, path.name)
  except Misfit as error:
    error.hints += [torch_files.whole_network(networks)] if networks else []
    raise
  _refuse_non_finite(params, path.name)
  return params, taken


def _from_file(
  name: str, model: Model, path: pathlib.Path, found: str, *, force: bool, file: str = ''
) -> tuple[Params, dict[str, str]]:
  """From a file of the sum `found`; `file` is what it is called where that is not its path's."""
  original = model.original
  assert original is not None
  called = _called(original, found, file or path.name)
  sources = {original.file: found}
  folder = _folder(name, sources)
  cached = _cached(folder, force)
  if cached is not None:
    params, taken = cached
  else:
    say(f'{name}: converting {path.name}')
    params, taken = _read(model, path, found)
    _keep(name, params, sources, folder.exists(), taken)
  if taken:
    say(f'{name}: {taken}')
  return params, {called: found}


def _from_orbax(
  name: str, model: Model, path: pathlib.Path, sha256: str | None, published: bool
) -> tuple[Params, dict[str, str]]:
  """From a checkpoint of the tree itself, which is as fast to read as what the cache would keep."""
  assert model.original is not None
  misfit = demands(model)
  if misfit is None or not misfit.leaves:
    raise CheckpointError(
      f'{path} is an Orbax checkpoint, and the converter of {name} does not say which parameters '
      'it makes; give a checkpoint in the layout of its authors'
    )
  params, taken = trained.read(path, misfit.leaves)
  found = cache.digest(params)
  if published and sha256 is None:
    raise CheckpointError(
      f'{path} is an Orbax checkpoint and cannot be the published {model.original.file}; if these '
      f'are weights of your own, say so by their sha256, which is {found}'
    )
  checkpoints.check_sha256(found, sha256, str(path))
  called = f'{model.original.file} (own weights)'
  say(f'{path}: not the published {model.original.file} but own weights, sha256 {found}')
  if taken:
    say(f'{name}: {taken}')
  return params, {called: found}


def _checked(path: pathlib.Path, sha256: str | None, advice: str) -> str:
  """The sum of a file, which must be `sha256` where that is given."""
  try:
    with regular.open_file(path) as file:
      found = checkpoints.sha256_of(file)
  except OSError as error:
    raise CheckpointError(f'{path}: cannot be read ({error.strerror or error})') from error
  checkpoints.check_sha256(found, sha256, path.name, advice=advice)
  return found


def _from_address(
  name: str, model: Model, url: str, sha256: str | None, *, force: bool
) -> tuple[Params, dict[str, str]]:
  original = model.original
  assert original is not None
  cached = sha256 and _cached(_folder(name, {original.file: sha256}), force)
  if sha256 and cached:
    return cached[0], {_called(original, sha256, original.file): sha256}
  # by address, so that a download that was broken off is found again
  folder = cache_dir() / 'downloads' / hashlib.sha256(url.encode()).hexdigest()[:12]
  path = folder / original.file
  cache.check_writable(folder, original.size)
  download(url, path, 2 * original.size)
  try:
    found = _checked(path, sha256, 'Try again, or bring the file yourself and give its path')
    return _from_file(name, model, path, found, force=force)
  finally:
    path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
      # another address may be on its way
      folder.rmdir()
      folder.parent.rmdir()


def _from_hub(
  name: str, model: Model, text: str, sha256: str | None, *, force: bool
) -> tuple[Params, dict[str, str]]:
  original = model.original
  assert original is not None
  file = hub.fetch(text, original.file, 2 * original.size)
  advice = f'Delete {file.path} and try again' if sha256 is None else ''
  found = _checked(file.path, sha256 or file.sha256, advice)
  return _from_file(name, model, file.path, found, force=force, file=file.name)


def load(
  name: str,
  model: Model,
  weights: str | os.PathLike[str] | None = None,
  *,
  sha256: str | None = None,
  published: bool = False,
  force: bool = False,
) -> tuple[Params, dict[str, str]]:
  """Parameters of a model: from the cache, or fetched and converted on first use.

  Args:
    name: of the model; its cached parameters are kept under it.
    model: its row.
    weights: None for the pinned packages; or a checkpoint, the original or one's own in its
      layout, as a path, an https address or a name on the Hugging Face hub (`hf:OWNER/NAME`, see
      `ports.weights.hub`); or a folder that holds the packages or the files in them, or that Orbax
      wrote as a checkpoint of the model's own tree. What a training saved around the weights of
      one's own is passed over.
    sha256: that the file `weights`, or the tree in that checkpoint, must have.
    published: whether only the published file is taken where its sum is known and no other given.
    force: fetches and converts again, whatever the cache holds.

  Returns:
    Flat tree of float32 arrays, and the sha256 of the source files by name, own weights marked as
    such; both are empty for a model without files.

  Raises:
    CheckpointError: missing package client, wrong sum, hostile or damaged file,
      unwritable cache, weights for a model without files.
    Misfit: a checkpoint of another network.
  """
  original = model.original
  if original is None:
    if weights is not None:
      raise CheckpointError(f'{name} brings its own parameters; it takes no weights={weights}')
    return {}, {}
  if weights is None:
    return _from_packages(name, model, None, force)
  text = os.fspath(weights)
  sha256 = None if sha256 is None else sha256.lower()
  if text.startswith(hub.PREFIX):
    return _from_hub(name, model, text, sha256, force=force)
  if '://' in text:
    if sha256 is None and (published or text == original.url):
      sha256 = original.sha256
    return _from_address(name, model, text, sha256, force=force)
  path = pathlib.Path(text).expanduser()
  if path.is_dir() and trained.is_checkpoint(path):
    return _from_orbax(name, model, path, sha256, published)
  if path.is_dir():
    return _from_packages(name, model, path, force)
  advice = ''
  if sha256 is None and published:
    sha256, advice = original.sha256, 'If these are weights of your own, say so by their sha256'
  return _from_file(name, model, path, _checked(path, sha256, advice), force=force)
