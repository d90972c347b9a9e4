"""Names of SimpleClick's published parameters, mapped onto one flat tree.

The tree is the network's module path with "/" between its parts, see `ports.simpleclick.network`.
The last part says what an array is:

  kernel     of a linear layer: (in, out)
             of a convolution: (height, width, in, out)
             of a transposed convolution (every ".../up", "up1", "up2"): (height, width, out, in),
             unflipped: out[2y+i, 2x+j, o] = sum_c in[y, x, c] * kernel[i, j, o, c]
  bias       (out,)
  scale      of a norm: (channels,)
  pos_embed  (grid, grid, width), the position table without the class token's row
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np

from ports.simpleclick.network import Config, shapes
from ports.weights import layouts
from ports.weights.convert import Arrays, Move, convert, moves
from ports.weights.errors import CheckpointError

__all__ = ['config_of', 'position_table', 'published', 'tree', 'unused']

# Attention heads by width: the only size that the shapes of a state dict do not tell.
_HEADS = {160: 4, 768: 12, 1024: 16, 1280: 16}

# Where the published module paths differ from the tree's.
_MODULES = {
  'patch_embed_coords': 'patch_embed_coords.proj',
  'backbone/patch_embed': 'backbone.patch_embed.proj',
  'neck/down_4/up1': 'neck.down_4.0',
  'neck/down_4/norm1': 'neck.down_4.1',
  'neck/down_4/up2': 'neck.down_4.3',
  'neck/down_4/norm2': 'neck.down_4.4',
  'neck/down_4/conv': 'neck.down_4.5',
  'neck/down_4/norm3': 'neck.down_4.6',
  'neck/down_8/up': 'neck.down_8.0',
  'neck/down_8/norm1': 'neck.down_8.1',
  'neck/down_8/conv': 'neck.down_8.2',
  'neck/down_8/norm2': 'neck.down_8.3',
  'neck/down_16/conv': 'neck.down_16.0',
  'neck/down_16/norm': 'neck.down_16.1',
  'neck/down_32/down': 'neck.down_32.0',
  'neck/down_32/norm1': 'neck.down_32.1',
  'neck/down_32/conv': 'neck.down_32.2',
  'neck/down_32/norm2': 'neck.down_32.3',
  'head/fusion_conv': 'head.fusion_conv.conv',
} | {f'head/convs/{i}': f'head.convs.{i}.conv' for i in range(4)}
_UP_STEP = ('up', 'norm1', 'conv', 'norm2')
for _i in range(2):
  for _j, _part in enumerate(_UP_STEP):
    _MODULES[f'head/up_convs/{_i}/{_part}'] = f'head.up_conv{_i + 1}.{_j}'


def published(module: str) -> str:
  """Torch's path of a module of the tree, such as "neck/down_4/up1"; slashes left become dots."""
  return _MODULES.get(module, module)


def unused(config: Config) -> tuple[str, ...]:
  """Published entries that the network of `config` never reads.

  The classifier and the class token of the pre-trained ViT, and those steps of the head's
  enlargement that every checkpoint holds but only `upsample` 2 or 4 takes.
  """
  names = ['backbone.cls_token']
  names += [f'backbone.{m}.{p}' for m in ('fc_norm', 'head') for p in ('weight', 'bias')]
  for i in range({1: 0, 2: 1, 4: 2}[config.upsample], 2):
    names += [f'head.up_conv{i + 1}.{j}.{p}' for j in range(4) for p in ('weight', 'bias')]
  return tuple(names)


def position_table(array: np.ndarray) -> Arrays:
  """(1, 1 + grid**2, width) with the class token's row first -> (grid, grid, width)."""
  grid = math.isqrt(max(array.shape[1] - 1, 0)) if array.ndim == 3 else 0
  if not grid or array.shape[:2] != (1, 1 + grid**2):
    raise ValueError(f'(1, 1 + grid**2, width) was expected, found shape {array.shape}')
  return (array[0, 1:].reshape(grid, grid, -1),)


def _plan(config: Config) -> list[Move]:
  rest = shapes(config)
  del rest['backbone/pos_embed']
  positions = Move(('backbone/pos_embed',), ('backbone.pos_embed',), position_table)
  return [positions, *moves(rest, published)]


def config_of(state: Mapping[str, np.ndarray], heads: int | None = None) -> Config:
  """The sizes of the network that a checkpoint belongs to, read off its shapes.

  Args:
    state: as for `tree`.
    heads: of the attention, which no shape tells; None for those of the published widths.

  Raises:
    CheckpointError: not a SimpleClick checkpoint, or a width whose heads are not known.
  """
  state = layouts.entry(state, 'state_dict')

  def shape(name: str, axes: int) -> tuple[int, ...]:
    if name not in state or state[name].ndim != axes:
      found = f'has shape {state[name].shape}' if name in state else 'is missing'
      raise CheckpointError(f'not a SimpleClick checkpoint: "{name}" {found}')
    return state[name].shape

  width, _, patch, _ = shape('backbone.patch_embed.proj.weight', 4)
  positions = shape('backbone.pos_embed', 3)[1] - 1
  blocks = {m[1] for n in state if (m := re.match(r'backbone\.blocks\.(\d+)\.', n))}
  convs = [shape(f'head.convs.{i}.conv.weight', 4) for i in range(4)]
  channels = convs[0][0]
  last = shape('head.conv_seg.weight', 4)[1]
  if heads is None and width not in _HEADS:
    known = ', '.join(map(str, _HEADS))
    raise CheckpointError(
      f'tokens have {width} channels; the number of attention heads is known for {known} only'
    )
  try:
    return Config(
      width=width,
      depth=len(blocks),
      heads=_HEADS[width] if heads is None else heads,
      patch=patch,
      grid=math.isqrt(max(positions, 0)),
      pyramid=(convs[0][1], convs[1][1], convs[2][1], convs[3][1]),
      channels=channels,
      upsample=channels // max(last, 1),
    )
  except ValueError as error:
    raise CheckpointError(f'not a SimpleClick checkpoint: {error}') from error


def tree(state: Mapping[str, np.ndarray], config: Config | None = None) -> dict[str, np.ndarray]:
  """The network's parameters from a published checkpoint of any size and training set, float32.

  Args:
    state: what `ports.weights.checkpoints.read` returns for a checkpoint with torch's names under
      "state_dict.", as published, or without that prefix.
    config: sizes; None to read them off the shapes with `config_of`.

  Raises:
    Misfit: entries are missing, unknown or misshapen; it holds all of them.
  """
  state = layouts.entry(state, 'state_dict')
  config = config_of(state) if config is None else config
  skip = [re.escape(name) for name in unused(config)]
  return convert(state, _plan(config), shapes(config), skip)
