"""Maps on disk: what comes back, and that damage is never taken for a map."""

import io

import numpy as np
import pytest

from tetris_jax.runs import maps
from tetris_jax.runs import workdirs as results


def arrays(seed=0):
  rng = np.random.default_rng(seed)
  grid = {key: rng.random(40).astype(np.float32) for key in ('iou', 'biou', 'predicted')}
  return {
    'yx': rng.integers(0, 30, (40, 2)).astype(np.float32), **grid,
    'stride': np.asarray(3, np.int32), 'legal': rng.random((30, 40)) < 0.5,
    **{f'p/{key}': rng.random(3).astype(np.float32) for key in maps.OF_A_PRESET},
  }  # fmt: skip


def test_a_map_comes_back_as_it_was(tmp_path):
  made = arrays()
  maps.write_map(tmp_path / 'a.npz', made)
  found = maps.read_map(tmp_path / 'a.npz', ['p'])
  assert list(found) == list(made)
  np.testing.assert_equal(found, made)
  assert [file.name for file in tmp_path.iterdir()] == ['a.npz']


def test_what_lacks_an_array_is_damaged(tmp_path):
  maps.write_map(tmp_path / 'a.npz', arrays())
  with pytest.raises(maps.DamagedMapError, match=r'a\.npz is damaged \(q/biou is missing\)'):
    maps.read_map(tmp_path / 'a.npz', ['p', 'q'])
  for key in ('legal', 'stride', 'p/spent'):
    maps.write_map(tmp_path / 'b.npz', {k: v for k, v in arrays().items() if k != key})
    with pytest.raises(maps.DamagedMapError, match=f'{key} is missing'):
      maps.read_map(tmp_path / 'b.npz', ['p'])


def test_clicks_of_a_search_have_two_coordinates(tmp_path):
  made = arrays() | {'p/tried': np.ones((5, 2), np.float32)}
  maps.write_map(tmp_path / 'a.npz', made)
  np.testing.assert_equal(maps.read_map(tmp_path / 'a.npz', ['p']), made)
  for wrong in (np.ones((5, 3)), np.ones((0, 2)), np.ones(2)):
    maps.write_map(tmp_path / 'a.npz', made | {'p/tried': wrong})
    with pytest.raises(maps.DamagedMapError, match='p/tried has the shape'):
      maps.read_map(tmp_path / 'a.npz', ['p'])


def test_what_is_not_there_or_cannot_be_read(tmp_path):
  with pytest.raises(maps.DamagedMapError, match=r'none\.npz is missing'):
    maps.read_map(tmp_path / 'none.npz', [])
  with pytest.raises(results.WorkdirError, match='cannot read'):
    maps.read_map(tmp_path, [])


def test_a_map_that_is_not_deflated_is_damaged(tmp_path):
  file = io.BytesIO()
  np.savez(file, **arrays())
  (tmp_path / 'a.npz').write_bytes(file.getvalue())
  with pytest.raises(maps.DamagedMapError, match='is not deflated'):
    maps.read_map(tmp_path / 'a.npz', ['p'])


@pytest.mark.slow
@pytest.mark.parametrize('flip', [1, 4, 6, 255])
def test_whatever_byte_is_altered_a_map_is_whole_or_damaged(tmp_path, flip):
  path, expected = tmp_path / 'one.npz', arrays()
  maps.write_map(path, expected)
  whole = path.read_bytes()
  damaged = 0
  for i in range(0, len(whole)):
    # Compressed bytes are much alike; headers and the directory are not.
    if 200 < i < len(whole) - 1200 and i % 5:
      continue
    path.write_bytes(whole[:i] + bytes([whole[i] ^ flip]) + whole[i + 1 :])
    try:
      np.testing.assert_equal(maps.read_map(path, ['p']), expected)
    except maps.DamagedMapError:
      damaged += 1
  assert damaged > 100


def test_every_truncation_is_damage(tmp_path):
  path = tmp_path / 'one.npz'
  maps.write_map(path, arrays())
  whole = path.read_bytes()
  for length in range(0, len(whole), 37):
    path.write_bytes(whole[:length])
    with pytest.raises(maps.DamagedMapError, match='is damaged'):
      maps.read_map(path, ['p'])
