"""Checkpoints of every format, damaged in their bytes and behind their sums, and hostile ones."""

from __future__ import annotations

import contextlib
import json
import pathlib
import random
from collections.abc import Callable, Mapping
from typing import Any

import damage
import numpy as np
import torch_pickles as tp

from ports.weights import cache, checkpoints, layouts

__all__ = ['KINDS', 'STATE', 'make', 'onnx_model', 'read', 'safetensors', 'write', 'zip_of']

STATE = {
  'a.weight': np.arange(6, dtype=np.float32).reshape(2, 3),
  'a.bias': np.array([0.5, -2.0], np.float16),
  'count': np.array(7, np.int64),
}
# Parts of pickles that fit together now and then.
PARTS = (
  *(bytes([byte]) for byte in b'N\x88()\x85\x86\x87t]ae}su\x8f\x90\x910\x94RbQ\x81\x92\x93'),
  b'q\x00', b'q\x01', b'h\x00', b'h\x01', b'K\x02', b'J\xff\xff\xff\xff', b'\x8a\x01\x02',
  b'G?\xf0\0\0\0\0\0\0', b'C\x01a', tp.text('a'), tp.text('storage'), tp.text('0'),
  b'ctorch\nFloatStorage\n', b'ctorch\nSize\n', b'cbuiltins\nset\n', b'cisegm\nLoss\n',
  b'ctorch._utils\n_rebuild_tensor_v2\n', b'ctorch._utils\n_rebuild_parameter\n',
  b'ctorch._tensor\n_rebuild_from_type_v2\n', b'ccollections\nOrderedDict\n',
  b'ccollections\ndefaultdict\n', b'cos\nsystem\n', tp.numbers((2, 3)),
  tp.tensor('0', 6, (2, 3), (3, 1)), tp.dictionary({'b': tp.tensor('0', 6, (6,), (1,))}),
)  # fmt: skip
HEADER = {
  '__metadata__': {'format': 'pt'},
  'a': {'dtype': 'BF16', 'shape': [2, 2], 'data_offsets': [0, 8]},
  'b': {'dtype': 'F32', 'shape': [], 'data_offsets': [8, 12]},
}
_ODD_NUMBERS = (-1, 0, 1, 2**31, 2**62, 2**63, 2**64, 1.5, True, None, '1', [], [1] * 40, 10**400)


def safetensors(header: Any = HEADER, body: bytes = bytes(range(12))) -> bytes:
  text = header if isinstance(header, bytes) else json.dumps(header).encode()
  return len(text).to_bytes(8, 'little') + text + body


def onnx_model() -> Any:
  from onnx import helper, numpy_helper

  table = numpy_helper.from_array(np.ones((2, 2, 2), np.float32))
  nodes = [
    helper.make_node('Conv', ['x', 'onnx::Conv_1'], ['y'], '/a/Conv'),
    helper.make_node('Constant', [], ['t'], '/b/Constant', value=table),
    helper.make_node('Add', ['y', 't'], ['z'], '/b/Add'),
    helper.make_node('Add', ['z', 'kept'], ['o'], '/c/Add'),
  ]
  constants = [
    numpy_helper.from_array(np.ones((2, 1, 1, 1), np.float32), 'onnx::Conv_1'),
    numpy_helper.from_array(np.ones(2, np.float16), 'kept'),
  ]
  return helper.make_model(helper.make_graph(nodes, 'g', [], [], constants))


def zip_of(pickled: bytes) -> dict[str, bytes]:
  return {**tp.state_members(STATE), 'archive/data.pkl': pickled}


def write(path: pathlib.Path, data: bytes) -> pathlib.Path:
  path.write_bytes(data)
  return path


def _pickle(folder: pathlib.Path, draw: random.Random | None) -> pathlib.Path:
  inner = tp.state_members(STATE)['archive/data.pkl']
  return tp.write_zip(folder / 'a.pt', zip_of(damage.damaged(inner, draw) if draw else inner))


def _program(folder: pathlib.Path, draw: random.Random | None) -> pathlib.Path:
  if draw is None:
    return _pickle(folder, None)
  inner = b''.join(draw.choices(PARTS, k=draw.randrange(1, 30)))
  return tp.write_zip(folder / 'a.pt', zip_of(b'\x80\x02' + inner + b'.'))


