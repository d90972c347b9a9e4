"""PyTorch checkpoints without PyTorch: an unpickler that knows tensors and refuses the rest.

Reads the zip format (`torch.save` since 1.6) and the older stream format. A tensor is described
by the pickle only as (storage, offset, size, stride); its bytes lie beside the pickle. So the
pickle is unpacked into descriptions first, checked, and then filled from the bytes. Objects that
RITM's family keeps in its configurations are passed over unread; no other name gets past.
"""

from __future__ import annotations

import dataclasses
import io
import math
import os
import pickle
import pickletools
import zipfile
from collections.abc import Callable, Iterator
from typing import IO, Any

import numpy as np

from ports.weights.archives import check_member_name
from ports.weights.errors import CheckpointError

__all__ = ['read_torch']

_STORAGES: dict[str, np.dtype[Any]] = {
  'DoubleStorage': np.dtype('<f8'),
  'FloatStorage': np.dtype('<f4'),
  'HalfStorage': np.dtype('<f2'),
  # numpy has no bfloat16: the bits are read as integers and widened to float32, which is exact
  'BFloat16Storage': np.dtype('<u2'),
  'LongStorage': np.dtype('<i8'),
  'IntStorage': np.dtype('<i4'),
  'ShortStorage': np.dtype('<i2'),
  'CharStorage': np.dtype('i1'),
  'ByteStorage': np.dtype('u1'),
  'BoolStorage': np.dtype('?'),
}

_BRAIN = 'BFloat16Storage'

# What `torch.save` writes (protocol 2), and the strings and frames of later protocols.
_OPCODES = frozenset([
  'PROTO', 'FRAME', 'STOP', 'MARK', 'POP', 'NONE', 'NEWTRUE', 'NEWFALSE', 'INT', 'BININT',
  'BININT1', 'BININT2', 'LONG1', 'BINFLOAT', 'BINUNICODE', 'SHORT_BINUNICODE', 'BINSTRING',
  'SHORT_BINSTRING', 'BINBYTES', 'SHORT_BINBYTES', 'EMPTY_TUPLE', 'TUPLE', 'TUPLE1', 'TUPLE2',
  'TUPLE3', 'EMPTY_LIST', 'APPEND', 'APPENDS', 'EMPTY_DICT', 'SETITEM', 'SETITEMS', 'BINPUT',
  'LONG_BINPUT', 'MEMOIZE', 'BINGET', 'LONG_BINGET', 'GLOBAL', 'STACK_GLOBAL', 'REDUCE', 'BUILD',
  'BINPERSID', 'NEWOBJ',
])

# the pickled number 0x1950a86a20f9469cfc6c, with which that format starts
_LEGACY_START = b'\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.'
_LEGACY_PROTOCOL = 1001
_MAX_PICKLE_BYTES = 64 << 20
_MAX_DEPTH = 32
_MAX_NODES = 200_000


@dataclasses.dataclass(frozen=True)
class _Storage:
  dtype: str
  key: str
  numel: int
  start: int = 0

  def __setstate__(self, state: Any) -> None:
    raise pickle.UnpicklingError('a storage with attributes')


@dataclasses.dataclass(frozen=True)
class _Tensor:
  storage: _Storage
  offset: int
  size: tuple[int, ...]
  stride: tuple[int, ...]

  def __setstate__(self, state: Any) -> None:
    raise pickle.UnpicklingError('a tensor with attributes')


class _Inert:
  """Stands for anything of a network's own source code that lies beside its weights.

  Published configurations hold objects, such as the loss that the network was trained with. Their
  code is not imported, what they were made of is dropped, and no tensor in them is read.
  """

  def __new__(cls, *args: Any) -> _Inert:
    del args
    return super().__new__(cls)

  def __init__(self, *args: Any) -> None:
    del args

  def __setstate__(self, state: Any) -> None:
    del state


class _Dict(dict):
  """Stands for `collections.OrderedDict`; the attributes that torch hangs on it are dropped."""

  def __setstate__(self, state: Any) -> None:
    del state


