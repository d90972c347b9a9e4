"""Rates on a toy: every one is there, and the attack's evaluations are counted."""

import json

import jax
import pytest
import toy

from experiments.lib import rates
from tetris_jax import data, presets


@pytest.mark.slow
def test_it_reports_every_rate_and_counts_the_attack(tmp_path):
  toy.write_folder(tmp_path, ((40, 56), (48, 48)))
  dataset = data.open_dataset('folder', str(tmp_path))
  batch = rates.first_batch(dataset, 2)
  found = rates.measure(toy.segmenter(), presets.get('tetris', num_clicks=2), batch, 1)
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


def test_memory_that_runs_out_is_a_result(tmp_path, monkeypatch):
  toy.write_folder(tmp_path, ((40, 56),))
  batch = rates.first_batch(data.open_dataset('folder', str(tmp_path)), 4)
  raised = jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.')

  def exhausted(*args):
    raise raised

  monkeypatch.setattr(rates, 'attack', exhausted)
  measure = lambda: rates.measure(toy.segmenter(), presets.get('baseline'), batch, 1)
  found = measure()
  assert list(found) == ['batch_size', 'canvas', 'failed'] and found['batch_size'] == 4
  assert found['failed'].endswith('; try a --batch_size below 4')
  raised = jax.errors.JaxRuntimeError('INTERNAL: odd')
  with pytest.raises(jax.errors.JaxRuntimeError, match='odd'):
    measure()


def test_a_batch_has_instances_of_one_canvas(tmp_path):
  toy.write_folder(tmp_path / 'd', ((40, 56), (140, 48), (48, 48)))
  dataset = data.open_dataset('folder', str(tmp_path / 'd'))
  batch = rates.first_batch(dataset, 2)
  assert batch.mask.shape == (2, 128, 128)
  assert batch.size.tolist() == [[40, 56], [48, 48]]
  for k in range(3):
    (tmp_path / 'd' / 'images' / f'p{k}.png').write_bytes(b'')
  assert rates.first_batch(data.open_dataset('folder', str(tmp_path / 'd')), 2) is None
