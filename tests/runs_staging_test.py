"""Folders that are written whole or not at all."""

import os
import subprocess
import sys

import pytest
import work_folders

from tetris_jax.runs import staging
from tetris_jax.runs.workdirs import WorkdirError


def fill(out, **files):
  with staging.staged(out, 'out') as made:
    for name, text in (files or {'a': '1', 'sub/b': '2'}).items():
      (made / name).parent.mkdir(exist_ok=True)
      (made / name).write_text(text)


def names(folder):
  return sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*'))


def test_a_new_folder_is_there_with_its_files(tmp_path):
  fill(tmp_path / 'x' / 'out')
  assert names(tmp_path) == ['x', 'x/out', 'x/out/a', 'x/out/sub', 'x/out/sub/b']
  # As readable as any folder, not as a temporary one.
  assert os.stat(tmp_path / 'x' / 'out').st_mode == os.stat(tmp_path / 'x').st_mode


def test_files_take_their_places_and_others_stay(tmp_path):
  out = tmp_path / 'out'
  (out / 'sub').mkdir(parents=True)
  for name in ('a', 'mine', 'sub/mine'):
    (out / name).write_text('old')
  fill(out)
  assert names(out) == ['a', 'mine', 'sub', 'sub/b', 'sub/mine']
  assert (out / 'a').read_text() == '1' and (out / 'mine').read_text() == 'old'


@pytest.mark.parametrize('there', [False, True])
@pytest.mark.parametrize('kind', [ValueError, KeyboardInterrupt, WorkdirError])
def test_what_raises_leaves_no_trace(tmp_path, there, kind):
  out = tmp_path / 'x' / 'out'
  if there:
    out.mkdir(parents=True)
    (out / 'a').write_text('old')
  before = names(tmp_path), work_folders.tree(tmp_path)
  with pytest.raises(kind), staging.staged(out, 'out') as made:
    (made / 'a').write_text('new')
    raise kind('x')
  assert (names(tmp_path), work_folders.tree(tmp_path)) == before


def test_links_in_the_folder_are_not_followed(tmp_path):
  out, outside = tmp_path / 'out', tmp_path / 'outside'
  for folder in (out, outside):
    folder.mkdir()
  (outside / 'a').write_text('mine')
  (out / 'a').symlink_to(outside / 'a')
  fill(out)
  assert (outside / 'a').read_text() == 'mine' and not (out / 'a').is_symlink()
  (out / 'sub' / 'b').unlink()
  (out / 'sub').rmdir()
  (out / 'sub').symlink_to(outside)
  before = work_folders.tree(tmp_path)
  with pytest.raises(WorkdirError, match=r'out cannot be written: .*sub: it is a link'):
    fill(out, **{'a': 'other', 'sub/b': '2'})
  assert work_folders.tree(tmp_path) == before


def test_the_folder_itself_may_be_a_link(tmp_path):
  (tmp_path / 'real').mkdir()
  (tmp_path / 'out').symlink_to('real')
  fill(tmp_path / 'out')
  assert names(tmp_path / 'real') == ['a', 'sub', 'sub/b'] and (tmp_path / 'out').is_symlink()
  (tmp_path / 'lost').symlink_to('nowhere')
  with pytest.raises(WorkdirError, match='out leads nowhere; name a folder'):
    fill(tmp_path / 'lost')


def test_what_is_in_the_way_is_told_before_anything_moves(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(WorkdirError, match='out is a file; name a folder'):
    fill(tmp_path / 'file')
  with pytest.raises(WorkdirError, match='out cannot be written'):
    fill(tmp_path / 'file' / 'below')
  out = tmp_path / 'out'
  (out / 'sub' / 'b').mkdir(parents=True)
  (out / 'a').write_text('old')
  with pytest.raises(WorkdirError, match='b is a folder, expected a file'):
    fill(out)
  assert (out / 'a').read_text() == 'old' and names(out) == ['a', 'sub', 'sub/b']


def test_what_a_killed_report_left_is_cleared(tmp_path):
  out = tmp_path / 'out'
  out.mkdir()
  script = (
    'import os, pathlib, signal, sys\n'
    'from tetris_jax.runs import staging\n'
    "with staging.staged(pathlib.Path(sys.argv[1]), 'out') as made:\n"
    "  (made / 'a').write_text('half')\n"
    '  os.kill(os.getpid(), signal.SIGKILL)\n'
  )
  top = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
  subprocess.run([sys.executable, '-c', script, str(out)], cwd=top, check=False)
  assert len(list(out.iterdir())) == 1
  (out / '.mine').mkdir()
  fill(out)
  assert names(out) == ['.mine', 'a', 'sub', 'sub/b']


def test_work_folders_are_not_written_over(tmp_path):
  work = work_folders.attack(tmp_path / 'runs' / 'w')
  shard = tmp_path / 'cut' / 'shard-00000-of-00002'
  other = work_folders.attack(tmp_path / 'other')
  (tmp_path / 'link').symlink_to('runs/w')
  for target in (work, work / 'figures', work / 'results', tmp_path / 'cut', other,
                 tmp_path / 'link'):  # fmt: skip
    with pytest.raises(WorkdirError, match='--out=x holds work folders; name another folder'):
      staging.check_apart([tmp_path, target], [work, shard], '--out=x')
  staging.check_apart([tmp_path, work / 'report', tmp_path / 'none'], [work, shard], '--out=x')


def test_what_a_process_that_ends_has_begun_is_removed(tmp_path):
  out = tmp_path / 'a' / 'b' / 'out'
  with pytest.raises(WorkdirError, match='cannot be written'), staging.staged(out, 'x') as made:
    (made / 'file').write_text('half')
    staging.discard()
    assert list(tmp_path.iterdir()) == []
  assert list(tmp_path.iterdir()) == []
  with staging.staged(out, 'x') as made:
    (made / 'file').write_text('whole')
  staging.discard()
  assert (out / 'file').read_text() == 'whole'
