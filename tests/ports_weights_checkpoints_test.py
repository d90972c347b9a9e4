"""Tests of the readers: sums first, weights that are finite, .onnx and .safetensors."""

import hashlib
import json

import numpy as np
import pytest
import torch_pickles as tp

from ports.weights import checkpoints
from ports.weights.errors import CheckpointError

STATE = {
  'a.weight': np.arange(6, dtype=np.float32).reshape(2, 3),
  'a.count': np.array([3, 4], np.int64),
}


def test_a_wrong_sum_is_refused_before_anything_is_parsed(tmp_path, monkeypatch):
  path = tp.write_state(tmp_path / 'a.pt', STATE)

  def parse(file):
    raise AssertionError('parsed')

  monkeypatch.setattr(checkpoints, 'read_torch', parse)
  found = hashlib.sha256(path.read_bytes()).hexdigest()
  with pytest.raises(CheckpointError) as error:
    checkpoints.read(path, '0' * 64)
  assert found in str(error.value) and '0' * 64 in str(error.value)
  assert str(error.value).startswith('a.pt: ')
  with pytest.raises(AssertionError, match='parsed'):
    checkpoints.read(path, found)


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_named(tmp_path, value):
  state = {**STATE, 'b.bias': np.array([1.0, value], np.float32)}
  with pytest.raises(CheckpointError, match=r'a\.pt: .*not finite: b\.bias$'):
    checkpoints.read(tp.write_state(tmp_path / 'a.pt', state))


def test_missing_files_and_unknown_kinds_are_named(tmp_path):
  with pytest.raises(CheckpointError, match='No such file'):
    checkpoints.read(tmp_path / 'none.pt')
  (tmp_path / 'a.h5').write_bytes(b'')
  with pytest.raises(CheckpointError, match=r'a\.h5: unknown kind'):
    checkpoints.read(tmp_path / 'a.h5')


def safetensors(header, body):
  text = json.dumps(header).encode()
  return len(text).to_bytes(8, 'little') + text + body


def test_safetensors_written_by_the_library(tmp_path):
  numpy = pytest.importorskip('safetensors.numpy')
  state = {**STATE, 'c': np.array(2.0, np.float16), 'd': np.zeros((0, 2), np.float64)}
  numpy.save_file(state, tmp_path / 'a.safetensors', metadata={'format': 'pt'})
  found = checkpoints.read(tmp_path / 'a.safetensors')
  assert set(found) == set(state)
  for name, array in state.items():
    np.testing.assert_array_equal(found[name], array, strict=True)


def test_safetensors_bfloat16_is_widened_exactly(tmp_path):
  values = np.array([1.5, -3.0], np.float32)
  body = (values.view(np.uint32) >> 16).astype('<u2').tobytes()
  header = {'w': {'dtype': 'BF16', 'shape': [2], 'data_offsets': [0, 4]}}
  (tmp_path / 'a.safetensors').write_bytes(safetensors(header, body))
  np.testing.assert_array_equal(
    checkpoints.read(tmp_path / 'a.safetensors')['w'], values, strict=True
  )


@pytest.mark.parametrize(
  ('data', 'message'),
  [
    (b'', 'truncated'),
    ((2**60).to_bytes(8, 'little') + b'{}', 'truncated'),
    ((9).to_bytes(8, 'little') + b'{"a": 1,}', 'header'),
    (safetensors({'w': 3}, b''), 'header'),
    (safetensors({'w': {'dtype': 'F32', 'shape': [2], 'data_offsets': [0, 8]}}, b'1234'), 'fit'),
    (safetensors({'w': {'dtype': 'F32', 'shape': [3], 'data_offsets': [0, 8]}}, bytes(8)), 'fit'),
    (safetensors({'w': {'dtype': 'F32', 'shape': [-1], 'data_offsets': [0, 4]}}, bytes(4)), 'sha'),
    (safetensors({'w': {'dtype': 'F8', 'shape': [1], 'data_offsets': [0, 1]}}, bytes(1)), 'F8'),
    (safetensors({'w': {'dtype': 'U8', 'shape': [1], 'data_offsets': [0, 1]}}, bytes(3)), 'behind'),
  ],
)
def test_damaged_safetensors_are_refused(tmp_path, data, message):
  (tmp_path / 'a.safetensors').write_bytes(data)
  with pytest.raises(CheckpointError, match=message):
    checkpoints.read(tmp_path / 'a.safetensors')


def onnx_file(path, nodes, initializers):
  onnx = pytest.importorskip('onnx')
  graph = onnx.helper.make_graph(
    nodes,
    'graph',
    [onnx.helper.make_tensor_value_info('x', onnx.TensorProto.FLOAT, None)],
    [onnx.helper.make_tensor_value_info('y', onnx.TensorProto.FLOAT, None)],
    [onnx.numpy_helper.from_array(array, name) for name, array in initializers.items()],
  )
  path.write_bytes(onnx.helper.make_model(graph).SerializeToString())
  return path


def node(kind, name, inputs, output='y', **attributes):
  return pytest.importorskip('onnx').helper.make_node(kind, inputs, [output], name, **attributes)


