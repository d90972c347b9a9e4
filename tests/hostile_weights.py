"""Checkpoints that somebody made to keep a reader busy, to fill its memory or to run a command."""

from __future__ import annotations

import os
import pathlib
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch_pickles as tp
from fuzz_weights import STATE, onnx_model, safetensors, write, zip_of

__all__ = ['CASES']


def _of_pickle(value: bytes) -> Callable[[pathlib.Path], pathlib.Path]:
  return lambda folder: tp.write_zip(folder / 'a.pt', zip_of(tp.whole(value)))


def _of_header(header: Any, body: bytes = bytes(12)) -> Callable[[pathlib.Path], pathlib.Path]:
  return lambda folder: write(folder / 'a.safetensors', safetensors(header, body))


def _of_one(
  dtype: str, shape: Any, offsets: list[Any], body: bytes = bytes(12)
) -> Callable[[pathlib.Path], pathlib.Path]:
  return _of_header({'a': {'dtype': dtype, 'shape': shape, 'data_offsets': offsets}}, body)


def _of_model(change: Callable[[Any], None]) -> Callable[[pathlib.Path], pathlib.Path]:
  def written(folder: pathlib.Path) -> pathlib.Path:
    model = onnx_model()
    change(model)
    return write(folder / 'a.onnx', model.SerializeToString())

  return written


def _grow(model: Any, *dims: int) -> None:
  """Claims a size for a constant that is of four bits a number."""
  kept = model.graph.initializer[1]
  kept.data_type, kept.dims[:] = 23, dims


def _of_onnx_bytes(old: bytes, new: bytes) -> Callable[[pathlib.Path], pathlib.Path]:
  return lambda folder: write(
    folder / 'a.onnx', onnx_model().SerializeToString().replace(old, new)
  )


def _stream_start(protocol: int, third: Any = None) -> bytes:
  parts = (0x1950A86A20F9469CFC6C, 1001, third or {'little_endian': True})
  return b''.join(pickle.dumps(part, protocol) for part in parts)


def _legacy(start: bytes) -> Callable[[pathlib.Path], pathlib.Path]:
  def written(folder: pathlib.Path) -> pathlib.Path:
    data = tp.write_legacy(folder / 'a.pt', STATE).read_bytes()
    return write(folder / 'a.pt', start + data[data.index(b'ccollections') - 2 :])

  return written


def _shared(opening: bytes, pair: bytes, times: int) -> bytes:
  """A value whose parts are the one before, twice, so that it has 2 ** times of the first."""
  made = opening + b'q\x00'
  for k in range(times):
    made += b'0' + b'h' + bytes([k]) + b'h' + bytes([k])
    made = made + pair + b'q' + bytes([k + 1])
  return made


def _list_of_two(times: int) -> bytes:
  made = b']q\x00'
  for k in range(times):
    made += b'0](h' + bytes([k]) + b'h' + bytes([k]) + b'eq' + bytes([k + 1])
  return made


def _overlapping(folder: pathlib.Path) -> pathlib.Path:
  one = tp.tensor('0', 2_000_000, (2_000_000,), (1,), storage='BFloat16Storage')
  members = {'a/data.pkl': tp.whole(tp.dictionary({f'w{k}': one for k in range(400)}))}
  return tp.write_zip(folder / 'a.pt', members | {'a/data/0': bytes(4_000_000)})


def _many_members(folder: pathlib.Path) -> pathlib.Path:
  return tp.write_zip(folder / 'a.pt', {f'a/data/{k}': b'' for k in range(20_000)})


def _pipe(folder: pathlib.Path) -> pathlib.Path:
  os.mkfifo(folder / 'a.pt')
  return folder / 'a.pt'


def _device(folder: pathlib.Path) -> pathlib.Path:
  (folder / 'a.pt').symlink_to('/dev/zero')
  return folder / 'a.pt'


def _long_key(folder: pathlib.Path) -> pathlib.Path:
  key, one = 'k' * 1_000_000, tp.tensor('0', 1, (1,), (1,)) + b'q\x02'
  lists = b'](' + b'}h\x01h\x02s' * 60_000 + b'e'
  value = b'}' + tp.text(key) + b'q\x01' + one + b's0' + b'}' + tp.text('a') + lists + b's'
  return _of_pickle(value)(folder)


def _unnamed(model: Any) -> None:
  del model.graph.node[1].output[:]


def _far_data(model: Any) -> None:
  tensor = model.graph.initializer[0]
  tensor.data_location = 1
  entry = tensor.external_data.add()
  entry.key, entry.value = 'location', '../../etc/passwd'


def _read_often(model: Any) -> None:
  from onnx import numpy_helper

  del model.graph.initializer[:], model.graph.node[:]
  model.graph.initializer.append(
    numpy_helper.from_array(np.ones(1_000_000, np.float16), 'onnx::Add_1')
  )
  for k in range(3000):
    node = model.graph.node.add()
    node.op_type, node.name = 'Add', f'/a{k}/Add'
    node.input[:] = ['x', 'onnx::Add_1']


def _huge_dims(model: Any) -> None:
  model.graph.initializer[0].dims[:] = [2**62, 2**62, 0]


def _deep_graphs(folder: pathlib.Path) -> pathlib.Path:
  data = b''
  for _ in range(3000):  # A graph in an attribute of a node of a graph.
    for field in (6, 5, 1):
      data = bytes([field << 3 | 2]) + _varint(len(data)) + data
  return write(folder / 'a.onnx', b'\x08\x08' + b'\x3a' + _varint(len(data)) + data)


def _varint(value: int) -> bytes:
  out = b''
  while value > 127:
    out, value = out + bytes([value & 127 | 128]), value >> 7
  return out + bytes([value])


