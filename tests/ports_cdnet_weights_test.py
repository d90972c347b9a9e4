"""Tests of CDNet's name mapping: every entry, the layouts, and faults by name."""

import deeplab_golden
import numpy as np
import pytest
import torch_pickles as tp

from ports.cdnet import network, weights
from ports.weights import checkpoints
from ports.weights.errors import CheckpointError

TOY = network.Config(deeplab_golden.TOY, 16)


def test_every_entry_is_used_or_known_not_to_be_needed_and_every_leaf_written():
  # one value each: nothing of the real size is formed
  listing = deeplab_golden.listing('cdnet_resnet34')
  config = network.CONFIGS['resnet34']
  plan, shapes = weights._plan(config), network.shapes(config)
  used = {source for move in plan for source in move.sources}
  assert len(used) == sum(len(move.sources) for move in plan)
  left = {name for name, _, _ in listing} - used
  assert used <= {name for name, _, _ in listing} and all(
    name.endswith('num_batches_tracked') or name.startswith('PDM.') for name in left
  )
  assert sorted(t for move in plan for t in move.targets) == sorted(shapes)
  state = {name: np.broadcast_to(np.float32(1), shape) for name, shape, _ in listing}
  tree = weights.tree(state, config)
  assert {name: array.shape for name, array in tree.items()} == shapes


@pytest.fixture(scope='module')
def state():
  return deeplab_golden.reduced('cdnet_resnet34', 8)


def test_norms_are_folded_into_what_is_before_them(state):
  tree = weights.tree(state, TOY)
  fdm = 'feature_extractor.FDM'
  scale, shift, mean, variance = (
    state[f'{fdm}.bn2.{part}'].astype(np.float64)
    for part in ('weight', 'bias', 'running_mean', 'running_var')
  )
  gain = scale / np.sqrt(variance + 1e-5)
  kernel = state[f'{fdm}.z2.weight'][..., 0, 0].T * gain
  np.testing.assert_allclose(tree['diffusion/z2/kernel'], kernel, rtol=1e-6)
  np.testing.assert_allclose(tree['diffusion/z2/bias'], shift - mean * gain, atol=1e-6)
  body = 'head.layers.1.body'
  depthwise = state[f'{body}.0.weight']
  kernel = tree['head/steps/1/depthwise/kernel']
  assert kernel.shape == (3, 3, 1, 8) and kernel[1, 2, 0, 5] == depthwise[5, 0, 1, 2]
  assert not tree['head/steps/1/depthwise/bias'].any()


def test_faults_are_named_together(state):
  broken = dict(state)
  del broken['feature_extractor.backbone.layer3.0.bn1.bias']
  broken['feature_extractor.FDM.t.weight'] = np.zeros((16, 16, 3, 3), np.float32)
  broken['extra.weight'] = np.zeros(2, np.float32)
  with pytest.raises(CheckpointError) as error:
    weights.tree(broken, TOY)
  for part in (
    '3 faults', 'missing: feature_extractor.backbone.layer3.0.bn1.bias',
    'unknown: extra.weight of shape (2,)', 'misshapen: feature_extractor.FDM.t.weight',
  ):
    assert part in str(error.value)


def test_the_published_layout_is_read_without_torch(tmp_path, state):
  path = tp.write_published(tmp_path / 'sbd_last_checkpoint.pth', state)
  tree = weights.tree(checkpoints.read(path), TOY)
  for name, array in weights.tree(state, TOY).items():
    np.testing.assert_array_equal(tree[name], array)
