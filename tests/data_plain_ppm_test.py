"""PGM and PPM in letters: the pixels of the binary form, or what among them is no number."""

import io

import numpy as np
import pytest
from PIL import Image

from tetris_jax.data import images, plain_ppm

SIZE = 6, 7


def spelled(numbers, white, between=b' '):
  kind = 3 if numbers.ndim == 3 else 2
  body = between.join(b'%d' % number for number in numbers.ravel())
  return b'P%d # made\n%d %d\n#by hand\n%d\n' % (kind, *SIZE[::-1], white) + body + b'\n'


@pytest.mark.parametrize('white', [1, 7, 200, 255, 1000, 65535])
@pytest.mark.parametrize('channels', [(), (3,)])
def test_pillow_sees_the_same_in_the_binary_form(white, channels):
  numbers = np.random.default_rng(0).integers(0, white + 1, (*SIZE, *channels))
  data = spelled(numbers, white, b'\n#x y\r 00')
  assert plain_ppm.is_plain(data)
  plain, binary = (
    np.asarray(Image.open(io.BytesIO(one))) for one in (data, plain_ppm.as_binary(data))
  )
  np.testing.assert_array_equal(binary, plain)


@pytest.mark.parametrize(('body', 'said'), [
  (b'P2 2 2 9 1 2 3', 'it is truncated: 3 numbers where 4 are'),
  (b'P2 2 2 9', 'it is truncated: 0 numbers where 4 are'),
  (b'P2 2 2 9 1 2 3 10', 'it has the number 10, above 9, its white'),
  (b'P2 2 2 9 1 2 -3 4', 'something among its numbers is none'),
  (b'P2 2 2 9 1 2 3 4444444444', 'something among its numbers is none'),
  (b'P2 2 2 70000 1 2 3 4', 'its header says 2 x 2 pixels and 70000 for white'),
  (b'P2 2 0 9', 'its header says 2 x 0 pixels'),
  (b'P2 2', 'its header is not understood'),
])
def test_what_is_no_picture_is_said(body, said):
  with pytest.raises(plain_ppm.PlainError) as caught:
    plain_ppm.as_binary(body)
  assert said in str(caught.value)


def test_pictures_and_masks_in_letters_are_read(tmp_path):
  numbers = np.random.default_rng(0).integers(0, 256, (*SIZE, 3))
  (tmp_path / 'a.ppm').write_bytes(spelled(numbers, 255))
  np.testing.assert_array_equal(images.read_picture(tmp_path / 'a.ppm'), numbers)
  (tmp_path / 'a.pgm').write_bytes(spelled(numbers[..., 0], 255))
  found = images.read_mask(tmp_path / 'a.pgm', objects='ids', drawn=False)
  np.testing.assert_array_equal(found, numbers[..., 0])
  (tmp_path / 'b.pgm').write_bytes(spelled(numbers[..., 0], 255)[:-9])
  with pytest.raises(images.UnreadableImage, match=r'b\.pgm is damaged: it is truncated'):
    images.read_picture(tmp_path / 'b.pgm')


def test_bitmaps_and_the_binary_form_are_none_of_them():
  assert not any(map(plain_ppm.is_plain, (b'P1 2', b'P5 2', b'P6 2', b'P22 ', b'')))
