"""Finding a data set's folder, pairing its files by stem, and reading a pair."""

import pathlib

import numpy as np
import pytest
from layouts import picture, save

from tetris_jax.data import DataError, Entry, Rejected, UnreadableImage, images, pairs

LAYOUT = 'it must hold a and b.txt'


def touch(root, *names):
  for name in names:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(b'x')


def refused(data_dir, needed=('a', 'b.txt'), **options):
  with pytest.raises(DataError) as error:
    pairs.find_root('toy', data_dir, needed, LAYOUT, **options)
  return str(error.value)


def test_a_root_that_holds_everything_is_returned(tmp_path, monkeypatch):
  touch(tmp_path, 'a/1', 'b.txt')
  assert pairs.find_root('toy', str(tmp_path), ('a', 'b.txt'), LAYOUT) == tmp_path
  monkeypatch.setenv('HOME', str(tmp_path.parent))
  home = pathlib.Path('~') / tmp_path.name
  assert pairs.find_root('toy', home, ('a',), LAYOUT) == tmp_path


def test_what_is_wrong_with_a_root_is_named_with_the_argument(tmp_path):
  for nothing in (None, ''):
    assert refused(nothing) == f'dataset=toy needs data_dir; {LAYOUT}'
  assert refused(tmp_path / 'x') == f'data_dir={tmp_path / "x"} does not exist; {LAYOUT}'
  touch(tmp_path, 'file', 'b.txt/x')
  assert refused(tmp_path / 'file').startswith(f'data_dir={tmp_path / "file"} is a file; ')
  # A folder in the place of a file is not that file.
  assert f'data_dir={tmp_path} has no folder a and no file b.txt (found b.txt, file); ' in refused(
    tmp_path
  )
  assert refused(tmp_path, download='get it there').endswith(f'{LAYOUT}; get it there')


def test_a_folder_below_that_holds_everything_is_pointed_at(tmp_path):
  touch(tmp_path, 'deep/er/a/1', 'deep/er/b.txt', 'other/a/1')
  assert f'did you mean data_dir={tmp_path / "deep" / "er"}? ' in refused(tmp_path)


def test_a_file_in_the_place_of_a_folder_is_no_folder(tmp_path):
  touch(tmp_path, 'a', 'b.txt')
  assert 'has no folder a (found a, b.txt)' in refused(tmp_path)


def test_an_empty_folder_of_pictures_is_refused(tmp_path):
  touch(tmp_path, 'a/Thumbs.db', 'a/.hidden')
  with pytest.raises(DataError, match=r'^dataset=toy, data_dir=.*: a has no pictures; it must'):
    pairs.require_files('toy', tmp_path, 'a', LAYOUT)
  touch(tmp_path, 'a/1.png')
  pairs.require_files('toy', tmp_path, 'a', LAYOUT)


def test_litter_is_what_desktops_leave_behind():
  litter = (
    '.DS_Store', '._a.png', 'Thumbs.db', 'DESKTOP.INI', '__MACOSX', '@eaDir', 'Icon\r',
    'ehthumbs.db', 'a.png:Zone.Identifier',
  )  # fmt: skip
  assert all(pairs.is_litter(pathlib.Path(name)) for name in litter)
  assert not pairs.is_litter(pathlib.Path('a.png'))


def test_a_listing_shows_the_first_names(tmp_path):
  assert pairs.listing(tmp_path) == 'nothing'
  touch(tmp_path, *'cab', '.hidden')
  assert pairs.listing(tmp_path) == 'a, b, c'
  touch(tmp_path, *'defghijk')
  assert pairs.listing(tmp_path) == 'a, b, c, d, e, f, g, h, ... (11 in all)'


def test_files_pair_by_stem_and_the_rest_is_rejected(tmp_path):
  touch(tmp_path, 'p/a.JPG', 'p/b.png', 'p/c.png', 'p/c.jpg', 'p/Thumbs.db', 'p/sub/x')
  touch(tmp_path, 'm/a.png', 'm/c.png', 'm/d.png', 'm/a.txt')
  found, entries = pairs.paired(tmp_path, ('p', 'm'))
  assert found == [('a', tmp_path / 'p' / 'a.JPG', tmp_path / 'm' / 'a.png')]
  reasons = {entry.instance: entry.read().reason for entry in entries}
  assert reasons.pop('m/a.txt').startswith('m/a.txt has not the suffix of a picture (.bmp, ')
  assert reasons == {
    'p/sub': 'p/sub is a folder; only the files of p itself are read',
    'b': 'p/b.png has no mask: no file of that stem in the folder m',
    'c': "2 pictures share the stem 'c': c.jpg, c.png; keep one",
    'd': 'm/d.png has no picture: no file of that stem in the folder p',
  }
  assert all(entry.size() is None for entry in entries)


def test_masks_with_stems_of_their_own_share_a_picture(tmp_path):
  touch(tmp_path, 'p/a.png', 'm/a#1.png', 'm/a#2.png', 'm/b#1.png')
  found, entries = pairs.paired(tmp_path, ('p', 'm'))
  assert [(stem, image.name, mask.name) for stem, image, mask in found] == [
    ('a#1', 'a.png', 'a#1.png'), ('a#2', 'a.png', 'a#2.png'),
  ]  # fmt: skip
  assert [entry.read().reason for entry in entries] == [
    'm/b#1.png has no picture: no file of that stem in the folder p'
  ]


