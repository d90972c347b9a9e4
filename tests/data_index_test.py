"""Answers that outlive the process: what is kept, what is asked again, and how far it is."""

import itertools
import json
import os
import pathlib
import types
import zlib

import numpy as np
import pytest
from layouts import picture, save, save_mat, tetris_mask

from tetris_jax import data
from tetris_jax.data import images, index, sbd


def questions(root, asked, count=5, **options):
  """Questions of files f0, f1, ...: what is in them."""
  def ask(number):
    asked.append(number)
    return {'text': (root / f'f{number}').read_text()}

  for number in range(count):
    (root / f'f{number}').write_text(f'<{number}>')
  return [
    index.Question(
      f'f{number}',
      lambda number=number: index.stamp_of(root / f'f{number}'),
      lambda number=number: ask(number),
      **options,
    )
    for number in range(count)
  ]


def opened(root, name='toy', **asked):
  return index.Index(index.Indexing(folder=root / 'kept', **asked), name=name, root=root)


def texts(held, asked):
  return [answer['text'] for answer in held.answers(asked, 'files')]


def kept(root):
  (file,) = (root / 'kept').iterdir()
  return file


def test_a_question_is_asked_once_and_again_when_its_file_changed(tmp_path):
  asked = []
  all_of = questions(tmp_path, asked)
  first = opened(tmp_path)
  assert texts(first, all_of) == ['<0>', '<1>', '<2>', '<3>', '<4>']
  assert asked == [0, 1, 2, 3, 4] and first.whole
  asked.clear()
  (tmp_path / 'f3').write_text('longer')
  assert texts(opened(tmp_path), all_of) == ['<0>', '<1>', '<2>', 'longer', '<4>']
  assert asked == [3]
  asked.clear()
  # One of the same size, put back to the same time of modification.
  before = (tmp_path / 'f1').stat()
  (tmp_path / 'f1').write_text('[1]')
  os.utime(tmp_path / 'f1', ns=(before.st_atime_ns, before.st_mtime_ns))
  assert texts(opened(tmp_path), all_of)[1] == '[1]'
  assert asked == [1]


def test_times_in_whole_seconds_tell_nothing_of_the_last_two(tmp_path, monkeypatch):
  asked = []
  (one,) = questions(tmp_path, asked, 1)
  now = 1_700_000_001.5
  monkeypatch.setattr(
    index, 'time', types.SimpleNamespace(monotonic=lambda: 0.0, time_ns=lambda: int(now * 1e9))
  )
  size = (tmp_path / 'f0').stat().st_size
  coarse = types.SimpleNamespace(
    st_size=size, st_mtime_ns=1_700_000_000 * 10**9, st_ctime_ns=1_700_000_000 * 10**9
  )
  monkeypatch.setattr(index.os, 'stat', lambda file: coarse)
  assert texts(opened(tmp_path), [one]) == ['<0>']
  (tmp_path / 'f0').write_text('[0]')  # In the same second, and of the same size.
  now += 1
  assert texts(opened(tmp_path), [one]) == ['[0]']
  assert texts(opened(tmp_path), [one]) == ['[0]'] and len(asked) == 2
  # A clock that was set back: what is from the future is settled as well.
  now -= 1000
  assert texts(opened(tmp_path), [one]) == ['[0]'] and len(asked) == 2


def test_other_options_roots_and_readers_have_answers_of_their_own(tmp_path, monkeypatch):
  asked = []
  all_of = questions(tmp_path, asked)
  texts(opened(tmp_path), all_of)
  texts(opened(tmp_path, 'toy share=0.1'), all_of)
  elsewhere = index.Indexing(folder=tmp_path / 'kept')
  texts(index.Index(elsewhere, name='toy', root=tmp_path / 'kept'), all_of)
  assert asked == [0, 1, 2, 3, 4] * 3
  assert len(list((tmp_path / 'kept').iterdir())) == 3
  monkeypatch.setattr(index, '_version', lambda: 'other')
  texts(opened(tmp_path), all_of)
  assert len(asked) == 20


def test_a_link_and_its_target_share_answers(tmp_path):
  asked = []
  (tmp_path / 'd').mkdir()
  all_of = questions(tmp_path / 'd', asked)
  (tmp_path / 'link').symlink_to('d')
  help_of = index.Indexing(folder=tmp_path / 'kept')
  texts(index.Index(help_of, name='toy', root=tmp_path / 'd'), all_of)
  texts(index.Index(help_of, name='toy', root=tmp_path / 'link'), all_of)
  assert len(asked) == 5