def _lying_zip(folder: pathlib.Path) -> pathlib.Path:
  data = bytearray(tp.write_state(folder / 'a.pt', STATE).read_bytes())
  place = data.index(b'PK\1\2')
  struct.pack_into('<II', data, place + 20, 2**32 - 2, 2**32 - 2)
  return write(folder / 'a.pt', bytes(data))


def _bomb(folder: pathlib.Path) -> pathlib.Path:
  members = tp.state_members(STATE) | {'archive/data/0': bytes(300_000_000)}
  return tp.write_zip(folder / 'a.pt', members, zipfile.ZIP_DEFLATED)


_BYTES = {'dtype': 'U8', 'shape': [12], 'data_offsets': [0, 12]}
CASES: Mapping[str, Mapping[str, Callable[[pathlib.Path], pathlib.Path]]] = {
  'pickle': {
    'key-of-nested-tuples': _of_pickle(b'})' + b'\x85' * 1_000_000 + b'Ns'),
    'key-of-shared-tuples': _of_pickle(b'}' + _shared(b')', b'\x86', 60) + b'Ns'),
    'key-of-shared-lists': _of_pickle(b'}' + _list_of_two(60) + b'Ns'),
    'name-of-shared-lists': _of_pickle(b'ctorch\nFloatStorage\n' + _list_of_two(60) + b'\x86Q'),
    'size-of-shared-tuples': _of_pickle(
      b'ctorch._utils\n_rebuild_tensor_v2\n(' + tp.text('x') + b'K\x00'
      + _shared(b')', b'\x86', 60) + b')tR'
    ),
    'shared-lists-of-tensors': _of_pickle(
      b'}' + tp.text('a') + tp.tensor('0', 6, (6,), (1,)) + b's'
      + tp.text('b') + _list_of_two(60) + b's'
    ),
    'megabytes-of-brackets': _of_pickle(b']' * 16_000_000),
    'megabytes-of-dicts': _of_pickle(b'}' * 16_000_000),
    'megabytes-of-marks': _of_pickle(b'(' * 16_000_000),
    'one-long-key-often': _long_key,
    'runs-a-command': _of_pickle(b'cos\nsystem\n(' + tp.text('touch /tmp/fallen') + b'tR'),
    'opens-a-file': _of_pickle(
      b'cbuiltins\nopen\n(' + tp.text('/tmp/fallen') + tp.text('w') + b'tR'
    ),
    'a-number-of-megabytes': _of_pickle(
      b'\x8b' + (4_000_000).to_bytes(4, 'little') + b'\x7f' * 4_000_000
    ),
    'a-decimal-of-megabytes': _of_pickle(b'L' + b'9' * 4_000_000 + b'L\n'),
    'memo-of-billions': _of_pickle(b'Nr\xff\xff\xff\x7f'),
  },
  'zip': {
    'overlapping-bfloat16': _overlapping, 'many-members': _many_members, 'pipe': _pipe,
    'device': _device, 'sizes-that-lie': _lying_zip, 'bomb': _bomb,
    'folder': lambda folder: folder,
  },
  'stream': {
    'protocol-3': _legacy(_stream_start(3)), 'protocol-4': _legacy(_stream_start(4)),
    'protocol-5': _legacy(_stream_start(5)),
    'deep-header': _legacy(
      pickle.dumps(0x1950A86A20F9469CFC6C, 2) + (b'\x80\x02)' + b'\x85' * 500_000 + b'.') * 2
    ),
    'long-header': _legacy(_stream_start(2)[:-1] + b'N' * 9_000_000 + b'.'),
    'shared-header': _legacy(
      pickle.dumps(0x1950A86A20F9469CFC6C, 2) + tp.whole(_list_of_two(60)) * 2
    ),
  },
  'safetensors': {
    'closing-brackets': _of_header(b'{' + b']' * 16_000_000),
    'opening-brackets': _of_header(b'{"a":' + b'[' * 16_000_000),
    'objects': _of_header(b'{"a":' * 3_000_000),
    'long-number': _of_header(b'{"a":' + b'9' * 16_000_000 + b'}'),
    'negative-offsets': _of_one('F32', [3], [-12, 0]),
    'offsets-of-bools': _of_one('U8', [1], [False, True]),
    'huge-offsets': _of_one('F32', [3], [0, 2**70]),
    'huge-shape': _of_one('F32', [2**40, 2**40, 0], [0, 0], b''),
    'many-axes': _of_one('F32', [1] * 100_000, [0, 4]),
    'text-as-shape': _of_one('U8', '12', [0, 12]),
    'overlaps': _of_header(dict.fromkeys('ab', _BYTES)),
    'surrogates': _of_header({'\udcff': _BYTES}),
    'many-names': _of_header(
      {str(k): {'dtype': 'U8', 'shape': [0], 'data_offsets': [0, 0]} for k in range(200_000)},
      b'',
    ),
  },
  'onnx': {
    'names-of-no-utf-8': _of_onnx_bytes(b'kept', b'k\xff\xfet'),
    'four-bits-of-any-size': _of_model(lambda model: _grow(model, 2, 2**40)),
    'four-bits-of-less-than-nothing': _of_model(lambda model: _grow(model, 2**40, 2**40, -1)),
    'node-of-no-utf-8': _of_onnx_bytes(b'/a/Conv', b'/\xff/Conv'),
    'constant-without-output': _of_model(_unnamed), 'external-data': _of_model(_far_data),
    'one-constant-often': _of_model(_read_often), 'huge-dims': _of_model(_huge_dims),
    'deep-graphs': _deep_graphs,
  },
}  # fmt: skip
