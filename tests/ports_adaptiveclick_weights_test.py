"""Tests of AdaptiveClick's name mapping: every entry of every size, and faults by name."""

import re

import adaptiveclick_golden
import numpy as np
import pytest

from ports.adaptiveclick import network, weights
from ports.weights.errors import CheckpointError


@pytest.mark.slow
@pytest.mark.parametrize('size', ['reduced', 'vit_b', 'vit_h'])
def test_every_entry_is_used_or_known_not_to_be_needed_and_every_leaf_written(size):
  # one value each, so that the largest size needs no memory
  listing = adaptiveclick_golden.listing(size)
  state = {name: np.broadcast_to(np.float32(1), shape) for name, shape, _ in listing}
  config = adaptiveclick_golden.CONFIGS[size]
  plan, shapes = weights._plan(config), network.shapes(config)
  used = [source for move in plan for source in move.sources]
  left = [name for name in state if name not in used]
  assert len(used) == len(set(used)) and set(used) <= set(state)
  # two names of four arrays each, one of a loss, five of the ViT's
  assert len(left) == 14
  assert all(any(re.fullmatch(pattern, name) for pattern in weights._SKIP) for name in left)
  assert sorted(t for move in plan for t in move.targets) == sorted(shapes)
  for move in plan:
    made = move.make(*(state[source] for source in move.sources))
    assert [a.shape for a in made] == [shapes[target] for target in move.targets]


def test_layouts_and_faults():
  state, tree = adaptiveclick_golden.state('reduced'), adaptiveclick_golden.params('reduced')
  layer = 'click_aware_decoder.transformer_cross_attention_layers.3'
  fused = state[f'{layer}.multihead_attn.in_proj_weight']
  np.testing.assert_array_equal(
    tree['click_aware_decoder/layers/3/cross/in_proj/kernel'], fused.T
  )
  np.testing.assert_array_equal(
    tree['pixel_decoder/lateral/norm/scale'], state['pixel_decoder.lateral_convs.0.1.weight']
  )
  broken = dict(state) | {'more.weight': np.zeros(2, np.float32)}
  del broken['pixel_decoder.neck.down_8.0.bias']
  with pytest.raises(CheckpointError) as error:
    weights.tree(broken, adaptiveclick_golden.REDUCED)
  for part in ('2 faults', 'missing: pixel_decoder.neck.down_8.0.bias', 'unknown: more.weight'):
    assert part in str(error.value)
