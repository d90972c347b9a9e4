"""Tests of resizing: closed forms, PyTorch's numbers, and PyTorch where it is installed."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ports.nn.resize import (
  aligned,
  antialiased,
  crop,
  cubic,
  linear,
  resize,
  triangles,
  unaligned,
)

SIZES = [(112, 448), (512, 448), (14, 112), (7, 112), (28, 42), (5, 17), (17, 5), (1, 4), (4, 1)]
GOLDEN = pathlib.Path(__file__).parent / 'golden' / 'ritm_resize.npz'


@pytest.mark.slow
@pytest.mark.parametrize('height, width', [(13, 11), (4, 5)])
@pytest.mark.parametrize('padding', [0, 3])
def test_resized_as_torch_does(height, width, padding):
  golden = np.load(GOLDEN)
  x, wanted = golden['in/x'], golden[f'interp_align_true_{height}x{width}']
  h, w = x.shape[2:]
  room = np.pad(x, ((0, 0), (0, 0), (0, padding), (0, padding)), constant_values=50)
  vertical = aligned(height + padding, h + padding, jnp.int32(height), jnp.int32(h))
  horizontal = aligned(width + padding, w + padding, jnp.int32(width), jnp.int32(w))
  found = np.asarray(resize(room.transpose(0, 2, 3, 1), vertical, horizontal))
  found = found.transpose(0, 3, 1, 2)
  np.testing.assert_allclose(found[:, :, :height, :width], wanted, atol=1e-6)
  assert np.all(found[:, :, height:] == 0) and np.all(found[..., width:] == 0)


def test_one_sample_is_repeated_and_one_is_kept():
  np.testing.assert_array_equal(aligned(4, 3, 4, 1), [[1, 0, 0]] * 4)
  np.testing.assert_array_equal(aligned(2, 3, 1, 3), [[1, 0, 0], [0, 0, 0]])


def test_the_gradient_is_the_transpose():
  rng = np.random.default_rng(0)
  x, y = rng.normal(size=(5, 4, 2)).astype(np.float32), rng.normal(size=(9, 7, 2))
  vertical, horizontal = aligned(9, 5, 8, 5, into=1), aligned(7, 4, 7, 4, mirrored=True)
  _, back = jax.vjp(lambda x: resize(x, vertical, horizontal), x)
  (found,) = back(jnp.asarray(y, jnp.float32))
  wanted = np.einsum('ah,bw,abc->hwc', np.asarray(vertical), np.asarray(horizontal), y)
  np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_crop_is_a_slice_resized():
  rng = np.random.default_rng(1)
  image = rng.normal(size=(12, 15, 3)).astype(np.float32)
  start, extent, size = (jnp.array(v, jnp.int32) for v in ([2, 3], [7, 9], [10, 5]))
  found = crop(image, (11, 8), start, extent, size, True)
  wanted = resize(image[2:9, 3:12], aligned(11, 7, 10, 7), aligned(8, 9, 5, 9, mirrored=True))
  np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize('align_corners', [True, False])
@pytest.mark.parametrize(('size', 'count'), SIZES)
def test_linear_keeps_constants_and_ramps(size, count, align_corners):
  matrix = linear(count, size, align_corners)
  assert matrix.shape == (count, size) and (matrix >= 0).all()
  np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-6)
  if align_corners:
    wanted = np.linspace(0, size - 1, count)
  else:
    wanted = np.clip((np.arange(count) + 0.5) * size / count - 0.5, 0, size - 1)
  np.testing.assert_allclose(matrix @ np.arange(size), wanted, atol=1e-6 * size)


@pytest.mark.parametrize(('size', 'count'), SIZES)
def test_cubic_keeps_constants_and_equal_sizes(size, count):
  np.testing.assert_allclose(cubic(count, size).sum(axis=1), 1, atol=1e-6)
  np.testing.assert_array_equal(cubic(size, size), np.eye(size))


def test_cubic_has_the_parameter_of_torch():
  # a place half-way between two samples, by Keys' formula with a = -0.75: a/8 and 1/2 - a/8; the
  # second row's last tap lies outside and falls on the last sample
  wanted = [[0.5, 0.59375, -0.09375, 0], [0, -0.09375, 0.59375, 0.5]]
  np.testing.assert_allclose(cubic(2, 4), wanted, atol=1e-6)
  # a place on a sample
  np.testing.assert_allclose(cubic(3, 9)[1], np.eye(9)[4], atol=1e-6)


def test_resize_works_on_rows_and_columns():
  x = np.random.default_rng(0).standard_normal((3, 5, 2), np.float32)
  rows, columns = linear(7, 3, True), cubic(4, 5)
  wanted = np.einsum('yh,xw,hwc->yxc', rows, columns, x)
  np.testing.assert_allclose(resize(x, rows, columns), wanted, atol=1e-5)


@pytest.mark.parity
@pytest.mark.parametrize(('size', 'count'), SIZES)
def test_matrices_equal_torch(size, count):
  torch = pytest.importorskip('torch')
  x = np.random.default_rng(0).standard_normal((size, size), np.float32)
  tensor = torch.from_numpy(x)[None, None]
  for name, corners, matrix in (
    ('bilinear', True, linear(count, size, align_corners=True)),
    ('bilinear', False, linear(count, size, align_corners=False)),
    ('bicubic', False, cubic(count, size)),
  ):
    wanted = torch.nn.functional.interpolate(
      tensor, size=(count, count), mode=name, align_corners=corners
    )
    np.testing.assert_allclose(matrix @ x @ matrix.T, wanted[0, 0].numpy(), atol=4e-6)


@pytest.mark.slow
@pytest.mark.parametrize(('size', 'count'), SIZES)
def test_sizes_as_data_give_the_matrix_of_fixed_sizes(size, count):
  found = jax.jit(aligned, static_argnums=(0, 1))(count + 2, size + 1, count, size)
  np.testing.assert_allclose(found[:count, :size], linear(count, size, True), atol=1e-6 * size)
  assert np.all(found[count:] == 0) and np.all(found[:, size:] == 0)


@pytest.mark.parametrize(('size', 'count'), SIZES)
def test_lengths_as_data_give_what_fixed_ones_do(size, count):
  length, source = jnp.float32(count), jnp.float32(size)
  found = np.asarray(jax.jit(unaligned, static_argnums=(0, 2))(count + 3, length, size + 2, source))
  np.testing.assert_allclose(found[:count, :size], linear(count, size, False), atol=1e-5)
  assert np.isfinite(found).all() and not found[:count, size:].any()


@pytest.mark.slow
def test_antialiasing_averages_where_it_shrinks_and_interpolates_where_it_enlarges():
  halved = np.asarray(antialiased(4, 9, jnp.int32(8)))
  np.testing.assert_allclose(halved[1], np.array([0, 1, 3, 3, 1, 0, 0, 0, 0]) / 8, atol=1e-7)
  np.testing.assert_allclose(halved[0], np.array([3, 3, 1, 0, 0, 0, 0, 0, 0]) / 7, atol=1e-7)
  enlarged = np.asarray(antialiased(12, 5, jnp.int32(5)))
  np.testing.assert_allclose(enlarged, linear(12, 5, False), atol=1e-6)
  for size in (1, 7, 300):
    matrix = np.asarray(antialiased(32, 300, jnp.int32(size)))
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-6)
    assert not matrix[:, size:].any()


def test_triangles_are_whole_numbers_of_the_samples_that_are_there():
  found = triangles(5, 7, jnp.int32(3), jnp.int32(6))
  assert found.dtype == jnp.int32
  np.testing.assert_array_equal(found[1], [0, 3, 9, 9, 3, 0, 0])
  assert not found[3:].any() and not found[:, 6:].any()
