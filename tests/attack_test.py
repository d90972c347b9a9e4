"""The attack on models whose answer to every click is known in closed form."""

import dataclasses
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tetris_jax
from tetris_jax import AttackConfig, Local, presets, types

SIDE, TOP, BOTTOM, WIDTH = 32, 4, 28, 20


def wall(shift=2.0, frame=None, diagonal='image', counter=None):
  """Marks columns x < shift + (mean x of positive clicks), of the object's rows only.

  The object is the first `WIDTH` columns of rows `TOP` to `BOTTOM`, so after one click at x the IoU
  is n / WIDTH or WIDTH / n with n = ceil(shift + x) columns marked.
  """

  def encode(params, image, size):
    del params
    if counter is not None:
      counter.append(1)
    rows = jnp.arange(image.shape[0])[:, None] + 0 * jnp.arange(image.shape[1])[None]
    return (rows >= TOP) & (rows < jnp.minimum(BOTTOM, size[0]))

  def init(params, features):
    del params, features
    return jnp.zeros((), jnp.int32)

  def decode(params, context, clicks):
    features, rounds = context
    positive = (clicks.label == types.POSITIVE).astype(jnp.float32)
    at = jnp.sum(clicks.yx[:, 1] * positive) / jnp.maximum(jnp.sum(positive), 1)
    x = jnp.arange(features.shape[1], dtype=jnp.float32)[None]
    logits = (params['shift'] + at - x) / 3
    return jnp.where(features, logits, -10.0), rounds + 1

  info = types.ModelInfo('wall', step_diagonal=diagonal)
  extra = {} if frame is None else {'frame': frame}
  return types.Segmenter(encode, init, decode, {'shift': np.float32(shift)}, info, **extra)


def batch_of(canvas=(SIDE, SIDE), count=1):
  mask = np.zeros((count, *canvas), bool)
  mask[:, TOP:BOTTOM, :WIDTH] = True
  size = np.tile(np.int32([SIDE, SIDE]), (count, 1))
  image = np.zeros((count, *canvas, 3), np.float32)
  return types.Batch(image, mask, np.zeros_like(mask), size, np.arange(count, dtype=np.uint32))


def run(model, batch, num_clicks=1, preset='tetris', **options):
  config = presets.get(preset, num_clicks=num_clicks)
  attack = jax.jit(tetris_jax.attack, static_argnames=('config', *options))
  return jax.device_get(attack(model, batch, config, **options))


def expected_iou(x, shift=2.0):
  columns = min(np.ceil(shift + x), SIDE)
  return min(columns, WIDTH) / max(columns, WIDTH)


@pytest.mark.slow
@pytest.mark.parametrize('shift', [2.0, 14.0])
def test_min_and_max_lie_where_the_closed_form_puts_them(shift):
  found = run(wall(shift), batch_of())
  base, low, high = found.clicks.yx[0, :, 0, 1]
  for mode, x in enumerate((base, low, high)):
    np.testing.assert_allclose(found.iou[0, mode, 0], expected_iou(x, shift), rtol=1e-6)
  # Too few columns are marked at first, or too many: MAX goes towards the object's edge.
  towards = 1 if shift + base < WIDTH else -1
  assert towards * (high - base) > 1 and towards * (low - base) < -1
  assert found.iou[0, 1, 0] < found.iou[0, 0, 0] < found.iou[0, 2, 0]
  # Ten moves of at most Adam's step, and the disk of 5.5 pixels stays off the other columns.
  step = 5 / (400 * 2**0.5) * SIDE * 2**0.5
  for x in (low, high):
    assert abs(x - base) <= 10 * step * 1.01
    assert x <= WIDTH - 5.5 + 1e-3
  assert found.forward.tolist() == [25] and found.backward.tolist() == [20]
  assert np.all(found.clicks.label == 1)


