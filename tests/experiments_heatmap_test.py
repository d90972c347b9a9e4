"""The heat map program on a toy model: what it writes, and that it resumes."""

import io

import numpy as np
import pytest
import toy

from experiments import heatmap
from tetris_jax import data, priors


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  root = tmp_path_factory.mktemp('heatmap')
  toy.write_folder(root / 'data', ((40, 52),))
  dataset = data.open_dataset('folder', str(root / 'data'))
  mapper = heatmap.Mapper(toy.segmenter(), 0)
  work = root / 'work'
  rows = heatmap.run(dataset, mapper, ['strong_v1_16'], 3, work)
  return dataset, mapper, work, rows


def test_a_map_holds_every_position_and_what_the_preset_found(made):
  dataset, _, work, rows = made
  with np.load(work / 'maps' / '00000_p0.npz') as file:
    stored = {name: file[name] for name in file.files}
  sample = dataset[0]
  y, x = np.nonzero(sample.mask)
  lattice = {(a, b) for a, b in zip(y, x, strict=True) if a % 3 == 1 and b % 3 == 1}
  assert {tuple(p) for p in stored['yx'][1:].astype(int)} | {tuple(stored['yx'][0])} == (
    lattice | {tuple(stored['yx'][0])}
  )
  assert np.isfinite(stored['iou']).all() and np.isfinite(stored['biou']).all()
  assert stored['predicted'].shape == stored['iou'].shape
  assert np.isnan(stored['predicted']).all()  # The toy expects nothing of its masks.
  np.testing.assert_array_equal(stored['strong_v1_16/spent'], [16, 0])
  np.testing.assert_array_equal(stored['strong_v1_16/yx'][0], stored['yx'][0])
  np.testing.assert_allclose(stored['strong_v1_16/iou'][0], stored['iou'][0], atol=1e-6)
  found = rows[0]['presets']['strong_v1_16']
  true = stored['iou'].max() - stored['iou'].min()
  np.testing.assert_allclose(found['share_of_range'], (found['max'] - found['min']) / true)


def test_the_picture_is_a_picture(made):
  from PIL import Image

  picture = Image.open(io.BytesIO((made[2] / 'maps' / '00000_p0.png').read_bytes()))
  assert picture.width > picture.height > 100


def test_a_second_run_evaluates_nothing(made, capsys):
  dataset, mapper, work, rows = made

  class Idle:
    def truth(self, *args):
      raise AssertionError

    attack = truth

  again = heatmap.run(dataset, Idle(), ['strong_v1_16'], 3, work)
  assert again == rows
  (work / 'maps' / '00000_p0.npz').write_bytes(b'PK')
  assert heatmap.run(dataset, mapper, ['strong_v1_16'], 3, work) == rows
  assert 'is damaged' in capsys.readouterr().err


def test_shards_part_the_instances(made, tmp_path, monkeypatch):
  toy.write_folder(tmp_path / 'data', ((40, 52),) * 3)
  dataset = data.open_dataset('folder', str(tmp_path / 'data'))
  one = np.array([[20.0, 20.0]], np.float32), np.array([0.5], np.float32)

  class Constant:
    def truth(self, *args):
      return dict(zip(('yx', 'iou'), one, strict=True)) | {
        'biou': one[1], 'predicted': one[1], 'stride': np.int32(3)
      }  # fmt: skip

  found = [
    [row['instance'] for row in heatmap.run(dataset, Constant(), [], 3, tmp_path / 'w', (k, 2))]
    for k in range(2)
  ]
  assert found == [['p0', 'p2'], ['p1']]
  for flags, message in (
    ({'shard_id': 1, 'num_shards': None}, 'given together'),
    ({'shard_id': 2, 'num_shards': 2}, 'expected 0 to 1'),
  ):
    monkeypatch.setattr(heatmap, '_flag', flags.get)
    with pytest.raises(heatmap.UsageError, match=message):
      heatmap._shard()


def test_the_table_cuts_shares_at_one_and_names_what_it_counts():
  cell = lambda share: {'p': {'share_of_range': share, 'forward': 20, 'backward': 4}}
  text = heatmap.share_table([{'presets': cell(s)} for s in (1.2, 0.5, None)], ['p'])
  assert '| p | 28 | 2 | 0.750 | 0.500 |' in text


def test_expectations_are_summed_up(made):
  rows = made[3]
  found = priors.mean_of_rows(rows)
  level = rows[0]['levels'][0]
  assert level['n'] <= rows[0]['positions'] and level['min'] == pytest.approx(rows[0]['min'])
  assert found['levels'][0]['max'] == {'value': pytest.approx(level['max'], abs=1e-6), 'n': 1}
  for prior, values in found['quantiles'].items():
    ordered = [values[name]['value'] for name in ('q01', 'q25', 'q50', 'q75', 'q99')]
    assert ordered == sorted(ordered), prior
    assert rows[0]['min'] <= values['mean']['value'] <= rows[0]['max']
