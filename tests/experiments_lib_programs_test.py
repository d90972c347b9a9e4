"""Programs: compiled once per shape, counted, and the same on all devices as on one."""

import gc
import os
import pathlib
import re
import subprocess
import sys
import threading
import weakref

import jax
import numpy as np
import pytest
import toy

import tetris_jax
from experiments.lib import memory, programs
from tetris_jax import data, presets


def batch_of(count, canvas=(64, 64)):
  rng = np.random.default_rng(0)
  samples = []
  for k in range(count):
    mask = np.zeros((40, 44), bool)
    mask[8 : 30 + k, 10:32] = True
    samples.append(
      data.Sample(f'p{k}', rng.integers(0, 255, (40, 44, 3), np.uint8), mask, np.zeros_like(mask))
    )
  return data.stack(samples, canvas, count)[0]


def doubled(key, segmenter, batch, *more, factor=2):
  del key
  area = jax.numpy.sum(batch.mask, axis=(1, 2), dtype=jax.numpy.int32)
  return area * factor, jax.numpy.full(area.shape, segmenter.params['radius']), *more


def test_a_program_is_compiled_once_per_shape_and_setting():
  made, said = programs.Programs(toy.segmenter(), 0), []
  area = batch_of(2).mask.sum((1, 2))
  for _ in range(2):
    twice, radius = made.call(said.append, doubled, batch_of(2))
    np.testing.assert_array_equal(twice, 2 * area)
    np.testing.assert_array_equal(radius, [15.0, 15.0])
    assert isinstance(twice, np.ndarray)
  assert made.spent.count == 1 and said[0] == 'compiling for pictures up to 64 x 64'
  assert re.fullmatch(r'memory: \d+ [MG]B for 2 batches of 2, [\d.]+ [MG]B are free', said[1])
  np.testing.assert_array_equal(made.call(said.append, doubled, batch_of(2), factor=3)[0], 3 * area)
  made.call(said.append, doubled, batch_of(2, (128, 64)))
  made.call(said.append, doubled, batch_of(4))
  found = made.call(said.append, doubled, batch_of(2), np.arange(2))
  np.testing.assert_array_equal(found[2], [0, 1])
  assert 2 * made.spent.count == len(said) == 10
  assert said[4] == 'compiling for pictures up to 128 x 64'
  assert made.spent.compile_seconds > 0 and made.spent.seconds > 0


def test_devices_are_leased_and_share_what_is_compiled():
  made, said = programs.Programs(toy.segmenter(), 0), []
  assert made.devices == len(jax.local_devices()) == 2
  first = made.call(said.append, doubled, batch_of(2), np.arange(2))
  with made.lease() as one, made.lease() as other:
    found = made.call(said.append, doubled, batch_of(2), np.arange(2))
    assert made._held()[-1][0].device == jax.local_devices()[1]
  jax.tree.map(np.testing.assert_array_equal, first, found)
  assert made.spent.count == 1 and len(said) == 2
  # What was called counts for the lease on which it was called.
  assert one.seconds == 0 and 0 < other.seconds < made.spent.seconds and other.count == 0
  with made.lease(), made.lease():
    waiting = threading.Thread(target=lambda: made.lease().__enter__(), daemon=True)
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
  waiting.join(60)
  assert not waiting.is_alive()


def test_threads_that_ask_for_one_program_compile_it_once():
  made, said = programs.Programs(toy.segmenter(), 0), []

  def ask():
    with made.lease():
      made.call(said.append, doubled, batch_of(2))

  asking = [threading.Thread(target=ask) for _ in range(4)]
  for one in asking:
    one.start()
  for one in asking:
    one.join()
  assert made.spent.count == 1 and len(said) == 2


def test_where_memory_maps_run_short_other_programs_are_let_go(monkeypatch):
  made, said = programs.Programs(toy.segmenter(), 0), []
  broken = raising(ValueError('no such thing'))
  with pytest.raises(ValueError, match='no such thing'):
    made.call(said.append, broken, batch_of(1))

  def areas():
    with made.lease(), made.lease():
      both = [made.call(said.append, doubled, batch_of(k)) for k in (1, 2)]
    return both, [made.call(said.append, doubled, batch_of(k)) for k in (1, 2)]

  first = areas()
  assert made.spent.count == 2 and [len(lane.calls) for lane in made._lanes] == [2, 2]
  monkeypatch.setattr(programs.memory, 'crowded', lambda: True)
  jax.tree.map(np.testing.assert_array_equal, areas(), first)
  assert made.spent.count == 2
  made.call(said.append, doubled, batch_of(3))
  assert made.spent.count == 3 and [len(lane.calls) for lane in made._lanes] == [1, 0]
  # What is needed again is compiled again, and told as such; what is broken stays so.
  jax.tree.map(np.testing.assert_array_equal, areas(), first)
  assert made.spent.count == 7
  with pytest.raises(ValueError, match='no such thing'):
    made.call(said.append, broken, batch_of(1))
  assert sum(line.startswith('compiling') for line in said) == 8


