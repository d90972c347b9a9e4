"""One model, a disk around the newest positive click, as every kind of module and as functions."""

import functools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attack_test import batch_of

import tetris_jax
from tetris_jax import Local, ModelInfo, Segmenter, adapters

INFO, SEARCH = ModelInfo('disk'), Local(num_steps=2)
ATTACK = jax.jit(tetris_jax.attack, static_argnames=('config', 'num_clicks', 'modes'))


def disk(radius, features, clicks):
  """Logits of a disk around the first click."""
  y = jnp.arange(features.shape[0], dtype=jnp.float32)[:, None] - clicks.yx[0, 0]
  x = jnp.arange(features.shape[1], dtype=jnp.float32)[None] - clicks.yx[0, 1]
  return radius - jnp.sqrt(y**2 + x**2 + 1e-6) + 0 * features


def plain():
  return Segmenter(
    encode=lambda params, image, size: image.mean(-1),
    init=lambda params, features: (),
    decode=lambda params, context, clicks: (disk(params['radius'], context[0], clicks), ()),
    params={'radius': np.float32(6)},
    info=INFO,
  )


def linen():
  nn = pytest.importorskip('flax.linen')

  class Disk(nn.Module):
    def setup(self):
      self.radius = self.param('radius', lambda key: jnp.float32(6))

    def encode(self, image, size):
      return image.mean(-1)

    def decode(self, context, clicks):
      return disk(self.radius, context[0], clicks), ()

  module = Disk()
  image = jnp.zeros((4, 4, 3))
  clicks = tetris_jax.Clicks(jnp.zeros((1, 2)), jnp.ones(1, jnp.int32))
  variables = module.init(jax.random.key(0), (image[..., 0], ()), clicks, method=Disk.decode)
  return adapters.from_linen(module, variables, INFO)


def nnx():
  nnx = pytest.importorskip('flax.nnx')

  class Disk(nnx.Module):
    def __init__(self):
      self.radius = nnx.Param(jnp.float32(6))

    def encode(self, image, size):
      return image.mean(-1)

    def init(self, features):
      return ()

    def decode(self, context, clicks):
      return disk(self.radius[...], context[0], clicks), ()

  module = Disk()
  assert adapters.from_nnx(module, INFO).encode == adapters.from_nnx(module, INFO).encode
  return adapters.from_nnx(module, INFO)


def equinox():
  eqx = pytest.importorskip('equinox')

  class Disk(eqx.Module):
    radius: jax.Array
    name: str

    def features(self, image):
      return image.mean(-1)

  def decode(module, context, clicks):
    return disk(module.radius, context[0], clicks), ()

  return adapters.from_equinox(
    Disk(jnp.float32(6), 'disk'), INFO, decode=decode,
    encode=lambda module, image, size: module.features(image),
  )  # fmt: skip


@functools.cache
def wanted():
  return ATTACK(plain(), batch_of(), SEARCH, num_clicks=1, modes=('min',))


@pytest.mark.slow
@pytest.mark.parametrize('make', [linen, nnx, equinox])
def test_a_module_finds_what_plain_functions_find(make):
  model, batch = make(), batch_of()
  leaves = jax.tree.leaves(model)
  assert len(leaves) == 1 and leaves[0] == 6
  found = ATTACK(model, batch, SEARCH, num_clicks=1, modes=('min',))
  np.testing.assert_array_equal(found.iou, wanted().iou)
  np.testing.assert_allclose(found.clicks.yx, wanted().clicks.yx, atol=1e-4)
  # Other parameters are another answer and no other program.
  size = ATTACK._cache_size()
  small = model.with_params(jax.tree.map(lambda x: x / 2, model.params))
  less = ATTACK(small, batch, SEARCH, num_clicks=1, modes=('min',))
  assert less.mask.sum() < found.mask.sum() and ATTACK._cache_size() == size


@pytest.mark.parametrize('make', [linen, nnx, equinox])
def test_a_loss_at_the_worst_clicks_has_a_gradient_of_the_parameters(make):
  model, batch = make(), batch_of()

  def loss(params):
    mine = model.with_params(params)
    clicks = tetris_jax.worst_clicks(mine, batch, Local(num_steps=1))
    features = mine.encode(params, batch.image[0], batch.size[0])
    context = mine.prepare(params, features, mine.init(params, features))
    logits, _ = mine.decode(params, context, jax.tree.map(lambda x: x[0], clicks))
    return jnp.mean(jax.nn.sigmoid(logits))

  slope = jax.jit(jax.grad(loss))(model.params)
  assert float(jax.tree.leaves(slope)[0]) > 0


def test_a_missing_or_foreign_part_is_told():
  with pytest.raises(TypeError, match='object has no method encode; add it, or give encode='):
    adapters.from_linen(object(), {}, INFO)
  with pytest.raises(TypeError, match='decoder is no part of a segmenter; known: encode, decode'):
    adapters.from_linen(object(), {}, INFO, decoder=disk)


def test_adapters_import_nothing_before_they_are_asked():
  code = 'import sys\nfrom tetris_jax import adapters\n'
  code += 'print([name for name in ("flax", "equinox") if name in sys.modules])'
  done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
  assert done.stdout == '[]\n'
