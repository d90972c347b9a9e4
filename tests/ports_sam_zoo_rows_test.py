"""MobileSAM's row: its files, where they lie, and how they become the tree."""

import json
import pathlib

import golden_weights
import numpy as np
import pytest

from ports.sam import tiny_vit, weights, zoo_rows
from ports.weights.errors import Misfit

MODEL = zoo_rows.MODELS['mobile_sam']


def test_the_row_is_of_the_network():
  assert list(zoo_rows.MODELS) == ['mobile_sam']
  shapes = tiny_vit.shapes() | weights.decoder_shapes()
  assert sum(int(np.prod(shape)) for shape in shapes.values()) == MODEL.num_parameters
  assert MODEL.build == 'ports.sam.segmenter:mobile_sam'
  assert not MODEL.options and not MODEL.settings


def test_packages_are_pinned_and_free():
  assert [p.client for p in MODEL.packages] == ['npm', 'pip']
  for package in MODEL.packages:
    name, version = package.pin.replace('==', '@').split('@')
    assert version in package.archive and name.replace('-', '_') in package.archive
    assert package.member.endswith('/' + package.file)
  assert [p.licence for p in (*MODEL.packages, MODEL.original)] == [
    'MIT', 'BSD-3-Clause', 'Apache-2.0'
  ]
  # a commit, so that what lies at the address stays what it is
  assert 'f706ad9c4eb7f219c00d9050e46328518ffb65d2' in MODEL.original.url


def test_the_published_checkpoint_and_the_packages_are_told_apart():
  listing = pathlib.Path(__file__).parent / 'golden' / 'mobilesam_vit_t.json'
  state = golden_weights.golden_state_dict(json.loads(listing.read_text()))
  tree = MODEL.convert({'mobile_sam.pt': state})
  wanted = weights.mobile_sam_tree(state)
  assert set(tree) == set(wanted)
  for name in wanted:
    np.testing.assert_array_equal(tree[name], wanted[name])
  decoder = {n: a for n, a in state.items() if not n.startswith('image_encoder.')}
  with pytest.raises(Misfit) as error:
    MODEL.convert({'encoder.onnx': {}, 'Prompt_guided_Mask_Decoder.pt': decoder})
  assert 'missing: patch_embed.seq.0.c.weight' in error.value.faults
