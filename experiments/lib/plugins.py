"""Modules of one's own, imported by name so that they can register what they add."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from experiments.lib.settings import UsageError

__all__ = ['load']


def load(names: Sequence[str]) -> None:
  """Imports modules, which may lie in the working folder; what they raise is theirs to explain.

  Args:
    names: dotted, as `import` takes them.

  Raises:
    UsageError: there is no such module.
  """
  if names and os.getcwd() not in sys.path:
    # At the end: a console command's path lacks the working folder, and it may hide nothing.
    sys.path.append(os.getcwd())
  for name in names:
    try:
      importlib.import_module(name)
    except ModuleNotFoundError as error:
      if error.name is None or not f'{name}.'.startswith(f'{error.name}.'):
        raise  # It is there and misses something itself.
      raise UsageError(
        f'--plugins={name}: there is no module {error.name} in {os.getcwd()} or on the path'
      ) from error
