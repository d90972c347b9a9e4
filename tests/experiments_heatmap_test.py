"""The heat map program on a toy model: what it writes, that it resumes, and what it refuses."""

import io
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import toy
from PIL import Image

from experiments import heatmap
from experiments.lib import describe, heatmap_job, opening
from experiments.lib.settings import UsageError
from tetris_jax import data
from tetris_jax.geometry import region
from tetris_jax.report.heatmaps import picture as heatmap_picture
from tetris_jax.report.heatmaps import summary as heatmaps
from tetris_jax.runs import maps
from tetris_jax.runs import workdirs as results

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def toy_zoo(monkeypatch, tmp_path_factory):
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path_factory.getbasetemp() / 'cache'))
  monkeypatch.setattr(opening, 'zoo', toy)


def settings(data_dir, workdir, stride=3, names=('strong_v1_16',), **changes):
  asked = {'model': 'toy', 'dataset': 'folder', 'data_dir': str(data_dir)}
  asked |= {'workdir': str(workdir), 'stride': stride, 'preset': names}
  return heatmap.Settings(**asked | changes)


def put(root, name, mask):
  for folder in ('images', 'masks'):
    (root / folder).mkdir(parents=True, exist_ok=True)
  grey = np.where(mask, 140, 60).astype(np.uint8)
  Image.fromarray(np.stack([grey] * 3, -1)).save(root / 'images' / f'{name}.png')
  Image.fromarray(mask.astype(np.uint8) * 255).save(root / 'masks' / f'{name}.png')


def load(path):
  with np.load(path) as file:
    return {name: file[name] for name in file.files}


def rows_of(work):
  return json.loads((work / 'shares.json').read_text())['rows']


def summary_of(work):
  return json.loads((work / 'summary.json').read_text())


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  patch = pytest.MonkeyPatch()
  patch.setenv('TETRIS_CACHE', str(tmp_path_factory.getbasetemp() / 'cache'))
  patch.setattr(opening, 'zoo', toy)
  root = tmp_path_factory.mktemp('heatmap')
  toy.write_folder(root / 'data', ((40, 52),))
  assert heatmap.execute(settings(root / 'data', root / 'work')) == 0
  patch.undo()
  return root


@pytest.fixture
def again(made, tmp_path):
  """A copy of the finished work folder."""
  shutil.copytree(made / 'work', tmp_path / 'work')
  return tmp_path / 'work'


def forbid(monkeypatch):
  def refuse(*args):
    raise AssertionError('a finished map was evaluated again')

  for name in ('truth', 'attack'):
    monkeypatch.setattr(heatmap_job.HeatmapJob, name, refuse)


def test_a_map_holds_every_position_and_what_the_preset_found(made):
  stored = load(made / 'work' / 'maps' / '00000_p0.npz')
  sample = data.open_dataset('folder', str(made / 'data'))[0]
  y, x = np.nonzero(sample.mask)
  lattice = {(a, b) for a, b in zip(y, x, strict=True) if a % 3 == 1 and b % 3 == 1}
  robot = tuple(stored['yx'][0])
  assert {tuple(p) for p in stored['yx'][1:].astype(int)} | {robot} == lattice | {robot}
  assert np.isfinite(stored['iou']).all() and np.isfinite(stored['biou']).all()
  assert stored['predicted'].shape == stored['iou'].shape
  assert np.isnan(stored['predicted']).all()  # The toy expects nothing of its masks.
  np.testing.assert_array_equal(stored['strong_v1_16/spent'], [16, 0])
  np.testing.assert_array_equal(stored['strong_v1_16/yx'][0], stored['yx'][0])
  np.testing.assert_allclose(stored['strong_v1_16/iou'][0], stored['iou'][0], atol=1e-6)
  row = rows_of(made / 'work')[0]
  found = row['presets']['strong_v1_16']
  true = stored['iou'].max() - stored['iou'].min()
  np.testing.assert_allclose(found['share_of_range'], (found['max'] - found['min']) / true)
  assert row['positions'] == len(stored['iou']) and row['left_out'] is None
  assert row['legal_pixels'] == sample.mask.sum()


