"""A checkpoint that was given for the wrong model is told apart by its names and shapes."""

import pytest

from ports.model import Model
from ports.weights import convert, lookalikes
from ports.weights.errors import Misfit
from ports.weights.sources import Download


def model(build, size, names='abcd'):
  shapes = {f'{name}/kernel': (size, 3) for name in names}

  def tree(states):
    return convert.convert(states['x.pt'], convert.moves(shapes), shapes)

  return Model(
    build=f'{build}:build', num_parameters=len(names) * size * 3, paper='us', convert=tree,
    original=Download('x.pt', 1, None, 'https://a/x.pt', 'MIT'),
  )


def odd(states):
  return {'w': next(iter(states['x.pt'].values()))}


MODELS = {
  'small': model('one', 2),
  'large': model('one', 9),
  'large_again': model('one', 9),
  'other': model('two', 9, 'abef'),
  'odd': Model(
    build='three:build', num_parameters=108, paper='us', convert=odd,
    original=Download('x.pt', 1, None, 'https://a/x.pt', 'MIT'),
  ),
  'plain': Model(build='four:build', num_parameters=108, paper='us'),
}


def hints(name, shapes, faults=('missing: x',)):
  misfit = Misfit(faults, ['x'])
  misfit.shapes = shapes
  return lookalikes.hints(name, misfit, MODELS)


@pytest.mark.parametrize('prefix', ['', 'module.', 'model.'])
def test_models_that_it_fits_are_named(prefix):
  shapes = {f'{prefix}{name}.weight': (3, 9) for name in 'abcd'}
  for given in ('small', 'other'):
    assert hints(given, shapes) == ['It fits large, large_again: give it for that model.']


def test_what_fits_none_is_named_after_what_it_shares_most_names_with():
  shapes = {f'{name}.weight': (3, 7) for name in 'abcdz'}
  (said,) = hints('other', shapes)
  assert said.startswith('Of other models its names are most like those of large')
  shapes = {f'{name}.weight': (3, 9) for name in 'abz'}
  assert hints('small', shapes)[0].endswith('(50%).')
  assert hints('small', {'z.weight': (3, 9)}) == []


def test_nothing_is_said_where_all_that_the_model_takes_is_there():
  shapes = {f'{name}.weight': (3, 9) for name in 'abcd'}
  for faults in (['unknown: y'], ['not finite: a.weight']):
    assert hints('small', shapes, faults) == []
