"""A cascade equals the released predictor's sessions, and plain loops over a model."""

import dataclasses
import functools
import json
import pathlib

import golden_weights
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import ritm_golden

from ports.clicks import cascade, maps
from ports.clicks.cascade import Cascade
from ports.clicks.zoom import Zoom
from ports.simpleclick import segmenter, weights
from tetris_jax.types import Clicks, ModelInfo, Segmenter

GOLDEN = pathlib.Path(__file__).parent / 'golden'
SHAPE = 12, 15


@pytest.mark.slow
@pytest.mark.parametrize('name', ['cfr_session', 'cfr_session_adaptive'])
def test_a_session_of_the_released_predictor(name):
  golden = np.load(GOLDEN / f'{name}.npz')
  # CFR-ICL's network is SimpleClick's.
  listing = json.loads((GOLDEN / 'simpleclick_reduced.json').read_text())
  state = golden_weights.golden_state_dict(listing)
  config = weights.config_of(state, heads=3)
  zoom, given = (json.loads(str(golden[f'in/{n}_params'])) for n in ('zoom_in', 'predictor'))
  rules = Zoom(
    target=tuple(zoom['target_size']), skip_clicks=zoom['skip_clicks'],
    min_crop=zoom['min_crop_size'], threshold=zoom['prob_thresh'],
  )
  inner = maps.segmenter(
    functools.partial(segmenter._forward, config), weights.tree(state, config),
    ModelInfo('toy', threshold=0.49), maps.Protocol(rules, disks='hard'),
  )
  model = cascade.around(
    inner, Cascade(given['cascade_step'], given['cascade_clicks'], given['cascade_adaptive'])
  )
  image = golden['in/image_u8'].astype(np.float32) / np.float32(255)
  features = model.encode(model.params, image, jnp.array(image.shape[:2], jnp.int32))
  state, rows = model.init(model.params, features), golden['in/clicks']

  @jax.jit
  def step(params, features, state, clicks):
    return model.decode(params, model.prepare(params, features, state), clicks)

  for i in range(len(rows)):
    clicks = ritm_golden.clicks_of_rows(rows[: i + 1])
    _, state = step(model.params, features, state, clicks)
    found = np.asarray(state.probability)
    np.testing.assert_allclose(found[::4, ::4], golden[f'{i}/probs_every4'], atol=1e-4)
    box = np.stack([state.box.low, state.box.high], axis=1).ravel()
    np.testing.assert_array_equal(box, golden[f'{i}/roi'])


def toy():
  """A blob about the first click that grows with every pass, and counts the passes."""

  def encode(params, image, size):
    return image[..., 0]

  def init(params, features):
    return jnp.zeros(SHAPE), jnp.float32(0)

  def decode(params, context, clicks):
    features, (before, passes) = context
    rows, columns = (jnp.arange(n, dtype=jnp.float32) for n in SHAPE)
    away = jnp.square(rows - clicks.yx[0, 0])[:, None] + jnp.square(columns - clicks.yx[0, 1])[None]
    grown = params['gain'] * jax.nn.sigmoid(before) * (1 - 0.6**passes)
    logits = 0.3 * features - 0.08 * away + grown
    return logits, (logits, passes + 1)

  return Segmenter(encode, init, decode, {'gain': np.float32(2)}, ModelInfo('toy'))


def clicks_of(count, yx=(5.2, 7.1)):
  label = np.where(np.arange(3) < count, 1, -1).astype(np.int32)
  return Clicks(jnp.tile(jnp.array(yx, jnp.float32), (3, 1)), jnp.asarray(label))


def image_of(seed):
  return np.random.default_rng(seed).random((*SHAPE, 3), np.float32)


def decoded(model, image, clicks, size=SHAPE):
  features = model.encode(model.params, image, jnp.array(size, jnp.int32))
  context = model.prepare(model.params, features, model.init(model.params, features))
  return model.decode(model.params, context, clicks)


def plain(image, clicks, settings, size=SHAPE):
  """The rule as a loop."""
  model = toy()
  logits, state = decoded(model, image, clicks)
  count = int((np.asarray(clicks.label) >= 0).sum())
  for _ in range(settings.passes - 1 if count <= settings.clicks else 0):
    before = logits
    logits, state = model.decode(model.params, (image[..., 0], state), clicks)
    changed = ((logits > 0) != (before > 0))[: size[0], : size[1]]
    if settings.adaptive and changed.sum() <= settings.settled:
      break
  return logits, state


