"""PyTorch checkpoints made by hand, byte by byte, so that hostile ones can be made as well."""

from __future__ import annotations

import collections
import io
import pathlib
import pickle
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

STORAGES = {
  'float64': 'DoubleStorage',
  'float32': 'FloatStorage',
  'float16': 'HalfStorage',
  'int64': 'LongStorage',
  'uint8': 'ByteStorage',
  'bool': 'BoolStorage',
}


def text(value: str) -> bytes:
  return b'X' + len(value).to_bytes(4, 'little') + value.encode()


def number(value: int) -> bytes:
  data = value.to_bytes(8, 'little', signed=True)
  return b'\x8a' + bytes([len(data)]) + data


def numbers(values: tuple[int, ...]) -> bytes:
  return b'(' + b''.join(map(number, values)) + b't'


def tensor(
  key: str,
  numel: int,
  size: tuple[int, ...],
  stride: tuple[int, ...],
  offset: int = 0,
  storage: str = 'FloatStorage',
) -> bytes:
  """Pickled call that rebuilds a tensor over storage `key` of `numel` elements."""
  where = b'(' + text('storage') + f'ctorch\n{storage}\n'.encode()
  where += text(key) + text('cpu') + number(numel) + b'tQ'
  call = b'ctorch._utils\n_rebuild_tensor_v2\n('
  flags = b'\x89ccollections\nOrderedDict\n)R'
  return call + where + number(offset) + numbers(size) + numbers(stride) + flags + b'tR'


def dictionary(entries: Mapping[str, bytes]) -> bytes:
  """Pickled OrderedDict with the attribute that torch leaves on state dicts."""
  items = b''.join(text(name) + value for name, value in entries.items())
  return b'ccollections\nOrderedDict\n)R(' + items + b'u}' + text('_metadata') + b'}sb'


def whole(value: bytes) -> bytes:
  return b'\x80\x02' + value + b'.'


def contiguous(array: np.ndarray, key: str) -> bytes:
  stride = tuple(s // array.itemsize for s in array.strides)
  return tensor(key, array.size, array.shape, stride, storage=STORAGES[str(array.dtype)])


def write_zip(
  path: pathlib.Path, members: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED
) -> pathlib.Path:
  with zipfile.ZipFile(path, 'w', compression) as archive:
    for name, data in members.items():
      archive.writestr(name, data)
  return path


def state_members(state: Mapping[str, np.ndarray]) -> dict[str, bytes]:
  """Members of the archive that torch.save would write for a state dict."""
  entries = {name: contiguous(array, str(i)) for i, (name, array) in enumerate(state.items())}
  members = {'archive/data.pkl': whole(dictionary(entries)), 'archive/byteorder': b'little'}
  for i, array in enumerate(state.values()):
    members[f'archive/data/{i}'] = array.tobytes()
  return members | {'archive/version': b'3\n'}


def write_state(path: pathlib.Path, state: Mapping[str, np.ndarray]) -> pathlib.Path:
  return write_zip(path, state_members(state))


def write_legacy(path: pathlib.Path, state: Mapping[str, np.ndarray]) -> pathlib.Path:
  """The stream format that torch wrote before 1.6."""
  stream = io.BytesIO()
  for part in (0x1950A86A20F9469CFC6C, 1001, {'little_endian': True}):
    pickle.dump(part, stream, protocol=2)
  entries = {name: contiguous(array, str(i)) for i, (name, array) in enumerate(state.items())}
  stream.write(whole(dictionary(entries)))
  pickle.dump([str(i) for i in range(len(state))], stream, protocol=2)
  for array in state.values():
    stream.write(array.size.to_bytes(8, 'little') + array.tobytes())
  path.write_bytes(stream.getvalue())
  return path


def write_published(path: pathlib.Path, state: Mapping[str, np.ndarray]) -> pathlib.Path:
  """As RITM and its descendants publish: {'state_dict': tensors, 'config': constructor}."""
  members = state_members(state)
  inner = members['archive/data.pkl'].removeprefix(b'\x80\x02').removesuffix(b'.')
  width = b'}(' + text('type') + text('int') + text('value') + number(18) + text('specified')
  config = b'}(' + text('class') + text('isegm.model.is_hrnet_model.HRNetModel')
  config += text('params') + b'}' + text('width') + width + b'\x88us' + b'u'
  whole_file = b'}(' + text('state_dict') + inner + text('config') + config + b'u'
  return write_zip(path, members | {'archive/data.pkl': whole(whole_file)})


def write_nested(
  path: pathlib.Path, name: str, state: Mapping[str, np.ndarray]
) -> pathlib.Path:
  """A state dict under a name of its own, as SAM 2's {'model': tensors}."""
  members = state_members(state)
  inner = members['archive/data.pkl'].removeprefix(b'\x80\x02').removesuffix(b'.')
  return write_zip(path, members | {'archive/data.pkl': whole(b'}' + text(name) + inner + b's')})


def save_published(
  path: pathlib.Path, state: Mapping[str, np.ndarray], config: Mapping[str, Any], as_zip: bool
) -> pathlib.Path:
  """The same layout, written by torch itself; without `as_zip` in its format before 1.6.

  Args:
    path: of the file.
    state: by torch's names.
    config: of the constructor, "class" and "params".
    as_zip: which of torch's formats.
  """
  import torch

  tensors = {name: torch.from_numpy(np.array(array)) for name, array in state.items()}
  published = {'state_dict': collections.OrderedDict(tensors), 'config': dict(config)}
  torch.save(published, path, _use_new_zipfile_serialization=as_zip)
  return path


def configuration(name: str, **arguments: Any) -> dict[str, Any]:
  """What RITM's family keeps of a constructor: its class, and each argument with where from."""
  statistics = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
  defaults = {'norm_mean_std': statistics, 'clicks_groups': None}
  known = {'type': 'builtin', 'specified': True}
  params: dict[str, Any] = {key: known | {'value': value} for key, value in arguments.items()}
  params |= {key: known | {'value': value, 'specified': False} for key, value in defaults.items()}
  params['norm_layer'] = {
    'type': 'class', 'value': 'torch.nn.modules.batchnorm.BatchNorm2d', 'specified': False
  }
  return {'class': f'isegm.model.{name}', 'params': params}
