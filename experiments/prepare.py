"""Prepares one of the field's data sets as array_record for TFDS and Grain, without TensorFlow.

  python -m experiments.prepare --dataset=grabcut --data_dir=GrabCut --out=prepared

Read it with --dataset=tfds --data_dir=prepared/interactive_grabcut/1.0.0, or from any program with
`tensorflow_datasets.builder_from_directory(...).as_data_source()`. Ends with 0, with 2 when the
data cannot be used, and with 130 when interrupted.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

from experiments.lib import launch, opening
from experiments.lib import settings as lib
from experiments.lib.settings import UsageError
from tetris_jax import data
from tetris_jax.data import benchmarks

__all__ = ['Settings', 'execute', 'main']


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(lib.Group):
  """What is prepared, and where; see this program's `--help`."""

  dataset: str | None = lib.setting(
    None, 'Data set to prepare.', choices=sorted(benchmarks.BENCHMARKS)
  )
  data_dir: str | None = lib.setting(None, 'The data set as downloaded.', path=True)
  out: str = lib.setting('prepared', 'Folder below which it goes.', path=True)

  @property
  def doing(self) -> str:
    """What the program is asked to do."""
    return f'prepare: {self.dataset} in {self.data_dir} -> {self.out}'


def execute(settings: Settings) -> int:
  """Prepares; returns the exit status.

  Raises:
    UsageError: nothing is named, or the data cannot be used.
  """
  name, place = settings.dataset, settings.data_dir
  if name is None or place is None:
    raise UsageError('--dataset and --data_dir are needed: which data set, and where it lies')
  try:
    indexing = opening.indexing()
    for note in data.open_dataset(name, place, indexing=indexing).notes:
      print(f'note: {note}', file=sys.stderr)
    from tetris_jax.data import builders

    print(builders.prepare(name, place, settings.out, indexing=indexing))
  except data.DataError as error:
    raise UsageError(str(error)) from error
  return launch.DONE


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the program; returns the exit status that the module's docstring lists."""
  return launch.run(__doc__, Settings, execute, argv)


if __name__ == '__main__':
  sys.exit(main())
