"""Made-up weights by parameter name and shape, with which the goldens were computed.

One number generator per name: Philox keyed by the CRC-32 of the name, standard normals in
float32, then scaled by the kind of parameter that the name and the number of axes tell.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence

import numpy as np

# What to draw for a parameter: the first row whose pattern is found in its name and whose number
# of axes is allowed (empty: any). Pair of numbers: mean and deviation. "fan": deviation
# 1 / sqrt(fan in). "centred": deviation sqrt(2 / fan in), every output's weights summing to zero.
_KINDS: tuple[tuple[str, tuple[int, ...], tuple[float, float] | str], ...] = (
  (r'^golden_input\.', (), (0.0, 1.0)),
  (r'running_mean$', (), (0.0, 0.1)),
  (r'maps_transform\.3\.scale$', (1,), (-0.8, 0.1)),
  (r'refiner\.refine_pred\.bias$', (1,), (1.0, 0.1)),
  (r'^omega$', (), (0.0, 0.25)),
  (r'^omega_var$', (), (0.03, 0.001)),
  (r'^logsigma2$', (), (1.0, 0.1)),
  (r'(branches\.\d+\.\d+|layer\d\.\d+)\.bn[23]\.weight$', (1,), (0.4, 0.05)),
  (r'fuse_layers\.\d+\.\d+\..*weight$', (1,), (0.5, 0.05)),
  (r'positional_encoding_gaussian_matrix$', (), (0.0, 1.0)),
  (r'point_embeddings\.\d+\.weight$', (), (0.0, 0.5)),
  (r'(not_a_point|no_mask)_embed\.weight$', (), (0.0, 0.5)),
  (r'(iou_token|mask_tokens|hf_token|obj_score_token)\.weight$', (), (0.0, 0.5)),
  (r'(pos_embed|cls_token|rel_pos_[hw]|pos_embed_window)$', (), (0.0, 0.2)),
  (r'(no_mem_embed|no_mem_pos_enc|no_obj_ptr|no_obj_embed_spatial)$', (), (0.0, 0.2)),
  (r'(maskmem_tpos_enc|attention_biases|relative_position_bias_table)$', (), (0.0, 0.2)),
  (r'weight$', (1,), (1.0, 0.1)),
  (r'bias$', (1,), (0.0, 0.1)),
  (r'weight$', (2, 3), 'fan'),
  (r'weight$', (4, 5), 'centred'),
  (r'', (), (0.0, 0.1)),
)


def golden_array(name: str, shape: Sequence[int]) -> np.ndarray:
  """float32 weights of `shape` for the state-dict entry `name`, in torch's layout."""
  shape = tuple(shape)
  if name.endswith('num_batches_tracked'):
    return np.zeros(shape, np.float32)
  generator = np.random.Generator(np.random.Philox(key=zlib.crc32(name.encode())))
  if name.endswith('running_var'):
    uniform = generator.random(shape, dtype=np.float32)
    return np.asarray(np.float32(0.8) + np.float32(0.4) * uniform, np.float32)
  normal = np.asarray(generator.standard_normal(shape, dtype=np.float32), np.float32)
  fits = (k for p, axes, k in _KINDS if re.search(p, name) and (not axes or normal.ndim in axes))
  kind = next(fits)
  if isinstance(kind, tuple):
    return np.asarray(np.float32(kind[0]) + np.float32(kind[1]) * normal, np.float32)
  fan_in = int(np.prod(shape[1:]))
  if kind == 'fan':
    return normal * np.float32(1.0 / np.sqrt(fan_in))
  if fan_in >= 16:
    # on a grid of 1/4096, so that the sums are exact on every platform
    grid = np.rint(normal.astype(np.float64) * 4096)
    sums = grid.sum(tuple(range(1, len(shape))), keepdims=True)
    normal = ((grid - sums / fan_in) / 4096).astype(np.float32)
  return normal * np.float32(2**0.5 / np.sqrt(fan_in))


def golden_state_dict(listing: Iterable[tuple[str, Sequence[int], str]]) -> dict[str, np.ndarray]:
  """State dict of a listing's (name, shape, dtype) rows; entries that are not floats are zeros."""
  return {
    name: golden_array(name, shape) if dtype.startswith('float') else np.zeros(shape, dtype)
    for name, shape, dtype in listing
  }


def grad_weight(height: int, width: int) -> np.ndarray:
  """The map W of the goldens' scalar mean(sigmoid(logits) * W), (height, width) float32."""
  rows, columns = np.mgrid[:height, :width]
  return (1 + 0.5 * np.sin(0.13 * rows + 0.07 * columns)).astype(np.float32)
