"""Tests of the name mapping of SimpleClick's checkpoints, every published size."""

import dataclasses
import json
import pathlib
import sys
import types

import golden_weights
import numpy as np
import pytest
import torch_pickles as tp

from ports.simpleclick import network, weights
from ports.weights import checkpoints
from ports.weights.errors import CheckpointError

GOLDEN = pathlib.Path(__file__).parent / 'golden'


def listing(size):
  return json.loads((GOLDEN / f'simpleclick_{size}.json').read_text())


@pytest.fixture(scope='module')
def state():
  return golden_weights.golden_state_dict(listing('reduced'))


@pytest.mark.slow
@pytest.mark.parametrize('size', sorted(network.CONFIGS))
def test_every_entry_of_every_size_is_mapped_or_named_as_unused(size):
  # one value each, so that the largest sizes need no memory
  state = {name: np.broadcast_to(np.float32(1), shape) for name, shape, _ in listing(size)}
  config = network.CONFIGS[size]
  assert weights.config_of(state) == config
  plan = weights._plan(config)
  used = [source for move in plan for source in move.sources]
  assert sorted([*used, *weights.unused(config)]) == sorted(state)
  targets = network.shapes(config)
  assert sorted(t for move in plan for t in move.targets) == sorted(targets)
  for move in plan:
    made = move.make(*(state[source] for source in move.sources))
    assert [a.shape for a in made] == [targets[target] for target in move.targets]


