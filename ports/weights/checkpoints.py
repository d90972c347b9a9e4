"""Readers of published weights without PyTorch: .pt / .pth, .onnx and .safetensors files."""

from __future__ import annotations

import hashlib
import json
import math
import os
import pathlib
import re
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from ports.weights.errors import CheckpointError
from ports.weights.torch_files import STREAM_START, read_torch, widened
from tetris_jax import regular

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
_SUFFIXES = ('.pt', '.pth', '.onnx', '.safetensors')
# A tensor takes about 150; the largest published models have a few thousand.
_MAX_HEADER_BYTES = 16 << 20
_MAX_NAME = 1024
_MAX_TENSORS = 100_000
# NumPy's own limit is 64
_MAX_AXES = 16

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


def check_sha256(found: str, wanted: str | None, name: str, *, advice: str = '') -> None:
  """Raises CheckpointError unless the sums agree.

  Args:
    found: sum of the file.
    wanted: sum that it should have; None means that none is known.
    name: of the file.
    advice: what to do about it, a sentence.
  """
  if wanted is not None and found != wanted:
    raise CheckpointError(
      f'{name}: sha256 is {found}, should be {wanted}. The file is not the published one '
      f'(damaged, truncated or another version); nothing in it was read. {advice}'.rstrip()
    )


def _kind_of(path: pathlib.Path, file: IO[bytes]) -> str:
  """Which reader a file is for: by what it starts with, then by its suffix in either case.

  Raises:
    CheckpointError: neither tells.
  """
  start = file.read(64)
  num_bytes = file.seek(0, os.SEEK_END)
  file.seek(0)
  if start.startswith(b'version https://git-lfs'):
    raise CheckpointError('a pointer of Git LFS in place of the file; "git lfs pull" brings it')
  if re.match(rb'\s*<(!doctype|html|\?xml)', start, re.IGNORECASE):
    raise CheckpointError('a web page in place of the file, and not a PyTorch checkpoint')
  if start.startswith((b'\x1f\x8b', b'BZh', b'\xfd7zXZ', b'7z\xbc\xaf', b'(\xb5/\xfd')):
    raise CheckpointError('a compressed file; unpack it and give what is inside')
  header = int.from_bytes(start[:8], 'little')
  suffix = path.suffix.lower()
  if start.startswith(b'PK\x03\x04') and suffix not in ('.npz', '.zip', '.keras'):
    return '.pt'
  if STREAM_START.match(start):
    return '.pt'
  if start[8:9] == b'{' and 2 <= header <= min(num_bytes - 8, _MAX_HEADER_BYTES):
    return '.safetensors'
  if suffix in _SUFFIXES and not start:
    raise CheckpointError('an empty file: truncated, or never written')
  if suffix in _SUFFIXES:
    return suffix
  # an ONNX file: the format's version (field 1), then any other of the model's fields
  if re.match(rb'\x08[\x01-\x7f][\x12\x1a\x22\x28\x32\x3a\x42]', start):
    return '.onnx'
  raise CheckpointError(f'unknown kind of file; known: {", ".join(_SUFFIXES)}')


def read(
  path: str | os.PathLike[str], sha256: str | None = None, *, finite: bool = True
) -> dict[str, np.ndarray]:
  """Tensors of a file of weights by torch's dotted name, in torch's layout.

  The sum is checked before anything is parsed, on the same open file that is then parsed. What
  kind of file it is tells its content, or its suffix where the content could be several.

  Args:
    path: a .pt, .pth, .onnx or .safetensors file, or one of their kinds under another name.
    sha256: 64 hex digits that the file must have; None where none is published.
    finite: whether a NaN or an infinity anywhere in it is an error; what lies beside weights, such
      as the best loss so far, may be infinite.

  Raises:
    CheckpointError: wrong sum, unknown kind, truncated, damaged or hostile file, weights that
      are not finite. The text starts with the file's name.
  """
  path = pathlib.Path(path)
  readers = {
    '.pt': read_torch,
    '.pth': read_torch,
    '.onnx': read_onnx,
    '.safetensors': read_safetensors,
  }
  try:
    with regular.open_file(path) as file:
      check_sha256(sha256_of(file), sha256, path.name)
      state = readers[_kind_of(path, file)](file)
  except CheckpointError as error:
    if str(error).startswith(f'{path.name}: '):
      raise
    raise CheckpointError(f'{path.name}: {error}') from error
  except OSError as error:
    raise CheckpointError(f'{path}: cannot be read ({error.strerror or error})') from error
  except (MemoryError, RecursionError) as error:
    raise CheckpointError(f'{path.name}: too large or too deep ({type(error).__name__})') from error
  _refuse_unprintable(state, path.name)
  if finite:
    _refuse_non_finite(state, path.name)
  return state


def _refuse_unprintable(state: Mapping[str, np.ndarray], where: str) -> None:
  """Raises CheckpointError for a name with halves of characters, which no file can keep."""
  for name in state:
    try:
      name.encode()
    except UnicodeEncodeError as error:
      raise CheckpointError(f'{where}: damaged: the name {name[:80]!a} is no text') from error


def _refuse_non_finite(state: Mapping[str, np.ndarray], where: str) -> None:
  """Raises CheckpointError that names every array of `state` with a NaN or an infinity."""
  bad = [n for n, a in state.items() if a.dtype.kind == 'f' and not np.isfinite(a).all()]
  if bad:
    more = f' and {len(bad) - 5} more' if len(bad) > 5 else ''
    raise CheckpointError(f'{where}: weights that are not finite: {", ".join(bad[:5])}{more}')


