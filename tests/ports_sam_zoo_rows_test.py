"""Rows of the SAM family: their files, where they lie, and how they become the tree."""

import json
import re

import jax
import numpy as np
import pytest
import sam_golden
import torch_pickles
import toy

from experiments import attack, replay
from experiments.lib import opening
from experiments.lib.settings import UsageError
from ports.sam import kind, network, segmenter, tiny_vit, vit, weights, zoo_rows
from ports.weights import loading
from ports.weights.errors import CheckpointError, Misfit
from tetris_jax.runs import workdirs

MODEL = zoo_rows.MODELS['mobile_sam']


OPTIONS = {
  'mask_choice': network.MASK_CHOICES, 'feedback': kind.FEEDBACKS, 'precision': kind.PRECISIONS
}


def test_every_published_checkpoint_has_a_row():
  found = {name: model.original.file for name, model in zoo_rows.MODELS.items()}
  assert found == {
    'mobile_sam': 'mobile_sam.pt',
    'sam_vit_b': 'sam_vit_b_01ec64.pth',
    'sam_vit_l': 'sam_vit_l_0b3195.pth',
    'sam_vit_h': 'sam_vit_h_4b8939.pth',
    'sam_hq_vit_tiny': 'sam_hq_vit_tiny.pth',
    'sam_hq_vit_b': 'sam_hq_vit_b.pth',
    'sam_hq_vit_l': 'sam_hq_vit_l.pth',
    'sam_hq_vit_h': 'sam_hq_vit_h.pth',
  }


@pytest.mark.parametrize('name', zoo_rows.MODELS)
def test_a_row_is_of_its_network(name):
  model, hq = zoo_rows.MODELS[name], name.startswith('sam_hq')
  size = name.removeprefix('sam_hq_').removeprefix('sam_')
  encoder = kind.ENCODERS.get(size, kind.TINY_VIT)
  tiny = encoder == kind.TINY_VIT
  early = (tiny_vit.EARLY if tiny else encoder.width) if hq else 0
  shapes = (tiny_vit.shapes() if tiny else vit.shapes(encoder)) | weights.decoder_shapes(early)
  assert sum(int(np.prod(shape)) for shape in shapes.values()) == model.num_parameters
  assert model.options == OPTIONS | ({'hq': kind.HQ_MASKS} if hq else {})
  assert model.settings == ({} if name == 'mobile_sam' else {'name': name, 'size': size})
  function = 'sam_hq' if hq else 'mobile_sam' if name == 'mobile_sam' else 'sam'
  assert model.build == f'ports.sam.segmenter:{function}'


@pytest.mark.parametrize('name', sorted(set(zoo_rows.MODELS) - {'mobile_sam'}))
def test_without_its_file_a_row_says_where_to_get_it(name, tmp_path, monkeypatch):
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path))
  model = zoo_rows.MODELS[name]
  with pytest.raises(CheckpointError, match=re.escape(model.original.url)):
    loading.load(name, model)


def test_a_high_quality_model_has_its_token(monkeypatch):
  """What the zoo builds without a word of `hq` adds the high-quality logits."""
  monkeypatch.setitem(segmenter.ENCODERS, 'vit_b', sam_golden.REDUCED)
  model = zoo_rows.MODELS['sam_hq_vit_b']
  made = segmenter.sam_hq(sam_golden.params('samhq_reduced'), {}, **model.settings)
  plain = segmenter.sam(sam_golden.params('sam_reduced'), {}, **model.settings)
  image, size = np.zeros((32, 32, 3), np.float32), np.array([32, 32], np.int32)
  for one, shape in ((made, (64, 64, 32)), (plain, ())):
    assert jax.eval_shape(one.encode, one.params, image, size).hq.shape == shape
    assert one.info.name == 'sam_hq_vit_b'


def test_a_row_converts_its_own_size_alone(monkeypatch):
  monkeypatch.setitem(vit.CONFIGS, 'vit_b', sam_golden.REDUCED)
  for name, variant in (('sam_vit_b', 'sam_reduced'), ('sam_hq_vit_b', 'samhq_reduced')):
    model = zoo_rows.MODELS[name]
    tree = model.convert({model.original.file: sam_golden.state(variant)})
    wanted = sam_golden.params(variant)
    assert set(tree) == set(wanted)
    assert all(np.array_equal(tree[leaf], wanted[leaf]) for leaf in wanted)
    other = zoo_rows.MODELS['sam_hq_vit_tiny']
    with pytest.raises(CheckpointError, match='does not fit the network'):
      other.convert({other.original.file: sam_golden.state(variant)})


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
  state = sam_golden.state('mobilesam_vit_t')
  tree = MODEL.convert({'mobile_sam.pt': state})
  wanted = weights.mobile_sam_tree(state)
  assert set(tree) == set(wanted)
  for name in wanted:
    np.testing.assert_array_equal(tree[name], wanted[name])
  decoder = {n: a for n, a in state.items() if not n.startswith('image_encoder.')}
  with pytest.raises(Misfit) as error:
    MODEL.convert({'encoder.onnx': {}, 'Prompt_guided_Mask_Decoder.pt': decoder})
  assert 'missing: patch_embed.seq.0.c.weight' in error.value.faults


def test_choices_of_the_family_are_refused_where_a_model_has_none():
  for option, value in (
    ('mask_choice', 'single'), ('feedback', 'always'), ('precision', 'float32'), ('hq', 'added')
  ):
    message = f'--{option}={value} with --model=ritm_h18s_it_cl: it has no such choice'
    with pytest.raises(UsageError, match=message):
      opening.open_segmenter(attack.Settings(model='ritm_h18s_it_cl', **{option: value}))
  message = '--mask_choice=best with --model=sam_vit_h: known: best_of_three, single, advised'
  with pytest.raises(UsageError, match=message):
    opening.open_segmenter(attack.Settings(model='sam_vit_h', mask_choice='best'))
  with pytest.raises(UsageError, match='--hq=added with --model=sam_vit_b: it has no such choice'):
    opening.open_segmenter(attack.Settings(model='sam_vit_b', hq='added'))


@pytest.mark.slow
def test_a_choice_reaches_the_masks_of_an_attack(tmp_path, monkeypatch):
  """From a flag to rows: with MobileSAM's made-up weights, and again by a replay."""
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path / 'cache'))
  toy.write_folder(tmp_path / 'd', ((40, 56),))
  file = torch_pickles.write_state(
    tmp_path / 'mobile_sam.pt', sam_golden.state('mobilesam_vit_t')
  )
  found = {}
  for choice in (None, 'single', 'advised'):
    workdir = tmp_path / str(choice)
    flags = {} if choice is None else {'mask_choice': choice}
    settings = attack.Settings(
      model='mobile_sam', weights=str(file), dataset='folder', data_dir=str(tmp_path / 'd'),
      preset='baseline', num_clicks=2, batch_size=1, workdir=str(workdir), users=0, **flags,
    )
    assert attack.execute(settings) == 0
    (row,) = workdirs.read_rows(workdir / 'rows.jsonl')
    assert row['status'] == 'ok'
    config = json.loads((workdir / 'config.json').read_text())
    assert config['flags'].get('mask_choice') == choice
    name = 'mobile_sam' if choice is None else f'mobile_sam_{choice}'
    assert f'"{name}"' in json.dumps(config)
    assert replay.execute(replay.Settings(workdir=str(workdir))) == 0
    found[choice] = row['iou']['base']
  # advised is the best of three at the first click, and from then on its own
  assert found['advised'][0] == found[None][0] != found['single'][0]
  assert found['advised'][1] != found[None][1]
