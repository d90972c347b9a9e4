"""Evaluated clicks and their share of a prior: closed forms on an object of two parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tetris_jax import pooled
from tetris_jax.search.candidates import Candidates
from tetris_jax.search.spread import Answers, Tried
from tetris_jax.types import Pooled

SIDE = 16


def answers(columns, iou, mask_weight=1.0):
  """Of a search that clicked in row 8; a click is answered by its side of column 4."""
  yx = np.argwhere(np.ones((SIDE, SIDE), bool)).astype(np.float32)
  candidates = Candidates(yx, np.ones(len(yx), bool), yx / SIDE)
  clicks = np.float32([[8, column] for column in columns])
  picked = np.int32([8 * SIDE + column for column in columns])
  side = np.where(held(columns), 1, -1).astype(np.float32)
  tried = Tried(clicks, picked, np.float32(iou), side)
  return jax.tree.map(jnp.asarray, Answers(candidates, tried, np.float32(mask_weight)))


def held(columns):
  """(clicks, candidates) bool, the parts that clicks in these columns select."""
  left = np.broadcast_to(np.arange(SIDE) < 4, (SIDE, SIDE)).reshape(-1)
  return np.stack([left if column < 4 else ~left for column in columns])


def users(columns, iou):
  yx = jnp.array([[8, column] for column in columns], jnp.float32).reshape(-1, 2)
  mask = jnp.asarray(held(columns) if columns else np.zeros((0, SIDE**2), bool))
  return pooled.Clicked(yx, jnp.array(iou, jnp.float32), mask)


def uniform(share):
  """Down the columns, one after the other."""
  place = share * SIDE
  column = jnp.floor(place)
  return jnp.stack([jnp.floor((place - column) * SIDE), column], axis=-1)


def masses(answers, clicked, at_share=uniform):
  found = jax.jit(pooled.pool, static_argnums=2)(answers, clicked, at_share)
  return Pooled(*map(np.asarray, found))


def test_a_part_counts_by_its_mass_wherever_it_was_clicked():
  # The middle between the clicks lies in column 9; the masks say that an answer ends at column 4.
  found = masses(answers([3, 15], [0.2, 0.9]), users([], []))
  np.testing.assert_allclose(found.iou, [0.2, 0.9])
  np.testing.assert_allclose(found.mass, [0.25, 0.75], atol=1e-6)
  by_place = masses(answers([3, 15], [0.2, 0.9], mask_weight=0), users([], []))
  assert by_place.mass[0] > 0.5


def test_users_stand_beside_the_clicks_of_the_search():
  found = masses(answers([0, 15], [0.2, 0.9]), users([3, 4], [0.3, 0.8]))
  np.testing.assert_allclose(found.iou, [0.3, 0.8, 0.2, 0.9], rtol=1e-6)
  assert found.mass.min() > 0 and found.mass.sum() == pytest.approx(1)
  assert found.mass[[0, 2]].sum() == pytest.approx(0.25)


def test_a_click_counts_only_where_users_click():
  corner = lambda share: jnp.stack([8 + 0 * share, jnp.full(share.shape, 12.0)], axis=-1)
  found = masses(answers([1, 15], [0.2, 0.9]), users([12], [0.4]), corner)
  np.testing.assert_allclose(found.mass, [1, 0, 0], atol=1e-6)


def test_what_has_no_answer_has_no_mass():
  found = masses(answers([3, 15], [np.nan, 0.9]), users([], []))
  np.testing.assert_allclose(found.mass, [0, 1], atol=1e-6)
