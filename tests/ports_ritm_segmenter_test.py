"""Sessions of clicks equal the released predictor's: boxes exactly, probabilities to 1e-4."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import ritm_golden

from ports.clicks.maps import Protocol, segmenter
from ports.clicks.zoom import Zoom
from ports.hrnet import network
from ports.ritm.segmenter import VARIANTS, ZOOMS, ritm
from tetris_jax.types import ModelInfo


def forward(params, image, maps, size):
  output = network.apply(VARIANTS['h18s'], params, image, maps, size)
  return output.logits, output.size


def protocol_of(golden):
  given = json.loads(str(golden['in/zoom_in_params']))
  target = given['target_size']
  zoom = Zoom(
    target=tuple(target) if isinstance(target, list) else target,
    skip_clicks=given.get('skip_clicks', 1),
    min_crop=given['min_crop_size'],
    threshold=given['prob_thresh'],
  )
  return Protocol(zoom, flip=bool(golden['in/with_flip']), disks='hard')


# "zoom": aspect kept, whole image first, with the mirrored image; on a canvas larger than the
# picture and than the crop, so that both of the program's networks run. "fixed": one shape.
@pytest.mark.parametrize('name, canvas', [
  ('fixed', (110, 150)),
  pytest.param('zoom', (128, 160), marks=pytest.mark.slow),
])
@pytest.mark.slow
def test_a_session_of_the_released_predictor(name, canvas):
  golden = np.load(ritm_golden.FOLDER / f'ritm_session_{name}.npz')
  model = segmenter(
    forward, ritm_golden.params('h18s'), ModelInfo('toy', threshold=0.49), protocol_of(golden)
  )
  image = golden['in/image_u8'].astype(np.float32) / np.float32(255)
  height, width = image.shape[:2]
  around = ((0, canvas[0] - height), (0, canvas[1] - width), (0, 0))
  image = np.pad(image, around, constant_values=0.3)
  features = model.encode(model.params, image, jnp.array([height, width], jnp.int32))
  state = model.init(model.params, features)

  @jax.jit
  def step(params, features, state, clicks):
    return model.decode(params, model.prepare(params, features, state), clicks)

  rows = golden['in/clicks']
  for i in range(len(rows)):
    clicks = ritm_golden.clicks_of_rows(rows[: i + 1])
    logits, state = step(model.params, features, state, clicks)
    box = np.stack([state.box.low, state.box.high], axis=1).ravel()
    wanted = golden[f'{i}/roi']
    assert bool(state.zoomed) == (wanted[0] >= 0)
    if state.zoomed:
      np.testing.assert_array_equal(box, wanted)
    found = np.asarray(state.probability)
    assert np.all(found[height:] == 0) and np.all(found[:, width:] == 0)
    found = found[:height, :width]
    np.testing.assert_allclose(found[::2, ::2], golden[f'{i}/probs_every2'], atol=1e-5)
    assert abs((found > 0.49).mean() - golden[f'{i}/fraction_over_0.49']) < 1e-4
    back = jax.nn.sigmoid(logits)[:height, :width]
    np.testing.assert_allclose(back, found, atol=1e-6)
    np.testing.assert_array_equal(
      np.asarray(logits)[:height, :width] > np.log(0.49 / 0.51), found > 0.49
    )


def test_published_sizes_and_evaluations_are_known_by_name():
  params = ritm_golden.params('h18s')
  model = ritm(params, {'a.pth': 'sum'}, name='ritm_h18s_it_cl', size='h18s')
  assert model.info == ModelInfo('ritm_h18s_it_cl', 0.49, 'frame', {'a.pth': 'sum'})
  fixed = ritm(params, {}, name='ritm_h18s_it_cl', size='h18s', zoom='fixed')
  assert fixed.info.name == 'ritm_h18s_it_cl_fixed'
  assert not ZOOMS['exact'].is_fixed and ZOOMS['fixed'].is_fixed
  for wrong in ({'size': 'h64'}, {'zoom': 'none'}, {'disks': 'square'}):
    with pytest.raises(ValueError, match=next(iter(wrong))):
      ritm(params, {}, **{'name': 'x', 'size': 'h18s', **wrong})
