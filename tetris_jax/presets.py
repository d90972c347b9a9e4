"""Named attacks. What a name means never changes: a change is a new name."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from tetris_jax.search.base import Search
from tetris_jax.search.local import Local
from tetris_jax.search.wide import Wide

__all__ = [
  'PRESETS',
  'AttackConfig',
  'at_depth',
  'derive',
  'describe',
  'get',
  'of',
  'register',
  'with_beams',
]


@dataclasses.dataclass(frozen=True)
class AttackConfig:
  """An attack; `PRESETS` holds the ones whose numbers compare.

  Attributes:
    name: written beside every number that it made.
    search: how a click is found, such as `Local()` or `Wide()`; None for the robot user alone.
    num_clicks: rounds of a trajectory.
  """

  name: str
  search: Search | None = None
  num_clicks: int = 10

  def __post_init__(self) -> None:
    """Raises ValueError for settings out of range, TypeError for what is no search."""
    if not self.name:
      raise ValueError('name is empty; numbers go by it')
    whole = isinstance(self.num_clicks, numbers.Integral) and not isinstance(self.num_clicks, bool)
    if not whole or self.num_clicks < 1:
      raise ValueError(f'num_clicks is {self.num_clicks}; expected a whole number of at least 1')
    if self.search is None:
      return
    if isinstance(self.search, type) or not isinstance(self.search, Search):
      raise TypeError(f'search is {self.search!r}; expected a Search such as Local() or Wide()')
    if not dataclasses.is_dataclass(self.search):
      raise TypeError(f'search is {self.search!r}; its class has to be a frozen dataclass')
    hash(self.search)  # As static as a program wants it; raises TypeError.
    self.search.check()


_PRESETS = {
  # The robot user alone: the standard evaluation (arXiv 2102.06583).
  'baseline': AttackConfig('baseline'),
  # The published attack (arXiv 2402.06132) as its released optimiser sets it.
  'tetris': AttackConfig('tetris', Local()),
  # Ours: forward passes over the whole legal region, at the cost of "tetris", a quarter of it, and
  # four times as much. One click a turn, for several at once find less; how many clicks spread and
  # how many follow seams was measured for each budget (docs/measurements.md).
  'strong_v1': AttackConfig('strong_v1', Wide(budget=64)),
  'strong_v1_16': AttackConfig('strong_v1_16', Wide(budget=16, explore=1.0)),
  'strong_v1_256': AttackConfig('strong_v1_256', Wide(budget=256, explore=0.24, follow=0.25)),
}

PRESETS: Mapping[str, AttackConfig] = MappingProxyType(_PRESETS)
"""The named attacks, one's own that were registered among them."""


def register(config: AttackConfig) -> None:
  """Makes an attack of one's own known by its name.

  Raises:
    ValueError: the name means another attack.
  """
  if _PRESETS.setdefault(config.name, config) != config:
    raise ValueError(f'{config.name!r} is the name of another attack; choose a new one')


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
  return dataclasses.replace(PRESETS[name], **changes)


def derive(name: str, like: AttackConfig | str, **changes: Any) -> AttackConfig:
  """An attack of one's own that differs from another in some settings.

  Args:
    name: its own; numbers go by it.
    like: the other, or the name of a preset.
    **changes: of "num_clicks", and of settings of its search, such as `budget=32`.

  Raises:
    ValueError: an unknown preset, the name of one, or a setting that its search does not have.
  """
  base = get(like) if isinstance(like, str) else like
  if name in PRESETS:
    raise ValueError(f'{name!r} is the name of a preset; choose a new one')
  num_clicks = changes.pop('num_clicks', base.num_clicks)
  search: Any = base.search
  known = [field.name for field in dataclasses.fields(search)] if search is not None else []
  if foreign := sorted(set(changes) - set(known)):
    raise ValueError(
      f'{base.name} has no setting {", ".join(foreign)}; known: {", ".join(["num_clicks", *known])}'
    )
  if changes:
    search = dataclasses.replace(search, **changes)
  return AttackConfig(name, search, num_clicks)


def of(config: AttackConfig | Search | str, *, num_clicks: int | None = None) -> AttackConfig:
  """The attack that a caller means.

  Args:
    config: an attack, the name of a preset, or a search, which is taken with 10 clicks.
    num_clicks: in place of the attack's own.

  Raises:
    ValueError: an unknown preset, or less than one click.
    TypeError: something else.
  """
  if isinstance(config, str):
    config = get(config)
  elif isinstance(config, Search) and not isinstance(config, type):
    config = AttackConfig(type(config).__name__.lower(), config)
  if not isinstance(config, AttackConfig):
    found = repr(config) if isinstance(config, type) else f'a {type(config).__name__}'
    raise TypeError(
      f'config is {found}; expected a preset such as "tetris", an AttackConfig or a search such as '
      'Local()'
    )
  return config if num_clicks is None else dataclasses.replace(config, num_clicks=num_clicks)


def describe(config: AttackConfig) -> dict[str, Any]:
  """The attack as JSON-able settings: name, num_clicks, and search with its kind, or None."""
  search: Any = config.search
  settings = None
  if search is not None:
    settings = {'kind': type(search).__name__.lower(), **dataclasses.asdict(search)}
  return {'name': config.name, 'num_clicks': config.num_clicks, 'search': settings}


def _changed(config: AttackConfig, suffix: str, what: str, **changes: Any) -> AttackConfig:
  """The attack with other settings of its search, under a name that says so."""
  search: Any = config.search
  known = {field.name for field in dataclasses.fields(search)} if search is not None else set()
  if not set(changes) <= known:
    raise ValueError(f'{config.name} {what}; choose a preset of a global search')
  return dataclasses.replace(
    config, name=f'{config.name}_{suffix}', search=dataclasses.replace(search, **changes)
  )


def at_depth(config: AttackConfig, depth: float) -> AttackConfig:
  """The same attack, clicking only deeper in the legal region, under a name that says so.

  Args:
    config: of a search with a `depth`, as the global one.
    depth: share of the region's largest inner distance; 0 changes nothing.

  Raises:
    ValueError: the search has none, or the depth is not in [0, 1).
  """
  if not depth:
    return config
  return _changed(config, f'depth_{depth:g}', 'has no depth to keep to', depth=depth)


def with_beams(config: AttackConfig, num_beams: int) -> AttackConfig:
  """The same attack, carrying several trajectories of MIN and of MAX, under a name that says so.

  Args:
    config: of a search with `num_beams`, as the global one.
    num_beams: how many; 1 changes nothing.

  Raises:
    ValueError: the search carries none, or there is less than one beam.
  """
  if num_beams == 1:
    return config
  return _changed(config, f'beams_{num_beams}', 'carries no beams', num_beams=num_beams)
