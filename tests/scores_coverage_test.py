"""The share of a range that was found: by hand, and where there is none."""

import numpy as np

from tetris_jax.scores import coverage

NAN = np.nan


def test_the_share_is_of_the_range_of_known_positions():
  iou = np.array([[0.2, 0.8, NAN], [0.1, 0.4, 0.6]])
  share = coverage.share_of_range([0.5, 0.1], [0.65, 0.7], iou)
  # A search may step between the lattice's pixels and find more than there.
  np.testing.assert_allclose(share, [0.15 / 0.6, 0.6 / 0.5])


def test_hardly_a_range_has_no_share():
  iou = np.array([[0.5, 0.5 + 0.9 * coverage.LEAST_RANGE], [NAN, NAN], [0.0, 1.0]])
  share = coverage.share_of_range([0.5] * 3, [0.5] * 3, iou)
  np.testing.assert_array_equal(share, [NAN, NAN, 0.0])
  narrow = coverage.share_of_range([0.5], [0.509], iou[:1], least=0.01)
  np.testing.assert_allclose(narrow, [0.5])
