"""DeepLab's layers against the formulas; whole networks are compared by the families' goldens."""

import deeplab_golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from ports.nn import deeplab, resnet, trees


def test_colours_are_normalised_by_channel():
  image = np.full((2, 3, 3), 0.5, np.float32)
  wanted = (0.5 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
  np.testing.assert_allclose(deeplab.normalised(jnp.asarray(image))[1, 2], wanted, rtol=1e-5)


def test_stretching_aligns_corners_and_is_straight_between():
  x = np.arange(3, dtype=np.float32)[None, :, None, None] * np.ones((1, 3, 4, 1), np.float32)
  found = np.asarray(deeplab.stretch(jnp.asarray(x), 5, 7))
  np.testing.assert_allclose(found[0, :, 3, 0], [0, 0.5, 1, 1.5, 2], atol=1e-6)


@pytest.mark.slow
def test_separable_convolutions_have_no_norm_between():
  module = trees.define(lambda rngs: deeplab.Separable(2, 3, rngs))
  params = deeplab_golden.toy_params(dict(module.shapes))
  x = np.random.default_rng(0).standard_normal((1, 5, 6, 2), np.float32)
  found = trees.bind(module, params)(x)
  kernel = params['depthwise/kernel']
  between = np.stack([
    signal.correlate2d(x[0, ..., i], kernel[:, :, 0, i], 'same') + params['depthwise/bias'][i]
    for i in range(2)
  ], -1)
  wanted = np.maximum(between @ params['pointwise/kernel'][0, 0] + params['pointwise/bias'], 0)
  np.testing.assert_allclose(found[0], wanted, atol=1e-5)


@pytest.mark.slow
def test_the_pyramid_is_its_branches_and_the_mean_of_the_image():
  module = trees.define(lambda rngs: deeplab.Aspp(2, 3, rngs))
  params = deeplab_golden.toy_params(dict(module.shapes))
  x = np.random.default_rng(0).standard_normal((1, 30, 28, 2), np.float32)
  found = jax.jit(lambda params, x: trees.bind(module, params)(x))(params, x)
  parts = []
  for i, rate in enumerate((1, 12, 24, 36)):
    kernel = params[f'branches/{i}/kernel']
    wide = np.zeros((rate * (len(kernel) - 1) + 1,) * 2 + (2, 3), np.float32)
    wide[::rate, ::rate] = kernel
    # a kernel larger than the picture is what "same" must not shrink
    around = np.pad(x[0], [(len(wide) // 2,) * 2] * 2 + [(0, 0)])
    parts.append(np.stack([
      sum(signal.correlate2d(around[..., a], wide[:, :, a, b], 'valid') for a in range(2))
      + params[f'branches/{i}/bias'][b]
      for b in range(3)
    ], -1))
  mean = x.mean((0, 1, 2)) @ params['pool/kernel'][0, 0] + params['pool/bias']
  joined = np.concatenate([*parts, np.broadcast_to(mean, parts[0].shape)], -1)
  wanted = np.maximum(joined, 0) @ params['project/kernel'][0, 0] + params['project/bias']
  np.testing.assert_allclose(found[0], np.maximum(wanted, 0), atol=1e-5)


@pytest.mark.slow
def test_the_decoder_works_at_the_finer_resolution():
  config = resnet.Config((1, 1, 1, 1), False, 4)
  module = trees.define(lambda rngs: deeplab.Decoder(config, 6, 5, rngs))
  assert module.shapes['head/steps/0/depthwise/kernel'] == (3, 3, 1, 6 + 32)
  params = deeplab_golden.toy_params(dict(module.shapes))
  deep, fine = np.ones((1, 3, 4, 6), np.float32), np.ones((1, 6, 7, 4), np.float32)
  assert trees.bind(module, params)(deep, fine).shape == (1, 6, 7, 5)
