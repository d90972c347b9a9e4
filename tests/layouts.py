"""The field's data sets as tiny files in their published layouts, odd cases included."""

import numpy as np
import scipy.io
from PIL import Image

SIZE = (24, 36)


def picture(seed=0, size=SIZE):
  return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def trimap(ignore=128, size=SIZE):
  """An object, a band that is ignored around it, and levels that count as background."""
  mask = np.zeros((*size, 3), np.uint8)
  mask[4:16, 6:20] = ignore
  mask[6:14, 8:18] = 255
  mask[6, 8:18] = 129
  mask[20:22] = 64
  mask[18, :, 0] = 255  # Red is not the first channel of cv2.imread.
  return mask


def save(path, array, mode=None):
  path.parent.mkdir(parents=True, exist_ok=True)
  image = Image.fromarray(array)
  (image.convert(mode) if mode else image).save(path)


def save_mat(path, numbers):
  path.parent.mkdir(parents=True, exist_ok=True)
  boundaries = np.empty((3, 1), object)
  boundaries[:] = [[numbers > 0]] * 3
  held = {'Segmentation': numbers, 'Boundaries': boundaries, 'Categories': np.ones((3, 1))}
  scipy.io.savemat(path, {'GTinst': held}, do_compression=True)


def make_trimaps(root, pictures, masks):
  # The download mixes JPEG, its suffix in capitals, and BMP.
  save(root / pictures / 'banana1.bmp', picture(1))
  save(root / pictures / 'flower.JPG', picture(2))
  save(root / pictures / 'grave.jpg', picture(3), 'L')
  for stem in ('banana1', 'flower', 'grave'):
    save(root / masks / f'{stem}.bmp', trimap())


def sbd_numbers():
  numbers = np.zeros(SIZE, np.uint8)
  numbers[2:10, 2:10], numbers[12:20, 4:30] = 1, 3
  # A frame one pixel wide of 22 x 34 pixels: 108 of 748, 14.4 %.
  return numbers


def thin(size=(40, 60)):
  """Object 1 is solid; object 2, a diagonal, fills 1 / 36 of its box."""
  numbers = np.zeros(size, np.uint8)
  numbers[38:40, 50:60] = 1
  index = np.arange(36)
  numbers[index, index] = 2
  return numbers


def make_sbd(root):
  save(root / 'img' / '2008_000002.jpg', picture(1))
  save(root / 'img' / '2008_000008.JPG', picture(2, (40, 60)))
  save_mat(root / 'inst' / '2008_000002.mat', sbd_numbers())
  save_mat(root / 'inst' / '2008_000008.mat', thin())
  save(root / 'img' / '2008_000099.jpg', picture(3))  # Of another split.
  save_mat(root / 'inst' / '2008_000099.mat', sbd_numbers())
  (root / 'val.txt').write_text('2008_000008\n2008_000002\n\n')


def tetris_mask(size=SIZE):
  """Objects 5, 300 and 70000 as 24-bit numbers; the last two touch."""
  mask = np.zeros((*size, 3), np.uint8)
  mask[2:8, 2:8] = 0, 0, 5
  mask[10:20, 10:20] = 0, 300 // 256, 300 % 256
  mask[10:20, 20:30] = 70000 // 65536, 70000 // 256 % 256, 70000 % 256
  return mask
