"""Resuming on a data set that was mended: what is kept, what is done again, and that rows are those
of a fresh run, also after kills."""

import contextlib
import os
import random
import zlib

import leases
import pytest

from experiments.lib import loop, named, resume
from tetris_jax import data
from tetris_jax.runs import workdirs as results

CONFIG = {'flags': {'model': 'toy'}}


def dataset(folder):
  """An instance a text file: its size on the first line; '' is skipped, one of no size fails."""

  def size(path):
    words = path.read_text().split()
    return (int(words[0]), int(words[1])) if len(words) > 1 else None

  def read(path):
    text = path.read_text()
    if text.endswith('failed') or size(path) is None:
      return data.Rejected(path.stem, 'failed', f'{path.name} is damaged', size(path))
    if text.endswith('empty'):
      return data.Rejected(path.stem, 'skipped', f'{path.name} has no object', size(path))
    return text

  return data.Dataset('texts', [
    data.Entry(path.stem, lambda path=path: read(path), lambda path=path: size(path), (path,))
    for path in sorted(folder.glob('*.txt'))
  ])  # fmt: skip


class Reads(loop.Job):
  """Rows that say what was in the file, on which canvas; with a file beside each."""

  kind = 'attack'

  def __init__(self, dataset, beside=None):
    self.programs = leases.Leases()
    self.dataset, self.beside, self.measured = dataset, beside, []
    self.clicks = {}

  def prepare(self, group):
    entries = [(index, self.dataset[index]) for index in group.indices]
    rejected = [entry for _, entry in entries if isinstance(entry, data.Rejected)]
    given = [one for one in entries if not isinstance(one[1], data.Rejected)]
    made = [named.rejected_row(self.kind, entry) for entry in rejected]
    return loop.Prepared(group, made, (group.canvas, given) if given else None)

  def measure(self, given, say):
    canvas, entries = given
    self.measured += [self.dataset.names[index] for index, _ in entries]
    made = [self.row(index, text, canvas) for index, text in entries]
    return loop.Found(made, len(made), given)

  def row(self, index, text, canvas):
    value = zlib.crc32(repr((text, canvas, self.content(index))).encode()) / 2**32
    iou = {'min': None, 'base': [value], 'max': None}
    return {
      'instance': self.dataset.names[index], 'status': 'ok', 'reason': '',
      'size': list(self.dataset.size(index)), 'iou': iou, 'biou': iou,
      'clicks': {'min': None, 'base': [[1.0, 2.0, 1]], 'max': None}, 'forward': 1, 'backward': 0,
      'warnings': [],
    }  # fmt: skip

  def path(self, index):
    return self.beside / named.picture_name(index, self.dataset.names[index])

  def finish(self, found, say):
    for index, text in found.left[1]:
      if self.beside:
        results.write_atomically(self.path(index), text.encode())
    return found.rows

  def content(self, index):
    return self.clicks.get(self.dataset.names[index], '')

  def forget(self, index):
    if self.beside:
      self.path(index).unlink(missing_ok=True)


def put(folder, **files):
  """Writes, or with None removes, a text by name."""
  folder.mkdir(exist_ok=True)
  for name, text in files.items():
    path = folder / f'{name}.txt'
    path.unlink() if text is None else path.write_text(text)


def run(folder, work, clicks=None, shard=(0, 1)):
  """Resumes a run; the bytes of its rows and its job."""
  texts = dataset(folder)
  config = CONFIG | {'instances': named.fingerprint(texts)}
  with results.open_workdir(work, config) as workdir:
    job = Reads(texts, work / 'figures')
    job.clicks = clicks or {}
    loop.run(job, texts, workdir, 2, shard)
    workdir.write_json('summary.json', {})
  return (work / 'rows.jsonl').read_bytes(), job


def state(work):
  """Everything that a run leaves, shards and the summary aside."""
  return {
    file.relative_to(work).as_posix(): file.read_bytes()
    for file in sorted(work.rglob('*'))
    if file.is_file() and file.parent.name != 'results' and file.name != '.lock'
  }


@pytest.fixture
def folder(tmp_path):
  path = tmp_path / 'd'
  put(path, **{name: f'10 10 {name}' for name in 'abcdefg'})
  return path


