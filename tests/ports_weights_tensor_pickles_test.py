"""Tests of the unpickler: tensors are described, every other name is refused and nothing run."""

import io
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import torch_pickles as tp

from ports.weights import checkpoints, tensor_pickles
from ports.weights.errors import CheckpointError


def test_a_pickle_becomes_descriptions_of_its_tensors():
  whole = tp.tensor('0', 12, (3, 2), (1, 3), offset=2)
  half = tp.tensor('1', 5, (5,), (1,), storage='HalfStorage')
  tree = tp.dictionary({'epoch': tp.number(3), 'state': tp.dictionary({'w': whole, 'h': half})})
  stream = io.BytesIO(b'before' + tp.whole(tree) + b'behind')
  stream.seek(6)
  found, widths = tensor_pickles.unpickle(stream)
  assert stream.read() == b'behind'
  assert found['epoch'] == 3 and widths == {'0': 4, '1': 2}
  floats = tensor_pickles.Storage('FloatStorage', '0', 12)
  halves = tensor_pickles.Storage('HalfStorage', '1', 5)
  assert tensor_pickles.tensors_of(found) == {
    'state.w': tensor_pickles.Tensor(floats, 2, (3, 2), (1, 3)),
    'state.h': tensor_pickles.Tensor(halves, 0, (5,), (1,)),
  }


def test_names_that_meet_and_trees_without_an_end_are_refused():
  tensor = tensor_pickles.Tensor(tensor_pickles.Storage('FloatStorage', '0', 1), 0, (1,), (1,))
  assert tensor_pickles.tensors_of([tensor, {'a': (tensor,)}]) == {'0': tensor, '1.a.0': tensor}
  with pytest.raises(CheckpointError, match=r'two tensors are named "a\.b"'):
    tensor_pickles.tensors_of({'a': {'b': tensor}, 'a.b': tensor})
  with pytest.raises(CheckpointError, match='a key of type'):
    tensor_pickles.tensors_of({(1, 2): tensor})
  endless: dict = {}
  endless['a'] = endless
  with pytest.raises(CheckpointError, match='nested more than 32 deep'):
    tensor_pickles.tensors_of(endless)


@pytest.mark.parametrize('cut', [0, 1, 5, 40, -1])
def test_truncated_pickles_are_refused(cut):
  data = tp.whole(tp.dictionary({'w': tp.tensor('0', 4, (4,), (1,))}))
  with pytest.raises(CheckpointError, match='damaged'):
    tensor_pickles.unpickle(io.BytesIO(data[:cut]))


@pytest.mark.parametrize(
  ('module', 'name'),
  [
    ('posix', 'system'),
    ('builtins', 'eval'),
    ('torch', 'load'),
    ('torch', 'ComplexFloatStorage'),
    ('collections', 'Counter'),
  ],
)
def test_forbidden_globals_are_refused_by_name_and_not_called(tmp_path, module, name):
  call = f'c{module}\n{name}\n('.encode() + tp.text(f'touch {tmp_path}/run') + b'tR'
  members = {'a/data.pkl': tp.whole(tp.dictionary({'w': call}))}
  with pytest.raises(CheckpointError, match=rf'{module}\.{name}'):
    checkpoints.read(tp.write_zip(tmp_path / 'a.pt', members))
  assert not (tmp_path / 'run').exists()


def test_a_global_put_together_on_the_stack_is_refused_by_name(tmp_path):
  value = tp.text('posix') + tp.text('system') + b'\x93' + b'(' + tp.text('true') + b'tR'
  members = {'a/data.pkl': tp.whole(value)}
  with pytest.raises(CheckpointError, match=r'posix\.system'):
    checkpoints.read(tp.write_zip(tmp_path / 'a.pt', members))


def test_opcodes_that_make_objects_and_huge_memos_are_refused(tmp_path):
  members = {'a/data.pkl': tp.whole(b'(iposix\nsystem\n')}
  with pytest.raises(CheckpointError, match='INST'):
    checkpoints.read(tp.write_zip(tmp_path / 'a.pt', members))
  members = {'a/data.pkl': tp.whole(b'}r' + (2**31).to_bytes(4, 'little'))}
  with pytest.raises(CheckpointError, match='memo'):
    checkpoints.read(tp.write_zip(tmp_path / 'b.pt', members))


