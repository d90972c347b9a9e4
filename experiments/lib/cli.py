"""The console command: `tetris-jax PROGRAM --flags` is `python -m experiments.PROGRAM --flags`.

Only the chosen program is imported.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import pathlib
import sys
from collections.abc import Sequence

from experiments.lib import start

__all__ = ['PROGRAMS', 'main', 'summary']

PROGRAMS = (
  'attack', 'heatmap', 'users', 'sweep', 'report', 'apart', 'passes', 'export', 'replay', 'bench',
  'fetch', 'prepare',
)  # fmt: skip

_ASKING = ('--help', '-h', 'help')
_UNUSABLE = 2


def summary(program: str) -> str:
  """The first line of a program's docstring, read without importing what it needs."""
  source = pathlib.Path(__file__).parents[1] / f'{program}.py'
  text = ast.get_docstring(ast.parse(source.read_text())) or ''
  return text.partition('\n')[0]


def _usage() -> str:
  wide = max(map(len, PROGRAMS))
  lines = [f'  {program:{wide}}  {summary(program)}' for program in PROGRAMS]
  return '\n'.join([
    'usage: tetris-jax PROGRAM [--flag=value ...]',
    '',
    *lines,
    '',
    'tetris-jax PROGRAM --help lists the flags of a program.',
  ])


def main(argv: Sequence[str] | None = None) -> int:
  """Runs a program.

  Args:
    argv: the command line, its own name first; by default that of this process.

  Returns:
    The program's exit status; 2 for an unknown one.
  """
  command, *rest = sys.argv if argv is None else argv
  if not rest or rest[0] in _ASKING:
    print(_usage())
    return 0
  name = rest[0]
  if name not in PROGRAMS:
    near = difflib.get_close_matches(name, PROGRAMS, 1)
    hint = f'did you mean {near[0]}?' if near else f'there are {", ".join(PROGRAMS)}'
    print(f'error: unknown program {name!r}; {hint}', file=sys.stderr)
    return _UNUSABLE
  start.say(name, rest[1:])
  program = importlib.import_module(f'experiments.{name}')
  status: int = program.main([f'{command} {name}', *rest[1:]])
  return status


if __name__ == '__main__':
  sys.exit(main())
