"""Which file a picture of an annotation file is: folders, addresses, names in other forms."""

import unicodedata

import pytest
from coco_files import annotation, document, greys, image, opened, save, without

from tetris_jax import data
from tetris_jax.data import coco_pictures


def one(root, name, pictures, **more):
  return opened(root, document([annotation()], images=[image(file_name=name, **more)]),
                pictures=pictures)  # fmt: skip


@pytest.mark.parametrize(
  ('name', 'pictures'),
  [
    ('a.png', ['val2017/a.png', 'a.png']),
    ('./a.png', ['val2017/a.png']),
    ('cam2/a.png', ['val2017/cam2/a.png', 'val2017/a.png', 'cam2/a.png']),
    ('cam2/a.png', ['cam2/a.png', 'val2017/a.png']),
    ('images/a.png', ['images/a.png']),
    ('val2017/cam2/a.png', ['val2017/cam2/a.png', 'val2017/val2017/cam2/a.png']),
    ('images\\cam2\\a.png', ['images/cam2/a.png', 'val2017/a.png']),
    ('.\\cam2\\a.png', ['val2017/cam2/a.png']),
    ('a\\b.png', ['val2017/a\\b.png', 'val2017/a/b.png']),
    ('my%20a.png', ['val2017/my a.png']),
    ('my%20a.png', ['val2017/my%20a.png', 'val2017/my a.png']),
    ('cam%2F1/my%20a.png', ['val2017/cam/1/my a.png']),
    ('a.JPG', ['val2017/a.jpg']),
    ('a.jpg', ['val2017/a.jpg', 'val2017/a.JPG']),
    ('../images/a.png', ['images/a.png', 'val2017/a.png']),
    (unicodedata.normalize('NFC', 'Übung é.png'),
     ['val2017/' + unicodedata.normalize('NFD', 'Übung é.png')]),
  ],
)  # fmt: skip
def test_a_picture_is_the_file_that_is_named(tmp_path, name, pictures):
  assert greys(one(tmp_path, name, pictures)) == [1]


def test_an_absolute_path_below_the_folder_is_read(tmp_path):
  name = str(tmp_path / 'cam1' / 'a.png')
  assert greys(one(tmp_path, name, ['cam1/a.png', 'val2017/a.png'])) == [1]


@pytest.mark.parametrize('name', ['../secret.png', '../../{}/secret.png', '{}/secret.png'])
def test_nothing_outside_of_the_folder_is_read(tmp_path, name):
  outside = tmp_path / 'outside'
  save(outside / 'secret.png')
  save(tmp_path / 'secret.png')
  name = name.format('outside' if name.startswith('..') else outside)
  dataset = one(tmp_path / 'data' / 'set', name, ['val2017/a.png'])
  assert isinstance(dataset[0], data.Rejected)
  assert 'outside of data_dir' in dataset[0].reason or 'cannot be read' in dataset[0].reason
  assert all(file.is_relative_to(tmp_path / 'data' / 'set') for file in dataset.files(0))


@pytest.mark.parametrize(
  'name',
  [
    '/home/someone/cam9/a.png', 'C:\\data\\a.png', '../../a.png', 'gone/a.png', 'http://x/y/a.png',
    'C:\\' + ''.join(f'sub folder {k}\\' for k in range(25)) + 'a.png',
  ],
)  # fmt: skip
def test_a_last_name_that_no_other_picture_bears_is_enough_and_noted(tmp_path, name):
  dataset = one(tmp_path, name, ['val2017/a.png'])
  assert greys(dataset) == [1] and dataset.names == ('a#1',)
  assert 'do not lie where the annotation file says: 1' in dataset.notes[0]


def test_two_folders_with_pictures_of_one_name_are_told_apart(tmp_path):
  held = document(
    [annotation(id=5), annotation(id=6, image_id=2)],
    images=[image(), image(id=2, file_name='cam2/a.png')],
  )
  dataset = opened(tmp_path, held, pictures=['val2017/a.png', 'val2017/cam2/a.png'])
  assert greys(dataset) == [1, 2] and dataset.names == ('a#5', 'a#6') and not dataset.notes


