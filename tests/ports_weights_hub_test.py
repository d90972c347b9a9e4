"""Tests of the Hugging Face hub's names, with its client replaced: nothing is asked for."""

import hashlib
import sys
import types

import numpy as np
import pytest
import torch_pickles as tp

from ports import zoo
from ports.model import Model
from ports.weights import hub, sources
from ports.weights.convert import convert, moves
from ports.weights.errors import CheckpointError

WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)
SHAPES = {'w/kernel': (3, 2)}


class Client(types.ModuleType):
  """What of `huggingface_hub` is used: repositories are folders below `root`."""

  def __init__(self, root):
    super().__init__('huggingface_hub')
    self.root, self.asked, self.offline, self.sums = root, [], False, True
    errors = types.ModuleType('huggingface_hub.errors')
    self.errors = errors
    errors.RepositoryNotFoundError = type('RepositoryNotFoundError', (OSError,), {})
    errors.GatedRepoError = type('GatedRepoError', (errors.RepositoryNotFoundError,), {})
    errors.RevisionNotFoundError = type('RevisionNotFoundError', (OSError,), {})
    self.ConnectError = type('ConnectError', (Exception,), {})

  def HfApi(self):
    return self

  def model_info(self, repository, *, revision, files_metadata, timeout):
    assert files_metadata and timeout
    if self.offline:
      raise self.ConnectError('[Errno -2] Name or service not known')
    if repository == 'a/gated':
      raise self.errors.GatedRepoError('403')
    folder = self.root / repository
    if not folder.is_dir():
      raise self.errors.RepositoryNotFoundError('404')
    if revision not in (None, 'main', 'v1'):
      raise self.errors.RevisionNotFoundError('404')
    siblings = []
    for path in sorted(folder.iterdir()):
      lfs = types.SimpleNamespace(sha256=hashlib.sha256(path.read_bytes()).hexdigest())
      siblings.append(types.SimpleNamespace(
        rfilename=path.name, size=path.stat().st_size, lfs=lfs if self.sums else None
      ))
    return types.SimpleNamespace(sha=f'commit-of-{revision or "main"}', siblings=siblings)

  def hf_hub_download(self, repository, file, *, revision):
    self.asked.append((repository, file, revision))
    return str(self.root / repository / file)

  def try_to_load_from_cache(self, repository, file, *, revision):
    path = self.root / repository / file
    return str(path) if path.exists() else None


@pytest.fixture
def client(tmp_path, monkeypatch):
  made = Client(tmp_path / 'hub')
  monkeypatch.setitem(sys.modules, 'huggingface_hub', made)
  monkeypatch.setitem(sys.modules, 'huggingface_hub.errors', made.errors)
  return made


def put(client, repository, *files):
  folder = client.root / repository
  folder.mkdir(parents=True)
  for i, file in enumerate(files):
    (folder / file).write_bytes(bytes([i]) * 10)


@pytest.mark.parametrize(
  ('text', 'wanted'),
  [
    ('hf:facebook/sam2.1-hiera-tiny', ('facebook/sam2.1-hiera-tiny', '', '')),
    ('hf:a/b/model.safetensors', ('a/b', '', 'model.safetensors')),
    ('hf:a/b/below/m.pt', ('a/b', '', 'below/m.pt')),
    ('hf:a/b@v1', ('a/b', 'v1', '')),
    ('hf:a/b@refs/pr/1', ('a/b', 'refs/pr/1', '')),
    ('hf:a/b@v1/m.pt', ('a/b', 'v1', 'm.pt')),
  ],
)
def test_the_parts_of_a_name(text, wanted):
  assert hub.parse(text) == wanted


@pytest.mark.parametrize('text', ['hf:', 'hf:a', 'hf:/a', 'hf:a/b/', 'hf:a b/c', 'hf:a/b/../c.pt'])
def test_other_names_are_refused_with_an_example(text):
  with pytest.raises(CheckpointError, match=r'hf:facebook/sam2\.1-hiera-tiny'):
    hub.parse(text)


@pytest.mark.parametrize(
  ('files', 'wanted'),
  [
    (('README.md', 'm.pt', 'model.safetensors', 'other.pt'), 'm.pt'),
    (('model.safetensors', 'other.pth'), 'other.pth'),
    (('a.pt', 'b.pt', 'model.safetensors'), 'model.safetensors'),
    (('config.json', 'model.safetensors'), 'model.safetensors'),
  ],
)
def test_the_file_that_fits_is_taken(client, files, wanted):
  put(client, 'a/b', *files)
  found = hub.fetch('hf:a/b', 'm.pt', 100)
  assert found.name == f'hf:a/b/{wanted}' and found.path.name == wanted
  assert found.sha256 == hashlib.sha256(found.path.read_bytes()).hexdigest()
  assert client.asked == [('a/b', wanted, 'commit-of-main')]