@pytest.mark.slow
def test_what_is_reported_is_what_a_replay_finds():
  model, batch = wall(14.0), batch_of(count=2)
  found = run(model, batch, num_clicks=3)
  again = jax.device_get(
    jax.jit(tetris_jax.replay)(model, batch, found.clicks)
  )
  for name in ('iou', 'biou', 'mask'):
    np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
  assert again.forward.tolist() == [9, 9] and again.backward.tolist() == [0, 0]


@pytest.mark.slow
def test_base_is_the_baseline():
  found, plain = (run(wall(14.0), batch_of(), 3, preset) for preset in ('tetris', 'baseline'))
  assert plain.iou.shape == (1, 1, 3)
  np.testing.assert_array_equal(plain.iou[:, 0], found.iou[:, 0])
  np.testing.assert_array_equal(plain.clicks.yx[:, 0], found.clicks.yx[:, 0])
  assert plain.forward.tolist() == [3] and plain.backward.tolist() == [0]


@pytest.mark.slow
@pytest.mark.parametrize('options', [{'at_once': None}, {'at_once': 1}, {'at_once': 4}])
def test_neither_canvas_nor_batch_nor_rows_at_once_matter(options):
  alone = run(wall(14.0), batch_of(), 3, at_once=100)
  found = run(wall(14.0), batch_of((SIDE + 9, SIDE + 20), 4), 3, **options)
  for row in range(4):
    np.testing.assert_allclose(found.clicks.yx[row], alone.clicks.yx[0], atol=1e-3)
    np.testing.assert_array_equal(found.clicks.label[row], alone.clicks.label[0])
    np.testing.assert_allclose(found.iou[row], alone.iou[0], rtol=1e-6)
    np.testing.assert_allclose(found.biou[row], alone.biou[0], rtol=1e-6)
  assert not found.mask[..., SIDE:, :].any()


@pytest.mark.slow
def test_an_image_is_encoded_once():
  traced = []
  found = run(wall(14.0, counter=traced), batch_of(count=3), 3)
  assert found.iou.shape == (3, 3, 3) and len(traced) == 1
  text = jax.make_jaxpr(
    lambda b: tetris_jax.attack(wall(), b, presets.get('tetris', num_clicks=2))
  )(batch_of())
  assert 'callback' not in str(text)


@pytest.mark.slow
@pytest.mark.parametrize('zoom', [1.0, 2.0])
def test_a_click_moved_in_a_crop_comes_back_in_image_pixels(zoom):
  def frame(params, context, clicks, size):
    del params, context, clicks, size
    extent = jnp.array([SIDE - 2.0, SIDE - 4.0])
    return types.Frame(jnp.array([1.0, 3.0]), extent, zoom * extent)

  found = run(wall(2.0, frame, 'frame'), batch_of())
  base, low, high = found.clicks.yx[0, :, 0, 1]
  for mode, x in enumerate((base, low, high)):
    np.testing.assert_allclose(found.iou[0, mode, 0], expected_iou(x), rtol=1e-6)
  assert low < base - 1 and high > base + 1
  # Twice the frame, twice the step in its pixels: the same in the image's.
  step = 5 / (400 * 2**0.5) * np.hypot(SIDE - 2, SIDE - 4)
  assert max(high - base, base - low) <= 10 * step * 1.01


def leaving(model, margin):
  """The columns of MIN's clicks on an object `margin` columns off the border, by steps of 4."""
  config = AttackConfig('far', Local(step_scale=10.0, num_steps=9), num_clicks=1)
  batch = batch_of()
  batch.mask[:, :, :margin] = False
  found = jax.jit(lambda batch: tetris_jax.attack(model, batch, config))(batch)
  return np.asarray(found.clicks.yx)[0, :, 0, 1]


@pytest.mark.slow
def test_a_click_does_not_leave_the_picture_where_the_border_is_illegal():
  # Beyond the disk's reach of the border nothing would cost any more.
  base, low, _ = leaving(wall(2.0), 6)
  assert 0 <= low < base
  # On an object that touches the border a disk there is legal, and SAM's coordinate is not clamped.
  assert leaving(wall(2.0), 0)[1] < -0.5


