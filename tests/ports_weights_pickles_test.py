"""A pickle is played without importing, calling or hashing, and in bounded time and memory."""

import argparse
import collections
import datetime
import decimal
import functools
import io
import pathlib
import pickle
import random
import uuid

import numpy as np
import pytest
import torch_pickles as tp

from ports.weights import pickles
from ports.weights.errors import CheckpointError


def play(data):
  return pickles.play(io.BytesIO(data), lambda name, _: pickles.PassedOver(name), lambda pid: pid)


VALUES = {
  'none': None, 'yes': True, 'no': False, 'small': 3, 'negative': -70000, 'long': 2**70,
  'float': 0.1, 'text': 'ä' * 300, 'bytes': b'x' * 300, 'empty': [(), [], {}],
  'list': [1, 'a', [2.5]], 'tuples': ((1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)), 'dict': {7: {'a': 1}},
}


@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
def test_plain_values_come_back(protocol):
  values = VALUES if protocol > 2 else {k: v for k, v in VALUES.items() if k != 'bytes'}
  shared = [1]
  values = {**values, 'shared': [shared, shared]}
  data = pickle.dumps(values, protocol) + b'behind'
  stream = io.BytesIO(data)
  found = pickles.play(stream, lambda *_: None, lambda pid: pid)
  assert found == values and stream.read() == b'behind'
  assert found['shared'][0] is found['shared'][1]


class Own:
  """A class of a training's code."""


class OwnDict(dict):
  """A dict of a configuration, with attributes."""


@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
@pytest.mark.parametrize('value', [
  argparse.Namespace(lr=1e-3), np.float64(0.9), np.ones(3), np.random.default_rng(0),
  np.random.RandomState(0).get_state()[1], np.dtype('f4'), pathlib.PurePosixPath('/x'),
  datetime.datetime(2020, 1, 1), decimal.Decimal('1.5'), uuid.UUID(int=1), {1, 2}, frozenset('a'),
  collections.deque([1]), collections.Counter('aab'), functools.partial(Own, 1), range(3), 1j, Own,
  Own(), OwnDict(a=1), random.Random(0), ValueError('x'),
], ids=lambda value: type(value).__name__)
def test_objects_of_every_class_are_passed_over(protocol, value):
  found = play(pickle.dumps({'before': 1, 'value': value, 'behind': 2}, protocol))
  assert isinstance(found['value'], pickles.PassedOver | pickles.Global)
  assert (found['before'], found['behind']) == (1, 2)


def test_networks_are_told_from_other_objects():
  state = pickle.dumps({'_parameters': {}, '_modules': {}, 'training': True}, 2)[2:-1]
  assert play(tp.whole(b'cx\nNet\n)\x81' + state + b'b')).network
  assert not play(tp.whole(b'cx\nNet\n)\x81}b')).network


@pytest.mark.parametrize('name', [
  'posix system', 'os system', 'subprocess Popen', 'builtins eval', '__builtin__ exec',
  'builtins getattr', 'importlib import_module', 'runpy run_path', 'shutil rmtree', 'os.path join',
])
def test_what_runs_code_is_refused_by_name_wherever_it_stands(name):
  module, function = name.split()
  mention = f'c{module}\n{function}\n'.encode()
  for value in (mention, mention + b')R', b'}(' + mention + b'Nu'):
    with pytest.raises(CheckpointError, match=f'asks for "{module}.{function}"'):
      play(tp.whole(tp.dictionary({'w': value})))


@pytest.mark.parametrize('key', [None, 1.5, b'a', (0, 'a'), pathlib.PurePosixPath('/x'), Own])
def test_entries_under_odd_keys_are_kept_apart(key):
  found = play(pickle.dumps({'a': 1, key: 2}, 2))
  assert dict(found) == {'a': 1} and found.others == [2]


def nested(depth):
  key = ()
  for _ in range(depth):
    key = (key, key)
  return key


@pytest.mark.parametrize(('data', 'message'), [
  # hashing this key would take 2**64 steps
  (pickle.dumps(nested(64), 2)[2:-1], 'nested'),
  # hashing this one would overflow the stack
  (b')' + b'\x85' * 100_000, 'nested'),
  (tp.text('k' * 2000), 'key of 2000 characters'),
  (b'(' + b'N' * 17 + b't', 'long tuples'),
  # numbers that all have one hash
  (b'\x8a\x20' + (5 * (2**61 - 1)).to_bytes(32, 'little'), 'a number of 64 bits'),
  (b']', 'key of type list'),
  (b'}', 'key of type Entries'),
])
def test_keys_that_would_keep_a_hash_busy_are_refused(data, message):
  with pytest.raises(CheckpointError, match=message):
    play(tp.whole(b'}' + data + b'Ns'))


@pytest.mark.parametrize('data', [
  b'', b'\x80', b'\x80\x02', b'\x80\x02N', b'\x80\x02.', b'.', b'N', tp.whole(b'NN'),
  tp.whole(b'('),
  tp.whole(b'0'), tp.whole(b't'), tp.whole(b'(\x85'), tp.whole(b'Na'), tp.whole(b'N(Ne'),
  tp.whole(b'}(Nu'), tp.whole(b'}(NNNu'), tp.whole(b']NNs'), tp.whole(b'h\x07'), tp.whole(b'NNR'),
  tp.whole(b'cx\ny\nNR'), tp.whole(b'N)\x81'), tp.whole(b'N}b'), tp.whole(b'NN\x93'), b'\xff' * 9,
  tp.whole(b'cx\n' + b'y' * 2000 + b'\n'), tp.whole(b'X\xff\xff\xff\x7fabc'),
  tp.whole(b'X\x01\0\0\0\xff'),
  tp.whole(b'I' + b'9' * 10_000 + b'\n'), tp.whole(b'(iposix\nsystem\n'), tp.whole(b'(cx\ny\no'),
], ids=range(30))
def test_damaged_pickles_are_one_kind_of_error(data):
  with pytest.raises(CheckpointError):
    play(data)


def test_opcodes_are_counted():
  for count in (90, 100):
    stream = io.BytesIO(tp.whole(b'(' + b'N' * count + b't'))
    if count == 90:
      assert len(pickles.play(stream, lambda *_: None, lambda pid: pid, most=100)) == 90
      continue
    with pytest.raises(CheckpointError, match='more than 100 opcodes'):
      pickles.play(stream, lambda *_: None, lambda pid: pid, most=100)


def test_containers_are_counted(monkeypatch):
  monkeypatch.setattr(pickles, '_MAX_CONTAINERS', 9)
  for opcode in (b'}', b']', b'\x8f'):
    assert len(play(tp.whole(b'(' + opcode * 9 + b't'))) == 9
    with pytest.raises(CheckpointError, match='more than 9 containers'):
      play(tp.whole(b'(' + opcode * 10 + b't'))


@pytest.mark.parametrize('inside', [
  b')' + b'\x85' * 50_000, b']' * 50_000 + b'a' * 49_999,
  b'}' + b'K\x01}' * 50_000 + b's' * 50_000,
])
def test_depth_is_no_matter(inside):
  assert play(tp.whole(inside)) is not None
