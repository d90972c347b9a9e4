"""MATLAB files: what SciPy writes is read alike, and what is damaged is refused in words."""

import io

import numpy as np
import pytest
import scipy.io
import scipy.sparse

from tetris_jax.data import matlab

NUMBERS = np.arange(24).reshape(4, 6) % 5


def written(held, **options):
  file = io.BytesIO()
  scipy.io.savemat(file, held, **options)
  return file.getvalue()


@pytest.mark.parametrize('packed', [False, True])
@pytest.mark.parametrize('kind', ['u1', 'i1', 'u2', 'i2', 'u4', 'i4', 'u8', 'i8', 'f4', 'f8', '?'])
def test_numbers_of_every_kind_come_back(kind, packed):
  numbers = NUMBERS.astype(kind)
  stored = written({'a': 1, 'held': {'x': numbers, 'y': [1, 2]}}, do_compression=packed)
  found = matlab.read_structs(stored)
  assert list(found) == ['a', 'held'] and found['a'].fields == ()
  assert found['held'].fields == ('x', 'y')
  np.testing.assert_array_equal(found['held'].numbers('x'), numbers)


def test_sparse_numbers_come_back():
  numbers = scipy.sparse.csc_matrix(NUMBERS * 0.5)
  found = matlab.read_structs(written({'held': {'x': numbers}}))
  np.testing.assert_array_equal(found['held'].numbers('x'), NUMBERS * 0.5)


def test_other_values_are_no_numbers():
  cells = np.empty((1, 2), object)
  cells[:] = 1
  held = {'text': 'abc', 'cells': cells, 'complex': NUMBERS * 1j, 'inner': {'x': 1}}
  found = matlab.read_structs(written({'held': held}))
  for name in held:
    with pytest.raises(matlab.MatlabError, match='no real numbers'):
      found['held'].numbers(name)
  with pytest.raises(KeyError):
    found['held'].numbers('more')


def test_an_empty_array_has_no_number():
  found = matlab.read_structs(written({'held': {'x': np.zeros((0, 0))}}))
  assert found['held'].numbers('x').shape == (0, 0)


@pytest.mark.parametrize(('old', 'new', 'words'), [
  (b'\x09\x00\x00\x00\x00\x00\x00\x00', b'\x05\x00\x00\x00\x00\x00\x00\x00', 'sparse'),
  (b'\x09\x00\x00\x00\x00\x00\x00\x00', b'\x02\x00\x00\x00\x00\x00\x00\x00', 'no real numbers'),
  (b'\x04\x00\x00\x00\x06\x00\x00\x00', b'\x05\x00\x00\x00\x06\x00\x00\x00', '24 numbers for the'),
  (b'\x04\x00\x00\x00\x06\x00\x00\x00', b'\xff\xff\xff\x7f\x06\x00\x00\x00', 'has the shape'),
])  # fmt: skip
def test_what_does_not_fit_is_refused(old, new, words):
  stored = written({'held': {'x': NUMBERS.astype('u1')}})
  assert stored.count(old) == 1
  with pytest.raises(matlab.MatlabError, match=words):
    matlab.read_structs(stored.replace(old, new))['held'].numbers('x')


def test_the_class_of_a_struct_is_not_believed():
  stored = written({'held': {'x': NUMBERS.astype('u1')}})
  place = 128 + 16  # Of the class of the first array, by which SciPy would end the process.
  assert stored[place] == 2
  found = matlab.read_structs(stored[:place] + b'\x09' + stored[place + 1 :])
  assert found['held'].fields == ()


def test_what_ends_early_is_refused():
  for packed in (False, True):
    stored = written({'held': {'x': NUMBERS}}, do_compression=packed)
    for length in range(0, len(stored), 7):
      try:
        found = matlab.read_structs(stored[:length])
      except matlab.MatlabError:
        continue
      assert not found


def test_what_unpacks_to_too_much_is_refused(monkeypatch):
  stored = written({'held': {'x': NUMBERS}}, do_compression=True)
  monkeypatch.setattr(matlab, '_MOST_UNPACKED', 100)
  with pytest.raises(matlab.MatlabError, match='more than 100 bytes'):
    matlab.read_structs(stored)


@pytest.mark.parametrize('packed', [False, True])
def test_a_variable_that_cannot_be_read_costs_no_other(packed):
  odd = written({'probs': np.zeros((96, 128, 1470), 'u1')}, do_compression=packed)
  wanted = written({'held': {'x': NUMBERS}})
  for stored in (odd + wanted[128:], wanted + odd[128:]):
    with pytest.raises(matlab.MatlabError, match='an array has the shape'):
      matlab.read_structs(stored)
    with pytest.raises(matlab.MatlabError, match='an array has the shape'):
      matlab.read_structs(stored, only='other')
    found = matlab.read_structs(stored, only='held')
    np.testing.assert_array_equal(found['held'].numbers('x'), NUMBERS)
