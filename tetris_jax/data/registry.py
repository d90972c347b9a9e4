"""Data sets by name: which there are, which options each takes, and opening one."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from tetris_jax.data.benchmarks import BENCHMARKS, read_benchmark
from tetris_jax.data.coco import read_coco, read_coco_panoptic
from tetris_jax.data.dataset import DataError, Dataset
from tetris_jax.data.folder import read_folder
from tetris_jax.data.index import Indexing
from tetris_jax.data.samples import read_samples
from tetris_jax.data.tfds_source import read_tfds

__all__ = ['DATASETS', 'names', 'open_dataset', 'options_of', 'parse_options', 'register']


def _read_samples(data_dir: str | os.PathLike[str] | None) -> Dataset:
  if data_dir:
    raise DataError(
      f'dataset=samples takes no data_dir (found {data_dir}); '
      'for your own pictures choose dataset=folder'
    )
  return read_samples()


_readers: dict[str, Callable[..., Dataset]] = {
  **{name: functools.partial(read_benchmark, name) for name in BENCHMARKS},
  'coco': read_coco,
  'coco_panoptic': read_coco_panoptic,
  'folder': read_folder,
  'samples': _read_samples,
  'tfds': read_tfds,
}

DATASETS: Mapping[str, Callable[..., Dataset]] = MappingProxyType(_readers)
"""Every data set's reader by name: those of this package, and what `register` has added."""

# Of `read_benchmark`'s options, those that a data set takes.
_BENCHMARK_OPTIONS = {'sbd': ('split', 'min_box_share'), 'tetris': ('long_side',)}


# What readers that look through masks may take beside the data set's own options.
_INDEXING = 'indexing'


def names() -> tuple[str, ...]:
  """The data sets that `open_dataset` knows, sorted."""
  return tuple(sorted(DATASETS))


def register(name: str, reader: Callable[..., Dataset]) -> None:
  """Adds a data set, for `open_dataset` and the launchers.

  Args:
    name: what it will be opened by.
    reader: (data_dir, *, options) -> Dataset, such as `read_folder`. `data_dir` is None where the
      caller gave none. Options are keyword-only, annotated as bool, int, float or str (or one of
      these or None), and have defaults. Where it has a parameter `indexing`, it gets the caller's
      `Indexing`. It raises DataError where the data cannot be used.

  Raises:
    ValueError: the name is taken.
  """
  if name in DATASETS:
    raise ValueError(f'a data set named {name!r} is there already; choose another name')
  _readers[name] = reader


def options_of(dataset: str) -> dict[str, str]:
  """The options that a data set takes, by name, with their types as written in the signature.

  Args:
    dataset: one of `names()`; another name has no options.
  """
  if dataset not in DATASETS:
    return {}
  parameters = list(inspect.signature(DATASETS[dataset]).parameters.values())[1:]
  taken = {
    one.name: _written(one.annotation) for one in parameters if one.name != _INDEXING
  }
  if dataset in BENCHMARKS:
    return {name: taken[name] for name in _BENCHMARK_OPTIONS.get(dataset, ())}
  return taken


def _written(annotation: Any) -> str:
  # Without `from __future__ import annotations` a signature holds types in place of their names.
  return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def open_dataset(
  dataset: str,
  data_dir: str | None = None,
  *,
  indexing: Indexing | None = None,
  **options: Any,
) -> Dataset:
  """Opens a data set by name; all that come with this package but 'samples' need `data_dir`.

  Args:
    dataset: one of `names()`.
    data_dir: where it lies.
    indexing: how many instances are wanted, and where is kept what masks were found to hold; by
      default all, and nowhere.
    **options: of `options_of(dataset)`; they go to its reader: `read_folder`, `read_benchmark`,
      `read_coco`, `read_coco_panoptic`, `read_tfds`, or one that was registered.

  Raises:
    DataError: unknown name, an option or a `data_dir` that the data set does not take, or whatever
      the data set itself finds wrong.
    ValueError: an option is out of range.
  """
  if dataset not in DATASETS:
    raise DataError(f'dataset={dataset} is unknown; known data sets: {", ".join(names())}')
  taken = options_of(dataset)
  if foreign := sorted(set(options) - set(taken)):
    raise DataError(f'dataset={dataset} has no option {", ".join(foreign)}; {_known(taken)}')
  reader = DATASETS[dataset]
  if indexing is not None and _INDEXING in inspect.signature(reader).parameters:
    options[_INDEXING] = indexing
  try:
    opened = reader(data_dir, **options)
  except OSError as error:
    raise DataError(f'dataset={dataset}, data_dir={data_dir} cannot be read: {error}') from error
  limit = indexing.limit if indexing is not None else 0
  return opened.select(range(limit)) if 0 < limit < len(opened) else opened


def parse_options(dataset: str, data_options: Sequence[str]) -> dict[str, Any]:
  """Options written as key=value, as `open_dataset` takes them.

  Args:
    dataset: one of `names()`.
    data_options: such as ("split=val",).

  Raises:
    DataError: no key=value, a key twice, one that the data set does not take, or a bad number.
  """
  taken = options_of(dataset)
  options: dict[str, Any] = {}
  for item in data_options:
    key, mark, value = item.partition('=')
    if not mark or key in options:
      raise DataError(f'data_options={item}: expected key=value, each key once')
    if key not in taken:
      raise DataError(
        f'data_options={item}: dataset={dataset} has no option {key}; {_known(taken)}'
      )
    kind = taken[key].partition(' ')[0]
    try:
      options[key] = _CONVERT.get(kind, str)(value)
    except (KeyError, ValueError) as error:
      raise DataError(f'data_options={item}: {value!r} is no {kind}') from error
  return options


def _known(taken: dict[str, str]) -> str:
  return f'it takes {", ".join(taken)}' if taken else 'it takes none'


_CONVERT: dict[str, Callable[[str], Any]] = {
  'bool': lambda text: {'true': True, 'false': False, '1': True, '0': False}[text.lower()],
  'float': float,
  'int': int,
}