def test_a_mended_file_is_done_again_and_nothing_else(folder, tmp_path, capsys):
  before, job = run(folder, tmp_path / 'w')
  assert job.measured == list('abcdefg')
  shards = {file: file.read_bytes() for file in (tmp_path / 'w/results').iterdir()}
  os.utime(folder / 'a.txt', ns=(5, 5))
  assert (run(folder, tmp_path / 'w')[1].measured) == []
  assert '7 of 7 instances are done\n' in capsys.readouterr().err
  assert {file: file.read_bytes() for file in (tmp_path / 'w/results').iterdir()} == shards
  put(folder, c='10 10 C')  # Of the same size.
  after, job = run(folder, tmp_path / 'w')
  assert job.measured == ['c']
  said = capsys.readouterr().err.splitlines()
  assert said[0] == (
    f'resuming {tmp_path / "w"}: 6 of 7 instances are done; again: 1 whose files changed (c.txt)'
  )
  changed = [file.name for file, was in shards.items() if file.read_bytes() != was]
  assert changed == ['00001.jsonl']
  assert after == run(folder, tmp_path / 'fresh')[0] != before
  assert state(tmp_path / 'w') == state(tmp_path / 'fresh')
  put(folder, c='10 10 c')
  assert run(folder, tmp_path / 'w')[0] == before


def test_failed_and_skipped_rows_are_tried_again(folder, tmp_path, capsys):
  put(folder, b='10 10 failed', d='10 10 empty', e='none', f='10 10 failed')
  rows, job = run(folder, tmp_path / 'w')
  assert job.measured == ['a', 'c', 'g']
  shards = {file: file.read_bytes() for file in (tmp_path / 'w/results').iterdir()}
  assert run(folder, tmp_path / 'w')[0] == rows
  said = capsys.readouterr().err
  assert '3 of 7 instances are done; again: 3 failed, 1 skipped\n' in said and '7/7' in said
  # What comes out the same is not written again.
  assert {file: file.read_bytes() for file in (tmp_path / 'w/results').iterdir()} == shards
  put(folder, b='10 10 b', d='10 10 d', e='10 10 e')
  capsys.readouterr()
  after, job = run(folder, tmp_path / 'w')
  assert job.measured == ['b', 'd', 'e']
  # One of them is of no batch until it has a size.
  assert '3 of 7 instances are done; again: 3 failed, 1 skipped\n' in capsys.readouterr().err
  assert after == run(folder, tmp_path / 'fresh')[0]


def test_instances_come_and_go(folder, tmp_path, capsys):
  run(folder, tmp_path / 'w')
  put(folder, a=None, e=None, aa='10 10 aa', c2='300 200 large')
  rows, job = run(folder, tmp_path / 'w')
  assert job.measured == ['aa', 'c2']
  said = capsys.readouterr().err
  assert '5 of 7 instances are done; new: 2; gone: 2\n' in said
  assert rows == run(folder, tmp_path / 'fresh')[0]
  # Files beside the rows got the new positions.
  assert state(tmp_path / 'w') == state(tmp_path / 'fresh')
  # And back: the rows that are still there hold again.
  put(folder, a='10 10 a', e='10 10 e', aa=None, c2=None)
  rows, job = run(folder, tmp_path / 'w')
  assert set(job.measured) <= {'a', 'e'}
  assert rows == run(folder, tmp_path / 'other')[0]


def test_a_row_holds_for_its_canvas_only(folder, tmp_path, capsys):
  put(folder, x='200 250 x')
  run(folder, tmp_path / 'w')
  # A larger canvas takes the few of a smaller one along.
  put(folder, **{f'y{k}': '200 300 y' for k in range(3)})
  rows, job = run(folder, tmp_path / 'w')
  assert 'x' in job.measured and 'a' not in job.measured
  said = capsys.readouterr().err
  assert '7 of 11 instances are done; again: 1 on another canvas; new: 3\n' in said
  assert rows == run(folder, tmp_path / 'fresh')[0]


def test_what_else_a_row_depends_on_may_change(folder, tmp_path, capsys):
  run(folder, tmp_path / 'w', {'a': 'here', 'b': 'there'})
  rows, job = run(folder, tmp_path / 'w', {'a': 'here', 'b': 'elsewhere'})
  assert job.measured == ['b']
  assert 'again: 1 whose annotation or clicks changed\n' in capsys.readouterr().err
  assert rows == run(folder, tmp_path / 'fresh', {'a': 'here', 'b': 'elsewhere'})[0]


def test_a_reader_without_files_is_known_by_sizes(tmp_path, capsys):
  size = (10, 10)
  make = lambda: data.Dataset('plain', [
    data.Entry('p', lambda: f'text {size}', lambda: size)
  ])  # fmt: skip
  with results.open_workdir(tmp_path, CONFIG) as workdir:
    for _ in range(2):
      job = Reads(make())
      loop.run(job, make(), workdir, 1)
    assert job.measured == []
    size = (10, 12)
    job = Reads(make())
    rows, _ = loop.run(job, make(), workdir, 1)
  assert job.measured == ['p'] and rows[0]['size'] == [10, 12]
  assert 'again: 1 whose size changed' in capsys.readouterr().err