def test_a_file_and_a_revision_may_be_named(client):
  put(client, 'a/b', 'm.pt', 'model.safetensors')
  found = hub.fetch('hf:a/b@v1/model.safetensors', 'm.pt', 100)
  assert client.asked == [('a/b', 'model.safetensors', 'commit-of-v1')]
  assert found.name == 'hf:a/b/model.safetensors'


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('hf:a/none', 'no such repository'),
    ('hf:a/gated', 'accept its terms'),
    ('hf:a/b@v9', 'has no revision "v9"'),
    ('hf:a/b/no.pt', r'has no file no\.pt; its checkpoints: x\.pt, y\.pt'),
    ('hf:a/b', r'neither m\.pt nor model\.safetensors; .*hf:a/b/FILE'),
    ('hf:a/b/x.pt', 'more than 9 bytes'),
  ],
)
def test_what_is_not_there_is_named(client, text, message):
  put(client, 'a/b', 'x.pt', 'y.pt', 'config.json')
  with pytest.raises(CheckpointError, match=message):
    hub.fetch(text, 'm.pt', 9)
  assert client.asked == []


def test_without_network_what_was_brought_before_is_used(client, capsys):
  client.offline = True
  with pytest.raises(CheckpointError, match=r'could not be asked.*Name or service not known'):
    hub.fetch('hf:a/b', 'm.pt', 100)
  put(client, 'a/b', 'model.safetensors')
  found = hub.fetch('hf:a/b', 'm.pt', 100)
  assert found.path.name == 'model.safetensors' and found.sha256 is None
  assert 'was brought before' in capsys.readouterr().err
  with pytest.raises(CheckpointError, match='could not be asked'):
    hub.fetch('hf:a/b/x.pt', 'm.pt', 100)


def test_without_the_client_its_extra_is_named(monkeypatch):
  monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
  with pytest.raises(CheckpointError, match=r"pip install 'tetris_jax\[hf\]'"):
    hub.fetch('hf:a/b', 'm.pt', 100)


@pytest.fixture
def model(client, tmp_path, monkeypatch):
  """A model of the zoo whose published file is m.pt, in a repository of the hub."""
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path / 'cache'))
  put(client, 'a/b')
  path = tp.write_state(client.root / 'a' / 'b' / 'm.pt', {'w.weight': WEIGHT})
  sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
  monkeypatch.setattr(zoo, 'MODELS', {'toy': Model(
    build='toy:build', num_parameters=6, paper='us',
    original=sources.Download('m.pt', path.stat().st_size, sha256, 'https://a/m.pt', 'MIT'),
    convert=lambda states: convert(states['m.pt'], moves(SHAPES), SHAPES),
  )})
  return path, sha256


def test_the_published_file_is_called_so_wherever_it_comes_from(model):
  params, sums = zoo.load('toy', 'hf:a/b')
  np.testing.assert_array_equal(params['w/kernel'], WEIGHT.T)
  assert sums == {'m.pt': model[1]}


def test_another_file_goes_by_its_name_on_the_hub(model, client):
  put(client, 'c/d')
  other = tp.write_state(client.root / 'c' / 'd' / 'mine.pt', {'w.weight': 2 * WEIGHT})
  sha256 = hashlib.sha256(other.read_bytes()).hexdigest()
  params, sums = zoo.load('toy', 'hf:c/d', published=True)
  np.testing.assert_array_equal(params['w/kernel'], 2 * WEIGHT.T)
  assert sums == {'hf:c/d/mine.pt': sha256}
  assert other.exists()  # it is the client's
  with pytest.raises(CheckpointError, match='sha256 is'):
    zoo.load('toy', 'hf:c/d', sha256='0' * 64)


def test_what_came_is_what_the_hub_says_it_has(model, client, monkeypatch):
  def half(repository, file, *, revision):
    path = client.root / 'half.pt'
    path.write_bytes(model[0].read_bytes()[:-10])
    return str(path)

  monkeypatch.setattr(client, 'hf_hub_download', half)
  with pytest.raises(CheckpointError, match=r'half\.pt: sha256 is .*Delete'):
    zoo.load('toy', 'hf:a/b')
