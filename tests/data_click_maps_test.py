"""Click maps of files: which belongs to which instance, and what is refused."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from tetris_jax import data

PICTURE = (pathlib.Path('images/a.jpg'), pathlib.Path('masks/a.png'))


def test_a_map_is_found_by_instance_and_else_by_picture(tmp_path):
  whole = np.arange(6, dtype=np.float64).reshape(2, 3)
  np.save(tmp_path / 'a.npy', whole)
  np.save(tmp_path / 'a_2.npy', whole[::-1])
  Image.fromarray(np.uint8([[0, 10, 20], [30, 40, 50]])).save(tmp_path / 'b.png')
  (tmp_path / 'notes.txt').write_text('of a model')
  maps = data.ClickMaps(tmp_path)
  found = maps.read('a', (), (2, 3))
  assert found.dtype == np.float32
  np.testing.assert_array_equal(found, whole)
  np.testing.assert_array_equal(maps.read('a/2', PICTURE, (2, 3)), whole[::-1])
  np.testing.assert_array_equal(maps.read('a/3', PICTURE, (2, 3)), whole)
  np.testing.assert_array_equal(maps.read('b', (), (2, 3)), 10 * whole)
  # An array goes before a picture of it.
  Image.fromarray(np.zeros((2, 3), np.uint8)).save(tmp_path / 'a.png')
  assert data.ClickMaps(tmp_path).file('a', ()).name == 'a.npy'
  with pytest.raises(data.ClickMapError, match=r'no click map c\.npy or c\.png in'):
    maps.read('c', (), (2, 3))


@pytest.mark.parametrize(
  ('weight', 'said'),
  [
    (np.ones((3, 2)), r'float64 of shape \(3, 2\); expected numbers of the shape .*, 2 x 3'),
    (np.full((2, 3), 'x'), 'holds <U1 of shape'),
    (np.zeros((2, 3)), 'above 0 somewhere'),
    (np.full((2, 3), -1.0), 'at least 0'),
    (np.full((2, 3), np.nan), 'finite'),
    (np.array([[None]]), 'cannot read the click map'),
  ],
)
def test_what_is_no_map_is_refused(tmp_path, weight, said):
  np.save(tmp_path / 'a.npy', weight, allow_pickle=True)
  with pytest.raises(data.ClickMapError, match=said):
    data.ClickMaps(tmp_path).read('a', (), (2, 3))


def test_damaged_files_and_folders_are_named(tmp_path):
  (tmp_path / 'a.npy').write_bytes(b'no array')
  (tmp_path / 'b.png').write_bytes(b'no picture')
  maps = data.ClickMaps(tmp_path)
  for name in ('a', 'b'):
    with pytest.raises(data.ClickMapError, match=rf'cannot read the click map .*{name}\.'):
      maps.read(name, (), (2, 3))
  with pytest.raises(data.DataError, match='cannot read the folder of click maps'):
    data.ClickMaps(tmp_path / 'none')
  (tmp_path / 'empty').mkdir()
  with pytest.raises(data.DataError, match='has no click map'):
    data.ClickMaps(tmp_path / 'empty')
