"""Tests of RITM's name mapping: every entry of every size, and faults by name."""

import math

import numpy as np
import pytest
import ritm_golden
import torch_pickles as tp

from ports.hrnet import network, weights
from ports.ritm.segmenter import VARIANTS
from ports.weights import checkpoints
from ports.weights.errors import CheckpointError


@pytest.mark.slow
@pytest.mark.parametrize('size, count', [
  ('h18s', 4_196_892), ('h18', 9_988_846), ('h18_baseline', 9_988_830), ('h32', 30_821_250),
])
def test_every_entry_is_used_and_every_leaf_written(size, count):
  # Strict: an entry left over or a leaf not written is an error.
  tree = ritm_golden.params(size)
  shapes = network.shapes(VARIANTS[size])
  assert {name: array.shape for name, array in tree.items()} == shapes
  assert sum(math.prod(shape) for shape in shapes.values()) == count
  assert {array.dtype for array in tree.values()} == {np.dtype(np.float32)}


def test_stacks_hold_modules_then_blocks():
  state, tree = ritm_golden.state('h18s'), ritm_golden.params('h18s')
  stacked = tree['feature_extractor/stage3/branches/2/conv1/kernel']
  for module in range(3):
    for block in range(2):
      path = f'feature_extractor.stage3.{module}.branches.2.{block}'
      weight = state[f'{path}.conv1.weight'].transpose(2, 3, 1, 0)
      norm = [state[f'{path}.bn1.{n}'].astype(np.float64) for n in ('weight', 'running_var')]
      gain = norm[0] / np.sqrt(norm[1] + 1e-5)
      np.testing.assert_allclose(stacked[module, block], weight * gain, rtol=1e-6)


def test_a_convolution_with_a_bias_before_its_norm_keeps_it():
  state, tree = ritm_golden.state('h18s'), ritm_golden.params('h18s')
  path = 'feature_extractor.aux_head'
  scale, shift, mean, variance = (
    state[f'{path}.1.{n}'].astype(np.float64)
    for n in ('weight', 'bias', 'running_mean', 'running_var')
  )
  wanted = shift + (state[f'{path}.0.bias'] - mean) * scale / np.sqrt(variance + 1e-5)
  np.testing.assert_allclose(tree['feature_extractor/aux_head/0/bias'], wanted, atol=1e-6)


def test_all_faults_are_named_together():
  state = dict(ritm_golden.state('h18s'))
  del state['feature_extractor.stage4.1.fuse_layers.3.0.2.1.running_var']
  state['feature_extractor.extra.weight'] = np.zeros(3, np.float32)
  state['maps_transform.3.scale'] = np.zeros(2, np.float32)
  with pytest.raises(CheckpointError) as error:
    weights.tree(state, VARIANTS['h18s'])
  text = str(error.value)
  assert 'missing: feature_extractor.stage4.1.fuse_layers.3.0.2.1.running_var' in text
  assert 'unknown: feature_extractor.extra.weight of shape (3,)' in text
  assert 'misshapen: maps_transform.2.weight' in text and '3 faults' in text


def test_a_checkpoint_of_another_size_is_refused():
  with pytest.raises(CheckpointError, match='does not fit the network'):
    weights.tree(ritm_golden.state('h18s'), VARIANTS['h18'])


def test_the_published_layout_is_read_without_torch(tmp_path):
  state = ritm_golden.state('h18s')
  path = tp.write_published(tmp_path / 'coco_lvis_h18s_itermask.pth', state)
  tree = weights.tree(checkpoints.read(path), VARIANTS['h18s'])
  for name, array in ritm_golden.params('h18s').items():
    np.testing.assert_array_equal(tree[name], array)
