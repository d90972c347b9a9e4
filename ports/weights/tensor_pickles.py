"""What a checkpoint's pickle says of its tensors, read without PyTorch.

A tensor is described by the pickle only as (storage, offset, size, stride); its bytes lie beside
the pickle, see `ports.weights.torch_files`. So a pickle is unpacked into descriptions, which are
checked here. Objects of other classes (a run's arguments, paths, dates, the losses in RITM's
configurations) are passed over unread.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from ports.weights.errors import CheckpointError
from ports.weights.pickles import (
  MAX_OPCODES,
  MAX_PICKLE_BYTES,
  Entries,
  Global,
  PassedOver,
  play,
)

__all__ = [
  'BRAIN', 'MAX_PICKLE_BYTES', 'STORAGES', 'Storage', 'Tensor', 'passed_over', 'tensors_of',
  'unpickle',
]

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

_MAX_DEPTH = 32
_MAX_NODES = 200_000
# numbers and texts among them, such as a run's losses; 5,000,000 take about 1 s
_MAX_LEAVES = 5_000_000
_MAX_NAME = 1024
_MAX_KEY = 256


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


def _whole_numbers(values: Any, what: str) -> tuple[int, ...]:
  if not isinstance(values, tuple) or not all(type(v) is int and 0 <= v < 1 << 63 for v in values):
    raise CheckpointError(f'damaged: a tensor with a {what} that is no tuple of whole numbers')
  return values


def _tensor(name: str, arguments: tuple[Any, ...]) -> Tensor | PassedOver:
  """(storage, offset, size, stride, requires_grad, backward hooks, metadata)."""
  if len(arguments) < 4:
    raise CheckpointError('damaged: a tensor without a storage or a size')
  storage, offset, size, stride = arguments[:4]
  if isinstance(storage, PassedOver):
    return PassedOver(storage.name)
  if not isinstance(storage, Storage):
    raise CheckpointError('damaged: a tensor without a storage')
  size, stride = _whole_numbers(size, 'size'), _whole_numbers(stride, 'stride')
  if len(size) != len(stride) or len(size) > 16:
    raise CheckpointError(f'damaged: a tensor of {len(size)} axes with {len(stride)} strides')
  return Tensor(storage, _whole_numbers((offset,), 'offset')[0], size, stride)


def _parameter(name: str, arguments: tuple[Any, ...]) -> Tensor | PassedOver:
  """(tensor, requires_grad, backward hooks)."""
  if not arguments or not isinstance(arguments[0], Tensor | PassedOver):
    raise CheckpointError('damaged: a parameter without a tensor')
  return arguments[0]


def _typed(name: str, arguments: tuple[Any, ...]) -> Tensor | PassedOver:
  """(function, class, its arguments, attributes): a tensor of a subclass, or with attributes."""
  function, inner = (*arguments, None, None, None)[0:3:2]
  if not isinstance(function, Global) or not isinstance(inner, tuple):
    raise CheckpointError('damaged: a tensor of a subclass without its arguments')
  return _make(function.name, inner) if function.name in _TENSORS else PassedOver(function.name)


def _entries(name: str, arguments: tuple[Any, ...]) -> Entries:
  """A dict by its pairs; a defaultdict's factory comes before them."""
  entries = Entries()
  pairs = arguments[-1] if arguments else None
  if isinstance(pairs, Entries):
    return pairs
  for pair in pairs if isinstance(pairs, list) else ():
    if not isinstance(pair, list | tuple) or len(pair) != 2:
      raise CheckpointError('damaged: a dict of what are no pairs')
    entries.put(*pair)
  return entries


_TENSORS = {
  'torch._utils._rebuild_tensor': _tensor,
  'torch._utils._rebuild_tensor_v2': _tensor,
  'torch._utils._rebuild_parameter': _parameter,
  'torch._utils._rebuild_parameter_with_state': _parameter,
}
_MAKERS = {
  **_TENSORS,
  'torch._tensor._rebuild_from_type_v2': _typed,
  'collections.OrderedDict': _entries,
  'collections.defaultdict': _entries,
}


def _make(name: str, arguments: tuple[Any, ...]) -> Any:
  return _MAKERS[name](name, arguments) if name in _MAKERS else PassedOver(name)


