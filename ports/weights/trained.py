"""Parameters that were trained on from a model here: an Orbax checkpoint of its own tree."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ports.weights import cache
from ports.weights.errors import CheckpointError, Misfit

__all__ = ['is_checkpoint', 'read']

# What Orbax writes last into a checkpoint's folder, whichever of its checkpointers was used.
_MARK = '_CHECKPOINT_METADATA'
_SHOWN = 3


def is_checkpoint(folder: pathlib.Path) -> bool:
  """Whether Orbax has written this folder as a checkpoint."""
  return (folder / _MARK).is_file()


def _name(path: tuple[Any, ...]) -> str:
  """Of a leaf: a tree of trees has the names of a flat one, joined by slashes."""
  return '/'.join(str(getattr(key, 'key', getattr(key, 'idx', key))) for key in path)


def _named(tree: Any) -> dict[str, Any]:
  """Leaves by name."""
  import jax

  return {_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _restored(
  folder: pathlib.Path, tree: Any, wanted: Mapping[str, tuple[int, ...]]
) -> dict[str, Any]:
  """The wanted leaves by name, as arrays of this machine wherever they were when written.

  Args:
    folder: of the checkpoint.
    tree: of what Orbax says of each leaf.
    wanted: names of those that are read; the others are passed over.
  """
  import jax
  import orbax.checkpoint as ocp

  def asked(path: tuple[Any, ...], leaf: Any) -> Any:
    wants = _name(path) in wanted
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) if wants else ocp.PLACEHOLDER

  here = ocp.RestoreArgs(restore_type=np.ndarray)
  args = ocp.args.PyTreeRestore(
    item=jax.tree_util.tree_map_with_path(asked, tree),
    restore_args=jax.tree.map(lambda leaf: here, tree),
  )
  with ocp.PyTreeCheckpointer() as checkpointer:
    return _named(checkpointer.restore(folder, args=args))


def _faults(
  found: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]
) -> list[str]:
  """What is missing of a tree, or is there in another shape or kind."""
  faults = [f'missing: {name}' for name in shapes if name not in found]
  for name, shape in shapes.items():
    if name not in found:
      continue
    there, dtype = tuple(found[name].shape or ()), found[name].dtype
    chunk = getattr(getattr(found[name], 'storage', None), 'chunk_shape', None) or ()
    if there != tuple(shape):
      faults.append(f'misshapen: {name} is {there} and should be {tuple(shape)}')
    elif not str(dtype).startswith(('float', 'bfloat')):
      faults.append(f'not floating point: {name} is {dtype}')
    elif math.prod(chunk) > max(1, math.prod(there)):
      # Room is made for a whole chunk, and where there is none, the process ends.
      faults.append(f'misshapen: {name} is {there} in chunks of {tuple(chunk)}')
  return faults


def read(
  folder: pathlib.Path, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[dict[str, np.ndarray], str]:
  """The parameters of a model from a checkpoint such as `StandardCheckpointer` writes.

  Names, shapes and sizes of chunks are compared before any array is read, and only parameters
  are. It may have been written on any devices.

  Args:
    folder: of the checkpoint.
    shapes: of the model's parameters by name.

  Returns:
    Flat tree of float32 arrays, and what was left out of the checkpoint, in words, or ''.

  Raises:
    Misfit: parameters are missing, misshapen or not finite.
    CheckpointError: the checkpoint is damaged, or holds no tree of arrays.
  """
  import orbax.checkpoint as ocp

  try:
    with cache.quiet_orbax(), ocp.StandardCheckpointer() as checkpointer:
      metadata = checkpointer.metadata(folder.absolute()).item_metadata
      if metadata is None:
        raise TypeError('it does not say what is in it')
      # Its class is private to Orbax.
      tree = getattr(metadata, 'tree', metadata)
      found = _named(tree)
      faults = _faults(found, shapes)
      restored = {} if faults else _restored(folder.absolute(), tree, shapes)
  except Exception as error:
    # the storage behind Orbax raises many types for damaged files
    first = (str(error).splitlines() or [''])[0][:200]
    raise CheckpointError(
      f'{folder}: no Orbax checkpoint of a tree of arrays, or a damaged one '
      f'({type(error).__name__}: {first})'
    ) from error
  params = {name: np.asarray(restored[name], np.float32) for name in shapes if not faults}
  faults += [f'not finite: {name}' for name, a in params.items() if not np.isfinite(a).all()]
  if faults:
    misfit = Misfit(faults, shapes)
    misfit.file = str(folder)
    raise misfit
  others = sorted(set(found) - set(shapes))
  if not others:
    return params, ''
  more = f' and {len(others) - _SHOWN} more' if len(others) > _SHOWN else ''
  return params, f'left out, being no parameters: {", ".join(others[:_SHOWN])}{more}'
