"""Tests of the zoo: families are found by their folders, models of one's own are registered."""

import gzip
import json
import os
import pathlib
import subprocess
import sys
import textwrap

import golden_weights
import numpy as np
import pytest
import torch_pickles as tp

from ports import zoo
from ports.model import Model
from ports.weights import loading, lookalikes, sources
from ports.weights.convert import convert, moves
from ports.weights.errors import CheckpointError, Misfit
from tetris_jax.types import ModelInfo, Segmenter

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture
def clean():
  """Takes away what a test registers."""
  before = dict(zoo.MODELS)
  yield
  for name in set(zoo.MODELS) - set(before):
    del zoo._rows[name]
  assert before == zoo.MODELS


def python(code, cache):
  return subprocess.run(
    [sys.executable, '-c', textwrap.dedent(code)], cwd=ROOT, capture_output=True, text=True,
    env=os.environ | {'TETRIS_CACHE': str(cache)}, check=True,
  ).stdout


def build(params, sha256, *, radius=1, zoom='near', disks='soft'):
  """A segmenter that only knows what it was made with."""
  made = dict(params) | {'radius': np.float32(radius)}
  info = ModelInfo(f'toy_{zoom}_{disks}', sha256=dict(sha256))
  return Segmenter(lambda *a: a, lambda *a: (), lambda *a: a, made, info)


def toy(**changes):
  return Model(**{'build': build, 'num_parameters': 1, 'paper': 'us'} | changes)


def test_every_family_has_its_rows_in_its_folder():
  families = sorted(p.parent.name for p in pathlib.Path(zoo.__file__).parent.glob('*/zoo_rows.py'))
  assert families == [
    'adaptiveclick', 'cdnet', 'cfr', 'focalclick', 'gpcis', 'ritm', 'sam', 'sam2', 'simpleclick'
  ]
  assert zoo.names() == tuple(sorted(zoo.MODELS))
  for name, model in zoo.MODELS.items():
    # in the family's own folder, as everything that is particular to it
    assert model.build.split('.')[1] in families, name
    for said in ('parity', 'published', 'reproduced'):
      assert getattr(model, said) != Model.__dataclass_fields__[said].default, (name, said)


def test_a_new_family_is_a_folder_and_nothing_else(tmp_path):
  folder = tmp_path / 'more' / 'blob'
  folder.mkdir(parents=True)
  (folder / '__init__.py').write_text('"""Blobs."""\n')
  (folder / 'weights.py').write_text(textwrap.dedent('''
    import flax  # a network's imports are for those who build it
    from ports.weights.convert import convert, moves

    SHAPES = {'fc/kernel': (3, 2)}

    def tree(state):
      return convert(state, moves(SHAPES), SHAPES)
  '''))
  (folder / 'segmenter.py').write_text(textwrap.dedent('''
    from tetris_jax.types import ModelInfo, Segmenter

    def blob(params, sha256, *, size, zoom='near'):
      info = ModelInfo(f'blob_{size}_{zoom}', sha256=dict(sha256))
      return Segmenter(lambda *a: a, lambda *a: (), lambda *a: a, params, info)
  '''))
  (folder / 'zoo_rows.py').write_text(textwrap.dedent('''
    from ports.model import Model
    from ports.weights.sources import Download

    def _convert(states):
      from ports.blob import weights
      return weights.tree(states['blob.pt'])

    MODELS = {
      'blob_s': Model(
        build='ports.blob.segmenter:blob', num_parameters=6, paper='us', convert=_convert,
        original=Download('blob.pt', 9, None, 'https://a/blob.pt', 'MIT'),
        settings={'size': 's'}, options={'zoom': ('near', 'far')},
      ),
    }
  '''))
  weight = np.arange(6, dtype=np.float32).reshape(2, 3)
  path = tp.write_state(tmp_path / 'own.pt', {'fc.weight': weight})
  found = json.loads(python(f'''
    import json, sys
    import ports
    ports.__path__.append({str(tmp_path / 'more')!r})
    from ports import zoo
    cheap = not [m for m in sys.modules if m.split('.')[0] == 'flax']
    model = zoo.segmenter('blob_s', {str(path)!r}, zoom='far')
    print(json.dumps([
      cheap, zoo.names(), model.info.name, list(model.info.sha256), zoo.options('blob_s')['zoom'],
      model.params['fc/kernel'].tolist(), 'blob.pt' in zoo.table(),
    ]))
  ''', tmp_path / 'cache'))
  assert found == [
    True, sorted([*zoo.names(), 'blob_s']), 'blob_s_far', ['blob.pt'], ['near', 'far'],
    weight.T.tolist(), True,
  ]


