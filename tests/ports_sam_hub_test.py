"""Tests of SAM in the layout of Hugging Face's transformers: its names, all of them, and no other.

The listings are those of `SamModel` and `SamHQModel` of transformers 5.24. That the modules of
these names compute what we take them for was seen there, with the weights of the goldens.
"""

import dataclasses

import golden_weights
import numpy as np
import pytest
import sam_golden

from ports.sam import hub, vit, weights
from ports.weights.errors import Misfit

ONE_BLOCK = dataclasses.replace(vit.CONFIGS['vit_b'], depth=1, global_blocks=())

# Of every kind of module one, and all that a renumbering could swap.
PAIRS = {
  'vision_encoder.pos_embed': 'image_encoder/pos_embed',
  'vision_encoder.patch_embed.projection.bias': 'image_encoder/patch_embed/proj/bias',
  'vision_encoder.layers.0.layer_norm1.weight': 'image_encoder/blocks/0/norm1/scale',
  'vision_encoder.layers.0.layer_norm2.weight': 'image_encoder/blocks/0/norm2/scale',
  'vision_encoder.layers.0.attn.rel_pos_w': 'image_encoder/blocks/0/attn/rel_pos_w',
  'vision_encoder.layers.0.mlp.lin2.bias': 'image_encoder/blocks/0/mlp/lin2/bias',
  'vision_encoder.neck.layer_norm1.bias': 'image_encoder/neck/1/bias',
  'vision_encoder.neck.layer_norm2.bias': 'image_encoder/neck/3/bias',
  'shared_image_embedding.positional_embedding': 'prompt_encoder/pe_layer/gaussian_matrix',
  'prompt_encoder.point_embed.2.weight': 'prompt_encoder/point_embeddings/2/embedding',
  'prompt_encoder.not_a_point_embed.weight': 'prompt_encoder/not_a_point_embed/embedding',
  'prompt_encoder.mask_embed.layer_norm2.weight': 'prompt_encoder/mask_downscaling/4/scale',
  'prompt_encoder.mask_embed.conv3.bias': 'prompt_encoder/mask_downscaling/6/bias',
  'mask_decoder.transformer.layers.1.layer_norm4.bias': (
    'mask_decoder/transformer/layers/1/norm4/bias'
  ),
  'mask_decoder.transformer.layer_norm_final_attn.bias': (
    'mask_decoder/transformer/norm_final_attn/bias'
  ),
  'mask_decoder.transformer.layers.0.self_attn.out_proj.bias': (
    'mask_decoder/transformer/layers/0/self_attn/out_proj/bias'
  ),
  'mask_decoder.upscale_conv2.bias': 'mask_decoder/output_upscaling/3/bias',
  'mask_decoder.upscale_layer_norm.bias': 'mask_decoder/output_upscaling/1/bias',
  'mask_decoder.iou_prediction_head.layers.0.bias': (
    'mask_decoder/iou_prediction_head/layers/1/bias'
  ),
  'mask_decoder.output_hypernetworks_mlps.3.proj_out.bias': (
    'mask_decoder/output_hypernetworks_mlps/3/layers/2/bias'
  ),
}
HQ_PAIRS = {
  'mask_decoder.hq_token.weight': 'mask_decoder/hf_token/embedding',
  'mask_decoder.hq_mask_mlp.proj_in.bias': 'mask_decoder/hf_mlp/layers/0/bias',
  'mask_decoder.compress_vit_norm.bias': 'mask_decoder/compress_vit_feat/1/bias',
  'mask_decoder.compress_vit_conv2.bias': 'mask_decoder/compress_vit_feat/3/bias',
  'mask_decoder.encoder_conv1.bias': 'mask_decoder/embedding_encoder/0/bias',
  'mask_decoder.mask_conv2.bias': 'mask_decoder/embedding_maskfeature/3/bias',
  'mask_decoder.mask_norm.weight': 'mask_decoder/embedding_maskfeature/1/scale',
}


def state(name, blocks=1):
  """A listing's weights, of the first block alone: the others have its names and shapes."""
  listing = [
    (entry, shape, dtype)
    for entry, shape, dtype in sam_golden.listing(name)
    if not entry.startswith(hub.TRUNK) or int(entry.split('.')[2]) < blocks
  ]
  return golden_weights.golden_state_dict(listing)


@pytest.mark.parametrize('name', ['sam_vit_b', 'samhq_vit_b'])
def test_every_name_of_the_layout_maps_and_none_is_left_over(name):
  hq = name.startswith('samhq')
  listing = sam_golden.listing(f'{name}_transformers')
  found = {entry: np.broadcast_to(np.float32(1), shape) for entry, shape, _ in listing}
  tree = weights.sam_tree(found, vit.CONFIGS['vit_b'], hq=hq)
  early = 768 if hq else 0
  wanted = vit.shapes(vit.CONFIGS['vit_b']) | weights.decoder_shapes(early)
  assert {leaf: array.shape for leaf, array in tree.items()} == wanted


@pytest.mark.parametrize('name', ['sam_vit_b', 'samhq_vit_b'])
def test_values_land_where_their_modules_are(name):
  hq = name.startswith('samhq')
  found = state(f'{name}_transformers')
  tree = weights.sam_tree(found, ONE_BLOCK, hq=hq)
  for entry, leaf in (PAIRS | (HQ_PAIRS if hq else {})).items():
    np.testing.assert_array_equal(tree[leaf], found[entry], err_msg=entry)
  linear = found['vision_encoder.layers.0.mlp.lin1.weight']
  np.testing.assert_array_equal(tree['image_encoder/blocks/0/mlp/lin1/kernel'], linear.T)
  up = found['mask_decoder.upscale_conv1.weight'].transpose(2, 3, 1, 0)
  np.testing.assert_array_equal(tree['mask_decoder/output_upscaling/0/kernel'], up)


def test_either_copy_of_the_positional_matrix_will_do():
  found = state('sam_vit_b_transformers')
  both = weights.sam_tree(found, ONE_BLOCK)
  one = dict(found)
  matrix = one.pop('shared_image_embedding.positional_embedding')
  one['prompt_encoder.shared_embedding.positional_embedding'] = matrix
  other = weights.sam_tree(one, ONE_BLOCK)
  leaf = 'prompt_encoder/pe_layer/gaussian_matrix'
  np.testing.assert_array_equal(both[leaf], other[leaf])
  del one['prompt_encoder.shared_embedding.positional_embedding']
  with pytest.raises(Misfit, match='positional_embedding'):
    weights.sam_tree(one, ONE_BLOCK)


def test_the_layouts_are_told_apart_by_the_trunk():
  assert hub.names(['image_encoder.blocks.0.norm1.bias']) is None
  for prefix in ('', 'model.'):
    assert hub.names([f'{prefix}vision_encoder.layers.0.layer_norm1.bias']) is not None


def test_another_model_of_the_layout_is_refused_with_its_names():
  found = state('samhq_vit_b_transformers')
  with pytest.raises(Misfit, match=r'unknown: mask_decoder\.'):
    weights.sam_tree(found, ONE_BLOCK)
  with pytest.raises(Misfit, match=r'missing: vision_encoder\.layers\.1'):
    weights.sam_tree(state('sam_vit_b_transformers'), vit.CONFIGS['vit_b'])
