"""ResNet's layers against the formulas; whole networks are compared by the families' goldens."""

import functools

import deeplab_golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ports.nn import resnet, trees


@pytest.mark.parametrize('size', [(6, 9), (7, 8)])
def test_the_largest_of_nine_without_the_border(size):
  x = np.random.default_rng(0).standard_normal((1, *size, 2), np.float32) - 5
  found = np.asarray(resnet.max_pool(jnp.asarray(x)))
  assert found.shape == (1, -(-size[0] // 2), -(-size[1] // 2), 2)
  for i, j in np.ndindex(found.shape[1:3]):
    near = x[0, max(2 * i - 1, 0) : 2 * i + 2, max(2 * j - 1, 0) : 2 * j + 2]
    np.testing.assert_array_equal(found[0, i, j], near.max((0, 1)))


@pytest.mark.parametrize(('config', 'stem', 'widths'), [
  (resnet.Config(), 64, (64, 128, 256, 512)),
  (resnet.Config(bottleneck=True), 128, (256, 512, 1024, 2048)),
])
def test_widths(config, stem, widths):
  assert (config.stem, config.widths) == (stem, widths)
  shapes = trees.define(functools.partial(resnet.ResNet, config)).shapes
  assert shapes[f'stem/{2 if config.bottleneck else 0}/bias'] == (stem,)
  assert shapes['layer4/2/conv2/kernel'] == (3, 3, 512, 512)
  # a stage's first block widens, and the second stage's halves the resolution
  assert ('layer1/0/downsample/bias' in shapes) == config.bottleneck
  assert 'layer2/0/downsample/bias' in shapes and 'layer2/1/downsample/bias' not in shapes


@pytest.mark.slow
@pytest.mark.parametrize('config', [deeplab_golden.TOY, deeplab_golden.TOY_DEEP])
def test_resolutions_and_what_is_added_behind_the_stem(config):
  definition = trees.define(functools.partial(resnet.ResNet, config))
  params = deeplab_golden.toy_params(dict(definition.shapes))
  run = jax.jit(lambda params, x, more: trees.bind(definition, params)(x, more))
  x = np.random.default_rng(0).standard_normal((1, 37, 50, 3), np.float32)
  more = np.random.default_rng(1).random((1, 19, 25, config.stem + 3), np.float32)
  fine, deep = run(params, x, more)
  assert fine.shape == (1, 10, 13, config.widths[0])
  assert deep.shape == (1, 5, 7, config.widths[3])
  other = more.copy()
  other[..., config.stem :] = 9
  np.testing.assert_array_equal(run(params, x, other)[1], deep)
  few = np.zeros_like(more)
  few[..., :2] = more[..., :2]
  np.testing.assert_array_equal(run(params, x, few)[1], run(params, x, more[..., :2])[1])
  assert np.abs(run(params, x, few)[1] - deep).max() > 1e-3
