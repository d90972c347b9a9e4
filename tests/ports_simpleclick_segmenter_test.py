"""SimpleClick as a segmenter: what its network sees, what rounds remember, what it refuses."""

import json
import pathlib

import click_sessions
import golden_weights
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ports.clicks.zoom import Zoom
from ports.simpleclick import network, segmenter, weights
from tetris_jax.types import ModelInfo

GOLDEN = pathlib.Path(__file__).parent / 'golden'


@pytest.fixture(scope='module')
def reduced():
  """(sizes, parameters) of a network smaller than the published ones."""
  listing = json.loads((GOLDEN / 'simpleclick_reduced.json').read_text())
  state = golden_weights.golden_state_dict(listing)
  config = weights.config_of(state, heads=3)
  return config, weights.tree(state, config)


@pytest.fixture
def model(reduced, monkeypatch):
  config, params = reduced
  monkeypatch.setattr(network, 'CONFIGS', {'small': config})
  # The smallest square whose tokens fill whole attention windows.
  zooms = {'fixed': Zoom(target=(224, 224), skip_clicks=-1, min_crop=24)}
  monkeypatch.setattr(segmenter, 'ZOOMS', zooms)
  return segmenter.simpleclick(params, {'a.pth': 'sum'}, name='simpleclick_x', size='small')


@pytest.mark.slow
def test_the_network_sees_the_squashed_picture_and_its_mirror_image(reduced):
  config, params = reduced
  image = np.random.default_rng(0).random((2, 224, 224, 3), np.float32)
  maps = jnp.zeros((2, 224, 224, 3)).at[:, 50:60, 70:80, 1].set(1)

  @jax.jit
  def both(params, image, maps):
    logits, low = segmenter._forward(config, params, image, maps, None)
    assert low == (224, 224)
    return logits, network.apply(config, params, image[1], maps[1])

  logits, alone = both(params, image, maps)
  np.testing.assert_allclose(logits[1], alone, atol=1e-4 * float(jnp.abs(alone).max()))
  with pytest.raises(ValueError, match='squares of one size'):
    segmenter._forward(config, params, image, maps, jnp.array([3, 4]))


@pytest.mark.slow
def test_two_rounds_on_two_canvases_and_with_an_empty_slot(model):
  found = click_sessions.on_two_canvases(model)
  for seen in found:
    assert bool(seen[-1][2].zoomed)
  for (logits, probability, _), (others, _, _) in zip(*found, strict=True):
    np.testing.assert_allclose(jax.nn.sigmoid(logits), probability, atol=1e-6)
    np.testing.assert_allclose(jax.nn.sigmoid(others), probability, atol=1e-4)
  assert np.abs(found[0][0][0] - found[0][1][0]).max() > 1e-2


def test_names_say_the_evaluation_and_unknown_ones_are_refused(model, monkeypatch):
  assert model.info == ModelInfo('simpleclick_x', 0.49, 'frame', {'a.pth': 'sum'})
  monkeypatch.undo()
  larger = segmenter.simpleclick({}, {}, name='x', size='vit_xt', zoom='fixed_672')
  assert larger.info.name == 'x_fixed_672'
  assert all(zoom.is_fixed for zoom in segmenter.ZOOMS.values())
  for changes, said in (
    ({'size': 'vit_s'}, 'size is'), ({'zoom': 'exact'}, 'zoom is'), ({'disks': 'no'}, 'disks is'),
  ):
    with pytest.raises(ValueError, match=said):
      segmenter.simpleclick({}, {}, **({'name': 'x', 'size': 'vit_b'} | changes))
