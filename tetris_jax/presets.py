"""Named attacks. What a name means never changes: a change is a new name."""

from __future__ import annotations

import dataclasses
from typing import Any

from tetris_jax.types import AttackConfig

__all__ = ['PRESETS', 'at_depth', 'get', 'with_beams']

PRESETS = {
  # The robot user alone: the standard evaluation (arXiv 2102.06583).
  'baseline': AttackConfig(name='baseline', search='none'),
  # The published attack (arXiv 2402.06132) as its released optimiser sets it.
  'tetris': AttackConfig(name='tetris', search='local'),
  # Ours: forward passes over the whole legal region, at the cost of "tetris", a quarter of it, and
  # four times as much. One click a turn, for several at once find less; how many clicks spread and
  # how many follow seams was measured for each budget (BUILD.md).
  'strong_v1': AttackConfig(name='strong_v1', search='global', budget=64),
  'strong_v1_16': AttackConfig(name='strong_v1_16', search='global', budget=16, explore=1.0),
  'strong_v1_256': AttackConfig(
    name='strong_v1_256', search='global', budget=256, explore=0.24, follow=0.25
  ),
}


def get(name: str, **changes: Any) -> AttackConfig:
  """The preset of that name; `changes` replace fields that are no part of its meaning.

  Args:
    name: a key of `PRESETS`.
    **changes: of "num_clicks".

  Raises:
    ValueError: unknown preset, or a field that may not be changed.
  """
  if name not in PRESETS:
    raise ValueError(f'unknown preset {name!r}; known presets: {", ".join(sorted(PRESETS))}')
  if foreign := sorted(set(changes) - {'num_clicks'}):
    raise ValueError(
      f'{", ".join(foreign)} cannot be changed under the name {name!r}: numbers of one name must '
      'compare; make an AttackConfig of another name'
    )
  config = dataclasses.replace(PRESETS[name], **changes)
  if config.num_clicks < 1:
    raise ValueError(f'num_clicks is {config.num_clicks}; at least 1 is needed')
  return config


def at_depth(config: AttackConfig, depth: float) -> AttackConfig:
  """The same attack, clicking only deeper in the legal region, under a name that says so.

  Args:
    config: of a global search.
    depth: share of the region's largest inner distance; 0 changes nothing.

  Raises:
    ValueError: the search is not a global one, or the depth is not in [0, 1).
  """
  if not depth:
    return config
  if config.search != 'global':
    raise ValueError(f'{config.name} has no depth to keep to; choose a preset of a global search')
  if not 0 < depth < 1:
    raise ValueError(f'depth is {depth}; expected a share from 0 to below 1')
  return dataclasses.replace(config, name=f'{config.name}_depth_{depth:g}', depth=depth)


def with_beams(config: AttackConfig, num_beams: int) -> AttackConfig:
  """The same attack, carrying several trajectories of MIN and of MAX, under a name that says so.

  Args:
    config: of a global search.
    num_beams: how many; 1 changes nothing.

  Raises:
    ValueError: the search is not a global one, or there is less than one beam.
  """
  if num_beams == 1:
    return config
  if config.search != 'global':
    raise ValueError(f'{config.name} carries no beams; choose a preset of a global search')
  if num_beams < 1:
    raise ValueError(f'num_beams is {num_beams}; expected at least 1')
  return dataclasses.replace(
    config, name=f'{config.name}_beams_{num_beams}', num_beams=num_beams
  )
