"""Models made of other models: what they see and answer, in closed form."""

import jax.numpy as jnp
import numpy as np
import pytest
from crowd_test import columns_up_to_the_first_click

from ports import variants
from tetris_jax import types


def seen(longest, image, size):
  """The picture that the network under a shrunk model is given."""
  model = types.Segmenter(
    lambda params, image, size: image, lambda *args: (), lambda *args: None, {},
    types.ModelInfo('eye'),
  )  # fmt: skip
  small = variants.shrunk(model, longest)
  assert small.info.name == f'eye_{longest}'
  return np.asarray(small.encode({}, jnp.asarray(image), jnp.array(size, jnp.int32)))


def test_a_picture_loses_what_a_smaller_one_cannot_hold():
  rng = np.random.default_rng(0)
  image = np.zeros((20, 30, 3), np.float32)
  image[:16, :24] = rng.random((16, 24, 3))
  np.testing.assert_array_equal(seen(24, image, (16, 24)), image)
  found = seen(6, image, (16, 24))
  assert np.ptp(found[:16, :24]) < 0.6 * np.ptp(image)
  assert (found[16:] == 0).all() and (found[:, 24:] == 0).all()
  assert found[:16, :24].mean() == pytest.approx(image[:16, :24].mean(), abs=0.02)
  # Neither a flat picture nor padding changes.
  np.testing.assert_allclose(seen(6, np.full((16, 24, 3), 0.3, np.float32), (16, 24)), 0.3, 1e-5)
  more = np.pad(image, [(0, 5), (0, 7), (0, 0)])
  np.testing.assert_allclose(seen(6, more, (16, 24))[:20, :30], found, atol=1e-6)
  with pytest.raises(ValueError, match='longest is 0'):
    seen(0, image, (16, 24))


def test_answers_are_averaged_with_those_of_the_mirror_image():
  model = variants.mirrored(columns_up_to_the_first_click())
  assert model.info.name == 'known_mirror'
  size = jnp.array([4, 9], jnp.int32)
  features = model.encode({}, jnp.zeros((4, 12, 3)), size)
  context = model.prepare({}, features, model.init({}, features))
  clicks = types.Clicks(jnp.array([[1.0, 6.0]]), jnp.array([1], jnp.int32))
  logits, _ = model.decode({}, context, clicks)
  # Columns up to the click say yes, and in the mirror those from it on.
  inside = np.where(np.arange(9) == 6, 1.0, 0.0)
  np.testing.assert_array_equal(np.asarray(logits)[:, :9], np.broadcast_to(inside, (4, 9)))
  np.testing.assert_array_equal(model.frame({}, context, clicks, size).extent, [4, 9])