def _value(draw: random.Random, depth: int = 0) -> bytes:
  """A random value as pickled, tensors and their parts among them."""
  how = draw.randrange(9 if depth < 4 else 6)
  if how == 0:
    return tp.number(_small(draw))
  if how == 1:
    return tp.numbers(tuple(_small(draw) for _ in range(draw.choice([0, 1, 2, 40]))))
  if how <= 5:
    made: list[Any] = ['0', 6, (2, 3), (3, 1), 0, 'FloatStorage']
    odd = (
      draw.choice(['0', '1', '2', '../0']), _small(draw, 6), (_small(draw), 3),
      (_small(draw, 3), 1), _small(draw, 0),
      draw.choice([*tp.STORAGES.values(), 'BFloat16Storage', 'QInt8Storage']),
    )  # fmt: skip
    for place in draw.choices(range(6), k=draw.choice([0, 0, 0, 1, 1, 2])):
      made[place] = odd[place]
    return tp.tensor(*made)
  if how == 6:
    inner = b''.join(_value(draw, depth + 1) for _ in range(3))
    return draw.choice([b'(' + inner + b't', b'](' + inner + b'e'])
  return tp.dictionary({
    draw.choice('abc.') * draw.choice([1, 1, 2, 900]): _value(draw, depth + 1)
    for _ in range(draw.randrange(4))
  })  # fmt: skip


def _small(draw: random.Random, usual: int = 2) -> int:
  value = draw.choice([usual, usual, usual, 1, 2, 3, damage.edges(draw)])
  return max(-(2**63), min(2**63 - 1, value))


def _tree(folder: pathlib.Path, draw: random.Random | None) -> pathlib.Path:
  if draw is None:
    return _pickle(folder, None)
  whole = tp.whole(tp.dictionary({'a': _value(draw), 'b': _value(draw)}))
  return tp.write_zip(folder / 'a.pt', zip_of(whole))


def _zip(folder: pathlib.Path, draw: random.Random | None) -> pathlib.Path:
  path = tp.write_state(folder / 'a.pt', STATE)
  if draw is None:
    return path
  data = path.read_bytes()
  if draw.random() < 0.5:  # A number of the central directory or of its end.
    start = data.index(b'PK\1\2')
    for _ in range(draw.choice([1, 1, 2, 5])):
      data = damage.renumbered(data, draw.randrange(start, len(data)), draw)
    return write(path, data)
  return write(path, damage.damaged(data, draw))


def _stream(folder: pathlib.Path, draw: random.Random | None) -> pathlib.Path:
  path = tp.write_legacy(folder / 'a.pt', STATE)
  return write(path, damage.damaged(path.read_bytes(), draw)) if draw else path


def _safetensors(folder: pathlib.Path, draw: random.Random | None) -> pathlib.Path:
  path, body = folder / 'a.safetensors', bytes(range(12))
  if draw is None:
    return write(path, safetensors())
  how = draw.random()
  if how < 0.4:
    return write(path, damage.damaged(safetensors(), draw))
  header = json.loads(json.dumps(HEADER))
  if how < 0.7:
    entry = header[draw.choice('ab')]
    numbers = entry[draw.choice(['shape', 'data_offsets'])]
    numbers[draw.randrange(3) : draw.randrange(3)] = [draw.choice([*_ODD_NUMBERS, 0, 4, 8])]
    entry['dtype'] = draw.choice([entry['dtype'], *checkpoints._SAFETENSORS, 'F8_E4M3'])
    return write(path, safetensors(header, body))
  return write(path, safetensors(damage.document(header, draw), body))


def _onnx(folder: pathlib.Path, draw: random.Random | None) -> pathlib.Path:
  path, model = folder / 'a.onnx', onnx_model()
  if draw is None:
    return write(path, model.SerializeToString())
  if draw.random() < 0.5:
    return write(path, damage.damaged(model.SerializeToString(), draw))
  for _ in range(draw.choice([1, 1, 2, 4])):
    _edit(model, draw)
  data = model.SerializeToString()
  return write(path, data if draw.random() < 0.7 else damage.damaged(data, draw))


