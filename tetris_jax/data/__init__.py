"""Where instances come from: folders of pictures and masks, and samples that need no download."""

from __future__ import annotations

from typing import Any

from tetris_jax.data.canvas import Group, canvas_for, instance_id, plan, stack
from tetris_jax.data.dataset import DataError, Dataset, Entry
from tetris_jax.data.folder import read_folder
from tetris_jax.data.images import UnreadableImage
from tetris_jax.data.sample import Rejected, Sample
from tetris_jax.data.samples import read_samples

__all__ = [
  'DATASETS',
  'DataError',
  'Dataset',
  'Entry',
  'Group',
  'Rejected',
  'Sample',
  'UnreadableImage',
  'canvas_for',
  'instance_id',
  'open_dataset',
  'plan',
  'read_folder',
  'read_samples',
  'stack',
]

DATASETS = ('folder', 'samples')


def open_dataset(name: str, data_dir: str | None = None, **options: Any) -> Dataset:
  """Opens a data set by name: 'folder' (needs `data_dir`) or 'samples' (takes none).

  `options` go to `read_folder`; 'samples' has none.

  Raises:
    DataError: unknown name, an option or a `data_dir` that the data set does not take, or whatever
      the data set itself finds wrong.
  """
  if name == 'folder':
    return read_folder(data_dir, **options)
  if name == 'samples':
    if data_dir:
      raise DataError(
        f'--dataset=samples takes no --data_dir (found {data_dir}); '
        'for your own pictures add --dataset=folder'
      )
    if options:
      raise DataError(f'--dataset=samples takes no options (found {", ".join(sorted(options))})')
    return read_samples()
  raise DataError(f'--dataset={name} is unknown; known data sets: {", ".join(DATASETS)}')