class _Storages:
  """Storages as a pickle names them.

  Attributes:
    widths: bytes of an element, by the key of every storage that was named so far.
  """

  def __init__(self) -> None:
    self.widths: dict[str, int] = {}

  def __call__(self, pid: Any) -> Storage | PassedOver | Global:
    if not isinstance(pid, tuple) or len(pid) < 2 or not isinstance(pid[1], Global):
      raise CheckpointError('damaged: a persistent id that names no storage')
    if pid[0] == 'module':
      return pid[1]  # older files hold a network's class together with its source code
    if len(pid) < 5 or pid[0] != 'storage':
      raise CheckpointError('damaged: a persistent id that names no storage')
    kind, key, numel = pid[1], pid[2], pid[4]
    if not isinstance(key, str) or len(key) > _MAX_KEY:
      raise CheckpointError('damaged: a storage without a short name')
    module, _, dtype = kind.name.rpartition('.')
    if module not in ('torch', 'torch.cuda') or dtype not in STORAGES:
      return PassedOver(kind.name)
    _whole_numbers((numel,), 'storage length')
    start = 0
    if len(pid) > 5 and pid[5] is not None:
      # older files: this storage is a part of a longer one, (key, first element, length)
      view = pid[5]
      if not isinstance(view, tuple) or len(view) != 3 or not isinstance(view[0], str):
        raise CheckpointError('damaged: a storage view that is none')
      key, (start, numel) = view[0][:_MAX_KEY], _whole_numbers(view[1:], 'storage view')
    self.widths[key] = STORAGES[dtype].itemsize
    return Storage(dtype, key, numel, start)


def unpickle(stream: io.BytesIO, *, most: int = MAX_OPCODES) -> tuple[Any, dict[str, int]]:
  """What the pickle at the stream's position holds; leaves the stream behind it.

  Args:
    stream: of bytes in memory.
    most: opcodes that are read.

  Returns:
    Plain containers and values with `Tensor` for every tensor and `PassedOver` for other objects,
    and the bytes of an element by the key of every storage.

  Raises:
    CheckpointError: a damaged pickle, or one that asks for what runs commands or code; it is
      named, and nothing of it is run.
  """
  storages = _Storages()
  return play(stream, _make, storages, most=most), storages.widths


_NODES = (dict, list, tuple, Tensor, PassedOver, Global)


def _children(tree: Any, path: str) -> Iterator[tuple[str, Any]]:
  """(name, node) of all in a dict, list or tuple that is no plain value."""
  if isinstance(tree, list | tuple):
    yield from ((str(i), value) for i, value in enumerate(tree) if isinstance(value, _NODES))
    return
  for key, value in tree.items():
    if isinstance(value, _NODES):
      if not isinstance(key, str | int):
        raise CheckpointError(f'a dict under "{path}" has a key of type {type(key)}')
      yield str(key), value
  yield from (('?', value) for value in getattr(tree, 'others', ()) if isinstance(value, _NODES))


def _walk(tree: Any) -> Iterator[tuple[str, Any]]:
  """Every node of nested dicts, lists and tuples that is no plain value, with its dotted name."""
  pending, visited, leaves = [('', 0, tree)], 0, 0
  while pending:
    name, depth, node = pending.pop()
    visited += 1
    # one dict may stand in many places, so that a small pickle walks as a huge tree
    if visited > _MAX_NODES:
      raise CheckpointError(f'more than {_MAX_NODES} entries')
    yield name, node
    if not isinstance(node, dict | list | tuple):
      continue
    if depth >= _MAX_DEPTH:
      raise CheckpointError(f'nested more than {_MAX_DEPTH} deep at {name[:80]}')
    leaves += len(node)
    if leaves > _MAX_LEAVES:
      raise CheckpointError(f'more than {_MAX_LEAVES} values')
    inner = []
    for key, value in _children(node, name):
      full = f'{name}.{key}' if depth else key
      if len(full) > _MAX_NAME:
        raise CheckpointError(f'a name of {len(full)} characters: {full[:80]}')
      inner.append((full, depth + 1, value))
    pending += inner[::-1]


def tensors_of(tree: Any) -> dict[str, Tensor]:
  """The tensors in nested dicts, lists and tuples by dotted name; anything else is left out.

  Raises:
    CheckpointError: nested too deep, too many entries, keys that are no names, or a name twice.
  """
  found: dict[str, Tensor] = {}
  for name, node in _walk(tree):
    if isinstance(node, Tensor):
      if name in found:
        raise CheckpointError(f'two tensors are named "{name}"')
      found[name] = node
  return found


def passed_over(tree: Any) -> dict[str, bool]:
  """Classes and functions whose objects were not read: name -> whether one is a PyTorch module."""
  found: dict[str, bool] = {}
  for _, node in _walk(tree):
    if isinstance(node, PassedOver | Global):
      network = isinstance(node, PassedOver) and node.network
      found[node.name] = found.get(node.name, False) or network
  return found
