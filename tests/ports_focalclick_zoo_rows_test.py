"""FocalClick's rows: every published size, scale and training set."""

import math

import focalclick_golden
import numpy as np
import pytest

from ports.clicks.cascade import CASCADES
from ports.clicks.maps import DISKS
from ports.focalclick import network, segmenter, zoo_rows


def test_every_published_checkpoint_has_a_row():
  found = {name: model.original.file for name, model in zoo_rows.MODELS.items()}
  assert found == {
    'focalclick_hrnet18s_s1_cl': 'hrnet18s_S1_cclvs.pth',
    'focalclick_hrnet18s_s2_cl': 'hrnet18s_S2_cclvs.pth',
    'focalclick_hrnet32_s2_cl': 'hrnet32_S2_cclvs.pth',
    'focalclick_hrnet32_s2_comb': 'hrnet32_S2_comb.pth',
    'focalclick_segformer_b0_s1_cl': 'segformerB0_S1_cclvs.pth',
    'focalclick_segformer_b0_s2_cl': 'segformerB0_S2_cclvs.pth',
    'focalclick_segformer_b3_s2_cl': 'segformerB3_S2_cclvs.pth',
    'focalclick_segformer_b3_s2_comb': 'segformerB3_S2_comb.pth',
  }


@pytest.mark.parametrize('name', sorted(zoo_rows.MODELS))
def test_a_row_is_of_its_network(name):
  model = zoo_rows.MODELS[name]
  size = model.settings['size']
  assert model.settings == {'name': name, 'size': size}
  shapes = network.shapes(network.VARIANTS[size])
  assert sum(math.prod(shape) for shape in shapes.values()) == model.num_parameters
  assert model.build == 'ports.focalclick.segmenter:focalclick' and not model.packages
  assert 0.9 < 4 * model.num_parameters / model.original.size < 1.1
  assert model.options == {
    'disks': DISKS, 'merge': segmenter.MERGES, 'cascade': tuple(CASCADES),
  }


def test_a_row_converts_its_own_size():
  model = zoo_rows.MODELS['focalclick_segformer_b0_s1_cl']
  tree = model.convert({model.original.file: focalclick_golden.state('segformer_b0_s1')})
  for name, array in focalclick_golden.params('segformer_b0_s1').items():
    np.testing.assert_array_equal(tree[name], array)