def test_onnx_constants_get_the_names_of_their_modules(tmp_path):
  onnx = pytest.importorskip('onnx')
  rng = np.random.default_rng(0)
  arrays = {
    'kernel': rng.random((4, 3, 1, 1), np.float32),
    'bias': rng.random(4, np.float32),
    'matrix': rng.random((3, 5), np.float32),
    'scale': rng.random((4, 1, 1), np.float32),
    'table': rng.random((2, 9, 9), np.float32),
    'kept': rng.random(7, np.float32),
  }
  table = onnx.numpy_helper.from_array(arrays['table'])
  scalar = onnx.numpy_helper.from_array(np.float32(2.0))
  nodes = [
    node('Conv', '/patch/seq/seq.0/c/Conv', ['x', 'onnx::Conv_1', 'onnx::Conv_2'], 'a'),
    node('MatMul', '/layers.0/mlp/fc1/MatMul', ['a', 'onnx::MatMul_3'], 'b'),
    node('Mul', '/neck/neck.1/Mul', ['onnx::Mul_4', 'b'], 'c'),
    node('Constant', '/layers.0/attn/Constant_5', [], 't', value=table),
    node('Constant', '/layers.0/attn/Constant_6', [], 's', value=scalar),
    node('Mul', '/layers.0/attn/Mul', ['c', 's'], 'd'),
    node('Add', '/layers.0/attn/Add', ['d', 't'], 'e'),
    node('Add', '/layers.0/fc1/Add', ['layers.0.fc1.bias', 'e']),
  ]
  initializers = {
    'onnx::Conv_1': arrays['kernel'],
    'onnx::Conv_2': arrays['bias'],
    'onnx::MatMul_3': arrays['matrix'],
    'onnx::Mul_4': arrays['scale'],
    'layers.0.fc1.bias': arrays['kept'],
  }
  found = checkpoints.read(onnx_file(tmp_path / 'a.onnx', nodes, initializers))
  wanted = {
    'patch.seq.0.c.weight': arrays['kernel'],
    'patch.seq.0.c.bias': arrays['bias'],
    'layers.0.mlp.fc1.weight': arrays['matrix'].T,
    'neck.1.weight': arrays['scale'][:, 0, 0],
    'layers.0.attn.bias': arrays['table'],
    'layers.0.fc1.bias': arrays['kept'],
  }
  assert set(found) == set(wanted)
  for name, array in wanted.items():
    np.testing.assert_array_equal(found[name], array, strict=True)


def test_onnx_constants_without_a_meaning_are_refused_by_name(tmp_path):
  nodes = [node('Div', '/head/Div', ['x', 'onnx::Div_1'])]
  path = onnx_file(tmp_path / 'a.onnx', nodes, {'onnx::Div_1': np.ones(3, np.float32)})
  with pytest.raises(CheckpointError, match=r'onnx::Div_1.*/head/Div'):
    checkpoints.read(path)


def test_onnx_data_in_other_files_and_damaged_files_are_refused(tmp_path):
  onnx = pytest.importorskip('onnx')
  path = onnx_file(tmp_path / 'a.onnx', [node('Add', '/Add', ['x', 'w'])], {'w': np.ones(9)})
  model = onnx.load(path)
  onnx.external_data_helper.set_external_data(
    model.graph.initializer[0], '../../etc/passwd', length=72
  )
  data = model.SerializeToString()
  (tmp_path / 'b.onnx').write_bytes(data)
  with pytest.raises(CheckpointError, match='"w" keeps its data in another file'):
    checkpoints.read(tmp_path / 'b.onnx')
  (tmp_path / 'c.onnx').write_bytes(path.read_bytes()[:40])
  with pytest.raises(CheckpointError, match=r'c\.onnx: truncated'):
    checkpoints.read(tmp_path / 'c.onnx')


@pytest.mark.parametrize('name', ['a.PT', 'a', 'a.bin', 'a.ckpt', 'a.pth.tar', 'a.safetensors'])
@pytest.mark.parametrize('write', [tp.write_state, tp.write_legacy])
def test_content_tells_the_kind_of_a_torch_file(tmp_path, write, name):
  found = checkpoints.read(write(tmp_path / name, STATE))
  for key, array in STATE.items():
    np.testing.assert_array_equal(found[key], array, strict=True)


@pytest.mark.parametrize('name', ['model', 'a.SAFETENSORS', 'a.pt', 'a.bin'])
def test_content_tells_the_kind_of_other_files(tmp_path, name):
  header = {'w': {'dtype': 'F32', 'shape': [2], 'data_offsets': [0, 8]}}
  (tmp_path / name).write_bytes(safetensors(header, np.array([1, 2], np.float32).tobytes()))
  assert checkpoints.read(tmp_path / name)['w'].tolist() == [1, 2]
  path = onnx_file(tmp_path / 'a.onnx', [node('Add', '/Add', ['x', 'w'])], {'w': np.ones(9)})
  if not name.endswith('.pt'):
    assert checkpoints.read(path.rename(tmp_path / f'onnx_{name}.bin'))['w'].shape == (9,)


