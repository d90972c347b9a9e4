"""Data sets prepared by TFDS: which feature is which, and what is wrong of one."""

import pathlib

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tetris_jax import data
from tetris_jax.data import tfds_source


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
