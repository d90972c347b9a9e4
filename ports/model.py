"""A row of the zoo: where a model's weights come from, how it is built, what was measured of it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from ports.weights.sources import Download, Packaged
from tetris_jax.types import Segmenter

__all__ = ['Model', 'Params', 'States']

States = Mapping[str, Mapping[str, np.ndarray]]
Params = dict[str, np.ndarray]

# Arguments of `ports.zoo.segmenter` and of what a row's `build` is called with.
_TAKEN = ('name', 'params', 'sha256', 'weights')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
  """One row of the zoo; checks itself, and keeps `settings` and `options` read-only.

  Attributes:
    build: (params, sha256 by file name, settings and options by keyword) -> Segmenter; or where
      that function lies, as "module:function", so that naming a model imports no network.
    num_parameters: after conversion.
    paper: who published it, and where.
    packages: files that together make the model, brought by package clients; none where no
      package has them.
    original: the checkpoint as its authors published it. Without it and without packages the model
      has no files: `build` brings its own parameters and gets an empty tree and no sums.
    convert: state dicts by file name (of all `packages`, or of `original`) -> flat tree; None for
      a model without files.
    parity: largest differences measured against the reference, in words.
    published: figures of others.
    reproduced: the same figures, measured with this port.
    settings: what tells the models of one `build` apart.
    options: what a user may choose, name -> values, the default first.
  """

  build: str | Callable[..., Segmenter]
  num_parameters: int
  paper: str
  packages: tuple[Packaged, ...] = ()
  original: Download | None = None
  convert: Callable[[States], Params] | None = None
  parity: str = 'not measured'
  published: str = 'none'
  reproduced: str = 'not measured'
  settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  options: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

  def __post_init__(self) -> None:
    """Raises ValueError for a row that could not be loaded, built or shown."""
    for field in ('settings', 'options'):
      object.__setattr__(self, field, MappingProxyType(dict(getattr(self, field))))
    self._check_build()
    self._check_files()
    self._check_options()
    for field in ('paper', 'parity', 'published', 'reproduced'):
      # the zoo's table shows them as cells
      if not getattr(self, field) or re.search(r'[|\n]', getattr(self, field)):
        raise ValueError(f'{field} is {getattr(self, field)!r}; expected one line without "|"')

  def _check_build(self) -> None:
    if isinstance(self.build, str):
      fits = re.fullmatch(r'\w+(\.\w+)*:\w+', self.build) is not None
    else:
      fits = callable(self.build)
    if not fits:
      raise ValueError(f'build is {self.build!r}; expected a function or "module:function"')
    if self.num_parameters < 1:
      raise ValueError(f'num_parameters is {self.num_parameters}; expected at least 1')

  def _check_files(self) -> None:
    files = [package.file for package in self.packages]
    if len(set(files)) != len(files):
      raise ValueError(f'packages bring files of the same name: {", ".join(files)}')
    if self.packages and self.original is None:
      raise ValueError('packages stand in for a published checkpoint: original has to name it')
    if (self.original is None) != (self.convert is None):
      raise ValueError('original and convert go together: a checkpoint, and what reads it')

  def _check_options(self) -> None:
    for option, values in self.options.items():
      if option in self.settings or option in _TAKEN:
        raise ValueError(f'options has "{option}", which is a setting or an argument already')
      if not isinstance(values, tuple) or not values or len(set(values)) != len(values):
        raise ValueError(
          f'options["{option}"] is {values!r}; expected a tuple of different values, the default '
          'first'
        )
