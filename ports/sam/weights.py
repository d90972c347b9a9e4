"""Names of SAM's and MobileSAM's published parameters, mapped onto one flat tree.

The tree is torch's module path with "/" for ".", under "image_encoder/", "prompt_encoder/" and
"mask_decoder/". The last part says what an array is:

  kernel     of a linear layer: (in, out)
             of a convolution: (height, width, in, out)
             of a transposed convolution (mask_decoder/output_upscaling/0 and /3): (height, width,
             out, in), unflipped: out[2y+i, 2x+j, o] = sum_c in[y, x, c] * kernel[i, j, o, c]
  bias       (out,)
  scale      of a norm: (channels,)
  embedding  (rows, channels)

and "prompt_encoder/pe_layer/gaussian_matrix" is the (2, 128) matrix of the positional encoding,
applied to (x, y).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np

from ports.sam import hub, tiny_vit, vit
from ports.weights.convert import Arrays, Move, as_is, convert, fold_batch_norm, moves

__all__ = [
  'decoder_shapes',
  'decoder_tree',
  'mobile_sam_tree',
  'onnx_encoder_tree',
  'sam_tree',
]

Shapes = dict[str, tuple[int, ...]]

_WIDTH = 256
_NUM_MASKS = 4


def _linear(path: str, inputs: int, outputs: int) -> Shapes:
  return {f'{path}/kernel': (inputs, outputs), f'{path}/bias': (outputs,)}


def _norm(path: str, channels: int = _WIDTH) -> Shapes:
  return {f'{path}/scale': (channels,), f'{path}/bias': (channels,)}


def _attention(path: str, inner: int) -> Shapes:
  shapes: Shapes = {}
  for name in ('q_proj', 'k_proj', 'v_proj'):
    shapes |= _linear(f'{path}/{name}', _WIDTH, inner)
  return shapes | _linear(f'{path}/out_proj', inner, _WIDTH)


def _perceptron(path: str, outputs: int) -> Shapes:
  shapes: Shapes = {}
  for i, width in enumerate((_WIDTH, _WIDTH, outputs)):
    shapes |= _linear(f'{path}/layers/{i}', _WIDTH, width)
  return shapes


def _prompt_encoder_shapes() -> Shapes:
  shapes: Shapes = {'pe_layer/gaussian_matrix': (2, _WIDTH // 2)}
  for i in range(4):
    shapes[f'point_embeddings/{i}/embedding'] = (1, _WIDTH)
  shapes['not_a_point_embed/embedding'] = (1, _WIDTH)
  for i, (size, inputs, outputs) in {0: (2, 1, 4), 3: (2, 4, 16), 6: (1, 16, _WIDTH)}.items():
    shapes[f'mask_downscaling/{i}/kernel'] = (size, size, inputs, outputs)
    shapes[f'mask_downscaling/{i}/bias'] = (outputs,)
  shapes |= _norm('mask_downscaling/1', 4) | _norm('mask_downscaling/4', 16)
  shapes['no_mask_embed/embedding'] = (1, _WIDTH)
  return shapes


def _mask_decoder_shapes() -> Shapes:
  shapes: Shapes = {}
  for i in range(2):
    layer = f'transformer/layers/{i}'
    shapes |= _attention(f'{layer}/self_attn', _WIDTH)
    shapes |= _attention(f'{layer}/cross_attn_token_to_image', _WIDTH // 2)
    shapes |= _attention(f'{layer}/cross_attn_image_to_token', _WIDTH // 2)
    shapes |= _linear(f'{layer}/mlp/lin1', _WIDTH, 2048)
    shapes |= _linear(f'{layer}/mlp/lin2', 2048, _WIDTH)
    for j in range(1, 5):
      shapes |= _norm(f'{layer}/norm{j}')
  shapes |= _attention('transformer/final_attn_token_to_image', _WIDTH // 2)
  shapes |= _norm('transformer/norm_final_attn')
  shapes['iou_token/embedding'] = (1, _WIDTH)
  shapes['mask_tokens/embedding'] = (_NUM_MASKS, _WIDTH)
  shapes |= _upscaling_shapes('output_upscaling', _WIDTH, 64)
  for i in range(_NUM_MASKS):
    shapes |= _perceptron(f'output_hypernetworks_mlps/{i}', 32)
  return shapes | _perceptron('iou_prediction_head', _NUM_MASKS)


def _upscaling_shapes(path: str, inputs: int, between: int) -> Shapes:
  """Two transposed convolutions with a norm between, to 32 channels."""
  shapes = _norm(f'{path}/1', between)
  for i, (width, outputs) in {0: (inputs, between), 3: (between, 32)}.items():
    shapes[f'{path}/{i}/kernel'] = (2, 2, outputs, width)
    shapes[f'{path}/{i}/bias'] = (outputs,)
  return shapes


def _hq_shapes(early: int) -> Shapes:
  shapes: Shapes = {'hf_token/embedding': (1, _WIDTH)}
  shapes |= _perceptron('hf_mlp', 32)
  shapes |= _upscaling_shapes('compress_vit_feat', early, _WIDTH)
  shapes |= _upscaling_shapes('embedding_encoder', _WIDTH, 64)
  for i, (inputs, outputs) in {0: (32, 64), 3: (64, 32)}.items():
    shapes[f'embedding_maskfeature/{i}/kernel'] = (3, 3, inputs, outputs)
    shapes[f'embedding_maskfeature/{i}/bias'] = (outputs,)
  return shapes | _norm('embedding_maskfeature/1', 64)


def decoder_shapes(early: int = 0) -> Shapes:
  """Shape of every parameter of the prompt encoder and mask decoder.

  Args:
    early: width of the early feature that SAM-HQ's decoder reads; 0 for SAM's own, whose decoder
      is the same in all sizes.
  """
  parts = {'prompt_encoder': _prompt_encoder_shapes(), 'mask_decoder': _mask_decoder_shapes()}
  if early:
    parts['mask_decoder'] |= _hq_shapes(early)
  return {f'{part}/{name}': s for part, shapes in parts.items() for name, s in shapes.items()}


_GAUSSIAN = 'prompt_encoder/pe_layer/gaussian_matrix'
_POSITION = 'image_encoder/pos_embed'
# Where the released encoder's module paths differ from the tree's.
_ENCODER_MODULES = {
  'patch_embed/conv1': 'patch_embed.seq.0',
  'patch_embed/conv2': 'patch_embed.seq.2',
  'neck/conv1': 'neck.0',
  'neck/norm1': 'neck.1',
  'neck/conv2': 'neck.2',
  'neck/norm2': 'neck.3',
}
# The classifier of TinyViT, and counters of batch norms.
_ENCODER_SKIP = (
  r'image_encoder\.(norm_head|head)\.(weight|bias)',
  r'image_encoder\..*\.num_batches_tracked',
)


def _gaussian_move() -> Move:
  return Move(
    (_GAUSSIAN,),
    ('prompt_encoder.pe_layer.positional_encoding_gaussian_matrix',),
    as_is,
  )


def _decoder_moves(early: int = 0) -> list[Move]:
  gaussian = _gaussian_move()
  rest = {n: s for n, s in decoder_shapes(early).items() if n not in gaussian.targets}
  return [gaussian, *moves(rest)]


def expand_attention_biases(table: np.ndarray) -> Arrays:
  """(heads, n) biases by distance -> (heads, n, n) biases by pair of positions.

  n = window**2, positions in row-major order; two positions that lie (dy, dx) apart share entry
  |dy| * window + |dx|, which is the order in which TinyViT meets the distances.
  """
  window = math.isqrt(table.shape[-1])
  if table.ndim != 2 or window**2 != table.shape[1]:
    raise ValueError(f'(heads, window**2) was expected, found shape {table.shape}')
  y, x = np.divmod(np.arange(window**2), window)
  distance = np.abs(y[:, None] - y) * window + np.abs(x[:, None] - x)
  return (table[:, distance],)


def _encoder_source(module: str) -> str:
  path = module.removeprefix('image_encoder/')
  return _ENCODER_MODULES.get(path, path).replace('/', '.')


def _onnx_moves() -> list[Move]:
  """From the exported encoder: batch norms folded, biases expanded, no prefix."""

  def source_of(module: str) -> str:
    has_batch_norm = 'conv' in module and 'neck' not in module
    return _encoder_source(module) + ('.c' if has_batch_norm else '')

  return moves(tiny_vit.shapes(), source_of)


def _torch_moves() -> list[Move]:
  """From the released state dict: batch norms are folded, attention biases expanded."""
  plan: list[Move] = []
  for move in _onnx_moves():
    (target,), (source,) = move.targets, move.sources
    source = f'image_encoder.{source}'
    if source.endswith('.c.weight'):
      path = source.removesuffix('.c.weight')
      norm = [f'{path}.bn.{n}' for n in ('weight', 'bias', 'running_mean', 'running_var')]
      bias = target.removesuffix('kernel') + 'bias'
      plan.append(Move((target, bias), (source, *norm), fold_batch_norm))
    elif source.endswith('.attn.bias'):
      table = source.removesuffix('bias') + 'attention_biases'
      plan.append(Move((target,), (table,), expand_attention_biases))
    elif not source.endswith('.c.bias'):
      plan.append(Move((target,), (source,), move.make))
  return plan


def decoder_tree(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Prompt encoder and mask decoder of any SAM or MobileSAM state dict, float32.

  Args:
    state: with torch's names under "prompt_encoder." and "mask_decoder.", or under
      "PromtEncoder." and "MaskDecoder." as a packaged decoder has them. An image encoder in the
      same state dict is passed over.

  Raises:
    Misfit: entries are missing, unknown or misshapen; it holds all of them.
  """
  renamed = {
    re.sub(r'^PromtEncoder\.', 'prompt_encoder.', re.sub(r'^MaskDecoder\.', 'mask_decoder.', n)): a
    for n, a in state.items()
  }
  return convert(renamed, _decoder_moves(), decoder_shapes(), skip=(r'image_encoder\..*',))


