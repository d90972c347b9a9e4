"""The users program on a toy model: rows, resumption, shards, attacks, and what it refuses."""

import json
import os
import pathlib
import subprocess
import sys
import types as python_types
import zlib

import jax
import numpy as np
import pytest
import toy

import tetris_jax
from experiments import attack, report, users
from experiments.lib import opening, users_job
from experiments.lib.settings import UsageError
from tetris_jax import data, types
from tetris_jax.geometry import region
from tetris_jax.runs import workdirs as results

pytestmark = pytest.mark.slow

SIZES = ((40, 56), (48, 48), (64, 40))


@pytest.fixture(autouse=True)
def toy_zoo(monkeypatch, tmp_path_factory):
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path_factory.getbasetemp() / 'cache'))
  monkeypatch.setattr(opening, 'zoo', toy)


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
  path = tmp_path_factory.mktemp('users') / 'dev'
  toy.write_folder(path, SIZES)
  return path


CLICKS = (
  'instance,y,x,user\n'
  'p0,20,28,ann\np0,14.5,30,bo\np0,-3,28,cy\np0,2,2,di\n'
  'p1,24,24,ann\np1,30,20,bo\n'
)


@pytest.fixture(scope='module')
def clicks(tmp_path_factory):
  path = tmp_path_factory.mktemp('clicks') / 'clicks.csv'
  path.write_text(CLICKS)
  return path


def settings(data_dir, workdir, *, program=users, **changes):
  asked = {'model': 'toy', 'dataset': 'folder', 'data_dir': str(data_dir), 'batch_size': 2}
  asked |= {'workdir': str(workdir), 'num_clicks': 2} | changes
  return program.Settings(**asked)


def sampled(data_dir, workdir, **changes):
  asked = {'num_users': 5, 'priors': ('uniform', 'gaussian_0.05')} | changes
  return settings(data_dir, workdir, **asked)


def rows_of(workdir):
  return results.read_rows(workdir / 'rows.jsonl', 'users')


def summary_of(workdir):
  return json.loads((workdir / 'summary.json').read_text())


@pytest.fixture(scope='module')
def made(data_dir, clicks, tmp_path_factory):
  """A run of clicks of a file, and one of sampled users in all rounds."""
  patch = pytest.MonkeyPatch()
  patch.setenv('TETRIS_CACHE', str(tmp_path_factory.getbasetemp() / 'cache'))
  patch.setattr(opening, 'zoo', toy)
  root = tmp_path_factory.mktemp('made')
  assert users.execute(settings(data_dir, root / 'file', clicks=str(clicks))) == 0
  assert users.execute(sampled(data_dir, root / 'sampled')) == 0
  patch.undo()
  return root


def test_every_click_of_the_file_has_its_own_number(made, data_dir):
  first, second, third = rows_of(made / 'file')
  assert [row['status'] for row in (first, second, third)] == ['ok', 'ok', 'skipped']
  assert third['reason'] == 'the file has no first click on it'
  found = first['users']['file']
  assert found['yx'] == [[20.0, 28.0], [14.5, 30.0], [0.0, 28.0], [2.0, 2.0]]
  assert found['line'] == [2, 3, 4, 5] and found['user'] == ['ann', 'bo', 'cy', 'di']
  assert found['clamped'] == [False, False, True, False]
  assert found['on_object'][3] is False and found['on_object'][0] is True
  assert first['trajectories'] == {} and first['forward'] == 5
  # The same clicks, one by one, as the first of trajectories of their own.
  sample = data.open_dataset('folder', str(data_dir))[0]
  batch, _ = data.stack([sample], (128, 128), 1)
  yx = np.array([first['robot']['yx'], *found['yx']], np.float32)[None, :, None]
  alone = jax.jit(lambda b, c: tetris_jax.replay(toy.segmenter(), b, c))(
    batch, types.Clicks(yx, np.ones((1, 5, 1), np.int32))
  )
  np.testing.assert_allclose(
    [first['robot']['iou'], *found['iou']], np.asarray(alone.iou)[0, :, 0], atol=1e-6
  )
  np.testing.assert_allclose(found['biou'], np.asarray(alone.biou)[0, 1:, 0], atol=1e-6)
  summary = summary_of(made / 'file')
  assert (summary['n_ok'], summary['n_skipped']) == (2, 1)
  one = summary['users']['file']
  assert (one['n'], one['n_clicks'], one['n_clamped']) == (2, 6, 1)
  mean = (np.mean(found['iou']) + np.mean(second['users']['file']['iou'])) / 2
  assert one['mean']['value'] == pytest.approx(mean, abs=1e-6)
  names = sorted(file.name for file in (made / 'file' / 'figures').iterdir())
  assert names == ['distance.png', 'spread_file.png']


