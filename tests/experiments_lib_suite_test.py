"""The device suite on a toy: everything in the order of its worth, and what is left out is said."""

import itertools
import json

import jax
import numpy as np
import pytest
import toy

from experiments.lib import rates, suite
from tetris_jax import data, types

BARE = {'forward_seconds': 0.01, 'value_and_grad_seconds': 0.03}


@pytest.fixture
def samples(tmp_path):
  toy.write_folder(tmp_path, ((40, 56), (140, 48), (48, 48)))
  return list(data.open_dataset('folder', str(tmp_path)))


@pytest.fixture
def quick(monkeypatch):
  """No program is compiled: decoders of four and more instances gain nothing."""
  asked = []

  def decoders(segmenter, params, features, batch, num_clicks, repeats, *, ways):
    asked.append(('decoder', len(batch.size)))
    each = 0.03 / min(len(batch.size), 4)
    return {way: BARE | {'value_and_grad_seconds': each} for way in ways}

  def attack(segmenter, params, config, batch, repeats):
    size, precision = len(batch.size), jax.config.jax_default_matmul_precision
    asked.append((config.name, size, precision))
    if precision == 'TF32_TF32_F32':
      raise jax.errors.JaxRuntimeError('UNIMPLEMENTED: Unsupported algorithm on this device')
    iou = np.tile([[0.5], [0.2], [0.8]], (size, 1, config.num_clicks))
    iou[:, 2] += 0.25 * (precision == 'BF16_BF16_F32')
    facts = {'seconds_per_instance': 2.0, 'instances_per_minute': 30.0,
             'evaluations_per_second': 50.0}  # fmt: skip
    return facts, rates.Spent(100, 10), types.Trajectories(None, iou, iou, None, None, None)

  encoder = lambda *args: ({'seconds_per_instance': 0.5}, np.zeros((1, 2)))
  for name, function in (('decoders', decoders), ('attack', attack), ('encoder', encoder)):
    monkeypatch.setattr(rates, name, function)
  return asked


def measured(samples, minutes=9.0, clicks=2, kept=None):
  keep = (lambda found: None) if kept is None else (lambda found: kept.append(json.dumps(found)))
  return suite.measure(toy.segmenter(), samples, clicks, 1, minutes=minutes, keep=keep)


def test_the_knee_comes_first_then_attacks_then_precisions(samples, quick):
  kept = []
  found = measured(samples, kept=kept)
  assert found['knee'] == 4 and [one['batch_size'] for one in found['decoder']] == [1, 2, 4, 8]
  at = lambda size: [(preset, size, None) for preset in suite.ATTACKS]
  tried = [('tetris', 2, precision) for precision in suite.PRECISIONS.values()]
  assert [one[:2] for one in quick[4:]] == [
    one[:2] for one in itertools.chain(at(4), tried, at(1), at(8))
  ]
  assert [one for one in quick if one[2:] and one[1] == 2] == tried
  # 90 forward passes of 0.01 s and 10 with gradient of 0.03 / 4 s, of 2 s.
  assert found['attacks'][0]['share_of_decoder'] == pytest.approx(0.4875, abs=6e-4)
  assert [one['precision'] for one in found['precisions']] == ['float32', 'bf16', 'default']
  changed = found['precisions'][1]
  assert (changed['base_change'], changed['max_change'], changed['d_change']) == (0, 0.25, 0.25)
  assert found['not_measured'] == ['tetris in TF32, 2 instances at once: the device cannot do it']
  # Beside the encoder 1.5 s for two clicks.
  assert found['projected'][0]['hours'] == pytest.approx(1295 * (0.5 + 7.5) / 3600, abs=1e-3)
  assert json.loads(kept[-1]) == found and len(kept) == 4 + 9 + 3 + 1


def test_projections_at_their_own_clicks_are_the_measured_rate(samples, quick):
  found = measured(samples, clicks=suite.CLICKS)
  assert found['projected'][0]['hours'] == pytest.approx(1295 * 2 / 3600, abs=1e-3)


def test_what_there_is_no_time_or_memory_for_is_listed(samples, quick, monkeypatch):
  found = measured(samples, minutes=0)
  assert not quick and found['not_measured'][0] == 'encoder: no time was left'
  assert found['decoder'] == found['attacks'] == found['projected'] == []

  def exhausted(*args, **more):
    raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.')

  monkeypatch.setattr(rates, 'decoders', exhausted)
  found = measured(samples)
  assert found['not_measured'][0] == 'decoder, 1 instance at once: memory ran out'
  monkeypatch.setattr(rates, 'decoders', lambda *args, **more: 1 / 0)
  with pytest.raises(ZeroDivisionError):
    measured(samples)


def test_products_that_jax_refuses_to_lower_are_listed(samples, quick, monkeypatch):
  tf32 = jax.default_matmul_precision('TF32_TF32_F32')
  with pytest.raises(ValueError, match='not supported') as caught, tf32:
    jax.jit(lambda x: x @ x).lower(np.eye(2, dtype=np.float32)).compile()  # Of a CPU.

  def refused(*args):
    raise caught.value

  monkeypatch.setattr(rates, 'attack', refused)
  assert 'tetris, 4 instances at once: the device cannot do it' in measured(samples)['not_measured']
  monkeypatch.setattr(rates, 'attack', lambda *args: int('x'))
  with pytest.raises(ValueError, match='invalid literal'):
    measured(samples)


def test_tables_have_every_measurement(samples, quick):
  found = measured(samples) | {
    'model': 'toy', 'versions': {'jax': '1'},
    'device': {'platform': 'cpu', 'kind': 'x', 'cpu': 'y'},
  }  # fmt: skip
  text = suite.table(found)
  assert '| 4 | 100.0 | 133.3 |' in text and '| strong_v1 | 8 | 50.0 | 30.0 | 0.49 |' in text
  assert '| bf16 | 2.00 | 0 | 0 | 0.25 | 0.25 | 0.25 |' in text
  assert '| tetris | 4 | 2.88 |' in text and '- tetris in TF32, 2 instances' in text


@pytest.mark.slow
def test_a_toy_is_measured(samples):
  found = suite.measure(toy.segmenter(), samples, 1, 1, minutes=0.2, keep=lambda found: None)
  assert found['decoder'][0]['forward_seconds'] > 0
  assert found['attacks'][0]['preset'] == 'tetris'
  assert found['projected'][0]['hours'] > 0
