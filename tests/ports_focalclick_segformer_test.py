"""SegFormer's stages equal PyTorch's; the finest one sees no click."""

import focalclick_golden
import jax
import numpy as np
import pytest
import ritm_golden

from ports.focalclick import network, segformer
from ports.nn.resize import linear, resize
from tetris_jax.geometry.render import hard_disks


def half(x):
  return resize(x, linear(64, 128, True), linear(64, 128, True))


@pytest.mark.slow
def test_stages_and_head_at_half_the_size():
  golden = focalclick_golden.load('segformer_b0_s1')
  image = golden['in/image'].transpose(0, 2, 3, 1)
  normalised = (image - network._MEAN) / network._DEVIATION
  clicks = ritm_golden.clicks_of_points(golden['in/points'][0])
  drawn = np.asarray(hard_disks(clicks, 128, 128, 3.0)).transpose(1, 2, 0)[None]
  maps = np.concatenate([golden['in/prev_mask'].transpose(0, 2, 3, 1), drawn], axis=-1)
  config, params = segformer.CONFIGS['b0'], focalclick_golden.params('segformer_b0_s1')
  run = jax.jit(lambda params, *x: segformer.apply(config, params, *x))
  found = run(params, half(normalised), half(maps))

  def compare(name, tokens):
    strides = [slice(None, None, int(s)) for s in golden[f'tapstride/{name}']]
    wanted = golden[f'tap/{name}']
    cut = tokens[tuple(strides)]
    assert cut.shape == wanted.shape
    assert np.abs(cut - wanted).max() < 1e-4 * np.abs(wanted).max()

  for i, level in enumerate(found.levels):
    compare(f'norm{i + 1}', np.asarray(level).reshape(1, -1, level.shape[-1]))
  compare('linear_fuse', np.asarray(found.features).transpose(0, 3, 1, 2))
  compare('linear_pred', np.asarray(found.logits)[:, None])
  other = run(params, half(normalised), 1 - half(maps))
  np.testing.assert_array_equal(other.levels[0], found.levels[0])
  assert np.abs(np.asarray(other.levels[1] - found.levels[1])).max() > 1e-2


def test_sizes():
  shapes = segformer.shapes(segformer.CONFIGS['b3'])
  assert shapes['segformer/stages/2/blocks/17/mlp/dwconv/kernel'] == (3, 3, 1, 1280)
  assert shapes['segformer/stages/1/blocks/0/attn/sr/kernel'] == (4, 4, 128, 128)
  assert 'segformer/stages/3/blocks/0/attn/sr/kernel' not in shapes
  assert shapes['segformer/head/linear/3/kernel'] == (512, 512)
