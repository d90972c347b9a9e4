"""Heat maps as a job: what a batch holds, what is kept of it on disk, and when it is not whole."""

import dataclasses
import os

import jax
import numpy as np
import pytest
import toy

from experiments.lib import heatmap_job
from experiments.lib.programs import Programs
from tetris_jax import data, presets
from tetris_jax.runs import maps, schema

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
  path = tmp_path_factory.mktemp('job') / 'd'
  toy.write_folder(path, ((40, 56), (48, 48), (44, 44)))
  (path / 'images' / 'p2.png').write_bytes(b'no picture')
  return data.open_dataset('folder', str(path))


def job(dataset, folder, stride=4, names=('strong_v1_16',)):
  configs = [presets.get(name, num_clicks=1) for name in names]
  programs = Programs(toy.segmenter(), 0)
  return heatmap_job.HeatmapJob(programs, dataset, configs, stride, 2, folder)


GROUP = data.Group((128, 128), (0, 1))


@pytest.fixture(scope='module')
def made(dataset, tmp_path_factory):
  """A finished batch: its folder, its rows and what was said."""
  folder, said = tmp_path_factory.mktemp('maps'), []
  one = job(dataset, folder)
  prepared = one.prepare(GROUP)
  found = one.measure(prepared.given, said.append)
  rows = one.finish(found, said.append)
  assert one.programs.spent.count == 2
  assert found.evaluations == 32 + sum(r['positions'] for r in rows)
  return folder, rows, said


@pytest.fixture
def again(made, tmp_path):
  for file in made[0].iterdir():
    (tmp_path / file.name).write_bytes(file.read_bytes())
  return tmp_path


def test_every_instance_has_its_own_lattice_and_search(dataset, made):
  folder, rows, said = made
  said = [line for line in said if not line.endswith(' so far')]  # On a machine that is busy.
  for index, row in enumerate(rows):
    schema.check_row(row, 'heatmap')
    arrays = maps.read_map(folder / row['map'], ['strong_v1_16'])
    sample = dataset[index]
    np.testing.assert_array_equal(arrays['legal'], sample.mask)
    y, x = np.nonzero(sample.mask)
    wanted = {(a, b) for a, b in zip(y, x, strict=True) if a % 4 == 2 and b % 4 == 2}
    robot = tuple(arrays['yx'][0].astype(int))
    assert {tuple(at) for at in arrays['yx'].astype(int)} == wanted | {robot}
    # The robot user's click, and what the budget leaves beside the three that are kept.
    tried = arrays['strong_v1_16/tried']
    assert tried.shape == (14, 2) and tuple(tried[0]) == robot
    assert sample.mask[tuple(tried.astype(int).T)].all()
    assert len(arrays['iou']) == row['positions'] and (folder / row['picture']).is_file()
    # The same instance alone.
    alone = job(dataset, folder)
    batch, _ = data.stack([sample], GROUP.canvas, 2)
    (first, _) = alone.truth(batch, lambda line: None)
    np.testing.assert_array_equal(first['iou'], arrays['iou'])
  said = [line for line in said if not line.endswith(' so far')]  # On a busy machine.
  assert said[::2][:2] == ['compiling for pictures up to 128 x 128'] * 2
  assert all(line.startswith('memory: ') for line in said[1:4:2])
  assert said[4].startswith("'p0': ") and 'strong_v1_16 ' in said[4]


def test_an_instance_may_choose_its_stride(dataset, tmp_path):
  sample = dataset[0]
  batch, _ = data.stack([sample], GROUP.canvas, 2)
  (found, _) = job(dataset, tmp_path, stride=0).truth(batch, lambda line: None)
  assert int(found['stride']) == 1 and len(found['iou']) == np.count_nonzero(sample.mask)


def test_what_has_no_numbers_needs_no_device(dataset, tmp_path):
  prepared = job(dataset, tmp_path).prepare(data.Group((128, 128), (2,)))
  assert prepared.given is None and prepared.rows[0]['status'] == 'failed'
  assert list(prepared.rows[0]) == ['instance', 'status', 'reason', 'size']


def test_a_whole_batch_has_no_damage(dataset, made, again):
  assert job(dataset, again).damage(GROUP, made[1]) == {}
  # A failed instance has nothing on disk.
  failed = schema.empty_row('heatmap', 'p0', 'failed', 'why', None)
  (again / '00000_p0.npz').unlink()
  assert job(dataset, again).damage(GROUP, [failed, made[1][1]]) == {}


