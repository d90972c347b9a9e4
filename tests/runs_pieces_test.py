"""Work folders as they were handed over: read, or refused in one sentence that names the place."""

import json
import os
import shutil

import pytest
import runs
import work_folders
from work_folders import edit, edit_row

from tetris_jax.runs import pieces, schema, workdirs
from tetris_jax.runs.workdirs import WorkdirError


@pytest.fixture
def folder(tmp_path):
  return work_folders.attack(tmp_path / 'w', pictures=(0,))


def refused(folder, program='attack'):
  with pytest.raises(WorkdirError) as error:
    pieces.read_piece(folder, program)
  said = str(error.value)
  assert str(folder) in said and '\n' not in said and len(said) < 600
  return said.replace(str(folder), 'W')


def test_a_work_folder_is_read_with_its_speed(folder, tmp_path):
  piece = pieces.read_piece(folder)
  assert piece.name == ('m', 'dev', 'tetris') and piece.shard == (0, 1)
  assert list(piece.rows) == work_folders.rows()
  assert piece.totals == {
    'seconds': 2.0, 'compile_seconds': 0, 'programs': 1, 'evaluations': 0,
  }  # fmt: skip
  (folder / 'speed.json').write_text('{"evaluations_per_second": 3, "device_seconds": 4}')
  assert pieces.read_piece(folder).totals['evaluations'] == 12
  assert pieces.read_piece(work_folders.users(tmp_path / 'u'), 'users').program == 'users'


def test_a_work_folder_may_be_a_link_and_nothing_in_it(folder, tmp_path):
  (tmp_path / 'link').symlink_to('w')
  assert len(pieces.read_piece(tmp_path / 'link').rows) == 4
  (tmp_path / 'elsewhere').mkdir()
  for name in ('config.json', 'rows.jsonl', 'summary.json', 'instances.json'):
    shutil.move(folder / name, tmp_path / 'elsewhere' / name)
    (folder / name).symlink_to(tmp_path / 'elsewhere' / name)
    assert refused(folder) == (
      f'cannot read W/{name}: it is a link; put the file itself in its place'
    )
    (folder / name).unlink()
    shutil.move(tmp_path / 'elsewhere' / name, folder / name)
  shutil.move(folder / 'results', tmp_path / 'results')
  (folder / 'results').symlink_to(tmp_path / 'results')
  assert refused(folder).startswith('cannot read W/results: it is a link')
  (folder / 'results').unlink()
  (folder / 'results').write_text('')
  assert refused(folder) == 'cannot read W/results: it is a file, expected a folder'


@pytest.mark.parametrize(
  'name',
  ['config.json', 'rows.jsonl', 'summary.json', 'speed.json', 'instances.json',
   'results/00000.jsonl', 'results/other.jsonl'],
)  # fmt: skip
def test_pipes_and_endless_files_neither_hang_nor_fill_memory(folder, name):
  (folder / name).unlink(missing_ok=True)
  os.mkfifo(folder / name)
  assert refused(folder) == f'cannot read W/{name}: it is a named pipe, expected a file'
  (folder / name).unlink()
  with open(folder / name, 'wb') as file:
    file.truncate(10**13)
  assert f'cannot read W/{name}: it has 10000000000000 bytes' in refused(folder)


@pytest.mark.parametrize(
  'bad',
  [b'', b'{', b'[' * 10_000, b'null', b'[]', b'7', b'"x"', b'{}', b'\xff\xfe', b'{"schema": NaN}',
   b'{"schema": ' + b'9' * 5000 + b'}', b'{"schema": 2, "schema": 2}', b'{"schema": 1e999}',
   b'\0' * 100, b'{"instances": {}}', b'{"instances": [["a"]]}', b'{"instances": [[1, null]]}',
   b'{"instances": [["a", [1, "x"]]]}', b'{"instances": null}'],
)  # fmt: skip
def test_documents_that_are_none_are_refused(folder, bad):
  # Any object is a summary that says nothing of speed.
  for name in ('config.json', 'instances.json', 'rows.jsonl'):
    held = (folder / name).read_bytes()
    (folder / name).write_bytes(bad)
    if name == 'rows.jsonl' and not bad:
      pieces.read_piece(folder)  # A shard of nothing; merging tells whose rows are missing.
    else:
      refused(folder)
    (folder / name).write_bytes(held)


def test_the_layout_and_the_program_are_told_first(folder):
  edit(folder, 'config.json', lambda c: c.update(schema=10**30, flags=None))
  assert 'was written by a later version' in refused(folder)
  edit(folder, 'config.json', lambda c: c.update(schema=schema.SCHEMA, program='x' * 10_000))
  assert refused(folder).startswith("W is a work folder of experiments.'xxxx")
  edit(folder, 'config.json', lambda c: c.update(program=['users']))
  assert 'expected experiments.attack' in refused(folder)
  edit(folder, 'config.json', lambda c: c.update(program='attack'))
  assert refused(folder) == (
    'W is no work folder of experiments.attack, or is damaged: config.json: flags is None, '
    'expected an object'
  )


