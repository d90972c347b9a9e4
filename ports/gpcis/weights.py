"""Names of GPCIS's published parameters, mapped onto one flat tree.

The tree is the network's module path with "/" between its parts, see `ports.gpcis.network`. Kernels
are (height, width, in, out), those of linear layers (in, out); batch norms are folded into what is
before them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ports.gpcis.network import Config, shapes
from ports.weights import folding, layouts
from ports.weights.convert import Arrays, Move, as_is, convert, moves

__all__ = ['tree']

# Counters of batch norms, and the spread of draws that only training makes.
_SKIP = (r'.*\.num_batches_tracked', r'omega_var')
_LINEAR = {'process/theta': 'theta', 'process/sure1': 'u_mlp.0', 'process/sure2': 'u_mlp.2'}


def _source(config: Config, module: str) -> tuple[str, str]:
  """Torch's convolution, and the norm behind it or ""."""
  inner = folding.deeplab_source(module, config.backbone.bottleneck)
  if inner is None:
    return module.replace('/', '.'), ''
  conv, norm = inner
  return f'model.{conv}', norm and f'model.{norm}'


def _column(array: np.ndarray) -> Arrays:
  if array.ndim != 2 or array.shape[1] != 1:
    raise ValueError(f'(n, 1) was expected, found shape {array.shape}')
  return (array[:, 0],)


def _plan(config: Config) -> list[Move]:
  rest = shapes(config)
  plan = [
    folding.MAPS,
    Move(('process/omega',), ('omega',), _column),
    Move(('process/log_scale',), ('logsigma2',), as_is),
    Move(('process/colour',), ('weights',), as_is),
  ]
  linear = {name: shape for name, shape in rest.items() if name.rpartition('/')[0] in _LINEAR}
  plan += moves(linear, _LINEAR.__getitem__)
  return folding.completed(plan, rest, lambda module: _source(config, module))


def tree(state: Mapping[str, np.ndarray], config: Config) -> dict[str, np.ndarray]:
  """GPCIS's parameters from its published state dict, float32.

  Args:
    state: with torch's names; under "state_dict." as in a published file, or without a prefix.
    config: of the network that the file is for.

  Raises:
    Misfit: entries are missing, unknown or misshapen; it holds all of them.
  """
  state = layouts.entry(state, 'state_dict')
  return convert(state, _plan(config), shapes(config), skip=_SKIP)
