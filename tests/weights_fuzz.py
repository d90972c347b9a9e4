"""Small valid files of weights in every format, and seeded damage to them."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import torch_pickles as tp

from ports.weights import checkpoints
from ports.weights.errors import CheckpointError

STATE = {
  'a.weight': np.arange(6, dtype=np.float32).reshape(2, 3),
  'a.bias': np.array([0.5, -2.0], np.float16),
  'count': np.array(7, np.int64),
}
EXTREMES = [bytes([byte]) for byte in b'\0\xff\x7f\x80()}]{[.R\x85']


# Parts of pickles that fit together now and then.
PARTS = (
  *(bytes([byte]) for byte in b'N\x88()\x85\x86\x87t]ae}su\x8f\x90\x910\x94RbQ\x81\x92\x93'),
  b'q\x00', b'q\x01', b'h\x00', b'h\x01', b'K\x02', b'J\xff\xff\xff\xff', b'\x8a\x01\x02',
  b'G?\xf0\0\0\0\0\0\0', b'C\x01a', tp.text('a'), tp.text('storage'), tp.text('0'),
  b'ctorch\nFloatStorage\n', b'ctorch\nSize\n', b'cbuiltins\nset\n', b'cisegm\nLoss\n',
  b'ctorch._utils\n_rebuild_tensor_v2\n', b'ctorch._utils\n_rebuild_parameter\n',
  b'ctorch._tensor\n_rebuild_from_type_v2\n', b'ccollections\nOrderedDict\n',
  b'ccollections\ndefaultdict\n', tp.numbers((2, 3)),
  tp.tensor('0', 6, (2, 3), (3, 1)), tp.dictionary({'b': tp.tensor('0', 6, (6,), (1,))}),
)


def zip_of(pickle: bytes) -> dict[str, bytes]:
  return {**tp.state_members(STATE), 'archive/data.pkl': pickle}


def safetensors() -> bytes:
  header = {
    '__metadata__': {'format': 'pt'},
    'a': {'dtype': 'BF16', 'shape': [2, 2], 'data_offsets': [0, 8]},
    'b': {'dtype': 'F32', 'shape': [], 'data_offsets': [8, 12]},
  }
  text = json.dumps(header).encode()
  return len(text).to_bytes(8, 'little') + text + np.arange(12, dtype=np.uint8).tobytes()


def onnx() -> bytes:
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
  return helper.make_model(helper.make_graph(nodes, 'g', [], [], constants)).SerializeToString()


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
  """`data` after one to four small changes."""
  for _ in range(rng.integers(1, 5)):
    if not data:
      return data
    i, j = sorted(rng.integers(0, len(data), 2).tolist())
    j = min(j, i + 40)
    kind = rng.integers(0, 7)
    if kind == 0:
      data = data[:i] + bytes([data[i] ^ (1 << int(rng.integers(0, 8)))]) + data[i + 1 :]
    elif kind == 1:
      data = data[:i] + EXTREMES[rng.integers(0, len(EXTREMES))] + data[i + 1 :]
    elif kind == 2:
      data = data[:i] + data[j:]
    elif kind == 3:
      data = data[:j] + data[i:j] * int(rng.integers(1, 4)) + data[j:]
    elif kind == 4:
      data = data[:i] + rng.bytes(int(rng.integers(1, 9))) + data[i:]
    elif kind == 5:
      data = data[:i] + EXTREMES[rng.integers(0, len(EXTREMES))] * 8 + data[i + 8 :]
    else:
      data = data[:i]
  return data


def one(folder: pathlib.Path, kind: str, seed: int) -> bool:
  """Whether the damaged file of `kind` is still read; anything but CheckpointError is raised."""
  rng = np.random.default_rng(seed)
  if kind == 'pickle':
    # damage within the archive, behind its sums
    inner = damaged(tp.state_members(STATE)['archive/data.pkl'], rng)
    path = tp.write_zip(folder / 'a.pt', zip_of(inner))
  elif kind == 'program':
    inner = b''.join(PARTS[i] for i in rng.integers(0, len(PARTS), int(rng.integers(1, 30))))
    path = tp.write_zip(folder / 'a.pt', zip_of(b'\x80\x02' + inner + b'.'))
  elif kind in ('zip', 'stream'):
    path = (tp.write_state if kind == 'zip' else tp.write_legacy)(folder / 'a.pt', STATE)
    path.write_bytes(damaged(path.read_bytes(), rng))
  else:
    path = folder / f'a.{kind}'
    path.write_bytes(damaged({'onnx': onnx, 'safetensors': safetensors}[kind](), rng))
  try:
    checkpoints.read(path, finite=False)
  except CheckpointError as error:
    assert str(error).startswith(f'{path.name}: ') and len(str(error)) < 3000, str(error)[:300]
    return False
  return True
