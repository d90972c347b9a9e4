"""The example that trains: every kind of click trains, and what it saves is a model of the zoo."""

import dataclasses
import functools
import importlib
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sam_golden
import toy
from absl import flags

from ports import zoo
from ports.model import Model
from ports.sam import segmenter as sam
from ports.sam import weights
from ports.weights.sources import Download
from tetris_jax import data
from tetris_jax.types import POSITIVE, Clicks

RADIUS = 8.0
CENTRE = 15, 20


@pytest.fixture(scope='module')
def example():
  """The module, which lies in no package."""
  place = str(sam_golden.FOLDER.parents[1])
  sys.path.insert(0, place)
  try:
    yield importlib.import_module('examples.robust_training')
  finally:
    sys.path.remove(place)


@pytest.fixture(autouse=True)
def promotion():
  """Optax mixes dtypes."""
  with jax.numpy_dtype_promotion('standard'), jax.numpy_rank_promotion('allow'):
    yield


def model(radius):
  """The toy with this radius, which expects half of any mask."""
  made = toy.segmenter()
  half = dataclasses.replace(made, predicted_iou=lambda state: jnp.float32(0.5))
  return half.with_params({'radius': np.float32(radius)})


def objects(example, count=2):
  """Disks of `RADIUS` on even grey, which the toy meets with about a radius of its own."""
  y, x = np.mgrid[:32, :40]
  mask = (y - CENTRE[0]) ** 2 + (x - CENTRE[1]) ** 2 < RADIUS**2
  picture, nothing = np.full((32, 40, 3), 128, np.uint8), np.zeros(mask.shape, bool)
  samples = [data.Sample(f'disk{number}', picture, mask, nothing) for number in range(count)]
  return example.encoded(model(1), samples)


def trained(example, kind, radius, **changed):
  how = {'seed': 0, 'steps': 20, 'batch_size': 2, 'learning_rate': 0.5} | changed
  start = model(radius)
  segmenter = example.with_features(start)
  found, losses = example.train(kind, segmenter, dict(start.params), objects(example), **how)
  return float(found['radius']), losses


def test_a_training_finds_the_radius(example, monkeypatch):
  clicks = Clicks(jnp.array([[CENTRE]], jnp.float32), jnp.array([[POSITIVE]]))
  monkeypatch.setattr(example, 'clicks_for', lambda kind, model, batch, key: clicks)
  found, losses = trained(example, 'given', 5)
  assert abs(found - RADIUS) < 1
  assert len(losses) == 20 and losses[-1] < losses[0] - 0.1
  assert trained(example, 'given', 5) == (found, losses)


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['worst', 'users'])
def test_a_training_on_searched_or_drawn_clicks_lowers_its_loss(example, kind):
  found, losses = trained(example, kind, 4, steps=12)
  assert found > 5 and np.mean(losses[-3:]) < losses[0] - 0.1


@pytest.mark.slow
def test_every_kind_clicks_where_it_says(example):
  (batch, features), _ = objects(example)
  segmenter = example.with_features(model(RADIUS))
  segmenter = segmenter.with_params({**segmenter.params, 'features': features})
  clicks = jax.jit(example.clicks_for, static_argnames='kind')
  at = {}
  for kind in example.KINDS:
    drawn = [clicks(kind, segmenter, batch, jax.random.key(seed)) for seed in (0, 1)]
    assert all(one.yx.shape == (1, 1, 2) and one.label.tolist() == [[POSITIVE]] for one in drawn)
    at[kind] = np.array([one.yx[0, 0] for one in drawn])
  away = {kind: np.hypot(*(yx - CENTRE).T) for kind, yx in at.items()}
  # The farther from the centre, the less of the disk the toy meets.
  np.testing.assert_allclose(away['robot'], 0, atol=0.5)
  assert (away['worst'] > 0.75 * RADIUS).all() and (away['worst'] <= RADIUS).all()
  assert (away['users'] <= RADIUS).all() and away['users'][0] != away['users'][1]


@pytest.mark.slow
def test_scores_are_those_of_closed_form(example):
  """A disk inside of the object, clicked in its centre, and one moved off it elsewhere."""
  found = example.scores(example.with_features(model(3)), objects(example, 1), 4)
  assert list(found) == ['BASE', 'D', 'D(.25)', 'mean']
  y, x = np.mgrid[:32, :40]
  far = (y - CENTRE[0]) ** 2 + (x - CENTRE[1]) ** 2
  (base,), (d,), (quarter,), (mean,) = found.values()
  assert base == pytest.approx(100 * (far <= 9).sum() / (far < RADIUS**2).sum(), abs=0.01)
  assert 0 < quarter < d < base and base - d < mean < base


