"""Strict mapping of a published state dict onto a flat tree of parameters."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from ports.weights.errors import Misfit

__all__ = [
  'Arrays',
  'Move',
  'Once',
  'as_is',
  'conv_kernel',
  'convert',
  'fold_batch_norm',
  'linear_kernel',
  'moves',
]

Arrays = tuple[np.ndarray, ...]

# Sources of a stack of layers that a fault names, five of which make a layer with its norm.
_SHOWN = 6


class Once(dict[str, np.ndarray]):
  """A state dict that nobody needs once it is converted.

  `convert` takes out of it what it has used, so that a checkpoint of several gigabytes is not held
  twice; where it does not fit, it stays whole.
  """


class Move(NamedTuple):
  """What becomes of some entries of a state dict.

  Attributes:
    targets: leaves that are written, such as ("neck/conv/kernel",).
    sources: entries that are read, such as ("neck.0.weight",).
    make: arrays of the sources -> arrays of the targets, in these orders; raises ValueError
      where the sources do not fit.
  """

  targets: tuple[str, ...]
  sources: tuple[str, ...]
  make: Callable[..., Arrays]


def as_is(array: np.ndarray) -> Arrays:
  """The array itself: of biases, norms and embeddings torch's layout is ours."""
  return (array,)


def linear_kernel(weight: np.ndarray) -> Arrays:
  """(out, in) -> (in, out).

  Raises:
    ValueError: no matrix.
  """
  if weight.ndim != 2:
    raise ValueError(f'a matrix was expected, found shape {weight.shape}')
  return (weight.T,)


def conv_kernel(weight: np.ndarray) -> Arrays:
  """(out, in / groups, height, width) -> (height, width, in / groups, out).

  The same permutation takes a transposed convolution's (in, out, height, width) to (height,
  width, out, in), unflipped: what `transpose_kernel=True` means in JAX.

  Raises:
    ValueError: not of four axes.
  """
  if weight.ndim != 4:
    raise ValueError(f'four axes were expected, found shape {weight.shape}')
  return (weight.transpose(2, 3, 1, 0),)


def fold_batch_norm(
  weight: np.ndarray,
  scale: np.ndarray,
  bias: np.ndarray,
  mean: np.ndarray,
  variance: np.ndarray,
  own_bias: np.ndarray | None = None,
) -> Arrays:
  """A convolution and the batch norm behind it, as one kernel and bias.

  Inference form, torch's epsilon 1e-5, in float64: gain = scale / sqrt(variance + 1e-5),
  kernel = weight * gain, bias = bias + (own_bias - mean) * gain.

  Args:
    weight: (out, in / groups, height, width), of the convolution.
    scale: (out,) of the norm, as the three that follow.
    bias: (out,).
    mean: (out,), running.
    variance: (out,), running.
    own_bias: (out,) of the convolution, if it has one.

  Returns:
    Kernel (height, width, in / groups, out) and bias (out,).

  Raises:
    ValueError: shapes that do not belong together, or a negative variance.
  """
  own_bias = np.zeros_like(mean) if own_bias is None else own_bias
  if any(a.shape != weight.shape[:1] for a in (scale, bias, mean, variance, own_bias)):
    raise ValueError(f'batch norm of shape {scale.shape} behind a kernel of {weight.shape}')
  if (variance < 0).any():
    raise ValueError('a negative variance')
  gain = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + 1e-5)
  (kernel,) = conv_kernel(weight)
  return kernel * gain, bias + (own_bias.astype(np.float64) - mean) * gain