def test_sampled_users_click_on_the_object_and_walk(made, data_dir):
  rows = rows_of(made / 'sampled')
  walks = ['base', *(f'G{k}' for k in range(1, 11)), 'uniform', 'gaussian_0.05']
  dataset = data.open_dataset('folder', str(data_dir))
  for row, sample in zip(rows, dataset, strict=True):
    assert list(row['users']) == ['uniform', 'gaussian_0.05']
    for found in row['users'].values():
      assert len(found['iou']) == 5 and all(found['on_object'])
      assert all(sample.mask[int(y), int(x)] for y, x in found['yx'])
    assert list(row['trajectories']) == walks
    base = row['trajectories']['base']
    assert base['clicks'][0][:2] == row['robot']['yx']
    assert base['iou'][0] == pytest.approx(row['robot']['iou'], abs=1e-6)
    assert row['forward'] == 1 + 10 + 13 * 2
  near = summary_of(made / 'sampled')['users']
  pixels = {source: one['distance_pixels']['mean'] for source, one in near.items()}
  assert pixels['gaussian_0.05'] < pixels['uniform']
  assert summary_of(made / 'sampled')['groups']['mean']['n'] == 3
  assert (made / 'sampled' / 'figures' / 'rounds.png').is_file()


def test_compiled_programs_are_counted(made):
  # All pictures share a canvas: a program of first clicks and, where users walk, one of rounds.
  for name, count in (('file', 1), ('sampled', 2)):
    assert summary_of(made / name)['programs'] == count
    assert f'programs: {count}' in (made / name / 'report.md').read_text()


def test_a_run_by_distance_samples_by_depth(data_dir, tmp_path):
  asked = sampled(data_dir, tmp_path / 'w', priors=('distance',), groups='none')
  assert users.execute(asked) == 0
  for row, sample in zip(
    rows_of(tmp_path / 'w'), data.open_dataset('folder', str(data_dir)), strict=True
  ):
    depth = np.asarray(region.inner_depth(sample.mask))
    seed = 0, data.instance_id(row['instance']), zlib.crc32(b'distance')
    expected = users_job.sample_first(
      'distance', 5, sample.mask, depth, np.array(row['robot']['yx']), seed
    )
    assert row['users']['distance']['yx'] == expected.tolist()


def test_draws_depend_on_the_seed_and_on_nothing_else(made, data_dir, tmp_path):
  other = sampled(
    data_dir, tmp_path / 'a', limit=2, batch_size=1, priors=('gaussian_0.05',)
  )
  assert users.execute(other) == 0
  for row, whole in zip(rows_of(tmp_path / 'a'), rows_of(made / 'sampled'), strict=False):
    name = 'gaussian_0.05'
    assert row['users'][name]['yx'] == whole['users'][name]['yx']
    for walk in ('G1', 'G10', name):
      assert row['trajectories'][walk]['clicks'] == whole['trajectories'][walk]['clicks']
  seeded = sampled(data_dir, tmp_path / 'b', seed=1, groups='none')
  assert users.execute(seeded) == 0
  fresh, old = rows_of(tmp_path / 'b')[0], rows_of(made / 'sampled')[0]
  assert fresh['users']['uniform']['yx'] != old['users']['uniform']['yx']
  assert fresh['trajectories'] == {}


