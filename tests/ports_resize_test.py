"""Tests of resizing with aligned corners against PyTorch's numbers."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ports.resize import aligned, crop, resize

GOLDEN = pathlib.Path(__file__).parent / 'golden' / 'ritm_resize.npz'


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
