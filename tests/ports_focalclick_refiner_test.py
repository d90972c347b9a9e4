"""The refiner keeps what its trimap does not claim, and writes what it does."""

import focalclick_golden
import jax
import numpy as np
import pytest

from ports.focalclick import refiner

CHANNELS = 256


@pytest.mark.slow
def test_the_trimap_says_whose_logits_count():
  random = np.random.default_rng(0)
  image, clicks, features, logits = (
    random.standard_normal(shape, dtype=np.float32)
    for shape in ((1, 32, 48, 3), (1, 32, 48, 2), (1, 8, 12, CHANNELS), (1, 32, 48))
  )
  params = {
    name: array
    for name, array in focalclick_golden.params('segformer_b0_s2').items()
    if name.startswith('refiner/')
  }
  assert {name: array.shape for name, array in params.items()} == refiner.shapes(CHANNELS)
  run = jax.jit(refiner.apply)
  found, trimap = run(params, image, clicks, features, logits)
  kernel, bias = 'refiner/refine_trimap/kernel', 'refiner/refine_trimap/bias'
  fixed = lambda value: params | {kernel: 0 * params[kernel], bias: params[bias] * 0 + value}
  kept, _ = run(fixed(-80.0), image, clicks, features, logits)
  np.testing.assert_array_equal(kept, logits)
  written, _ = run(fixed(80.0), image, clicks, features, logits)
  share = 1 / (1 + np.exp(-np.asarray(trimap, np.float64)))
  np.testing.assert_allclose(found, written * share + logits * (1 - share), atol=1e-5)
  assert np.abs(written - logits).max() > 0.1