def test_a_stopped_run_ends_with_the_same_bytes(made, data_dir, tmp_path, monkeypatch, capsys):
  work = tmp_path / 'w'
  whole, calls = users_job.UsersJob.walk, []

  def stop(self, batch, say):
    calls.append(batch)
    if len(calls) == 2:
      # Another device has the first batch, whose rows are kept as soon as they are there.
      toy.wait(lambda: [*(work / 'results').glob('*.jsonl')])
      raise KeyboardInterrupt
    return whole(self, batch, say)

  monkeypatch.setattr(users_job.UsersJob, 'walk', stop)
  with pytest.raises(KeyboardInterrupt):
    users.execute(sampled(data_dir, work))
  assert [file.name for file in (work / 'results').iterdir()] == ['00000.jsonl']
  assert not (work / 'rows.jsonl').exists()
  monkeypatch.setattr(users_job.UsersJob, 'walk', whole)
  assert users.execute(sampled(data_dir, work)) == 0
  assert 'resuming' in capsys.readouterr().err
  assert (work / 'rows.jsonl').read_bytes() == (made / 'sampled' / 'rows.jsonl').read_bytes()

  def never(self, *args):
    raise AssertionError('a finished batch was evaluated again')

  monkeypatch.setattr(users_job.UsersJob, 'first', never)
  assert users.execute(sampled(data_dir, work)) == 0
  with pytest.raises(results.WorkdirError, match=r'users.num_users: 5 there, 6 now'):
    users.execute(sampled(data_dir, work, num_users=6))


def test_another_file_of_clicks_is_another_run(made, data_dir, tmp_path):
  other = tmp_path / 'clicks.csv'
  other.write_text(CLICKS.replace('14.5', '15'))
  with pytest.raises(results.WorkdirError, match=r'users.clicks.sha256'):
    users.execute(settings(data_dir, made / 'file', clicks=str(other)))


def test_shards_merge_to_the_whole_run(made, data_dir, tmp_path):
  for number in (1, 0):
    shard = {'shard_id': number, 'num_shards': 2}
    assert users.execute(sampled(data_dir, tmp_path / 'cut', **shard)) == 0
  users.compare([str(tmp_path / 'cut')], [], str(tmp_path / 'out'))
  rows = (tmp_path / 'out' / 'rows.jsonl').read_bytes()
  assert rows == (made / 'sampled' / 'rows.jsonl').read_bytes()
  merged, whole = summary_of(tmp_path / 'out'), summary_of(made / 'sampled')
  # Each shard compiles its own.
  assert merged['programs'] == 2 * whole['programs']
  for key in ('evaluations_per_second', 'device_seconds', 'compile_seconds', 'programs'):
    merged.pop(key), whole.pop(key)
  assert merged == whole
  with pytest.raises(results.WorkdirError, match=r'shard 1 of 2 missing'):
    users.compare([str(tmp_path / 'cut' / 'shard-00000-of-00002')], [], str(tmp_path / 'x'))
  with pytest.raises(results.WorkdirError, match=r'--workdir=.* holds work folders'):
    users.compare([str(made / 'file')], [], str(made / 'file'))


def test_outcomes_beside_a_finished_attack(made, data_dir, clicks, tmp_path):
  work = tmp_path / 'attack'
  asked = settings(data_dir, work, program=attack, preset='tetris', pictures=0, users=0)
  assert attack.execute(asked) == 0
  assert users.execute(
    settings(data_dir, made / 'file', clicks=str(clicks), workdirs=(str(work),))
  ) == 0
  attacked = results.read_rows(work / 'rows.jsonl')
  scores = {row['instance']: row['iou'] for row in attacked}
  inside = [
    scores[row['instance']]['min'][0] - 1e-6 <= iou <= scores[row['instance']]['max'][0] + 1e-6
    for row in rows_of(made / 'file')[:2]
    for iou in row['users']['file']['iou']
  ]
  found = summary_of(made / 'file')['users']['file']['attacks']['tetris']
  assert found['inside'] == pytest.approx(np.mean(inside), abs=1e-6) and found['n_clicks'] == 6
  assert '`tetris`' in (made / 'file' / 'report.md').read_text()
  for wrong in (work, made / 'sampled'):
    with pytest.raises(results.WorkdirError, match='work folder of experiments'):
      if wrong == work:
        users.compare([str(wrong)], [], str(tmp_path / 'out'))
      else:
        report.report([str(wrong)], tmp_path / 'out', 1)


