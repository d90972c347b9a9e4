"""Users in rows of an attack: what must be there, and what of the pooled clicks cannot be."""

import pytest
from runs_schema_test import CROWD, ROWS

from tetris_jax.runs import schema


def test_users_beside_an_attack_may_be_absent():
  row = ROWS['attack'] | {'users': CROWD}
  schema.check_row(row, 'attack')
  with pytest.raises(schema.RowError, match='users is None'):
    schema.check_row(row | {'users': None}, 'attack')
  for key in CROWD:
    with pytest.raises(schema.RowError, match=f'users.{key} is missing'):
      left = {k: v for k, v in CROWD.items() if k != key}
      schema.check_row(row | {'users': left}, 'attack')


def test_pooled_clicks_have_a_mass_each():
  row = ROWS['attack']
  pooled = lambda iou, mass: row | {'users': CROWD | {'pooled': {'iou': iou, 'mass': mass}}}
  schema.check_row(pooled([0.3, 1.0], [0.25, 0.75]), 'attack')
  for wrong, said in (
    (pooled([0.3], [0.25, 0.75]), 'users.pooled.mass has 2 entries, users.pooled.iou 1'),
    (pooled([0.3, 1.0], [0.25, 0.5]), 'users.pooled.mass adds up to 0.75, expected 1'),
    (pooled([], []), 'users.pooled.iou is empty'),
  ):
    with pytest.raises(schema.RowError, match=said):
      schema.check_row(wrong, 'attack')
