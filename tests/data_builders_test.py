"""Prepared data sets: built and read in processes without TensorFlow, pixel for pixel."""

import pathlib
import subprocess
import sys

import layouts
import numpy as np
import pytest
import tensorflow_datasets as tfds

from tetris_jax import data
from tetris_jax.data import builders, sbd


def make(name, root):
  if name == 'grabcut':
    layouts.make_trimaps(root, 'data_GT', 'boundary_GT')
  elif name == 'berkeley':
    layouts.make_trimaps(root, 'images', 'masks')
    (root / 'masks' / 'grave.bmp').rename(root / 'masks' / 'grave#001.bmp')
    mask = np.zeros(layouts.SIZE, np.uint8)
    mask[3:9] = 255
    mask[12] = 128
    layouts.save(root / 'masks' / 'grave#002.png', mask)
  elif name in ('davis', 'coco_mval'):
    for number in range(3):
      layouts.save(root / 'img' / f'{number:05d}.jpg', layouts.picture(number, (20 + number, 30)))
      mask = np.zeros((20 + number, 30), np.uint8)
      mask[number + 1 : 9] = 1
      layouts.save(root / 'gt' / f'{number:05d}.png', mask)
  elif name == 'sbd':
    layouts.make_sbd(root)
  else:
    layouts.save(root / 'images' / 'a.jpg', layouts.picture())
    layouts.save(root / 'masks' / 'a.png', layouts.tetris_mask())


@pytest.mark.parametrize('name', sorted(builders.BUILDERS))
def test_a_prepared_data_set_gives_the_same_samples(tmp_path, name):
  make(name, tmp_path / 'raw')
  folder = builders.prepare(name, tmp_path / 'raw', tmp_path / 'out')
  assert folder == tmp_path / 'out' / f'interactive_{name}' / '1.0.0'
  raw = data.open_dataset(name, str(tmp_path / 'raw'))
  prepared = data.open_dataset('tfds', str(folder))
  assert prepared.names == raw.names
  for index, (one, other) in enumerate(zip(raw, prepared, strict=True)):
    assert prepared.size(index) == one.size
    np.testing.assert_array_equal(one.image, other.image)
    np.testing.assert_array_equal(one.mask, other.mask)
    np.testing.assert_array_equal(one.ignore, other.ignore)

  # As any other program reads it.
  source = tfds.builder_from_directory(str(folder)).as_data_source('test')
  record = source[0]
  np.testing.assert_array_equal(record['image'], raw[0].image)
  first = record['segmentation'][..., 0] == 1
  np.testing.assert_array_equal(first, raw[0].mask)
  assert record['instances'][0].decode() == raw.names[0]


def test_nothing_is_prepared_with_an_instance_missing(tmp_path):
  make('grabcut', tmp_path / 'raw')
  (tmp_path / 'raw' / 'boundary_GT' / 'flower.bmp').unlink()
  with pytest.raises(data.DataError, match=r'flower\.JPG has no mask.*; a data set is prepared'):
    builders.prepare('grabcut', tmp_path / 'raw', tmp_path / 'out')
  assert not list((tmp_path / 'out').rglob('dataset_info.json'))
  with pytest.raises(data.DataError, match='dataset=samples has no builder'):
    builders.prepare('samples', tmp_path, tmp_path)


def test_masks_that_are_known_are_not_looked_through_again(tmp_path, monkeypatch):
  make('sbd', tmp_path / 'raw')
  indexing = data.Indexing(folder=tmp_path / 'kept')
  data.open_dataset('sbd', str(tmp_path / 'raw'), indexing=indexing)
  reads = []
  original = sbd.read_instances
  monkeypatch.setattr(
    sbd, 'read_instances', lambda path: reads.append(path.stem) or original(path)
  )
  builders.prepare('sbd', tmp_path / 'raw', tmp_path / 'out', indexing=indexing)
  # One to see that the data are there, and each for its pixels.
  assert reads == ['2008_000002', '2008_000002', '2008_000008']


NO_TENSORFLOW = """
import atexit, os, sys
def check():
  if 'tensorflow' in sys.modules:
    print('tensorflow was imported', file=sys.stderr, flush=True)
    os._exit(9)
atexit.register(check)
"""


@pytest.mark.slow
def test_the_command_prepares_and_reads_without_tensorflow(tmp_path, monkeypatch):
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path / 'cache'))
  make('sbd', tmp_path / 'raw')
  tests = pathlib.Path(__file__).parent
  program = NO_TENSORFLOW + (
    'import runpy\nrunpy.run_module("experiments.prepare", run_name="__main__")'
  )
  flags = ['--dataset=sbd', f'--data_dir={tmp_path / "raw"}', f'--out={tmp_path / "out"}']
  command = [sys.executable, '-c', program, *flags]
  done = subprocess.run(command, cwd=tests.parent, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr
  assert 'note: SBD was published with 2857 pictures' in done.stderr
  folder = done.stdout.strip().splitlines()[-1]
  program = NO_TENSORFLOW + (
    'from tetris_jax import data\n'
    'print(*data.open_dataset("tfds", sys.argv[1]).names)'
  )
  command = [sys.executable, '-c', program, folder]
  done = subprocess.run(command, cwd=tests.parent, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr
  assert done.stdout.split() == ['2008_000002#1', '2008_000002#3', '2008_000008#1']

  flags[1] = f'--data_dir={tmp_path / "gone"}'
  command = [sys.executable, '-m', 'experiments.prepare', *flags]
  done = subprocess.run(command, cwd=tests.parent, capture_output=True, text=True, check=False)
  assert done.returncode == 2
  assert '\nerror: data_dir=' in done.stderr and 'does not exist' in done.stderr
