"""The attack as a job: what is stacked, measured and drawn."""

import dataclasses

import numpy as np
import pytest
import toy

from experiments.lib import attack_job
from experiments.lib.programs import Programs
from tetris_jax import crowd, data, presets
from tetris_jax.runs import schema


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
  path = tmp_path_factory.mktemp('job') / 'd'
  toy.write_folder(path, ((40, 56), (48, 48), (44, 44)))
  (path / 'images' / 'p1.png').write_bytes(b'no picture')
  return data.open_dataset('folder', str(path))


def job(dataset, figures, pictures=9, preset='baseline', users=None, maps=None):
  config = presets.get(preset, num_clicks=2)
  programs = Programs(toy.segmenter(), 0)
  return attack_job.AttackJob(programs, dataset, config, 3, pictures, figures, users, maps)


def test_what_cannot_be_read_takes_no_slot(dataset, tmp_path):
  made = job(dataset, tmp_path)
  prepared = made.prepare(data.Group((128, 128), (0, 1, 2)))
  (bad,) = prepared.rows
  assert (bad['instance'], bad['status']) == ('p1', 'failed')
  assert [index for index, _ in prepared.given.fresh.samples] == [0, 2]
  assert prepared.given.lost is None
  # Three instances on two devices.
  assert prepared.given.fresh.batch.mask.shape == (3, 128, 128)
  assert made.prepare(data.Group((128, 128), (1,))).given is None


@pytest.mark.slow
def test_rows_and_pictures_of_a_batch(dataset, tmp_path):
  made = job(dataset, tmp_path, pictures=2, preset='tetris')
  prepared = made.prepare(data.Group((128, 128), (0, 2)))
  found = made.measure(prepared.given, lambda line: None)
  assert [row['instance'] for row in found.rows] == ['p0', 'p2']
  assert found.evaluations == sum(row['forward'] for row in found.rows) > 0
  for row in found.rows:
    schema.check_row(row, 'attack')
  assert made.finish(found, print) == found.rows
  # Of the first two instances of the data set.
  assert [file.name for file in tmp_path.iterdir()] == ['00000_p0.png']
  assert made.damage(prepared.group, found.rows) == {}
  made.forget(0)
  made.forget(2)
  assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_lost_picture_is_drawn_again_without_a_search(dataset, tmp_path, monkeypatch):
  folder = tmp_path / 'figures'
  folder.mkdir()
  group, say = data.Group((128, 128), (0, 2)), lambda line: None
  made = job(dataset, folder, preset='tetris')
  rows = made.finish(made.measure(made.prepare(group).given, say), say)
  whole = {file: file.read_bytes() for file in folder.iterdir()}
  lost, cut = sorted(whole)
  lost.unlink()
  cut.write_bytes(whole[cut][:-20])
  again = job(dataset, folder, preset='tetris')
  monkeypatch.setattr(again, 'attack', None)
  found = again.damage(group, rows)
  assert found[0] == f'{lost} is missing' and found[2] == f'{cut} is damaged (it ends early)'
  redone = again.measure(again.prepare(group).given, say)
  assert 0 < redone.evaluations < sum(row['forward'] for row in rows) / 2
  assert again.finish(redone, say) == rows
  assert {file: file.read_bytes() for file in folder.iterdir()} == whole
  assert job(dataset, folder, preset='tetris').damage(group, rows) == {}
  # Nobody asks for these.
  lost.unlink()
  assert job(dataset, folder, pictures=0).damage(group, rows) == {}


def test_without_pictures_no_mask_leaves_the_device(dataset, tmp_path):
  made = job(dataset, tmp_path, pictures=0)
  found = made.measure(made.prepare(data.Group((128, 128), (0,))).given, lambda line: None)
  assert found.left[0][1].mask is None
  made.finish(found, print)
  assert list(tmp_path.iterdir()) == []


def test_warnings_of_samples_end_in_rows(dataset, tmp_path):
  samples = [dataclasses.replace(dataset[0], warnings=('inverted',)), dataset[2]]
  warned = data.Dataset('toy', [
    data.Entry(one.instance, lambda one=one: one, lambda one=one: one.size) for one in samples
  ])
  made = job(warned, tmp_path, pictures=0)
  found = made.measure(made.prepare(data.Group((128, 128), (0, 1))).given, lambda line: None)
  assert [row['warnings'] for row in found.rows] == [['inverted'], []]


def test_what_cannot_be_drawn_is_said(dataset, tmp_path, monkeypatch):
  def refuse(*args):
    raise MemoryError('too large')

  monkeypatch.setattr(attack_job.overlay, 'draw', refuse)
  made, said = job(dataset, tmp_path), []
  found = made.measure(made.prepare(data.Group((128, 128), (0,))).given, lambda line: None)
  assert [row['status'] for row in made.finish(found, said.append)] == ['ok']
  assert said == ["'p0' was not drawn: MemoryError: too large"]


@pytest.mark.slow
def test_users_follow_the_maps_of_their_pictures(dataset, tmp_path):
  weight = np.zeros((40, 56), np.float32)
  weight[20, 27:29] = 1  # In the middle, where the object is.
  np.save(tmp_path / 'p0.npy', weight)
  maps = data.ClickMaps(tmp_path)
  made = job(dataset, tmp_path / 'f', pictures=0, users=crowd.Crowd('maps', 4), maps=maps)
  prepared = made.prepare(data.Group((128, 128), (0, 2)))
  (bad,) = prepared.rows
  assert bad['instance'] == 'p2' and bad['reason'].startswith('no click map p2.npy or p2.png in')
  found = made.measure(prepared.given, lambda line: None)
  (row,) = found.rows
  schema.check_row(row, 'attack')
  assert sorted(row['users']['first']) == [[20.0, 27.0]] * 2 + [[20.0, 28.0]] * 2
  assert row['users']['prior'] == 'maps' and found.evaluations == row['forward'] + 4 * 2
  before = made.content(0)
  np.save(tmp_path / 'p0.npy', weight + 1)
  assert made.content(0) != before and made.content(2) == 'no click map'
