"""One bad instance costs its own row: wherever it raises, the others of its batch keep theirs."""


import jax.numpy as jnp
import leases
import numpy as np
import pytest
import toy

from experiments.lib import attack_job, guard, loop, memory, users_job
from experiments.lib.programs import Programs
from tetris_jax import data, presets, types
from tetris_jax.runs import schema
from tetris_jax.runs import workdirs as results

CANVAS = (128, 128)


def dataset(count=4):
  return data.Dataset('toy', [
    data.Entry(f'p{k}', lambda k=k: sample(k), lambda: (20, 20)) for k in range(count)
  ])  # fmt: skip


def sample(k, grey=9):
  mask = np.zeros((20, 20), bool)
  mask[4 : 14 + k % 4, 5:15] = True
  image = np.full((20, 20, 3), grey + k, np.uint8)
  return data.Sample(f'p{k}', image, mask, np.zeros_like(mask))


class Counted(loop.Job):
  """Answers with the number of an instance; raises where a batch holds the bad one."""

  kind = 'attack'

  def __init__(self, where, bad, error, skipped=()):
    self.programs = leases.Leases()
    self.where, self.bad, self.error, self.skipped = where, bad, error, skipped
    self.calls = []

  def _enter(self, what, numbers):
    self.calls.append((what, tuple(numbers)))
    if what == self.where and set(self.bad) & set(numbers):
      raise type(self.error)(*self.error.args)

  def prepare(self, group):
    self._enter('prepare', group.indices)
    own = [k for k in group.indices if k not in self.skipped]
    rows = [
      schema.empty_row('attack', f'p{k}', 'skipped', 'why', None)
      for k in group.indices if k in self.skipped
    ]  # fmt: skip
    return loop.Prepared(group, rows, own or None)

  def measure(self, given, say):
    self._enter('measure', given)
    return loop.Found([self.row(k) for k in given], len(given), given)

  def row(self, k):
    curves = {'min': None, 'base': [k / 10], 'max': None}
    return {
      'instance': f'p{k}', 'status': 'ok', 'reason': '', 'size': [20, 20], 'iou': curves,
      'biou': {**curves, 'base': [7.0] if self.where == 'row' and k in self.bad else [0.5]},
      'clicks': {**curves, 'base': [[1.0, 2.0, 1]]}, 'forward': 1, 'backward': 0, 'warnings': [],
    }  # fmt: skip

  def finish(self, found, say):
    return found.rows


def run(job, folder, count=4, batch_size=4):
  held = dataset(count)
  with results.open_workdir(folder, {'flags': {}}) as workdir:
    return guard.run(job, held, workdir, batch_size, (0, 1))


@pytest.mark.parametrize('where', ['prepare', 'measure', 'row'])
def test_the_others_keep_their_rows(tmp_path, capsys, where):
  good, _ = run(Counted(where, (), None), tmp_path / 'good')
  rows, totals = run(Counted(where, (2,), ValueError('odd\nand more')), tmp_path / 'bad')
  assert [row['status'] for row in rows] == ['ok', 'ok', 'failed', 'ok']
  assert [rows[k] for k in (0, 1, 3)] == [good[k] for k in (0, 1, 3)]
  expected = 'ValueError: odd' if where != 'row' else 'biou'
  assert expected in rows[2]['reason'] and rows[2]['size'] == [20, 20]
  assert totals['evaluations'] == (4 if where == 'row' else 3)
  assert "'p2'" in capsys.readouterr().err


def test_what_was_known_before_a_batch_raised_stays_known(tmp_path):
  job = Counted('measure', (2,), ValueError('odd'), skipped=(1,))
  rows, _ = run(job, tmp_path)
  assert [row['status'] for row in rows] == ['ok', 'skipped', 'failed', 'ok']
  assert [call for call in job.calls if call[0] == 'measure'] == [
    ('measure', (0, 2, 3)), ('measure', (0,)), ('measure', (2,)), ('measure', (3,)),
  ]  # fmt: skip


@pytest.mark.parametrize('where', ['prepare', 'measure'])
def test_a_batch_of_bad_instances_is_failed_rows(tmp_path, where):
  job = Counted(where, range(4), KeyError('odd'))
  rows, _ = run(job, tmp_path)
  assert {row['reason'] for row in rows} == {"KeyError: 'odd'"}
  # One alone need not be tried a second time.
  job = Counted('measure', (0,), KeyError('odd'))
  run(job, tmp_path / 'one', 1)
  assert job.calls == [('prepare', (0,)), ('measure', (0,))]


def test_what_one_has_no_memory_for_is_not_tried_with_the_others(tmp_path, capsys):
  job = Counted('measure', range(4), memory.OutOfMemoryError('too much; try --batch_size=1'))
  rows, _ = run(job, tmp_path)
  assert {row['reason'] for row in rows} == {'OutOfMemoryError: too much; try --batch_size=1'}
  assert len([call for call in job.calls if call[0] == 'measure']) == 2
  assert 'Traceback' not in capsys.readouterr().err


