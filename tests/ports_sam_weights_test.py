"""Tests of the name mapping of SAM's checkpoints, on made-up weights in the published layouts."""

import dataclasses

import numpy as np
import pytest
import sam_golden

from ports.sam import tiny_vit, vit, weights
from ports.weights.errors import Misfit


@pytest.fixture(scope='module')
def state():
  return sam_golden.state('mobilesam_vit_t')


def exported(state):
  """What the ONNX reader returns for the encoder of `state`: batch norms folded in float64."""
  found = {}
  for name, array in state.items():
    path = name.removeprefix('image_encoder.')
    if not name.startswith('image_encoder.') or path.startswith(('head.', 'norm_head.')):
      continue
    if path.endswith('.c.weight'):
      norm = name.removesuffix('c.weight') + 'bn.'
      gain = state[norm + 'weight'] / np.sqrt(state[norm + 'running_var'].astype(float) + 1e-5)
      found[path] = (array * gain[:, None, None, None]).astype(np.float32)
      shift = state[norm + 'bias'] - state[norm + 'running_mean'] * gain
      found[path.removesuffix('weight') + 'bias'] = shift.astype(np.float32)
    elif path.endswith('.attention_biases'):
      window = round(array.shape[1] ** 0.5)
      points = [(y, x) for y in range(window) for x in range(window)]
      bias = [
        [array[:, abs(a[0] - b[0]) * window + abs(a[1] - b[1])] for b in points] for a in points
      ]
      found[path.removesuffix('attention_biases') + 'bias'] = np.transpose(bias, (2, 0, 1))
    elif '.bn.' not in path:
      found[path] = array
  return found


def test_both_sources_give_the_same_tree(state):
  whole = weights.mobile_sam_tree(state)
  assert {n: a.shape for n, a in whole.items()} == tiny_vit.shapes() | weights.decoder_shapes()
  parts = weights.onnx_encoder_tree(exported(state)) | weights.decoder_tree(state)
  assert set(parts) == set(whole)
  for name, array in whole.items():
    np.testing.assert_allclose(parts[name], array, rtol=1e-6, atol=1e-7, err_msg=name)


def test_packaged_decoders_are_known_by_their_own_names(state):
  renamed = {
    name.replace('prompt_encoder.', 'PromtEncoder.').replace('mask_decoder.', 'MaskDecoder.'): array
    for name, array in state.items()
    if not name.startswith('image_encoder.')
  }
  tree, packaged = weights.decoder_tree(state), weights.decoder_tree(renamed)
  assert set(tree) == set(packaged) == set(weights.decoder_shapes())
  for name in tree:
    np.testing.assert_array_equal(tree[name], packaged[name])


def test_layouts_of_the_decoder(state):
  tree = weights.decoder_tree(state)
  linear = state['mask_decoder.transformer.layers.0.mlp.lin1.weight']
  np.testing.assert_array_equal(tree['mask_decoder/transformer/layers/0/mlp/lin1/kernel'], linear.T)
  up = state['mask_decoder.output_upscaling.0.weight']
  kernel = tree['mask_decoder/output_upscaling/0/kernel']
  assert up.shape == (256, 64, 2, 2) and kernel.shape == (2, 2, 64, 256)
  assert kernel[1, 0, 5, 9] == up[9, 5, 1, 0]
  gaussian = state['prompt_encoder.pe_layer.positional_encoding_gaussian_matrix']
  np.testing.assert_array_equal(tree['prompt_encoder/pe_layer/gaussian_matrix'], gaussian)


def test_missing_unknown_and_misshapen_entries_are_listed_together(state):
  broken = dict(state)
  del broken['mask_decoder.iou_token.weight']
  del broken['image_encoder.layers.0.blocks.0.conv1.bn.running_var']
  broken['image_encoder.neck.0.weight'] = np.zeros((256, 320, 3, 3), np.float32)
  broken['image_encoder.layers.1.blocks.0.attn.attention_biases'] = np.zeros((4, 48), np.float32)
  broken['image_encoder.layers.4.weight'] = np.zeros(1, np.float32)
  with pytest.raises(Misfit) as error:
    weights.mobile_sam_tree(broken)
  text = str(error.value)
  assert '5 faults' in text
  for part in (
    'missing: mask_decoder.iou_token.weight',
    'missing: image_encoder.layers.0.blocks.0.conv1.bn.running_var',
    'misshapen: image_encoder.neck.0.weight gives (3, 3, 320, 256)',
    'attn.attention_biases: (heads, window**2) was expected, found shape (4, 48)',
    'unknown: image_encoder.layers.4.weight',
  ):
    assert part in text


