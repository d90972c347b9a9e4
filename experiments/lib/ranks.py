"""Which of several processes this is, as the launcher that started them says in the environment.

Nothing is asked of anybody and no process waits for another: a shard needs two numbers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import NamedTuple

from experiments.lib.groups import UsageError

__all__ = ['Rank', 'found']


class Rank(NamedTuple):
  """A process among others.

  Attributes:
    number: its own, from 0.
    of: how many there are; None where the launcher does not say.
    source: who says so.
  """

  number: int
  of: int | None
  source: str


_Variables = Mapping[str, str]

# Of whatever starts processes by MPI; within a SLURM step of its own, whose variables are then
# those of the daemons.
_MPI = (
  ('Open MPI', 'OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE'),
  ('MVAPICH', 'MV2_COMM_WORLD_RANK', 'MV2_COMM_WORLD_SIZE'),
  ('PMI', 'PMI_RANK', 'PMI_SIZE'),
)


def _whole(variables: _Variables, name: str) -> int:
  """A variable as a number; raises UsageError for what is none."""
  text = variables.get(name, '')
  if not text.strip().isdecimal():
    said = f'is {text!r}, expected a whole number' if name in variables else 'is not set'
    raise UsageError(f'--shard=auto: {name} {said}; give --shard_id and --num_shards instead')
  return int(text)


def _mpi(variables: _Variables) -> Rank | None:
  for source, number, count in _MPI:
    if number in variables and count in variables:
      return Rank(_whole(variables, number), _whole(variables, count), source)
  return None


def _slurm(variables: _Variables) -> Rank | None:
  """Tasks of a step, elements of a job array, or the tasks of every element."""
  # A batch script itself has a SLURM_PROCID too, but is in no step of several tasks.
  step = {'SLURM_PROCID', 'SLURM_STEP_NUM_TASKS'} <= variables.keys()
  task = (
    Rank(_whole(variables, 'SLURM_PROCID'), _whole(variables, 'SLURM_STEP_NUM_TASKS'), 'SLURM')
    if step
    else None
  )
  if 'SLURM_ARRAY_TASK_ID' not in variables:
    return task
  names = ('ID', 'MIN', 'MAX', 'COUNT')
  at, least, most, count = (_whole(variables, f'SLURM_ARRAY_TASK_{name}') for name in names)
  between = max((most - least) // max(count - 1, 1), 1)
  if least + between * (count - 1) != most or (at - least) % between:
    raise UsageError(
      f'--shard=auto: {at} of a SLURM job array of {count} elements between {least} and {most} '
      'has no place in a row; give all elements, such as --array=0-7, also when some are done '
      'already, or --shard_id and --num_shards'
    )
  inner, tasks = (task.number, task.of or 1) if task else (0, 1)
  return Rank((at - least) // between * tasks + inner, count * tasks, 'a SLURM job array')


def _slices(variables: _Variables) -> Rank | None:
  """Hosts of several TPU slices."""
  if 'MEGASCALE_NUM_SLICES' not in variables:
    return None
  host = _hosts(variables) or Rank(0, 1, '')
  number, hosts = _whole(variables, 'MEGASCALE_SLICE_ID'), host.of or 1
  slices = _whole(variables, 'MEGASCALE_NUM_SLICES')
  return Rank(number * hosts + host.number, slices * hosts, 'TPU slices')


def _kubernetes(variables: _Variables) -> Rank | None:
  """An indexed Job, or one of those of a JobSet; the number of its pods nobody tells a pod."""
  if 'JOB_COMPLETION_INDEX' not in variables:
    return None
  number = _whole(variables, 'JOB_COMPLETION_INDEX')
  if 'JOB_COMPLETIONS' not in variables:
    return Rank(number, None, 'a Kubernetes Job')
  pods = _whole(variables, 'JOB_COMPLETIONS')
  if 'JOB_INDEX' not in variables:
    return Rank(number, pods, 'a Kubernetes Job')
  jobs = _whole(variables, 'JOB_REPLICAS')
  return Rank(_whole(variables, 'JOB_INDEX') * pods + number, jobs * pods, 'a JobSet')


def _hosts(variables: _Variables) -> Rank | None:
  """Hosts of one TPU slice."""
  for name in ('TPU_WORKER_ID', 'CLOUD_TPU_TASK_ID'):
    if name in variables:
      hosts = [host for host in variables.get('TPU_WORKER_HOSTNAMES', '').split(',') if host]
      return Rank(_whole(variables, name), len(hosts) or None, 'a TPU slice')
  return None


# A pod with TPUs has the variables of its slice too, and those of its Job tell more.
_SOURCES: tuple[Callable[[_Variables], Rank | None], ...] = (
  _mpi, _slurm, _slices, _kubernetes, _hosts
)


def found(count: int | None = None, variables: _Variables | None = None) -> Rank:
  """Which process this is.

  Args:
    count: of all, where the caller knows; needed where the launcher does not say.
    variables: of the environment; by default this process's own.

  Raises:
    UsageError: there is no such variable, one is no number, or they contradict each other.
  """
  variables = os.environ if variables is None else variables
  rank = next(filter(None, (source(variables) for source in _SOURCES)), None)
  if rank is None:
    raise UsageError(
      '--shard=auto: neither SLURM nor MPI, a Kubernetes Job or a TPU slice says here which '
      'process this is; give --shard_id and --num_shards'
    )
  if rank.of is None and count is None:
    raise UsageError(
      f'--shard=auto: {rank.source} says that this is process {rank.number}, but not of how many; '
      'give --num_shards too'
    )
  if None not in (rank.of, count) and rank.of != count:
    raise UsageError(
      f'--shard=auto: {rank.source} says that there are {rank.of} processes, but '
      f'--num_shards={count}; leave it out'
    )
  whole = rank._replace(of=rank.of if count is None else count)
  if whole.of is None or whole.number >= whole.of:
    raise UsageError(
      f'--shard=auto: {rank.source} says that this is process {rank.number} of {whole.of}; '
      f'expected 0 to {(whole.of or 0) - 1}'
    )
  return whole