@pytest.mark.parametrize(('name', 'data', 'message'), [
  ('a.bin', b'anything', 'unknown kind of file'),
  ('a.npz', b'PK\x03\x04', 'unknown kind of file'),
  ('a.pkl', b'\x80\x04}.', 'unknown kind of file'),
  ('a', b'', 'unknown kind of file'),
  ('a.pt', b'', 'an empty file'),
  ('a.safetensors', b'version https://git-lfs.github.com/spec/v1\noid', 'git lfs pull'),
  ('a.pt', b'\n<!DOCTYPE html><p>not found', 'a web page'),
  ('a.onnx', b'<html>', 'a web page'),
  ('a.pth', b'\x1f\x8b\x08', 'unpack it'),
])
def test_what_is_no_file_of_weights_is_named(tmp_path, name, data, message):
  (tmp_path / name).write_bytes(data)
  with pytest.raises(CheckpointError, match=f'^{name}: .*{message}'):
    checkpoints.read(tmp_path / name)


def test_what_lies_beside_the_weights_may_be_infinite(tmp_path):
  path = tp.write_state(tmp_path / 'a.pt', {'best': np.array([np.inf], np.float32)})
  assert np.isinf(checkpoints.read(path, finite=False)['best'])


def entry(**changes):
  return {'dtype': 'F32', 'shape': [2], 'data_offsets': [0, 8], **changes}


@pytest.mark.parametrize('header', [
  3, [], None, 'x', {'w': None}, {'w': []}, {'w': {}}, {'w': entry(dtype=3)},
  {'w': entry(dtype=None)}, {'w': entry(shape=2)}, {'w': entry(shape='ab')},
  {'w': entry(shape=None)}, {'w': entry(shape=[2.0])},
  {'w': entry(shape=[True, 2])}, {'w': entry(shape=['2'])}, {'w': entry(shape=[1] * 70 + [2])},
  {'w': entry(shape=[2**70])}, {'w': entry(shape=[0, 2**62, 2**62], data_offsets=[0, 0])},
  {'w': entry(data_offsets=[0])}, {'w': entry(data_offsets=[0, 8, 8])},
  {'w': entry(data_offsets=8)},
  {'w': entry(data_offsets=['0', '8'])}, {'w': entry(data_offsets=[-8, 0])},
  {'w': entry(data_offsets=[8, 0])}, {'w': entry(data_offsets=[0, 2**70])}, {'w' * 2000: entry()},
  # tensors may not overlap, nor leave holes
  {'v': entry(), 'w': entry()}, {'w': entry(shape=[1], data_offsets=[4, 8])},
  {'v': entry(dtype='BF16', shape=[4]), 'w': entry(dtype='BF16', shape=[4])},
], ids=range(29))
def test_safetensors_headers_that_cannot_be_are_refused(tmp_path, header):
  (tmp_path / 'a.safetensors').write_bytes(safetensors(header, bytes(8)))
  with pytest.raises(CheckpointError, match=r'^a\.safetensors: '):
    checkpoints.read(tmp_path / 'a.safetensors')


@pytest.mark.parametrize('text', [b'[' * 200_000, b'{"w":' + b']' * 200_000, b'{"w":' * 200_000])
def test_brackets_without_an_end_are_refused(tmp_path, text):
  (tmp_path / 'a.safetensors').write_bytes(len(text).to_bytes(8, 'little') + text)
  with pytest.raises(CheckpointError, match='header'):
    checkpoints.read(tmp_path / 'a.safetensors')
  (tmp_path / 'b.safetensors').write_bytes((17 << 20).to_bytes(8, 'little') + b'{' * (18 << 20))
  with pytest.raises(CheckpointError, match='truncated'):
    checkpoints.read(tmp_path / 'b.safetensors')


def test_onnx_files_that_are_damaged_inside_are_refused(tmp_path):
  onnx = pytest.importorskip('onnx')
  table = onnx.numpy_helper.from_array(np.ones((2, 2), np.float32))
  path = onnx_file(tmp_path / 'a.onnx', [node('Constant', '/c/Constant', [], 't', value=table)], {})
  model = onnx.load(path)
  del model.graph.node[0].output[:]
  path.write_bytes(model.SerializeToString())
  with pytest.raises(CheckpointError, match='"/c/Constant" has 0 outputs'):
    checkpoints.read(path)
  nodes = [node('Add', '/QQQQ/Add', ['x', 'QQQQ'])]
  path = onnx_file(tmp_path / 'b.onnx', nodes, {'QQQQ': np.ones(9)})
  path.write_bytes(path.read_bytes().replace(b'QQQQ', b'\xff\xfeQQ'))
  with pytest.raises(CheckpointError, match=r'b\.onnx: '):
    checkpoints.read(path)
  nodes = [node('Conv', f'/m{i}/Conv', ['x', 'onnx::Conv_1'], f'y{i}') for i in range(9)]
  path = onnx_file(tmp_path / 'c.onnx', nodes, {'onnx::Conv_1': np.ones((99, 99), np.float32)})
  with pytest.raises(CheckpointError, match='repeats the bytes'):
    checkpoints.read(path)
