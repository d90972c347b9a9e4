"""CFR-ICL by name: a cascade unless it is told otherwise."""

import pytest

from ports.cfr.segmenter import cfr
from tetris_jax.types import ModelInfo


def test_names_say_the_evaluation_and_unknown_ones_are_refused():
  make = lambda **changes: cfr({}, {'a.pth': 'sum'}, **({'name': 'x', 'size': 'vit_xt'} | changes))
  assert make().info == ModelInfo('x', 0.49, 'frame', {'a.pth': 'sum'})
  assert make(cascade='cf4').info.name == 'x_cf4'
  assert make(cascade='none', zoom='fixed_672').info.name == 'x_fixed_672_none'
  # Without a cascade it is SimpleClick's evaluation, whose encoder is the image itself.
  assert make(cascade='none').encode is not make().encode
  for changes in ({'size': 'b9'}, {'zoom': 'no'}, {'disks': 'no'}, {'cascade': 'no'}):
    with pytest.raises(ValueError, match=next(iter(changes))):
      make(**changes)
