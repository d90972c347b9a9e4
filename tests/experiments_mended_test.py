"""Pictures and masks that are mended between two calls: every program ends as a fresh run does."""

import json
import shutil

import numpy as np
import pytest
import toy
from PIL import Image

from experiments import attack, heatmap, report, users
from experiments.lib import attack_job, heatmap_job, opening, users_job
from tetris_jax.runs import workdirs as results

SIZES = ((40, 56), (48, 48), (64, 40), (40, 60), (50, 50))
COMMON = {'model': 'toy', 'dataset': 'folder', 'batch_size': 2}
PROGRAMS = {
  'attack': (attack, {'num_clicks': 1, 'preset': 'baseline', 'users': 0}),
  'heatmap': (heatmap, {'preset': ('strong_v1_16',), 'stride': 6}),
  'users': (users, {'num_clicks': 1, 'num_users': 2, 'priors': ('uniform',), 'groups': 'none'}),
}


@pytest.fixture(autouse=True)
def toy_zoo(monkeypatch, tmp_path_factory):
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path_factory.getbasetemp() / 'cache'))
  monkeypatch.setattr(opening, 'zoo', toy)


@pytest.fixture
def folder(tmp_path):
  """Five good pictures, the second of which is damaged and the fourth without object."""
  path = tmp_path / 'd'
  toy.write_folder(path, SIZES)
  shutil.copytree(path, tmp_path / 'good')
  (path / 'images' / 'p1.png').write_bytes(b'no picture')
  Image.new('L', (60, 40)).save(path / 'masks' / 'p3.png')
  return path


def execute(program, data_dir, workdir, **more):
  module, own = PROGRAMS[program]
  asked = COMMON | own | {'data_dir': str(data_dir), 'workdir': str(workdir)} | more
  return module.execute(module.Settings(**asked))


def mend(tmp_path, folder):
  """Repairs what was bad, changes a mask, adds an instance before the others, takes one away."""
  for bad in ('images/p1.png', 'masks/p3.png'):
    shutil.copy(tmp_path / 'good' / bad, folder / bad)
  mask = np.array(Image.open(folder / 'masks' / 'p2.png'))
  Image.fromarray(np.roll(mask, 3, axis=0)).save(folder / 'masks' / 'p2.png')
  for where in ('images', 'masks'):
    shutil.copy(tmp_path / 'good' / where / 'p0.png', folder / where / 'new.png')
    (folder / where / 'p4.png').unlink()


def left(work):
  """What a run leaves, by name: rows, what lies beside them, and what others merge."""
  return {
    file.relative_to(work).as_posix(): file.read_bytes()
    for file in work.rglob('*')
    if file.parent.name != 'results' and file.suffix in ('.jsonl', '.npz', '.png')
  } | {name: json.loads((work / name).read_text()) for name in ('config.json', 'instances.json')}


@pytest.mark.slow
@pytest.mark.parametrize('program', [
  pytest.param(name, marks=pytest.mark.nightly) if name == 'heatmap' else name for name in PROGRAMS
])
def test_a_mended_data_set_resumes_to_what_a_fresh_run_leaves(
  program, folder, tmp_path, monkeypatch, capsys
):
  work, fresh = tmp_path / 'w', tmp_path / 'fresh'
  assert execute(program, folder, work) == 3
  capsys.readouterr()
  measured = []
  for job in (attack_job.AttackJob, heatmap_job.HeatmapJob, users_job.UsersJob):
    whole = job.measure

    def measure(self, given, say, whole=whole):
      asked = getattr(given, 'fresh', given)
      samples = getattr(asked, 'samples', None) or [(0, one.sample) for one in asked.clicked]
      measured.extend(sample.instance for _, sample in samples)
      return whole(self, given, say)

    monkeypatch.setattr(job, 'measure', measure)
  mend(tmp_path, folder)
  assert execute(program, folder, work) == 0
  assert sorted(measured) == ['new', 'p1', 'p2', 'p3']
  first = next(line for line in capsys.readouterr().err.splitlines() if 'resuming' in line)
  assert first == (
    f'resuming {work}: 1 of 5 instances are done; again: 1 whose files changed (p2.png), '
    '1 failed, 1 skipped; new: 1; gone: 1'
  )
  measured.clear()
  assert execute(program, folder, work) == 0 and measured == []
  monkeypatch.undo()
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path / 'cache'))
  monkeypatch.setattr(opening, 'zoo', toy)
  assert execute(program, folder, fresh) == 0
  assert left(work) == left(fresh)


def test_what_no_longer_has_an_object_loses_its_picture(folder, tmp_path):
  assert execute('attack', folder, tmp_path / 'w') == 3
  assert (tmp_path / 'w/figures/00002_p2.png').exists()
  Image.new('L', (40, 64)).save(folder / 'masks' / 'p2.png')
  (folder / 'images' / 'p0.png').write_bytes(b'')
  assert execute('attack', folder, tmp_path / 'w') == 3
  rows = results.read_rows(tmp_path / 'w/rows.jsonl')
  assert [row['status'] for row in rows] == ['failed', 'failed', 'skipped', 'skipped', 'ok']
  figures = sorted(file.name for file in (tmp_path / 'w/figures').iterdir())
  assert figures == ['00004_p4.png', 'curves.png']


@pytest.mark.slow
def test_shards_before_and_after_mending_do_not_merge(folder, tmp_path, capsys):
  work = tmp_path / 'w'
  for shard in (0, 1):
    execute('attack', folder, work, shard_id=shard, num_shards=2)
  mend(tmp_path, folder)
  assert execute('attack', folder, work, shard_id=0, num_shards=2) == 0
  asked = report.Settings(workdirs=(str(work),), out=str(tmp_path / 'out'))
  with pytest.raises(results.WorkdirError, match='mended in between; run the commands of both'):
    report.execute(asked)
  assert execute('attack', folder, work, shard_id=1, num_shards=2) == 0
  assert report.execute(asked) == 0
  assert execute('attack', folder, tmp_path / 'fresh') == 0
  merged = (tmp_path / 'out/rows.jsonl').read_bytes()
  assert merged == (tmp_path / 'fresh/rows.jsonl').read_bytes()
