"""The page to explore, as the heat map program and the report leave it, on a toy model."""

import experiments_heatmap_test as maps_lib
import numpy as np
import pytest
from report_comparison_page_test import held

from experiments import attack, heatmap, report, users
from tetris_jax import data
from tetris_jax.runs import maps

pytestmark = pytest.mark.slow

toy_zoo, made = maps_lib.toy_zoo, maps_lib.made


def test_what_is_kept_to_explore_changes_no_number(made, tmp_path):
  plain = tmp_path / 'plain'
  assert heatmap.execute(maps_lib.settings(made / 'data', plain, explorer=False)) == 0
  assert not (plain / 'explorer.html').exists()
  assert (plain / 'rows.jsonl').read_bytes() == (made / 'work' / 'rows.jsonl').read_bytes()
  few, all_ = (maps_lib.load(work / 'maps' / '00000_p0.npz') for work in (plain, made / 'work'))
  assert all_.keys() - few.keys() == {*maps.TO_EXPLORE}
  for name, values in few.items():
    assert values.tobytes() == all_[name].tobytes(), name
  # Asked for later, the masks are made, and the rows stay.
  assert heatmap.execute(maps_lib.settings(made / 'data', plain)) == 0
  np.testing.assert_equal(maps_lib.load(plain / 'maps' / '00000_p0.npz'), all_)
  for name in ('explorer.html', 'rows.jsonl'):
    assert (plain / name).read_bytes() == (made / 'work' / name).read_bytes()


def test_masks_of_a_map_are_those_of_its_numbers(made):
  stored = maps_lib.load(made / 'work' / 'maps' / '00000_p0.npz')
  sample = data.open_dataset('folder', str(made / 'data'))[0]
  side = maps.MASK_SIDE
  rows, columns = ((2 * np.arange(side) + 1) * n // (2 * side) for n in sample.size)
  truth = sample.mask[rows[:, None], columns[None]]
  masks = np.unpackbits(stored['masks'], axis=1).reshape(-1, side, side).astype(bool)
  iou = (masks & truth).sum((1, 2)) / (masks | truth).sum((1, 2))
  # Larger than the picture, low resolution only repeats its pixels, here and there once more.
  np.testing.assert_allclose(iou, stored['iou'], atol=0.02)


def test_a_report_links_a_page_with_what_other_runs_found(made, tmp_path):
  asked = {'model': 'toy', 'dataset': 'folder', 'data_dir': str(made / 'data')}
  attacked = attack.Settings(
    **asked, workdir=str(tmp_path / 'attack'), preset='tetris', num_clicks=1, pictures=0
  )
  assert attack.execute(attacked) == 0
  clicked = users.Settings(
    **asked, workdir=str(tmp_path / 'users'), num_users=3, priors=('distance',), groups='none'
  )
  assert users.execute(clicked) == 0
  places = [str(tmp_path / 'attack')], [str(made / 'work')], [str(tmp_path / 'users')]
  report.report(places[0], tmp_path / 'out', 3, *places[1:])
  page, explored = (
    held((tmp_path / 'out' / name).read_text()) for name in ('report.html', 'explorer.html')
  )
  assert page['explorers'] == [{'model': 'toy', 'dataset': 'data', 'file': 'explorer.html'}]
  (one,) = explored['objects']
  assert [preset['name'] for preset in one['presets']] == ['strong_v1_16', 'tetris']
  row = maps_lib.results.read_rows(tmp_path / 'attack' / 'rows.jsonl')[0]
  found = one['presets'][1]['clicks']['min']
  np.testing.assert_allclose(found[:3], [*row['clicks']['min'][0][:2], row['iou']['min'][0]],
                             atol=6e-3)
  counts = {source['name']: len(source['clicks']) for source in one['users']}
  assert counts == {'distance': 3, 'sampled by distance': 64}
