"""Segmenters from modules of Flax and Equinox, each imported only where it is asked for.

A module's parameters become `Segmenter.params`, so that they are traced and can be exchanged by
`with_params`; what is left of it is static. Two segmenters of one module are equal, so a jitted
program is not compiled again for the second.

The parts of a segmenter are methods of the module, by name, or functions whose first argument the
module is: `encode(image, size)`, `decode(context, clicks)`, and where the module has them
`init(features)`, `prepare(features, state)`, `frame(context, clicks, size)` and
`predicted_iou(state)`. Without `init` the model remembers nothing between rounds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from tetris_jax.types import ModelInfo, Segmenter

__all__ = ['from_equinox', 'from_linen', 'from_nnx']

_NEEDED = ('encode', 'decode')
_OPTIONAL = ('init', 'prepare', 'frame')


@dataclasses.dataclass(frozen=True)
class _Part:
  """A method of a module that is put together from parameters and `static` at every call."""

  call: Callable[..., Any]
  static: Any
  method: Callable[..., Any]

  def __call__(self, params: Any, *given: Any) -> Any:
    return self.call(self.static, params, self.method, *given)


def _remembers_nothing(module: Any, features: Any) -> tuple[()]:
  del module, features
  return ()


def _method(module: Any, name: str, parts: dict[str, Any]) -> Callable[..., Any] | None:
  """The function of a part, that was given or is a method of the module; None if there is none."""
  if name in parts:
    return parts[name]
  # Of its class: linen's modules and others have an `init` of their own, which is another thing.
  for kind in type(module).__mro__:
    if name in vars(kind):
      ours = not kind.__module__.startswith(('flax.', 'equinox.'))
      return vars(kind)[name] if ours else None
  return None


def _segmenter(
  module: Any,
  static: Any,
  params: Any,
  info: ModelInfo,
  call: Callable[..., Any],
  parts: dict[str, Any],
) -> Segmenter:
  known = (*_NEEDED, *_OPTIONAL, 'predicted_iou')
  if foreign := sorted(set(parts) - set(known)):
    raise TypeError(f'{", ".join(foreign)} is no part of a segmenter; known: {", ".join(known)}')
  made = {}
  for name in (*_NEEDED, *_OPTIONAL):
    method = _method(module, name, parts)
    if method is None and name in _NEEDED:
      kind = type(module).__name__
      raise TypeError(f'{kind} has no method {name}; add it, or give {name}=a function of {kind}')
    if method is None and name == 'init':
      method = _remembers_nothing
    if method is not None:
      made[name] = _Part(call, static, method)
  if (predicted := parts.get('predicted_iou')) is not None:
    made['predicted_iou'] = predicted
  return Segmenter(params=params, info=info, **made)


def _call_linen(module: Any, variables: Any, method: Callable[..., Any], *given: Any) -> Any:
  return module.apply(variables, *given, method=method)


def from_linen(
  module: Any, variables: Any, info: ModelInfo, **parts: Callable[..., Any]
) -> Segmenter:
  """A segmenter of a `flax.linen` module.

  Args:
    module: unbound.
    variables: of `module.init`: {"params": ...}, and other collections that it only reads.
    info: name, threshold and the like.
    **parts: functions of the module in place of its methods; `predicted_iou` is one of the state
      alone.

  Raises:
    TypeError: `encode` or `decode` is missing, or something is no part of a segmenter.
  """
  return _segmenter(module, module, variables, info, _call_linen, parts)


def _call_nnx(graph: Any, state: Any, method: Callable[..., Any], *given: Any) -> Any:
  from flax import nnx

  return method(nnx.merge(graph, state), *given)


def from_nnx(module: Any, info: ModelInfo, **parts: Callable[..., Any]) -> Segmenter:
  """A segmenter of a `flax.nnx` module, in the mode in which it is (see `module.eval()`).

  `segmenter.with_params(nnx.state(module))` is the same with the module's present parameters.

  Args:
    module: whose state is split from it.
    info: name, threshold and the like.
    **parts: as for `from_linen`.

  Raises:
    TypeError: `encode` or `decode` is missing, or something is no part of a segmenter.
  """
  from flax import nnx

  graph, state = nnx.split(module)
  return _segmenter(module, graph, state, info, _call_nnx, parts)


def _call_equinox(static: Any, params: Any, method: Callable[..., Any], *given: Any) -> Any:
  import equinox

  return method(equinox.combine(params, static), *given)


def from_equinox(module: Any, info: ModelInfo, **parts: Callable[..., Any]) -> Segmenter:
  """A segmenter of an `equinox.Module`, whose arrays are its parameters.

  Args:
    module: in inference mode, if it knows one.
    info: name, threshold and the like.
    **parts: as for `from_linen`.

  Raises:
    TypeError: `encode` or `decode` is missing, or something is no part of a segmenter.
  """
  import equinox

  params, static = equinox.partition(module, equinox.is_array)
  return _segmenter(module, static, params, info, _call_equinox, parts)