def _safetensors_entry(name: str, entry: Any) -> tuple[int, int, tuple[int, ...], str]:
  """(first byte, last byte, shape, dtype) of one entry of a safetensors header."""
  if len(name) > _MAX_NAME:
    raise CheckpointError(f'a name of {len(name)} characters: {name[:80]}')
  if not isinstance(entry, dict) or not {'dtype', 'shape', 'data_offsets'} <= entry.keys():
    raise CheckpointError(f'damaged safetensors header: "{name}" lacks a dtype, shape or place')
  kind, shape, offsets = entry['dtype'], entry['shape'], entry['data_offsets']
  if not isinstance(kind, str) or kind not in _SAFETENSORS:
    raise CheckpointError(f'"{name}" has the unknown dtype {str(kind)[:20]}')
  for numbers, longest in ((shape, _MAX_AXES), (offsets, 2)):
    if not isinstance(numbers, list) or len(numbers) > longest:
      raise CheckpointError(f'"{name}" has a shape or offsets that are no short list')
    if not all(type(n) is int and 0 <= n < 1 << 63 for n in numbers):
      raise CheckpointError(f'"{name}" has a shape or offsets that are no whole numbers')
  if len(offsets) != 2 or math.prod(max(n, 1) for n in shape) >= 1 << 63:
    raise CheckpointError(f'"{name}" has the shape {shape} and the offsets {offsets}')
  return offsets[0], offsets[1], tuple(shape), kind


def read_safetensors(file: IO[bytes]) -> dict[str, np.ndarray]:
  """Tensors of a .safetensors file by name; bfloat16 becomes float32.

  As the format has it, the tensors fill the file without gaps and without overlaps.

  Args:
    file: open for reading, at its start.

  Raises:
    CheckpointError: a header that does not fit the file, or an unknown dtype.
  """
  file_bytes = file.seek(0, os.SEEK_END)
  file.seek(0)
  header_bytes = int.from_bytes(file.read(8), 'little')
  if file_bytes < 8 or not 2 <= header_bytes <= min(file_bytes - 8, _MAX_HEADER_BYTES):
    raise CheckpointError('truncated, or not a safetensors file')
  try:
    header = json.loads(file.read(header_bytes))
  except (ValueError, RecursionError) as error:
    raise CheckpointError(f'damaged safetensors header: {str(error)[:200]}') from error
  if not isinstance(header, dict):
    raise CheckpointError('damaged safetensors header: no table')
  header.pop('__metadata__', None)
  if len(header) > _MAX_TENSORS:
    raise CheckpointError(f'it declares {len(header)} tensors: refused')
  entries = {name: _safetensors_entry(name, entry) for name, entry in header.items()}
  body_bytes, end = file_bytes - 8 - header_bytes, 0
  state = {}
  for name, (first, last, shape, kind) in sorted(entries.items(), key=lambda item: item[1][:2]):
    dtype = _SAFETENSORS[kind]
    if not first <= last <= body_bytes or last - first != math.prod(shape) * dtype.itemsize:
      raise CheckpointError(
        f'"{name}" of shape {shape} and dtype {kind} does not fit bytes {first} to {last} of '
        f'{body_bytes}: truncated or damaged'
      )
    if first != end:
      raise CheckpointError(f'"{name}" begins at byte {first} and not at {end}: damaged')
    end = last
    # One after the other, so that what is no longer needed can be let go.
    array = np.frombuffer(file.read(last - first), dtype).reshape(shape)
    state[name] = widened(array) if kind == 'BF16' else array
  if end != body_bytes:
    raise CheckpointError(f'{body_bytes - end} bytes behind the last tensor: damaged')
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
    if len(node.name) > _MAX_NAME:
      raise CheckpointError(f'a node has a name of {len(node.name)} characters: refused')
    if node.op_type != 'Constant':
      continue
    if len(node.output) != 1:
      raise CheckpointError(f'constant "{node.name}" has {len(node.output)} outputs: damaged')
    named.update((node.output[0], a.t) for a in node.attribute if a.name == 'value' and a.t.dims)
  for name, tensor in named.items():
    if len(name) > _MAX_NAME:
      raise CheckpointError(f'a constant has a name of {len(name)} characters: refused')
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
  except ImportError as error:
    raise CheckpointError(
      "reading it needs the package onnx: pip install 'tetris_jax[weights]'"
    ) from error

  data = file.read()
  try:
    return _onnx_parameters(onnx.load_model_from_string(data), len(data))
  except CheckpointError:
    raise
  except Exception as error:
    # protobuf's exceptions depend on its implementation, and come also when a field is first read
    raise CheckpointError(f'truncated, or not an ONNX file: {str(error)[:200]}') from error


def _onnx_parameters(model: Any, num_bytes: int) -> dict[str, np.ndarray]:
  """Arrays by torch's name of a parsed file of so many bytes."""
  import onnx
  from onnx import numpy_helper

  named = _onnx_constants(model)
  floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
  # several nodes may read one constant, so that a small file becomes many large arrays
  budget = 4 * num_bytes

  def array(name: str) -> np.ndarray:
    nonlocal budget
    # Types of four bits are unpacked into whatever size is claimed.
    dims = named[name].dims
    if min(dims, default=0) < 0 or math.prod(dims) > 2 * num_bytes:
      raise CheckpointError(f'"{name}" claims more numbers than the file has room for')
    try:
      value = numpy_helper.to_array(named[name])
    except Exception as error:
      raise CheckpointError(f'"{name}" is damaged: {str(error)[:200]}') from error
    budget -= value.nbytes
    if budget < 0:
      raise CheckpointError(f'"{name}" is read so often that it repeats the bytes of the file')
    return value

  kept = {t.name for t in model.graph.initializer if not t.name.startswith('onnx::')}
  state = {name: array(name) for name in kept}
  for node in model.graph.node:
    for i, name in enumerate(node.input):
      if name not in named or name in kept or named[name].data_type not in floats:
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
