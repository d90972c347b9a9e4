"""CFR-ICL's row: SimpleClick's ViT-H, every entry of it, in a cascade."""

import json
import math
import pathlib

from ports.cfr import zoo_rows
from ports.clicks.cascade import CASCADES
from ports.clicks.maps import DISKS
from ports.simpleclick import network, segmenter, weights

GOLDEN = pathlib.Path(__file__).parent / 'golden'


def test_the_published_checkpoint_has_a_row():
  ((name, model),) = zoo_rows.MODELS.items()
  assert name == 'cfr_vit_h_cl' and model.settings == {'name': name, 'size': 'vit_h'}
  shapes = network.shapes(network.CONFIGS['vit_h'])
  assert sum(math.prod(shape) for shape in shapes.values()) == model.num_parameters
  assert model.original.licence == 'CC-BY-NC-4.0'
  assert {name: set(values) for name, values in model.options.items()} == {
    'zoom': set(segmenter.ZOOMS), 'disks': set(DISKS), 'cascade': set(CASCADES),
  }
  assert model.options['cascade'][0] == 'acf4'


def test_its_entries_are_those_of_the_plan():
  listing = json.loads((GOLDEN / 'simpleclick_vit_h.json').read_text())
  config = network.CONFIGS['vit_h']
  read = {source for move in weights._plan(config) for source in move.sources}
  assert read | set(weights.unused(config)) == {name for name, _, _ in listing}
