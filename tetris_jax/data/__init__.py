"""Where instances come from: the field's data sets, folders, COCO, TFDS, and bundled samples."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from tetris_jax.data.benchmarks import BENCHMARKS, Benchmark, read_benchmark
from tetris_jax.data.canvas import Group, canvas_for, instance_id, plan, stack
from tetris_jax.data.clicks import RCLICKS_NAMES, ClickFile, UserClick, place, read_clicks
from tetris_jax.data.coco import read_coco, read_coco_panoptic
from tetris_jax.data.dataset import DataError, Dataset, Entry
from tetris_jax.data.folder import read_folder
from tetris_jax.data.images import UnreadableImage
from tetris_jax.data.sample import Rejected, Sample
from tetris_jax.data.samples import read_samples
from tetris_jax.data.tfds_source import read_tfds

__all__ = [
  'BENCHMARKS',
  'DATASETS',
  'RCLICKS_NAMES',
  'Benchmark',
  'ClickFile',
  'DataError',
  'Dataset',
  'Entry',
  'Group',
  'Rejected',
  'Sample',
  'UnreadableImage',
  'UserClick',
  'canvas_for',
  'instance_id',
  'open_dataset',
  'options_of',
  'parse_options',
  'place',
  'plan',
  'read_benchmark',
  'read_clicks',
  'read_coco',
  'read_coco_panoptic',
  'read_folder',
  'read_samples',
  'read_tfds',
  'stack',
]

_READERS: dict[str, Callable[..., Dataset]] = {
  **{name: functools.partial(read_benchmark, name) for name in BENCHMARKS},
  'coco': read_coco,
  'coco_panoptic': read_coco_panoptic,
  'folder': read_folder,
  'tfds': read_tfds,
}

DATASETS = tuple(sorted((*_READERS, 'samples')))

# Of `read_benchmark`'s options, those that a data set takes.
_BENCHMARK_OPTIONS = {'sbd': ('split', 'min_box_share'), 'tetris': ('long_side',)}


def options_of(name: str) -> dict[str, str]:
  """The options that a data set takes, by name, with their types as written in the signature."""
  if name == 'samples' or name not in _READERS:
    return {}
  parameters = inspect.signature(_READERS[name]).parameters
  taken = {key: str(parameters[key].annotation) for key in list(parameters)[1:]}
  if name in BENCHMARKS:
    parameters = inspect.signature(read_benchmark).parameters
    allowed = _BENCHMARK_OPTIONS.get(name, ())
    return {key: str(parameters[key].annotation) for key in allowed}
  return taken


def open_dataset(name: str, data_dir: str | None = None, **options: Any) -> Dataset:
  """Opens a data set by name, one of `DATASETS`; all but 'samples' need `data_dir`.

  `options` go to its reader: `read_folder`, `read_benchmark`, `read_coco`, `read_coco_panoptic` or
  `read_tfds`.

  Raises:
    DataError: unknown name, an option or a `data_dir` that the data set does not take, or whatever
      the data set itself finds wrong.
    ValueError: an option is out of range.
  """
  if name not in DATASETS:
    raise DataError(f'--dataset={name} is unknown; known data sets: {", ".join(DATASETS)}')
  if name == 'samples' and data_dir:
    raise DataError(
      f'--dataset=samples takes no --data_dir (found {data_dir}); '
      'for your own pictures add --dataset=folder'
    )
  taken = options_of(name)
  if foreign := sorted(set(options) - set(taken)):
    known = f'it takes {", ".join(taken)}' if taken else 'it takes none'
    raise DataError(f'--dataset={name} has no option {", ".join(foreign)}; {known}')
  if name == 'samples':
    return read_samples()
  try:
    return _READERS[name](data_dir, **options)
  except OSError as error:
    raise DataError(f'--dataset={name}, --data_dir={data_dir} cannot be read: {error}') from error


def parse_options(name: str, written: Sequence[str]) -> dict[str, Any]:
  """Options written as key=value, as `open_dataset` takes them.

  Raises:
    DataError: no key=value, a key twice, one that the data set does not take, or a bad number.
  """
  taken = options_of(name)
  options: dict[str, Any] = {}
  for item in written:
    key, mark, value = item.partition('=')
    if not mark or key in options:
      raise DataError(f'--data_options={item}: expected key=value, each key once')
    if key not in taken:
      known = f'it takes {", ".join(taken)}' if taken else 'it takes none'
      raise DataError(f'--data_options={item}: --dataset={name} has no option {key}; {known}')
    kind = taken[key].partition(' ')[0]
    try:
      options[key] = _CONVERT.get(kind, str)(value)
    except (KeyError, ValueError) as error:
      raise DataError(f'--data_options={item}: {value!r} is no {kind}') from error
  return options


_CONVERT: dict[str, Callable[[str], Any]] = {
  'bool': lambda text: {'true': True, 'false': False, '1': True, '0': False}[text.lower()],
  'float': float,
  'int': int,
}
