"""AdaptiveClick's rows: both released training sets, with the options that they are built with."""

import math

import pytest

from ports.adaptiveclick import network, segmenter, zoo_rows
from ports.clicks.maps import DISKS


@pytest.mark.parametrize('name', sorted(zoo_rows.MODELS))
def test_a_row_is_of_its_network(name):
  model = zoo_rows.MODELS[name]
  assert model.settings == {'name': name, 'size': 'vit_b'}
  shapes = network.shapes(network.CONFIGS['vit_b'])
  assert sum(math.prod(shape) for shape in shapes.values()) == model.num_parameters
  assert 0.9 < 4 * model.num_parameters / model.original.size < 1.1
  assert model.options == {'zoom': tuple(segmenter.ZOOMS), 'disks': DISKS}


def test_both_training_sets_have_a_row():
  assert sorted(zoo_rows.MODELS) == ['adaptiveclick_vit_b_cl', 'adaptiveclick_vit_b_sbd']
