"""Moves of convolutions with the batch norms behind them, and of DeepLab's published names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from ports.weights.convert import Arrays, Move, as_is, conv_kernel, fold_batch_norm

__all__ = ['MAPS', 'completed', 'deeplab_source', 'depthwise', 'folded', 'scaled_conv']

# Of the modules of `ports.nn.resnet` and `ports.nn.deeplab`: pattern -> torch's convolution, norm.
_DEEPLAB = (
  (r'(backbone/layer\d/\d+)/conv(\d)', r'\1.conv\2', r'\1.bn\2'),
  (r'(backbone/layer\d/\d+)/downsample', r'\1.downsample.0', r'\1.downsample.1'),
  (r'aspp/branches/(\d)', r'aspp.concurent.\1.0', r'aspp.concurent.\1.1'),
  (r'aspp/pool', r'aspp.concurent.4.gap.1', r'aspp.concurent.4.gap.2'),
  (r'aspp/project', r'aspp.project.0', r'aspp.project.1'),
  (r'decoder/skip', r'skip_project.skip_project.0', r'skip_project.skip_project.1'),
  (r'decoder/head/steps/(\d)/pointwise', r'head.block.\1.body.1', r'head.block.\1.body.2'),
  (r'decoder/head/steps/(\d)/depthwise', r'head.block.\1.body.0', ''),
  (r'decoder/head/last', r'head.block.2', ''),
)
_STEM = (
  (r'backbone/stem/0', r'backbone.conv1.0', r'backbone.conv1.1'),
  (r'backbone/stem/1', r'backbone.conv1.3', r'backbone.conv1.4'),
  (r'backbone/stem/2', r'backbone.conv1.6', r'backbone.bn1'),
)


def deeplab_source(module: str, deep_stem: bool) -> tuple[str, str] | None:
  """Torch's convolution and norm ("" for none) of a module; None where it is not DeepLab's.

  Args:
    module: path in the tree, such as "backbone/layer1/0/conv1".
    deep_stem: whether the stem is three convolutions.
  """
  stem = _STEM if deep_stem else ((r'backbone/stem/0', r'backbone.conv1', r'backbone.bn1'),)
  for pattern, conv, norm in (*stem, *_DEEPLAB):
    if found := re.fullmatch(pattern, module):
      return found.expand(conv).replace('/', '.'), found.expand(norm).replace('/', '.')
  return None


def depthwise(weight: np.ndarray) -> Arrays:
  """A convolution of every channel by itself, which has no bias -> kernel, and a bias of zeros."""
  (kernel,) = conv_kernel(weight)
  return kernel, np.zeros(weight.shape[0], np.float32)


def scaled_conv(weight: np.ndarray, bias: np.ndarray, scale: np.ndarray) -> Arrays:
  """A convolution and the layer behind it that multiplies by |scale|, one number."""
  if scale.shape != (1,):
    raise ValueError(f'one number was expected, found shape {scale.shape}')
  gain = np.abs(scale.astype(np.float64))
  (kernel,) = conv_kernel(weight)
  return kernel * gain, bias * gain


MAPS = Move(
  ('maps_transform/2/kernel', 'maps_transform/2/bias'),
  ('maps_transform.2.weight', 'maps_transform.2.bias', 'maps_transform.3.scale'),
  scaled_conv,
)
"""The last convolution of the maps, and the layer that scales it."""


def completed(
  plan: Sequence[Move], shapes: Iterable[str], source_of: Callable[[str], tuple[str, str]]
) -> list[Move]:
  """A plan, and the moves of all convolutions that are not in it.

  Args:
    plan: moves of what is particular to a network.
    shapes: names of its parameters.
    source_of: as for `folded`.
  """
  done = {target for move in plan for target in move.targets}
  kernels = [name for name in shapes if name not in done and name.endswith('/kernel')]
  return [*plan, *folded([kernel.removesuffix('/kernel') for kernel in kernels], source_of)]


def folded(
  modules: Iterable[str], source_of: Callable[[str], tuple[str, str]]
) -> list[Move]:
  """Moves of convolutions with kernel and bias.

  Args:
    modules: paths in the tree.
    source_of: path -> torch's convolution, and the norm behind it or "" for none. A convolution
      with a norm has no bias of its own. What ends in "depthwise" has neither.
  """
  plan = []
  for module in modules:
    targets = (f'{module}/kernel', f'{module}/bias')
    conv, norm = source_of(module)
    weight = f'{conv}.weight'
    if module.endswith('depthwise'):
      plan.append(Move(targets, (weight,), depthwise))
    elif norm:
      parts = ('weight', 'bias', 'running_mean', 'running_var')
      plan.append(Move(targets, (weight, *(f'{norm}.{p}' for p in parts)), fold_batch_norm))
    else:
      plan.append(Move(targets[:1], (weight,), conv_kernel))
      plan.append(Move(targets[1:], (f'{conv}.bias',), as_is))
  return plan