def test_the_work_folder_has_no_empty_folders(made, again):
  assert heatmap.execute(settings(made / 'data', again)) == 0
  for work in (made / 'work', again):
    assert sorted(file.name for file in work.iterdir()) == [
      '.lock', 'config.json', 'explorer.html', 'instances.json', 'maps', 'results', 'rows.jsonl',
      'shares.json', 'shares.md', 'summary.json',
    ]  # fmt: skip
    assert [file.name for file in (work / 'results').iterdir()] == ['00000.jsonl']
    assert results.read_rows(work / 'rows.jsonl', 'heatmap') == rows_of(work)
    assert sorted(file.name for file in (work / 'maps').iterdir()) == [
      '00000_p0.npz', '00000_p0.photo.png', '00000_p0.png'
    ]  # fmt: skip


def test_a_second_run_evaluates_nothing(made, again, monkeypatch):
  (again / 'maps' / '.00000_p0.npz.1.tmp').write_bytes(b'x')
  forbid(monkeypatch)
  assert heatmap.execute(settings(made / 'data', again)) == 0
  assert (again / 'shares.json').read_bytes() == (made / 'work' / 'shares.json').read_bytes()
  assert not list((again / 'maps').glob('.*'))


def test_a_damaged_map_is_done_again(made, again, capsys):
  path = again / 'maps' / '00000_p0.npz'
  whole = path.read_bytes()
  start = whole.index(b'iou.npy') + 60
  altered = bytearray(whole)
  altered[start : start + 40] = bytes(byte ^ 255 for byte in whole[start : start + 40])
  missing = io.BytesIO()
  np.savez_compressed(missing, **{k: v for k, v in load(path).items() if k != 'iou'})
  for damaged in (bytes(altered), missing.getvalue(), b'PK', b'', None):
    path.unlink() if damaged is None else path.write_bytes(damaged)
    assert heatmap.execute(settings(made / 'data', again)) == 0
    said = capsys.readouterr().err
    assert f'{path} is {"missing" if damaged is None else "damaged"}' in said
    assert '0 of 1 instances are done; again: 1 whose map or picture is missing or damaged' in said
    assert rows_of(again) == rows_of(made / 'work')
    np.testing.assert_equal(load(path), load(made / 'work' / 'maps' / '00000_p0.npz'))


def test_a_missing_picture_is_drawn_again_without_the_device(made, again, monkeypatch, capsys):
  picture = again / 'maps' / '00000_p0.png'
  whole = picture.read_bytes()
  picture.unlink()
  forbid(monkeypatch)
  assert heatmap.execute(settings(made / 'data', again)) == 0
  assert '00000_p0.png is missing' in capsys.readouterr().err
  assert picture.read_bytes() == whole
  assert (again / 'rows.jsonl').read_bytes() == (made / 'work' / 'rows.jsonl').read_bytes()


def test_a_map_of_another_mask_is_done_again(made, tmp_path, capsys):
  shutil.copytree(made / 'data', tmp_path / 'data')
  asked = settings(tmp_path / 'data', tmp_path / 'work')
  assert heatmap.execute(asked) == 0
  before = rows_of(tmp_path / 'work')[0]['legal_pixels']
  mask = np.zeros((40, 52), bool)
  mask[10:30, 10:40] = True
  put(tmp_path / 'data', 'p0', mask)
  assert heatmap.execute(asked) == 0
  said = capsys.readouterr().err
  # By its sum where the reader tells the files, else by what the map holds.
  assert 'is of another mask' in said or '1 whose files changed (p0.png)' in said
  assert rows_of(tmp_path / 'work')[0]['legal_pixels'] == 600 != before


