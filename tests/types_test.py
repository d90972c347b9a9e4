"""The boundary: what is refused, and a model as an argument of a jitted function."""

import copy
import dataclasses
import pickle

import attack_test
import jax
import numpy as np
import pytest

import tetris_jax
from tetris_jax import presets, types


def test_info_is_validated_hashable_and_cannot_be_changed():
  sums = {'a.pt': 'ab'}
  info = types.ModelInfo('m', 0.49, 'frame', sums)
  sums['b.pt'] = 'cd'
  assert dict(info.sha256) == {'a.pt': 'ab'}
  same = types.ModelInfo('m', 0.49, 'frame', {'a.pt': 'ab'})
  assert info == same and hash(info) == hash(same)
  assert info != dataclasses.replace(info, sha256={})
  assert pickle.loads(pickle.dumps(info)) == info == copy.deepcopy(info)
  with pytest.raises(TypeError):
    info.sha256['a.pt'] = 'ef'
  for settings, message in (
    ({'name': ''}, 'name is empty'),
    ({'threshold': 0.0}, 'threshold is 0.0; expected a probability'),
    ({'threshold': float('nan')}, 'threshold is nan'),
    ({'step_diagonal': 'imgae'}, "step_diagonal is 'imgae'; known: 'image', 'frame'"),
  ):
    with pytest.raises(ValueError, match=message):
      types.ModelInfo(**{'name': 'm', **settings})


def test_a_segmenter_is_an_argument_whose_parameters_are_leaves():
  model = attack_test.wall(2.0)
  assert jax.tree.leaves(model) == [model.params['shift']]
  traces = []

  @jax.jit
  def first_iou(model, batch):
    traces.append(1)
    found = tetris_jax.attack(model, batch, presets.get('baseline', num_clicks=1))
    return found.iou[0, 0, 0], found.clicks.yx[0, 0, 0, 1]

  for shift in (2.0, 5.0):
    changed = model.with_params({'shift': np.float32(shift)})
    iou, x = first_iou(changed, attack_test.batch_of())
    np.testing.assert_allclose(iou, attack_test.expected_iou(float(x), shift), rtol=1e-6)
  # Other parameters are no other program.
  assert len(traces) == 1
