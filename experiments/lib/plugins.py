"""Modules of one's own, imported by name so that they can register what they add."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence

from experiments.lib.settings import UsageError

__all__ = ['load']


def load(names: Sequence[str]) -> None:
  """Imports modules, which may lie in the working folder.

  Args:
    names: dotted, as `import` takes them.

  Raises:
    UsageError: there is no such module, or it raises, which is shown.
  """
  if names and os.getcwd() not in sys.path:
    # At the end: a console command's path lacks the working folder, and it may hide nothing.
    sys.path.append(os.getcwd())
  for name in names:
    if not all(part.isidentifier() for part in name.split('.')) or name.endswith('.py'):
      raise UsageError(f'--plugins={name}: expected the name of a module, such as my_models')
    try:
      importlib.import_module(name)
    except ModuleNotFoundError as error:
      if error.name is None or not f'{name}.'.startswith(f'{error.name}.'):
        raise _raised(name, error) from error  # It is there and misses something itself.
      raise UsageError(
        f'--plugins={name}: there is no module {error.name} in {os.getcwd()} or on the path'
      ) from error
    except Exception as error:  # Whatever it is, the module is at fault.
      raise _raised(name, error) from error


def _raised(name: str, error: Exception) -> UsageError:
  """Shows what a module raised, and says so."""
  print(''.join(traceback.format_exception(error)).rstrip(), file=sys.stderr)
  return UsageError(f'--plugins={name}: it raises {type(error).__name__}: {error}')
