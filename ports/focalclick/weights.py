"""Names of FocalClick's published parameters, mapped onto one flat tree.

HRNet's are those of `ports.hrnet.weights`. Of SegFormer, "segformer/stages/0/embed/proj/kernel"
comes from "feature_extractor.backbone.patch_embed1.proj.weight", "segformer/stages/0/blocks/1/..."
from "...block1.1...", "segformer/head/linear/0/..." from
"feature_extractor.decode_head.linear_c1.proj".
Of the refiner, a convolution has the name of the module that holds it and its norm. Kernels are
(height, width, in, out), of linear layers (in, out). Batch norms are folded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from ports.focalclick import refiner, segformer
from ports.focalclick.network import Variant, shapes
from ports.hrnet import network as hrnet
from ports.hrnet import weights as hrnet_weights
from ports.weights import layouts
from ports.weights.convert import Move, convert, fold_batch_norm, moves

__all__ = ['tree']

_ENCODER, _HEAD = 'feature_extractor.backbone', 'feature_extractor.decode_head'

# Every model of this code holds the maps' convolutions of RITM, which SegFormer does not read; the
# refiner's gate was given up; counters of batch norms.
_SKIP = {
  'hrnet': hrnet_weights.SKIP,
  'segformer': (
    r'maps_transform\.(0|2)\.(weight|bias)',
    r'maps_transform\.3\.scale',
    r'refiner\.feature_gate\.0\.(weight|bias)',
    r'.*\.num_batches_tracked',
  ),
}
_NORM = 'weight', 'bias', 'running_mean', 'running_var'


def _folded(path: str, conv: str, norm: str, *, biased: bool) -> Move:
  """A convolution and the batch norm behind it -> `path`'s kernel and bias."""
  sources = [f'{conv}.weight', *(f'{norm}.{name}' for name in _NORM)]
  sources += [f'{conv}.bias'] if biased else []
  return Move((f'{path}/kernel', f'{path}/bias'), tuple(sources), fold_batch_norm)


def _module(path: str) -> str:
  """Torch's module of one of SegFormer's."""
  path = path.removeprefix('segformer/')
  if path.startswith('maps'):
    path = path.replace('maps', f'{_ENCODER}.patch_embed_side1', 1)
  elif path.startswith('head'):
    path = re.sub(
      r'head/(linear)/(\d)', lambda found: f'{_HEAD}.linear_c{int(found[2]) + 1}.proj', path
    )
    path = path.replace('head/pred', f'{_HEAD}.linear_pred')
  else:
    number = int(path.split('/')[1]) + 1
    stage = f'{_ENCODER}.'
    path = re.sub(r'^stages/\d/embed', f'{stage}patch_embed{number}', path)
    path = re.sub(r'^stages/\d/blocks', f'{stage}block{number}', path)
    path = re.sub(r'^stages/\d/norm', f'{stage}norm{number}', path)
    path = re.sub(r'dwconv$', 'dwconv.dwconv', path)
  return path


def _segformer(config: segformer.Config) -> list[Move]:
  fuse = 'segformer/head/fuse'
  rest = {
    name: shape
    for name, shape in segformer.shapes(config).items()
    if name.rpartition('/')[0] != fuse
  }
  conv, norm = f'{_HEAD}.linear_fuse.conv', f'{_HEAD}.linear_fuse.bn'
  return [_folded(fuse, conv, norm, biased=False), *moves(rest, _module)]


def _refiner(channels: int) -> list[Move]:
  plan, rest = [], {}
  for name, shape in refiner.shapes(channels).items():
    path, _, leaf = name.rpartition('/')
    module = path.replace('/', '.')
    if path.endswith('conv1x1'):
      conv, norm = module, module.replace('conv1x1', 'norm')
    elif path in ('refiner/image_conv1', 'refiner/refine_fusion'):
      conv, norm = f'{module}.conv', f'{module}.norm'
    else:
      rest[name] = shape
      continue
    if leaf == 'kernel':
      plan.append(_folded(path, conv, norm, biased=True))
  return [*plan, *moves(rest)]


def tree(state: Mapping[str, np.ndarray], variant: Variant) -> dict[str, np.ndarray]:
  """FocalClick's parameters from its published state dict, float32.

  Args:
    state: with torch's names; under "state_dict." as in a published file, or without a prefix.
    variant: which network the file is for. The scale "s1" or "s2" has the same entries, and no
      file says which it was trained at.

  Raises:
    Misfit: entries are missing, unknown or misshapen; it holds all of them.
  """
  state = layouts.entry(state, 'state_dict')
  backbone = variant.backbone
  if isinstance(backbone, hrnet.Variant):
    plan, skip = hrnet_weights.plan(backbone), _SKIP['hrnet']
  else:
    plan, skip = _segformer(backbone), _SKIP['segformer']
  return convert(state, [*plan, *_refiner(variant.channels)], shapes(variant), skip=skip)
