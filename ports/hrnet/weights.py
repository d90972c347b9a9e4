"""Names of the published parameters of HRNet with its maps, mapped onto one flat tree.

The tree is torch's module path with "/" for ".", batch norms folded into the convolution before
them. A convolution is named by its module, or by the Sequential that holds it and its norm:
"feature_extractor/stage2/fuse_layers/1/0/0/kernel" comes from "...fuse_layers.1.0.0.0.weight" and
"...fuse_layers.1.0.0.1". Kernels are (height, width, in, out). The modules of a stage are stacked
along a first axis, the blocks of their branches along a second:
"feature_extractor/stage2/branches/1/conv2/bias" is (modules, blocks, channels).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

import numpy as np

from ports.hrnet.network import Variant, shapes
from ports.weights import layouts
from ports.weights.convert import Arrays, Move, as_is, conv_kernel, convert, fold_batch_norm
from ports.weights.folding import scaled_conv

__all__ = ['SKIP', 'plan', 'tree']

# (our module, torch's convolution, torch's norm); the first pattern that fits counts.
_HEAD = r'feature_extractor\.(aux_head)\.0'
_NAMED = r'.*\.(conv)(\d)'
_CONTEXT = r'.*\.(f_down|f_up|conv_bn_dropout)'
_SEQUENTIAL = r'.*\.(downsample|conv3x3_ocr)|.*\.(fuse_layers|transition\d)\.[\d.]+'

# The attention over one object is 1 whatever these say; counters of batch norms.
SKIP = (
  r'feature_extractor\.ocr_distri_head\.object_context_block\.(f_pixel|f_object)\..*',
  r'.*\.num_batches_tracked',
)
# With a bias of their own in front of a norm.
_BIASED = ('feature_extractor.conv3x3_ocr.0', 'feature_extractor.aux_head.0')


def _source(module: str) -> tuple[str, str | None]:
  """Torch's convolution and the norm behind it."""
  if re.fullmatch(_HEAD, module):
    return module, module.removesuffix('0') + '1'
  if re.fullmatch(_NAMED, module):
    return module, re.sub(r'conv(\d)$', r'bn\1', module)
  if re.fullmatch(_CONTEXT, module):
    return f'{module}.0', f'{module}.1.0'
  if re.fullmatch(_SEQUENTIAL, module):
    return f'{module}.0', f'{module}.1'
  return module, None


def _fold_all(stack: tuple[int, ...]) -> Callable[..., Arrays]:
  """Folds one convolution and its norm after the other and stacks them."""

  def make(*arrays: np.ndarray) -> Arrays:
    count = math.prod(stack)
    size = len(arrays) // count
    folded = [fold_batch_norm(*arrays[i * size : (i + 1) * size]) for i in range(count)]
    kernels, biases = (np.stack(parts) for parts in zip(*folded, strict=True))
    return kernels.reshape(*stack, *kernels.shape[1:]), biases.reshape(*stack, -1)

  return make


def _numbered(path: str, at: tuple[int, ...]) -> str:
  """Torch's module in place `at` of a stack: (module of the stage, block of the branch)."""
  path = re.sub(r'/(stage\d)/', lambda found: f'/{found[1]}/{at[0]}/', path)
  path = re.sub(r'/(branches/\d)/', lambda found: f'/{found[1]}/{at[1]}/', path)
  return path.replace('/', '.')


def plan(variant: Variant) -> list[Move]:
  """What becomes of every entry of a published state dict, but for those that `SKIP` fits."""
  moves = []
  for target, shape in shapes(variant).items():
    path, _, leaf = target.rpartition('/')
    if leaf != 'kernel':
      continue
    targets = (target, f'{path}/bias')
    modules = [_numbered(path, at) for at in np.ndindex(shape[:-4])]
    conv, norm = _source(modules[0])
    if conv == 'maps_transform.2':
      scaled = (f'{conv}.weight', f'{conv}.bias', 'maps_transform.3.scale')
      moves.append(Move(targets, scaled, scaled_conv))
    elif norm is None:
      moves.append(Move(targets[:1], (f'{conv}.weight',), conv_kernel))
      moves.append(Move(targets[1:], (f'{conv}.bias',), as_is))
    else:
      sources: list[str] = []
      for conv, norm in map(_source, modules):
        names = ('weight', 'bias', 'running_mean', 'running_var')
        sources += [f'{conv}.weight', *(f'{norm}.{n}' for n in names)]
        sources += [f'{conv}.bias'] if conv in _BIASED else []
      moves.append(Move(targets, tuple(sources), _fold_all(shape[:-4])))
  return moves


def tree(state: Mapping[str, np.ndarray], variant: Variant) -> dict[str, np.ndarray]:
  """The network's parameters from its published state dict, float32.

  Args:
    state: with torch's names; under "state_dict." as in a published file, or without a prefix.
    variant: which network the file is for.

  Raises:
    Misfit: entries are missing, unknown or misshapen; it holds all of them.
  """
  state = layouts.entry(state, 'state_dict')
  return convert(state, plan(variant), shapes(variant), skip=SKIP)
