"""PyTorch checkpoints without PyTorch: the zip format and the older stream format.

The zip format is what `torch.save` writes since 1.6. Both hold a pickle that describes tensors,
read by `ports.weights.tensor_pickles`, and beside it the bytes that fill them.
"""

from __future__ import annotations

import io
import math
import os
import re
import zipfile
from collections import Counter
from collections.abc import Sequence
from typing import IO, Any, cast

import numpy as np

from ports.weights.archives import check_member_name
from ports.weights.errors import CheckpointError
from ports.weights.tensor_pickles import (
  BRAIN,
  MAX_PICKLE_BYTES,
  STORAGES,
  Tensor,
  passed_over,
  tensors_of,
  unpickle,
)

__all__ = ['STREAM_START', 'State', 'read_torch', 'whole_network', 'widened']

STREAM_START = re.compile(
  rb'\x80[\x02-\x05](\x95.{8})?\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19\.', re.DOTALL
)
"""The pickled number 0x1950a86a20f9469cfc6c, with which the stream format starts."""

_LEGACY_PROTOCOL = 1001
_PACKED = ('.pt', '.pth', '.ckpt', '.safetensors', '.onnx')
# Of the pickles around the tensors': a number, a dozen facts on the machine, a text a storage.
_HEADER_OPCODES = 10_000
_KEY_OPCODES = 500_000
# In which the five pickles end that the stream format starts with.
_HEAD_BYTES = 2 * MAX_PICKLE_BYTES


class State(dict[str, np.ndarray]):
  """Arrays by name.

  Attributes:
    networks: classes of pickled PyTorch modules that lie beside them, unread.
  """

  networks: tuple[str, ...] = ()


def _described(tree: Any) -> tuple[dict[str, Tensor], tuple[str, ...]]:
  """The tensors in an unpacked pickle, and the classes of the modules beside them."""
  tensors, others = tensors_of(tree), passed_over(tree)
  networks = tuple(name for name, network in others.items() if network)
  if tensors:
    return tensors, networks
  if networks:
    raise CheckpointError(whole_network(networks))
  asks = f'; it asks for "{", ".join(list(others)[:3])}", and nothing of that is run'
  raise CheckpointError(
    f'it holds no tensors that can be read: damaged, or no state dict{asks if others else ""}'
  )


def whole_network(names: Sequence[str]) -> str:
  """What to do about a file that holds a pickled module, by the modules' classes."""
  return (
    f'it holds a whole pickled network ("{names[0]}"), whose code is not run, and not its state '
    'dict. Save that with torch.save(model.state_dict(), PATH) and use the new file'
  )


def widened(bits: np.ndarray) -> np.ndarray:
  """bfloat16, given as its bits in uint16, as float32: exact."""
  wide = bits.astype(np.uint32)
  wide <<= 16
  return wide.view(np.float32)


def _fill(tensors: dict[str, Tensor], storages: dict[str, bytes]) -> State:
  """Arrays for the descriptions; every one has to lie inside its storage.

  A storage is taken out of `storages` once its last tensor is made, so that a checkpoint of
  several gigabytes is not held twice.
  """
  left = Counter(tensor.storage.key for tensor in tensors.values())
  budget = 4 * sum(map(len, storages.values())) + 4096
  arrays = State()
  for name, tensor in tensors.items():
    storage, dtype = tensor.storage, STORAGES[tensor.storage.dtype]
    left[storage.key] -= 1
    stored = storages[storage.key] if left[storage.key] else storages.pop(storage.key)
    if len(stored) % dtype.itemsize:
      raise CheckpointError(
        f'the storage of "{name}" has {len(stored)} bytes, no multiple of {dtype.itemsize}'
      )
    whole = np.frombuffer(stored, dtype)
    if storage.start + storage.numel > whole.size:
      raise CheckpointError(
        f'"{name}" declares a storage of {storage.numel} elements, the file holds {whole.size}'
      )
    data = whole[storage.start : storage.start + storage.numel]
    count = math.prod(tensor.size)
    last = tensor.offset + sum((n - 1) * s for n, s in zip(tensor.size, tensor.stride, strict=True))
    if count and last >= data.size:
      raise CheckpointError(
        f'"{name}" (size {tensor.size}, strides {tensor.stride}, offset {tensor.offset}) reaches '
        f'outside its storage of {data.size} elements'
      )
    budget -= count * (4 if storage.dtype == BRAIN else dtype.itemsize)
    if count > data.size or budget < 0:
      raise CheckpointError(f'"{name}" of size {tensor.size} repeats the bytes of its storage')
    if not count:
      if math.prod(max(n, 1) for n in tensor.size) >= 1 << 31:
        raise CheckpointError(f'"{name}" is empty and of size {tensor.size}')
      arrays[name] = np.zeros(tensor.size, np.float32 if storage.dtype == BRAIN else dtype)
      continue
    # the stride of an axis of length 1 means nothing and may hold anything
    strides = (s if n > 1 else 0 for n, s in zip(tensor.size, tensor.stride, strict=True))
    view = np.lib.stride_tricks.as_strided(
      data[tensor.offset :],
      tensor.size,
      tuple(s * dtype.itemsize for s in strides),
      writeable=False,
    )
    array = np.array(view, order='C')
    if storage.dtype == BRAIN:
      array = widened(array)
    arrays[name] = array
  return arrays


