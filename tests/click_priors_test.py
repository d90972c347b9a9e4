"""Traced click priors: what they weigh, and names."""

import jax.numpy as jnp
import numpy as np
import pytest

from tetris_jax import click_priors
from tetris_jax.scores import priors


def view(**changes):
  region = np.zeros((12, 9), bool)
  region[2:10, 1:8] = True
  distance = np.where(region, np.random.default_rng(0).random(region.shape), 0)
  given = {
    'image': jnp.zeros((12, 9, 3)), 'region': jnp.asarray(region), 'map': None,
    'distance': jnp.asarray(distance, jnp.float32), 'robot': jnp.array([5.0, 4.0]),
    'size': jnp.array([12, 9]),
  }  # fmt: skip
  return click_priors.View(**given | changes)


@pytest.mark.parametrize('name', ['uniform', 'distance', 'gaussian_0.1'])
def test_priors_weigh_as_those_of_evaluated_positions(name):
  seen = view()
  yx = np.argwhere(np.asarray(seen.region))
  found = np.broadcast_to(click_priors.get(name)(seen), seen.region.shape)[yx[:, 0], yx[:, 1]]
  deep = np.asarray(seen.distance)[yx[:, 0], yx[:, 1]]
  expected = priors.weights(name, yx, deep, np.asarray(seen.robot), np.hypot(12, 9))
  np.testing.assert_allclose(found / found.sum(), expected, rtol=1e-5)


def test_a_map_is_taken_as_it_is():
  weight = jnp.arange(108.0).reshape(12, 9)
  assert (click_priors.get(click_priors.MAPS)(view(map=weight)) == weight).all()
  with pytest.raises(ValueError, match="'maps' needs click_maps"):
    click_priors.get(click_priors.MAPS)(view())


def test_names_mean_one_prior():
  mine = lambda seen: seen.distance**2
  click_priors.register('squared', mine)
  click_priors.register('squared', mine)
  assert click_priors.get('squared') is mine and 'squared' in click_priors.known()
  for name in ('squared', 'uniform', 'gaussian_mine'):
    with pytest.raises(ValueError, match='is the name of another prior'):
      click_priors.register(name, lambda seen: seen.distance)
  for name in ('best', 'gaussian', 'gaussian_x', 'gaussian_0'):
    with pytest.raises(ValueError, match=f'unknown prior {name!r}; known: distance, uniform'):
      click_priors.get(name)
