"""The loop with a job that needs no model: order, resumption, failures, threads, what it says."""

import threading

import leases
import pytest

from experiments.lib import loop
from tetris_jax import data
from tetris_jax.runs import schema
from tetris_jax.runs import workdirs as results

CONFIG = {'flags': {}}


def dataset(count=5, unsized=(), sizes=(10,)):
  size = lambda k: None if k in unsized else (sizes[k % len(sizes)], 10)
  read = lambda k: data.Rejected(f'p{k}', 'failed', f'p{k} is damaged', size(k))
  return data.Dataset('toy', [
    data.Entry(f'p{k}', lambda k=k: read(k), lambda k=k: size(k)) for k in range(count)
  ])  # fmt: skip


class Counted(loop.Job):
  """Answers with the number of an instance; counts what it is asked for."""

  kind = 'attack'

  def __init__(self, raises=None, devices=1):
    self.programs = leases.Leases(devices, seconds=0.25)
    self.raises = raises or {}
    self.calls, self.threads, self.damaged = [], {}, {}

  def _enter(self, what, numbers):
    self.calls.append((what, tuple(numbers)))
    self.threads.setdefault(what, set()).add(threading.current_thread().name)
    error = self.raises.get((what, tuple(numbers)))
    if error is not None:
      raise error

  def prepare(self, group):
    self._enter('prepare', group.indices)
    # Every third instance cannot be read.
    made = [
      schema.empty_row(self.kind, f'p{k}', 'skipped', 'third', None)
      for k in group.indices
      if k % 3 == 2
    ]
    return loop.Prepared(group, made, [k for k in group.indices if k % 3 != 2] or None)

  def measure(self, given, say):
    self._enter('measure', given)
    # Not in order.
    return loop.Found(tuple(self.row(k) for k in reversed(given)), 10 * len(given), given)

  def row(self, k):
    iou = {'min': None, 'base': [k / 10], 'max': None}
    return {
      'instance': f'p{k}', 'status': 'ok', 'reason': '', 'size': [10, 10], 'iou': iou, 'biou': iou,
      'clicks': {'min': None, 'base': [[1.0, 2.0, 1]], 'max': None}, 'forward': 10, 'backward': 0,
      'warnings': [],
    }  # fmt: skip

  def finish(self, found, say):
    self._enter('finish', found.left)
    return [row | {'warnings': ['drawn']} for row in found.rows]

  def damage(self, group, rows):
    return {index: self.damaged[index] for index in group.indices if index in self.damaged}

  def did(self, what):
    return [numbers for one, numbers in self.calls if one == what]


def run(folder, job, count=5, batch_size=2, shard=(0, 1), unsized=()):
  with results.open_workdir(folder, CONFIG) as workdir:
    return loop.run(job, dataset(count, unsized), workdir, batch_size, shard)


def test_rows_in_the_order_of_the_data_set_and_totals(tmp_path, capsys):
  job = Counted()
  rows, totals = run(tmp_path, job)
  assert [row['instance'] for row in rows] == ['p0', 'p1', 'p2', 'p3', 'p4']
  assert [row['status'] for row in rows] == ['ok', 'ok', 'skipped', 'ok', 'ok']
  assert rows[0]['warnings'] == ['drawn'] and rows[4]['iou']['base'] == [0.4]
  assert results.read_rows(tmp_path / 'rows.jsonl') == rows
  assert totals == {'seconds': 0.75, 'compile_seconds': 0.0, 'programs': 0, 'evaluations': 40}
  assert job.did('measure') == [(0, 1), (3,), (4,)]
  assert '5/5 instances' in capsys.readouterr().err


def test_each_part_has_a_thread_of_its_own(tmp_path):
  job = Counted()
  run(tmp_path, job)
  (reader,), (writer,) = job.threads['prepare'], job.threads['finish']
  (device,) = job.threads['measure']
  assert reader.startswith('reader') and writer.startswith('writer')
  assert device.startswith('device')


