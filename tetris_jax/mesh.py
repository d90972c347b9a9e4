"""A batch divided over devices, parameters on every one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

__all__ = ['over_devices', 'over_instances', 'replicate', 'varying']

_AXIS = 'batch'


def _mesh(devices: Sequence[jax.Device]) -> Mesh:
  return Mesh(np.asarray(devices), (_AXIS,))


def replicate(tree: Any, devices: Sequence[jax.Device]) -> Any:
  """The arrays of `tree`, whole, on each of the devices."""
  return jax.device_put(tree, NamedSharding(_mesh(devices), PartitionSpec()))


def over_devices(
  function: Callable[..., Any], devices: Sequence[jax.Device]
) -> Callable[..., Any]:
  """`function(params, batch, key)` with each device working on its own part of the batch.

  Every device runs the program of a smaller batch and none waits for another, so the results are
  those of one device. To be called under `jax.jit`.

  Args:
    function: its params and key are the same for all instances; every array of its batch and of
      its result has a leading dimension (batch,).
    devices: whose number divides the batch.

  Returns:
    A function of the same arguments and result.
  """
  whole, divided = PartitionSpec(), PartitionSpec(_AXIS)
  return jax.shard_map(
    function,
    mesh=_mesh(devices),
    in_specs=(whole, divided, whole),
    out_specs=divided,
    # A model's own loops need not be written for the check.
    check_vma=False,
  )


def _varies_over(x: Any) -> frozenset[str]:
  """Axes of an enclosing `jax.shard_map` over which an array is known to vary."""
  kind = jax.typeof(x)
  # Renamed within JAX 0.10.
  found = getattr(kind, 'manual_axis_type', None)
  return kind.vma if found is None else found.varying  # type: ignore[attr-defined]


def varying(tree: Any, like: Any) -> Any:
  """`tree`, whose arrays differ between devices wherever one of `like` does.

  Under `jax.shard_map` the start of a loop that is the same everywhere has another type than what
  the loop makes of it; elsewhere this changes nothing.
  """
  axes = frozenset[str]().union(*map(_varies_over, jax.tree.leaves(like)))

  def marked(x: Any) -> Any:
    missing = axes - _varies_over(x)
    return lax.pcast(x, tuple(sorted(missing)), to='varying') if missing else x

  return jax.tree.map(marked, tree) if axes else tree


def _divided_by(batch: Any) -> tuple[Any, tuple[str, ...]]:
  """The mesh that a batch lies on, and axes over which to divide it; none where it is not to be.

  Of explicit axes those of its type; of automatic ones, whose use no type tells, the mesh's first.
  """
  shardings = [jax.typeof(x).sharding for x in jax.tree.leaves(batch)]
  for sharding in shardings:
    mesh = sharding.mesh
    if mesh.empty or AxisType.Manual in mesh.axis_types:
      continue
    taken = sharding.spec[0] if sharding.spec else None
    if taken is not None:
      return mesh, taken if isinstance(taken, tuple) else (taken,)
  count = jax.tree.leaves(batch)[0].shape[0]
  for mesh in (sharding.mesh for sharding in shardings):
    if mesh.empty or AxisType.Manual in mesh.axis_types:
      continue
    first, size = mesh.axis_names[0], mesh.axis_sizes[0]
    if mesh.axis_types[0] == AxisType.Auto and size > 1 and count % size == 0:
      return mesh, (first,)
  return None, ()


def over_instances(function: Callable[[Any, Any], Any], shared: Any, batch: Any) -> Any:
  """`function(shared, batch)`, each device of the batch's mesh working on its own instances.

  Instances have nothing to do with each other, so no device waits for another; the compiler would
  not see it through loops over rows. Where the batch lies on no mesh, or inside `jax.shard_map`,
  the function is called as it is.

  Args:
    function: of one device.
    shared: what is the same for all instances; gathered, where it lay divided.
    batch: every array has a leading dimension (batch,), as every one of the result.
  """
  mesh, axes = _divided_by(batch)
  if not axes:
    return function(shared, batch)
  whole, divided = PartitionSpec(), PartitionSpec(axes)
  if AxisType.Explicit in mesh.axis_types:
    # What lies otherwise by its type is refused there.
    shared = jax.tree.map(lambda x: jax.reshard(x, NamedSharding(mesh, whole)), shared)
    batch = jax.tree.map(lambda x: jax.reshard(x, NamedSharding(mesh, divided)), batch)
  return jax.shard_map(
    function,
    mesh=mesh,
    in_specs=(whole, divided),
    out_specs=divided,
    axis_names=set(axes),
    check_vma=False,  # As in `over_devices`.
  )(shared, batch)