def test_importing_the_zoo_imports_no_network(tmp_path):
  found = json.loads(python('''
    import json, sys
    from ports import zoo
    assert zoo.names() and zoo.table()
    print(json.dumps(sorted(sys.modules)))
  ''', tmp_path))
  heavy = ('flax', 'orbax', 'onnx', 'safetensors', 'tensorflow', 'torch')
  assert not [m for m in found if m.split('.')[0] in heavy]
  parts = ('network', 'segmenter', 'weights')
  assert not [m for m in found if m.startswith('ports.') and m.count('.') == 2
              and m.split('.')[2] in parts]


def test_a_model_of_ones_own_is_registered_by_one_file(tmp_path, monkeypatch, clean):
  (tmp_path / 'my_blob_model.py').write_text(textwrap.dedent('''
    import numpy as np

    from ports import zoo
    from tetris_jax.types import ModelInfo, Segmenter

    def build(params, sha256, *, radius='small'):
      assert params == {} and sha256 == {}
      return Segmenter(
        lambda *a: a, lambda *a: (), lambda *a: a, {'radius': np.float32(len(radius))},
        ModelInfo('my_blob'),
      )

    zoo.register('my_blob', zoo.Model(
      build=build, num_parameters=1, paper='mine', options={'radius': ('small', 'large')},
    ))
  '''))
  monkeypatch.syspath_prepend(tmp_path)
  __import__('my_blob_model')
  monkeypatch.delitem(sys.modules, 'my_blob_model')
  assert 'my_blob' in zoo.MODELS and 'my_blob' in zoo.names()
  assert zoo.load('my_blob') == ({}, {})
  assert zoo.options('my_blob') == {'radius': ('small', 'large')}
  assert zoo.segmenter('my_blob', radius='large').params == {'radius': np.float32(5)}
  assert '| `my_blob` | 1 | mine | not measured | none | not measured |' in zoo.table()
  with pytest.raises(CheckpointError, match='my_blob brings its own parameters'):
    zoo.segmenter('my_blob', tmp_path / 'a.pt')


def test_settings_and_options_reach_the_function_that_builds(tmp_path, monkeypatch, clean):
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path / 'cache'))
  options = {'zoom': ('near', 'far'), 'disks': ('soft', 'hard')}
  original = sources.Download('a.pt', 9, None, 'https://a/a.pt', 'MIT')
  zoo.register('toy', toy(
    original=original, convert=lambda states: dict(states['a.pt']), settings={'radius': 7},
    options=options,
  ))
  path = tp.write_state(tmp_path / 'own.pt', {'w': np.ones(2, np.float32)})
  model = zoo.segmenter('toy', path, disks='hard')
  assert model.info.name == 'toy_near_hard' and list(model.info.sha256) == ['a.pt']
  assert model.params['radius'] == 7 and model.params['w'].tolist() == [1, 1]
  for chosen, said in (
    ({'zoom': 'none'}, "zoom is 'none'; known for toy: near, far"),
    ({'flip': 'yes'}, 'toy has no option "flip"; its options: zoom, disks'),
  ):
    with pytest.raises(ValueError, match=said):
      zoo.segmenter('toy', path, **chosen)


def test_taken_names_and_what_is_no_row_are_refused(clean):
  zoo.register('toy', toy())
  for name in ('toy', 'mobile_sam'):
    with pytest.raises(ValueError, match=f'has a model "{name}" already'):
      zoo.register(name, toy())
  for name in ('', 'a/b', '../a', 'a b', '.a', 'ä', 3):
    with pytest.raises(ValueError, match='name is'):
      zoo.register(name, toy())
  with pytest.raises(ValueError, match='model is a dict; expected a Model for "other"'):
    zoo.register('other', {'build': build})
  assert 'other' not in zoo.MODELS


