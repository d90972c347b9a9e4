"""How every program starts and ends: flags to settings, help, processes, exit codes.

0: done. 1: an error that nobody foresaw, with its traceback. 2: the command, the data, the weights,
the device or a folder cannot be used, or nothing was measured because all was skipped. 3: done, but
rows failed or numbers differ. 130: interrupted, or 143 by SIGTERM.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from absl import flags as absl_flags
from absl import logging

from experiments.lib import devices, flags, interrupts, plugins
from experiments.lib.settings import Group, Plugins, Run, UsageError
from tetris_jax.report import style
from tetris_jax.runs import staging
from tetris_jax.runs import workdirs as results

__all__ = [
  'DONE',
  'FAILED',
  'INTERRUPTED',
  'UNUSABLE',
  'exit_status',
  'merged_status',
  'run',
  'tell_failed',
]

DONE, UNUSABLE, FAILED, INTERRUPTED = 0, 2, 3, 130

_MOST_TOLD = 10
_RESUMED = 'what earlier calls finished is kept; the same command resumes the run'

_S = TypeVar('_S', bound=Group)


def tell_failed(rows: Sequence[Mapping[str, Any]], written: object) -> None:
  """Says on standard error why rows failed, and how many were skipped.

  Args:
    rows: of this shard, failed or not.
    written: the file that has them all.
  """
  failed = [row for row in rows if row['status'] == 'failed']
  for row in failed[:_MOST_TOLD]:
    print(style.one_line(f'{row["instance"]}: failed, {row["reason"]}'), file=sys.stderr)
  if len(failed) > _MOST_TOLD:
    print(f'and {len(failed) - _MOST_TOLD} more, see {written}', file=sys.stderr)
  if skipped := [row for row in rows if row['status'] == 'skipped']:
    one = skipped[0]
    told = f'{len(skipped)} skipped, such as {one["instance"]}: {one["reason"]}'
    print(style.one_line(told), file=sys.stderr)


def exit_status(
  rows: Sequence[Mapping[str, Any]], made: Mapping[str, Any], written: object
) -> int:
  """What a program that makes rows ends with, which it says where it is not plain.

  Args:
    rows: of this shard.
    made: its summary, with the counts.
    written: the file that tells more.

  Returns:
    0, or 3 when an instance failed, or 2 when there are instances and all of them were skipped.
  """
  if not rows:
    print('this shard has no instances: there are fewer batches than shards')
    return DONE
  status = merged_status(rows, written)
  if made['n_ok']:
    return status
  print(f'error: no instance was measured; see {written}', file=sys.stderr)
  return status or UNUSABLE


def merged_status(rows: Sequence[Mapping[str, Any]], written: object) -> int:
  """What a program that only merges rows ends with, after it said why some failed.

  Args:
    rows: of all runs.
    written: the file that tells more.

  Returns:
    0, or 3 when an instance failed.
  """
  tell_failed(rows, written)
  return FAILED if any(row['status'] == 'failed' for row in rows) else DONE


def _asked(text: str, kind: type[_S], argv: Sequence[str]) -> _S | None:
  """The settings of a command line; None where help was asked for and shown."""
  values = absl_flags.FlagValues()
  flags.define(kind, values)
  try:
    rest = values(list(argv))[1:]
  except absl_flags.Error as error:
    said = str(error).removeprefix('ERROR:: ')
    raise UsageError(f'{said} (--help lists the flags)') from error
  if rest:
    raise UsageError(f'unexpected argument {rest[0]!r}; flags are given as --name=value')
  if issubclass(kind, Plugins):
    plugins.load(values['plugins'].value or ())
  if values['help'].value:
    print(flags.usage(kind, text))
    return None
  return flags.read(kind, values)


def run(
  text: str | None,
  kind: type[_S],
  execute: Callable[[_S], int],
  argv: Sequence[str] | None = None,
  *,
  resumes: bool = False,
) -> int:
  """Runs a program.

  Args:
    text: its docstring, for --help.
    kind: of its settings.
    execute: what it does; returns the exit code.
    argv: the command line, program first; by default that of this process.
    resumes: whether the same command goes on where an interrupted one stopped.

  Returns:
    The exit code; see above.
  """
  if argv is None:
    interrupts.install()
  interrupts.cleans(staging.discard)
  interrupts.keeps(lambda: _RESUMED if resumes else interrupts.AGAIN)
  absl_flags.FLAGS.mark_as_parsed()  # Libraries may read absl's own; here they keep defaults.
  logging.set_verbosity(logging.WARNING)  # JAX tells at INFO which devices are absent.
  try:
    asked = _asked(text or '', kind, sys.argv if argv is None else argv)
    if asked is None:
      return DONE
    if asked.doing:
      print(asked.doing, file=sys.stderr, flush=True)
    if isinstance(asked, Run) and asked.shard is not None:
      number, count = asked.part
      print(f'shard {number} of {count}', file=sys.stderr, flush=True)
    if asked.uses_device:
      devices.check()
    status = execute(asked)
    interrupts.keeps(lambda: 'all is done and written')
    return status
  except (UsageError, results.WorkdirError) as error:
    print(f'error: {error}', file=sys.stderr)
    return UNUSABLE
  except KeyboardInterrupt:
    print(f'\n{interrupts.told()}', file=sys.stderr)
    return INTERRUPTED
