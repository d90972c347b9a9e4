"""Which process this is, as launchers say it; and what they leave out or contradict."""

import pytest

from experiments.lib import ranks
from experiments.lib.settings import UsageError

STEP = {'SLURM_PROCID': '3', 'SLURM_STEP_NUM_TASKS': '8', 'SLURM_NTASKS': '8'}
ARRAY = {
  'SLURM_ARRAY_TASK_ID': '6', 'SLURM_ARRAY_TASK_MIN': '2', 'SLURM_ARRAY_TASK_MAX': '8',
  'SLURM_ARRAY_TASK_COUNT': '4',
}  # fmt: skip
# What mpirun's daemons are started with.
DAEMON = {'SLURM_PROCID': '1', 'SLURM_STEP_NUM_TASKS': '2'}


@pytest.mark.parametrize(
  ('variables', 'number', 'count'),
  [
    (STEP, 3, 8),
    # A batch script runs once, before any step.
    (ARRAY | {'SLURM_PROCID': '0', 'SLURM_NTASKS': '1'}, 2, 4),
    (ARRAY | STEP, 2 * 8 + 3, 32),
    (ARRAY | {'SLURM_ARRAY_TASK_COUNT': '1', 'SLURM_ARRAY_TASK_MIN': '6',
              'SLURM_ARRAY_TASK_MAX': '6'}, 0, 1),
    (DAEMON | {'OMPI_COMM_WORLD_RANK': '5', 'OMPI_COMM_WORLD_SIZE': '16'}, 5, 16),
    ({'PMI_RANK': '1', 'PMI_SIZE': '4'}, 1, 4),
    ({'MV2_COMM_WORLD_RANK': '0', 'MV2_COMM_WORLD_SIZE': '2'}, 0, 2),
    ({'JOB_COMPLETION_INDEX': '2', 'JOB_COMPLETIONS': '5'}, 2, 5),
    ({'JOB_COMPLETION_INDEX': '2', 'JOB_COMPLETIONS': '5', 'JOB_INDEX': '1', 'JOB_REPLICAS': '3'},
     7, 15),
    ({'TPU_WORKER_ID': '1', 'TPU_WORKER_HOSTNAMES': 'a,b,c,d'}, 1, 4),
    ({'TPU_WORKER_ID': '1', 'TPU_WORKER_HOSTNAMES': 'a,b', 'MEGASCALE_SLICE_ID': '2',
      'MEGASCALE_NUM_SLICES': '3', 'JOB_COMPLETION_INDEX': '1'}, 5, 6),
    ({'MEGASCALE_SLICE_ID': '2', 'MEGASCALE_NUM_SLICES': '3'}, 2, 3),
  ],
)  # fmt: skip
def test_launchers_say_who_is_who(variables, number, count):
  rank = ranks.found(variables=variables)
  assert (rank.number, rank.of) == (number, count) and rank.source
  assert ranks.found(count, variables) == rank
  with pytest.raises(UsageError, match=f'there are {count} processes, but --num_shards=99'):
    ranks.found(99, variables)


def test_elements_of_an_array_have_all_numbers():
  found = [
    ranks.found(variables=ARRAY | {'SLURM_ARRAY_TASK_ID': str(at)}).number for at in (2, 4, 6, 8)
  ]
  assert found == [0, 1, 2, 3]


@pytest.mark.parametrize('variables', [
  {'JOB_COMPLETION_INDEX': '3'},
  # Of a slice of one host, which every pod of a Job may be.
  {'JOB_COMPLETION_INDEX': '3', 'TPU_WORKER_ID': '0', 'TPU_WORKER_HOSTNAMES': 'localhost'},
  {'TPU_WORKER_ID': '3'},
])  # fmt: skip
def test_who_does_not_know_how_many_has_to_be_told(variables):
  with pytest.raises(UsageError, match='this is process 3, but not of how many; give --num_sh'):
    ranks.found(variables=variables)
  assert ranks.found(4, variables)[:2] == (3, 4)
  with pytest.raises(UsageError, match='process 3 of 3; expected 0 to 2'):
    ranks.found(3, variables)


@pytest.mark.parametrize(('variables', 'said'), [
  ({}, 'neither SLURM nor MPI, a Kubernetes Job or a TPU slice says here'),
  # A batch script outside of a step is one process, whatever the job may start.
  ({'SLURM_PROCID': '0', 'SLURM_NTASKS': '8'}, 'neither SLURM nor'),
  (STEP | {'SLURM_PROCID': 'x'}, "SLURM_PROCID is 'x', expected a whole number"),
  (STEP | {'SLURM_PROCID': '-1'}, "SLURM_PROCID is '-1'"),
  (STEP | {'SLURM_PROCID': '8'}, 'process 8 of 8; expected 0 to 7'),
  (ARRAY | {'SLURM_ARRAY_TASK_COUNT': '3'}, 'no place in a row; give all elements'),
  (ARRAY | {'SLURM_ARRAY_TASK_ID': '5'}, 'no place in a row'),
  ({'SLURM_ARRAY_TASK_ID': '1'}, 'SLURM_ARRAY_TASK_MIN is not set'),
  ({'JOB_COMPLETION_INDEX': '0', 'JOB_COMPLETIONS': '2', 'JOB_INDEX': '1'}, 'JOB_REPLICAS is not'),
])  # fmt: skip
def test_what_is_no_rank_is_refused(variables, said):
  with pytest.raises(UsageError, match=f'--shard=auto: .*{said}'):
    ranks.found(variables=variables)


def test_the_environment_is_read(monkeypatch):
  for name in (*STEP, *ARRAY):
    monkeypatch.delenv(name, raising=False)
  for name, value in STEP.items():
    monkeypatch.setenv(name, value)
  assert ranks.found()[:2] == (3, 8)
