"""Names of AdaptiveClick's published parameters, mapped onto one flat tree.

The tree is the network's module path with "/" between its parts, see `ports.adaptiveclick.network`;
kernels are (in, out), those of convolutions (height, width, in, out). Two of the published arrays
lie under two names, of which those in lists are read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from ports.adaptiveclick.network import Config, shapes
from ports.simpleclick.weights import position_table, published
from ports.weights import layouts
from ports.weights.convert import Move, as_is, convert, linear_kernel, moves

__all__ = ['tree']

# The second names; the weights of a loss; the classifier and the class token of the ViT.
_SKIP = (
  r'pixel_decoder\.(adapter_1|layer_1)\..*',
  r'criterion\.empty_weight',
  r'backbone\.(cls_token|(fc_norm|head)\.(weight|bias))',
)
_QUERIES = 'click_aware_decoder'
# (our modules, torch's); the first pattern that fits counts.
_MODULES = (
  (r'(neck/.*)', r'pixel_decoder.\1'),
  (r'pixel_decoder/layers/(.*)', r'pixel_decoder.transformer.encoder.layers.\1'),
  (r'pixel_decoder/input_proj/(\d)/conv', r'pixel_decoder.input_proj.\1.0'),
  (r'pixel_decoder/input_proj/(\d)/norm', r'pixel_decoder.input_proj.\1.1'),
  (r'pixel_decoder/(lateral|output)/conv', r'pixel_decoder.\1_convs.0.0'),
  (r'pixel_decoder/(lateral|output)/norm', r'pixel_decoder.\1_convs.0.1'),
  (
    rf'{_QUERIES}/layers/(\d)/cross/(.*)',
    rf'{_QUERIES}.transformer_cross_attention_layers.\1.multihead_attn.\2',
  ),
  (
    rf'{_QUERIES}/layers/(\d)/own/(.*)',
    rf'{_QUERIES}.transformer_self_attention_layers.\1.self_attn.\2',
  ),
  (
    rf'{_QUERIES}/layers/(\d)/cross_norm',
    rf'{_QUERIES}.transformer_cross_attention_layers.\1.norm',
  ),
  (rf'{_QUERIES}/layers/(\d)/own_norm', rf'{_QUERIES}.transformer_self_attention_layers.\1.norm'),
  (rf'{_QUERIES}/layers/(\d)/(.*)', rf'{_QUERIES}.transformer_ffn_layers.\1.\2'),
  (rf'{_QUERIES}/mask_embed/(\d)', rf'{_QUERIES}.mask_embed.layers.\1'),
)


def _source(module: str) -> str:
  """Torch's path; slashes left over become dots."""
  inner = published(module)
  for pattern, path in _MODULES:
    if found := re.fullmatch(pattern, module):
      # the pyramid is SimpleClick's, one level deeper
      return f'pixel_decoder.{inner}' if pattern.startswith('(neck') else found.expand(path)
  return inner


def _plan(config: Config) -> list[Move]:
  rest, plan = shapes(config), []
  for name in list(rest):
    module, _, leaf = name.rpartition('/')
    if module.endswith('in_proj'):
      make = linear_kernel if leaf == 'kernel' else as_is
      ending = 'weight' if leaf == 'kernel' else leaf
      plan.append(Move((name,), (f'{_source(module)}_{ending}',), make))
      del rest[name]
  fixed = (
    ('backbone/pos_embed', 'backbone.pos_embed', position_table),
    ('pixel_decoder/level_embed', 'pixel_decoder.transformer.level_embed', as_is),
  )
  for name, source, make in fixed:
    plan.append(Move((name,), (source,), make))
    del rest[name]
  return plan + moves(rest, _source)


def tree(state: Mapping[str, np.ndarray], config: Config) -> dict[str, np.ndarray]:
  """AdaptiveClick's parameters from its published state dict, float32.

  Args:
    state: with torch's names; under "state_dict." as in a published file, or without a prefix.
    config: of the network that the file is for.

  Raises:
    Misfit: entries are missing, unknown or misshapen; it holds all of them.
  """
  state = layouts.entry(state, 'state_dict')
  return convert(state, _plan(config), shapes(config), skip=_SKIP)
