"""Damaged files of every format are read or refused, and nothing else happens."""

import pytest
import weights_fuzz


@pytest.mark.parametrize('kind', ['program', 'pickle', 'zip', 'stream', 'safetensors', 'onnx'])
def test_damaged_files_are_read_or_refused(tmp_path, kind):
  if kind == 'onnx':
    pytest.importorskip('onnx')
  read = [weights_fuzz.one(tmp_path, kind, seed) for seed in range(100)]
  assert sum(read) < 60


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['program', 'pickle', 'zip', 'stream', 'safetensors', 'onnx'])
def test_many_damaged_files_are_read_or_refused(tmp_path, kind):
  if kind == 'onnx':
    pytest.importorskip('onnx')
  for seed in range(1000, 3000):
    weights_fuzz.one(tmp_path, kind, seed)


@pytest.mark.parametrize('kind', ['zip', 'stream', 'safetensors', 'onnx'])
def test_without_damage_they_are_read(tmp_path, monkeypatch, kind):
  if kind == 'onnx':
    pytest.importorskip('onnx')
  monkeypatch.setattr(weights_fuzz, 'damaged', lambda data, rng: data)
  assert weights_fuzz.one(tmp_path, kind, 0)
