"""The largest batch that fits: found by few programs, kept by its run, the same for its shards."""

import json
import types as python_types

import jax
import numpy as np
import pytest
import toy

from experiments import attack, bench, heatmap, users
from experiments.lib import fitting, heatmap_job, memory, opening, programs, users_job
from experiments.lib.settings import UsageError
from tetris_jax import data, presets
from tetris_jax.runs import workdirs as results

MB = 1_000_000
NOTHING = {'seconds': 0.0, 'compile_seconds': 0.0, 'programs': 0, 'evaluations': 0}
CHIP = python_types.SimpleNamespace(platform='gpu', device_kind='Chip')


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path / 'cache'))


@pytest.fixture
def room(monkeypatch):
  """Says how many bytes are free, of which 85 % count, on a device that is no CPU."""

  def has(free):
    found = None if free is None else memory.Room(free, free, 'Chip')
    monkeypatch.setattr(memory, 'device_room', lambda device: found)
    monkeypatch.setattr(programs.Programs, 'device', CHIP)

  monkeypatch.setattr(opening, 'zoo', toy)
  return has


def test_sizes_are_few_and_end_where_asked():
  assert [*fitting.sizes(20)] == [1, 2, 3, 4, 6, 8, 12, 16]
  assert [*fitting.sizes(24)] == [1, 2, 3, 4, 6, 8, 12, 16, 24]
  assert [*fitting.sizes(1)] == [1] and [*fitting.sizes(2)] == [1, 2] and [*fitting.sizes(0)] == []


def found(need, most=512):
  tried = []

  def counted(size):
    tried.append(size)
    return need(size)

  return fitting.largest(CHIP, counted, most), tried


@pytest.mark.parametrize(('need', 'most', 'size', 'compiled'), [
  # A straight line is followed in one step.
  (lambda size: 100 + 10 * size, 512, 64, [1, 2, 64]),
  (lambda size: 100 + 10 * size, 50, 48, [1, 2, 48]),
  (lambda size: 100 + 10 * size, 1, 1, [1]),
  # Two that need the same say nothing against the largest.
  (lambda size: 100, 512, 512, [1, 2, 512]),
  # It bends down, as where rows are decoded in parts, or up.
  (lambda size: 100 + 10 * min(size, 8) + 2 * max(size - 8, 0), 512, 256, None),
  (lambda size: 100 + size * size, 512, 24, None),
  (lambda size: 100 + 10 * size + 300 * (size > 20), 512, 32, None),
  # What is too much already.
  (lambda size: 500 * size, 512, 1, [1, 2]),
  (lambda size: 5000 * size, 512, 1, [1]),
])  # fmt: skip
def test_the_largest_is_found_with_few_programs(room, need, most, size, compiled):
  room(1000)  # 850 of which count.
  fit, tried = found(need, most)
  assert fit.size == size
  assert len(tried) == len(set(tried)) <= 6
  if compiled is not None:
    assert tried == compiled
  if need(size) <= 850:
    assert size in tried and f'needs {memory.shown(need(size))}, ' in fit.why
  else:
    assert fit.why.startswith('and even that is doubtful')


def test_what_cannot_even_be_compiled_does_not_fit(room):
  room(1000)

  def need(size):
    if size > 4:
      raise memory.OutOfMemoryError('too much')
    return 100

  fit, tried = found(need, 64)
  assert fit.size in tried and 2 <= fit.size <= 4 and 64 in tried


def test_where_nobody_says_what_there_is_it_is_eight(room):
  room(None)
  assert found(lambda size: 1)[0].size == 8
  assert found(lambda size: 1, 5)[0].size == 4
  room(1000)
  fit, _ = found(lambda size: None)
  assert fit.size == 8 and 'the compiler does not say' in fit.why


def test_on_a_cpu_nothing_is_compiled_for_it():
  fit = fitting.largest(jax.devices()[0], lambda size: pytest.fail('compiled'))
  assert fit.size == 1 and fit.why.startswith('on a CPU more at once take no less time each')


