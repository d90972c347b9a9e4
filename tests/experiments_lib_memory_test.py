"""How much memory there is, what a program needs, and what is said where that is too little."""

import pathlib
import sys
import types as python_types

import jax
import jax.numpy as jnp
import pytest

from experiments.lib import memory
from experiments.lib.memory import Room

GB = 1_000_000_000
STATM = pathlib.Path('/proc/self/statm')


def test_bytes_as_people_read_them():
  assert [memory.shown(n) for n in (0, 240e6, 1.26e9)] == ['0 MB', '240 MB', '1.3 GB']


@pytest.fixture
def groups(tmp_path, monkeypatch):
  """A process in no control group; what is written below is found."""
  cgroup = tmp_path / 'own'
  whole = memory._text
  monkeypatch.setattr(memory, '_GROUPS', tmp_path / 'fs')
  monkeypatch.setattr(
    memory, '_text', lambda path: whole(cgroup if str(path) == '/proc/self/cgroup' else path)
  )
  return tmp_path


def write(path, text):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(text)


def test_the_groups_of_either_version_are_read(groups):
  (groups / 'own').write_text('5:cpu,cpuacct:/x\n4:memory:/a/b\n0::/c\n')
  fs = groups / 'fs'
  write(fs / 'memory/a/memory.limit_in_bytes', '5000\n')
  write(fs / 'memory/a/memory.usage_in_bytes', '900\n')
  write(fs / 'memory/a/memory.stat', 'total_inactive_file 300\nodd line of it\n')
  write(fs / 'memory/memory.limit_in_bytes', str(2**63 - 4096))
  write(fs / 'memory/memory.usage_in_bytes', '901')
  write(fs / 'memory.max', 'max\n')
  write(fs / 'c/memory.max', '4000\n')
  write(fs / 'c/memory.current', '1000\n')
  assert list(memory._limits_of_groups()) == [(5000, 600), (4000, 1000)]


def test_a_process_in_no_group_has_no_such_limit(groups):
  assert list(memory._limits_of_groups()) == []


@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
def test_the_narrowest_limit_counts(monkeypatch):
  room = memory.host_room()
  assert min(room[:2]) > 0
  used = memory.resource.getpagesize() * int(memory._text(STATM).split()[0])
  limit = used + 1_000_000
  monkeypatch.setattr(memory.resource, 'getrlimit', lambda which: (limit, limit))
  free, most, of = memory.host_room()
  assert free == most < 2_000_000 and 'ulimit -v' in of


@pytest.mark.parametrize(
  ('left', 'hopeless'), [(1.5e9, True), (2.4e9, False), (2.6e9, None), (None, None)]
)
def test_a_narrow_limit_on_addresses_is_told(monkeypatch, left, hopeless):
  rooms = [Room(5, 5, 'this machine')]
  if left is not None:
    rooms.append(Room(int(left), int(left), memory._ADDRESSES))
  monkeypatch.setattr(memory, '_rooms', lambda: iter(rooms))
  found, said = memory.narrow()
  assert found == bool(hopeless)
  told = f'{left / 1e9:.1f} GB of the limit on address space (ulimit -v) are left' if left else ''
  assert said == '' if hopeless is None else said.startswith(told)


def test_what_others_give_back_is_bounded_by_every_limit(monkeypatch):
  rooms = [Room(20, 240, 'this machine'), Room(30, 40, 'a group')]
  monkeypatch.setattr(memory, '_rooms', lambda: iter(rooms))
  assert memory.host_room() == (20, 40, 'this machine')
  monkeypatch.setattr(memory, '_rooms', lambda: iter(()))
  assert memory.host_room() is None


def unimplemented():
  raise NotImplementedError


def test_a_device_may_say_what_it_has():
  device = lambda stats: python_types.SimpleNamespace(
    platform='gpu', memory_stats=lambda: stats, device_kind='Chip'
  )
  assert memory.device_room(device({'bytes_limit': 90, 'bytes_in_use': 20})) == (70, 70, 'Chip')
  assert memory.device_room(device(None)) is None and memory.device_room(device({})) is None
  silent = python_types.SimpleNamespace(platform='x', memory_stats=unimplemented)
  assert memory.device_room(silent) is None
  assert memory.device_room(jax.devices()[0]).of == memory.host_room().of


def test_a_process_is_crowded_with_half_of_its_memory_maps(tmp_path, monkeypatch):
  maps, most = tmp_path / 'maps', tmp_path / 'most'
  monkeypatch.setattr(memory, '_MAPS', maps), monkeypatch.setattr(memory, '_MOST_MAPS', most)
  assert not memory.crowded()
  maps.write_bytes(b'0-1 r-xp Jos\xe9\n' * 6)
  for limit, crowded in (('10\n', True), ('12\n', False), ('no number\n', False)):
    most.write_text(limit)
    assert memory.crowded() == crowded


def test_what_a_program_needs_is_what_its_compiler_says():
  square = lambda x: jnp.sort(x[:, None] * x[None], axis=0).sum(1)
  compiled = jax.jit(square).lower(jax.ShapeDtypeStruct((1000,), jnp.float32)).compile()
  need = memory.need_of(compiled, 0, 1)
  assert 4_000_000 <= need < 20_000_000
  assert memory.need_of(compiled, 4000, 2) == 2 * (need - 4000)
  assert memory.need_of(python_types.SimpleNamespace(memory_analysis=lambda: None), 0, 1) is None


@pytest.mark.parametrize(
  ('need', 'room', 'batch', 'said'),
  [
    (9 * GB, Room(5 * GB, 5 * GB, 'it'), 8, '9.0 GB and there is 5.0 GB of it; try '
     '--batch_size=4'),
    (9 * GB, Room(GB, GB, 'it'), 8, 'no smaller batch would fit: use smaller pictures'),
    (None, None, 8, 'needs more memory and there is too little; try --batch_size=4'),
    (None, Room(GB, GB, 'it'), 1, 'needs more memory and there is 1.0 GB of it; no smaller'),
    # What is free now is enough, so others took it meanwhile.
    (GB, Room(5 * GB, 5 * GB, 'it'), 8, 'try --batch_size=7'),
  ],
)  # fmt: skip
def test_what_is_too_much_is_said_with_what_fits(need, room, batch, said):
  assert said in str(memory.too_little('it all', need, room, batch))


@pytest.mark.parametrize(
  ('error', 'ours'),
  [
    (MemoryError(), True),
    (MemoryError('Unable to allocate 9 GiB'), True),
    (jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.'), True),
    (jax.errors.JaxRuntimeError('INTERNAL: odd'), False),
    (ValueError('out of memory'), False),
    (memory.OutOfMemoryError('x'), False),
  ],
)
def test_errors_of_memory_are_told_with_what_to_do(error, ours):
  found = memory.explained(error, 8)
  assert (found is not error) == ours
  if ours:
    said = str(found)
    assert 'has run out of memory' in said and said.endswith('; try a --batch_size below 8')
    assert 'batch_size' not in str(memory.explained(error, 1))
