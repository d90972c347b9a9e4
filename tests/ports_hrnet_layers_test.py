"""Tests of HRNet's layers: torch's padding, pictures on larger canvases, stacks of modules."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import signal

from ports.hrnet import layers


def normal(*shape, seed=0):
  return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def randomised(module, seed=1):
  """The module with parameters of about one over the root of what they sum up."""
  graph, state = nnx.split(module)
  rng = np.random.default_rng(seed)

  def draw(leaf):
    fan = max(int(np.prod(leaf.shape[-4:-1])), 1) if leaf.ndim >= 4 else 4
    return jnp.asarray(rng.standard_normal(leaf.shape, dtype=np.float32) / np.float32(fan**0.5))

  return nnx.merge(graph, jax.tree.map(draw, state))


@functools.partial(jax.jit, static_argnums=(0, 1))
def on_levels(evaluate, canvas, size, *x):
  """evaluate(levels, *x) as one program: what it leaves out of the levels is not computed."""
  return evaluate(layers.Levels(*canvas, size), *x)


@pytest.mark.slow
@pytest.mark.parametrize('size', [(64, 96), (75, 41)])
def test_levels_halve_and_round_up(size):
  canvas, fixed = (80, 96), layers.Levels(*size, None)
  xs = [normal(2, -(-canvas[0] // 2**i), -(-canvas[1] // 2**i), 3) for i in range(6)]

  def evaluate(levels, *xs):
    assert levels.canvas == [x.shape[1:3] for x in xs]
    return levels.size, levels.masks, [levels.cut(x, i) for i, x in enumerate(xs)]

  sizes, masks, cut = on_levels(evaluate, canvas, jnp.array(size, jnp.int32), *xs)
  assert fixed.masks == [None] * 6
  for level, x in enumerate(xs):
    wanted = tuple(-(-side // 2**level) for side in size)
    assert tuple(np.asarray(sizes[level])) == wanted
    assert fixed.size[level] == fixed.canvas[level] == wanted
    mask = np.zeros((1, *x.shape[1:3], 1), np.float32)
    mask[:, : wanted[0], : wanted[1]] = 1
    np.testing.assert_array_equal(masks[level], mask)
    np.testing.assert_array_equal(cut[level], x * mask)
    assert fixed.cut(x, level) is x


@pytest.mark.parametrize(('level', 'to'), [(3, 2), (5, 2), (4, 3)])
def test_stretching_reads_the_picture_alone(level, to):
  canvas, size = (64, 64), (41, 58)
  (rows, columns), (height, width) = ([-(-n // 2**i) for n in size] for i in (level, to))
  x = normal(2, canvas[0] // 2**level, canvas[1] // 2**level, 3)
  picture = x[:, :rows, :columns]
  stretch = lambda levels, x: levels.stretch(x, level, to)
  wanted = np.asarray(on_levels(stretch, size, None, picture))
  assert wanted.shape == (2, height, width, 3)
  # corners stay where they are
  corners = np.ix_(range(2), [0, -1], [0, -1], range(3))
  np.testing.assert_allclose(wanted[corners], picture[corners], atol=1e-6)
  found = np.asarray(on_levels(stretch, canvas, jnp.array(size, jnp.int32), x))
  assert found.shape == (2, canvas[0] // 2**to, canvas[1] // 2**to, 3)
  np.testing.assert_allclose(found[:, :height, :width], wanted, atol=1e-5)
  assert np.all(found[:, height:] == 0) and np.all(found[:, :, width:] == 0)


@pytest.mark.parametrize(('size', 'stride'), [(1, 1), (3, 1), (3, 2)])
def test_a_convolution_is_padded_as_torch_pads(size, stride):
  conv = randomised(layers.Conv(2, 3, nnx.Rngs(0), size=size, stride=stride))
  x = normal(1, 9, 12, 2)
  kernel, bias = np.asarray(conv.kernel[...]), np.asarray(conv.bias[...])
  wanted = np.stack([
    sum(signal.correlate2d(x[0, ..., i], kernel[:, :, i, o], 'same') for i in range(2)) + bias[o]
    for o in range(3)
  ], axis=-1)[::stride, ::stride]
  np.testing.assert_allclose(conv(x)[0], wanted, atol=1e-5)


def test_a_stack_runs_one_module_after_the_other():
  stack = randomised(layers.Basic(4, nnx.Rngs(0), (3,)))
  graph, state = nnx.split(stack)

  def unrolled(levels, x):
    for i in range(3):
      one = nnx.merge(graph, jax.tree.map(lambda leaf, i=i: leaf[i], state))
      x = one(x, levels, layers.LEVEL)
    return x

  x = normal(1, 8, 12, 4)
  repeated = lambda levels, x: layers.repeat(stack, x, levels, layers.LEVEL)
  found, wanted = (on_levels(f, (32, 48), None, x) for f in (repeated, unrolled))
  assert float(jnp.abs(wanted).max()) > 1
  np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_residuals_pass_where_the_convolutions_are_zero():
  basic = layers.Basic(4, nnx.Rngs(0), ())
  same = layers.Bottleneck(8, 2, nnx.Rngs(0))
  wider = layers.Bottleneck(3, 2, nnx.Rngs(0))
  assert same.downsample is None and wider.downsample is not None
  for module, width, more in ((basic, 4, (layers.LEVEL,)), (same, 8, ())):
    for conv in ('conv1', 'conv2', 'conv3'):
      if hasattr(module, conv):
        getattr(module, conv).kernel[...] = jnp.zeros(getattr(module, conv).kernel.shape)
    x = normal(1, 4, 6, width)
    run = lambda levels, x, module=module, more=more: module(x, levels, *more)
    np.testing.assert_array_equal(on_levels(run, (16, 24), None, x), np.maximum(x, 0))
  run = lambda levels, x: wider(x, levels)
  assert on_levels(run, (16, 24), None, normal(1, 4, 6, 3)).shape == (1, 4, 6, 8)


@pytest.mark.slow
def test_an_exchange_of_a_picture_on_a_larger_canvas():
  size = (20, 28)
  module = randomised(layers.Exchange((2, 4), 1, 1, nnx.Rngs(0)))
  graph, state = nnx.split(module)
  leaves = jax.tree.map(lambda leaf: leaf[0], state)

  run = lambda levels, *xs: nnx.merge(graph, leaves)(list(xs), levels)
  xs, ys = [], []
  for level, width in ((2, 2), (3, 4)):
    rows, columns = (-(-n // 2**level) for n in size)
    x = normal(1, rows, columns, width, seed=level)
    around = ((0, 0), (0, 32 // 2**level - rows), (0, 48 // 2**level - columns), (0, 0))
    xs.append(x)
    ys.append(np.pad(x, around, constant_values=3))
  wanted = on_levels(run, size, None, *xs)
  found = on_levels(run, (32, 48), jnp.array(size, jnp.int32), *ys)
  for a, b in zip(wanted, found, strict=True):
    _, rows, columns, _ = a.shape
    assert float(jnp.abs(a).max()) > 0.1
    np.testing.assert_allclose(b[:, :rows, :columns], a, rtol=1e-4, atol=1e-4)