def test_the_largest_canvas_counts_and_no_batch_is_larger_than_the_fullest(tmp_path):
  toy.write_folder(tmp_path, ((40, 56),) * 20 + ((200, 40),) * 17)
  dataset = data.open_dataset('folder', str(tmp_path))
  assert fitting.most_on(dataset) == ((256, 128), 20)
  assert fitting.most_on(dataset.select(())) == ((128, 128), 1)


def asked(folder, **more):
  few = {'model': 'toy', 'preset': 'baseline', 'num_clicks': 1, 'users': 0, 'pictures': 0}
  place = {'dataset': 'folder', 'data_dir': str(folder / 'd'), 'workdir': str(folder / 'w')}
  return attack.Settings(**{**few, **place, 'batch_size': 'auto', **more})


def stated(place):
  return json.loads((place / 'config.json').read_text())['flags']['batch_size']


@pytest.mark.slow
def test_a_run_is_made_with_what_fits_and_keeps_it(tmp_path, room, monkeypatch, capsys):
  toy.write_folder(tmp_path / 'd', ((40, 56),) * 5)
  room(10**12)
  monkeypatch.setattr(programs.Programs, 'need', lambda self, *given, **static: 100 * MB)
  assert attack.execute(asked(tmp_path)) == 0
  said = capsys.readouterr().err
  assert 'batch_size=auto: 4, needs 100 MB, ' in said and '1000.0 GB of Chip are free' in said
  assert stated(tmp_path / 'w') == 4
  rows = (tmp_path / 'w' / 'rows.jsonl').read_bytes()
  # On a device with less, the run goes on as it was begun.
  (tmp_path / 'w' / 'results' / '00001.jsonl').unlink()
  room(110 * MB)
  assert attack.execute(asked(tmp_path)) == 0
  said = capsys.readouterr().err
  assert f'batch_size=auto: 4, as {tmp_path / "w" / "config.json"} states' in said
  assert '4 of 5 instances are done' in said
  assert (tmp_path / 'w' / 'rows.jsonl').read_bytes() == rows
  # Both are the run that a number would have made.
  assert attack.execute(asked(tmp_path, batch_size=4)) == 0
  with pytest.raises(results.WorkdirError, match='batch_size: 4 there, 2 now'):
    attack.execute(asked(tmp_path, batch_size=2))


def test_shards_take_what_those_beside_them_have(tmp_path, room, monkeypatch):
  toy.write_folder(tmp_path / 'd', ((40, 56),) * 5)
  monkeypatch.setattr(programs.Programs, 'need', lambda self, *given, **static: 100 * MB)
  monkeypatch.setattr(attack.guard, 'run', lambda *given: ([], NOTHING))
  for number, free in enumerate((10**12, 1)):
    room(free)
    part = {'num_shards': 2, 'shard_id': number}
    assert attack.execute(asked(tmp_path, **part)) == 0
    assert stated(tmp_path / 'w' / f'shard-{number:05d}-of-00002') == 4


@pytest.mark.parametrize('program', [heatmap, users])
def test_maps_and_users_find_theirs(tmp_path, room, monkeypatch, program):
  toy.write_folder(tmp_path / 'd', ((40, 56),) * 3)
  room(10 * MB)
  needs = lambda self, function, batch, *given, **static: MB * (2 + 2 * batch.mask.shape[0])
  monkeypatch.setattr(programs.Programs, 'need', needs)
  began = []

  def run(job, dataset, workdir, size, part):
    began.append((size, job._slots, stated(workdir.path)))
    raise UsageError('enough')

  monkeypatch.setattr(program.guard, 'run', run)
  place = {'data_dir': str(tmp_path / 'd'), 'workdir': str(tmp_path / 'w')}
  with pytest.raises(UsageError, match='enough'):
    program.execute(program.Settings(model='toy', dataset='folder', batch_size='auto', **place))
  assert began == [(3, 3, 3)]