@pytest.fixture(scope='module')
def mixed(tmp_path_factory):
  """Instances of every kind, good and bad."""
  root = tmp_path_factory.mktemp('mixed') / 'd'
  row, columns = np.zeros((1, 60), bool), np.zeros((100, 100), bool)
  row[0, 8:50] = True
  columns[2:98, 3:100:4] = True
  put(root, 'a_row', row)
  put(root, 'b_column', row.T)
  put(root, 'c_columns', columns)
  put(root, 'd_all', np.ones((60, 60), bool))
  put(root, 'e_empty', np.zeros((60, 60), bool))
  put(root, 'f_cut', np.ones((60, 60), bool))
  put(root, 'g_unreadable', np.ones((60, 60), bool))
  with open(root / 'images' / 'f_cut.png', 'r+b') as file:
    file.truncate(120)
  (root / 'images' / 'g_unreadable.png').write_bytes(b'no picture')
  return root


def test_bad_instances_are_counted_and_the_others_go_on(mixed, tmp_path, monkeypatch, capsys):
  whole = heatmap_job.HeatmapJob.attack

  def attacked(self, batch, config, say):
    if tuple(batch.size[0]) == (60, 1):
      raise ValueError('the model choked\non it')
    return whole(self, batch, config, say)

  monkeypatch.setattr(heatmap_job.HeatmapJob, 'attack', attacked)
  work = tmp_path / 'work'
  assert heatmap.execute(settings(mixed, work, batch_size=1)) == 3
  said = capsys.readouterr()
  rows = rows_of(work)
  assert [row['instance'][0] for row in rows] == list('abcdefg')
  assert [row['status'] for row in rows] == [
    'ok', 'failed', 'ok', 'ok', 'skipped', 'failed', 'failed'
  ]  # fmt: skip
  assert rows[1]['reason'] == 'ValueError: the model choked' and rows[1]['size'] == [60, 1]
  assert all(row['reason'] for row in rows if row['status'] != 'ok')
  for held in (summary_of(work), json.loads((work / 'shares.json').read_text())):
    assert (held['n_ok'], held['n_failed'], held['n_skipped']) == (3, 3, 1)
  assert summary_of(work)['rejected'] == [
    {key: row[key] for key in ('instance', 'status', 'reason')}
    for row in rows
    if row['status'] != 'ok'
  ]
  assert 'Instances: 3 ok (1 left out of means), 3 failed, 1 skipped.' in said.out
  assert 'raise ValueError' in said.err and 'g_unreadable: failed' in said.err
  read = heatmaps.read_heatmaps(work)
  assert sorted(read.pictures) == ['a_row', 'c_columns', 'd_all']
  # What failed is tried again, and what was mapped is not.
  tried = []
  monkeypatch.setattr(
    heatmap_job.HeatmapJob,
    'attack',
    lambda self, batch, *more: (tried.append(tuple(batch.size[0])), whole(self, batch, *more))[1],
  )
  assert heatmap.execute(settings(mixed, work, batch_size=1)) == 3
  assert tried == [(60, 1)]
  assert [row['status'] for row in rows_of(work)][:4] == ['ok'] * 4
  assert len(list((work / 'maps').glob('*.photo.png'))) == 4


def test_numbers_are_not_given_up_for_a_picture(made, again, monkeypatch, capsys):
  def refuse(*args):
    raise RuntimeError('no ink')

  monkeypatch.setattr(heatmap_picture, 'draw', refuse)
  (again / 'maps' / '00000_p0.png').unlink()
  assert heatmap.execute(settings(made / 'data', again)) == 0
  assert "'p0' was not drawn: RuntimeError: no ink" in capsys.readouterr().err
  expected = rows_of(made / 'work')[0]
  assert rows_of(again) == [expected | {'picture': None}]
  assert heatmaps.read_heatmaps(again).pictures == {}


def test_a_map_that_is_not_finite_is_a_failure(made, tmp_path, monkeypatch):
  whole = heatmap_job.HeatmapJob.truth

  def truth(self, batch, say):
    return [
      one | {'iou': np.where(np.arange(len(one['iou'])) == 2, np.nan, one['iou'])}
      for one in whole(self, batch, say)
    ]

  monkeypatch.setattr(heatmap_job.HeatmapJob, 'truth', truth)
  assert heatmap.execute(settings(made / 'data', tmp_path)) == 3
  assert rows_of(tmp_path)[0]['reason'] == 'IoU of a click of the map is not a finite number'
  assert summary_of(tmp_path)['levels'] is None