def test_models_are_ranked(made, data_dir, clicks, tmp_path, monkeypatch):
  def segmenter(name, weights=None):
    del weights
    radius = {'narrow': 6.0, 'toy': 15.0, 'wide': 25.0}[name]
    return toy.segmenter(name).with_params({'radius': np.float32(radius)})

  zoo = python_types.SimpleNamespace(
    MODELS=('narrow', 'toy', 'wide'), segmenter=segmenter, options=toy.options,
    cache_dir=toy.cache_dir,
  )  # fmt: skip
  monkeypatch.setattr(opening, 'zoo', zoo)
  for name in zoo.MODELS:
    base = {'model': name, 'num_clicks': 1, 'limit': 2}
    assert users.execute(
      settings(data_dir, tmp_path / f'u_{name}', clicks=str(clicks), **base)
    ) == 0
    chosen = {'preset': 'strong_v1_16', 'pictures': 0, 'users': 0} | base
    assert attack.execute(settings(data_dir, tmp_path / f'a_{name}', program=attack, **chosen)) == 0
  users.compare([str(tmp_path / 'u_*')], [str(tmp_path / 'a_*')], str(tmp_path / 'out'))
  found = json.loads((tmp_path / 'out' / 'comparison.json').read_text())
  lines = [line for line in found['runs'] if line['source'] == 'file']
  assert [line['model'] for line in lines] == ['narrow', 'toy', 'wide']
  one = next(one for one in found['correlations'] if one['source'] == 'file')
  expected = tetris_jax.scores.metrics.spearman(
    [line['attack_d1'] for line in lines], [line['user_d'] for line in lines]
  )
  assert one['models'] == 3 and one['d1'] == expected and -1 <= expected <= 1


def test_odd_instances_become_rows_with_a_reason(data_dir, tmp_path):
  import shutil

  root = tmp_path / 'odd'
  shutil.copytree(data_dir, root)
  (root / 'images' / 'p1.png').write_bytes(b'no picture')
  file = tmp_path / 'clicks.csv'
  file.write_text('instance,y,x\np0,20,500\np0,300,2\np1,3,3\np2,30,20\n')
  assert users.execute(settings(root, tmp_path / 'w', clicks=str(file))) == 3
  first, second, third = rows_of(tmp_path / 'w')
  assert first['status'] == 'failed' and 'all 2 clicks lie outside' in first['reason']
  assert second['status'] == 'failed' and third['status'] == 'ok'
  report_text = (tmp_path / 'w' / 'report.md').read_text()
  assert 'were y and x exchanged' in report_text


def test_users_of_rclicks_click_on_the_object_of_their_number(tmp_path):
  from PIL import Image

  picture, mask = np.full((48, 64, 3), 90, np.uint8), np.zeros((48, 64, 3), np.uint8)
  mask[8:30, 6:28], mask[20:44, 36:60] = (255, 0, 0), (0, 0, 255)
  for folder, pixels in (('images', picture), ('masks', mask)):
    (tmp_path / 'd' / folder).mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / 'd' / folder / '1.png')
  lines = ['dataset,full_stem,click_type,device,x,y,w,h,model_type,object_stem']
  lines += [f'TETRIS,1_______255,first,pc,{x},{y},64,48,,255' for x, y in ((16, 18), (18, 20))]
  lines += [f'TETRIS,1_______16711680,first,pc,{x},32,64,48,,16711680' for x in (47, 49)]
  file = tmp_path / 'c.csv'
  file.write_text('\n'.join(lines))
  asked = {'dataset': 'tetris', 'num_clicks': 1, 'clicks': str(file)}
  assert users.execute(settings(tmp_path / 'd', tmp_path / 'w', **asked)) == 0
  found = {row['instance']: row['users']['file'] for row in rows_of(tmp_path / 'w')}
  assert found['1#16711680']['yx'] == [[18.0, 16.0], [20.0, 18.0]]
  for one in found.values():
    assert all(one['on_object']) and min(one['iou']) > 0.5
  assert 'Note' not in (tmp_path / 'w' / 'report.md').read_text()


