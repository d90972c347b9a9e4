"""Prepares one of the field's data sets as array_record for TFDS and Grain, without TensorFlow.

  python -m experiments.prepare --dataset=grabcut --data_dir=GrabCut --out=prepared

Read it with --dataset=tfds --data_dir=prepared/interactive_grabcut/1.0.0, or from any program with
`tensorflow_datasets.builder_from_directory(...).as_data_source()`. Ends with 0, or with 2 when the
data cannot be used.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from absl import app, flags

from tetris_jax import data
from tetris_jax.data import benchmarks

__all__ = ['main']


def main(argv: Sequence[str]) -> None:
  """Entry point of absl."""
  try:
    if len(argv) > 1:
      raise data.DataError(f'unexpected argument {argv[1]!r}; flags are given as --name=value')
    for note in data.open_dataset(flags.FLAGS.dataset, flags.FLAGS.data_dir).notes:
      print(f'note: {note}', file=sys.stderr)
    from tetris_jax.data import builders

    print(builders.prepare(flags.FLAGS.dataset, flags.FLAGS.data_dir, flags.FLAGS.out))
  except data.DataError as error:
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)


if __name__ == '__main__':
  # Defined here, so that programs whose flags have the same names can be imported together.
  flags.DEFINE_enum(
    'dataset', None, sorted(benchmarks.BENCHMARKS), 'Data set to prepare.', required=True
  )
  flags.DEFINE_string('data_dir', None, 'The data set as downloaded.', required=True)
  flags.DEFINE_string('out', 'prepared', 'Folder below which it goes.')
  app.run(main)
