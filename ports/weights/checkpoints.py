"""Readers of published weights without PyTorch: .pt / .pth, .onnx and .safetensors files."""

from __future__ import annotations

import hashlib
import json
import math
import os
import pathlib
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from ports.weights.errors import CheckpointError
from ports.weights.torch_files import read_torch

__all__ = ['check_sha256', 'read', 'read_onnx', 'read_safetensors', 'sha256_of']

_SAFETENSORS: dict[str, np.dtype[Any]] = {
  'F64': np.dtype('<f8'),
  'F32': np.dtype('<f4'),
  'F16': np.dtype('<f2'),
  # numpy has no bfloat16: the bits are read as integers and widened to float32, which is exact
  'BF16': np.dtype('<u2'),
  'I64': np.dtype('<i8'),
  'I32': np.dtype('<i4'),
  'I16': np.dtype('<i2'),
  'I8': np.dtype('i1'),
  'U8': np.dtype('u1'),
  'BOOL': np.dtype('?'),
}
_MAX_HEADER_BYTES = 100 << 20

# What the exporter's names of folded constants mean: (operation, input) -> torch's parameter.
_ONNX_PARAMETERS = {
  ('Conv', 1): 'weight',
  ('Conv', 2): 'bias',
  ('MatMul', 1): 'weight',
  ('Mul', 0): 'weight',
  ('Mul', 1): 'weight',
  ('Add', 0): 'bias',
  ('Add', 1): 'bias',
}


def sha256_of(file: IO[bytes]) -> str:
  """sha256 of an open file as 64 hex digits; leaves the file at its start."""
  file.seek(0)
  digest = hashlib.file_digest(file, 'sha256').hexdigest()  # type: ignore[arg-type]
  file.seek(0)
  return digest


def check_sha256(found: str, wanted: str | None, name: str) -> None:
  """Raises CheckpointError unless the sums agree; `wanted` None means that none is known."""
  if wanted is not None and found != wanted:
    raise CheckpointError(
      f'{name}: sha256 is {found}, should be {wanted}. The file is not the published one '
      '(damaged, truncated or another version); nothing in it was read. Delete it and fetch again'
    )


def read(path: str | os.PathLike[str], sha256: str | None = None) -> dict[str, np.ndarray]:
  """Tensors of a file of weights by torch's dotted name, in torch's layout.

  The sum is checked before anything is parsed, on the same open file that is then parsed.

  Args:
    path: a .pt, .pth, .onnx or .safetensors file.
    sha256: 64 hex digits that the file must have; None where none is published.

  Raises:
    CheckpointError: wrong sum, unknown suffix, truncated, damaged or hostile file, weights that
      are not finite. The text starts with the file's name.
  """
  path = pathlib.Path(path)
  readers = {
    '.pt': read_torch,
    '.pth': read_torch,
    '.onnx': read_onnx,
    '.safetensors': read_safetensors,
  }
  if path.suffix not in readers:
    raise CheckpointError(f'{path.name}: unknown kind of file; known: {", ".join(readers)}')
  try:
    with path.open('rb') as file:
      check_sha256(sha256_of(file), sha256, path.name)
      state = readers[path.suffix](file)
  except CheckpointError as error:
    if str(error).startswith(f'{path.name}: '):
      raise
    raise CheckpointError(f'{path.name}: {error}') from error
  except OSError as error:
    raise CheckpointError(f'{path}: cannot be read ({error.strerror or error})') from error
  _refuse_non_finite(state, path.name)
  return state


def _refuse_non_finite(state: Mapping[str, np.ndarray], where: str) -> None:
  """Raises CheckpointError that names every array of `state` with a NaN or an infinity."""
  bad = [n for n, a in state.items() if a.dtype.kind == 'f' and not np.isfinite(a).all()]
  if bad:
    more = f' and {len(bad) - 5} more' if len(bad) > 5 else ''
    raise CheckpointError(f'{where}: weights that are not finite: {", ".join(bad[:5])}{more}')