def test_shards_of_a_mended_data_set_have_its_batches(folder, tmp_path):
  for shard in ((0, 2), (1, 2)):
    run(folder, tmp_path / str(shard[0]), shard=shard)
  put(folder, a=None, c='10 10 C')
  parts = [run(folder, tmp_path / str(k), shard=(k, 2))[0] for k in range(2)]
  fresh = [run(folder, tmp_path / f'fresh{k}', shard=(k, 2))[0] for k in range(2)]
  assert parts == fresh
  assert sorted(b''.join(parts).splitlines()) == run(folder, tmp_path / 'whole')[0].splitlines()


def test_rows_of_which_nothing_is_known_are_done_again(folder, tmp_path, capsys):
  rows, _ = run(folder, tmp_path / 'w')
  with results.open_workdir(tmp_path / 'w', CONFIG | {'instances': None}) as workdir:
    shard = workdir.read_shard(0)
    workdir.write_shard(0, results.Shard(shard.rows, {'seconds': 1.0}))
  again, job = run(folder, tmp_path / 'w')
  assert again == rows and job.measured == ['a', 'b']
  assert 'again: 2 made by an earlier version\n' in capsys.readouterr().err


def test_what_was_spent_adds_up_over_tries(folder, tmp_path):
  texts = dataset(folder)
  totals = []
  for text in ('10 10 a', '10 10 A'):
    put(folder, a=text)
    with results.open_workdir(tmp_path / 'w', CONFIG) as workdir:
      totals.append(loop.run(Reads(texts), texts, workdir, 2)[1]['evaluations'])
  assert totals == [7, 8]


def test_a_finished_run_that_changes_has_not_finished(folder, tmp_path, monkeypatch):
  run(folder, tmp_path / 'w')
  put(folder, c='10 10 C')
  monkeypatch.setattr(Reads, 'measure', lambda *args: (_ for _ in ()).throw(KeyboardInterrupt()))
  with pytest.raises(KeyboardInterrupt):
    run(folder, tmp_path / 'w')
  # Nothing has changed on disk yet but the picture of what is done again.
  assert not list((tmp_path / 'w/figures').glob('*_c.png'))
  monkeypatch.undo()
  put(folder, g=None)
  monkeypatch.setattr(Reads, 'measure', lambda *args: (_ for _ in ()).throw(KeyboardInterrupt()))
  with pytest.raises(KeyboardInterrupt):
    run(folder, tmp_path / 'w')
  assert not (tmp_path / 'w/summary.json').exists()


class Died(BaseException):
  """In the place of a kill."""


@pytest.mark.slow
@pytest.mark.parametrize('seed', range(8))
def test_mends_and_kills_in_any_order_change_no_byte(tmp_path, monkeypatch, seed):
  rng = random.Random(seed)
  folder, work = tmp_path / 'd', tmp_path / 'w'
  put(folder, **{name: f'10 10 {name}' for name in 'bdfhjlnp'})
  run(folder, work)
  whole = os.replace
  for step in range(12):
    name = rng.choice('abcdefghijklmnop')
    texts = [None, '10 10 empty', 'none', f'10 10 {step}', f'300 {10 + step} x', '10 10 b']
    text = rng.choice(texts)
    if text is not None or (folder / f'{name}.txt').exists():
      put(folder, **{name: text})
    left = rng.randrange(12)

    def dies(source, target):
      nonlocal left
      if not left:
        raise Died
      left -= 1
      whole(source, target)

    monkeypatch.setattr(os, 'replace', dies)
    with contextlib.suppress(Died):
      run(folder, work)
    monkeypatch.undo()
  rows, _ = run(folder, work)
  assert rows == run(folder, tmp_path / 'fresh')[0]
  found, fresh = state(work), state(tmp_path / 'fresh')
  assert {name: found.get(name) for name in fresh} == fresh
  assert found.keys() == fresh.keys()


def test_the_first_line_shows_a_few_files(folder, tmp_path):
  done = resume.Done(None)
  done._shards = {0: None}
  done.rows = {index: {} for index in range(1990)}
  done.again.update({'skipped': 2, 'whose files changed': 4, 'failed': 3})
  done.mended = dict.fromkeys(f'{name}.png' for name in 'abcd')
  assert done.notes('runs/x', 2000, 1, 0, 0) == [
    'resuming runs/x: 1,990 of 2,000 instances are done; again: 4 whose files changed (a.png, '
    'b.png, c.png, ...), 4 failed, 2 skipped'
  ]
