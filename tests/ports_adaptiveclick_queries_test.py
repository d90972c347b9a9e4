"""The queries' decoder: which places clicks open, and how often disks are pooled."""

import jax.numpy as jnp
import numpy as np
from flax import nnx

from ports.adaptiveclick import queries


def test_disks_are_pooled_as_often_as_the_widths_say():
  clicks = np.zeros((32, 48), np.float32)
  clicks[9, 20] = 1
  found = np.asarray(queries._opened(jnp.asarray(clicks), (8, 12)))
  # the largest of 3x3 at every second pixel, twice: what reaches pixel (8, 20) and its neighbours
  assert sorted(map(tuple, np.argwhere(found == 1).tolist())) == [(2, 5), (3, 5)]
  assert set(np.unique(found)) == {0, 1}
  # 48 / 14 is between 2 and 4: pooled once, to 16 x 24, then resized
  assert queries._opened(jnp.asarray(clicks), (9, 14)).shape == (9, 14)


def test_clicks_open_places_to_queries_of_the_objects_class_alone():
  decoder = queries.QueryDecoder(16, 3, 8, 1, 2, nnx.Rngs(0))
  decoder.class_embed.kernel[...] = jnp.zeros((16, 2)).at[0].set(jnp.array([-1.0, 1.0]))
  x = jnp.zeros((2, 16)).at[:, 0].set(jnp.array([5.0, -5.0]))
  features = np.random.default_rng(0).standard_normal((8, 12, 3), np.float32)
  clicks = jnp.zeros((4, 6)).at[1, 2].set(1.0)
  with_clicks = decoder._masks(x, jnp.asarray(features), clicks, (4, 6))
  without = decoder._masks(x, jnp.asarray(features), jnp.zeros((4, 6)), (4, 6))
  assert (with_clicks.classes[0, 1] > with_clicks.classes[0, 0]) and (
    with_clicks.classes[1, 1] < with_clicks.classes[1, 0]
  )
  assert not with_clicks.blocked[0, 1, 2]
  expected = np.array(without.blocked)
  expected[0, 1, 2] = False
  np.testing.assert_array_equal(with_clicks.blocked, expected)
  assert without.masks.shape == (2, 8, 12)