def _edit(model: Any, draw: random.Random) -> None:
  """Changes a field of an ONNX file that its own checks would not let pass."""
  graph = model.graph
  node, constant = draw.choice(graph.node), draw.choice(graph.initializer)
  value = [node.attribute[0].t for node in graph.node if node.attribute and not node.input]
  tensor = draw.choice([constant, constant, value[0] if value else constant])
  names = ['', 'x', 'kept', 'onnx::Conv_1', '/a/Conv', '\x7f' * 3, 'y' * 2000, '/' * 500]
  how = draw.randrange(12)
  if how == 0:
    tensor.dims[:] = [_small(draw) for _ in range(draw.choice([0, 1, 2, 4, 40]))]
  elif how == 1:
    tensor.data_type = draw.choice([*range(24), 255, 2**31 - 1])
  elif how == 2:
    tensor.raw_data = bytes(draw.choice([0, 1, 7, 8, 16, 5000]))
  elif how == 3:
    tensor.ClearField('raw_data')
    tensor.float_data.extend([1.0] * draw.choice([0, 1, 8, 500]))
  elif how == 4:
    tensor.data_location = draw.choice([0, 1])
    entry = tensor.external_data.add()
    entry.key, entry.value = 'location', draw.choice(['../../x', '/etc/passwd', 'a.onnx', ''])
  elif how == 5:
    constant.name = draw.choice(names)
  elif how == 6:
    node.name = draw.choice(names)
  elif how == 7:
    node.op_type = draw.choice(['Constant', 'MatMul', 'Mul', 'Add', 'Conv', 'Gemm', '', 'x' * 5000])
  elif how == 8:
    known = ['t', 'kept', 'onnx::Conv_1', *names]
    node.input[:] = draw.choices(known, k=draw.choice([0, 1, 2, 50]))
  elif how == 9:
    node.output[:] = draw.choices(['t', 'kept', *names], k=draw.choice([0, 1, 2]))
  elif how == 10:
    graph.node.extend([node] * draw.choice([1, 2, 500]))
  else:
    graph.initializer.extend([constant] * draw.choice([1, 2, 500]))


def _record(folder: pathlib.Path, draw: random.Random | None) -> pathlib.Path:
  """What is kept of converted parameters, of which the record is damaged."""
  cache.save(folder / 'kept', STATE, {'sources': {'a': '0' * 64}, 'taken': ''})
  files = sorted(file for file in (folder / 'kept').rglob('*') if file.is_file())
  record = folder / 'kept' / 'record.json'
  if draw is not None and draw.random() < 0.7:
    record.write_bytes(damage.document(json.loads(record.read_bytes()), draw))
  elif draw is not None:
    file = draw.choice(files)
    file.write_bytes(damage.damaged(file.read_bytes(), draw))
  return folder / 'kept'


KINDS: Mapping[str, Callable[[pathlib.Path, random.Random | None], pathlib.Path]] = {
  'program': _program, 'pickle': _pickle, 'tree': _tree, 'zip': _zip, 'stream': _stream,
  'safetensors': _safetensors, 'onnx': _onnx, 'record': _record,
}  # fmt: skip


def make(kind: str, folder: pathlib.Path, draw: random.Random | None) -> pathlib.Path:
  """Writes a checkpoint of a kind, damaged by the draw."""
  return KINDS[kind](folder, draw)


def read(path: pathlib.Path) -> None:
  """Reads a checkpoint, or a folder of the cache, as loading a model does."""
  if path.is_dir() and path.name == 'kept':
    params, record = cache.restore(path)
    assert all(isinstance(array, np.ndarray) for array in params.values())
    assert isinstance(record, dict)
    return
  try:
    state = checkpoints.read(path, finite=False)
  except checkpoints.CheckpointError as error:
    assert str(error).startswith((f'{path.name}: ', f'{path}: ')), str(error)[:300]
    raise
  assert all(isinstance(name, str) and name.encode() is not None for name in state)
  assert all(isinstance(array, np.ndarray) for array in state.values())
  with contextlib.suppress(checkpoints.CheckpointError):  # Of two sets of weights.
    layouts.unwrap(state, ['weight', 'bias'], path.name)
