"""Weights are found under the entries and prefixes of a training, by the names they should have."""

import numpy as np
import pytest

from ports.weights import layouts
from ports.weights.errors import CheckpointError

WANTED = ('a.weight', 'a.bias', 'b.0.weight')
SET = {name: np.full(2, i, np.float32) for i, name in enumerate(WANTED)}


def same(found, wanted):
  return found.keys() == wanted.keys() and all(
    np.array_equal(found[name], array) for name, array in wanted.items()
  )


def under(prefix, factor=1):
  return {f'{prefix}{name}': factor * array for name, array in SET.items()}


@pytest.mark.parametrize(('prefix', 'said'), [
  ('module.', 'dropped "module." from the names in x.pt'),
  ('_orig_mod.', 'dropped "_orig_mod." from the names in x.pt'),
  ('module._orig_mod.', 'dropped "module.", "_orig_mod." from the names in x.pt'),
  ('state_dict.', 'took the tensors under "state_dict" of x.pt'),
  ('net.', 'took the tensors under "net" of x.pt'),
  ('0.', 'took the tensors under "0" of x.pt'),
  ('model.module.', 'took the tensors under "model" of x.pt, dropped "module." from their names'),
  ('state_dict.model.sam.', 'took the tensors under "state_dict.model.sam" of x.pt'),
  ('module.model.', 'took the tensors under "model" of x.pt, dropped "module." from their names'),
])
def test_what_is_around_every_name_is_dropped_and_said(prefix, said):
  found, sentence = layouts.unwrap(under(prefix), WANTED, 'x.pt')
  assert same(found, SET) and sentence == said


def test_names_that_are_the_networks_own_stay():
  found, said = layouts.unwrap(SET, WANTED, 'x.pt')
  assert same(found, SET) and said == ''
  more = SET | {'head.weight': SET['a.weight']}
  found, said = layouts.unwrap(more, WANTED, 'x.pt')
  assert same(found, more) and said == ''
  # the network itself has a part of that name
  own = {'module.weight': SET['a.weight']}
  found, said = layouts.unwrap(own, own, 'x.pt')
  assert same(found, own) and said == ''
  other = {'c.weight': SET['a.weight']}
  found, said = layouts.unwrap(other, WANTED, 'x.pt')
  assert same(found, other) and said == ''


def test_a_wrapper_around_a_part_of_the_network():
  state = {n.replace('a.', 'a.module.'): array for n, array in SET.items()}
  found, said = layouts.unwrap(state, WANTED, 'x.pt')
  assert same(found, SET) and said == 'dropped "module." from the names in x.pt'


def test_what_lies_beside_the_weights_is_left_out_by_name():
  beside = {
    'state_dict.criterion.weight': SET['a.bias'], 'optimizer.state.0.exp_avg': SET['a.bias'],
    'optimizer.state.1.exp_avg': SET['a.bias'],
  }
  found, said = layouts.unwrap(under('state_dict.model.') | beside, WANTED, 'x.pt')
  assert same(found, SET)
  assert said.endswith(', left out "optimizer" (2 tensors), "state_dict.criterion" (1 tensors)')
  # torch's AveragedModel counts its averages beside what it wraps
  found, said = layouts.unwrap(under('module.') | {'n_averaged': SET['a.bias']}, WANTED, 'x.pt')
  assert same(found, SET) and said.endswith('left out "n_averaged" (1 tensors)')
  # within the entry all names stay, so that the strict mapping sees them
  found, _ = layouts.unwrap(under('model.') | {'model.c': SET['a.bias']}, WANTED, 'x.pt')
  assert set(found) == {*WANTED, 'c'}


@pytest.mark.parametrize(('first', 'second'), [
  ('model.', 'ema.'), ('model.', 'model_ema.module.'), ('state_dict.', 'ema_state_dict.'),
  ('state_dict.', 'state_dict_ema.'), ('model.', 'teacher.'), ('net.', 'swa2.'),
  ('state_dict.model.', 'state_dict.ema_model.'), ('model.module.', 'ema.'), ('', 'ema.'),
  ('model.', 'model.ema.'),
])
def test_of_weights_and_their_average_the_weights_are_taken_and_the_average_is_named(first, second):
  for state in (under(first) | under(second, 2), under(second, 2) | under(first)):
    found, said = layouts.unwrap(state, WANTED, 'x.pt')
    assert same(found, SET)
    assert f'left out "{second.replace("module.", "").removesuffix(".")}" (3 tensors)' in said


@pytest.mark.parametrize(('first', 'second'), [
  ('a.', 'b.'), ('model.', 'best.'), ('student.', 'teacher.'), ('', 'module.'), ('', 'net.'),
])
def test_two_sets_are_refused_by_their_names_unless_they_are_the_same(first, second):
  with pytest.raises(CheckpointError, match=r'^x\.pt: several entries') as error:
    layouts.unwrap(under(first) | under(second, 2), WANTED, 'x.pt')
  for name in (first, second):
    assert f'"{name.removesuffix(".") or "(no entry)"}"' in str(error.value)
  found, _ = layouts.unwrap(under(first) | under(second), WANTED, 'x.pt')
  assert same(found, SET)


def test_a_set_that_lacks_something_is_still_found():
  state = {n: a for n, a in under('model.module.').items() if n != 'model.module.a.bias'}
  found, said = layouts.unwrap(state, WANTED, 'x.pt')
  assert set(found) == set(WANTED) - {'a.bias'} and said


def test_long_names_take_no_time():
  state = {'.'.join(['x'] * 400 + [str(i)]): SET['a.bias'] for i in range(2000)}
  found, said = layouts.unwrap(state, WANTED, 'x.pt')
  assert same(found, state) and said == ''


def test_an_entry_is_taken_where_all_lies_in_it():
  assert same(layouts.entry(under('state_dict.'), 'state_dict'), SET)
  for state in (SET, under('state_dict.') | SET, under('state_dict.') | {'best': SET['a.bias']}):
    assert same(layouts.entry(state, 'state_dict'), state)