def test_a_last_name_that_others_bear_is_not_enough(tmp_path):
  held = document(
    [annotation(), annotation(id=2, image_id=2)],
    images=[image(file_name='cam1/a.png'), image(id=2, file_name='cam2/a.png')],
  )
  dataset = opened(tmp_path, held)
  for found, folder in zip(dataset, ('cam1', 'cam2'), strict=True):
    assert found.reason == (
      f'{folder}/a.png cannot be read: No such file or directory; val2017/a.png is there, but 2 '
      'pictures of the file bear that name'
    )


def test_a_file_that_another_entry_names_is_not_taken_for_its_like(tmp_path):
  names = ['my%20a.png', 'my a.png', 'b.jpg', 'b.JPG']
  held = document(
    [annotation(id=k, image_id=k) for k in range(4)],
    images=[image(id=k, file_name=name) for k, name in enumerate(names)],
  )
  found = greys(opened(tmp_path, held, pictures=['val2017/my a.png', 'val2017/b.JPG']))
  assert sorted(map(str, found))[:2] == ['1', '2']
  assert sum('No such file' in str(reason) for reason in found) == 2


def test_ids_that_begin_anew_in_every_picture_get_paths_in_their_names(tmp_path):
  names = ['cam1/a.png', 'cam2/a.png', 'b.png']
  held = document(
    [annotation(id=1, image_id=k) for k in range(3)],
    images=[image(id=k, file_name=name) for k, name in enumerate(names)],
  )
  dataset = opened(tmp_path, held, pictures=[f'val2017/{name}' for name in names])
  assert dataset.names == ('b#1', 'cam1/a.png#1', 'cam2/a.png#1')


def lvis(folder, name):
  return {'coco_url': f'http://images.cocodataset.org/{folder}/{name}', 'height': 20, 'width': 30}


def test_the_two_folders_of_lvis_are_read(tmp_path):
  annotations = [without(annotation(id=k, image_id=k), 'iscrowd') for k in (1, 2, 3)]
  images = [
    {'id': 1, **lvis('val2017', 'a.png')},
    {'id': 2, **lvis('train2017', 'b.png')},
    {'id': 3, **lvis('train2017', 'a.png')},
  ]
  pictures = ['val2017/a.png', 'train2017/b.png', 'train2017/a.png']
  held = document(annotations, images=images)
  assert greys(opened(tmp_path / 'both', held, pictures=pictures)) == [1, 3, 2]
  first, third, second = greys(opened(tmp_path / 'one', held, pictures=pictures[:1]))
  assert first == 1 and 'No such file' in second and '2 pictures of the file' in third
  beside = [f'images/{picture}' for picture in pictures]
  dataset = opened(tmp_path / 'deep', held, pictures=beside, split='images/val2017',
                   annotations='annotations/instances_val2017.json')  # fmt: skip
  assert greys(dataset) == [1, 3, 2]


def test_a_missing_folder_of_the_split_is_rows_where_others_are_there(tmp_path):
  images = [{'id': 1, **lvis('val2017', 'a.png')}, {'id': 2, **lvis('train2017', 'b.png')}]
  held = document([annotation(), annotation(id=2, image_id=2)], images=images)
  opened(tmp_path, held, pictures=['train2017/b.png'])
  (tmp_path / 'val2017').rmdir()
  failed, read = greys(data.open_dataset('coco', str(tmp_path)))
  assert read == 1 and 'a.png cannot be read' in failed
  (tmp_path / 'train2017' / 'b.png').unlink()
  with pytest.raises(data.DataError, match='has no folder val2017'):
    data.open_dataset('coco', str(tmp_path))


def test_file_name_comes_before_coco_url(tmp_path):
  url = lvis('train2017', 'a.png')['coco_url']
  pictures = ['val2017/a.png', 'train2017/a.png']
  assert greys(one(tmp_path / '1', 'a.png', pictures, coco_url=url)) == [1]
  assert greys(one(tmp_path / '2', 'COCO_a.png', pictures[::-1], coco_url=url)) == [1]