def test_objects_of_a_networks_own_code_are_passed_over_and_nothing_is_imported(tmp_path):
  (tmp_path / 'isegm.py').write_text(f"open('{tmp_path}/run', 'w')")
  loss = b'cisegm\nLoss\n'
  entries = {
    'made': loss + b')\x81}' + tp.text('x') + b'Nsb',
    'called': loss + b'(' + tp.text('x') + b'tR',
    'inner': b'cisegm.model.losses\nLoss.inner\n',
    'set': b'cbuiltins\nset\n(]tR',
    'w': tp.tensor('0', 2, (2,), (1,)),
  }
  data = np.array([1, 2], np.float32)
  members = {'a/data.pkl': tp.whole(tp.dictionary(entries)), 'a/data/0': data.tobytes()}
  path = tp.write_zip(tmp_path / 'a.pth', members)
  code = f"from ports.weights import checkpoints; print(sorted(checkpoints.read('{path}')))"
  found = subprocess.run(
    [sys.executable, '-c', f"import sys; sys.path.append('{tmp_path}'); {code}"],
    capture_output=True, text=True, check=True, cwd=pathlib.Path(__file__).parents[1],
  )
  assert found.stdout.strip() == "['w']" and not (tmp_path / 'run').exists()


@pytest.mark.parametrize(
  ('value', 'message'),
  [
    (b'cisegmented\nLoss\n', r'isegmented\.Loss'),
    (b'cbuiltins\nfrozenset\n', r'builtins\.frozenset'),
    # attributes of the class that stands for such objects
    (b'cisegm\nLoss\n}' + tp.text('x') + b'Nsb', 'damaged'),
    (b'ccollections\nOrderedDict\n)\x81', 'damaged'),
    (b'cisegm\nLoss\n)\x81' + tp.text('x') + b'a', 'damaged'),
  ],
)
def test_nothing_else_gets_past_with_them(tmp_path, value, message):
  members = {'a/data.pkl': tp.whole(tp.dictionary({'w': value}))}
  with pytest.raises(CheckpointError, match=message):
    checkpoints.read(tp.write_zip(tmp_path / 'a.pt', members))


@pytest.mark.parametrize('target', [b'ccollections\nOrderedDict\n', b'ctorch\nFloatStorage\n'])
def test_state_cannot_be_hung_on_the_readers_own_objects(tmp_path, target):
  members = {'a/data.pkl': tp.whole(target + b'}' + tp.text('call') + b'Nsb')}
  with pytest.raises(CheckpointError, match='attributes'):
    checkpoints.read(tp.write_zip(tmp_path / 'a.pt', members))


def test_a_small_pickle_that_walks_as_a_huge_tree_is_refused(tmp_path):
  value = b'}'
  for i in range(20):
    value = value + b'q' + bytes([i]) + b'0}(' + tp.text('a') + b'h' + bytes([i])
    value = value + tp.text('b') + b'h' + bytes([i]) + b'u'
  with pytest.raises(CheckpointError, match='more than 200000 entries'):
    checkpoints.read(tp.write_zip(tmp_path / 'a.pt', {'a/data.pkl': tp.whole(value)}))


