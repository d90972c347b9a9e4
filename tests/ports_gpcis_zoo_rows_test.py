"""GPCIS's row: the published checkpoint, with the options that it is built with."""

import math

from ports.clicks.maps import DISKS
from ports.gpcis import network, segmenter, zoo_rows


def test_the_row_is_of_its_network():
  ((name, model),) = zoo_rows.MODELS.items()
  assert name == 'gpcis_resnet50_sbd' and model.settings == {'name': name, 'size': 'resnet50'}
  shapes = network.shapes(network.CONFIGS['resnet50'])
  assert sum(math.prod(shape) for shape in shapes.values()) == model.num_parameters
  assert 0.9 < 4 * model.num_parameters / model.original.size < 1.1
  assert model.original.url.endswith('/' + model.original.file)
  assert model.options == {'zoom': tuple(segmenter.ZOOMS), 'disks': DISKS}
