"""What a row is warned of: objects that are everywhere, pictures of few levels, pages left out."""

import dataclasses

import numpy as np
import pytest
from picture_files import SIZE, disk, save, shades, write_png, write_tiff

from tetris_jax.data import Sample, doubts, images

GREY = shades()
FULL, EMPTY = np.ones(SIZE, np.bool_), np.zeros(SIZE, np.bool_)


def sample(mask=None, image=None, ignore=EMPTY):
  picture = np.dstack([GREY if image is None else image] * 3)
  return Sample('a', picture, disk() if mask is None else mask, ignore)


def corner(*places):
  """Objects that reach into some of the four corners."""
  mask = EMPTY.copy()
  for vertical, horizontal in places:
    mask[slice(None, 9) if vertical == 0 else slice(-9, None),
         slice(None, 9) if horizontal == 0 else slice(-9, None)] = True  # fmt: skip
  return mask


def test_an_ordinary_sample_goes_without_a_word():
  assert doubts.about(sample(), ()) == ()
  for places in ([(0, 0)], [(0, 0), (0, 1)], [(0, 0), (1, 1)], [(0, 0), (0, 1), (1, 0)]):
    assert doubts.about(sample(corner(*places)), ()) == (), places
  border = EMPTY.copy()
  border[0], border[5:] = True, True
  border[0, -1] = False
  assert doubts.about(sample(border), ()) == ()


def test_an_object_that_is_everywhere_is_told():
  (said,) = doubts.about(sample(FULL), ())
  assert said == 'the object fills the picture: the mask may have lost its alpha'
  (said,) = doubts.about(sample(disk(), ignore=~disk()), ())
  assert said.startswith('the object fills the picture, apart from ignored pixels')
  for mask in (~disk(), corner((0, 0), (0, 1), (1, 0), (1, 1))):
    (said,) = doubts.about(sample(mask), ())
    assert said.startswith('the object has all four corners of the picture: it may be the backgr')


@pytest.mark.parametrize(('low', 'high', 'told'), [
  (0, 255, False), (5, 8, True), (0, 0, True), (200, 214, True), (0, 15, True), (0, 16, False),
  (3, 24, False), (150, 180, False),
])  # fmt: skip
def test_a_picture_of_a_few_per_cent_of_the_range_is_told(low, high, told):
  image = np.linspace(low, high, GREY.size).reshape(SIZE).round().astype(np.uint8)
  said = doubts.about(sample(image=image), ())
  assert bool(said) == told
  if told:
    assert said[0].startswith(f'the picture has only levels from {low} to {high} of 255')


def test_a_dim_picture_is_told_where_its_file_has_sixteen_bits(tmp_path):
  deep = GREY.astype(np.uint16) << 6
  color = np.dstack([deep] * 3)
  for path in (
    save(tmp_path / 'a.png', deep),
    write_tiff(tmp_path / 'a.tif', [deep]),
    write_png(tmp_path / 'b.png', color, 2),
  ):
    read = dataclasses.replace(sample(), image=images.read_picture(path))
    (said,) = doubts.about(read, [path, tmp_path / 'mask.png'])
    assert said.startswith('the picture is a 16-bit file whose brightest level is 57 of 255')
    assert 'the option bits of dataset=folder' in said
    bright = dataclasses.replace(sample(), image=images.read_picture(path, bits=14))
    assert doubts.about(bright, [path]) == ()
  dark = save(tmp_path / 'c.png', GREY // 4)
  read = dataclasses.replace(sample(), image=images.read_picture(dark))
  assert doubts.about(read, [dark]) == ()


def test_pages_that_do_not_count_are_told(tmp_path):
  path = write_tiff(tmp_path / 'a.tif', [GREY, GREY[::-1], GREY[:, ::-1]])
  (said,) = doubts.about(sample(), [path])
  assert said == 'the picture is the first of 3 pages of its size; the others do not count'
  small = write_tiff(tmp_path / 'b.tif', [GREY, GREY[::2, ::2].copy()])
  assert doubts.about(sample(), [small]) == ()


@pytest.mark.filterwarnings('ignore:Corrupt EXIF')
def test_files_that_cannot_be_looked_at_say_nothing(tmp_path):
  (tmp_path / 'a.tif').write_bytes(b'II*\0nothing')
  for name in ('a.tif', 'gone.png'):
    assert doubts.about(sample(), [tmp_path / name]) == ()
