"""What evaluations of click-map networks share: squares, and what is told of a model."""

import numpy as np
import pytest

from ports.clicks import evaluation
from tetris_jax.types import ModelInfo

ZOOMS = {'fixed': evaluation.square(48), 'fixed_64': evaluation.square(64, anew=True)}


def test_squares_are_fixed_and_may_be_chosen_anew():
  kept, anew = ZOOMS.values()
  assert kept.is_fixed and kept.canvas == (48, 48) and kept.keep_iou < 1
  assert anew.is_fixed and anew.canvas == (64, 64) and anew.keep_iou > 1


def test_the_published_zoom_is_not_in_the_name():
  sums = {'a.pth': 'sum'}
  assert evaluation.told('x', sums, 'fixed', ZOOMS) == ModelInfo('x', 0.49, 'frame', sums)
  told = evaluation.told('x', sums, 'fixed_64', ZOOMS, threshold=0.5)
  assert told == ModelInfo('x_fixed_64', 0.5, 'frame', sums)
  with pytest.raises(ValueError, match="zoom is 'exact'; known: fixed, fixed_64"):
    evaluation.told('x', {}, 'exact', ZOOMS)


def test_another_size_is_refused():
  assert evaluation.only_squares('Blob', None) is None
  with pytest.raises(ValueError, match='Blob sees squares of one size'):
    evaluation.only_squares('Blob', np.array([3, 4]))