@pytest.mark.slow
def test_a_model_that_reads_maps_sees_no_click_outside_of_its_frame():
  def frame(params, context, clicks, size):
    del params, context, clicks, size
    extent = jnp.array([SIDE - 2.0, SIDE - 4.0])
    return types.Frame(jnp.array([1.0, 3.0]), extent, 2 * extent)

  # The crop's first column is the picture's fourth.
  assert leaving(wall(2.0, frame, 'frame'), 0)[1] == 3


@pytest.mark.slow
def test_a_model_that_answers_nan_is_not_scored():
  model = wall()

  def broken(params, context, clicks):
    logits, state = model.decode(params, context, clicks)
    return logits.at[0, 0].set(jnp.nan), state

  found = run(dataclasses.replace(model, decode=broken), batch_of(), 2)
  assert np.isnan(found.iou).all() and np.isnan(found.biou).all()
  outside = run(
    dataclasses.replace(
      model, decode=lambda *a: (model.decode(*a)[0].at[-1, -1].set(jnp.nan), a[1][1])
    ),
    batch_of((SIDE + 1, SIDE + 1)),
  )
  assert np.isfinite(outside.iou).all()


@pytest.mark.slow
def test_a_perfect_mask_stays_perfect():
  def encode(params, image, size):
    del params, size
    return image[..., 0]

  def decode(params, context, clicks):
    del params
    return context[0] - 0.5 + 0 * jnp.sum(clicks.yx), context[1]

  info = types.ModelInfo('perfect')
  model = types.Segmenter(encode, lambda params, features: (), decode, {}, info)
  batch = batch_of()
  batch = batch._replace(image=np.repeat(batch.mask[..., None], 3, -1).astype(np.float32))
  found = run(model, batch, 3)
  assert np.all(found.iou == 1) and np.all(found.biou == 1)
  assert np.isfinite(found.clicks.yx).all()


def test_settings_out_of_range_are_refused():
  model, batch = wall(), batch_of()
  with pytest.raises(ValueError, match='at_once is 0'):
    tetris_jax.attack(model, batch, presets.get('tetris'), at_once=0)
  with pytest.raises(ValueError, match='tetris draws nothing, so a key changes nothing'):
    tetris_jax.attack(model, batch, presets.get('tetris'), key=jax.random.key(0))


@pytest.mark.parametrize(('changed', 'kind', 'said'), [
  ({'image': np.zeros((32, 32, 3), np.float32)}, ValueError,
   r'batch.image has shape \(32, 32, 3\); expected \(batch, height, width, 3\)'),
  ({'image': np.zeros((1, 3, 32, 32), np.float32)}, ValueError, r'has shape \(1, 3, 32, 32'),
  ({'image': np.zeros((1, 32, 32, 3), np.uint8)}, TypeError, 'image is uint8; expected float'),
  ({'mask': np.zeros((32, 32), bool)}, ValueError,
   r'batch.mask has shape \(32, 32\); expected \(1, 32, 32\)'),
  ({'mask': np.zeros((1, 32, 32), np.float32)}, TypeError, 'batch.mask is float32; expected bool'),
  ({'ignore': np.zeros((1, 32, 31), bool)}, ValueError, r'batch.ignore has shape \(1, 32, 31\)'),
  ({'ignore': None}, TypeError, 'batch.ignore is a NoneType; expected an array of bool'),
  ({'size': np.int32([32, 32])}, ValueError, r'batch.size has shape \(2,\); expected \(1, 2\)'),
  ({'id': np.uint32(0)}, ValueError, r'batch.id has shape \(\); expected \(1,\)'),
  ({'id': np.zeros(1, np.float32)}, TypeError, 'batch.id is float32; expected uint32'),
])
def test_a_batch_of_another_kind_is_refused_by_name(changed, kind, said):
  batch = batch_of()._replace(**changed)
  with pytest.raises(kind, match=said):
    tetris_jax.attack(wall(), batch, presets.get('baseline'))