def test_a_file_most_of_whose_clicks_miss_is_told(data_dir, tmp_path, capsys):
  file = tmp_path / 'c.csv'
  file.write_text('instance,y,x\np0,28,4\np1,2,3\np1,5,40\np2,40,30\n')
  asked = settings(data_dir, tmp_path / 'w', clicks=str(file))
  for _ in range(2):  # And so when the run is resumed.
    assert users.execute(asked) == 0
    said = f'note: --clicks={file}: 3 of the 4 evaluated clicks miss their objects; they may'
    assert said in capsys.readouterr().err
    assert '**Note: 3 of the 4 evaluated' in (tmp_path / 'w' / 'report.md').read_text()


def test_a_model_without_a_number_fails_its_rows(data_dir, clicks, tmp_path, monkeypatch):
  broken = toy.segmenter().with_params({'radius': np.float32(np.nan)})
  monkeypatch.setattr(toy, 'segmenter', lambda name, weights=None: broken)
  assert users.execute(settings(data_dir, tmp_path / 'w', clicks=str(clicks))) == 3
  row = rows_of(tmp_path / 'w')[0]
  assert (row['status'], row['reason']) == ('failed', 'IoU of a click is not a finite number')


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'num_users': -1}, '--num_users=-1'),
    ({'num_users': 0, 'groups': 'none'}, 'nobody clicks'),
    ({'groups': 'uniform'}, '--groups=uniform: prior .uniform. cannot be cut'),
    ({'groups': 'learned'}, '--groups=learned: unknown prior'),
    ({'priors': ('gaussian_x',)}, '--priors=gaussian_x'),
    ({'priors': ('robot',)}, '--priors=robot'),
    ({'priors': ('uniform', 'uniform')}, 'names a prior twice'),
    ({'clicks': 'FILE', 'priors': ('uniform',)}, '--clicks without --num_users samples no user'),
    ({'num_users': 0, 'priors': ('uniform',)}, '--num_users=0 samples no user'),
    ({'clicks': 'FILE', 'priors': ('best',)}, '--priors=best: unknown prior'),
    ({'clicks_dataset': 'DAVIS'}, '--clicks_dataset=DAVIS needs --clicks'),
    ({'clicks': '/nowhere.csv'}, 'clicks=/nowhere.csv cannot be read'),
    ({'clicks': 'FILE', 'clicks_dataset': 'DAVIS'}, 'has no column dataset'),
  ],
)
def test_usage_errors_name_the_flag(data_dir, clicks, tmp_path, changes, message):
  if changes.get('clicks') == 'FILE':
    changes = changes | {'clicks': str(clicks)}
  with pytest.raises(UsageError, match=message):
    users.execute(settings(data_dir, tmp_path / 'w', **changes))
  assert not (tmp_path / 'w').exists()


@pytest.mark.parametrize(
  ('given', 'message'),
  [
    (('--preset=tetris',), "error: Unknown command line flag 'preset'"),
    (('--depth=0.1',), "error: Unknown command line flag 'depth'"),
    (('--compare=a', '--clicks=c.csv'), '--clicks says nothing beside --compare'),
    (('--compare=a', '--dataset=grabcut'), '--dataset says nothing beside --compare'),
    (('--compare=/nowhere/a', '--workdirs=/nowhere/b'), '--compare'),
  ],
)
def test_flags_without_meaning_are_refused(tmp_path, given, message):
  top = pathlib.Path(users.__file__).parents[1]
  found = subprocess.run(
    [sys.executable, '-m', 'experiments.users', *given, f'--workdir={tmp_path}/w'],
    cwd=top, env=os.environ | {'PYTHONPATH': str(top)}, capture_output=True, text=True, check=False,
  )  # fmt: skip
  assert found.returncode == 2
  assert message in found.stderr
  # Folders that are not there are another matter than flags.
  assert ('says nothing' in found.stderr) == ('says nothing' in message)
