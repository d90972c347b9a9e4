"""The written-out derivative of a convolution against JAX's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ports.nn import convolution


@pytest.mark.slow
@pytest.mark.parametrize('size, stride, dilation', [
  (1, 1, 1), (1, 2, 1), (3, 1, 1), (3, 2, 1), (5, 1, 1), (5, 2, 1), (3, 1, 3), (3, 2, 2),
])
@pytest.mark.parametrize('height, width', [(8, 9), (7, 12)])
def test_value_and_derivatives(size, stride, dilation, height, width):
  rng = np.random.default_rng(size)
  x = jnp.asarray(rng.normal(size=(2, height, width, 3)), jnp.float32)
  kernel = jnp.asarray(rng.normal(size=(size, size, 3, 4)), jnp.float32)

  def derivatives(convolve):
    value, back = jax.vjp(lambda x, kernel: convolve(x, kernel, stride, dilation), x, kernel)
    change = np.random.default_rng(9).normal(size=value.shape).astype(np.float32)
    return value, *back(jnp.asarray(change))

  found = derivatives(convolution.convolve)
  for a, b in zip(found, derivatives(convolution._plain), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-4)
  assert found[0].shape == (2, -(-height // stride), -(-width // stride), 4)


@pytest.mark.parametrize('stride', [1, 2])
def test_a_convolution_of_one_pixel_is_a_matrix_product_of_every_stride_th(stride):
  conv = convolution.Conv(2, 3, nnx.Rngs(0), size=1, stride=stride)
  conv.bias[...] = jnp.array([1.0, 2.0, 3.0])
  x = np.random.default_rng(0).normal(size=(1, 5, 6, 2)).astype(np.float32)
  wanted = x[:, ::stride, ::stride] @ np.asarray(conv.kernel[0, 0]) + [1, 2, 3]
  np.testing.assert_allclose(conv(x), wanted, atol=1e-5)
  same = convolution.point(2, 3, nnx.Rngs(0))
  np.testing.assert_array_equal(same.kernel[...], conv.kernel[...])
