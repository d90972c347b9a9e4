"""What the launchers of several programs share: usage errors, several processes, how they end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from absl import flags, logging

from experiments.lib import loop
from tetris_jax.runs import workdirs as results

__all__ = ['UsageError', 'exit_status', 'exit_with', 'join', 'join_by_flags']


class UsageError(Exception):
  """The run cannot start; the message names the flag, what was found, and what to do."""


def exit_status(rows: Sequence[Any], made: Mapping[str, Any], written: str) -> int:
  """What a launcher ends with, which it says where it is not plain, and which instances failed.

  Args:
    rows: of this shard.
    made: its summary, with the counts.
    written: the file that tells more.

  Returns:
    0, or 3 when an instance failed, or 1 when there are instances and none was measured.
  """
  if not rows:
    print('this shard has no instances: there are fewer batches than shards')
    return 0
  for line in loop.without_numbers(rows, written):
    print(line, file=sys.stderr)
  if not made['n_ok']:
    print(f'error: no instance was measured; see {written}', file=sys.stderr)
    return 1
  return 3 if made['n_failed'] else 0


def join(coordinator: str | None, num_processes: int | None, process_id: int | None) -> None:
  """Joins the other JAX processes of a run; to be called before anything touches a device.

  Args:
    coordinator: host:port of process 0, "auto", or None to run alone.
    num_processes: how many there are; None with "auto".
    process_id: which one this is, from 0; None with "auto".

  Raises:
    UsageError: flags that do not belong together, or processes that cannot be joined.
  """
  numbered = num_processes is not None and process_id is not None
  if coordinator is None or coordinator == 'auto':
    if num_processes is not None or process_id is not None:
      raise UsageError('--num_processes and --process_id need --coordinator=HOST:PORT')
  elif not numbered:
    raise UsageError(f'--coordinator={coordinator} needs --num_processes and --process_id')
  elif not 0 <= (process_id or 0) < (num_processes or 0):
    raise UsageError(f'--process_id={process_id} of --num_processes={num_processes}')
  if coordinator is None:
    return
  address = None if coordinator == 'auto' else coordinator
  try:
    jax.distributed.initialize(address, num_processes, process_id)
  except (RuntimeError, ValueError) as error:
    raise UsageError(f'--coordinator={coordinator}: {error}') from error


def exit_with(argv: Sequence[str], run: Callable[[], int], resumes: bool = True) -> None:
  """Exits with what `run` returns, or with 2 or 130 where it raises; for the mains of launchers.

  Args:
    argv: the command line behind the flags, which has to be empty.
    run: the program; usage and work folder errors are told and end with 2.
    resumes: whether the same command goes on where an interrupted one stopped.
  """
  if not flags.FLAGS['verbosity'].present:
    logging.set_verbosity(logging.WARNING)  # JAX tells at INFO which devices are absent.
  try:
    if len(argv) > 1:
      raise UsageError(f'unexpected argument {argv[1]!r}; flags are given as --name=value')
    status = run()
  except (UsageError, results.WorkdirError) as error:
    print(f'error: {error}', file=sys.stderr)
    status = 2
  except KeyboardInterrupt:
    ending = '; the same command resumes the run' if resumes else ''
    print(f'\ninterrupted{ending}', file=sys.stderr)
    status = 130
  sys.exit(status)


def join_by_flags() -> None:
  """`join` as the flags say."""
  join(*(flags.FLAGS[name].value for name in ('coordinator', 'num_processes', 'process_id')))