@dataclasses.dataclass(frozen=True)
class _Global:
  """A name that a pickle may mention: callable if it rebuilds something, else a storage type."""

  name: str
  call: Callable[..., Any] | None = None

  def __call__(self, *args: Any) -> Any:
    if self.call is None:
      raise pickle.UnpicklingError(f'{self.name} called')
    return self.call(*args)

  def __setstate__(self, state: Any) -> None:
    raise pickle.UnpicklingError(f'{self.name} with attributes')


def _whole_numbers(values: Any, what: str) -> tuple[int, ...]:
  if not isinstance(values, tuple) or not all(type(v) is int and v >= 0 for v in values):
    raise pickle.UnpicklingError(f'tensor with a {what} that is no tuple of whole numbers')
  return values


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *flags: Any) -> _Tensor:
  del flags  # requires_grad, backward hooks, metadata
  if not isinstance(storage, _Storage):
    raise pickle.UnpicklingError('tensor without a storage')
  size, stride = _whole_numbers(size, 'size'), _whole_numbers(stride, 'stride')
  if len(size) != len(stride) or len(size) > 16:
    raise pickle.UnpicklingError(f'tensor of size {size} with strides {stride}')
  return _Tensor(storage, _whole_numbers((offset,), 'offset')[0], size, stride)


def _rebuild_parameter(data: Any, *flags: Any) -> _Tensor:
  del flags
  if not isinstance(data, _Tensor):
    raise pickle.UnpicklingError('parameter without a tensor')
  return data


_GLOBALS: dict[str, Callable[..., Any]] = {
  'collections.OrderedDict': _Dict,
  'torch._utils._rebuild_tensor': _rebuild_tensor,
  'torch._utils._rebuild_tensor_v2': _rebuild_tensor,
  'torch._utils._rebuild_parameter': _rebuild_parameter,
}


# The package that the models of RITM's family were trained with: what a pickle takes from it, and
# the sets in its objects, is read as `_Inert`.
_INERT_PACKAGE = 'isegm'
_INERT_GLOBALS = frozenset(['builtins.set', '__builtin__.set'])


def _refuse(name: str) -> CheckpointError:
  return CheckpointError(
    f'the pickle asks for "{name}"; only tensors and plain containers are read, and nothing in '
    'the file was run. If you trust it, save its state dict alone with torch and use that file'
  )


class _Unpickler(pickle.Unpickler):
  """Builds descriptions of tensors and inert objects; other globals are refused by name.

  Attributes:
    widths: bytes of an element, by the key of every storage that was named so far.
  """

  def __init__(self, file: IO[bytes]):
    super().__init__(file)
    self.widths: dict[str, int] = {}

  def find_class(self, module: str, name: str) -> Any:
    full = f'{module}.{name}'
    if full in _GLOBALS:
      return _Global(full, _GLOBALS[full])
    if module in ('torch', 'torch.cuda') and name in _STORAGES:
      return _Global(name)
    if module.split('.')[0] == _INERT_PACKAGE or full in _INERT_GLOBALS:
      return _Inert
    raise _refuse(full)

  def persistent_load(self, pid: Any) -> Any:
    if isinstance(pid, tuple) and len(pid) > 1 and pid[0] == 'module' and pid[1] is _Inert:
      return _Inert  # older files hold a network's class together with its source code
    if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != 'storage':
      raise pickle.UnpicklingError('persistent id that names no storage')
    kind, key, numel = pid[1], pid[2], pid[4]
    if not isinstance(kind, _Global) or kind.name not in _STORAGES or not isinstance(key, str):
      raise pickle.UnpicklingError('storage of an unknown type')
    _whole_numbers((numel,), 'storage length')
    start = 0
    if len(pid) > 5 and pid[5] is not None:
      # older files: this storage is a part of a longer one, (key, first element, length)
      view = pid[5]
      if not isinstance(view, tuple) or len(view) != 3 or not isinstance(view[0], str):
        raise pickle.UnpicklingError('storage view that is none')
      key, (start, numel) = view[0], _whole_numbers(view[1:], 'storage view')
    self.widths[key] = _STORAGES[kind.name].itemsize
    return _Storage(kind.name, key, numel, start)