def test_the_models_are_changed_by_registering_only():
  with pytest.raises(TypeError):
    zoo.MODELS['toy'] = toy()
  with pytest.raises(CheckpointError, match='unknown model "none"; known: adaptiveclick_'):
    zoo.options('none')


def test_the_readme_shows_the_table():
  readme = pathlib.Path(zoo.__file__).with_name('README.md').read_text()
  assert readme.endswith('<!-- zoo -->\n' + zoo.table())
  for model in zoo.MODELS.values():
    for source in (*model.packages, model.original):
      assert source.file in readme
      assert source.sha256 is None or (source.sha256 in readme and len(source.sha256) == 64)


def test_a_file_of_another_model_is_told_apart(tmp_path, monkeypatch, clean):
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path / 'cache'))
  for name, width in (('narrow', 2), ('wide', 3)):
    shapes = {'a/kernel': (width, 5), 'b/kernel': (width, 7)}

    def strict(states, shapes=shapes):
      return convert(states['a.pt'], moves(shapes), shapes)

    original = sources.Download('a.pt', 999, None, 'https://a/a.pt', 'MIT')
    zoo.register(name, toy(original=original, convert=strict, num_parameters=12 * width))
  arrays = {f'module.{n}.weight': np.ones((k, 3), np.float32) for n, k in (('a', 5), ('b', 7))}
  path = tp.write_state(tmp_path / 'own.pt', arrays)
  with pytest.raises(Misfit) as error:
    zoo.load('narrow', path)
  text = str(error.value)
  assert text.startswith('own.pt: ') and 'misshapen: a.weight gives (3, 5) for a/kernel' in text
  assert text.endswith('It fits wide: give it for that model.')
  assert set(zoo.load('wide', path)[0]) == {'a/kernel', 'b/kernel'}


def listings():
  """A model of every family, with the (name, shape, dtype) rows of its published state dict."""
  golden = ROOT / 'tests' / 'golden'
  ritm = json.loads(gzip.decompress((golden / 'ritm_keys.json.gz').read_bytes()))
  return {
    'mobile_sam': json.loads((golden / 'mobilesam_vit_t.json').read_text()),
    'ritm_h18s_it_cl': ritm['hrnet18s_itermask'],
    'simpleclick_vit_xt_sbd': json.loads((golden / 'simpleclick_vit_xt.json').read_text()),
  }


@pytest.mark.slow
@pytest.mark.parametrize('name', ['mobile_sam', 'ritm_h18s_it_cl', 'simpleclick_vit_xt_sbd'])
def test_every_family_finds_its_names_under_a_trainings(name):
  model = zoo.MODELS[name]
  state = golden_weights.golden_state_dict(listings()[name])
  wanted, said = loading.fitted(model, state, 'x.pt')
  assert said == '' and sum(a.size for a in wanted.values()) == model.num_parameters
  for prefix in ('module.', 'model.', 'state_dict.', 'state_dict.model.module.', 'net._orig_mod.'):
    around = {f'{prefix}{n}': a for n, a in state.items()} | {'optimizer.0': np.ones(2, np.float32)}
    found, said = loading.fitted(model, around, 'x.pt')
    assert 'left out "optimizer" (1 tensors)' in said
    assert found.keys() == wanted.keys()
    assert all(np.array_equal(found[leaf], wanted[leaf]) for leaf in wanted)
  lost = sorted(state)[:-9]
  with pytest.raises(Misfit) as error:
    loading.fitted(model, {f'module.{n}': state[n] for n in lost}, 'x.pt')
  assert str(error.value).startswith('x.pt: dropped "module."')
  assert len(str(error.value).splitlines()) < 12


@pytest.mark.slow
def test_a_size_of_another_name_is_recognised():
  state = golden_weights.golden_state_dict(listings()['ritm_h18s_it_cl'])
  with pytest.raises(Misfit) as error:
    loading.fitted(zoo.MODELS['mobile_sam'], state, 'x.pt')
  (hint,) = lookalikes.hints('mobile_sam', error.value, zoo.MODELS)
  assert hint == 'It fits ritm_h18s_it_cl: give it for that model.'
