"""Names of SAM 2's published parameters, mapped onto one flat tree.

The tree is the network's module path with "/" between its parts, see `ports.sam2.hiera` and
`ports.sam2.network`: "image_encoder/", "prompt_encoder/", "mask_decoder/" and "no_mem_embed". The
last part says what an array is:

  kernel            of a linear layer: (in, out)
                    of a convolution: (height, width, in, out)
                    of a transposed convolution (mask_decoder/output_upscaling/0 and /3): (height,
                    width, out, in), unflipped
  bias              (out,)
  scale             of a norm: (channels,)
  embedding         (rows, channels)
  pos_embed         (rows, columns, channels), and pos_embed_window likewise
  gaussian_matrix   (2, 128) of the positional encoding, applied to (x, y)
  no_mem_embed      (channels,)

Two layouts are known: that of the released code, and that of Hugging Face's transformers, in which
the same weights lie on its hub.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from ports.sam import hub
from ports.sam2 import network
from ports.sam2.hiera import Config
from ports.weights import layouts
from ports.weights.convert import Arrays, Move, as_is, convert, moves
from ports.weights.errors import CheckpointError

__all__ = ['HUB_UNUSED', 'UNUSED', 'tree']

UNUSED = (
  r'memory_(attention|encoder)\..*',
  r'(maskmem_tpos_enc|no_mem_pos_enc|no_obj_ptr|no_obj_embed_spatial)',
  r'(mask_downsample|obj_ptr_proj|obj_ptr_tpos_proj)\..*',
)
"""Published entries that only videos need: memories of other frames, and pointers to objects."""

HUB_UNUSED = (
  r'memory_(attention|encoder)\..*',
  r'(memory_temporal_positional_encoding|no_memory_positional_encoding|no_object_pointer)',
  r'occlusion_spatial_embedding_parameter',
  r'(mask_downsample|object_pointer_proj|temporal_positional_encoding_projection_layer)\..*',
)
"""The same in the layout of the hub."""

# In whose presence a checkpoint with videos' parameters is of SAM 2.1, by layout.
_ONLY_21 = 'no_obj_embed_spatial', 'occlusion_spatial_embedding_parameter'

# Part of the names in the layout of the hub alone, whatever a training has put around them.
_HUB_TRUNK = 'vision_encoder.backbone.'

Shapes = Mapping[str, tuple[int, ...]]

_POSITIONS = 'image_encoder/trunk/pos_embed', 'image_encoder/trunk/pos_embed_window'
_GAUSSIAN = 'prompt_encoder/pe_layer/gaussian_matrix'
_POINTS = tuple(f'prompt_encoder/point_embeddings/{i}/embedding' for i in range(4))
_NO_MEMORY = 'no_mem_embed'

# Module paths of the tree -> published ones; all that fit are applied, in this order.
_RELEASED: hub.Renames = (
  (r'^(prompt_encoder|mask_decoder)\b', r'sam_\1'),
  (r'/mlp/lin([12])$', lambda found: f'/mlp/layers/{int(found[1]) - 1}'),
  (r'^(image_encoder/neck/convs/\d)$', r'\1/conv'),
  (r'^(image_encoder/trunk/patch_embed)$', r'\1/proj'),
)
_IN_OUT = {'0': 'proj_in', '1': 'proj_out'}
_HUB: hub.Renames = (
  (r'^image_encoder/trunk/', 'vision_encoder/backbone/'),
  (r'^image_encoder/neck/', 'vision_encoder/neck/'),
  (r'/patch_embed$', '/patch_embed/projection'),
  (r'/mlp/lin1$', '/mlp/proj_in'),
  (r'/mlp/lin2$', '/mlp/proj_out'),
  (r'/mlp/layers/(\d)$', lambda found: f'/mlp/{_IN_OUT[found[1]]}'),
  *hub.DECODER,
  (r'/out_proj$', '/o_proj'),
)


def _position_table(table: np.ndarray) -> Arrays:
  """(1, channels, rows, columns) -> (rows, columns, channels)."""
  if table.ndim != 4 or len(table) != 1:
    raise ValueError(f'(1, channels, rows, columns) was expected, found shape {table.shape}')
  return (table[0].transpose(1, 2, 0),)


def _flat(array: np.ndarray) -> Arrays:
  """(1, 1, channels) -> (channels,)."""
  return (array.reshape(-1),)


def _rows(table: np.ndarray) -> Arrays:
  """(rows, channels) -> rows of (1, channels)."""
  return tuple(table[:, None])


def _released_plan(shapes: Shapes) -> list[Move]:
  plan = [
    Move((leaf,), (leaf.replace('/', '.'),), _position_table) for leaf in _POSITIONS
  ]
  gaussian = 'sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix'
  plan += [Move((_GAUSSIAN,), (gaussian,), as_is), Move((_NO_MEMORY,), (_NO_MEMORY,), _flat)]
  special = {leaf for move in plan for leaf in move.targets}
  rest = {leaf: shape for leaf, shape in shapes.items() if leaf not in special}
  return plan + moves(rest, lambda path: hub.renamed(path, _RELEASED))


def _hub_plan(shapes: Shapes, gaussian: str) -> list[Move]:
  plan = [
    Move((leaf,), (hub.renamed(leaf, _HUB).replace('/', '.'),), _position_table)
    for leaf in _POSITIONS
  ]
  plan += [
    Move((_GAUSSIAN,), (gaussian,), as_is),
    Move((_NO_MEMORY,), ('no_memory_embedding',), _flat),
    Move(_POINTS, ('prompt_encoder.point_embed.weight',), _rows),
  ]
  special = {leaf for move in plan for leaf in move.targets}
  rest = {leaf: shape for leaf, shape in shapes.items() if leaf not in special}
  return plan + moves(rest, lambda path: hub.renamed(path, _HUB))


def _check_version(state: Mapping[str, np.ndarray], version: str) -> None:
  """Raises CheckpointError for a file of the other version, of the same names but for videos'."""
  if not any(name.startswith('memory_encoder.') for name in state):
    return
  found = 'sam2.1' if any(name in state for name in _ONLY_21) else 'sam2'
  if found != version:
    raise CheckpointError(
      f'the file holds weights of {found} (by {" or ".join(_ONLY_21)}, which only sam2.1 has), and '
      f'the model is one of {version}, of the same sizes: give it for the {found} model'
    )


def tree(
  state: Mapping[str, np.ndarray], config: Config, *, version: str = ''
) -> dict[str, np.ndarray]:
  """The image model's parameters from a published checkpoint of SAM 2 or SAM 2.1, float32.

  Args:
    state: what `ports.weights.checkpoints.read` returns for a checkpoint with torch's names under
      "model.", as released, or without that prefix; or for one with transformers' names.
    config: sizes.
    version: "sam2" or "sam2.1", to refuse a file of the other, which the parameters of a single
      image do not tell: a file without those for videos is taken for either. '' for any.

  Raises:
    Misfit: entries are missing, unknown or misshapen; it holds all of them.
    CheckpointError: a file of the other version.
  """
  state = layouts.entry(state, 'model')
  shapes = network.shapes(config)
  if any(_HUB_TRUNK in name for name in state):
    kept, other = hub.positions(state)
    skip = (*HUB_UNUSED, re.escape(other))
    found = convert(state, _hub_plan(shapes, kept), shapes, skip)
  else:
    found = convert(state, _released_plan(shapes), shapes, UNUSED)
  if version:
    _check_version(state, version)
  return found
