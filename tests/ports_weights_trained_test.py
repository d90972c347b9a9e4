"""Weights trained from a model's own tree: what Orbax wrote is the model, and nothing else is."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from ports import zoo
from ports.model import Model
from ports.weights import cache, trained
from ports.weights.convert import convert, moves
from ports.weights.errors import CheckpointError, Misfit
from ports.weights.sources import Download

SHAPES = {'a/kernel': (2, 3), 'a/bias': (3,), 'b/scale': (4,)}
PARAMS = {
  name: np.random.default_rng(0).normal(size=shape).astype(np.float32)
  for name, shape in SHAPES.items()
}


def write(folder, tree):
  with ocp.StandardCheckpointer() as checkpointer:
    checkpointer.save(folder, tree)
  return folder


@pytest.fixture
def model(tmp_path, monkeypatch):
  """A model of these parameters whose checkpoint nobody has, and its name."""
  row = Model(
    build='toy:build', num_parameters=13, paper='us',
    original=Download('toy.pt', 1, '0' * 64, 'https://a/toy.pt', 'MIT'),
    convert=lambda states: convert(states['toy.pt'], moves(SHAPES), SHAPES),
  )
  monkeypatch.setattr(zoo, 'MODELS', {'toy': row})
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path / 'cache'))
  return 'toy'


def assert_same(found):
  assert list(found) == list(SHAPES)
  for name, array in PARAMS.items():
    np.testing.assert_array_equal(found[name], array, strict=True)


def test_what_was_saved_is_loaded_as_own_weights(model, tmp_path, capsys):
  folder = write(tmp_path / 'own', PARAMS)
  found, sums = zoo.load(model, folder)
  assert_same(found)
  sha256 = cache.digest(PARAMS)
  assert sums == {'toy.pt (own weights)': sha256}
  said = capsys.readouterr().err
  assert f'not the published toy.pt but own weights, sha256 {sha256}' in said
  assert 'left out' not in said
  assert zoo.load(model, str(folder), sha256=sha256.upper())[1] == sums


def test_a_tree_of_trees_and_other_leaves_and_dtypes_do_too(model, tmp_path, capsys):
  nested = {
    'a': {'kernel': jnp.asarray(PARAMS['a/kernel']), 'bias': PARAMS['a/bias'].astype(np.float64)},
    'b/scale': PARAMS['b/scale'],
    'step': 7,
  }
  assert_same(zoo.load(model, write(tmp_path / 'own', nested))[0])
  assert 'toy: left out, being no parameters: step' in capsys.readouterr().err


def test_another_sum_or_the_published_file_is_not_what_it_is(model, tmp_path):
  folder = write(tmp_path / 'own', PARAMS)
  with pytest.raises(CheckpointError, match='own: sha256 is'):
    zoo.load(model, folder, sha256='1' * 64)
  with pytest.raises(CheckpointError, match=cache.digest(PARAMS)):
    zoo.load(model, folder, published=True)


@pytest.mark.parametrize(
  ('changed', 'told'),
  [
    ({'a/bias': None}, 'missing: a/bias'),
    ({'a/bias': np.zeros(4, np.float32)}, r'misshapen: a/bias is \(4,\) and should be \(3,\)'),
    ({'a/bias': np.zeros(3, np.int32)}, 'not floating point: a/bias is int32'),
    ({'a/bias': np.float32([0, np.nan, 0])}, 'not finite: a/bias'),
  ],
)
def test_what_does_not_fit_is_told_by_name(model, tmp_path, changed, told):
  tree = {name: array for name, array in (PARAMS | changed).items() if array is not None}
  with pytest.raises(Misfit, match=told) as error:
    zoo.load(model, write(tmp_path / 'own', tree))
  assert str(tmp_path / 'own') in str(error.value) and len(error.value.faults) == 1


def test_no_array_is_read_that_does_not_fit(tmp_path, monkeypatch):
  folder = write(tmp_path / 'own', PARAMS | {'a/bias': np.zeros(4, np.float32)})
  for kind in (ocp.StandardCheckpointer, ocp.PyTreeCheckpointer):
    monkeypatch.setattr(kind, 'restore', lambda *_, **__: pytest.fail('read'))
  with pytest.raises(Misfit):
    trained.read(folder, SHAPES)


def test_it_may_have_been_written_on_other_devices(tmp_path):
  mesh = jax.make_mesh((len(jax.devices()),), ('x',))
  scale = jax.device_put(PARAMS['b/scale'], jax.NamedSharding(mesh, jax.P('x')))
  bias = jax.device_put(PARAMS['a/bias'], jax.devices()[0])
  folder = write(tmp_path / 'own', PARAMS | {'b/scale': scale, 'a/bias': bias})
  assert_same(trained.read(folder, SHAPES)[0])
  stated = (folder / '_sharding').read_text()
  assert 'cpu:0' in stated
  (folder / '_sharding').write_text(stated.replace('cpu:0', 'cuda:0'))
  assert_same(trained.read(folder, SHAPES)[0])


def test_what_is_no_parameter_is_not_read(tmp_path):
  folder = write(tmp_path / 'own', PARAMS | {'opt': {'mu': np.zeros(9, np.float32)}})
  with ocp.StandardCheckpointer() as checkpointer:
    tree = checkpointer.metadata(folder).item_metadata.tree
  found = trained._restored(folder, tree, SHAPES)
  assert found.pop('opt/mu') is ocp.PLACEHOLDER
  assert found.keys() == SHAPES.keys()


def test_chunks_larger_than_what_is_in_them_are_refused(tmp_path):
  folder = tmp_path / 'own'
  handler = ocp.PyTreeCheckpointHandler(use_ocdbt=False, use_zarr3=False)
  with ocp.Checkpointer(handler) as checkpointer:
    checkpointer.save(folder, PARAMS)
  assert_same(trained.read(folder, SHAPES)[0])
  file = folder / 'b' / 'scale' / '.zarray'
  file.write_text(json.dumps(json.loads(file.read_text()) | {'chunks': [10**11]}))
  with pytest.raises(Misfit, match=r'b/scale is \(4,\) in chunks of \(100000000000,\)'):
    trained.read(folder, SHAPES)


def test_damage_is_told_with_the_folder(model, tmp_path):
  folder = write(tmp_path / 'own', PARAMS)
  for file in folder.rglob('*'):
    if file.is_file() and file.name != '_CHECKPOINT_METADATA':
      file.write_bytes(b'damaged')
  with pytest.raises(CheckpointError, match='own: no Orbax checkpoint of a tree of arrays, or a'):
    zoo.load(model, folder)


def test_a_folder_that_is_none_is_looked_through_for_packages(model, tmp_path):
  with pytest.raises(CheckpointError, match='is a folder'):
    zoo.load(model, tmp_path)


def test_a_converter_that_does_not_say_what_it_makes(model, tmp_path, monkeypatch):
  row = zoo.MODELS[model]
  silent = Model(
    build='toy:build', num_parameters=13, paper='us', original=row.original,
    convert=lambda states: dict(states['toy.pt']),
  )
  monkeypatch.setattr(zoo, 'MODELS', {'toy': silent})
  with pytest.raises(CheckpointError, match='does not say which parameters it makes'):
    zoo.load(model, write(tmp_path / 'own', PARAMS))