def onnx_encoder_tree(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """MobileSAM's image encoder from the exported network's parameters, float32.

  Args:
    state: what `ports.weights.checkpoints.read` returns for the ONNX encoder.

  Raises:
    Misfit: entries are missing, unknown or misshapen; it holds all of them.
  """
  return convert(state, _onnx_moves(), tiny_vit.shapes())


def mobile_sam_tree(
  state: Mapping[str, np.ndarray], *, hq: bool = False
) -> dict[str, np.ndarray]:
  """All of MobileSAM from its released state dict (mobile_sam.pt), float32.

  Args:
    state: with torch's names.
    hq: whether it is SAM-HQ's model of that size (sam_hq_vit_tiny.pth).

  Raises:
    Misfit: entries are missing, unknown or misshapen; it holds all of them.
  """
  early = tiny_vit.EARLY if hq else 0
  shapes = tiny_vit.shapes() | decoder_shapes(early)
  return convert(state, _torch_moves() + _decoder_moves(early), shapes, skip=_ENCODER_SKIP)


def _sam_plan(
  state: Mapping[str, np.ndarray], config: vit.Config, early: int
) -> tuple[list[Move], tuple[str, ...]]:
  """Moves from the layout that `state` is in, and patterns of entries that are not needed."""
  gaussian, other = 'prompt_encoder.pe_layer.positional_encoding_gaussian_matrix', ''
  position = 'image_encoder.pos_embed'
  source_of = hub.names(state)
  if source_of is not None:
    (gaussian, other), position = hub.positions(state), 'vision_encoder.pos_embed'
  # Parameters of modules that have weights or biases go by `moves`; these are by themselves.
  plan = [Move((_GAUSSIAN,), (gaussian,), as_is), Move((_POSITION,), (position,), as_is)]
  shapes = vit.shapes(config) | decoder_shapes(early)
  rest = {name: shape for name, shape in shapes.items() if name not in (_GAUSSIAN, _POSITION)}
  plan += moves(rest, source_of or (lambda path: path))
  return plan, (re.escape(other),) if other else ()


def sam_tree(
  state: Mapping[str, np.ndarray], config: vit.Config, *, hq: bool = False
) -> dict[str, np.ndarray]:
  """All of SAM or SAM-HQ from its released state dict (such as sam_vit_b_01ec64.pth), float32.

  Args:
    state: with torch's names, or with those of Hugging Face's transformers.
    config: sizes of its encoder.
    hq: whether it is SAM-HQ's (such as sam_hq_vit_b.pth).

  Raises:
    Misfit: entries are missing, unknown or misshapen; it holds all of them.
  """
  early = config.width if hq else 0
  plan, skip = _sam_plan(state, config, early)
  return convert(state, plan, vit.shapes(config) | decoder_shapes(early), skip)