def test_jobs_know_the_programs_that_they_call(tmp_path, room, monkeypatch):
  """What is compiled for its need is compiled again, with the same shapes, to be called."""
  toy.write_folder(tmp_path / 'd', ((40, 56),) * 2)
  dataset = data.open_dataset('folder', str(tmp_path / 'd'))
  needed, called = [], []
  shapes = lambda tree: [(one.shape, str(one.dtype)) for one in jax.tree.leaves(tree)]
  note = lambda into, function, given, static: into.append((function, shapes(given), static))

  def need(self, function, *given, **static):
    note(needed, function, given, static)
    return 1

  def call(self, say, function, *given, **static):
    note(called, function, given, static)
    raise ZeroDivisionError

  monkeypatch.setattr(programs.Programs, 'need', need)
  monkeypatch.setattr(programs.Programs, 'call', call)
  made = programs.Programs(toy.segmenter(), 0)
  config = presets.get('tetris', num_clicks=1)
  group = data.Group((128, 128), (0, 1))
  walks = users.Settings(model='toy').plan.walks
  plan = users_job.Plan(('uniform',), 20, walks, 1, 0)
  maps = heatmap_job.HeatmapJob(made, dataset, [config], 1, 2, tmp_path)
  crowd = users_job.UsersJob(made, dataset, plan, 2, None)
  attacked = attack.opened(asked(tmp_path, batch_size=2, users=3))
  # The fullest map there can be, beside that of these objects.
  pixels = np.full((2, 128, 128), True)
  attacking = attacked.job(made, tmp_path)
  for job, act in (
    (attacking, lambda: attacking.measure(attacking.prepare(group).given, print)),
    (crowd, lambda: crowd.measure(crowd.prepare(group).given, print)),
    (maps, lambda: maps.truth(data_batch(pixels), print)),
  ):
    needed.clear(), called.clear()
    assert job.need((128, 128)) == 1
    with pytest.raises(ZeroDivisionError):
      act()
    assert called == needed[:1]


def data_batch(mask):
  batch = jax.tree.map(lambda one: np.zeros(one.shape, one.dtype), fitting.shapes((128, 128), 2))
  return batch._replace(mask=mask)


@pytest.mark.slow
def test_what_a_program_needs_is_what_it_is_said_to_need_when_it_is_called():
  made, said = programs.Programs(toy.segmenter(), 0), []
  config = presets.get('baseline', num_clicks=1)
  need = made.need(programs.attack, fitting.shapes((64, 64), 4), config=config)
  assert need < made.need(programs.attack, fitting.shapes((64, 64), 8), config=config)
  batch = jax.tree.map(
    lambda one: np.ones(one.shape, one.dtype), fitting.shapes((64, 64), 4)
  )
  made.call(said.append, programs.attack, batch, config=config)
  assert f'memory: {memory.shown(need)} for 2 batches of 4, ' in said[-1]
  assert need > 4 * 64 * 64 * 3 * 4


def test_a_benchmark_takes_it_too(tmp_path, room, monkeypatch, capsys):
  toy.write_folder(tmp_path / 'd', ((40, 56),))
  monkeypatch.setattr(bench.rates, 'measure', lambda *args: {'batch': len(args[2].size)})
  monkeypatch.setattr(fitting, 'LARGEST', 16)
  settings = bench.Settings(
    model='toy', preset='baseline', num_clicks=1, dataset='folder',
    data_dir=str(tmp_path / 'd'), batch_sizes=('1', 'auto'),
  )  # fmt: skip
  monkeypatch.setattr(programs.Programs, 'need', lambda self, *given, **static: MB)
  room(10**12)
  assert [one['batch'] for one in bench.measure(settings)['results']] == [1, 16]
  assert 'auto: 16, needs ' in capsys.readouterr().err