def test_the_table_says_what_changed_over_objects_and_seeds(example):
  scores = lambda *values: {'BASE': list(values)}
  found = {
    'published': [scores(60.0, 80.0)],
    'worst': [scores(61.0, 81.0), scores(63.0, 83.0)],
    'robot': [scores(60.0, 84.0), scores(60.0, 84.0)],
  }
  assert example.table(found).splitlines() == [
    '|  | BASE |',
    '| --- | ---: |',
    '| published | 70.0 |',
    '| worst against published | 72.0: +2.0 [+2.0, +2.0], +1.0 to +3.0 |',
    '| robot against published | 72.0: +2.0 [+0.0, +4.0], +2.0 to +2.0 |',
    '| worst against robot | 72.0: +0.0 [-2.0, +2.0], -1.0 to +1.0 |',
  ]


def test_only_a_whole_file_of_the_same_settings_is_taken_over(example, tmp_path):
  file, settings = tmp_path / 'worst-0.json', {'steps': 10}
  assert example.kept(file, settings) is None
  made = {'settings': settings, 'scores': {}}
  file.write_text(json.dumps(made))
  assert example.kept(file, settings) == made and example.kept(file, {'steps': 20}) is None
  for damaged in ('{"settings"', '[]', '', '7'):
    file.write_text(damaged)
    assert example.kept(file, settings) is None


@pytest.mark.slow
def test_the_program_leaves_weights_that_the_zoo_reads(example, tmp_path, monkeypatch, capsys):
  """A reduced SAM with made-up weights in place of MobileSAM, and one step of each training."""
  before = sam_golden.params('sam_reduced')
  monkeypatch.setitem(sam.ENCODERS, 'reduced', sam_golden.REDUCED)
  build = functools.partial(sam.sam, name='reduced', size='reduced')
  row = Model(
    build=build, num_parameters=1, paper='us',
    original=Download('toy.pt', 1, '0' * 64, 'https://a/toy.pt', 'MIT'),
    convert=lambda states: weights.sam_tree(states['toy.pt'], sam_golden.REDUCED),
  )
  monkeypatch.setattr(zoo, 'MODELS', {'reduced': row})
  monkeypatch.setattr(example.zoo, 'segmenter', lambda name: build(before, {}))
  scored = []

  def scores(segmenter, objects, count):
    scored.append(segmenter.params)
    return {'BASE': [float(len(scored))] * len(objects)}

  monkeypatch.setattr(example, 'scores', scores)
  toy.write_folder(tmp_path / 'D', ((100, 120),) * 4)
  saved = {name: flags.FLAGS[name].value for name in ('data_dir', 'kind', 'out', 'seeds', 'steps')}
  asked = ['x', f'--data_dir={tmp_path / "D"}', '--kind=robot', '--seeds=1', '--steps=1']
  try:
    flags.FLAGS([*asked, f'--out={tmp_path / "out"}', '--learning_rate=1e-3'])
    example.main(asked[:1])
    first = capsys.readouterr().out
    monkeypatch.setattr(example, 'train', lambda *_, **__: pytest.fail('trained again'))
    example.main(asked[:1])
    assert capsys.readouterr().out == first
    # A training that is stopped before it has been measured leaves no numbers of another one.
    monkeypatch.setattr(example, 'train', lambda *_, **__: 1 / 0)
    kept = (tmp_path / 'out' / 'robot-0.json').read_bytes()
    flags.FLAGS['steps'].value = 2
    with pytest.raises(ZeroDivisionError):
      example.main(asked[:1])
    assert not (tmp_path / 'out' / 'robot-0.json').exists()
    (tmp_path / 'out' / 'robot-0.json').write_bytes(kept)
    (tmp_path / 'file').write_text('')
    flags.FLAGS['out'].value = str(tmp_path / 'file')
    with pytest.raises(SystemExit, match='exists'):
      example.main(asked[:1])
    with pytest.raises(flags.IllegalFlagValueError, match='between 0 and 1'):
      flags.FLAGS(['x', '--learning_rate=nan'])
  finally:
    for name, value in saved.items():
      flags.FLAGS[name].value = value
  found, sums = zoo.load('reduced', tmp_path / 'out' / 'robot-0')
  assert list(sums) == ['toy.pt (own weights)']
  changed = {name for name in before if not np.array_equal(before[name], found[name])}
  assert changed and all(name.startswith('mask_decoder/') for name in changed)
  made = json.loads((tmp_path / 'out' / 'robot-0.json').read_text())
  assert made['scores'] == {'BASE': [2.0, 2.0]} and len(made['losses']) == 1
  np.testing.assert_array_equal(scored[1][min(changed)], found[min(changed)])
  assert (tmp_path / 'out' / 'table.md').read_text() in first
