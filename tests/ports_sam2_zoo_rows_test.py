"""SAM 2's rows: every published size of both versions, with the options that it has."""

import numpy as np
import pytest
import sam2_golden

from ports.sam.segmenter import FEEDBACKS, PRECISIONS
from ports.sam2 import hiera, network, segmenter, zoo_rows
from ports.weights.errors import CheckpointError


def test_every_published_checkpoint_has_a_row():
  names = [f'{version}_hiera_{size}' for version in ('sam2', 'sam2.1') for size in hiera.CONFIGS]
  assert list(zoo_rows.MODELS) == names
  for name, model in zoo_rows.MODELS.items():
    released = '092824' if name.startswith('sam2.1') else '072824'
    assert model.original.file == f'{name}.pt' and model.original.url.endswith(f'/{name}.pt')
    assert f'/segment_anything_2/{released}/' in model.original.url
    assert model.original.licence == 'Apache-2.0'


@pytest.mark.parametrize('name', sorted(zoo_rows.MODELS))
def test_a_row_is_of_its_network(name):
  model = zoo_rows.MODELS[name]
  size = model.settings['size']
  assert model.settings == {'name': name, 'size': size} and name.endswith(f'_{size}')
  shapes = network.shapes(hiera.CONFIGS[size])
  assert sum(int(np.prod(shape)) for shape in shapes.values()) == model.num_parameters
  assert model.build == 'ports.sam2.segmenter:sam2' and not model.packages
  assert model.options == {
    'mask_choice': segmenter.MASK_CHOICES, 'feedback': FEEDBACKS, 'precision': PRECISIONS
  }
  # The file holds float32 of every entry, those of videos too, and a little beside them.
  entries = sum(int(np.prod(shape)) for _, shape, _ in sam2_golden.listings()[name])
  assert 0 < model.original.size - 4 * entries < 400_000


def test_sums_are_different():
  assert len({model.original.sha256 for model in zoo_rows.MODELS.values()}) == 8


def test_a_row_converts_its_own_size_alone():
  model = zoo_rows.MODELS['sam2.1_hiera_tiny']
  state = sam2_golden.state('sam2.1_hiera_tiny')
  tree = model.convert({'sam2.1_hiera_tiny.pt': {f'model.{n}': a for n, a in state.items()}})
  wanted = sam2_golden.params('sam2.1_hiera_tiny')
  assert set(tree) == set(wanted)
  for name, array in wanted.items():
    np.testing.assert_array_equal(tree[name], array)
  with pytest.raises(CheckpointError, match='does not fit the network'):
    zoo_rows.MODELS['sam2.1_hiera_small'].convert({'sam2.1_hiera_small.pt': state})