def test_only_what_is_wanted_is_asked(tmp_path):
  asked = []
  all_of = questions(tmp_path, asked, 40)
  held = opened(tmp_path, limit=3)
  answers = held.answers(all_of, 'files', threads=4)
  assert [next(answers)['text'] for _ in range(3)] == ['<0>', '<1>', '<2>']
  answers.close()
  assert sorted(asked) == [0, 1, 2] and not held.whole
  asked.clear()
  assert len(texts(opened(tmp_path), all_of)) == 40
  assert sorted(asked) == list(range(3, 40))


def test_damaged_lines_are_asked_again(tmp_path):
  asked = []
  all_of = questions(tmp_path, asked)
  texts(opened(tmp_path), all_of)
  lines = kept(tmp_path).read_bytes().split(b'\n')
  whole = [line for line in lines if line]
  assert [json.loads(line[9:])[0] for line in whole] == ['f0', 'f1', 'f2', 'f3', 'f4']
  # One is cut, one was written over, one has a byte changed, and something else was appended.
  whole[1] = whole[1][:-4]
  whole[2] = whole[2][:30] + whole[3]
  whole[4] = whole[4].replace(b'<4>', b'<5>')
  kept(tmp_path).write_bytes(b'\n'.join([*whole, b'\x00\xff', b'00000000 [1]']))
  asked.clear()
  assert texts(opened(tmp_path), all_of) == ['<0>', '<1>', '<2>', '<3>', '<4>']
  assert asked == [1, 2, 4]
  asked.clear()
  assert texts(opened(tmp_path), all_of)[4] == '<4>' and asked == []


@pytest.mark.parametrize('body', [b'5', b'[]', b'{', b'[1, [], 2]', b'["a", 1, 2]', b'[' * 9999])
def test_lines_of_another_program_are_passed_over(tmp_path, body):
  (tmp_path / 'kept').write_bytes(
    b'%08x %s\n' % (zlib.crc32(body), body) + index._line('a', [1], 2) + b'\n'
  )
  assert index._read(tmp_path / 'kept') == {'a': ([1], 2)}


def test_two_processes_share_a_file(tmp_path):
  asked = []
  all_of = questions(tmp_path, asked)
  one, other = opened(tmp_path), opened(tmp_path)
  assert texts(one, all_of) == texts(other, all_of)
  asked.clear()
  texts(opened(tmp_path), all_of)
  assert asked == []


def test_what_does_not_last_is_not_kept(tmp_path):
  asked = []
  passing = questions(tmp_path, asked, lasting=lambda answer: answer['text'] != '<2>')
  texts(opened(tmp_path), passing)
  asked.clear()
  texts(opened(tmp_path), passing)
  assert asked == [2]
  nowhere = index.Question('gone', lambda: index.stamp_of(tmp_path / 'gone'), lambda: {'text': ''})
  assert nowhere.stamp() is None
  assert texts(opened(tmp_path), [nowhere]) == ['']
  assert 'gone' not in kept(tmp_path).read_text()


def test_an_answer_of_a_file_that_changed_meanwhile_is_not_kept(tmp_path):
  asked = []
  (one,) = questions(tmp_path, asked, 1)

  def ask():
    answer = one.ask()
    (tmp_path / 'f0').write_text('written while it was read')
    return answer

  changing = index.Question('f0', one.stamp, ask)
  assert texts(opened(tmp_path), [changing]) == ['<0>']
  assert texts(opened(tmp_path), [one]) == ['written while it was read']


def test_a_stop_keeps_what_was_found(tmp_path):
  asked = []
  all_of = questions(tmp_path, asked)

  def stop():
    raise KeyboardInterrupt

  stopping = [*all_of[:2], index.Question('f2', all_of[2].stamp, stop), *all_of[3:]]
  with pytest.raises(KeyboardInterrupt):
    texts(opened(tmp_path), stopping)
  asked.clear()
  texts(opened(tmp_path), all_of)
  assert 0 not in asked and 1 not in asked and 2 in asked


@pytest.mark.parametrize('place', ['file', 'folder'])
def test_where_nothing_can_be_kept_it_is_said_and_goes_on(tmp_path, place):
  asked, said = [], []
  all_of = questions(tmp_path, asked)
  folder = tmp_path / 'kept'
  if place == 'file':
    folder.write_text('in the way')
  else:
    texts(opened(tmp_path), all_of)
    name = kept(tmp_path)
    name.unlink()
    name.mkdir()
  assert texts(opened(tmp_path, say=said.append), all_of)[0] == '<0>'
  (line,) = said
  assert line.startswith('what masks hold is not kept for the next run: ')


