"""Who clicks where: draws from priors, clicks of a file, and what has no numbers."""

import dataclasses

import numpy as np
import pytest
import toy

from experiments.lib import users_job
from experiments.lib.programs import Programs
from tetris_jax import data
from tetris_jax import users as sampled_user
from tetris_jax.geometry import region
from tetris_jax.runs import schema
from tetris_jax.scores import priors


def job(*asked, dataset=(), clicks=None, walks=None):
  plan = users_job.Plan(asked, 2, walks or {}, 2, 0)
  return users_job.UsersJob(Programs(toy.segmenter(), 0), dataset, plan, 2, clicks)


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
  path = tmp_path_factory.mktemp('job') / 'd'
  toy.write_folder(path, ((40, 56), (48, 48), (44, 44)))
  (path / 'images' / 'p2.png').write_bytes(b'no picture')
  return data.open_dataset('folder', str(path))


def test_first_clicks_follow_their_prior():
  legal = np.zeros((30, 30), bool)
  legal[5:25, 5:20] = True
  depth = np.asarray(region.inner_depth(legal))
  found = users_job.sample_first('distance', 4000, legal, depth, np.array([15, 12]), (0, 1, 2))
  yx = np.argwhere(legal)
  deep = depth[yx[:, 0], yx[:, 1]]
  expected = np.sum(priors.weights('distance', yx, deep, yx[0], 42.0) * deep)
  at = found.astype(int)
  assert legal[at[:, 0], at[:, 1]].all()
  assert depth[at[:, 0], at[:, 1]].mean() == pytest.approx(expected, abs=0.02)
  again = users_job.sample_first('distance', 4000, legal, depth, np.array([15, 12]), (0, 1, 2))
  np.testing.assert_array_equal(found, again)


def test_depth_is_computed_in_the_canvas_and_only_where_a_prior_asks():
  legal = np.zeros((30, 34), bool)
  legal[5:, 9:] = True
  padded = np.pad(legal, ((0, 18), (0, 14)))
  found = job('uniform', 'distance').depth(padded)[:30, :34]
  np.testing.assert_allclose(found, region.inner_depth(legal), atol=1e-6)
  for prior in ('uniform', 'gaussian_0.05'):
    assert job(prior).depth(padded) is None
    drawn = [
      users_job.sample_first(prior, 50, legal, depth, np.array([20, 20]), (0,))
      for depth in (None, found)
    ]
    np.testing.assert_array_equal(*drawn)


def test_a_batch_holds_the_clicks_of_a_file_before_those_of_priors(dataset):
  click = data.UserClick(7, 20.0, 28.0, None, 'ann')
  asked = job('uniform', dataset=dataset, clicks={'p0': [click]})
  prepared = asked.prepare(data.Group((128, 128), (0, 1)))
  first, second = prepared.given.clicked
  assert list(first.sources) == ['file', 'uniform'] and list(second.sources) == ['uniform']
  assert first.yx[0].tolist() == [20.0, 28.0] and first.yx.shape == (3, 2)
  assert (first.sources['file'].line, first.sources['file'].user) == ([7], ['ann'])
  found = asked.measure(prepared.given, lambda line: None)
  assert [row['forward'] for row in found.rows] == [4, 3] and found.evaluations == 7
  for row in found.rows:
    schema.check_row(row, 'users')
  assert asked.finish(found, print) == found.rows
  assert asked.damage(prepared.group, found.rows) == {}
  # A row depends on its own clicks.
  other = job('uniform', dataset=dataset, clicks={'p0': [click._replace(y=21.0)]})
  assert asked.content(0) != other.content(0) != '' == asked.content(1)


def test_warnings_of_samples_end_in_rows(dataset):
  warned = [dataclasses.replace(dataset[0], warnings=('inverted',)), dataset[1]]
  asked = job('uniform', dataset=warned)
  prepared = asked.prepare(data.Group((128, 128), (0, 1)))
  first, second = asked.measure(prepared.given, lambda line: None).rows
  assert first['warnings'] == ['inverted'] and 'warnings' not in second


def test_what_has_no_numbers_needs_no_device(dataset):
  outside = data.UserClick(2, 400.0, 28.0, None, 'ann')
  asked = job(dataset=dataset, clicks={'p0': [outside]})
  prepared = asked.prepare(data.Group((128, 128), (0, 1)))
  assert prepared.given is None
  assert [row['status'] for row in prepared.rows] == ['failed', 'skipped']
  assert 'clicks of the file' in prepared.rows[0]['reason']
  assert prepared.rows[1]['reason'] == 'the file has no first click on it'
  (unread,) = asked.prepare(data.Group((128, 128), (2,))).rows
  assert unread['status'] == 'failed' and unread['users'] is None


@pytest.mark.slow
def test_users_walk_their_rounds(dataset):
  walks = {'base': sampled_user.BASE, 'u': sampled_user.User('uniform')}
  asked = job(dataset=dataset, walks=walks)
  prepared = asked.prepare(data.Group((128, 128), (0,)))
  (row,) = asked.measure(prepared.given, lambda line: None).rows
  assert list(row['trajectories']) == ['base', 'u'] and row['forward'] == 1 + 2 * 2
  assert row['trajectories']['base']['clicks'][0][:2] == row['robot']['yx']
  assert (asked.programs.spent.count, asked.programs.spent.seconds > 0) == (2, True)