def moves(
  shapes: Mapping[str, tuple[int, ...]], source_of: Callable[[str], str] = lambda path: path
) -> list[Move]:
  """One Move per leaf by torch's naming.

  "a/b/kernel", ".../scale" and ".../embedding" are read from "a.b.weight", other leaves from
  the entry of their own name; kernels are permuted by their number of axes.

  Args:
    shapes: target leaves.
    source_of: renames a module path ("neck/conv" -> "neck.0"); slashes left over become dots.
  """
  result = []
  for target, shape in shapes.items():
    module, _, leaf = target.rpartition('/')
    parameter = 'weight' if leaf in ('kernel', 'scale', 'embedding') else leaf
    make: Callable[..., Arrays] = as_is
    if leaf == 'kernel':
      make = linear_kernel if len(shape) == 2 else conv_kernel
    source = f'{source_of(module)}.{parameter}'.replace('/', '.')
    result.append(Move((target,), (source,), make))
  return result


def _faults(
  move: Move, state: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]
) -> list[str]:
  """What is wrong with the values and shapes of one move's sources and targets."""
  arrays = [state[source] for source in move.sources]
  named = list(zip(move.sources, arrays, strict=True))
  faults = [f'not floating point: {n} is {a.dtype}' for n, a in named if a.dtype.kind != 'f']
  faults = faults or [f'not finite: {n}' for n, a in named if not np.isfinite(a).all()]
  if faults:
    return faults
  read = ', '.join(move.sources[:_SHOWN])
  if len(move.sources) > _SHOWN:
    read += f' and {len(move.sources) - _SHOWN} more'
  try:
    made = move.make(*arrays)
  except ValueError as error:
    return [f'misshapen: {read}: {error}']
  for target, array in zip(move.targets, made, strict=True):
    if target in shapes and array.shape != tuple(shapes[target]):
      faults.append(
        f'misshapen: {read} gives {array.shape} for {target}, which has {tuple(shapes[target])}'
      )
    with np.errstate(over='ignore'):
      if not np.isfinite(array.astype(np.float32, copy=False)).all():
        faults.append(f'not finite in float32: {target}')
  return faults


def convert(
  state: Mapping[str, np.ndarray],
  plan: Iterable[Move],
  shapes: Mapping[str, tuple[int, ...]],
  skip: Iterable[str] = (),
) -> dict[str, np.ndarray]:
  """Fills every leaf of `shapes` from `state`, or says all that does not fit.

  Args:
    state: source arrays by name; a `Once` is emptied.
    plan: every source is read by exactly one Move, every target written by exactly one.
    shapes: the target tree, name -> shape.
    skip: regular expressions; sources that match one (whole name) are known and not needed.

  Returns:
    The target tree, contiguous float32.

  Raises:
    Misfit: with all faults: entries missing, unknown, used twice or misshapen, leaves not
      written, values that are not finite or that float32 cannot hold.
  """
  plan = list(plan)
  faults: list[str] = []
  used = Counter(source for move in plan for source in move.sources)
  faults += [f'missing: {n}' for n in used if n not in state]
  faults += [f'used {k} times: {n}' for n, k in used.items() if k > 1]
  skipped = [re.compile(pattern) for pattern in skip]
  for name in state:
    if name not in used and not any(pattern.fullmatch(name) for pattern in skipped):
      faults.append(f'unknown: {name} of shape {state[name].shape}')
  written = Counter(target for move in plan for target in move.targets)
  faults += [f'no rule writes {n}' for n in shapes if n not in written]
  faults += [f'written {k} times: {n}' for n, k in written.items() if k > 1]
  faults += [f'no such leaf: {n}' for n in written if n not in shapes]

  for move in plan:
    if all(source in state for source in move.sources):
      faults += _faults(move, state, shapes)
  if faults:
    misfit = Misfit(faults, used)
    misfit.leaves = {name: tuple(shape) for name, shape in shapes.items()}
    raise misfit
  tree: dict[str, np.ndarray] = {}
  for move in plan:
    made = move.make(*(state[source] for source in move.sources))
    for target, array in zip(move.targets, made, strict=True):
      tree[target] = np.ascontiguousarray(array, np.float32)
    if isinstance(state, Once):
      for source in move.sources:
        del state[source]
  return {name: tree[name] for name in shapes}