def test_a_summary_of_text_is_refused(folder):
  edit(folder, 'summary.json', lambda s: s.update(evaluations_per_second='fast'))
  assert "summary.json: evaluations_per_second is 'fast', expected a finite numb" in refused(folder)


def test_an_impossible_row_is_named_by_folder_instance_and_field(folder):
  edit_row(folder, 1, lambda row: row['iou']['max'].__setitem__(0, 1.7))
  assert refused(folder) == (
    "W/rows.jsonl, line 2: not a row (instance 'p1': iou.max[0] is 1.7, expected 0 to 1)"
  )


def altered(folder, number, old, new):
  """Alters a line of rows.jsonl and leaves the shards as they are."""
  lines = (folder / 'rows.jsonl').read_text().splitlines(keepends=True)
  assert old in lines[number]
  lines[number] = lines[number].replace(old, new)
  (folder / 'rows.jsonl').write_text(''.join(lines))


def test_rows_that_contradict_their_shards_are_refused(folder):
  altered(folder, 0, '"max": [0.6, 0.6]', '"max": [0.9, 0.6]')
  assert refused(folder).startswith(
    "W: rows.jsonl has iou.max[0] of instance 'p0' otherwise than results/00000.jsonl, which its"
  )
  altered(folder, 0, '"max": [0.9, 0.6]', '"max": [0.6, 0.6]')
  altered(folder, 2, '"warnings": []', '"warnings": ["x"]')
  assert "rows.jsonl has warnings of instance 'p2' otherwise than results/00001" in refused(folder)
  altered(folder, 2, '"warnings": ["x"]', '"warnings": []')
  # No shard speaks of an instance whose size was unknown.
  altered(folder, 3, 'is damaged', 'is missing')
  assert pieces.read_piece(folder).rows[3]['reason'] == 'images/broken.jpg is missing'


def test_an_instance_of_several_shards_must_agree_with_one(folder):
  row = work_folders.rows()[0] | {'forward': 7}
  kept = workdirs.Workdir(folder)
  kept.write_shard(77, workdirs.Shard([row], {}))
  (folder / 'results' / '00077.jsonl').rename(folder / 'results' / 'kept.jsonl')
  pieces.read_piece(folder)
  (folder / 'results' / '00000.jsonl').unlink()
  assert "has forward of instance 'p0' otherwise than results/kept.jsonl" in refused(folder)


@pytest.mark.parametrize(
  'damage',
  [lambda data: data[:-5], lambda data: data.replace(b'0.6', b'0.7', 1), lambda data: b'',
   lambda data: b'\n', lambda data: data[data.index(b'\n') + 1 :], lambda data: b'[' * 10_000],
)  # fmt: skip
def test_a_damaged_shard_is_refused(folder, damage):
  shard = folder / 'results' / '00000.jsonl'
  shard.write_bytes(damage(shard.read_bytes()))
  said = refused(folder)
  assert said.startswith('W/results/00000.jsonl: truncated or altered')
  assert said.endswith("give the run's command again, which does its batch again")


def test_what_others_left_beside_the_shards_does_not_matter(folder):
  (folder / 'results' / '._00000.jsonl').write_bytes(b'\0\5\x16\7')
  (folder / 'results' / '.00001.jsonl.7.tmp').write_bytes(b'half')
  (folder / 'results' / 'notes.txt').write_text('mine')
  for file in [*(folder / 'results').glob('0*.jsonl'), folder / 'rows.jsonl']:
    file.write_bytes(file.read_bytes().replace(b'\n', b'\r\n'))  # As Git may.
  assert len(pieces.read_piece(folder).rows) == 4
  shutil.rmtree(folder / 'results')
  assert len(pieces.read_piece(folder).rows) == 4


def test_folders_that_cannot_be_found_are_told(folder, tmp_path):
  (tmp_path / 'loop').symlink_to('loop')
  for path in ('x' * 5000, str(tmp_path / 'loop'), str(tmp_path / '*x*'), ''):
    with pytest.raises(WorkdirError, match='is no work folder and holds no shards'):
      pieces.find_workdirs([path])
  (tmp_path / 'again').symlink_to('w')
  with pytest.raises(WorkdirError, match=r'names .*again twice'):
    pieces.find_workdirs([str(folder), str(tmp_path / 'again')])
  assert pieces.expanded([str(tmp_path / 'w*'), 'nowhere']) == [str(folder), 'nowhere']


def test_a_merged_report_has_no_shards(folder, tmp_path):
  out = tmp_path / 'out'
  out.mkdir()
  for name in ('config.json', 'instances.json', 'rows.jsonl', 'summary.json'):
    shutil.copy(folder / name, out / name)
  assert pieces.read_piece(out).rows == pieces.read_piece(folder).rows
  heat = runs.heatmap_folder(tmp_path / 'heat')
  assert len(pieces.read_piece(heat, 'heatmap').rows) == 2
  held = json.loads((heat / 'config.json').read_text())
  assert pieces.read_piece(heat, 'heatmap').name == (held['model']['name'], 'davis_dev', 'heatmap')
