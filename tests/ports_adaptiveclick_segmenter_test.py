"""AdaptiveClick as a segmenter: names, refusals, and what an empty slot must not change."""

import adaptiveclick_golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import ritm_golden

from ports.adaptiveclick import network, segmenter
from ports.clicks.zoom import Zoom
from tetris_jax.types import ModelInfo


@pytest.mark.slow
def test_empty_slots_and_padding_change_nothing(monkeypatch):
  monkeypatch.setattr(network, 'CONFIGS', {'small': adaptiveclick_golden.REDUCED})
  zooms = {'fixed': Zoom((224, 224), skip_clicks=-1, min_crop=24)}
  monkeypatch.setattr(segmenter, 'ZOOMS', zooms)
  params = adaptiveclick_golden.params('reduced')
  model = segmenter.adaptiveclick(params, {}, name='x', size='small', flip=False)
  picture = np.random.default_rng(1).random((40, 56, 3), np.float32)
  rows = np.array([(20, 30, 1), (12, 9, 0)])

  @jax.jit
  def step(params, features, clicks):
    context = model.prepare(params, features, model.init(params, features))
    return model.decode(params, context, clicks)[1].probability

  found = []
  for canvas, slots in (((40, 56), 2), ((64, 64), 3)):
    around = ((0, canvas[0] - 40), (0, canvas[1] - 56), (0, 0))
    image = np.pad(picture, around, constant_values=0.5)
    features = model.encode(model.params, image, jnp.array([40, 56], jnp.int32))
    clicks = ritm_golden.clicks_of_rows(rows, slots)
    found.append(np.asarray(step(model.params, features, clicks))[:40, :56])
  np.testing.assert_allclose(found[1], found[0], atol=1e-4)
  assert found[0].std() > 1e-3


def test_names_say_the_evaluation_and_unknown_ones_are_refused():
  model = segmenter.adaptiveclick({}, {'a.pth': 's'}, name='x', size='vit_b', zoom='fixed_672')
  assert model.info == ModelInfo('x_fixed_672', 0.49, 'frame', {'a.pth': 's'})
  assert all(zoom.is_fixed for zoom in segmenter.ZOOMS.values())
  for changes, said in (
    ({'size': 'vit_s'}, 'size is'), ({'zoom': 'exact'}, 'zoom is'), ({'disks': 'no'}, 'disks'),
  ):
    with pytest.raises(ValueError, match=said):
      segmenter.adaptiveclick({}, {}, **({'name': 'x', 'size': 'vit_b'} | changes))
  image = np.zeros((1, 8, 8, 3), np.float32)
  with pytest.raises(ValueError, match='squares of one size'):
    segmenter._forward(adaptiveclick_golden.REDUCED, {}, image, image, jnp.array([3, 4]))