def read_safetensors(file: IO[bytes]) -> dict[str, np.ndarray]:
  """Tensors of a .safetensors file by name; bfloat16 becomes float32.

  Args:
    file: open for reading, at its start.

  Raises:
    CheckpointError: a header that does not fit the file, or an unknown dtype.
  """
  data = file.read()
  header_bytes = int.from_bytes(data[:8], 'little')
  if len(data) < 8 or not 2 <= header_bytes <= min(len(data) - 8, _MAX_HEADER_BYTES):
    raise CheckpointError('truncated, or not a safetensors file')
  try:
    header: dict[str, dict[str, Any]] = json.loads(data[8 : 8 + header_bytes])
    header.pop('__metadata__', None)
    fields = {n: (f['dtype'], *f['data_offsets'], tuple(f['shape'])) for n, f in header.items()}
  except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
    raise CheckpointError(f'damaged safetensors header: {error}') from error
  body = memoryview(data)[8 + header_bytes :]
  state, end = {}, 0
  for name, (kind, first, last, shape) in sorted(fields.items(), key=lambda item: str(item[1][1])):
    if not isinstance(kind, str) or kind not in _SAFETENSORS:
      raise CheckpointError(f'"{name}" has the unknown dtype {kind!r}')
    numbers = (first, last, *shape)
    if not all(type(n) is int and n >= 0 for n in numbers):
      raise CheckpointError(f'"{name}" has the shape {shape} and offsets {first}, {last}')
    dtype = _SAFETENSORS[kind]
    if not first <= last <= len(body) or last - first != math.prod(shape) * dtype.itemsize:
      raise CheckpointError(
        f'"{name}" of shape {shape} and dtype {kind} does not fit bytes {first} to {last} of '
        f'{len(body)}: truncated or damaged'
      )
    end = max(end, last)
    array = np.frombuffer(body[first:last], dtype).reshape(shape)
    state[name] = (array.astype(np.uint32) << 16).view(np.float32) if kind == 'BF16' else array
  if end != len(body):
    raise CheckpointError(f'{len(body) - end} bytes behind the last tensor: damaged')
  return state


def _onnx_module(node_name: str) -> str:
  """Torch's module path of an exported node: "/neck/neck.0/Conv" -> "neck.0"."""
  parts: list[str] = []
  for part in node_name.strip('/').split('/')[:-1]:
    # a child of a Sequential repeats its parent's name
    if parts and part.startswith(parts[-1] + '.'):
      parts.pop()
    parts.append(part)
  return '.'.join(parts)


def _onnx_constants(model: Any) -> dict[str, Any]:
  """Tensors of the initializers and of the constant nodes that have axes, by name."""
  import onnx

  named = {t.name: t for t in model.graph.initializer}
  for node in model.graph.node:
    if node.op_type == 'Constant':
      named.update((node.output[0], a.t) for a in node.attribute if a.name == 'value' and a.t.dims)
  for name, tensor in named.items():
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
      raise CheckpointError(f'"{name}" keeps its data in another file: refused')
  return named


def read_onnx(file: IO[bytes]) -> dict[str, np.ndarray]:
  """Parameters of an exported network by torch's dotted name, in torch's layout.

  Initializers that kept their names are returned under them. Those that the exporter folded or
  transposed ("onnx::Conv_2293") are named by the node that reads them, as are float constants
  with axes: a constant added in module "a.attn" is "a.attn.bias". Matrices of MatMul nodes are
  turned back to torch's (out, in), norms' (channels, 1, 1) back to (channels,).

  Args:
    file: open for reading, at its start.

  Raises:
    CheckpointError: not an ONNX file, data outside the file, or a constant without a meaning.
  """
  try:
    import onnx
    from onnx import numpy_helper
  except ImportError as error:
    raise CheckpointError(
      "reading it needs the package onnx: pip install 'tetris_jax[weights]'"
    ) from error

  try:
    model = onnx.load_model_from_string(file.read())
  except Exception as error:
    # protobuf's exception type depends on its implementation
    raise CheckpointError(f'truncated, or not an ONNX file: {error}') from error
  named = _onnx_constants(model)

  def array(name: str) -> np.ndarray:
    try:
      return numpy_helper.to_array(named[name])
    except Exception as error:
      raise CheckpointError(f'"{name}" is damaged: {error}') from error

  kept = {t.name for t in model.graph.initializer if not t.name.startswith('onnx::')}
  state = {name: array(name) for name in kept}
  for node in model.graph.node:
    for i, name in enumerate(node.input):
      if name not in named or name in kept:
        continue
      if named[name].data_type not in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16):
        continue
      parameter = _ONNX_PARAMETERS.get((node.op_type, i))
      if parameter is None:
        raise CheckpointError(f'constant "{name}" in node "{node.name}" has no known meaning')
      value = array(name)
      if node.op_type == 'MatMul':
        value = value.T
      elif node.op_type in ('Mul', 'Add') and value.shape[1:] == (1, 1):
        value = value[:, 0, 0]
      full = f'{_onnx_module(node.name)}.{parameter}'
      if full in state:
        raise CheckpointError(f'two constants would be named "{full}"')
      state[full] = value
  return state