def test_files_are_named_by_the_position_of_now(dataset, made, again):
  first, second = made[1]
  one = job(dataset.select([1, 0]), again)
  assert one.placed(1, first) == {**first, 'map': '00001_p0.npz', 'picture': '00001_p0.png'}
  assert one.placed(0, second | {'picture': None})['picture'] is None
  failed = schema.empty_row('heatmap', 'p0', 'failed', 'why', None)
  assert one.placed(1, failed) == failed
  job(dataset, again).forget(0)
  assert sorted(file.name for file in again.iterdir()) == ['00001_p1.npz', '00001_p1.png']


@pytest.mark.slow
def test_only_what_is_not_whole_is_measured_again(dataset, made, again, monkeypatch):
  path = again / '00001_p1.npz'
  whole = path.read_bytes()
  for damaged, said in ((None, 'p1.npz is missing'), (b'PK', 'p1.npz is damaged')):
    path.unlink() if damaged is None else path.write_bytes(damaged)
    one = job(dataset, again)
    found = one.damage(GROUP, made[1])
    assert list(found) == [1] and said in found[1]
    prepared = one.prepare(GROUP)
    assert list(prepared.given.kept) == [0]
    np.testing.assert_array_equal(prepared.given.batch.size[0], [48, 48])
    found = one.measure(prepared.given, lambda line: None)
    assert one.finish(found, lambda line: None) == made[1]
    assert path.read_bytes() == whole


def test_warnings_of_samples_end_in_rows_and_are_said(dataset, made, again):
  warned, said = dataclasses.replace(dataset[0], warnings=('inverted',)), []
  entry = data.Entry('p0', lambda: warned, lambda: warned.size)
  group = data.Group((128, 128), (0,))
  one = job(data.Dataset('folder', [entry]), again)
  assert one.damage(group, made[1][:1]) == {}
  found = one.measure(one.prepare(group).given, said.append)
  assert one.finish(found, said.append) == [made[1][0] | {'warnings': ['inverted']}]
  assert "warning: 'p0': inverted" in said


def test_a_missing_picture_needs_no_device(dataset, made, again, monkeypatch):
  (again / '00000_p0.png').unlink()
  one = job(dataset, again)
  found = one.damage(GROUP, made[1])
  assert list(found) == [0] and found[0].endswith('00000_p0.png is missing')
  prepared = one.prepare(GROUP)
  assert prepared.given.batch is None
  found = one.measure(prepared.given, lambda line: None)
  assert (found.evaluations, one.programs.spent.count) == (0, 0)
  assert one.finish(found, lambda line: None) == made[1]
  assert (again / '00000_p0.png').read_bytes() == (made[0] / '00000_p0.png').read_bytes()


def test_a_map_of_another_mask_or_of_nothing_is_damage(dataset, made, again):
  arrays = maps.read_map(again / '00000_p0.npz', ['strong_v1_16'])
  maps.write_map(again / '00000_p0.npz', arrays | {'legal': ~arrays['legal']})
  assert 'is of another mask' in job(dataset, again).damage(GROUP, made[1])[0]
  gone = dataset.select([2, 1])
  assert 'can no longer be read' in job(gone, again).damage(GROUP, made[1])[0]


def test_a_map_or_picture_that_is_a_link_or_a_pipe_is_made_again(dataset, made, again, tmp_path):
  mine = tmp_path / 'mine'
  for name in ('00000_p0.npz', '00001_p1.png'):
    mine.write_bytes((again / name).read_bytes())
    (again / name).unlink()
    (again / name).symlink_to(mine) if name.endswith('png') else os.mkfifo(again / name)
  found = job(dataset, again).damage(GROUP, made[1])
  assert 'a named pipe' in found[0] and 'a link' in found[1]


def test_few_positions_are_said_and_few_pixels_are_enough():
  legal = np.zeros((40, 40), bool)
  legal[:30] = True
  few = {'iou': np.zeros(3), 'legal': legal, 'stride': np.int32(20)}
  assert heatmap_job._sparse(few) == (
    '3 positions for 1200 legal pixels at stride 20, at least 16 are needed; give a smaller '
    '--stride'
  )
  assert heatmap_job._sparse(few | {'iou': np.zeros(16)}) is None
  legal[:] = False
  legal[0, :9] = True
  assert heatmap_job._sparse(few | {'iou': np.zeros(9)}) is None


def test_two_devices_are_there():
  assert len(jax.local_devices()) == 2
