"""JSON against types: what fits, and that a misfit is named by its place."""

from typing import Literal, TypedDict

import pytest

from tetris_jax.runs import typed


class Inner(TypedDict):
  x: float


class Outer(Inner, total=False):
  name: str
  marks: list[bool]
  by_key: dict[str, Inner]
  kind: Literal['a', 'b']
  maybe: int | None
  nested: list[list[float]]


def test_keys_and_which_are_required():
  assert list(typed.keys(Outer))[:2] == ['x', 'name']
  assert typed.required(Outer) == {'x'}
  assert typed.required(Inner) == {'x'}


@pytest.mark.parametrize(
  'value',
  [
    {'x': 1.5},
    {'x': 1, 'name': '', 'marks': [], 'by_key': {}, 'kind': 'b', 'maybe': None, 'nested': [[]]},
    {'x': 0.0, 'marks': [True], 'by_key': {'k': {'x': 2}}, 'maybe': 3, 'nested': [[1, 2.5]]},
  ],
)
def test_what_fits(value):
  assert list(typed.mismatches(value, Outer)) == []


@pytest.mark.parametrize(
  ('value', 'said'),
  [
    (3, 'it is 3, expected an object'),
    ({}, 'x is missing'),
    ({'x': True}, 'x is True, expected a finite number'),
    ({'x': float('nan')}, 'x is nan, expected a finite number'),
    ({'x': float('inf')}, 'x is inf, expected a finite number'),
    ({'x': 1, 'y': 2}, 'y is unknown'),
    ({'x': 1, 'name': None}, 'name is None, expected a text'),
    ({'x': 1, 'marks': [True, 1]}, 'marks[1] is 1, expected true or false'),
    ({'x': 1, 'marks': {}}, 'marks is {}, expected a list'),
    ({'x': 1, 'by_key': {'k': {}}}, 'by_key.k.x is missing'),
    ({'x': 1, 'by_key': []}, 'by_key is [], expected an object'),
    ({'x': 1, 'kind': 'c'}, "kind is 'c', expected a or b"),
    ({'x': 1, 'kind': ['a']}, "kind is ['a'], expected a or b"),
    ({'x': 1, 'maybe': 1.0}, 'maybe is 1.0, expected a whole number'),
    ({'x': 1, 'nested': [[0], [0, 'z']]}, "nested[1][1] is 'z', expected a finite number"),
    ({'x': 1, 'name': list(range(99))}, 'name is [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11..., '
     'expected a text'),
  ],
)  # fmt: skip
def test_what_does_not_fit_is_named(value, said):
  assert list(typed.mismatches(value, Outer)) == [said]


def test_every_misfit_is_told_in_order():
  assert list(typed.mismatches({'x': '', 'maybe': 'z'}, Outer, 'at')) == [
    "at.x is '', expected a finite number", "at.maybe is 'z', expected a whole number"
  ]  # fmt: skip
