"""Tests of a row of the zoo: what it is made of, and rows that could not be loaded or built."""

import pytest

from ports.model import Model
from ports.weights.sources import Download, Packaged

PACKAGE = Packaged(
  'a.pt', 9, '0' * 64, 'pip', 'a==1', 'a.whl', '1' * 64, 'a/a.pt', 'MIT'
)
ORIGINAL = Download('b.pt', 9, None, 'https://a/b.pt', 'MIT')


def row(**changes):
  given = {'build': 'a.b:c', 'num_parameters': 3, 'paper': 'us'}
  return Model(**given | changes)


def files(**changes):
  return row(**{'original': ORIGINAL, 'convert': dict} | changes)


def test_a_row_of_three_fields_says_that_nothing_was_measured():
  model = row(build=lambda params, sha256: None)
  assert model.packages == () and model.original is None and model.convert is None
  assert model.parity == model.reproduced == 'not measured' and model.published == 'none'
  assert not model.settings and not model.options


def test_settings_and_options_are_kept_as_they_were_given():
  settings, options = {'size': 'b'}, {'zoom': ('a', 'b')}
  model = files(packages=(PACKAGE,), settings=settings, options=options)
  settings['size'] = 'c'
  options.clear()
  assert model.settings == {'size': 'b'} and model.options == {'zoom': ('a', 'b')}
  with pytest.raises(TypeError):
    model.options['zoom'] = ('b',)
  with pytest.raises(AttributeError):
    model.paper = 'they'


@pytest.mark.parametrize(('changes', 'message'), [
  ({'build': 'ports.toy'}, 'build is'),
  ({'build': 'toy:'}, 'build is'),
  ({'build': None}, 'build is'),
  ({'num_parameters': 0}, 'num_parameters is 0'),
  ({'paper': ''}, 'paper is'),
  ({'parity': 'a | b'}, 'parity is'),
  ({'published': 'a\nb'}, 'published is'),
  ({'original': ORIGINAL}, 'original and convert'),
  ({'convert': dict}, 'original and convert'),
  ({'packages': (PACKAGE,)}, 'packages stand in'),
  ({'original': ORIGINAL, 'convert': dict, 'packages': (PACKAGE, PACKAGE)}, 'same name: a.pt'),
  ({'options': {'zoom': ()}}, r'options\["zoom"\] is \(\)'),
  ({'options': {'zoom': ['a']}}, 'expected a tuple'),
  ({'options': {'zoom': 'ab'}}, 'expected a tuple'),
  ({'options': {'zoom': ('a', 'a')}}, 'different values'),
  ({'options': {'size': ('a',)}, 'settings': {'size': 'b'}}, '"size"'),
  ({'options': {'weights': ('a',)}}, '"weights"'),
])
def test_rows_that_cannot_be_are_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    row(**changes)