def test_a_program_that_cannot_be_compiled_is_told_once(tmp_path, capsys):
  class Broken(Counted):
    def measure(self, given, say):
      self.calls.append(('measure', tuple(given)))
      raise self.error

  job = Broken('', (), TypeError('odd shapes'))
  rows, _ = run(job, tmp_path)
  assert {row['reason'] for row in rows} == {'TypeError: odd shapes'}
  assert capsys.readouterr().err.count('Traceback') == 1
  assert [what for what, _ in job.calls].count('measure') == 2


def test_a_batch_that_is_too_large_to_be_stacked_says_so(tmp_path):
  class Large(Counted):
    def prepare(self, group):
      if len(group.indices) > 1:
        raise MemoryError('Unable to allocate 9 GiB')
      return super().prepare(group)

  rows, _ = run(Large('', (), None), tmp_path)
  assert {row['status'] for row in rows} == {'failed'}
  assert 'Unable to allocate 9 GiB: this process has run out of memory' in rows[0]['reason']
  assert rows[0]['reason'].endswith('try a --batch_size below 4')


@pytest.mark.parametrize('where', ['prepare', 'measure'])
def test_a_folder_that_cannot_be_used_ends_the_run(tmp_path, where):
  with pytest.raises(results.WorkdirError, match='no space'):
    run(Counted(where, (1,), results.WorkdirError('no space')), tmp_path)


def test_a_picture_of_another_size_than_its_header_says_fails_alone(tmp_path):
  entries = [
    data.Entry('p0', lambda: sample(0), lambda: (20, 20)),
    data.Entry('p1', lambda: large, lambda: (20, 20)),
  ]
  mask = np.ones((200, 20), bool)
  large = data.Sample('p1', np.zeros((200, 20, 3), np.uint8), mask, ~mask)
  held = data.Dataset('toy', entries)
  job = attack_job.AttackJob(Programs(toy.segmenter(), 0), held, None, 2, 0, tmp_path)
  prepared = guard.Guarded(job, held).prepare(data.Group(CANVAS, (0, 1)))
  (row,) = prepared.rows
  assert row['instance'] == 'p1' and '200 x 20 pixels, more than its canvas' in row['reason']
  assert prepared.given.group.indices == (0,)


def blind():
  """The toy, whose answer is no number on pictures darker than 8 of 255."""
  whole = toy.segmenter()

  def decode(params, context, clicks):
    logits, state = whole.decode(params, context, clicks)
    dark = jnp.max(context[0]) < 8 / 255
    return jnp.where(dark, jnp.nan, logits), state

  return types.Segmenter(whole.encode, whole.init, decode, whole.params, whole.info)


def jobs(made, held, folder):
  config = presets.get('baseline', num_clicks=1)
  plan = users_job.Plan(('uniform',), 2, {}, 1, 0)
  yield attack_job.AttackJob(made, held, config, 4, 0, folder)
  yield users_job.UsersJob(made, held, plan, 4, None)


@pytest.mark.slow
def test_what_is_no_number_stays_in_its_row(tmp_path):
  bright = data.Dataset('toy', [
    data.Entry(f'p{k}', lambda k=k: sample(k), lambda: (20, 20)) for k in range(3)
  ])  # fmt: skip
  one_dark = data.Dataset('toy', [
    data.Entry(f'p{k}', lambda k=k: sample(k, grey=0 if k == 1 else 9), lambda: (20, 20))
    for k in range(3)
  ])  # fmt: skip
  made = Programs(blind(), 0)
  for name in ('bright', 'dark'):
    (tmp_path / name).mkdir()
  for good, bad in zip(
    jobs(made, bright, tmp_path / 'bright'),
    jobs(made, one_dark, tmp_path / 'dark'),
    strict=True,
  ):
    kept = []
    for job, held in ((good, bright), (bad, one_dark)):
      guarded = guard.Guarded(job, held)
      given = guarded.prepare(data.Group(CANVAS, (0, 1, 2))).given
      kept.append(guarded.finish(guarded.measure(given, print), print))
    assert [row['status'] for row in kept[1]] == ['ok', 'failed', 'ok']
    assert 'not a finite number' in kept[1][1]['reason']
    assert [kept[0][k] for k in (0, 2)] == [kept[1][k] for k in (0, 2)]


def test_what_scoring_raises_costs_one_row():
  said = []
  make = lambda: 1 // 0
  row = guard.row('attack', sample(0), make, said.append)
  assert (row['instance'], row['status'], row['size']) == ('p0', 'failed', [20, 20])
  assert row['reason'].startswith('ZeroDivisionError') and 'Traceback' in said[0]
  with pytest.raises(results.WorkdirError):
    guard.row('attack', sample(0), lambda: (_ for _ in ()).throw(results.WorkdirError('x')), print)