@pytest.mark.parametrize(
  'name', [None, 5, '', '.', 'cam1/', [], True, 'a\ud800.png', '\ud800/a.png', 'x' * 300]
)
def test_a_picture_without_a_name_is_a_row(tmp_path, name):
  found = one(tmp_path, name, ['val2017/a.png'])[0]
  assert isinstance(found, data.Rejected) and 'its picture has no name' in found.reason


def test_a_file_that_is_gone_has_its_like_named(tmp_path):
  found = one(tmp_path, 'a.jpg', ['val2017/a.png'])[0]
  assert found.reason.endswith('No such file or directory; did you mean val2017/a.png?')
  found = one(tmp_path, 'b\0.jpg', [])[0]
  assert isinstance(found, data.Rejected)


@pytest.mark.parametrize('name', ['A.png', 'a.png ', 'a .PNG', 'img/A.JPEG'])
def test_a_picture_that_differs_in_case_or_spaces_is_asked_about(tmp_path, name):
  (found,) = opened(tmp_path, document([annotation()], images=[image(file_name=name)]))
  assert found.reason.endswith('did you mean val2017/a.png?')


@pytest.mark.parametrize('key', ['height', 'width'])
@pytest.mark.parametrize('side', [None, 0, '', 'right', 'float'])
def test_a_size_that_is_not_stated_is_the_pictures(tmp_path, key, side):
  side = {'right': str(image()[key]), 'float': float(image()[key])}.get(side, side)
  assert greys(one(tmp_path, 'a.png', ['val2017/a.png'], **{key: side})) == [1]


@pytest.mark.parametrize('side', [-20, 'x', True, 20.5, float('nan'), 1e400, [20], {'a': 1}])
def test_a_size_that_is_none_is_a_row(tmp_path, side):
  found = one(tmp_path, 'a.png', ['val2017/a.png'], height=side)[0]
  assert 'its picture\'s "height" is' in found.reason


def test_exchanged_sides_are_said(tmp_path):
  found = one(tmp_path, 'a.png', ['val2017/a.png'], height=30, width=20)[0]
  assert found.reason.startswith('a.png has 20 x 30 pixels, its annotation says (30, 20), the same')
  assert 'EXIF' in found.reason and found.size == (20, 30)


def test_ids_of_several_pictures_are_refused_by_number(tmp_path):
  images = [image(), image(file_name='b.png'), image(id=7), image(id=7, file_name='c.png')]
  with pytest.raises(data.DataError, match=r"pictures: 2, such as 1 \('a.png', 'b.png'\); 7"):
    opened(tmp_path, document([annotation()], images=images))
  assert greys(opened(tmp_path, document([annotation()], images=[image(), image()]))) == [1]


def test_pictures_without_ids_are_noted(tmp_path):
  images = [image(), None, 5, without(image(), 'id'), image(id=True), image(id=[])]
  dataset = opened(tmp_path, document([annotation()], images=images))
  assert greys(dataset) == [1]
  assert dataset.notes == ('"images" of the annotation file without a usable "id": 5',)


@pytest.mark.parametrize(
  ('ids', 'wanted', 'found'),
  [
    ([1, 2], 1, 1), ([1, 2], '1', 1), ([1, 2], 1.0, 1), (['1', '2'], 1, '1'), ([1.0], '1', 1.0),
    (['1', 1], 1, 1), (['1', 1], '1', '1'), (['01', '1'], 1, None), (['a', 'b'], 'a', 'a'),
    ([1], True, None), ([1], None, None), ([1], [1], None), ([1], float('nan'), None),
    ([1], 1.5, None), ([1], ' 1.0 ', 1), ([2**70], str(2**70), 2**70),
  ],
)  # fmt: skip
def test_an_id_is_one_number_however_it_is_written(tmp_path, ids, wanted, found):
  images = [image(id=one, file_name=f'{place}.png') for place, one in enumerate(ids)]
  pictures = coco_pictures.Pictures(tmp_path, 'val2017', images, 'file.json')
  picture = pictures.get(wanted)
  places = [place for place, one in enumerate(ids) if type(one) is type(found) and one == found]
  assert (picture.stem if picture else None) == (str(places[0]) if places else None)
