"""GPCIS as a segmenter: what canvases and empty slots must not change, names, refusals."""

import click_sessions
import deeplab_golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ports.clicks.zoom import Zoom
from ports.gpcis import network, segmenter
from tetris_jax.types import ModelInfo

TOY = network.Config(deeplab_golden.TOY_DEEP, 16, 24, 5, 12, 6)


@pytest.mark.slow
def test_two_rounds_on_two_canvases_and_with_an_empty_slot(monkeypatch):
  monkeypatch.setattr(network, 'CONFIGS', {'small': TOY})
  zooms = {'fixed': Zoom((48, 48), skip_clicks=-1, min_crop=10, keep_iou=2.0, threshold=0.49)}
  monkeypatch.setattr(segmenter, 'ZOOMS', zooms)
  params = deeplab_golden.toy_params(network.shapes(TOY))
  model = segmenter.gpcis(params, {'a.pth': 'sum'}, name='x', size='small')
  found = click_sessions.on_two_canvases(model)
  for seen in found:
    for logits, probability, _ in seen:
      np.testing.assert_allclose(jax.nn.sigmoid(logits), probability, atol=1e-6)
  for (_, probability, _), (_, other, _) in zip(*found, strict=True):
    np.testing.assert_allclose(other, probability, atol=1e-4)
  assert np.abs(found[0][0][1] - found[0][1][1]).max() > 1e-2


def test_names_say_the_evaluation_and_unknown_ones_are_refused():
  model = segmenter.gpcis({}, {'a.pth': 'sum'}, name='x', size='resnet50', zoom='fixed_256')
  assert model.info == ModelInfo('x_fixed_256', 0.49, 'frame', {'a.pth': 'sum'})
  assert segmenter.ZOOMS['fixed'].canvas == (384, 384)
  assert all(zoom.is_fixed for zoom in segmenter.ZOOMS.values())
  for changes, said in (
    ({'size': 'resnet18'}, 'size is'), ({'zoom': 'exact'}, 'zoom is'), ({'disks': 'no'}, 'disks'),
  ):
    with pytest.raises(ValueError, match=said):
      segmenter.gpcis({}, {}, **({'name': 'x', 'size': 'resnet50'} | changes))
  image = np.zeros((1, 8, 8, 3), np.float32)
  with pytest.raises(ValueError, match='squares of one size'):
    segmenter._forward(TOY, True, {}, image, image, jnp.array([3, 4]), None)
