"""CDNet as a segmenter: its zoom, its flip, and what canvases and empty slots must not change."""

import click_sessions
import deeplab_golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import ritm_golden

from ports.cdnet import network, segmenter
from ports.clicks import zoom
from ports.clicks.zoom import Box, Zoom
from tetris_jax.types import ModelInfo

TOY = network.Config(deeplab_golden.TOY, 16)


@pytest.fixture
def model(monkeypatch):
  monkeypatch.setattr(network, 'CONFIGS', {'small': TOY})
  zooms = {'fixed': Zoom((64, 64), skip_clicks=-1, min_crop=10, keep_iou=2.0, threshold=0.49)}
  monkeypatch.setattr(segmenter, 'ZOOMS', zooms)
  params = deeplab_golden.toy_params(network.shapes(TOY))
  return segmenter.cdnet(params, {'a.pth': 'sum'}, name='cdnet_x', size='small')


@pytest.mark.slow
def test_two_rounds_on_two_canvases_and_with_an_empty_slot(model):
  found = click_sessions.on_two_canvases(model)
  for (logits, probability, _), (others, _, _) in zip(*found, strict=True):
    np.testing.assert_allclose(jax.nn.sigmoid(logits), probability, atol=1e-6)
    np.testing.assert_allclose(jax.nn.sigmoid(others), probability, atol=1e-4)
  first, second = (probability for _, probability, _ in found[0])
  assert np.abs(first - second).max() > 1e-2 and 0.01 < (first > 0.5).mean() < 0.99


def test_the_crop_is_chosen_anew_at_every_click():
  rules = segmenter.ZOOMS['fixed']
  assert rules.is_fixed and rules.canvas == (384, 384)
  clicks = ritm_golden.clicks_of_rows(np.array([(20, 30, 1), (5, 60, 0)]), 3)
  size, last = jnp.array([80, 100], jnp.int32), Box(jnp.array([10, 10]), jnp.array([60, 60]))
  seen = Box(jnp.array([12, 12]), jnp.array([50, 55]))
  view = zoom.choose(rules, last, jnp.array(True), seen, clicks, size, (80, 100))
  # 39 x 44 pixels about (31, 33.5), 1.4 times as large
  assert view.box.low.tolist() == [4, 3] and view.box.high.tolist() == [58, 64]
  assert view.size.tolist() == [384, 384]
  nothing = Box(jnp.array([80, 100]), jnp.array([-1, -1]))
  view = zoom.choose(rules, last, jnp.array(True), nothing, clicks, size, (80, 100))
  assert view.paste.low.tolist() == [0, 0] and view.paste.high.tolist() == [79, 99]


def test_names_say_the_evaluation_and_unknown_ones_are_refused():
  model = segmenter.cdnet({}, {'a.pth': 'sum'}, name='cdnet_resnet34_cl', size='resnet34')
  assert model.info == ModelInfo('cdnet_resnet34_cl', 0.5, 'frame', {'a.pth': 'sum'})
  for changes, said in (
    ({'size': 'resnet18'}, 'size is'), ({'zoom': 'exact'}, 'zoom is'), ({'disks': 'no'}, 'disks'),
  ):
    with pytest.raises(ValueError, match=said):
      segmenter.cdnet({}, {}, **({'name': 'x', 'size': 'resnet34'} | changes))
  with pytest.raises(ValueError, match='squares of one size'):
    image = np.zeros((1, 8, 8, 3), np.float32)
    segmenter._forward(TOY, {}, image, image, jnp.array([3, 4]))
