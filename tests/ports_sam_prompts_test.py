"""SAM's prompt encoder: parity with PyTorch's numbers, and its formulas."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
import sam_golden

from ports.sam import segmenter, weights

GRID, SIDE = 16, 256


@pytest.fixture(scope='module')
def encoder():
  return segmenter.prompted(
    weights.decoder_tree(sam_golden.state('sam_reduced'))
  ).prompt_encoder


@pytest.fixture(scope='module')
def golden():
  return sam_golden.golden('sam_prompt_decoder_16x16')


def thinned(x):
  return np.asarray(x).reshape(GRID, GRID, 256).transpose(2, 0, 1)[::4]


def test_clicks_and_the_padding_point_equal_the_goldens(golden, encoder):
  for index, row in ((0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (6, 0), (6, 1)):
    coords = jnp.asarray(golden[f'in/{index}/coords'][row])
    labels = jnp.asarray(golden[f'in/{index}/labels'][row], jnp.int32)
    tokens, use = encoder.encode_clicks(coords, labels, SIDE)
    assert sam_golden.largest(tokens, golden[f'{index}/sparse'][row]) < 1e-6
    assert use.all() and use.shape == (len(coords) + 1,)


def test_the_grid_equals_the_goldens_and_a_click_at_its_centre(golden, encoder):
  position = encoder.grid_position(GRID)
  assert sam_golden.largest(thinned(position), golden['dense_pe'][0]) < 1e-6
  # The centre of cell (2, 5) in pixels of the frame, of which the first centre is 0.
  cell = SIDE // GRID
  centre = jnp.array([[5 * cell + cell / 2 - 0.5, 2 * cell + cell / 2 - 0.5]])
  for label in (1, 0):
    tokens, _ = encoder.encode_clicks(centre, jnp.array([label]), SIDE)
    kind = encoder.point_embeddings[label].embedding[...]
    np.testing.assert_allclose(tokens[:1] - kind, position[None, 2 * GRID + 5], atol=1e-5)


def test_a_position_is_its_formula(encoder):
  unit = np.array([[0.0, 0.0], [0.5, 0.25], [1.0, 0.7]])
  matrix = np.asarray(encoder.pe_layer['gaussian_matrix'][...], np.float64)
  angle = 2 * math.pi * (2 * unit - 1) @ matrix
  found = encoder.encode_position(jnp.asarray(unit, jnp.float32))
  wanted = np.concatenate([np.sin(angle), np.cos(angle)], -1)
  np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_an_empty_slot_is_said_not_to_exist(encoder):
  coords = jnp.array([[3.0, 4.0], [9.0, 9.0], [7.0, 7.0]])
  tokens, use = encoder.encode_clicks(coords, jnp.array([1, -1, 0]), SIDE)
  assert use.tolist() == [True, False, True, True]
  np.testing.assert_array_equal(tokens[-1:], encoder.not_a_point_embed.embedding[...])


def test_a_mask_equals_the_goldens(golden, encoder):
  for index, row in ((3, 0), (4, 0), (6, 0), (6, 1)):
    if f'in/{index}/mask_input' in golden:
      dense = encoder.encode_mask(jnp.asarray(golden[f'in/{index}/mask_input'][row, 0]))
    else:
      dense = jnp.broadcast_to(encoder.no_mask_embed.embedding[...], (GRID * GRID, 256))
    assert sam_golden.largest(thinned(dense), golden[f'{index}/dense_every4'][row]) < 1e-5
