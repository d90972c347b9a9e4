"""Names of CDNet's published parameters, mapped onto one flat tree.

The tree is the network's module path with "/" between its parts, see `ports.cdnet.network`.
Kernels are (height, width, in, out), those of the diffusion's linear layers (in, out); batch norms
are folded into what is before them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from ports.cdnet.network import Config, shapes
from ports.weights import folding, layouts
from ports.weights.convert import Arrays, Move, convert, fold_batch_norm, linear_kernel

__all__ = ['tree']

# Counters of batch norms, and shifts that the pixel diffusion makes itself.
_SKIP = (r'.*\.num_batches_tracked', r'PDM\..*\.kernel')
_HEADS = (
  (r'(head|latent_head)/steps/(\d)/depthwise', r'\1.layers.\2.body.0', ''),
  (r'(head|latent_head)/steps/(\d)/pointwise', r'\1.layers.\2.body.1', r'\1.layers.\2.body.2'),
  (r'(head|latent_head)/last', r'\1.layers.2', ''),
)


def _source(config: Config, module: str) -> tuple[str, str]:
  """Torch's convolution, and the norm behind it or ""."""
  inner = folding.deeplab_source(module, config.backbone.bottleneck)
  if inner is not None:
    conv, norm = inner
    return f'feature_extractor.{conv}', norm and f'feature_extractor.{norm}'
  for pattern, conv, norm in _HEADS:
    if found := re.fullmatch(pattern, module):
      return found.expand(conv), found.expand(norm)
  gate = 'feature_extractor.FDM.gate_head_pos.layers'
  module = module.replace('diffusion/gate/', '')
  known = {
    'steps/0/depthwise': (f'{gate}.0.body.0', ''),
    'steps/0/pointwise': (f'{gate}.0.body.1', f'{gate}.0.body.2'),
    'last': (f'{gate}.1', ''),
  }
  return known.get(module, (module.replace('/', '.'), ''))


def _projection(weight: np.ndarray, *norm: np.ndarray) -> Arrays:
  """A 1x1 convolution and its norm, as a linear layer."""
  kernel, bias = fold_batch_norm(weight, *norm)
  return kernel[0, 0], bias


def _matrix(weight: np.ndarray) -> Arrays:
  """A 1x1 convolution as a linear layer: (out, in, 1, 1) -> (in, out)."""
  if weight.shape[2:] != (1, 1):
    raise ValueError(f'(out, in, 1, 1) was expected, found shape {weight.shape}')
  return linear_kernel(weight[..., 0, 0])


def _plan(config: Config) -> list[Move]:
  fdm = 'feature_extractor.FDM'
  plan = [folding.MAPS]
  plan += [
    Move((f'diffusion/{name}/kernel',), (f'{fdm}.{name}.weight',), _matrix) for name in 'tpg'
  ]
  for name, norm in (('z', 'bn'), ('z2', 'bn2')):
    parts = ('weight', 'bias', 'running_mean', 'running_var')
    sources = (f'{fdm}.{name}.weight', *(f'{fdm}.{norm}.{part}' for part in parts))
    plan.append(Move((f'diffusion/{name}/kernel', f'diffusion/{name}/bias'), sources, _projection))
  return folding.completed(plan, shapes(config), lambda module: _source(config, module))


def tree(state: Mapping[str, np.ndarray], config: Config) -> dict[str, np.ndarray]:
  """CDNet's parameters from its published state dict, float32.

  Args:
    state: with torch's names; under "state_dict." as in a published file, or without a prefix.
    config: of the network that the file is for.

  Raises:
    Misfit: entries are missing, unknown or misshapen; it holds all of them.
  """
  state = layouts.entry(state, 'state_dict')
  return convert(state, _plan(config), shapes(config), skip=_SKIP)
