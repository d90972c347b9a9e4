"""SimpleClick's rows: every published size and training set, with the options that it has."""

import json
import pathlib
import re

import golden_weights
import numpy as np
import pytest

from ports.clicks.cascade import CASCADES
from ports.clicks.maps import DISKS
from ports.simpleclick import network, segmenter, weights, zoo_rows
from ports.weights import loading
from ports.weights.errors import CheckpointError

GOLDEN = pathlib.Path(__file__).parent / 'golden'


def test_every_published_checkpoint_has_a_row():
  found = {name: model.original.file for name, model in zoo_rows.MODELS.items()}
  assert found == {
    'simpleclick_vit_xt_sbd': 'sbd_vit_xtiny.pth',
    'simpleclick_vit_b_sbd': 'sbd_vit_base.pth',
    'simpleclick_vit_b_cl': 'cocolvis_vit_base.pth',
    'simpleclick_vit_l_sbd': 'sbd_vit_large.pth',
    'simpleclick_vit_l_cl': 'cocolvis_vit_large.pth',
    'simpleclick_vit_h_sbd': 'sbd_vit_huge.pth',
    'simpleclick_vit_h_cl': 'cocolvis_vit_huge.pth',
  }


@pytest.mark.slow
@pytest.mark.parametrize('name', sorted(zoo_rows.MODELS))
def test_a_row_is_of_its_network(name, tmp_path, monkeypatch):
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path))
  model = zoo_rows.MODELS[name]
  size = model.settings['size']
  assert model.settings == {'name': name, 'size': size} and f'_{size}_' in name
  shapes = network.shapes(network.CONFIGS[size])
  assert sum(int(np.prod(shape)) for shape in shapes.values()) == model.num_parameters
  assert model.build == 'ports.simpleclick.segmenter:simpleclick' and not model.packages
  assert model.options == {
    'zoom': tuple(segmenter.ZOOMS), 'disks': DISKS, 'cascade': tuple(CASCADES),
  }
  with pytest.raises(CheckpointError, match=re.escape('github.com/uncbiag/SimpleClick')):
    loading.load(name, model)


def test_a_row_converts_its_own_size_alone():
  listing = json.loads((GOLDEN / 'simpleclick_vit_xt.json').read_text())
  state = golden_weights.golden_state_dict(listing)
  model = zoo_rows.MODELS['simpleclick_vit_xt_sbd']
  tree = model.convert({model.original.file: state})
  wanted = weights.tree(state)
  assert set(tree) == set(wanted)
  for name in wanted:
    np.testing.assert_array_equal(tree[name], wanted[name])
  other = zoo_rows.MODELS['simpleclick_vit_b_cl']
  with pytest.raises(CheckpointError, match='does not fit the network'):
    other.convert({other.original.file: state})
