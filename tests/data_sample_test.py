"""What a sample says of itself."""

import dataclasses

import numpy as np
import pytest

from tetris_jax.data import Rejected, Sample


def test_a_sample_has_the_size_of_its_mask():
  mask = np.zeros((7, 11), np.bool_)
  found = Sample('a', np.zeros((7, 11, 3), np.uint8), mask, mask)
  assert found.size == (7, 11)
  with pytest.raises(dataclasses.FrozenInstanceError):
    found.instance = 'b'


def test_a_rejected_instance_may_have_no_known_size():
  without = Rejected('a', 'failed', 'its header is damaged')
  assert without.size is None
  assert without == Rejected('a', 'failed', 'its header is damaged', None)
  assert without != dataclasses.replace(without, size=(7, 11))