def _check_opcodes(stream: io.BytesIO) -> None:
  """Leaves `stream` behind the pickle that starts there; refuses what no checkpoint needs.

  Nothing is run. The memo index is bounded here because the C unpickler allocates as many slots
  as the largest index that a pickle names.
  """
  length = min(len(stream.getbuffer()), _MAX_PICKLE_BYTES)
  try:
    for opcode, arg, _ in pickletools.genops(stream):
      if opcode.name not in _OPCODES:
        raise CheckpointError(f'the pickle holds {opcode.name}, which no checkpoint needs: refused')
      if opcode.name == 'LONG_BINPUT' and int(arg or 0) > length:
        raise CheckpointError(f'the pickle numbers its memo up to {arg}: refused')
  except CheckpointError:
    raise
  except Exception as error:
    raise CheckpointError(f'the pickle is damaged or truncated: {error}') from error


def _unpickle(stream: io.BytesIO) -> tuple[Any, dict[str, int]]:
  """What the pickle at the stream's position holds, and `_Unpickler.widths`."""
  start = stream.tell()
  _check_opcodes(stream)
  data = stream.getvalue()[start : stream.tell()]
  unpickler = _Unpickler(io.BytesIO(data))
  try:
    return unpickler.load(), unpickler.widths
  except CheckpointError:
    raise
  except Exception as error:
    # a hostile pickle can make the unpickler raise nearly anything
    raise CheckpointError(f'the pickle is damaged: {error or type(error).__name__}') from error


