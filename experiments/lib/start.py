"""A program's first moments: its first line, and how it ends when it is interrupted.

Both are in place before JAX is imported, which may take long.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from experiments.lib import interrupts

__all__ = ['announce', 'say']

_ASKING = ('--help', '-h', 'help')
_PACKAGE = 'experiments.'
_COMMANDS = ('tetris-jax', 'tetris-jax.exe')


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

  From here on, and likewise where the console command has started, an interruption is one line.

  Args:
    argv: `sys.argv`, whose first entry is "-m" until the module is found.
    original: `sys.orig_argv`, which has the module's name too.
  """
  if os.path.basename(argv[0] if argv else '') in _COMMANDS:
    interrupts.install()
  if argv[:1] != ['-m']:
    return
  given = argv[1:]
  module = original[len(original) - len(given) - 1].removeprefix('-m')
  program = module.removeprefix(_PACKAGE)
  if not module.startswith(_PACKAGE):
    return
  interrupts.install()
  if '.' not in program:
    say(program, given)
