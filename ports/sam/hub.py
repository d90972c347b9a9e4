"""Names of SAM's and SAM-HQ's parameters in the layout of Hugging Face's transformers.

The weights are the same as in the released files, and so are the layouts of their arrays; modules
have other names. SAM 2's decoder shares most of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

__all__ = ['DECODER', 'TRUNK', 'Renames', 'names', 'positions', 'renamed']

TRUNK = 'vision_encoder.layers.'
"""Part of the names in this layout alone, whatever a training has put around them."""

Renames = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]
"""Patterns of module paths and what takes their place; all that fit are applied, in this order."""

_IN_MIDDLE_OUT = {'0': 'proj_in', '1': 'layers/0', '2': 'proj_out'}
_MASK_EMBED = {'0': 'conv1', '1': 'layer_norm1', '3': 'conv2', '4': 'layer_norm2', '6': 'conv3'}
_UPSCALE = {'0': 'conv1', '1': 'layer_norm', '3': 'conv2'}
_NECK = {'0': 'conv1', '1': 'layer_norm1', '2': 'conv2', '3': 'layer_norm2'}
_HQ = {'0': 'conv1', '1': 'norm', '3': 'conv2'}

DECODER: Renames = (
  (r'(_head|_mlps/\d|hf_mlp)/layers/(\d)$', lambda m: f'{m[1]}/{_IN_MIDDLE_OUT[m[2]]}'),
  (r'/mask_downscaling/(\d)$', lambda m: f'/mask_embed/{_MASK_EMBED[m[1]]}'),
  (r'/output_upscaling/(\d)$', lambda m: f'/upscale_{_UPSCALE[m[1]]}'),
  (r'/norm(\d|_final_attn)$', r'/layer_norm\1'),
)
"""Of the prompt encoder and the mask decoder, in SAM and SAM 2 alike."""

_SAM: Renames = (
  (r'^image_encoder/neck/(\d)$', lambda m: f'vision_encoder/neck/{_NECK[m[1]]}'),
  (r'^image_encoder/patch_embed/proj$', 'vision_encoder/patch_embed/projection'),
  (r'^image_encoder/blocks/', 'vision_encoder/layers/'),
  (r'^image_encoder$', 'vision_encoder'),
  (r'/point_embeddings/(\d)$', r'/point_embed/\1'),
  *DECODER,
  (r'/hf_token$', '/hq_token'),
  (r'/hf_mlp/', '/hq_mask_mlp/'),
  (r'/compress_vit_feat/(\d)$', lambda m: f'/compress_vit_{_HQ[m[1]]}'),
  (r'/embedding_encoder/(\d)$', lambda m: f'/encoder_{_HQ[m[1]]}'),
  (r'/embedding_maskfeature/(\d)$', lambda m: f'/mask_{_HQ[m[1]]}'),
)

_POSITIONS = 'shared_image_embedding', 'prompt_encoder.shared_embedding'


def renamed(path: str, renames: Renames) -> str:
  """A module path under other names."""
  for pattern, by in renames:
    path = re.sub(pattern, by, path)
  return path


def positions(state: Iterable[str]) -> tuple[str, str]:
  """Where a file has the matrix of the positional encoding: under two names, or under one of them.

  Args:
    state: names of a file.

  Returns:
    The name to read, and the other.
  """
  first, second = (f'{name}.positional_embedding' for name in _POSITIONS)
  return (first, second) if any(name.endswith(first) for name in state) else (second, first)


def names(state: Iterable[str]) -> Callable[[str], str] | None:
  """From the tree's module paths to those of a file; None for the released layout."""
  if not any(TRUNK in name for name in state):
    return None
  return lambda path: renamed(path, _SAM)
