"""Opening: nothing is decoded before limits are checked, low bytes, pages, and alpha as it is."""

import numpy as np
import pytest
from picture_files import (
  SIZE,
  disk,
  gif_of_one_pixel,
  palette_file,
  save,
  shades,
  write_png,
  write_tiff,
)
from PIL import Image, ImageFile

from tetris_jax.data import files
from tetris_jax.data.files import UnreadableImage

GREY = shades()
BLANK = np.zeros(SIZE, np.uint8)


def test_a_side_beyond_the_limit_is_refused_before_a_pixel_is_decoded(tmp_path, monkeypatch):
  path = gif_of_one_pixel(tmp_path / 'a.gif', 9000)
  assert path.stat().st_size < 60
  decoded = []
  monkeypatch.setattr(ImageFile.ImageFile, 'load', lambda image: decoded.append(image))
  with pytest.raises(UnreadableImage, match=r'a\.gif has 9000 x 9000 pixels; sides up to 4096'):
    files.decoded(path, largest_side=4096)
  assert decoded == []


def test_the_header_names_size_and_layout(tmp_path):
  path = write_png(tmp_path / 'a.png', GREY.astype(np.uint16)[..., None], 0)
  with files.header(path) as (image, file):
    assert image.size == SIZE[::-1] and not file.closed
  found = files.decoded(path)
  assert (found.format, found.layout, found.transparency) == ('PNG', 'I;16B', None)
  np.testing.assert_array_equal(np.asarray(found.image), GREY)


def test_low_bytes_are_handed_out_where_the_layout_has_them(tmp_path):
  deep = np.random.default_rng(0).integers(0, 65536, (*SIZE, 3)).astype(np.uint16)
  path = write_tiff(tmp_path / 'a.tif', [deep])
  np.testing.assert_array_equal(files.deep_colours(path, files.decoded(path).layout), deep)
  assert files.deep_colours(path, 'CMYK;16L') is None


def test_alpha_is_that_of_pixels_or_of_the_palette(tmp_path):
  mask = disk()
  alpha = np.where(mask, 200, 10).astype(np.uint8)
  rgba = save(tmp_path / 'a.png', np.dstack([GREY] * 3 + [alpha]))
  np.testing.assert_array_equal(files.alpha_of(files.decoded(rgba)), alpha)
  colours = [(0, 0, 0), (9, 9, 9)]
  several = palette_file(tmp_path / 'b.png', mask, colours, transparency=bytes([10, 200]))
  np.testing.assert_array_equal(files.alpha_of(files.decoded(several)), alpha)
  beyond = files.decoded(several)._replace(transparency=bytes([10, 200]) * 150)
  np.testing.assert_array_equal(files.alpha_of(beyond), alpha)
  one = palette_file(tmp_path / 'c.gif', mask, colours, transparency=0)
  np.testing.assert_array_equal(files.alpha_of(files.decoded(one)) == 0, ~mask)
  assert files.alpha_of(files.decoded(save(tmp_path / 'd.png', GREY))) is None


@pytest.mark.parametrize(('others', 'alike'), [
  ([], True),
  ([GREY, GREY], True),
  ([BLANK], True),
  ([GREY, GREY[::-1]], False),
  ([np.zeros((40, 40), np.uint8)], False),
])
def test_pages_that_say_the_same_are_told_from_others(tmp_path, others, alike):
  path = write_tiff(tmp_path / 'a.tif', [GREY, *others])
  assert files.pages(path) == (1 + len(others), alike)


def test_a_blank_page_first_says_nothing_of_the_others(tmp_path):
  assert files.pages(write_tiff(tmp_path / 'a.tif', [BLANK, GREY])) == (2, False)
  assert files.pages(write_tiff(tmp_path / 'b.tif', [BLANK, BLANK])) == (2, True)


def test_smaller_versions_are_no_pages_of_their_own(tmp_path):
  path = write_tiff(tmp_path / 'a.tif', [GREY, GREY[::2, ::2].copy()])
  assert files.pages(path) == (2, True)
  with files.header(path) as (image, _):
    assert files.further_pages(image) == 0
  with files.header(write_tiff(tmp_path / 'b.tif', [GREY] * 3)) as (image, _):
    assert files.further_pages(image) == 2


@pytest.mark.parametrize('suffix', ['gif', 'png', 'webp'])
def test_frames_count_as_pages(tmp_path, suffix):
  path, options = tmp_path / f'a.{suffix}', {'lossless': True} if suffix == 'webp' else {}
  first, other = (Image.fromarray(one).convert('RGB') for one in (GREY, GREY[::-1]))
  first.save(path, save_all=True, append_images=[other, first], **options)
  assert files.pages(path) == (3, False)
  first.save(path, **options)
  assert files.pages(path) == (1, True)


def test_a_gif_does_not_grow_from_frame_to_frame(tmp_path):
  path, frames = tmp_path / 'a.gif', [Image.fromarray(one) for one in (GREY, GREY[::-1], GREY)]
  frames[0].save(path, save_all=True, append_images=frames[1:])
  stored = path.read_bytes()
  place = b',\0\0\0\0\x24\0\x18\0'  # Of a frame, its left, top, width and height.
  assert stored.count(place) == 3
  second = stored.index(place, stored.index(place) + 1)
  path.write_bytes(stored[: second + 5] + b'\0\x50\0\x10' + stored[second + 9 :])
  with pytest.raises(files.UnreadableImage, match='differ: page 2 has 4096 x 20480 pixels, the fi'):
    files.pages(path)


def test_a_file_of_thousands_of_frames_is_not_walked_through(tmp_path, monkeypatch):
  frames = [Image.fromarray(np.full((2, 2), k % 2 * 255, np.uint8)) for k in range(300)]
  path = tmp_path / 'a.gif'
  frames[0].save(path, save_all=True, append_images=frames[1:], duration=list(range(10, 3010, 10)))
  assert files.pages(path) == (64, False)


def test_what_follows_a_jpeg_is_made_for_displays(tmp_path):
  path = tmp_path / 'a.jpg'
  first, other = (Image.fromarray(one).convert('RGB') for one in (GREY, GREY[::-1]))
  first.save(path, 'MPO', save_all=True, append_images=[other])
  assert files.pages(path) == (1, True)


def test_names_are_the_same_on_every_machine(tmp_path):
  assert files.name_of(tmp_path / 'masks' / 'a.png') == 'masks/a.png'
  assert files.name_of(files.Encoded('b', b'')) == 'b'