@pytest.mark.parametrize('devices', [2, 4])
def test_devices_end_in_any_order_and_write_the_same(tmp_path, devices):
  class Backwards(Counted):
    def __init__(self, *given):
      super().__init__(*given)
      self.left = threading.Semaphore(0)

    def measure(self, given, say):
      # The first batch ends when all the others have.
      if given == [0, 1]:
        for _ in range(5):
          assert self.left.acquire(timeout=60)
      found = super().measure(given, say)
      self.left.release()
      return found

  rows, totals = run(tmp_path / 'one', Counted(), 12)
  job = Backwards(None, devices)
  assert run(tmp_path / 'many', job, 12) == (rows, totals)
  assert job.did('measure')[-1] == (0, 1)
  read = lambda name: (tmp_path / name / 'rows.jsonl').read_bytes()
  assert read('one') == read('many')
  shards = [
    {path.name: path.read_bytes() for path in (tmp_path / name / 'results').iterdir()}
    for name in ('one', 'many')
  ]
  assert shards[0] == shards[1] and len(shards[0]) == 6


def test_the_next_batch_is_read_before_this_one_is_measured(tmp_path):
  class Waits(Counted):
    read = threading.Event()

    def prepare(self, group):
      made = super().prepare(group)
      if group.indices == (2, 3):
        self.read.set()
      return made

    def measure(self, given, say):
      assert self.read.wait(60), 'the next batch was not read'
      return super().measure(given, say)

  assert [row['status'] for row in run(tmp_path, Waits())[0]].count('ok') == 4


@pytest.mark.parametrize('devices', [1, 3])
def test_programs_of_canvases_to_come_are_compiled_beside_the_batches(tmp_path, devices):
  class Compiles(Counted):
    def ahead(self, group, say):
      self._enter('ahead', group.indices)
      raise ValueError('is raised again where the batch is measured')

  job, sizes = Compiles(devices=devices), (10, 600)
  with results.open_workdir(tmp_path, CONFIG) as workdir:
    rows, _ = loop.run(job, dataset(9, sizes=sizes), workdir, 2)
  assert len(rows) == 9 and {row['status'] for row in rows} == {'ok', 'skipped'}
  # Not of the first canvas, with which the run begins, and once of the other.
  assert job.did('ahead') == [(1, 3)]
  (compiler,) = job.threads['ahead']
  assert compiler.startswith('compiler')
  what = [one for one, _ in job.calls]
  assert what.index('measure') < what.index('ahead')


def test_what_is_finished_is_not_done_again(tmp_path, capsys):
  first, totals = run(tmp_path, Counted())
  before = (tmp_path / 'rows.jsonl').read_bytes()
  job = Counted()
  again, same = run(tmp_path, job)
  # What was skipped is looked at again, for it may have been mended.
  assert job.calls == [('prepare', (2,))] and again == first and same == totals
  assert (tmp_path / 'rows.jsonl').read_bytes() == before
  assert 'resuming' in capsys.readouterr().err


def test_what_lies_damaged_on_disk_is_said_and_done_again(tmp_path, capsys):
  rows, _ = run(tmp_path, Counted())
  shard = tmp_path / 'results' / '00002.jsonl'
  shard.write_bytes(shard.read_bytes()[:-5])
  job = Counted()
  job.damaged = {1: 'p1.npz is missing'}
  assert run(tmp_path, job)[0] == rows
  # The other instance of its batch keeps its row.
  assert job.did('measure') == [(1,), (4,)]
  said = capsys.readouterr().err
  assert 'p1.npz is missing; it is made again' in said
  assert '00002.jsonl: truncated or altered' in said
  assert (
    '2 of 5 instances are done; again: 1 whose map or picture is missing or damaged, 1 skipped\n'
  ) in said


@pytest.mark.parametrize(
  ('where', 'failed'),
  [
    (('prepare', (2, 3)), ['p2', 'p3']),
    # What was known before the batch raised, p2 skipped, stays known.
    (('measure', (3,)), ['p3']),
    (('finish', (3,)), ['p3']),
  ],
)
def test_a_batch_that_raises_is_failed_rows_and_is_tried_again(tmp_path, capsys, where, failed):
  job = Counted({where: RuntimeError('out of memory\nand more')})
  rows, _ = run(tmp_path, job)
  bad = [row for row in rows if row['status'] == 'failed']
  assert [row['instance'] for row in bad] == failed
  assert {row['reason'] for row in bad} == {'RuntimeError: out of memory'}
  assert bad[0]['size'] == [10, 10] and bad[0]['iou'] is None
  assert 'Traceback' in capsys.readouterr().err
  fresh = Counted()
  rows, _ = run(tmp_path, fresh)
  assert fresh.did('measure') == [(3,)]
  assert [row['status'] for row in rows] == ['ok', 'ok', 'skipped', 'ok', 'ok']


