"""Flax modules as flat trees of parameters: `{"a/b/kernel": array}`, and back.

A module is made once, as shapes without arrays; what crosses the boundary are its parameters by
name. So no Flax object is kept by a caller, and none is an argument of a compiled program.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar

import jax
from flax import nnx

from tetris_jax.types import Params

__all__ = ['Definition', 'Module', 'bind', 'define']

Module = TypeVar('Module', bound=nnx.Module)


class Definition(NamedTuple, Generic[Module]):
  """A module without its arrays.

  Attributes:
    graph: of the module, as `nnx.split` gives it.
    structure: of the state's tree.
    shapes: of the leaves by name, in the order in which the tree is flattened.
  """

  graph: Any
  structure: Any
  shapes: Mapping[str, tuple[int, ...]]


def define(make: Callable[[nnx.Rngs], Module], prefix: str = '') -> Definition[Module]:
  """The definition of what `make` makes; no array is formed.

  Args:
    make: random numbers -> module.
    prefix: of every name.
  """
  graph, state = nnx.split(nnx.eval_shape(lambda: make(nnx.Rngs(0))))
  leaves, structure = jax.tree_util.tree_flatten_with_path(state)
  shapes = {}
  for path, leaf in leaves:
    keys = [str(part.key) for part in path if isinstance(part, jax.tree_util.DictKey)]
    shapes[prefix + '/'.join(keys)] = tuple(leaf.shape)
  return Definition(graph, structure, MappingProxyType(shapes))


def bind(definition: Definition[Module], params: Params) -> Module:
  """The module with these parameters; for use inside one trace.

  Args:
    definition: of the module.
    params: flat tree that holds at least the leaves of `definition.shapes`.
  """
  return nnx.merge(
    definition.graph, definition.structure.unflatten([params[name] for name in definition.shapes])
  )