def test_a_checkpoint_of_another_model_is_refused(state):
  with pytest.raises(Misfit, match='faults'):
    weights.mobile_sam_tree({n: a for n, a in state.items() if not n.startswith('image_enc')})


COUNTS = {
  'sam_vit_b': 93_735_728, 'sam_vit_l': 312_343_088, 'sam_vit_h': 641_090_864,
  'samhq_vit_b': 94_806_832, 'samhq_vit_l': 313_676_336, 'samhq_vit_h': 642_686_256,
}


@pytest.mark.parametrize('variant', COUNTS)
@pytest.mark.slow
def test_every_entry_of_a_published_size_has_its_leaf(variant):
  """Each key of the reference used once, each leaf written, shapes equal; no numbers are made."""
  listing, config = sam_golden.listing(variant), sam_golden.config(variant)
  # Zeros that take no memory: one number, repeated by strides.
  state = {
    name: np.broadcast_to(np.zeros((), np.float32), shape) for name, shape, _ in listing
  }
  hq = variant.startswith('samhq')
  plan, unused = weights._sam_plan(state, config, config.width if hq else 0)
  assert unused == ()
  assert sorted(source for move in plan for source in move.sources) == sorted(state)
  shapes = vit.shapes(config) | weights.decoder_shapes(config.width if hq else 0)
  assert sorted(target for move in plan for target in move.targets) == sorted(shapes)
  for move in plan:
    made = move.make(*(state[source] for source in move.sources))
    assert [array.shape for array in made] == [shapes[target] for target in move.targets]
  assert sum(int(np.prod(shape)) for shape in shapes.values()) == COUNTS[variant]


@pytest.mark.parametrize('variant', ['sam_reduced', 'samhq_reduced', 'samhq_vit_tiny'])
def test_trees_of_the_family(variant):
  hq, tree = variant.startswith('samhq'), sam_golden.params(variant)
  if variant == 'samhq_vit_tiny':
    shapes = tiny_vit.shapes() | weights.decoder_shapes(tiny_vit.EARLY)
    assert sum(array.size for array in tree.values()) == 11_464_748
  else:
    shapes = vit.shapes(sam_golden.REDUCED) | weights.decoder_shapes(96 if hq else 0)
  assert {name: array.shape for name, array in tree.items()} == shapes
  state = sam_golden.state(variant)
  if variant != 'samhq_vit_tiny':
    np.testing.assert_array_equal(tree['image_encoder/pos_embed'], state['image_encoder.pos_embed'])
    table = 'image_encoder.blocks.1.attn.rel_pos_h'
    np.testing.assert_array_equal(tree[table.replace('.', '/')], state[table])
  if hq:
    np.testing.assert_array_equal(
      tree['mask_decoder/hf_token/embedding'], state['mask_decoder.hf_token.weight']
    )


def test_windows_of_another_size_are_another_configuration():
  state = sam_golden.state('sam_reduced_w5')
  five = dataclasses.replace(sam_golden.REDUCED, window=5)
  tree = weights.sam_tree(state, five)
  assert tree['image_encoder/blocks/0/attn/rel_pos_h'].shape == (9, 32)
  with pytest.raises(Misfit) as error:
    weights.sam_tree(state, sam_golden.REDUCED)
  assert all('gives (9, 32) for image_encoder/blocks/' in fault for fault in error.value.faults)


def test_sam_and_sam_hq_are_told_apart():
  with pytest.raises(Misfit) as error:
    weights.sam_tree(sam_golden.state('sam_reduced'), sam_golden.REDUCED, hq=True)
  assert 'missing: mask_decoder.hf_token.weight' in error.value.faults
  with pytest.raises(Misfit) as error:
    weights.sam_tree(sam_golden.state('samhq_reduced'), sam_golden.REDUCED)
  assert 'unknown: mask_decoder.hf_token.weight of shape (1, 256)' in error.value.faults
