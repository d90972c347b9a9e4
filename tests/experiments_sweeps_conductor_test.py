"""Who does what next: every batch once, lost ones again, bad ones twice."""

import collections
import io
import itertools

import crews
import pytest

from experiments.lib.progress import Progress
from experiments.sweeps import conductor


def conducted(crew, *runs):
  out = io.StringIO()
  conductor.Conductor(runs, crew, Progress(0, stream=out)).conduct()
  return out.getvalue()


def by_batch(crew):
  found = collections.defaultdict(list)
  for worker, task in crew.gave:
    found[task.run, task.batch].append(worker)
  return found


def all_ok(run):
  return run.made == dict.fromkeys(range(2 * run.batches), 'ok')


def test_every_batch_of_every_run_is_done_once():
  crew, runs = crews.Crew({'a': 1, 'b': 2}), [crews.Run(n, 5 + n) for n in range(3)]
  said = conducted(crew, *runs)
  assert all(all_ok(run) and run.ended == 1 for run in runs)
  assert all(len(workers) == 1 for workers in by_batch(crew).values())
  assert len(crew.gave) == 3 + 5 + 6 + 7 and '36/36 instances' in said
  assert crew.wanted[0] == 3


def test_a_run_without_batches_left_ends_too():
  run = crews.Run(0, 0)
  conducted(crews.Crew({'a': 1}), run)
  assert run.ended == 1


def test_workers_keep_to_the_run_and_the_canvas_they_have_programs_for():
  crew, runs = crews.Crew({'a': 1, 'b': 1}), [crews.Run(0, 12), crews.Run(1, 12)]
  conducted(crew, *runs)
  for worker in 'ab':
    mine = [(task.run, task.canvas) for name, task in crew.gave if name == worker and task.indices]
    changes = sum(one != other for one, other in itertools.pairwise(mine))
    assert changes <= 4, mine


def test_what_a_lost_worker_had_is_done_by_others():
  lost = []

  def answer(worker, task):
    if worker == 'a' and task.batch == 3:
      lost.append(worker)
      return None
    return crews.result(task)

  crew, run = crews.Crew({'a': 1, 'b': 1}, answer), crews.Run(0, 8)
  crew.devices = {'a': 1}
  crew.joining = {5: {'b': 1}}
  conducted(crew, run)
  assert all_ok(run) and lost == ['a'] and run.ended == 1
  assert by_batch(crew)[0, 3][-1] == 'b'


def test_a_batch_that_ends_every_worker_is_failed_rows_at_last():
  names = iter(range(99))

  def answer(worker, task):
    if task.batch != 2:
      return crews.result(task)
    crew.joining[0] = {f'w{next(names)}': 1}
    return None

  crew, run = crews.Crew({'a': 1}, answer), crews.Run(0, 4)
  conducted(crew, run)
  assert run.ended == 1 and [index for index, was in run.made.items() if was != 'ok'] == [4, 5]
  assert run.why[2] == '5 workers were lost with this batch in hand; the last: its node died'


def test_what_raises_is_tried_once_more_elsewhere():
  def answer(worker, task):
    return crews.result(task, error='ValueError: no' if task.batch == 1 else '')

  crew, run = crews.Crew({'a': 1, 'b': 1}, answer), crews.Run(0, 4)
  conducted(crew, run)
  assert run.why == {1: 'ValueError: no'} and run.made[2] == run.made[3] == 'failed'
  assert sorted(by_batch(crew)[0, 1]) == ['a', 'b'] and run.ended == 1


def test_failed_rows_are_tried_once_more_elsewhere_and_only_those():
  bad = []

  def answer(worker, task):
    found = crews.result(task)
    if 5 in task.indices:
      bad.append((worker, task.indices))
      if len(bad) == 1:
        found.rows[5]['status'] = 'failed'
    return found

  crew, run = crews.Crew({'a': 1, 'b': 1}, answer), crews.Run(0, 4)
  said = conducted(crew, run)
  assert all_ok(run) and run.ended == 1 and '8/8 instances' in said
  assert [indices for _, indices in bad] == [(4, 5), (5,)] and bad[0][0] != bad[1][0]


def test_one_worker_alone_tries_again_itself():
  tries = []

  def answer(worker, task):
    tries.append(task.batch)
    return crews.result(task, error='no' if tries.count(1) == 1 and task.batch == 1 else '')

  crew, run = crews.Crew({'a': 1}, answer), crews.Run(0, 3)
  conducted(crew, run)
  assert all_ok(run) and tries.count(1) == 2


def test_a_worker_of_another_kind_does_no_batch_of_the_run():
  kinds = {'a': 'a', 'b': 'b'}
  answer = lambda worker, task: crews.result(task, config={'kind': kinds[worker]})
  crew, run = crews.Crew({'a': 1}, answer), crews.Run(0, 6)
  crew.joining = {2: {'b': 1}}
  said = conducted(crew, run)
  assert all_ok(run) and run.ended == 1 and run.error == ''
  assert 'run0: not done there: b has devices.kind: b now' in said
  assert [worker for worker, _ in crew.gave].count('b') <= 2


def test_a_run_that_nobody_can_do_ends_with_a_reason():
  first = []

  def answer(worker, task):
    first.append(task.batch)
    return crews.result(task, config={'kind': 'a' if task.batch < 0 else 'b'})

  crew, runs = crews.Crew({'a': 1}, answer), [crews.Run(0, 3)]
  conducted(crew, *runs)
  assert runs[0].error == 'a has devices.kind: b now' and runs[0].ended == 0 and runs[0].closed


@pytest.mark.parametrize('where', ['driver', 'workers'])
def test_a_run_that_cannot_be_opened_costs_no_other(where):
  def answer(worker, task):
    bad = where == 'workers' and task.run == 0
    return crews.result(task, error='UsageError: no weights' if bad else '')

  crew = crews.Crew({'a': 1, 'b': 1}, answer)
  runs = [crews.Run(0, 3, 'no data' if where == 'driver' else ''), crews.Run(1, 3)]
  said = conducted(crew, *runs)
  assert runs[0].error and runs[0].error in said and runs[0].closed
  assert all_ok(runs[1]) and runs[1].ended == 1