def test_a_model_that_breaks_the_boundary_is_refused_by_name():
  model, batch = wall(), batch_of()
  decode = model.decode

  def logits(change):
    return lambda *given: (change(decode(*given)[0]), decode(*given)[1])

  for broken, kind, said in (
    (logits(lambda x: x[:16, :16]), ValueError,
     r'logits that decode of wall returned has shape \(16, 16\); expected \(32, 32\)'),
    (logits(lambda x: x[None]), ValueError, r'has shape \(1, 32, 32\); expected \(32, 32\)'),
    (logits(lambda x: x > 0), TypeError, 'decode of wall returned are bool; expected float32'),
    (lambda *given: decode(*given)[0], TypeError, 'expected a pair .logits, state.'),
    (lambda *given: (decode(*given)[0], jnp.zeros(2)), TypeError,
     r"state that decode of wall returned is float32\[2\]; expected int32\[\]"),
  ):
    mine = dataclasses.replace(model, decode=broken)
    with pytest.raises(kind, match=said):
      tetris_jax.attack(mine, batch, presets.get('baseline', num_clicks=1))
  with pytest.raises(TypeError, match='segmenter is a function; expected a tetris'):
    tetris_jax.attack(decode, batch, presets.get('baseline'))
  with pytest.raises(TypeError, match='batch is a dict; expected a tetris'):
    tetris_jax.attack(model, batch._asdict(), presets.get('baseline'))


def test_clicks_that_fit_no_batch_are_refused_by_name():
  for yx, label, said in (
    ((1, 1, 2, 2), (1, 1, 3), r'clicks.yx has shape \(1, 1, 2, 2\); expected \(1, 1, 3, 2\)'),
    ((3, 2), (3,), r'clicks.label has shape \(3,\); expected \(1, modes, clicks\)'),
    ((2, 1, 3, 2), (2, 1, 3), r'clicks.label has shape \(2, 1, 3\); expected \(1, modes, clicks\)'),
  ):
    with pytest.raises(ValueError, match=said):
      tetris_jax.replay(wall(), batch_of(), types.Clicks(np.zeros(yx), np.ones(label)))


def test_a_canvas_beyond_what_is_exact_is_refused():
  batch = batch_of((4097, 4))
  clicks = types.Clicks(np.zeros((1, 1, 1, 2)), np.ones((1, 1, 1)))
  for call in (
    lambda: tetris_jax.attack(wall(), batch, presets.get('tetris')),
    lambda: tetris_jax.replay(wall(), batch, clicks),
  ):
    with pytest.raises(ValueError, match='4097 x 4 pixels; sides up to 4096'):
      call()


def logits_of(model, batch, clicks):
  """Of the first instance, without rounds."""
  features = model.encode(model.params, jnp.asarray(batch.image[0]), jnp.asarray(batch.size[0]))
  context = model.prepare(model.params, features, model.init(model.params, features))
  return model.decode(model.params, context, clicks)[0]


@pytest.mark.slow
@pytest.mark.parametrize('closed_over', [False, True])
def test_a_loss_at_its_clicks_does_not_differentiate_through_the_search(closed_over):
  model, batch = wall(14.0), batch_of()
  config = AttackConfig('short', Local(num_steps=2), num_clicks=1)

  def loss(params, *, stopped):
    mine = model.with_params(params)
    if closed_over:  # Where parameters are not the segmenter's own leaves, the rest must do.
      decode = lambda _, *rest: model.decode(params, *rest)
      mine = dataclasses.replace(model, decode=decode)
    clicks = tetris_jax.attack(mine, batch, config).clicks
    clicks = jax.tree.map(lambda x: x[0, 1], clicks)
    clicks = jax.lax.stop_gradient(clicks) if stopped else clicks
    return jnp.mean(jax.nn.sigmoid(logits_of(mine, batch, clicks)))

  slope, wanted = (
    jax.jit(jax.grad(lambda params, stopped=stopped: loss(params, stopped=stopped)))(model.params)
    for stopped in (False, True)
  )
  assert float(wanted['shift']) != 0
  np.testing.assert_array_equal(slope['shift'], wanted['shift'])