def test_a_pair_is_two_arrays_of_one_size_or_a_reason(tmp_path):
  image = save_at(tmp_path / 'p' / 'a.png', (4, 5))
  sizes = {'same': (4, 5), 'turned': (5, 4), 'other': (4, 6)}

  def read_mask(path):
    if path.stem not in sizes:
      raise UnreadableImage('m/gone.png is missing')
    return np.zeros(sizes[path.stem], np.int32)

  def read(stem):
    return pairs.read_pair('a', image, tmp_path / 'm' / f'{stem}.png', reader, read_mask)

  reader = pairs.remembered(lambda path: picture(2, (4, 5)))
  pixels, mask = read('same')
  np.testing.assert_array_equal(pixels, picture(2, (4, 5)))
  assert mask.shape == (4, 5)
  assert read('other') == Rejected(
    'a', 'failed', 'm/other.png has 4 x 6 pixels (height x width), p/a.png has 4 x 5', (4, 5)
  )
  assert read('turned').reason.endswith('; pictures are turned as their EXIF orientation says')
  assert read('gone') == Rejected('a', 'failed', 'm/gone.png is missing', (4, 5))


def save_at(path, size):
  save(path, picture(2, size))
  return path


def test_a_picture_that_cannot_be_read_fails_with_the_size_of_its_header(tmp_path):
  def refuse(path):
    raise UnreadableImage('it is damaged')

  image = save_at(tmp_path / 'p' / 'a.png', (4, 5))
  assert pairs.read_pair('a', image, image, refuse, refuse) == Rejected(
    'a', 'failed', 'it is damaged', (4, 5)
  )
  image.write_bytes(b'')
  assert pairs.picture_size(image) is None
  assert pairs.read_pair('a', image, image, refuse, refuse).size is None


def test_the_same_file_twice_in_a_row_is_read_once_and_read_only(tmp_path):
  reads = []
  read = pairs.remembered(lambda path: reads.append(path) or np.zeros(3))
  first = read('a')
  assert read('a') is first and reads == ['a']
  read('b')
  read('a')
  assert reads == ['a', 'b', 'a']
  with pytest.raises(ValueError, match='read-only'):
    first[0] = 1


def test_entries_are_ordered_by_stem_and_then_by_number():
  names = ['b', 'a#10', 'a#9', 'a', 'B#1', 'a#x']
  entries = [Entry(name, lambda: None, lambda: None) for name in names]
  ordered = [entry.instance for entry in sorted(entries, key=pairs.order)]
  assert ordered == ['B#1', 'a', 'a#9', 'a#10', 'a#x', 'b']


def test_a_rejected_entry_reads_as_itself():
  entry = pairs.reject('a', 'it is gone')
  assert entry.read() == Rejected('a', 'failed', 'it is gone')
  assert entry.read() is pairs.same(entry.read())
  assert entry.size() is None


def test_a_folder_inside_points_at_the_one_around_it(tmp_path, monkeypatch):
  touch(tmp_path, 'd/a/1.png', 'd/b.txt', 'd/c/d/e.png')
  hint = f'did you mean data_dir={tmp_path / "d"}? '
  assert hint in refused(tmp_path / 'd' / 'a')
  assert hint in refused(f'{tmp_path}/d/a/')
  assert hint in refused(tmp_path / 'd' / 'a' / '1.png')
  assert hint in refused(tmp_path / 'd' / 'b.txt')
  monkeypatch.chdir(tmp_path / 'd' / 'a')
  assert hint in refused('.')
  # Not one that holds it by chance.
  assert 'did you mean' not in refused(tmp_path / 'd' / 'c' / 'd')
  (tmp_path / 'elsewhere').mkdir()
  (tmp_path / 'd' / 'a' / '1.png').unlink()
  (tmp_path / 'd' / 'a').rmdir()
  (tmp_path / 'd' / 'a').symlink_to('../elsewhere')
  assert hint in refused(tmp_path / 'd' / 'a')


def test_names_in_another_case_are_pointed_at(tmp_path):
  touch(tmp_path, 'A/1.png', 'B.txt')
  assert 'rename A to a; rename B.txt to b.txt; ' in refused(tmp_path)


def test_links_are_followed_and_broken_ones_are_rows(tmp_path):
  image = save_at(tmp_path / 'store' / 'x.png', (4, 5))
  for folder in ('p', 'm'):
    (tmp_path / folder).mkdir()
    (tmp_path / folder / 'a.png').symlink_to(image)
  (tmp_path / 'p' / 'dead.png').symlink_to('nowhere.png')
  (tmp_path / 'p' / 'loop.png').symlink_to('loop.png')
  (tmp_path / 'm' / 'dead.png').symlink_to(image)
  (tmp_path / 'm' / 'loop.png').symlink_to(image)
  found, entries = pairs.paired(tmp_path, ('p', 'm'))
  assert [stem for stem, _, _ in found] == ['a', 'dead', 'loop'] and entries == []
  for stem, picture_file, mask_file in found:
    read = pairs.read_pair(stem, picture_file, mask_file, images.read_picture, images.read_picture)
    assert isinstance(read, Rejected) == (stem != 'a')
