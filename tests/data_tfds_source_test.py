"""Data sets prepared by TFDS: which feature is which, and what is wrong of one."""

import pathlib

import numpy as np
import pytest
import tensorflow_datasets as tfds
from etils import epath

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


def prepared(root, mask, examples):
  """A prepared set of pictures with a mask of this feature, in a folder of its own."""
  features = {
    'image': tfds.features.Image(shape=(None, None, 3), encoding_format='png'),
    'mask': mask,
    'file_name': tfds.features.Text(),
  }

  class Made(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Whatever is asked for."""

    VERSION = tfds.core.Version('1.0.0')
    code_path = epath.Path(__file__)
    pkg_dir_path = epath.Path(__file__).parent

    def _info(self):
      held = tfds.features.FeaturesDict(features)
      return tfds.core.DatasetInfo(builder=self, features=held, disable_shuffling=True)

    def _split_generators(self, dl_manager):
      return {'test': self._generate_examples()}

    def _generate_examples(self):
      for position, (name, held) in enumerate(examples):
        image = tfds_source.encode_png(np.full((12, 14, 3), position, np.uint8))
        yield position, {'image': image, 'mask': held, 'file_name': name}

  builder = Made(data_dir=str(root), file_format='array_record')
  builder.download_and_prepare()
  return str(builder.data_dir)


OBJECTS = np.zeros((12, 14), np.int32)
OBJECTS[2:6, 2:6], OBJECTS[8:11, 3:9] = 1, 2


def tensor(root, array):
  feature = tfds.features.Tensor(shape=array.shape, dtype=array.dtype)
  return prepared(root, feature, [('a.png', array)])


@pytest.mark.parametrize(('array', 'names'), [
  (OBJECTS > 0, ('a.png#1',)),
  (OBJECTS.astype(np.float32)[..., None], ('a.png#1', 'a.png#2')),
  (OBJECTS.astype(np.int64)[..., None] * 70000, ('a.png#70000', 'a.png#140000')),
])
def test_numbers_of_any_type_are_read_where_they_are_whole(tmp_path, array, names):
  dataset = data.open_dataset('tfds', tensor(tmp_path, array))
  assert dataset.names == names
  expected = OBJECTS > 0 if len(names) == 1 else OBJECTS == 1
  np.testing.assert_array_equal(dataset[0].mask, expected)


@pytest.mark.parametrize(('array', 'reason'), [
  ((OBJECTS * 0.49).astype(np.float32), 'holds 3 different numbers, such as 0.49, which are no'),
  (OBJECTS - 1, 'holds 3 different numbers, from -1 to 1; objects have numbers above 0'),
  (OBJECTS.astype(np.int64) << 32, 'from 0 to 8589934592'),
])
def test_numbers_that_name_no_objects_are_refused(tmp_path, array, reason):
  (rejected,) = data.open_dataset('tfds', tensor(tmp_path, array))
  assert rejected.status == 'failed' and reason in rejected.reason
  assert "objects='binary' makes one object of all above 0" in rejected.reason


def test_a_negative_number_may_be_ignored_and_fractions_may_be_binary(tmp_path):
  one = data.open_dataset('tfds', tensor(tmp_path / 'a', OBJECTS - 1), ignore_id=-1)
  assert one.names == ('a.png#1',)
  np.testing.assert_array_equal(one[0].ignore, OBJECTS == 0)
  two = tensor(tmp_path / 'b', ((OBJECTS > 0) * 0.98).astype(np.float32))
  (sample,) = data.open_dataset('tfds', two, objects='binary')
  np.testing.assert_array_equal(sample.mask, OBJECTS > 0)
  graded = tensor(tmp_path / 'c', (OBJECTS * 0.4).astype(np.float32))
  (rejected,) = data.open_dataset('tfds', graded, objects='binary')
  assert 'holds 3 different numbers from 0 to 0.8, as probabilities' in rejected.reason
  # Nothing is 0 of a map of probabilities, and so everything is above it.
  certain = tensor(tmp_path / 'd', ((OBJECTS > 0) * 0.9 + 0.05).astype(np.float32))
  (rejected,) = data.open_dataset('tfds', certain, objects='binary')
  assert 'holds 2 different numbers from 0.05 to 0.95, as probabilities' in rejected.reason


def test_a_mask_has_one_channel_or_three_bytes(tmp_path):
  two = np.stack([OBJECTS == 0, OBJECTS > 0], -1).astype(np.uint8)
  (rejected,) = data.open_dataset('tfds', tensor(tmp_path / 'a', two))
  assert rejected.reason == f'a.png: a mask of shape {two.shape}'
  (rejected,) = data.open_dataset('tfds', tensor(tmp_path / 'b', OBJECTS[None]))
  assert rejected.reason == f'a.png: a mask of shape {OBJECTS[None].shape}'
  deep = np.stack([OBJECTS, OBJECTS * 0, OBJECTS * 300], -1).astype(np.uint16)
  (rejected,) = data.open_dataset('tfds', tensor(tmp_path / 'c', deep))
  assert rejected.reason.startswith('a.png, mask has three channels with numbers up to 600; ')
  bytes_ = np.stack([OBJECTS * 0, OBJECTS, OBJECTS * 0], -1).astype(np.uint8)
  assert data.open_dataset('tfds', tensor(tmp_path / 'd', bytes_)).names == (
    'a.png#256', 'a.png#512',
  )  # fmt: skip


def test_pixels_of_masks_one_an_object_may_be_ignored(tmp_path):
  masks = np.stack([np.where(OBJECTS == 2, 255, OBJECTS == 1), OBJECTS == 2]).astype(np.uint8)
  first, second = data.open_dataset(
    'tfds', tensor(tmp_path, masks), objects='masks', ignore_id=255
  )
  np.testing.assert_array_equal(first.mask, OBJECTS == 1)
  np.testing.assert_array_equal(first.ignore, OBJECTS == 2)
  np.testing.assert_array_equal(second.mask, OBJECTS == 2)
  assert not second.ignore.any()


@pytest.fixture
def twice(tmp_path):
  mask = tfds.features.Image(shape=(None, None, 1), encoding_format='png')
  held = [OBJECTS, np.maximum(OBJECTS - 1, 0), OBJECTS]
  masks = [tfds_source.encode_png(one.astype(np.uint8)) for one in held]
  return prepared(tmp_path, mask, zip(('a.png', 'a.png', 'b.png'), masks, strict=True))


def test_a_name_that_comes_again_has_its_position(twice):
  dataset = data.open_dataset('tfds', twice)
  assert dataset.names == ('a.png#1', 'a.png#2', 'a.png@1#1', 'b.png#1', 'b.png#2')
  assert dataset.notes == (
    'records with the name of an earlier one: 1; their positions follow their names',
  )
  assert [sample.image[0, 0, 0] for sample in dataset] == [0, 0, 1, 2, 2]
  assert data.open_dataset('tfds', twice, objects='binary').names == ('a.png', 'a.png@1', 'b.png')


def test_records_are_looked_at_once_and_as_far_as_wanted(twice, tmp_path, monkeypatch):
  looked = []
  original = tfds_source._mask
  monkeypatch.setattr(
    tfds_source, '_mask', lambda *args: looked.append(args[-1]) or original(*args)
  )
  whole = data.open_dataset('tfds', twice)
  assert len(looked) == 3
  looked.clear()
  some = data.open_dataset('tfds', twice, indexing=data.Indexing(limit=1))
  assert some.names == whole.names[:1] and looked == ['a.png']
  indexing = data.Indexing(folder=tmp_path / 'kept')
  data.open_dataset('tfds', twice, indexing=indexing)
  looked.clear()
  again = data.open_dataset('tfds', twice, indexing=indexing)
  assert again.names == whole.names and looked == []
  assert [again.size(index) for index in range(5)] == [(12, 14)] * 5
  contents = [again.content(index) for index in range(5)]
  assert contents == [whole.content(index) for index in range(5)]
  assert contents[0] == contents[1] and len(set(contents)) == 3
  np.testing.assert_array_equal(again[2].mask, whole[2].mask)


def test_what_is_damaged_is_said_of_the_folder_or_the_record(twice):
  root = pathlib.Path(twice)
  (records,) = root.glob('*.array_record*')
  held = bytearray(records.read_bytes())
  held[200:400] = bytes(200)
  records.write_bytes(held)
  dataset = data.open_dataset('tfds', twice)
  assert any(isinstance(one, data.Rejected) for one in dataset)
  (root / 'dataset_info.json').write_text('{')
  with pytest.raises(data.DataError, match='is no prepared data set: '):
    data.open_dataset('tfds', twice)
