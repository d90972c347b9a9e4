"""RITM's rows: every published size and training set, with the options that it is built with."""

import numpy as np
import pytest
import ritm_golden

from ports import zoo
from ports.clicks.cascade import CASCADES
from ports.clicks.maps import DISKS
from ports.hrnet import network
from ports.ritm import segmenter, zoo_rows
from ports.weights.errors import CheckpointError


def test_every_published_checkpoint_has_a_row():
  found = {name: model.original.file for name, model in zoo_rows.MODELS.items()}
  assert found == {
    'ritm_h18s_it_cl': 'coco_lvis_h18s_itermask.pth',
    'ritm_h18_it_cl': 'coco_lvis_h18_itermask.pth',
    'ritm_h18_cl': 'coco_lvis_h18_baseline.pth',
    'ritm_h32_it_cl': 'coco_lvis_h32_itermask.pth',
    'ritm_h18_it_sbd': 'sbd_h18_itermask.pth',
  }


@pytest.mark.parametrize('name', sorted(zoo_rows.MODELS))
def test_a_row_is_of_its_network(name):
  model = zoo_rows.MODELS[name]
  assert model.settings == {'name': name, 'size': model.settings['size']}
  shapes = network.shapes(segmenter.VARIANTS[model.settings['size']])
  assert sum(int(np.prod(shape)) for shape in shapes.values()) == model.num_parameters
  assert model.build == 'ports.ritm.segmenter:ritm' and not model.packages
  assert model.original.url.endswith('/' + model.original.file)
  assert 0.9 < 4 * model.num_parameters / model.original.size < 1.1
  assert model.options == {
    'zoom': tuple(segmenter.ZOOMS), 'disks': DISKS, 'cascade': tuple(CASCADES),
  }


def test_a_row_converts_its_own_size_alone():
  state = ritm_golden.state('h18s')
  model = zoo_rows.MODELS['ritm_h18s_it_cl']
  tree = model.convert({model.original.file: state})
  for name, array in ritm_golden.params('h18s').items():
    np.testing.assert_array_equal(tree[name], array)
  other = zoo_rows.MODELS['ritm_h18_it_cl']
  with pytest.raises(CheckpointError, match='does not fit the network'):
    other.convert({other.original.file: state})


def test_choices_that_a_model_does_not_have_are_refused():
  message = 'mobile_sam has no option "zoom"; its options: mask_choice, feedback, precision'
  with pytest.raises(ValueError, match=message):
    zoo.segmenter('mobile_sam', zoom='exact')
  with pytest.raises(ValueError, match="zoom is 'no'; known for ritm_h18s_it_cl: exact"):
    zoo.segmenter('ritm_h18s_it_cl', zoom='no')