def test_few_positions_are_said_and_enter_no_mean(mixed, tmp_path, capsys):
  # Columns 3, 7, ... never meet a lattice of 8, 24, ...
  assert heatmap.execute(settings(mixed, tmp_path, 16, every=1)) == 3
  said = capsys.readouterr()
  by_name = {row['instance']: row for row in rows_of(tmp_path)}
  columns, whole = by_name['c_columns'], by_name['d_all']
  assert (columns['positions'], columns['legal_pixels']) == (1, 2400)
  reason = '1 position for 2400 legal pixels at stride 16, at least 16 are needed'
  assert columns['left_out'].startswith(reason)
  assert f"warning: 'c_columns' enters no mean: {reason}" in said.err
  assert 'ok (3 left out of means)' in said.out
  assert (whole['positions'], whole['left_out']) == (17, None)
  summary = summary_of(tmp_path)
  assert summary['n_ok'] == 4 and summary['n'] == 1
  assert [one['instance'] for one in summary['left_out']] == ['a_row', 'b_column', 'c_columns']
  level = summary['levels'][0]
  assert level['max'] == {'value': pytest.approx(whole['levels'][0]['max'], abs=1e-6), 'n': 1}


def test_a_region_of_few_pixels_is_mapped_whole(tmp_path):
  mask = np.zeros((40, 40), bool)
  mask[10:13, 10:13] = True
  put(tmp_path / 'd', 'tiny', mask)
  assert heatmap.execute(settings(tmp_path / 'd', tmp_path / 'w', 0)) == 0
  row = rows_of(tmp_path / 'w')[0]
  assert (row['positions'], row['legal_pixels'], row['left_out']) == (9, 9, None)


def test_a_deeper_attack_is_measured_against_what_lies_there(made, tmp_path):
  assert heatmap.execute(settings(made / 'data', tmp_path, depth=0.3)) == 0
  stored = load(tmp_path / 'maps' / '00000_p0.npz')
  at = stored['yx'].astype(int)
  deep = np.asarray(region.inner_depth(stored['legal']))[at[:, 0], at[:, 1]] > 0.3
  assert 0 < deep.sum() < len(deep)
  found = rows_of(tmp_path)[0]['presets']['strong_v1_16_depth_0.3']
  true = np.ptp(stored['iou'][deep])
  assert true < np.ptp(stored['iou'])
  assert found['share_of_range'] == pytest.approx((found['max'] - found['min']) / true, rel=1e-4)


def test_the_configuration_says_what_ran_and_another_one_is_refused(made, again, monkeypatch):
  config = json.loads((again / 'config.json').read_text())
  assert config['program'] == 'heatmap' and config['model']['name'] == 'toy'
  assert set(config['versions']) == {'tetris_jax', 'jax', 'jaxlib', 'numpy', 'python'}
  assert config['devices']['kind'] and config['flags']['stride'] == 3
  assert config['presets']['strong_v1_16']['search']['budget'] == 16
  for changes, message in (
    ({'stride': 4}, r'\n  stride: 3 there, 4 now'),
    ({'batch_size': 2}, r'\n  batch_size: 1 there, 2 now'),
    ({'names': ('strong_v1',)}, r'presets\.strong_v1\.search\.budget: None there, 64 now'),
    ({'depth': 0.1}, r'\n  depth: 0\.0 there, 0\.1 now'),
  ):
    with pytest.raises(results.WorkdirError, match=message):
      heatmap.execute(settings(made / 'data', again, **changes))
  monkeypatch.setattr(describe, 'version', lambda package: f'{package} 9')
  with pytest.raises(results.WorkdirError, match=r"versions\.jax: .* there, 'jax 9' now"):
    heatmap.execute(settings(made / 'data', again))
  (again / 'config.json').unlink()
  with pytest.raises(results.WorkdirError, match='what results/ holds is of a run with another c'):
    heatmap.execute(settings(made / 'data', again))
  (again / 'results' / '00000.jsonl').unlink()
  with pytest.raises(results.WorkdirError, match=r'has maps but no config\.json'):
    heatmap.execute(settings(made / 'data', again))


