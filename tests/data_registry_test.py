"""Data sets by name: the known ones, their options, and one added from a file of one's own."""

import importlib
import sys

import numpy as np
import pytest
from layouts import make_trimaps

from tetris_jax import data
from tetris_jax.data import registry


@pytest.fixture
def squares(monkeypatch):
  """What `toy_dataset.py` registers, gone again after the test."""
  before = dict(registry._readers)
  monkeypatch.delitem(sys.modules, 'toy_dataset', raising=False)
  module = importlib.import_module('toy_dataset')
  monkeypatch.delitem(sys.modules, 'toy_dataset')
  yield module.read_squares
  registry._readers.clear()
  registry._readers.update(before)


def test_the_recipe_adds_a_data_set_from_one_file(squares, tmp_path):
  assert 'squares' in data.names() and data.names() == tuple(sorted(data.DATASETS))
  assert data.DATASETS['squares'] is squares
  assert data.options_of('squares') == {'side': 'int', 'bright': 'bool'}
  options = data.parse_options('squares', ['side=24', 'bright=false'])
  assert options == {'side': 24, 'bright': False}
  with pytest.raises(data.DataError, match="data_options=side=wide: 'wide' is no int"):
    data.parse_options('squares', ['side=wide'])

  (tmp_path / 'squares.txt').write_text('corner 0 0 5\nmiddle 8 10 6\nnone 3 3 0\n')
  dataset = data.open_dataset('squares', str(tmp_path), **options)
  assert dataset.names == ('corner', 'middle', 'none')
  corner, middle, none = dataset
  assert (corner.mask.sum(), middle.mask.sum()) == (25, 36)
  np.testing.assert_array_equal(np.argwhere(middle.mask).min(0), [8, 10])
  np.testing.assert_array_equal(middle.image[..., 0] == 0, middle.mask)
  assert (none.status, none.size) == ('skipped', (24, 24))
  batch, count = data.stack([corner, middle], data.canvas_for((24, 24)), 2)
  assert count == 2 and batch.mask.sum() == 61

  with pytest.raises(data.DataError, match='dataset=squares has no option colour; it takes side, '):
    data.open_dataset('squares', str(tmp_path), colour='red')
  with pytest.raises(data.DataError, match=r'data_dir=None has no file squares\.txt'):
    data.open_dataset('squares')


def test_a_taken_name_is_refused(squares):
  assert len(data.DATASETS) > 10
  for name in data.DATASETS:
    with pytest.raises(ValueError, match=f"a data set named '{name}' is there already"):
      data.register(name, squares)


def test_options_are_told_apart_however_they_are_annotated(squares):
  def read(data_dir, *, plain, quoted: 'int | None' = None, real: float | None = None):
    return data.Dataset('other', [])

  data.register('other', read)
  assert data.options_of('other')['quoted'] == 'int | None'
  written = ['plain=7', 'quoted=7', 'real=7']
  assert data.parse_options('other', written) == {'plain': '7', 'quoted': 7, 'real': 7.0}


def test_open_dataset_names_what_it_knows(tmp_path):
  make_trimaps(tmp_path, 'images', 'masks')
  with pytest.raises(data.DataError, match='dataset=imagenet is unknown; known data sets: berk'):
    data.open_dataset('imagenet')
  with pytest.raises(data.DataError, match='dataset=samples takes no data_dir'):
    data.open_dataset('samples', str(tmp_path))
  with pytest.raises(data.DataError, match=r'has no option objects; it takes none'):
    data.open_dataset('samples', objects='ids')
  dataset = data.open_dataset('folder', str(tmp_path), objects='binary')
  assert dataset.names == ('banana1', 'flower', 'grave')


def test_a_data_set_takes_only_its_own_options(tmp_path):
  with pytest.raises(data.DataError, match='dataset=grabcut has no option split; it takes none'):
    data.open_dataset('grabcut', str(tmp_path), split='val')
  assert list(data.options_of('sbd')) == ['split', 'min_box_share']
  assert data.options_of('imagenet') == data.options_of('davis') == {}


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
  make_trimaps(tmp_path, 'data_GT', 'boundary_GT')

  def refuse(self):
    raise PermissionError(13, 'Permission denied', str(self))

  monkeypatch.setattr('pathlib.Path.iterdir', refuse)
  with pytest.raises(data.DataError, match=r'data_dir=.* cannot be read: .*Permission denied'):
    data.open_dataset('grabcut', str(tmp_path))


def test_options_are_parsed_by_their_types():
  parse = data.parse_options
  assert parse('sbd', ['split=train', 'min_box_share=0.1']) == {
    'split': 'train', 'min_box_share': 0.1,
  }  # fmt: skip
  assert parse('coco_panoptic', ['stuff=True', 'min_area=20']) == {'stuff': True, 'min_area': 20}
  assert parse('tfds', ['ignore_id=3']) == {'ignore_id': 3}
  assert parse('samples', []) == {}
  for written, message in [
    (['long_side'], 'expected key=value'),
    (['long_side=1', 'long_side=2'], 'each key once'),
    (['long_side=big'], "'big' is no int"),
    (['split=a'], 'has no option split; it takes long_side'),
  ]:
    with pytest.raises(data.DataError, match=message):
      parse('tetris', written)


def test_readers_of_ones_own_are_cut_and_told_how_where_they_ask(squares, tmp_path):
  (tmp_path / 'squares.txt').write_text('corner 0 0 5\nmiddle 8 10 6\nnone 3 3 0\n')
  indexing = data.Indexing(limit=2)
  assert data.open_dataset('squares', str(tmp_path), indexing=indexing).names == (
    'corner', 'middle',
  )  # fmt: skip
  assert len(data.open_dataset('squares', str(tmp_path), indexing=data.Indexing(limit=9))) == 3
  told = []

  def read(data_dir, *, side: int = 3, indexing: data.Indexing | None = None):
    told.append(indexing)
    return data.Dataset('other', [])

  data.register('asking', read)
  assert data.options_of('asking') == {'side': 'int'}
  with pytest.raises(data.DataError, match='has no option indexing; it takes side'):
    data.parse_options('asking', ['indexing=1'])
  data.open_dataset('asking', indexing=indexing)
  data.open_dataset('asking')
  assert told == [indexing, None]
  assert all('indexing' not in data.options_of(name) for name in data.names())