def _walk(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
  """Every node of nested dicts, lists and tuples with its dotted name."""
  yield '.'.join(path), tree
  if len(path) > _MAX_DEPTH:
    raise CheckpointError(f'nested more than {_MAX_DEPTH} deep at {".".join(path)[:80]}')
  if isinstance(tree, dict):
    for key, value in tree.items():
      if not isinstance(key, str | int):
        raise CheckpointError(f'a dict under "{".".join(path)}" has a key of type {type(key)}')
      yield from _walk(value, (*path, str(key)))
  elif isinstance(tree, list | tuple):
    for i, value in enumerate(tree):
      yield from _walk(value, (*path, str(i)))


def _descriptions(tree: Any) -> dict[str, _Tensor]:
  found: dict[str, _Tensor] = {}
  for visited, (name, node) in enumerate(_walk(tree)):
    # one dict may stand in many places, so that a small pickle walks as a huge tree
    if visited > _MAX_NODES:
      raise CheckpointError(f'more than {_MAX_NODES} entries')
    if isinstance(node, _Tensor):
      if name in found:
        raise CheckpointError(f'two tensors are named "{name}"')
      found[name] = node
  return found


def _fill(tensors: dict[str, _Tensor], storages: dict[str, bytes]) -> dict[str, np.ndarray]:
  """Arrays for the descriptions; every one has to lie inside its storage."""
  budget = 4 * sum(map(len, storages.values())) + 4096
  arrays = {}
  for name, tensor in tensors.items():
    storage, dtype = tensor.storage, _STORAGES[tensor.storage.dtype]
    if len(storages[storage.key]) % dtype.itemsize:
      raise CheckpointError(
        f'the storage of "{name}" has {len(storages[storage.key])} bytes, no multiple of '
        f'{dtype.itemsize}'
      )
    whole = np.frombuffer(storages[storage.key], dtype)
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
    budget -= count * dtype.itemsize
    if count > data.size or budget < 0:
      raise CheckpointError(f'"{name}" of size {tensor.size} repeats the bytes of its storage')
    if not count:
      if math.prod(max(n, 1) for n in tensor.size) >= 1 << 31:
        raise CheckpointError(f'"{name}" is empty and of size {tensor.size}')
      arrays[name] = np.zeros(tensor.size, np.float32 if storage.dtype == _BRAIN else dtype)
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
    if storage.dtype == _BRAIN:
      array = (array.astype(np.uint32) << 16).view(np.float32)
    arrays[name] = array
  return arrays


def _member_names(archive: zipfile.ZipFile, file_bytes: int) -> list[str]:
  """Names of a torch archive's members, once all of them are harmless."""
  infos = archive.infolist()
  names = [info.filename for info in infos]
  for info in infos:
    # zipfile cuts names at NUL and swaps separators in `filename`; the stored one is judged
    check_member_name(info.orig_filename)
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
      raise CheckpointError(
        f'archive member "{info.filename}" is compressed or encrypted, which torch never writes: '
        'refused'
      )
  if len(set(names)) != len(names):
    raise CheckpointError('two archive members have the same name: refused')
  if sum(info.file_size for info in infos) > file_bytes:
    raise CheckpointError('the archive declares more bytes than the file holds: refused')
  return names


def _read_zip(file: IO[bytes], file_bytes: int) -> dict[str, np.ndarray]:
  try:
    with zipfile.ZipFile(file) as archive:
      names = _member_names(archive, file_bytes)
      pickles = [n for n in names if n.count('/') == 1 and n.endswith('/data.pkl')]
      if len(pickles) != 1:
        raise CheckpointError(
          f'the archive holds {len(pickles)} members "*/data.pkl" instead of one; it is not a '
          'checkpoint that torch.save wrote (TorchScript archives are not read)'
        )
      root = pickles[0].rpartition('/')[0]
      if f'{root}/byteorder' in names and archive.read(f'{root}/byteorder') != b'little':
        raise CheckpointError('the checkpoint was written on a big-endian machine: not read')
      if archive.getinfo(pickles[0]).file_size > _MAX_PICKLE_BYTES:
        raise CheckpointError(f'data.pkl is longer than {_MAX_PICKLE_BYTES} bytes: refused')
      tensors = _descriptions(_unpickle(io.BytesIO(archive.read(pickles[0])))[0])
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
    raise CheckpointError(f'truncated or damaged zip archive: {error}') from error
  return _fill(tensors, storages)


def _read_stream(data: bytes) -> dict[str, np.ndarray]:
  """The format before torch 1.6: five pickles in a row, then (length, bytes) of each storage."""
  if not data.startswith(_LEGACY_START):
    raise CheckpointError('not a PyTorch checkpoint: neither its zip nor its older stream format')
  stream = io.BytesIO(data)
  (_, _), (protocol, _), (_, _), (tree, widths), (keys, _) = (_unpickle(stream) for _ in range(5))
  if protocol != _LEGACY_PROTOCOL:
    raise CheckpointError(f'stream format {protocol!r}; only {_LEGACY_PROTOCOL} is known')
  position = stream.tell()
  tensors = _descriptions(tree)
  storages = {}
  for key in keys if isinstance(keys, list) else ():
    if not isinstance(key, str) or key not in widths or position + 8 > len(data):
      raise CheckpointError(f'truncated checkpoint, or a storage {key!r} that no tensor uses')
    length = int.from_bytes(data[position : position + 8], 'little') * widths[key]
    position += 8
    if not 0 <= length <= len(data) - position:
      raise CheckpointError(f'truncated checkpoint: storage "{key}" should have {length} bytes')
    storages[key] = data[position : position + length]
    position += length
  missing = sorted({t.storage.key for t in tensors.values()} - set(storages))
  if missing:
    raise CheckpointError(f'the checkpoint lacks the storages {missing[:5]}')
  return _fill(tensors, storages)


def read_torch(file: IO[bytes]) -> dict[str, np.ndarray]:
  """Tensors of a `.pt` / `.pth` file by dotted name, in the file's own layout.

  Nested dicts are joined with dots. What is not a tensor (epochs, names, the objects in the
  configurations of RITM's family, see `_Inert`) is left out. float16, float32, float64, integers
  and bools keep their dtype; bfloat16 becomes float32.

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
  return _read_stream(file.read())
