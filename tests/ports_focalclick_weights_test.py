"""FocalClick's name mapping: every entry of every variant, and faults by name."""

import functools
import math

import focalclick_golden
import numpy as np
import pytest

from ports.focalclick import network, weights
from ports.weights.errors import CheckpointError


@pytest.mark.slow
@pytest.mark.parametrize('size, count', [
  ('hrnet18s_s1', 4_207_838), ('hrnet18s_s2', 4_207_838), ('hrnet32_s2', 30_837_316),
  ('segformer_b0_s1', 3_735_011), ('segformer_b0_s2', 3_735_011), ('segformer_b3_s2', 45_681_923),
])
def test_every_entry_is_used_and_every_leaf_written(size, count):
  # Strict: an entry left over or a leaf not written is an error.
  state = {
    f'state_dict.{name}': np.zeros(shape, 'float32' if kind.startswith('float') else kind)
    for name, shape, kind in focalclick_golden.listing(size)
  }
  tree = weights.tree(state, network.VARIANTS[size])
  shapes = network.shapes(network.VARIANTS[size])
  assert {name: array.shape for name, array in tree.items()} == shapes
  assert sum(math.prod(shape) for shape in shapes.values()) == count


def test_norms_are_folded_and_stages_are_named():
  state, tree = (f('segformer_b0_s2') for f in (focalclick_golden.state, focalclick_golden.params))
  encoder = 'feature_extractor.backbone'
  np.testing.assert_array_equal(
    tree['segformer/stages/3/embed/proj/kernel'],
    state[f'{encoder}.patch_embed4.proj.weight'].transpose(2, 3, 1, 0),
  )
  np.testing.assert_array_equal(
    tree['segformer/stages/1/blocks/1/attn/kv/kernel'],
    state[f'{encoder}.block2.1.attn.kv.weight'].T,
  )
  np.testing.assert_array_equal(
    tree['segformer/maps/norm/bias'], state[f'{encoder}.patch_embed_side1.norm.bias']
  )
  for path, conv, norm, biased in (
    ('segformer/head/fuse', 'feature_extractor.decode_head.linear_fuse.conv', 'linear_fuse.bn', 0),
    ('refiner/refine_fusion2/conv1x1', 'refiner.refine_fusion2.conv1x1', 'refine_fusion2.norm', 1),
    ('refiner/image_conv1', 'refiner.image_conv1.conv', 'image_conv1.norm', 1),
  ):
    norm = next(n for n in state if n.endswith(f'{norm}.weight')).removesuffix('.weight')
    names = ('weight', 'bias', 'running_mean', 'running_var')
    scale, bias, mean, variance = (state[f'{norm}.{n}'].astype(np.float64) for n in names)
    gain = scale / np.sqrt(variance + 1e-5)
    own = state[f'{conv}.bias'] if biased else 0
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7)
    close(tree[f'{path}/bias'], bias + (own - mean) * gain)
    close(tree[f'{path}/kernel'], state[f'{conv}.weight'].transpose(2, 3, 1, 0) * gain)


def test_a_state_that_does_not_fit_is_refused_by_name():
  state = dict(focalclick_golden.state('segformer_b0_s2'))
  del state['refiner.refine_pred.bias']
  state['refiner.other'] = np.zeros(3, np.float32)
  with pytest.raises(CheckpointError) as found:
    weights.tree(state, network.VARIANTS['segformer_b0_s2'])
  assert 'missing: refiner.refine_pred.bias' in str(found.value)
  assert 'unknown: refiner.other' in str(found.value)
