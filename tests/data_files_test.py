"""Opening: nothing is decoded before limits are checked, low bytes, and alpha as it is."""

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
from PIL import ImageFile

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


def test_names_are_the_same_on_every_machine(tmp_path):
  assert files.name_of(tmp_path / 'masks' / 'a.png') == 'masks/a.png'
  assert files.name_of(files.Encoded('b', b'')) == 'b'
