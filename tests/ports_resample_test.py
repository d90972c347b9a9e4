"""Tests of the resampling matrices: closed forms, and PyTorch where it is installed."""

import numpy as np
import pytest

from ports import resample

SIZES = [(112, 448), (512, 448), (14, 112), (7, 112), (28, 42), (5, 17), (17, 5), (1, 4), (4, 1)]


@pytest.mark.parametrize('align_corners', [True, False])
@pytest.mark.parametrize(('size', 'count'), SIZES)
def test_linear_keeps_constants_and_ramps(size, count, align_corners):
  matrix = resample.linear(count, size, align_corners)
  assert matrix.shape == (count, size) and (matrix >= 0).all()
  np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-6)
  if align_corners:
    wanted = np.linspace(0, size - 1, count)
  else:
    wanted = np.clip((np.arange(count) + 0.5) * size / count - 0.5, 0, size - 1)
  np.testing.assert_allclose(matrix @ np.arange(size), wanted, atol=1e-6 * size)


@pytest.mark.parametrize(('size', 'count'), SIZES)
def test_cubic_keeps_constants_and_equal_sizes(size, count):
  np.testing.assert_allclose(resample.cubic(count, size).sum(axis=1), 1, atol=1e-6)
  np.testing.assert_array_equal(resample.cubic(size, size), np.eye(size))


def test_cubic_has_the_parameter_of_torch():
  # a place half-way between two samples, by Keys' formula with a = -0.75: a/8 and 1/2 - a/8; the
  # second row's last tap lies outside and falls on the last sample
  wanted = [[0.5, 0.59375, -0.09375, 0], [0, -0.09375, 0.59375, 0.5]]
  np.testing.assert_allclose(resample.cubic(2, 4), wanted, atol=1e-6)
  # a place on a sample
  np.testing.assert_allclose(resample.cubic(3, 9)[1], np.eye(9)[4], atol=1e-6)


def test_resize_works_on_rows_and_columns():
  x = np.random.default_rng(0).standard_normal((3, 5, 2), np.float32)
  rows, columns = resample.linear(7, 3, True), resample.cubic(4, 5)
  wanted = np.einsum('yh,xw,hwc->yxc', rows, columns, x)
  np.testing.assert_allclose(resample.resize(x, rows, columns), wanted, atol=1e-5)


@pytest.mark.parity
@pytest.mark.parametrize(('size', 'count'), SIZES)
def test_equals_torch(size, count):
  torch = pytest.importorskip('torch')
  x = np.random.default_rng(0).standard_normal((size, size), np.float32)
  tensor = torch.from_numpy(x)[None, None]
  for name, aligned, matrix in (
    ('bilinear', True, resample.linear(count, size, align_corners=True)),
    ('bilinear', False, resample.linear(count, size, align_corners=False)),
    ('bicubic', False, resample.cubic(count, size)),
  ):
    wanted = torch.nn.functional.interpolate(
      tensor, size=(count, count), mode=name, align_corners=aligned
    )
    np.testing.assert_allclose(matrix @ x @ matrix.T, wanted[0, 0].numpy(), atol=4e-6)
