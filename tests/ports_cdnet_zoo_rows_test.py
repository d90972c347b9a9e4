"""CDNet's rows: every published training set, with the options that it is built with."""

import math

import pytest

from ports.cdnet import network, segmenter, zoo_rows
from ports.clicks.maps import DISKS


def test_every_published_checkpoint_has_a_row():
  found = {name: model.original.file for name, model in zoo_rows.MODELS.items()}
  assert found == {
    'cdnet_resnet34_cl': 'cclvs_last_checkpoint.pth',
    'cdnet_resnet34_sbd': 'sbd_last_checkpoint.pth',
  }


@pytest.mark.parametrize('name', sorted(zoo_rows.MODELS))
def test_a_row_is_of_its_network(name):
  model = zoo_rows.MODELS[name]
  assert model.settings == {'name': name, 'size': 'resnet34'}
  shapes = network.shapes(network.CONFIGS['resnet34'])
  assert sum(math.prod(shape) for shape in shapes.values()) == model.num_parameters
  assert 0.9 < 4 * model.num_parameters / model.original.size < 1.1
  assert model.options == {'zoom': tuple(segmenter.ZOOMS), 'disks': DISKS}