def test_progress_is_told_with_what_is_left(monkeypatch):
  clock = itertools.count(step=3)
  monkeypatch.setattr(index, 'time', types.SimpleNamespace(monotonic=lambda: next(clock)))
  said = []

  def ask(count):
    held = index.Index(index.Indexing(say=said.append))
    texts(held, [index.Question('f', lambda: None, lambda: {'text': ''})] * count)

  ask(100)
  assert said[:2] == ['indexing files: 1/100, 5 min left', 'indexing files: 3/100, 5 min left']
  assert said[-2:] == ['indexing files: 99/100, 3 s left', 'indexing files: done in 5 min']
  said.clear()
  clock = itertools.count(step=0)
  ask(100)
  assert said == []


@pytest.fixture
def counted(monkeypatch):
  """Names of the masks that are decoded."""
  reads = []
  read_mask, read_instances = images.read_mask, sbd.read_instances
  monkeypatch.setattr(
    images,
    'read_mask',
    lambda path, **options: reads.append(pathlib.Path(path).name) or read_mask(path, **options),
  )
  monkeypatch.setattr(
    sbd,
    'read_instances',
    lambda path: reads.append(pathlib.Path(path).name) or read_instances(path),
  )
  return reads


def write(name, root):
  """Twelve pictures of a data set whose objects only its masks tell."""
  stems = ['a', 'a#1', 'b', *(f'c{number}' for number in range(9))]
  for stem in stems:
    if name == 'sbd':
      save(root / 'img' / f'{stem}.jpg', picture())
      numbers = np.zeros(picture().shape[:2], np.uint8)
      numbers[2:9, 2:9], numbers[10:15, 10:15] = 1, 12
      save_mat(root / 'inst' / f'{stem}.mat', numbers)
    else:
      save(root / 'images' / f'{stem}.jpg', picture())
      mask = tetris_mask() * (stem not in ('a#1', 'c3'))
      save(root / 'masks' / f'{stem}.png', mask)
  if name == 'sbd':
    (root / 'val.txt').write_text('\n'.join([*stems, 'lost']))
  else:
    save(root / 'masks' / 'alone.png', mask)
    (root / 'masks' / 'b.txt').write_text('x')


ASKED = (('tetris', {}), ('sbd', {}), ('folder', {'objects': 'ids'}))


@pytest.mark.parametrize(('name', 'options'), ASKED)
def test_a_limit_gives_the_first_of_the_whole(tmp_path, counted, name, options):
  write(name, tmp_path)
  whole = data.open_dataset(name, str(tmp_path), **options)
  assert len(counted) == 12
  for limit in range(1, len(whole) + 2):
    counted.clear()
    some = data.open_dataset(
      name, str(tmp_path), indexing=data.Indexing(limit=limit), **options
    )
    assert some.names == whole.names[:limit]
    assert some.name == whole.name
    assert len(counted) <= min(limit + 1, 12)
  assert some.notes == whole.notes


@pytest.mark.parametrize(('name', 'options'), ASKED)
def test_masks_are_read_once_for_all_runs(tmp_path, counted, name, options):
  write(name, tmp_path)
  indexing = data.Indexing(folder=tmp_path / 'kept')
  whole = data.open_dataset(name, str(tmp_path), **options)
  first = data.open_dataset(name, str(tmp_path), indexing=indexing, **options)
  counted.clear()
  again = data.open_dataset(name, str(tmp_path), indexing=indexing, **options)
  assert counted == []
  assert again.names == first.names == whole.names
  assert again.notes == first.notes == whole.notes
  for one, other in zip(again, whole, strict=True):
    if isinstance(one, data.Rejected):
      assert one == other
    else:
      np.testing.assert_array_equal(one.mask, other.mask)


def test_notes_on_the_whole_are_made_of_the_whole(tmp_path):
  write('sbd', tmp_path)
  some = data.open_dataset('sbd', str(tmp_path), indexing=data.Indexing(limit=2))
  assert 'found 12 pictures; ' in some.notes[0]
  assert 'found 12 and 25' in data.open_dataset('sbd', str(tmp_path)).notes[0]


def test_a_mended_mask_is_looked_at_again(tmp_path):
  write('tetris', tmp_path)
  (tmp_path / 'masks' / 'b.png').write_bytes(b'cut')
  indexing = data.Indexing(folder=tmp_path / 'kept')
  first = data.open_dataset('tetris', str(tmp_path), indexing=indexing)
  assert 'b' in first.names
  save(tmp_path / 'masks' / 'b.png', tetris_mask())
  again = data.open_dataset('tetris', str(tmp_path), indexing=indexing)
  assert 'b' not in again.names and 'b#300' in again.names
