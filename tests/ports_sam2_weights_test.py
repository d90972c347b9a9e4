"""Tests of the name mapping of SAM 2's checkpoints, on made-up weights in both layouts."""

import golden_weights
import numpy as np
import pytest
import sam2_golden
import torch_pickles

from ports.sam2 import hiera, network, weights
from ports.weights import checkpoints
from ports.weights.errors import CheckpointError, Misfit

VARIANTS = [f'{version}_hiera_{size}' for version in ('sam2', 'sam2.1') for size in hiera.CONFIGS]


def empty_state(variant):
  """A state dict of zeros, which takes no memory."""
  return {
    name: np.broadcast_to(np.float32(0), shape)
    for name, shape, _ in sam2_golden.listings()[variant]
  }


@pytest.mark.parametrize('variant', VARIANTS)
@pytest.mark.slow
def test_every_entry_of_every_variant_is_used_once_or_known_to_be_unused(variant):
  config = hiera.CONFIGS[variant.split('_hiera_')[1]]
  state = empty_state(variant)
  tree = weights.tree(state, config)
  assert {name: array.shape for name, array in tree.items()} == network.shapes(config)
  # What is not needed is a tenth at most, of the smallest size a fifth: memories and pointers.
  unused = sum(a.size for a in state.values()) - sum(a.size for a in tree.values())
  assert 7.4e6 < unused < 7.6e6


def test_layouts():
  state, tree = sam2_golden.state('sam2.1_hiera_tiny'), sam2_golden.params('sam2.1_hiera_tiny')
  table = state['image_encoder.trunk.pos_embed']
  np.testing.assert_array_equal(tree['image_encoder/trunk/pos_embed'], table[0].transpose(1, 2, 0))
  patch = state['image_encoder.trunk.patch_embed.proj.weight']
  kernel = tree['image_encoder/trunk/patch_embed/kernel']
  assert kernel.shape == (7, 7, 3, 96) and kernel[2, 5, 1, 9] == patch[9, 1, 2, 5]
  np.testing.assert_array_equal(
    tree['mask_decoder/transformer/layers/1/mlp/lin2/kernel'],
    state['sam_mask_decoder.transformer.layers.1.mlp.layers.1.weight'].T,
  )
  np.testing.assert_array_equal(tree['no_mem_embed'], state['no_mem_embed'][0, 0])
  up = state['sam_mask_decoder.output_upscaling.3.weight']
  assert tree['mask_decoder/output_upscaling/3/kernel'][1, 0, 5, 9] == up[9, 5, 1, 0]


def test_the_published_file_is_read_without_torch(tmp_path):
  state = sam2_golden.state('sam2.1_hiera_tiny')
  path = torch_pickles.write_nested(tmp_path / 'sam2.1_hiera_tiny.pt', 'model', state)
  found = checkpoints.read(path)
  assert all(name.startswith('model.') for name in found)
  tree = weights.tree(found, hiera.CONFIGS['tiny'])
  for name, array in sam2_golden.params('sam2.1_hiera_tiny').items():
    np.testing.assert_array_equal(tree[name], array)


def test_the_layout_of_transformers():
  state = {
    name: golden_weights.golden_array(name, shape)
    for name, shape, _ in sam2_golden.listings()['sam2.1_hiera_tiny_transformers']
  }
  tree = weights.tree(state, hiera.CONFIGS['tiny'])
  assert {name: a.shape for name, a in tree.items()} == network.shapes(hiera.CONFIGS['tiny'])
  for leaf, source in {
    'image_encoder/trunk/blocks/3/mlp/layers/1/kernel': (
      'vision_encoder.backbone.blocks.3.mlp.proj_out.weight'
    ),
    'image_encoder/neck/convs/2/bias': 'vision_encoder.neck.convs.2.bias',
    'mask_decoder/iou_prediction_head/layers/1/bias': (
      'mask_decoder.iou_prediction_head.layers.0.bias'
    ),
    'mask_decoder/pred_obj_score_head/layers/2/bias': (
      'mask_decoder.pred_obj_score_head.proj_out.bias'
    ),
    'mask_decoder/output_hypernetworks_mlps/3/layers/0/bias': (
      'mask_decoder.output_hypernetworks_mlps.3.proj_in.bias'
    ),
    'mask_decoder/transformer/norm_final_attn/scale': (
      'mask_decoder.transformer.layer_norm_final_attn.weight'
    ),
    'prompt_encoder/mask_downscaling/4/bias': 'prompt_encoder.mask_embed.layer_norm2.bias',
    'prompt_encoder/pe_layer/gaussian_matrix': 'shared_image_embedding.positional_embedding',
  }.items():
    wanted = state[source].T if leaf.endswith('kernel') else state[source]
    np.testing.assert_array_equal(tree[leaf], wanted, err_msg=leaf)
  points = state['prompt_encoder.point_embed.weight']
  for i in range(4):
    found = tree[f'prompt_encoder/point_embeddings/{i}/embedding']
    np.testing.assert_array_equal(found, points[i : i + 1])
  # The positional matrix has two names, and a file may keep either.
  other = 'prompt_encoder.shared_embedding.positional_embedding'
  kept = state | {other: state['shared_image_embedding.positional_embedding']}
  del kept['shared_image_embedding.positional_embedding']
  again = weights.tree(kept, hiera.CONFIGS['tiny'])
  for name in tree:
    np.testing.assert_array_equal(again[name], tree[name])


def test_missing_unknown_and_misshapen_entries_are_listed_together():
  broken = empty_state('sam2_hiera_tiny')
  del broken['sam_mask_decoder.obj_score_token.weight']
  broken['image_encoder.trunk.pos_embed'] = np.zeros((96, 7, 7), np.float32)
  broken['image_encoder.neck.convs.0.conv.weight'] = np.zeros((256, 768, 3, 3), np.float32)
  broken['image_encoder.trunk.blocks.12.norm1.weight'] = np.zeros(768, np.float32)
  with pytest.raises(Misfit) as error:
    weights.tree(broken, hiera.CONFIGS['tiny'])
  text = '\n'.join(error.value.faults)
  assert len(error.value.faults) == 4
  for part in (
    'missing: sam_mask_decoder.obj_score_token.weight',
    'unknown: image_encoder.trunk.blocks.12.norm1.weight',
    '(1, channels, rows, columns) was expected, found shape (96, 7, 7)',
    'misshapen: image_encoder.neck.convs.0.conv.weight',
  ):
    assert part in text


@pytest.mark.parametrize('layout', ['', '_transformers'])
def test_the_versions_are_told_apart_by_what_only_videos_need(layout):
  state, config = empty_state(f'sam2.1_hiera_tiny{layout}'), hiera.CONFIGS['tiny']
  weights.tree(state, config, version='sam2.1')
  with pytest.raises(CheckpointError, match=r'holds weights of sam2\.1 .* give it for the sam2\.1'):
    weights.tree(state, config, version='sam2')
  only = 'no_obj_embed_spatial', 'occlusion_spatial_embedding_parameter'
  older = {name: a for name, a in state.items() if name not in only}
  weights.tree(older, config, version='sam2')
  with pytest.raises(CheckpointError, match='holds weights of sam2 '):
    weights.tree(older, config, version='sam2.1')
  image = {name: a for name, a in state.items() if not name.startswith('memory_')}
  for version in ('sam2', 'sam2.1'):
    weights.tree(image, config, version=version)


def test_a_checkpoint_of_another_size_is_refused():
  with pytest.raises(Misfit, match='does not fit the network'):
    weights.tree(empty_state('sam2_hiera_small'), hiera.CONFIGS['tiny'])