@pytest.mark.parametrize('settings, passes', [
  (Cascade(), 5), (Cascade(passes=3), 3), (Cascade(adaptive=True), 2),
  (Cascade(passes=9, adaptive=True, settled=3), 6),
])
def test_passes_at_the_first_click_alone(settings, passes):
  model = cascade.around(toy(), settings)
  run = jax.jit(functools.partial(decoded, model))
  for count, wanted in ((1, passes), (2, 1)):
    logits, (_, made) = run(image_of(0), clicks_of(count))
    expected, (_, said) = plain(image_of(0), clicks_of(count), settings)
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    assert made == said == wanted


def test_what_changes_in_the_padding_does_not_count():
  settings = Cascade(passes=9, adaptive=True, settled=3)
  model = cascade.around(toy(), settings)
  size = (6, 8)
  _, (_, made) = jax.jit(functools.partial(decoded, model, size=size))(image_of(0), clicks_of(1))
  assert made == plain(image_of(0), clicks_of(1), settings, size)[1][1]
  assert made != plain(image_of(0), clicks_of(1), settings)[1][1]


def test_a_batch_gives_what_its_instances_give_and_gradients_pass_through():
  settings = Cascade(passes=9, adaptive=True, settled=3)
  model = cascade.around(toy(), settings)
  images = np.stack([image_of(seed) for seed in range(3)])
  places = jnp.array([[5.2, 7.1], [1.5, 2.5], [11.0, 14.0]])
  counts = [1, 2, 1]
  labels = jnp.stack([clicks_of(count).label for count in counts])

  def loss(yx, image, label):
    clicks = Clicks(jnp.tile(yx, (3, 1)), label)
    logits, (_, made) = decoded(model, image, clicks)
    return jnp.sum(jax.nn.sigmoid(logits)), made

  both = jax.value_and_grad(loss, has_aux=True)
  (values, made), slopes = jax.jit(jax.vmap(both))(places, images, labels)
  found = set()
  for i in range(3):
    (value, passes), slope = jax.jit(both)(places[i], images[i], labels[i])
    np.testing.assert_allclose(values[i], value, rtol=1e-5)
    np.testing.assert_allclose(slopes[i], slope, rtol=1e-4, atol=1e-5)
    clicks = clicks_of(counts[i], places[i])
    assert made[i] == passes == plain(images[i], clicks, settings)[1][1]
    unrolled = jax.grad(repeated)(places[i], images[i], int(passes))
    np.testing.assert_allclose(slope, unrolled, rtol=1e-4, atol=1e-5)
    found.add(int(passes))
  assert len(found) > 1


def repeated(yx, image, passes):
  model, clicks = toy(), Clicks(jnp.tile(yx, (3, 1)), clicks_of(1).label)
  state = model.init(model.params, image[..., 0])
  for _ in range(passes):
    logits, state = model.decode(model.params, (image[..., 0], state), clicks)
  return jnp.sum(jax.nn.sigmoid(logits))


def test_a_pass_that_nobody_needs_is_not_run():
  model = cascade.around(toy(), Cascade())
  clicks = jax.tree.map(lambda x: jnp.stack([x] * 2), clicks_of(1))
  mapped = jax.make_jaxpr(jax.vmap(functools.partial(decoded, model)))(
    np.stack([image_of(0)] * 2), clicks
  )
  # Mapped over a batch a condition becomes a choice between both; this one stays a condition.
  assert ' cond[' in str(mapped)


def test_names_and_settings():
  model = toy()
  assert cascade.cascaded(model, 'none') is model
  assert cascade.cascaded(model, 'acf4').info.name == 'toy_acf4'
  assert cascade.cascaded(model, 'acf4', default='acf4').info.name == 'toy'
  assert cascade.cascaded(model, 'none', default='acf4').info.name == 'toy_none'
  with pytest.raises(ValueError, match="cascade is 'cf5'; known: none, cf4, acf4"):
    cascade.cascaded(model, 'cf5')
  assert {n: c and dataclasses.astuple(c) for n, c in cascade.CASCADES.items()} == {
    'none': None, 'cf4': (5, 1, False, 20), 'acf4': (5, 1, True, 20),
  }
  for wrong in ({'passes': 1}, {'clicks': 0}):
    with pytest.raises(ValueError, match='at least 2 passes'):
      Cascade(**wrong)
