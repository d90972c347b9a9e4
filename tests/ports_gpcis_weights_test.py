"""Tests of GPCIS's name mapping: every entry, and faults by name."""

import deeplab_golden
import numpy as np
import pytest
import torch_pickles as tp

from ports.gpcis import network, weights
from ports.weights import checkpoints
from ports.weights.errors import CheckpointError

TOY = network.Config(deeplab_golden.TOY_DEEP, 32, 32)


def test_every_entry_is_used_or_known_not_to_be_needed_and_every_leaf_written():
  # one value each: nothing of the real size is formed
  listing = deeplab_golden.listing('gpcis_resnet50')
  config = network.CONFIGS['resnet50']
  plan, shapes = weights._plan(config), network.shapes(config)
  used = {source for move in plan for source in move.sources}
  assert len(used) == sum(len(move.sources) for move in plan)
  left = {name for name, _, _ in listing if not name.endswith('num_batches_tracked')} - used
  assert left == {'omega_var'} and used <= {name for name, _, _ in listing}
  state = {name: np.broadcast_to(np.float32(1), shape) for name, shape, _ in listing}
  tree = weights.tree(state, config)
  assert {name: array.shape for name, array in tree.items()} == shapes


def test_the_published_layout_is_read_without_torch_and_faults_are_named(tmp_path):
  state = deeplab_golden.reduced('gpcis_resnet50', 8)
  path = tp.write_published(tmp_path / 'GPCIS_Resnet50.pth', state)
  tree = weights.tree(checkpoints.read(path), TOY)
  np.testing.assert_array_equal(tree['process/omega'], state['omega'][:, 0])
  np.testing.assert_array_equal(tree['process/theta/kernel'], state['theta.weight'].T)
  broken = dict(state) | {'omega': np.zeros(256, np.float32), 'more': np.zeros(1, np.float32)}
  del broken['u_mlp.0.bias']
  with pytest.raises(CheckpointError) as error:
    weights.tree(broken, TOY)
  for part in ('3 faults', 'missing: u_mlp.0.bias', 'unknown: more', 'misshapen: omega'):
    assert part in str(error.value)
