"""What is wrong with a picture of a run, and clicks of rows as arrays."""

import os

import numpy as np
import runs

from experiments.lib import redraw
from tetris_jax import types


def test_only_a_whole_file_is_no_trouble(tmp_path):
  (tmp_path / 'figures').mkdir()
  picture = runs.picture(tmp_path / 'figures/00000_a.png', (30, 20))
  whole = picture.read_bytes()
  assert redraw.trouble(picture) == ''
  for data, why in (
    (b'', 'it is empty'), (whole[:-3], 'it ends early'), (b'%!PS' + whole, 'it is no PNG'),
    (whole[:60] + bytes([whole[60] ^ 1]) + whole[61:], 'a checksum is wrong'),
  ):  # fmt: skip
    picture.write_bytes(data)
    assert redraw.trouble(picture) == f'{picture} is damaged ({why})'
  picture.unlink()
  assert redraw.trouble(picture) == f'{picture} is missing'
  os.mkfifo(picture)
  assert 'a named pipe' in redraw.trouble(picture)


def test_clicks_come_in_the_order_of_modes_and_fill_the_batch():
  rows = [runs.row(name, 0.1, 0.5, 0.9) for name in 'ab']
  rows[1]['clicks'] = {
    mode: [[y, 2.0, 1], [3.0, 4.0, 0]] for mode, y in (('min', 5.0), ('base', 6.0), ('max', 7.0))
  }
  clicks = redraw.clicks_of(rows, 4)
  assert clicks.yx.shape == (4, 3, 2, 2) and clicks.yx.dtype == np.float32
  assert clicks.label[1].tolist() == [[1, 0]] * 3
  expected = {'min': 5, 'base': 6, 'max': 7}
  assert clicks.yx[1, :, 0, 0].tolist() == [expected[mode] for mode in types.MODES]
  np.testing.assert_array_equal(clicks.yx[3], clicks.yx[1])
