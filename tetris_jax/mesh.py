"""A batch divided over the devices of a process, parameters on every one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

__all__ = ['over_devices', 'replicate']

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
    # What a scan carries starts as the same zeros everywhere and then differs.
    check_vma=False,
  )