def _member_names(archive: zipfile.ZipFile, file_bytes: int) -> set[str]:
  """Names of a torch archive's members, once all of them are harmless."""
  infos = archive.infolist()
  names = {info.filename for info in infos}
  for info in infos:
    # zipfile cuts names at NUL and swaps separators in `filename`; the stored one is judged
    check_member_name(info.orig_filename)
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
      raise CheckpointError(
        f'archive member "{info.filename[:200]}" is compressed or encrypted, which torch never '
        'writes: refused'
      )
  if len(names) != len(infos):
    raise CheckpointError('two archive members have the same name: refused')
  if sum(info.file_size for info in infos) > file_bytes:
    raise CheckpointError('the archive declares more bytes than the file holds: refused')
  return names


def _refuse_others(names: Sequence[str]) -> None:
  """Raises CheckpointError for the members of a TorchScript archive, and for packed checkpoints."""
  if any(name.endswith('/constants.pkl') or '/code/' in name for name in names):
    raise CheckpointError(
      'it is a TorchScript archive, a compiled program that is not read. Save its state dict with '
      'torch.save(torch.jit.load(PATH).state_dict(), OTHER_PATH) and use the new file'
    )
  packed = [name for name in names if name.lower().endswith(_PACKED)]
  if packed and not any(name.endswith('/data.pkl') for name in names):
    raise CheckpointError(f'an archive that packs "{packed[0][:200]}"; unpack it and give that')


class _Bounded:
  """A file that makes no room for more bytes than it has left, whatever it is asked for.

  An archive's directory says how long it is, and `zipfile` asks for so much at once.
  """

  def __init__(self, file: IO[bytes], file_bytes: int):
    self._file, self._bytes = file, file_bytes

  def __getattr__(self, name: str) -> Any:
    return getattr(self._file, name)

  def read(self, count: int = -1) -> bytes:
    left = max(self._bytes - self._file.tell(), 0)
    return self._file.read(left if count < 0 else min(count, left))


def _read_zip(file: IO[bytes], file_bytes: int) -> State:
  try:
    with zipfile.ZipFile(cast(IO[bytes], _Bounded(file, file_bytes))) as archive:
      _refuse_others(archive.namelist())
      names = _member_names(archive, file_bytes)
      pickles = [n for n in names if n.count('/') == 1 and n.endswith('/data.pkl')]
      if len(pickles) != 1:
        raise CheckpointError(
          f'the archive holds {len(pickles)} members "*/data.pkl" instead of one; it is not a '
          'checkpoint that torch.save wrote'
        )
      root = pickles[0].rpartition('/')[0]
      if f'{root}/byteorder' in names and archive.read(f'{root}/byteorder') != b'little':
        raise CheckpointError('the checkpoint was written on a big-endian machine: not read')
      if archive.getinfo(pickles[0]).file_size > MAX_PICKLE_BYTES:
        raise CheckpointError(f'data.pkl is longer than {MAX_PICKLE_BYTES} bytes: refused')
      tree, _ = unpickle(io.BytesIO(archive.read(pickles[0])))
      tensors, networks = _described(tree)
      storages = {}
      for key in sorted({t.storage.key for t in tensors.values()}):
        member = f'{root}/data/{key}'
        if member not in names:
          raise CheckpointError(f'the archive lacks "{member}"')
        storages[key] = archive.read(member)
  except CheckpointError:
    raise
  except (zipfile.BadZipFile, EOFError, ValueError, RuntimeError, OSError) as error:
    # NotImplementedError, for an unknown compression, is a RuntimeError
    raise CheckpointError(f'truncated or damaged zip archive: {str(error)[:200]}') from error
  state = _fill(tensors, storages)
  state.networks = networks
  return state


def _read_stream(file: IO[bytes], file_bytes: int) -> State:
  """The format before torch 1.6: five pickles in a row, then (length, bytes) of each storage."""
  head = file.read(_HEAD_BYTES)
  if not STREAM_START.match(head):
    raise CheckpointError('not a PyTorch checkpoint: neither its zip nor its older stream format')
  stream = io.BytesIO(head)
  (_, _), (protocol, _), (_, _) = (unpickle(stream, most=_HEADER_OPCODES) for _ in range(3))
  (tree, widths), (keys, _) = unpickle(stream), unpickle(stream, most=_KEY_OPCODES)
  if type(protocol) is not int or protocol != _LEGACY_PROTOCOL:
    raise CheckpointError(f'a stream format that is not {_LEGACY_PROTOCOL}, the only one known')
  position = stream.tell()
  tensors, networks = _described(tree)
  storages = {}
  for key in keys if isinstance(keys, list) else ():
    if not isinstance(key, str) or key not in widths or position + 8 > file_bytes:
      raise CheckpointError('truncated checkpoint, or a storage that no tensor uses')
    file.seek(position)
    length = int.from_bytes(file.read(8), 'little') * widths[key]
    position += 8
    if not 0 <= length <= file_bytes - position:
      raise CheckpointError(f'truncated checkpoint: storage "{key}" should have {length} bytes')
    storages[key] = file.read(length)
    position += length
  missing = sorted({t.storage.key for t in tensors.values()} - set(storages))
  if missing:
    raise CheckpointError(f'the checkpoint lacks the storages {missing[:5]}')
  state = _fill(tensors, storages)
  state.networks = networks
  return state


def read_torch(file: IO[bytes]) -> State:
  """Tensors of a `.pt` / `.pth` file by dotted name, in the file's own layout.

  Nested dicts are joined with dots. What is not a tensor (epochs, names, objects of classes, such
  as a run's arguments) is left out. float16, float32, float64, integers and bools keep
  their dtype; bfloat16 becomes float32.

  Args:
    file: open for reading, at its start, seekable.

  Raises:
    CheckpointError: a truncated, damaged or hostile file; the text names what was found.
  """
  start = file.read(4)
  file_bytes = file.seek(0, os.SEEK_END)
  file.seek(0)
  if start.startswith(b'PK'):
    return _read_zip(file, file_bytes)
  return _read_stream(file, file_bytes)
