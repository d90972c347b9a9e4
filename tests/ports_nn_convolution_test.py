"""The written-out derivative of a convolution against JAX's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ports.nn import convolution


@pytest.mark.slow
@pytest.mark.parametrize('size', [1, 3, 5])
@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('height, width', [(8, 9), (7, 12)])
def test_value_and_derivatives(size, stride, height, width):
  rng = np.random.default_rng(size)
  x = jnp.asarray(rng.normal(size=(2, height, width, 3)), jnp.float32)
  kernel = jnp.asarray(rng.normal(size=(size, size, 3, 4)), jnp.float32)

  def derivatives(convolve):
    value, back = jax.vjp(lambda x, kernel: convolve(x, kernel, stride), x, kernel)
    change = np.random.default_rng(9).normal(size=value.shape).astype(np.float32)
    return value, *back(jnp.asarray(change))

  found = derivatives(convolution.convolve)
  for a, b in zip(found, derivatives(convolution._plain), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-4)
  assert found[0].shape == (2, -(-height // stride), -(-width // stride), 4)