def test_clicks_and_scores_are_constants_of_a_gradient():
  model, batch = wall(14.0), batch_of()
  config = AttackConfig('short', Local(num_steps=2), num_clicks=1)

  def numbers(params):
    found = tetris_jax.attack(model.with_params(params), batch, config)
    again = tetris_jax.replay(model.with_params(params), batch, found.clicks)
    return found.clicks.yx, found.iou, found.biou, again.iou, again.clicks.yx

  def equations(function):
    return str(jax.make_jaxpr(function)(model.params)).count(' = ')

  # Not computed to be 0, but known to be: the derivative holds nothing of the search.
  derived = lambda params: jax.jvp(numbers, (params,), (params,))
  assert equations(derived) < equations(numbers) + 20


def test_products_are_traced_in_full_precision_unless_the_user_chose():
  model = wall()

  def decode(params, context, clicks):
    logits, state = model.decode(params, context, clicks)
    return logits @ jnp.eye(logits.shape[1]), state

  def text():
    attack = lambda b: tetris_jax.attack(
      dataclasses.replace(model, decode=decode), b, presets.get('baseline', num_clicks=1)
    )
    return str(jax.make_jaxpr(attack)(batch_of()))

  with jax.default_matmul_precision(None):
    assert 'Precision.HIGHEST' in text()
  with jax.default_matmul_precision('bfloat16'):
    assert 'Precision.HIGHEST' not in text()


@pytest.mark.slow
def test_an_attack_runs_where_doubles_are_enabled():
  code = (
    'import sys, jax; jax.config.update("jax_enable_x64", True); sys.path.insert(0, sys.argv[1]); '
    'import attack_test as t; found = t.run(t.wall(14.0), t.batch_of(), 2); '
    'print(found.iou.dtype, found.clicks.yx.dtype, found.iou[0].tolist())'
  )
  done = subprocess.run(
    [sys.executable, '-c', code, str(pathlib.Path(__file__).parent)],
    capture_output=True, text=True, check=False,
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout.startswith('float32 float32 ')
  values = np.array(eval(done.stdout.split(' ', 2)[2]))
  np.testing.assert_allclose(values, run(wall(14.0), batch_of(), 2).iou[0], rtol=1e-6)


def test_a_search_of_one_step_is_the_robot_user():
  config = AttackConfig('still', Local(num_steps=1), num_clicks=2)
  found = jax.jit(lambda batch: tetris_jax.attack(wall(), batch, config))(batch_of())
  assert found.forward.tolist() == [6] and found.backward.tolist() == [0]
  assert jnp.all(found.clicks.yx == found.clicks.yx[:, :1])


def test_importing_the_package_brings_nothing_heavy():
  code = (
    'import sys, jax, optax, numpy\n'
    'top = lambda: {name.partition(".")[0] for name in sys.modules}\n'
    'before = top()\n'
    'import tetris_jax\n'
    'print(sorted(top() - before - set(sys.stdlib_module_names)))'
  )
  done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
  assert eval(done.stdout) == ['tetris_jax']


@pytest.mark.parametrize('name', ['tetris_jax', 'tetris_jax.data', 'ports.zoo'])
def test_heavy_packages_wait_until_they_are_used(name):
  heavy = 'tensorflow_datasets', 'tensorflow', 'orbax', 'flax', 'equinox', 'PIL', 'matplotlib'
  code = f'import sys, {name}; print([one for one in {heavy} if one in sys.modules])'
  done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
  assert done.stdout == '[]\n'