@pytest.mark.parametrize(('upsample', 'unused'), [(1, {1, 2}), (2, {2}), (4, set())])
def test_the_head_decides_what_is_unused(state, upsample, unused):
  state = dict(state)
  state['head.conv_seg.weight'] = np.ones((1, 32 // upsample, 1, 1), np.float32)
  config = weights.config_of(state, heads=3)
  assert config.upsample == upsample
  for i in (1, 2):
    assert (f'head.up_conv{i}.0.weight' in weights.unused(config)) == (i in unused)
  tree = weights.tree(state, config)
  assert {name: a.shape for name, a in tree.items()} == network.shapes(config)


def test_layouts(state):
  tree = weights.tree(state, weights.config_of(state, heads=3))
  patch = state['patch_embed_coords.proj.weight']
  kernel = tree['patch_embed_coords/kernel']
  assert kernel.shape == (16, 16, 3, 96) and kernel[5, 7, 1, 40] == patch[40, 1, 5, 7]
  up = state['neck.down_4.3.weight']
  kernel = tree['neck/down_4/up2/kernel']
  assert up.shape == (48, 24, 2, 2) and kernel.shape == (2, 2, 24, 48)
  assert kernel[1, 0, 5, 9] == up[9, 5, 1, 0]
  table = state['backbone.pos_embed']
  np.testing.assert_array_equal(tree['backbone/pos_embed'][2, 3], table[0, 1 + 2 * 28 + 3])
  linear = state['backbone.blocks.3.attn.qkv.weight']
  np.testing.assert_array_equal(tree['backbone/blocks/3/attn/qkv/kernel'], linear.T)


def test_missing_unknown_and_misshapen_entries_are_listed_together(state):
  config = weights.config_of(state, heads=3)
  broken = dict(state)
  del broken['neck.down_16.1.bias']
  broken['backbone.pos_embed'] = np.zeros((1, 785, 95), np.float32)
  broken['backbone.norm.weight'] = np.zeros(96, np.float32)
  with pytest.raises(CheckpointError) as error:
    weights.tree(broken, config)
  for part in (
    '3 faults',
    'missing: neck.down_16.1.bias',
    'backbone.pos_embed gives (28, 28, 95) for backbone/pos_embed',
    'unknown: backbone.norm.weight',
  ):
    assert part in str(error.value)
  broken = dict(state) | {'backbone.pos_embed': np.zeros((1, 780, 96), np.float32)}
  with pytest.raises(CheckpointError, match=r'grid\*\*2'):
    weights.tree(broken, config)


def test_other_models_and_unknown_widths_are_refused(state):
  with pytest.raises(CheckpointError, match='96 channels'):
    weights.tree(state)
  with pytest.raises(CheckpointError, match=r'patch_embed\.proj\.weight" is missing'):
    weights.tree({'feature_extractor.conv1.weight': np.zeros((64, 3, 3, 3), np.float32)})
  odd = {n: a for n, a in state.items() if not n.startswith('backbone.blocks.7.')}
  with pytest.raises(CheckpointError, match='multiple of 4'):
    weights.tree(odd, weights.config_of(odd, heads=3))


def test_sizes_that_cannot_be_are_refused():
  for change in ({'depth': 10}, {'depth': 4}, {'heads': 5}, {'upsample': 3}):
    with pytest.raises(ValueError, match='multiple of 4'):
      dataclasses.replace(network.CONFIGS['vit_b'], **change)


def test_the_published_layout_is_read_past_the_objects_in_its_configuration(tmp_path, state):
  state = {n: a for n, a in state.items() if not n.startswith('backbone.head.')}
  arrays = list(state.items())
  entries = {n: tp.contiguous(a, str(i)) for i, (n, a) in enumerate(arrays)}
  module = b'cisegm.model.modeling.transformer_helper.cross_entropy_loss\n'
  tensor = tp.contiguous(arrays[0][1], '0')
  inside = tp.dictionary({'_buffers': tp.dictionary({}), 'weight': tensor})
  loss = module + b'CrossEntropyLoss\n)\x81' + inside + b'b'
  parameters = {
    'loss_decode': loss,
    'criterion': module + b'cross_entropy\n',
    'names': b'c__builtin__\nset\n(]tR',
  }
  config = {'class': tp.text('PlainVitModel'), 'params': tp.dictionary(parameters)}
  whole = {'state_dict': tp.dictionary(entries), 'config': tp.dictionary(config)}
  members = {'archive/data.pkl': tp.whole(tp.dictionary(whole))}
  members |= {f'archive/data/{i}': a.tobytes() for i, (_, a) in enumerate(arrays)}
  found = checkpoints.read(tp.write_zip(tmp_path / 'cocolvis_vit.pth', members))
  assert set(found) == {f'state_dict.{name}' for name in state}
  sizes = weights.config_of(found, heads=3)
  tree, wanted = weights.tree(found, sizes), weights.tree(state, sizes)
  for name, array in wanted.items():
    np.testing.assert_array_equal(tree[name], array)


@pytest.mark.parity
@pytest.mark.parametrize('as_zip', [True, False])
def test_a_checkpoint_that_torch_saved_is_read(tmp_path, monkeypatch, state, as_zip):
  torch = pytest.importorskip('torch')
  name = 'isegm.model.modeling.cross_entropy_loss'
  module = types.ModuleType(name)

  class CrossEntropyLoss(torch.nn.Module):
    def __init__(self):
      super().__init__()
      self.criterion = cross_entropy
      self.register_buffer('weight', torch.ones(3))

  def cross_entropy():
    raise AssertionError('called')

  for each in (CrossEntropyLoss, cross_entropy):
    each.__module__, each.__qualname__ = name, each.__name__
    setattr(module, each.__name__, each)
  for i in range(1, 5):
    package = '.'.join(name.split('.')[:i])
    monkeypatch.setitem(sys.modules, package, module if i == 4 else types.ModuleType(package))
  value = {'channels': 32, 'loss_decode': CrossEntropyLoss()}
  config = {'class': 'PlainVitModel', 'params': {'head_params': {'value': value}}}
  tensors = {n: torch.from_numpy(a) for n, a in state.items()}
  path = tmp_path / 'cocolvis_vit.pth'
  whole = {'state_dict': tensors, 'config': config}
  torch.save(whole, path, _use_new_zipfile_serialization=as_zip)
  monkeypatch.undo()
  found = checkpoints.read(path)
  assert set(found) == {f'state_dict.{n}' for n in state}
  sizes = weights.config_of(found, heads=3)
  tree, wanted = weights.tree(found, sizes), weights.tree(state, sizes)
  for leaf, array in wanted.items():
    np.testing.assert_array_equal(tree[leaf], array)