def test_a_map_that_cannot_be_written_ends_the_run(made, tmp_path, monkeypatch):
  def full(path, arrays):
    raise results.WorkdirError(f'cannot write {path}: No space left on device')

  monkeypatch.setattr(maps, 'write_map', full)
  with pytest.raises(results.WorkdirError, match='No space left'):
    heatmap.execute(settings(made / 'data', tmp_path / 'w'))
  assert list((tmp_path / 'w' / 'results').iterdir()) == []


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'stride': -1}, '--stride=-1: expected at least 0'),
    ({'every': 0}, '--every=0: expected at least 1'),
    ({'names': ()}, '--preset names no attack'),
    ({'names': ('baseline',)}, '--preset=baseline searches nothing'),
    ({'names': ('nothing',)}, "--preset=nothing: unknown preset 'nothing'"),
    ({'names': ('tetris',), 'depth': 0.1}, r'--depth=0\.1: tetris has no depth'),
    ({'zoom': 'exact'}, '--zoom=exact with --model=toy: it has no such choice'),
    ({'data_options': ('split=val',)}, 'data_options'),
    ({'objects': 'no'}, '--objects'),
    ({'shard_id': 2, 'num_shards': 2}, 'expected 0 to 1'),
  ],
)
def test_what_cannot_be_is_refused(made, tmp_path, changes, message):
  with pytest.raises(UsageError, match=message):
    heatmap.execute(settings(made / 'data', tmp_path / 'w', **changes))
  assert not (tmp_path / 'w').exists()


PROGRAM = """
import runpy
import sys

sys.path.insert(0, sys.argv.pop(1))
import toy
from experiments.lib import opening

opening.zoo = toy
runpy.run_module('experiments.heatmap', run_name='__main__', alter_sys=True)
"""


def program(*given):
  tests = pathlib.Path(__file__).parent
  return subprocess.run(
    [sys.executable, '-c', PROGRAM, str(tests), *given],
    env=os.environ | {'PYTHONPATH': str(tests.parent)}, capture_output=True, text=True, check=False,
  )  # fmt: skip


def test_the_command_line_takes_the_flags_of_an_attack(made, tmp_path):
  found = program(
    '--model=toy', '--dataset=folder', f'--data_dir={made / "data"}', f'--workdir={tmp_path}/w',
    '--weights=own.pth', '--objects=ids', '--ignore_id=7', '--depth=0.1', '--stride=6',
    '--preset=strong_v1_16', '--preset=strong_v1_16', '--limit=1',
  )  # fmt: skip
  assert found.returncode == 0, found.stderr
  asked = json.loads((tmp_path / 'w' / 'config.json').read_text())['flags']
  assert pathlib.Path(asked['weights']).name == 'own.pth'
  assert (asked['objects'], asked['ignore_id'], asked['depth']) == ('ids', 7, 0.1)
  assert list(rows_of(tmp_path / 'w')[0]['presets']) == ['strong_v1_16_depth_0.1']


def test_flags_without_meaning_are_refused():
  found = program('--model=toy', '--num_clicks=3')
  assert found.returncode == 2
  assert "error: Unknown command line flag 'num_clicks'" in found.stderr


def test_an_interrupted_run_ends_with_130(monkeypatch, capsys):
  def interrupt(settings):
    raise KeyboardInterrupt

  monkeypatch.setattr(heatmap, 'execute', interrupt)
  assert heatmap.main(['heatmap']) == 130
  assert 'the same command resumes' in capsys.readouterr().err


def test_expectations_are_summed_up(made):
  row, found = rows_of(made / 'work')[0], summary_of(made / 'work')
  level = row['levels'][0]
  assert level['n'] <= row['positions'] and level['min'] == pytest.approx(row['min'])
  assert found['levels'][0]['max'] == {'value': pytest.approx(level['max'], abs=1e-6), 'n': 1}
  for prior, values in found['quantiles'].items():
    ordered = [values[name]['value'] for name in ('q01', 'q25', 'q50', 'q75', 'q99')]
    assert ordered == sorted(ordered), prior
    assert row['min'] <= values['mean']['value'] <= row['max']
