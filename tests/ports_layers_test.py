"""Tests of the layers against their definitions, in float64 by SciPy and NumPy."""

import jax
import numpy as np
import pytest
from flax import nnx
from scipy import signal, special

from ports import layers

RNG = np.random.default_rng(0)


def normal(*shape):
  return RNG.standard_normal(shape, dtype=np.float32)


def test_gelu_is_the_exact_one():
  x = np.linspace(-9, 9, 2001, dtype=np.float32)
  wide = x.astype(np.float64)
  wanted = wide * special.ndtr(wide)
  np.testing.assert_allclose(layers.gelu(x), wanted, atol=2e-6)
  # tanh's approximation is off by 4e-4: this test tells them apart
  assert np.abs(jax.nn.gelu(x, approximate=True) - wanted).max() > 1e-4


@pytest.mark.parametrize('epsilon', [1e-5, 1e-6])
def test_layer_norm_keeps_its_digits_and_its_epsilon(epsilon):
  norm = layers.layer_norm(64, epsilon, nnx.Rngs(0))
  scale, bias = normal(64), normal(64)
  norm.scale[...], norm.bias[...] = scale, bias
  # far from zero a difference of means would lose the variance, near zero epsilon counts
  for x in (normal(5, 64), 300 + normal(5, 64), 1e-3 * normal(5, 64)):
    wide = x.astype(np.float64)
    centred = wide - wide.mean(-1, keepdims=True)
    wanted = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon) * scale + bias
    np.testing.assert_allclose(norm(x), wanted, atol=2e-4)


def test_conv1x1_is_a_matrix_product_per_pixel():
  conv = layers.Conv1x1(3, 5, nnx.Rngs(0))
  conv.bias[...] = normal(5)
  x = normal(2, 4, 6, 3)
  wanted = np.einsum('byxc,co->byxo', x, conv.kernel[0, 0]) + np.asarray(conv.bias[...])
  np.testing.assert_allclose(conv(x), wanted, atol=1e-5)


@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('size', [(8, 8), (7, 5), (1, 1)])
def test_depthwise_convolution_equals_scipy(stride, size):
  conv = layers.DepthwiseConv3x3(4, stride, nnx.Rngs(0))
  conv.bias[...] = normal(4)
  x = normal(2, *size, 4)
  kernel, bias = np.asarray(conv.kernel[...]), np.asarray(conv.bias[...])
  wanted = np.stack(
    [
      [signal.correlate2d(image[..., c], kernel[:, :, 0, c], 'same') + bias[c] for c in range(4)]
      for image in x
    ]
  )[:, :, ::stride, ::stride].transpose(0, 2, 3, 1)
  np.testing.assert_allclose(conv(x), wanted, atol=1e-5)
