"""An unpickler that knows tensors and refuses the rest, for checkpoints read without PyTorch.

A tensor is described by the pickle only as (storage, offset, size, stride); its bytes lie beside
the pickle, see `ports.weights.torch_files`. So a pickle is unpacked into descriptions, which are
checked here. Objects that RITM's family keeps in its configurations are passed over unread; no
other name gets past.
"""

from __future__ import annotations

import dataclasses
import io
import pickle
import pickletools
from collections.abc import Callable, Iterator
from typing import IO, Any

import numpy as np

from ports.weights.errors import CheckpointError

__all__ = ['BRAIN', 'MAX_PICKLE_BYTES', 'STORAGES', 'Storage', 'Tensor', 'tensors_of', 'unpickle']

STORAGES: dict[str, np.dtype[Any]] = {
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

BRAIN = 'BFloat16Storage'

# What `torch.save` writes (protocol 2), and the strings and frames of later protocols.
_OPCODES = frozenset([
  'PROTO', 'FRAME', 'STOP', 'MARK', 'POP', 'NONE', 'NEWTRUE', 'NEWFALSE', 'INT', 'BININT',
  'BININT1', 'BININT2', 'LONG1', 'BINFLOAT', 'BINUNICODE', 'SHORT_BINUNICODE', 'BINSTRING',
  'SHORT_BINSTRING', 'BINBYTES', 'SHORT_BINBYTES', 'EMPTY_TUPLE', 'TUPLE', 'TUPLE1', 'TUPLE2',
  'TUPLE3', 'EMPTY_LIST', 'APPEND', 'APPENDS', 'EMPTY_DICT', 'SETITEM', 'SETITEMS', 'BINPUT',
  'LONG_BINPUT', 'MEMOIZE', 'BINGET', 'LONG_BINGET', 'GLOBAL', 'STACK_GLOBAL', 'REDUCE', 'BUILD',
  'BINPERSID', 'NEWOBJ',
])

MAX_PICKLE_BYTES = 64 << 20
_MAX_DEPTH = 32
_MAX_NODES = 200_000


@dataclasses.dataclass(frozen=True)
class Storage:
  """A row of elements whose bytes lie outside of the pickle, or a part of one.

  Attributes:
    dtype: key of `STORAGES`.
    key: names the row in its file.
    numel: elements.
    start: of the row's elements, the first that is meant.
  """

  dtype: str
  key: str
  numel: int
  start: int = 0

  def __setstate__(self, state: Any) -> None:
    raise pickle.UnpicklingError('a storage with attributes')


@dataclasses.dataclass(frozen=True)
class Tensor:
  """What a pickle says of one tensor.

  Attributes:
    storage: that holds its elements.
    offset: of its first element, in elements, as all that follow.
    size: along every axis.
    stride: along every axis.
  """

  storage: Storage
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


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *flags: Any) -> Tensor:
  del flags  # requires_grad, backward hooks, metadata
  if not isinstance(storage, Storage):
    raise pickle.UnpicklingError('tensor without a storage')
  size, stride = _whole_numbers(size, 'size'), _whole_numbers(stride, 'stride')
  if len(size) != len(stride) or len(size) > 16:
    raise pickle.UnpicklingError(f'tensor of size {size} with strides {stride}')
  return Tensor(storage, _whole_numbers((offset,), 'offset')[0], size, stride)


def _rebuild_parameter(data: Any, *flags: Any) -> Tensor:
  del flags
  if not isinstance(data, Tensor):
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
    if module in ('torch', 'torch.cuda') and name in STORAGES:
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
    if not isinstance(kind, _Global) or kind.name not in STORAGES or not isinstance(key, str):
      raise pickle.UnpicklingError('storage of an unknown type')
    _whole_numbers((numel,), 'storage length')
    start = 0
    if len(pid) > 5 and pid[5] is not None:
      # older files: this storage is a part of a longer one, (key, first element, length)
      view = pid[5]
      if not isinstance(view, tuple) or len(view) != 3 or not isinstance(view[0], str):
        raise pickle.UnpicklingError('storage view that is none')
      key, (start, numel) = view[0], _whole_numbers(view[1:], 'storage view')
    self.widths[key] = STORAGES[kind.name].itemsize
    return Storage(kind.name, key, numel, start)


def _check_opcodes(stream: io.BytesIO) -> None:
  """Leaves `stream` behind the pickle that starts there; refuses what no checkpoint needs.

  Nothing is run. The memo index is bounded here because the C unpickler allocates as many slots
  as the largest index that a pickle names.
  """
  length = min(len(stream.getbuffer()), MAX_PICKLE_BYTES)
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


def unpickle(stream: io.BytesIO) -> tuple[Any, dict[str, int]]:
  """What the pickle at the stream's position holds; leaves the stream behind it.

  Returns:
    Plain containers and values with `Tensor` for every tensor, and the bytes of an element by the
    key of every storage.

  Raises:
    CheckpointError: a damaged pickle, or one that asks for anything but tensors and plain
      containers; it is named, and nothing of it is run.
  """
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


def tensors_of(tree: Any) -> dict[str, Tensor]:
  """The tensors in nested dicts, lists and tuples by dotted name; anything else is left out.

  Raises:
    CheckpointError: nested too deep, too many entries, keys that are no names, or a name twice.
  """
  found: dict[str, Tensor] = {}
  for visited, (name, node) in enumerate(_walk(tree)):
    # one dict may stand in many places, so that a small pickle walks as a huge tree
    if visited > _MAX_NODES:
      raise CheckpointError(f'more than {_MAX_NODES} entries')
    if isinstance(node, Tensor):
      if name in found:
        raise CheckpointError(f'two tensors are named "{name}"')
      found[name] = node
  return found
