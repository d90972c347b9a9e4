"""Pages: how many there are, and whether the first says what the others do."""

import numpy as np
import pytest
from picture_files import SIZE, shades, write_tiff
from PIL import Image

from tetris_jax.data import files, pages

GREY = shades()
BLANK = np.zeros(SIZE, np.uint8)
DEEP = GREY.astype(np.uint16) << 8


@pytest.mark.parametrize(('others', 'alike'), [
  ([], True),
  ([GREY, GREY], True),
  ([BLANK], True),
  ([GREY, GREY[::-1]], False),
  ([np.zeros((40, 40), np.uint8)], False),
])
def test_pages_that_say_the_same_are_told_from_others(tmp_path, others, alike):
  path = write_tiff(tmp_path / 'a.tif', [GREY, *others])
  assert pages.pages(path) == (1 + len(others), alike)


@pytest.mark.parametrize(('one', 'other', 'alike'), [
  (DEEP, DEEP, True),
  (DEEP, DEEP + 1, False),  # By less than 8 bits tell.
  (DEEP, np.full(SIZE, 700, np.uint16), True),
  (DEEP, GREY, False),
  (GREY.astype(np.float32), GREY.astype(np.float32), True),
  (np.dstack([GREY] * 3), np.dstack([GREY, GREY, GREY[::-1]]), False),
])
def test_pages_of_any_depth_are_compared(tmp_path, one, other, alike):
  assert pages.pages(write_tiff(tmp_path / 'a.tif', [one, other])) == (2, alike)


def test_clear_pixels_of_other_colours_differ(tmp_path):
  path = tmp_path / 'a.png'
  first, other = (Image.fromarray(np.dstack([one] * 3 + [BLANK])) for one in (GREY, GREY[::-1]))
  first.save(path, save_all=True, append_images=[other], disposal=0, blend=0)
  assert pages.pages(path) == (2, False)


def test_a_blank_page_first_says_nothing_of_the_others(tmp_path):
  assert pages.pages(write_tiff(tmp_path / 'a.tif', [BLANK, GREY])) == (2, False)
  assert pages.pages(write_tiff(tmp_path / 'b.tif', [BLANK, BLANK])) == (2, True)


def test_smaller_versions_are_no_pages_of_their_own(tmp_path):
  path = write_tiff(tmp_path / 'a.tif', [GREY, GREY[::2, ::2].copy()])
  assert pages.pages(path) == (2, True)
  with files.header(path) as (image, _):
    assert pages.further_pages(image) == 0
  with files.header(write_tiff(tmp_path / 'b.tif', [GREY] * 3)) as (image, _):
    assert pages.further_pages(image) == 2


@pytest.mark.parametrize('suffix', ['gif', 'png', 'webp'])
def test_frames_count_as_pages(tmp_path, suffix):
  path, options = tmp_path / f'a.{suffix}', {'lossless': True} if suffix == 'webp' else {}
  first, other = (Image.fromarray(one).convert('RGB') for one in (GREY, GREY[::-1]))
  first.save(path, save_all=True, append_images=[other, first], **options)
  assert pages.pages(path) == (3, False)
  first.save(path, **options)
  assert pages.pages(path) == (1, True)


def test_a_gif_does_not_grow_from_frame_to_frame(tmp_path):
  path, frames = tmp_path / 'a.gif', [Image.fromarray(one) for one in (GREY, GREY[::-1], GREY)]
  frames[0].save(path, save_all=True, append_images=frames[1:])
  stored = path.read_bytes()
  place = b',\0\0\0\0\x24\0\x18\0'  # Of a frame, its left, top, width and height.
  assert stored.count(place) == 3
  second = stored.index(place, stored.index(place) + 1)
  path.write_bytes(stored[: second + 5] + b'\0\x50\0\x10' + stored[second + 9 :])
  with pytest.raises(files.UnreadableImage, match='differ: page 2 has 4096 x 20480 pixels, the fi'):
    pages.pages(path)


def test_a_file_of_thousands_of_frames_is_not_walked_through(tmp_path, monkeypatch):
  frames = [Image.fromarray(np.full((2, 2), k % 2 * 255, np.uint8)) for k in range(300)]
  path = tmp_path / 'a.gif'
  frames[0].save(path, save_all=True, append_images=frames[1:], duration=list(range(10, 3010, 10)))
  assert pages.pages(path) == (64, False)


def test_what_follows_a_jpeg_is_made_for_displays(tmp_path):
  path = tmp_path / 'a.jpg'
  first, other = (Image.fromarray(one).convert('RGB') for one in (GREY, GREY[::-1]))
  first.save(path, 'MPO', save_all=True, append_images=[other])
  assert pages.pages(path) == (1, True)
