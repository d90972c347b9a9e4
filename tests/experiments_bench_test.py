"""The benchmark on a toy: it counts what it says, and refuses what it cannot time."""

import json
import pathlib
import subprocess
import sys

import pytest
import toy

from experiments import attack, bench, renderer
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
  assert found['encoder'].keys() >= {'seconds_per_instance', 'cpu_seconds', 'compile_seconds'}
  mapped = found['map']
  legal = batch.mask[0] & ~batch.ignore[0]
  on_lattice = int(legal[4::8, 4::8].sum())
  # The robot user's click is evaluated as well, be it on the lattice or not.
  assert on_lattice <= mapped['positions'] <= on_lattice + 1
  quickest = min(rows['forward_seconds'] for rows in found['decoder'].values())
  assert mapped['times_of_decoder'] == pytest.approx(
    mapped['seconds_per_position'] / quickest, rel=0.01, abs=2e-3
  )
  assert found['host_peak_mib'] > 0
  json.dumps(found, allow_nan=False)


def test_the_renderer_is_timed_and_its_memory_counted():
  found = renderer.bench(1, side=64, num_clicks=3, num_trajectories=4)
  assert found['maps_mib'] == round(4 * 2 * 64 * 64 * 4 / 2**20, 1)
  for name in (
    'soft_disks_forward', 'soft_disks_value_and_grad', 'hard_disks_forward', 'distance_maps_forward'
  ):
    assert found[name]['seconds'] > 0 and found[name]['temporary_mib'] >= 0
  json.dumps(found, allow_nan=False)
  with pytest.raises(attack.UsageError, match='--repeats=0'):
    bench.measure_renderer(0, None)


@pytest.fixture
def toy_zoo(monkeypatch):
  monkeypatch.setattr(attack, 'zoo', toy)


def asked(folder=None, **changes):
  place = {'dataset': 'folder', 'data_dir': str(folder)} if folder else {}
  return attack.Settings(**({'model': 'toy', 'num_clicks': 1} | place | changes))


@pytest.mark.parametrize(('sizes', 'repeats', 'changes', 'said'), [
  (['a'], 1, {}, '--batch_sizes=a: expected whole numbers'),
  (['1', '0'], 1, {}, '--batch_sizes=1,0'),
  ([], 1, {}, '--batch_sizes='),
  (['1'], 0, {}, '--repeats=0'),
  (['1'], 1, {'preset': 'best'}, 'unknown preset'),
  (['1'], 1, {'model': 'none'}, '--model=none is unknown'),
])
def test_what_cannot_be_timed_is_said_at_once(toy_zoo, sizes, repeats, changes, said):
  with pytest.raises(attack.UsageError, match=said):
    bench.measure(asked(**changes), sizes, repeats, None)


def test_neither_an_empty_data_set_nor_a_missing_folder_is_timed(toy_zoo, tmp_path):
  toy.write_folder(tmp_path / 'bad', ((40, 56),))
  (tmp_path / 'bad' / 'images' / 'p0.png').write_bytes(b'')
  with pytest.raises(attack.UsageError, match='no instance can be read'):
    bench.measure(asked(tmp_path / 'bad'), ['1'], 1, None)
  toy.write_folder(tmp_path / 'good', ((40, 56),))
  with pytest.raises(attack.UsageError, match=r'where\.json: No such file'):
    bench.measure(asked(tmp_path / 'good'), ['1'], 1, str(tmp_path / 'no' / 'where.json'))


def test_the_command_refuses_with_status_2():
  done = subprocess.run(
    [sys.executable, '-m', 'experiments.bench', '--batch_sizes=x'],
    capture_output=True, text=True, check=False, cwd=pathlib.Path(__file__).parents[1],
  )
  assert done.returncode == 2 and done.stderr == (
    'error: --batch_sizes=x: expected whole numbers of at least 1\n'
  )
