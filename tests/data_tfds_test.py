"""Prepared data sets: built and read in processes without TensorFlow, pixel for pixel."""

import pathlib
import subprocess
import sys

import data_benchmarks_test as layouts
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from tetris_jax import data
from tetris_jax.data import builders, images, tfds_source


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
  with pytest.raises(data.DataError, match='--dataset=samples has no builder'):
    builders.prepare('samples', tmp_path, tmp_path)


NO_TENSORFLOW = """
import atexit, os, sys
def check():
  if 'tensorflow' in sys.modules:
    print('tensorflow was imported', file=sys.stderr, flush=True)
    os._exit(9)
atexit.register(check)
"""


def test_the_command_prepares_and_reads_without_tensorflow(tmp_path):
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
  assert done.stderr.startswith('error: --data_dir=') and 'does not exist' in done.stderr


class PetLike(tfds.core.GeneratorBasedBuilder):
  """Features as oxford_iiit_pet, COCO-like sets and ade20k have them."""

  VERSION = tfds.core.Version('1.0.0')

  def _info(self):
    features = {
      'image': tfds.features.Image(shape=(None, None, 3)),
      'segmentation_mask': tfds.features.Image(shape=(None, None, 1)),
      'file_name': tfds.features.Text(),
      'objects': tfds.features.Sequence({
        'mask': tfds.features.Image(shape=(None, None, 1)),
        'id': tfds.features.Scalar(np.int64),
      }),
      'numbers': tfds.features.Tensor(shape=(12, 14), dtype=np.int32),
    }
    return tfds.core.DatasetInfo(
      builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
    )

  def _split_generators(self, dl_manager):
    return {'train': self._generate_examples(2), 'test': self._generate_examples(1)}

  def _generate_examples(self, count):
    png = tfds_source.encode_png
    for position in range(count):
      masks = [{'mask': png((trimap() == k).astype(np.uint8)), 'id': k} for k in (1, 3)]
      numbers = np.zeros((12, 14), np.int32)
      numbers[1:4], numbers[5:9] = 300, 70000
      yield position, {
        'image': png(np.full((12, 14, 3), position, np.uint8)),
        'segmentation_mask': png(trimap()),
        'file_name': f'cat_{position}.jpg',
        'objects': masks,
        'numbers': numbers,
      }


def trimap():
  mask = np.full((12, 14), 2, np.uint8)
  mask[3:9, 4:10] = 3
  mask[4:8, 5:9] = 1
  return mask


@pytest.fixture(scope='module')
def pets(tmp_path_factory):
  root = tmp_path_factory.mktemp('pets')
  builder = PetLike(data_dir=str(root), file_format='array_record')
  builder.download_and_prepare()
  return str(builder.data_dir)


def test_a_mapping_reads_a_class_with_a_border(pets):
  dataset = data.open_dataset('tfds', pets, split='train', object_id=1, ignore_id=3)
  assert dataset.names == ('cat_0.jpg', 'cat_1.jpg')
  for position, sample in enumerate(dataset):
    np.testing.assert_array_equal(sample.mask, trimap() == 1)
    np.testing.assert_array_equal(sample.ignore, trimap() == 3)
    assert (sample.image == position).all() and dataset.size(position) == (12, 14)


def test_a_mapping_reads_numbers_and_nested_masks(pets):
  numbers = data.open_dataset('tfds', pets, split='test')
  assert numbers.names == ('cat_0.jpg#1', 'cat_0.jpg#2', 'cat_0.jpg#3')
  np.testing.assert_array_equal(numbers[1].mask, trimap() == 2)
  wide = data.open_dataset('tfds', pets, split='test', mask='numbers')
  assert wide.names == ('cat_0.jpg#300', 'cat_0.jpg#70000')
  assert wide[1].mask.sum() == 4 * 14
  nested = data.open_dataset('tfds', pets, split='test', mask='objects/mask', objects='masks')
  assert nested.names == ('cat_0.jpg#1', 'cat_0.jpg#2')
  np.testing.assert_array_equal(nested[1].mask, trimap() == 3)
  whole = data.open_dataset('tfds', pets, split='test', objects='binary')
  assert whole.names == ('cat_0.jpg',) and whole[0].mask.all()


def test_what_a_mapping_lacks_is_named(pets, tmp_path):
  with pytest.raises(data.DataError, match='has several splits; give split=one of t'):
    data.open_dataset('tfds', pets)
  with pytest.raises(data.DataError, match="has no split 'val'"):
    data.open_dataset('tfds', pets, split='val')
  with pytest.raises(data.DataError, match="no feature mask='depth'; give mask=one of file_name"):
    data.open_dataset('tfds', pets, split='test', mask='depth')
  with pytest.raises(ValueError, match='objects='):
    data.open_dataset('tfds', pets, split='test', objects='all')
  with pytest.raises(data.DataError, match=r'no file dataset_info\.json .*did you mean'):
    data.open_dataset('tfds', str(pathlib.Path(pets).parent))


def test_a_file_in_memory_is_read_as_one_on_disk(tmp_path):
  Image.fromarray(layouts.picture()).save(tmp_path / 'a.jpg')
  encoded = images.Encoded('a', (tmp_path / 'a.jpg').read_bytes())
  np.testing.assert_array_equal(
    images.read_picture(encoded), images.read_picture(tmp_path / 'a.jpg')
  )
  assert images.picture_size(encoded) == layouts.SIZE
  with pytest.raises(images.UnreadableImage, match='a is damaged'):
    images.read_picture(encoded._replace(data=encoded.data[:200]))
  with pytest.raises(images.UnreadableImage, match=r'a is empty \(0 bytes\)'):
    images.read_picture(encoded._replace(data=b''))
