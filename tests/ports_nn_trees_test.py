"""Tests of flat trees: names and shapes without arrays, and modules bound to parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ports.nn import trees


class Net(nnx.Module):
  """A linear layer in a list and a scale of its own, in an order that names do not have."""

  def __init__(self, width, rngs):
    self.z = nnx.Param(jnp.ones((width,)))
    self.blocks = nnx.List([nnx.Linear(2, width, rngs=rngs) for _ in range(11)])

  def __call__(self, x):
    """(n, 2) -> (n, width)."""
    return sum(block(x) for block in self.blocks) * self.z[...][None]


DEFINITION = trees.define(lambda rngs: Net(3, rngs), 'net/')


def params():
  rng = np.random.default_rng(0)
  return {n: rng.standard_normal(s, np.float32) for n, s in DEFINITION.shapes.items()}


def test_leaves_are_named_by_their_paths():
  wanted = {'net/z': (3,)}
  for i in range(11):
    wanted |= {f'net/blocks/{i}/kernel': (2, 3), f'net/blocks/{i}/bias': (3,)}
  assert DEFINITION.shapes == wanted
  without = trees.define(lambda rngs: Net(3, rngs))
  assert list(without.shapes) == [name.removeprefix('net/') for name in DEFINITION.shapes]
  with pytest.raises(TypeError):
    DEFINITION.shapes['net/z'] = (4,)


def test_no_array_is_formed():
  # petabytes, if it were
  huge = trees.define(lambda rngs: nnx.Linear(1 << 24, 1 << 26, rngs=rngs))
  assert huge.shapes == {'kernel': (1 << 24, 1 << 26), 'bias': (1 << 26,)}


def test_every_parameter_goes_to_its_own_place():
  given = params()
  x = np.random.default_rng(1).standard_normal((4, 2), np.float32)
  wanted = sum(
    x @ given[f'net/blocks/{i}/kernel'] + given[f'net/blocks/{i}/bias'] for i in range(11)
  ) * given['net/z']
  evaluate = jax.jit(lambda params, x: trees.bind(DEFINITION, params)(x))
  # the order in which a caller's dict has them, and what else it holds, do not matter
  given = dict(reversed(given.items())) | {'other': np.ones(1, np.float32)}
  np.testing.assert_allclose(evaluate(given, x), wanted, atol=1e-4)


def test_gradients_have_the_names_of_the_parameters():
  given, x = params(), np.ones((1, 2), np.float32)
  slopes = jax.grad(lambda params: trees.bind(DEFINITION, params)(x).sum())(given)
  assert {n: a.shape for n, a in slopes.items()} == dict(DEFINITION.shapes)
  np.testing.assert_allclose(slopes['net/blocks/10/bias'], given['net/z'], atol=1e-6)


def test_a_parameter_that_is_missing_is_named():
  given = params()
  del given['net/blocks/7/kernel']
  with pytest.raises(KeyError, match='net/blocks/7/kernel'):
    trees.bind(DEFINITION, given)