def test_objects_beside_the_tensors_stop_nothing(tmp_path):
  entries = {
    'w': tp.tensor('0', 2, (2,), (1,)),
    'args': b'cargparse\nNamespace\n)\x81}' + tp.text('lr') + b'G?\xf0\0\0\0\0\0\0sb',
    'size': b'ctorch\nSize\n(K\x03K\x04t\x85R',
    'device': b'ctorch\ndevice\n' + tp.text('cpu') + b'\x85R',
    'dtype': b'ctorch\nfloat32\n',
    'complex': tp.tensor('9', 4, (4,), (1,), storage='ComplexFloatStorage'),
    'counts': b'ccollections\nCounter\n}' + tp.text('a') + b'K\x01s\x85R',
    'defaults': b'ccollections\ndefaultdict\ncbuiltins\nlist\n\x85R'
    + tp.text('v') + tp.tensor('0', 2, (2,), (1,)) + b's',
    'odd': b'}(N' + tp.text('a') + b'K\x01K\x02\x86' + tp.text('b') + b'u',
  }
  members = {'a/data.pkl': tp.whole(tp.dictionary(entries))}
  members['a/data/0'] = np.array([1, 2], np.float32).tobytes()
  found = checkpoints.read(tp.write_zip(tmp_path / 'a.pt', members))
  assert {n: a.tolist() for n, a in found.items()} == {'w': [1, 2], 'defaults.v': [1, 2]}
  tree, _ = tensor_pickles.unpickle(io.BytesIO(members['a/data.pkl']))
  names = {
    'argparse.Namespace', 'torch.Size', 'torch.device', 'torch.float32', 'collections.Counter',
    'torch.ComplexFloatStorage',
  }
  assert tensor_pickles.passed_over(tree) == dict.fromkeys(names, False)


def test_tensors_with_attributes_and_in_parameters_are_tensors():
  plain = tp.tensor('0', 2, (2,), (1,))
  call = plain.removeprefix(b'ctorch._utils\n_rebuild_tensor_v2\n').removesuffix(b'R')
  typed = b'ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_tensor_v2\n'
  typed += b'ctorch\nTensor\n' + call + b'}tR'
  parameter = b'ctorch._utils\n_rebuild_parameter_with_state\n(' + plain + b'\x88}}tR'
  tree, _ = tensor_pickles.unpickle(io.BytesIO(tp.whole(tp.dictionary(
    {'plain': plain, 'typed': typed, 'parameter': parameter}
  ))))
  found = tensor_pickles.tensors_of(tree)
  assert found['plain'] == found['typed'] == found['parameter']


def test_tensors_under_keys_that_are_no_names_are_not_lost(tmp_path):
  tensor = tp.tensor('0', 1, (1,), (1,))
  tree, _ = tensor_pickles.unpickle(io.BytesIO(tp.whole(b'}N' + tensor + b's')))
  assert list(tensor_pickles.tensors_of(tree)) == ['?']


def test_names_and_values_are_bounded():
  tensor = tensor_pickles.Tensor(tensor_pickles.Storage('FloatStorage', '0', 1), 0, (1,), (1,))
  tree = tensor
  for _ in range(4):
    tree = {'k' * 300: tree}
  with pytest.raises(CheckpointError, match='a name of 1203 characters'):
    tensor_pickles.tensors_of(tree)
  # one long list in many places
  losses = [0.5] * 100_000
  with pytest.raises(CheckpointError, match='more than 5000000 values'):
    tensor_pickles.tensors_of([losses] * 51)
  assert tensor_pickles.tensors_of([losses, tensor]) == {'1': tensor}


FLOATS = b'(' + tp.text('storage') + b'ctorch\nFloatStorage\n'


@pytest.mark.parametrize('value', [
  b'ctorch._utils\n_rebuild_tensor_v2\n)R',
  b'ctorch._utils\n_rebuild_tensor_v2\n(NNNNtR',
  b'ctorch._utils\n_rebuild_parameter\n)R',
  b'ctorch._tensor\n_rebuild_from_type_v2\n)R',
  b'ccollections\nOrderedDict\n](K\x01e\x85R',
  b'NQ',
  b'(' + tp.text('storage') + b'NNNNtQ',
  FLOATS + tp.text('0') + tp.text('cpu') + b'K\x01K\x01tQ',
  FLOATS + b'K\x00' + tp.text('cpu') + b'K\x01tQ',
])
def test_tensors_that_are_described_wrongly_are_refused(value):
  with pytest.raises(CheckpointError, match='damaged'):
    tensor_pickles.unpickle(io.BytesIO(tp.whole(value)))