def test_nothing_is_compiled_ahead_in_the_place_of_what_is_in_use(monkeypatch):
  made, said = programs.Programs(toy.segmenter(), 0), []
  made.call(said.append, doubled, batch_of(1))
  monkeypatch.setattr(programs.memory, 'crowded', lambda: True)
  made.ahead(said.append, doubled, batch_of(2))
  assert len(said) == 2 and len(made._lanes[0].calls) == 1


def test_what_is_refused_holds_neither_its_program_nor_its_batch(monkeypatch):
  made = programs.Programs(toy.segmenter(), 0)
  monkeypatch.setattr(programs.memory, 'need_of', lambda *args: 10**18)
  batch = batch_of(1)
  image = weakref.ref(batch.image)
  for _ in range(2):
    with pytest.raises(memory.OutOfMemoryError, match='no smaller batch would fit'):
      made.call(lambda line: None, doubled, batch)
  del batch
  gc.collect()
  assert image() is None and not made._lanes[0].calls and len(made._compiled) == 1


def test_an_error_that_cannot_be_made_again_is_raised_as_it_is():
  class Odd(Exception):
    def __init__(self, one, other):
      super().__init__(f'{one} {other}')

  made = programs.Programs(toy.segmenter(), 0)
  for _ in range(2):
    with pytest.raises(Odd, match='it is odd'):
      made.call(lambda line: None, raising(Odd('it is', 'odd')), batch_of(1))


# In a process of its own: in others the maps of what other tests left come and go as well.
MAPS = """
import gc, pathlib
import experiments_lib_programs_test as here
count = lambda: pathlib.Path('/proc/self/maps').read_bytes().count(b'\\n')
made = here.programs.Programs(here.toy.segmenter(), 0)
before = count()
for size in range(1, 17):
  made.call(lambda line: None, here.doubled, here.batch_of(size))
most = count()
here.memory.crowded = lambda: True
made.call(lambda line: None, here.doubled, here.batch_of(17))
gc.collect()
print(before, most, count())
"""


@pytest.mark.skipif(not pathlib.Path('/proc/self/maps').exists(), reason='Linux counts memory maps')
def test_a_program_that_is_let_go_gives_its_memory_maps_back():
  tests = pathlib.Path(__file__).parent
  path = os.pathsep.join((str(tests), str(tests.parent)))
  found = subprocess.run(
    [sys.executable, '-c', MAPS], env={**os.environ, 'PYTHONPATH': path}, check=True,
    capture_output=True, text=True,
  )  # fmt: skip
  before, most, after = map(int, found.stdout.split())
  assert before < most and after - before < (most - before) / 2, found.stdout


def test_few_numbers_of_slots_hold_any():
  found = [programs.slots_for(wanted, 16) for wanted in (0, 16, 17, 32, 33, 300)]
  assert found == [16, 16, 32, 32, 64, 512]


def test_what_is_compiled_ahead_is_there_when_it_is_called():
  made, said = programs.Programs(toy.segmenter(), 0), []
  shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), batch_of(2))
  with made.lease() as before:
    made.ahead(said.append, doubled, shapes, jax.ShapeDtypeStruct((2,), np.int32))
    assert len(said) == 2 and before.count == 0
  # It is told with the next batch that is measured, and once.
  with made.lease() as own, made.lease() as other:
    found = made.call(said.append, doubled, batch_of(2), np.arange(2, dtype=np.int32))
  assert len(said) == 2 and (own.count, other.count) == (1, 0) and own.compile_seconds > 0
  assert own.seconds == 0 < other.seconds and made.spent.count == 1
  np.testing.assert_array_equal(found[0], 2 * batch_of(2).mask.sum((1, 2)))


def test_what_had_no_room_ahead_is_compiled_where_it_is_called():
  made, tried = programs.Programs(toy.segmenter(), 0), []

  def crowded(key, segmenter, batch):
    tried.append(threading.current_thread().name)
    if len(tried) == 1:
      raise MemoryError
    return doubled(key, segmenter, batch)

  made.ahead(lambda line: None, crowded, batch_of(1))
  with made.lease():
    made.call(lambda line: None, crowded, batch_of(1))
    made.call(lambda line: None, crowded, batch_of(1))
  assert len(tried) == 2 and made.spent.count == 1


def test_what_cannot_be_compiled_ahead_raises_where_it_is_called():
  made = programs.Programs(toy.segmenter(), 0)
  broken = raising(ValueError('no such thing'))
  made.ahead(lambda line: None, broken, batch_of(1))
  with pytest.raises(ValueError, match='no such thing'), made.lease():
    made.call(lambda line: None, broken, batch_of(1))


