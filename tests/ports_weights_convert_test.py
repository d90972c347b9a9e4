"""Tests of the strict mapping: right layouts, and one error that lists every fault."""

import tracemalloc

import numpy as np
import pytest
from scipy import signal

from ports.weights import convert
from ports.weights.errors import CheckpointError

SHAPES = {
  'a/conv/kernel': (3, 3, 2, 5),
  'a/conv/bias': (5,),
  'b/fc/kernel': (4, 6),
  'b/norm/scale': (6,),
  'c/embedding': (1, 7),
}
SOURCES = {
  'a.conv.weight': (5, 2, 3, 3),
  'a.conv.bias': (5,),
  'b.fc.weight': (6, 4),
  'b.norm.weight': (6,),
  'c.weight': (1, 7),
}


def state(**changes):
  rng = np.random.default_rng(0)
  made = {name: rng.standard_normal(shape, np.float32) for name, shape in SOURCES.items()}
  return made | changes


def test_every_layout():
  source = state()
  tree = convert.convert(source, convert.moves(SHAPES), SHAPES)
  assert {name: array.shape for name, array in tree.items()} == SHAPES
  for array in tree.values():
    assert array.dtype == np.float32 and array.flags.c_contiguous
  np.testing.assert_array_equal(tree['b/fc/kernel'], source['b.fc.weight'].T)
  np.testing.assert_array_equal(tree['c/embedding'], source['c.weight'])
  for h, w, i, o in np.ndindex(SHAPES['a/conv/kernel']):
    assert tree['a/conv/kernel'][h, w, i, o] == source['a.conv.weight'][o, i, h, w]


def test_one_error_lists_every_fault():
  source = state(extra=np.zeros(2, np.float32))
  del source['c.weight']
  source['a.conv.bias'] = np.zeros(4, np.float32)
  source['b.fc.weight'] = np.zeros((6, 4, 1), np.float32)
  source['b.norm.weight'] = np.zeros(6, np.int32)
  with pytest.raises(CheckpointError) as error:
    convert.convert(source, convert.moves(SHAPES), SHAPES)
  text = str(error.value)
  assert '5 faults' in text
  for part in (
    'missing: c.weight',
    'unknown: extra of shape (2,)',
    'misshapen: a.conv.bias gives (4,) for a/conv/bias, which has (5,)',
    'misshapen: b.fc.weight: a matrix was expected, found shape (6, 4, 1)',
    'not floating point: b.norm.weight is int32',
  ):
    assert part in text


def test_a_square_matrix_is_still_transposed():
  shapes = {'fc/kernel': (2, 2)}
  source = {'fc.weight': np.array([[1, 2], [3, 4]], np.float32)}
  tree = convert.convert(source, convert.moves(shapes), shapes)
  assert tree['fc/kernel'].tolist() == [[1, 3], [2, 4]]


def test_known_entries_are_skipped_by_their_whole_name_only():
  source = state(head=np.zeros(1, np.float32))
  plan = convert.moves(SHAPES)
  assert set(convert.convert(source, plan, SHAPES, skip=('head',))) == set(SHAPES)
  for pattern in ('hea', 'ead', 'other'):
    with pytest.raises(CheckpointError, match='unknown: head'):
      convert.convert(source, plan, SHAPES, skip=(pattern,))


def test_faults_of_the_plan_itself():
  plan = convert.moves(SHAPES)
  with pytest.raises(CheckpointError, match=r'used 2 times: c\.weight'):
    again = convert.Move(('d',), ('c.weight',), convert.as_is)
    convert.convert(state(), [*plan, again], SHAPES | {'d': (1, 7)})
  with pytest.raises(CheckpointError, match='no rule writes d'):
    convert.convert(state(), plan, SHAPES | {'d': (1,)})
  with pytest.raises(CheckpointError, match='no such leaf: c/embedding'):
    convert.convert(state(), plan, {n: s for n, s in SHAPES.items() if n[0] != 'c'})


def test_values_that_float32_cannot_hold_are_refused():
  source = state(**{'c.weight': np.full((1, 7), 1e300)})
  with pytest.raises(CheckpointError, match='not finite in float32: c/embedding'):
    convert.convert(source, convert.moves(SHAPES), SHAPES)


def test_folding_equals_convolution_then_batch_norm():
  rng = np.random.default_rng(1)
  weight = rng.standard_normal((4, 3, 3, 3))
  scale, bias, mean = rng.standard_normal((3, 4))
  variance = rng.uniform(0.01, 2, 4)
  image = rng.standard_normal((3, 8, 9))

  def conv(kernel):
    return np.stack([
      sum(signal.correlate(image[i], kernel[o, i], 'valid') for i in range(3)) for o in range(4)
    ])

  column = (slice(None), None, None)
  normal = (conv(weight) - mean[column]) / np.sqrt(variance + 1e-5)[column]
  wanted = normal * scale[column] + bias[column]
  kernel, shift = convert.fold_batch_norm(weight, scale, bias, mean, variance)
  found = conv(kernel.transpose(3, 2, 0, 1)) + shift[column]
  np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


def test_folding_refuses_norms_of_another_width_and_negative_variances():
  weight, row = np.ones((4, 3, 1, 1)), np.ones(4)
  with pytest.raises(ValueError, match='shape'):
    convert.fold_batch_norm(weight, np.ones(1), np.ones(1), np.ones(1), np.ones(1))
  with pytest.raises(ValueError, match='negative'):
    convert.fold_batch_norm(weight, row, row, row, -row)


def test_what_nobody_needs_any_more_is_let_go_along_the_way():
  shapes = {f'{i}/kernel': (512, 1024) for i in range(8)}
  array = lambda i: np.random.default_rng(i).standard_normal((1024, 512), np.float32)
  one = array(0).nbytes
  tracemalloc.start()
  source = convert.Once({f'{i}.weight': array(i) for i in range(8)})
  tree = convert.convert(source, convert.moves(shapes), shapes)
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  # eight arrays, of which one at a time is there twice, and what looking at one takes
  assert 8 * one <= peak < 10 * one and not source
  for i in range(8):
    np.testing.assert_array_equal(tree[f'{i}/kernel'], array(i).T)


def test_what_does_not_fit_is_still_all_there_afterwards():
  source = convert.Once(state())
  source['c.weight'] = np.full((1, 7), 1e300)
  with pytest.raises(CheckpointError, match='not finite in float32: c/embedding'):
    convert.convert(source, convert.moves(SHAPES), SHAPES)
  assert set(source) == set(SOURCES)
