"""Which model of the zoo a checkpoint is of that did not fit the one it was given for."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ports.model import Model
from ports.weights.errors import CheckpointError, Misfit
from ports.weights.loading import demands, fitted

__all__ = ['hints']

# A file is tried on models of about its size: within this factor, both ways.
_SIZES = 1.5
# Share of a model's names from which on a file is said to resemble it.
_RESEMBLES = 0.25
_SHOWN = 3
# Parts of a name.
_DEEPEST = 12

_Shapes = Mapping[str, tuple[int, ...]]


def _wanted(model: Model) -> frozenset[str]:
  """Names that a model takes."""
  misfit = demands(model)
  return frozenset() if misfit is None else misfit.wanted


def _fits(model: Model, shapes: _Shapes) -> bool:
  state = {name: np.broadcast_to(np.float32(1), shape) for name, shape in shapes.items()}
  try:
    fitted(model, state, '')
  except CheckpointError:
    return False
  return True


def _candidates(name: str, shapes: _Shapes, models: Mapping[str, Model]) -> list[str]:
  """Models of about the file's size, and the smallest of every family."""
  size = sum(math.prod(shape) for shape in shapes.values())
  smallest: dict[str, str] = {}
  for other in sorted(models, key=lambda key: (models[key].num_parameters, key)):
    if models[other].convert is not None:
      smallest.setdefault(str(models[other].build), other)
  return [
    other
    for other, model in models.items()
    if other != name
    and model.convert is not None
    and (other in smallest.values() or 1 / _SIZES < model.num_parameters / (size or 1) < _SIZES)
  ]


def hints(name: str, misfit: Misfit, models: Mapping[str, Model]) -> list[str]:
  """A sentence on the models that a file fits, or else on the one that it shares most names with.

  Args:
    name: of the model that it did not fit.
    misfit: what was found.
    models: of the zoo.

  Returns:
    The sentence; none where it resembles no other, or where all that the model takes is there.
  """
  told = any(fault.startswith(('missing: ', 'misshapen: ')) for fault in misfit.faults)
  if not told or not misfit.shapes:
    return []
  shapes = misfit.shapes
  alike, best, most = [], '', _RESEMBLES
  ends = {'.'.join(n.split('.')[-i:]) for n in shapes for i in range(1, _DEEPEST)}
  for other in _candidates(name, shapes, models):
    wanted = _wanted(models[other])
    share = len(wanted & ends) / max(len(wanted), 1)
    if share == 1 and _fits(models[other], shapes):
      alike.append(other)
    if share >= most:
      best, most = other, share
  if alike:
    more = f' and {len(alike) - _SHOWN} more' if len(alike) > _SHOWN else ''
    return [f'It fits {", ".join(alike[:_SHOWN])}{more}: give it for that model.']
  return [f'Of other models its names are most like those of {best} ({most:.0%}).'] if best else []