@pytest.mark.slow
def test_two_devices_attack_as_one_does_and_keep_the_masks_asked_for():
  config, batch = presets.get('tetris', num_clicks=3), batch_of(2)
  calls = ({'rounds': (0, 2)}, {})
  call = lambda made, some: made.call(
    lambda line: None, programs.attack, batch, config=config, **some
  )
  alone = [call(programs.Programs(toy.segmenter(), 0), some) for some in calls]
  made = programs.Programs(toy.segmenter(), 0)
  with made.lease():
    call(made, calls[0]), call(made, calls[1])
    with made.lease():
      both = [call(made, some) for some in calls]
  jax.tree.map(np.testing.assert_array_equal, both, alone)
  assert both[1].mask is None
  every = jax.jit(lambda batch: tetris_jax.attack(toy.segmenter(), batch, config))(batch)
  np.testing.assert_array_equal(both[0].mask, np.asarray(every.mask)[:, :, [0, 2]])


def raising(error):
  def program(key, segmenter, batch):
    raise error

  return program


def test_a_program_that_cannot_be_compiled_is_tried_once():
  made, said, broken = programs.Programs(toy.segmenter(), 0), [], raising(ZeroDivisionError('why'))
  for _ in range(2):
    with pytest.raises(ZeroDivisionError, match='why'):
      made.call(said.append, broken, batch_of(2))
  assert said == ['compiling for pictures up to 64 x 64'] and made.spent.count == 0


def test_what_a_run_needs_is_told_first(capsys):
  programs.Programs(toy.segmenter(), 0)
  (line,) = capsys.readouterr().err.splitlines()
  assert re.match(r'memory: [\d.]+ GB of .* are free; the model has 0 MB, what a batch needs', line)


def test_too_little_memory_is_told_before_a_program_runs(monkeypatch):
  made, said = programs.Programs(toy.segmenter(), 0), []
  room = lambda free, most: lambda device: memory.Room(free, most, 'this machine')
  monkeypatch.setattr(programs.memory, 'device_room', room(10, 10**12))
  monkeypatch.setattr(programs.memory, 'need_of', lambda *args: 1_000_000_000)
  made.call(said.append, doubled, batch_of(2))
  assert said[1] == (
    'warning: the system may end this process: memory: 1.0 GB for 2 batches of 2, 0 MB are free'
  )
  monkeypatch.setattr(programs.memory, 'device_room', room(600_000_000, 999_999_999))
  message = (
    'the program for pictures up to 64 x 64, a batch of 4, needs 1.0 GB and there is 600 MB of '
    'this machine; try --batch_size=2'
  )
  for _ in range(2):
    with pytest.raises(memory.OutOfMemoryError, match=f'^{message}$'):
      made.call(said.append, doubled, batch_of(4))


def test_what_is_compiled_beside_a_batch_has_its_memory_too(monkeypatch):
  made, said = programs.Programs(toy.segmenter(), 0), []
  made.call(said.append, doubled, batch_of(1))
  ((name, call),) = made._lanes[0].calls.items()
  monkeypatch.setattr(programs.memory, 'need_of', lambda *args: 600_000_000)
  # As a device tells it, of which others have no share to give back.
  room = memory.Room(400_000_000, 400_000_000, 'this machine')
  monkeypatch.setattr(programs.memory, 'device_room', lambda device: room)
  made._compiled[name] = made._compiled[name]._replace(need=500_000_000)

  def beside(*args):
    made.ahead(said.append, doubled, batch_of(2))
    return call(*args)

  made._lanes[0].calls[name] = beside
  made.call(said.append, doubled, batch_of(1))
  # Two devices share what there is, and one of them has a batch in hand.
  assert said[-1] == 'memory: 600 MB for 2 batches of 2, 650 MB are free'
  count = made.spent.count
  made.call(said.append, doubled, batch_of(2))
  assert made.spent.count == count
  with pytest.raises(memory.OutOfMemoryError):
    made.call(said.append, doubled, batch_of(3))
  monkeypatch.setattr(programs.memory, 'device_room', lambda device: room._replace(most=10**12))
  made.call(said.append, doubled, batch_of(4))
  assert said[-1].startswith('warning: the system may end this process: memory: 600 MB for 2')


def test_memory_that_runs_out_is_told_with_a_batch_size_that_fits(monkeypatch):
  made = programs.Programs(toy.segmenter(), 0)
  made.call(print, doubled, batch_of(2))

  def exhausted(*args):
    raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.')

  (name,) = made._compiled
  made._lanes[0].calls[name] = exhausted
  with pytest.raises(memory.OutOfMemoryError, match=r'a batch of 2, needs .* try --batch_size=1'):
    made.call(print, doubled, batch_of(2))
