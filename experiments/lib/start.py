"""A program's first line, said before JAX is imported, which may take long."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ['announce', 'say']

_ASKING = ('--help', '-h', 'help')
_PACKAGE = 'experiments.'


def say(program: str, given: Sequence[str]) -> None:
  """Says that a program starts, unless it is asked for help only.

  Args:
    program: its name.
    given: its command line, without its name.
  """
  if not set(_ASKING) & set(given):
    print(f'{program}: starting', file=sys.stderr, flush=True)


def announce(argv: Sequence[str], original: Sequence[str]) -> None:
  """Says that `python -m experiments.PROGRAM` starts; to be called while Python looks for it.

  Args:
    argv: `sys.argv`, whose first entry is "-m" until the module is found.
    original: `sys.orig_argv`, which has the module's name too.
  """
  if argv[:1] != ['-m']:
    return
  given = argv[1:]
  module = original[len(original) - len(given) - 1].removeprefix('-m')
  program = module.removeprefix(_PACKAGE)
  if module.startswith(_PACKAGE) and '.' not in program:
    say(program, given)
