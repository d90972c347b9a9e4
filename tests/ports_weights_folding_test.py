"""Moves of convolutions with their norms, and DeepLab's published names."""

import numpy as np
import pytest

from ports.weights import folding
from ports.weights.convert import convert


def test_a_convolution_with_a_norm_one_without_and_one_by_channel():
  rng = np.random.default_rng(0)
  state = {
    'a.weight': rng.standard_normal((3, 2, 1, 1), np.float32),
    'n.weight': rng.random(3, np.float32), 'n.bias': rng.random(3, np.float32),
    'n.running_mean': rng.random(3, np.float32), 'n.running_var': rng.random(3, np.float32),
    'b.weight': rng.standard_normal((4, 3, 3, 3), np.float32), 'b.bias': rng.random(4, np.float32),
    'c.weight': rng.standard_normal((4, 1, 3, 3), np.float32),
  }
  shapes = {
    'x/kernel': (1, 1, 2, 3), 'x/bias': (3,), 'y/kernel': (3, 3, 3, 4), 'y/bias': (4,),
    'z/depthwise/kernel': (3, 3, 1, 4), 'z/depthwise/bias': (4,),
  }
  source = {'x': ('a', 'n'), 'y': ('b', ''), 'z/depthwise': ('c', '')}
  tree = convert(state, folding.folded(source, source.__getitem__), shapes)
  x = rng.standard_normal(2)
  wanted = (state['a.weight'][..., 0, 0] @ x - state['n.running_mean']) / np.sqrt(
    state['n.running_var'] + 1e-5
  ) * state['n.weight'] + state['n.bias']
  np.testing.assert_allclose(x @ tree['x/kernel'][0, 0] + tree['x/bias'], wanted, rtol=1e-5)
  np.testing.assert_array_equal(tree['y/bias'], state['b.bias'])
  assert tree['z/depthwise/kernel'][2, 1, 0, 3] == state['c.weight'][3, 0, 2, 1]
  assert not tree['z/depthwise/bias'].any()


def test_a_scale_of_either_sign_multiplies_by_its_size():
  weight, bias = np.ones((2, 1, 1, 1), np.float32), np.array([1, 2], np.float32)
  kernel, shift = folding.scaled_conv(weight, bias, np.array([-0.5], np.float32))
  np.testing.assert_array_equal(kernel, np.full((1, 1, 1, 2), 0.5))
  np.testing.assert_array_equal(shift, [0.5, 1])
  with pytest.raises(ValueError, match='one number was expected'):
    folding.scaled_conv(weight, bias, np.ones(2, np.float32))


@pytest.mark.parametrize(('module', 'deep', 'wanted'), [
  ('backbone/stem/0', False, ('backbone.conv1', 'backbone.bn1')),
  ('backbone/stem/1', True, ('backbone.conv1.3', 'backbone.conv1.4')),
  ('backbone/stem/2', True, ('backbone.conv1.6', 'backbone.bn1')),
  ('backbone/layer2/0/conv2', False, ('backbone.layer2.0.conv2', 'backbone.layer2.0.bn2')),
  (
    'backbone/layer4/0/downsample', True,
    ('backbone.layer4.0.downsample.0', 'backbone.layer4.0.downsample.1'),
  ),
  ('aspp/branches/3', True, ('aspp.concurent.3.0', 'aspp.concurent.3.1')),
  ('decoder/head/steps/0/depthwise', True, ('head.block.0.body.0', '')),
  ('decoder/head/last', True, ('head.block.2', '')),
  ('head/last', True, None),
])
def test_published_names(module, deep, wanted):
  assert folding.deeplab_source(module, deep) == wanted
