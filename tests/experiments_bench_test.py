"""The benchmark on a toy: it counts what it says, and refuses what it cannot time."""

import json

import pytest
import toy
from absl import flags

from experiments import bench
from tetris_jax import data, presets


def test_it_reports_every_rate_and_counts_the_attack(tmp_path):
  toy.write_folder(tmp_path, ((40, 56), (48, 48)))
  dataset = data.open_dataset('folder', str(tmp_path))
  batch = bench._batch(dataset, 2)
  found = bench.bench(toy.segmenter(), presets.get('tetris', num_clicks=2), batch, 1)
  assert found['batch_size'] == 2 and found['canvas'] == [128, 128]
  attack = found['attack']
  assert (attack['forward'], attack['backward']) == (50, 40)
  assert attack['evaluations_per_second'] == pytest.approx(
    50 / attack['seconds_per_instance'], rel=0.05
  )
  for rows in ('one_at_a_time', 'together'):
    timed = found['decoder'][rows]
    assert timed['forward_seconds'] > 0 and timed['value_and_grad_seconds'] > 0
    assert timed['forward_compile_seconds'] > 0
  best = min(
    10 * rows['forward_seconds'] + 40 * rows['value_and_grad_seconds']
    for rows in found['decoder'].values()
  )
  assert found['share_of_decoder'] == pytest.approx(
    best / attack['seconds_per_instance'], rel=0.05, abs=2e-3
  )
  assert found['host_peak_mib'] > 0
  json.dumps(found, allow_nan=False)


def refusal(monkeypatch, capsys, **changes):
  monkeypatch.setattr(bench, 'zoo', toy)
  for name, value in ({'model': 'toy', 'num_clicks': 1} | changes).items():
    if not flags.FLAGS.is_parsed():
      flags.FLAGS.mark_as_parsed()
    monkeypatch.setattr(flags.FLAGS[name], 'value', value)
  with pytest.raises(SystemExit) as stop:
    bench.main(['bench'])
  assert stop.value.code == 2
  return capsys.readouterr().err


@pytest.mark.parametrize(('changes', 'said'), [
  ({'batch_sizes': ['a']}, '--batch_sizes=a: expected whole numbers'),
  ({'batch_sizes': ['1', '0']}, '--batch_sizes=1,0'),
  ({'repeats': 0}, '--repeats=0'),
  ({'preset': 'best'}, 'unknown preset'),
])
def test_what_cannot_be_timed_is_said_at_once(monkeypatch, capsys, changes, said):
  assert said in refusal(monkeypatch, capsys, **changes)


def test_neither_an_empty_data_set_nor_a_missing_folder_is_timed(monkeypatch, capsys, tmp_path):
  toy.write_folder(tmp_path, ((40, 56),))
  (tmp_path / 'images' / 'p0.png').write_bytes(b'')
  folder = {'dataset': 'folder', 'data_dir': str(tmp_path)}
  assert 'no instance can be read' in refusal(monkeypatch, capsys, **folder)
  toy.write_folder(tmp_path / 'good', ((40, 56),))
  folder = {'dataset': 'folder', 'data_dir': str(tmp_path / 'good')}
  out = str(tmp_path / 'no' / 'where.json')
  assert 'where.json' in refusal(monkeypatch, capsys, **folder, out=out)
