"""Tests of the layers against their definitions, in float64 by SciPy and NumPy."""

import jax
import numpy as np
import pytest
from flax import nnx
from scipy import signal, special

from ports.nn import layers

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


def test_patch_convolution_is_a_strided_correlation():
  conv = layers.PatchConv(2, 5, 3, nnx.Rngs(0))
  conv.bias[...] = normal(5)
  # the last row and the last two columns fill no patch
  x = normal(2, 7, 11, 2)
  kernel, bias = np.asarray(conv.kernel[...]), np.asarray(conv.bias[...])
  wanted = np.zeros((2, 2, 3, 5), np.float32) + bias
  for b, y, x0, o in np.ndindex(wanted.shape):
    patch = x[b, 3 * y : 3 * y + 3, 3 * x0 : 3 * x0 + 3]
    wanted[b, y, x0, o] += (patch * kernel[..., o]).sum()
  np.testing.assert_allclose(conv(x), wanted, atol=1e-5)


def test_up_convolution_writes_every_pixel_into_its_own_square():
  conv = layers.UpConv2x2(3, 4, nnx.Rngs(0))
  conv.bias[...] = normal(4)
  x = normal(2, 5, 3, 3)
  found = np.asarray(conv(x))
  kernel, bias = np.asarray(conv.kernel[...]), np.asarray(conv.bias[...])
  assert kernel.shape == (2, 2, 4, 3) and found.shape == (2, 10, 6, 4)
  for i in range(2):
    for j in range(2):
      np.testing.assert_allclose(found[:, i::2, j::2], x @ kernel[i, j].T + bias, atol=1e-5)


def test_image_norm_takes_one_mean_of_all_pixels_and_channels():
  layer = layers.ImageNorm(6, nnx.Rngs(0))
  scale, bias = normal(6), normal(6)
  layer.scale[...], layer.bias[...] = scale, bias
  for x in (normal(2, 8, 9, 6), 300 + normal(2, 8, 9, 6), 1e-3 * normal(2, 8, 9, 6)):
    wide = x.astype(np.float64)
    centred = wide - wide.mean((1, 2, 3), keepdims=True)
    wanted = centred / np.sqrt((centred**2).mean((1, 2, 3), keepdims=True) + 1e-5) * scale + bias
    np.testing.assert_allclose(layer(x), wanted, atol=2e-4)