@pytest.mark.parametrize('where', [('prepare', (2, 3)), ('measure', (3,)), ('finish', (3,))])
def test_a_folder_that_cannot_be_used_ends_the_run(tmp_path, where):
  job = Counted({where: results.WorkdirError('cannot write x: no space')})
  with pytest.raises(results.WorkdirError, match='no space'):
    run(tmp_path, job)
  assert not (tmp_path / 'rows.jsonl').exists()
  assert not (tmp_path / 'results' / '00001.jsonl').exists()
  # All that was finished before is kept.
  fresh = Counted()
  run(tmp_path, fresh)
  assert (0, 1) not in fresh.did('measure')


def test_an_interrupt_loses_nothing_that_was_measured(tmp_path):
  job = Counted({('measure', (4,)): KeyboardInterrupt()})
  with pytest.raises(KeyboardInterrupt):
    run(tmp_path, job)
  fresh = Counted()
  run(tmp_path, fresh)
  assert fresh.did('measure') == [(4,)]


def test_shards_have_the_batches_of_the_whole_run(tmp_path):
  whole, _ = run(tmp_path / 'whole', Counted(), 7)
  parts = [run(tmp_path / str(k), Counted(), 7, shard=(k, 2))[0] for k in range(2)]
  assert [[row['instance'] for row in part] for part in parts] == [
    ['p0', 'p1', 'p4', 'p5'], ['p2', 'p3', 'p6']
  ]  # fmt: skip
  assert sorted((row for part in parts for row in part), key=lambda row: row['instance']) == whole


def test_instances_of_unknown_size_are_rows_of_the_first_shard(tmp_path):
  for number, names in ((0, ['p0', 'p1', 'p3']), (1, ['p2'])):
    rows, _ = run(tmp_path / str(number), Counted(), 4, 2, (number, 2), unsized=(3,))
    assert [row['instance'] for row in rows] == names
    if number == 0:
      assert (rows[-1]['status'], rows[-1]['reason']) == ('failed', 'p3 is damaged')


def test_many_lost_files_are_counted_and_a_few_named(tmp_path, capsys):
  rows, _ = run(tmp_path, Counted(), 12)
  job = Counted()
  job.damaged = {index: f'p{index}.png is missing' for index in range(12)}
  assert run(tmp_path, job, 12)[0] == rows
  said = capsys.readouterr().err
  assert 'again: 8 whose map or picture is missing or damaged, 4 skipped\n' in said
  assert said.count('it is made again') == 3 and '\nand 5 more\n' in said


def test_a_lost_configuration_is_written_again_and_that_is_said(tmp_path, capsys):
  rows, _ = run(tmp_path, Counted())
  (tmp_path / 'config.json').write_bytes(b'')
  job = Counted()
  assert run(tmp_path, job)[0] == rows and job.did('measure') == []
  said = capsys.readouterr().err
  assert 'is written again, for 3 finished batches in results/ say that they are of this' in said
  assert (tmp_path / 'config.json').read_bytes()


def test_an_interruption_would_say_what_is_kept(tmp_path, monkeypatch):
  told = []
  monkeypatch.setattr(loop.interrupts, '_kept', loop.interrupts._kept)

  class Asks(Counted):
    def measure(self, given, say):
      told.append(loop.interrupts.told())
      return super().measure(given, say)

  run(tmp_path, Asks())
  assert told[0] == (
    f'interrupted: 0 of 5 instances are kept in {tmp_path}; the same command resumes the run'
  )
  assert '5 of 5 instances are kept' in loop.interrupts.told()


def test_what_finish_forgets_fails_its_batch(tmp_path, capsys):
  class Forgets(Counted):
    def finish(self, found, say):
      return []

  rows, _ = run(tmp_path, Forgets(), 2)
  assert [row['status'] for row in rows] == ['failed', 'failed']
  assert rows[0]['reason'] == "KeyError: 'p0'" and 'Traceback' in capsys.readouterr().err
