"""Model, data set and preset of a program's settings, or a message that names the flag."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import jax

from experiments.lib.progress import STDERR, ticking
from experiments.lib.settings import Batches, Data, Depth, Model, Search, Seed, UsageError, Users
from ports import zoo
from ports.weights import cache, errors
from tetris_jax import click_priors, crowd, data, presets, types

__all__ = [
  'check_drawing',
  'completed',
  'indexing',
  'keep_compiled_programs',
  'open_dataset',
  'open_preset',
  'open_segmenter',
  'open_users',
  'searches',
  'seed_of',
]

_M = TypeVar('_M', bound=Model)

# Settings of a model that only some rows of the zoo have.
_CHOICES = (
  'zoom', 'disks', 'cascade', 'merge', 'mask_choice', 'feedback', 'precision', 'hq'
)


def check_drawing() -> None:
  """Raises UsageError where a package that draws figures is not installed."""
  for package, name in (('PIL', 'Pillow'), ('matplotlib', 'matplotlib')):
    if importlib.util.find_spec(package) is None:
      raise UsageError(f"figures need {name}: pip install 'tetris_jax[demo]'")


def indexing(limit: int = 0) -> data.Indexing:
  """How data sets are listed: what masks hold is kept in the cache, and progress told.

  Args:
    limit: only the first so many instances are wanted; 0 for all.
  """
  return data.Indexing(limit, cache.cache_dir() / 'index', STDERR.say)


def open_dataset(settings: Data) -> data.Dataset:
  """The instances that are asked for; raises UsageError where there are none to be had."""
  options: dict[str, Any] = {}
  if settings.objects != 'binary':
    options['objects'] = settings.objects
  if settings.ignore_id is not None:
    options['ignore_id'] = settings.ignore_id
  try:
    options.update(data.parse_options(settings.dataset, settings.data_options))
    dataset = data.open_dataset(
      settings.dataset, settings.data_dir, indexing=indexing(settings.limit), **options
    )
  except data.DataError as error:
    raise UsageError(str(error)) from error
  except ValueError as error:
    raise UsageError(f'--objects, --ignore_id, --data_options: {error}') from error
  for note in dataset.notes:
    STDERR.say(f'note: {note}')
  if not len(dataset):
    raise UsageError(
      f'--dataset={settings.dataset}, --data_dir={settings.data_dir} has no instance: there is '
      'nothing to measure'
    )
  return dataset


def open_preset(name: str, num_clicks: int, search: Depth) -> presets.AttackConfig:
  """A named attack.

  Args:
    name: as --preset has it.
    num_clicks: rounds.
    search: what else is asked of it.

  Raises:
    UsageError: an unknown name, or one that has nothing of what is asked for.
  """
  try:
    config = presets.get(name, num_clicks=num_clicks)
  except ValueError as error:
    raise UsageError(f'--preset={name}: {error}') from error
  try:
    config = presets.at_depth(config, search.depth)
  except ValueError as error:
    raise UsageError(f'--depth={search.depth}: {error}') from error
  beams = search.num_beams if isinstance(search, Search) else 1
  try:
    return presets.with_beams(config, beams)
  except ValueError as error:
    raise UsageError(f'--num_beams={beams}: {error}') from error


def searches(config: presets.AttackConfig) -> bool:
  """Whether an attack moves clicks at all."""
  return config.search is not None


def open_users(settings: Users) -> tuple[crowd.Crowd | None, data.ClickMaps | None]:
  """Who clicks beside an attack, and the maps that they follow; None where there are none.

  Raises:
    UsageError: a prior that is neither known nor a folder of maps.
  """
  if not settings.users:
    return None, None
  named = settings.prior
  folder = os.path.expanduser(named)
  try:
    if named != click_priors.MAPS and not os.path.isdir(folder):
      return crowd.Crowd(named, settings.users), None
  except ValueError as error:
    why = f'{error}, or a folder of click maps'
    raise UsageError(f'--prior={named}: {why}') from error
  try:
    return crowd.Crowd(click_priors.MAPS, settings.users), data.ClickMaps(folder)
  except data.DataError as error:
    raise UsageError(f'--prior={named}: {error}') from error


def seed_of(
  settings: Seed, configs: Sequence[presets.AttackConfig], users: crowd.Crowd | None = None
) -> int:
  """The seed of the draws, 0 by default; raises UsageError for a seed where nothing is drawn."""
  drawing = [config.name for config in configs if config.search is not None and config.search.draws]
  if settings.seed is not None and not drawing and users is None:
    names = ', '.join(config.name for config in configs)
    raise UsageError(f'--seed={settings.seed}: {names} draws nothing at random; leave it out')
  return settings.seed or 0


def _options(name: str) -> Mapping[str, tuple[str, ...]]:
  """What may be chosen of the model; raises UsageError for an unknown model."""
  if name not in zoo.MODELS:
    known = ', '.join(sorted(zoo.MODELS))
    raise UsageError(f'--model={name} is unknown; known models: {known}')
  return zoo.options(name)


def completed(settings: _M, searched: bool) -> _M:
  """The settings with what was left open, so that `config.json` says it.

  Args:
    settings: of a program with a model.
    searched: whether clicks are moved, or evaluated where they lie.

  Raises:
    UsageError: unknown model.
  """
  changes: dict[str, Any] = {}
  if isinstance(settings, Batches) and not settings.batch_size:
    changes['batch_size'] = 1 if jax.default_backend() == 'cpu' else 8
  options = _options(settings.model)
  if 'zoom' in options and settings.zoom is None:
    changes['zoom'] = options['zoom'][0]
  if 'disks' in options and settings.disks is None:
    # The standard evaluation is defined with hard disks; through them no gradient passes.
    changes['disks'] = 'soft' if searched else 'hard'
  return dataclasses.replace(settings, **changes)


def open_segmenter(settings: Model) -> types.Segmenter:
  """The model that is asked for; raises UsageError where its weights cannot be had."""
  options = _options(settings.model)
  chosen = {name: getattr(settings, name) for name in _CHOICES}
  chosen = {name: value for name, value in chosen.items() if value is not None}
  for name, value in chosen.items():
    if value not in options.get(name, ()):
      known = f'known: {", ".join(options[name])}' if name in options else 'it has no such choice'
      raise UsageError(f'--{name}={value} with --model={settings.model}: {known}')
  try:
    with ticking(f'opening the weights of {settings.model}', after=1.0):
      return zoo.segmenter(settings.model, weights=settings.weights, **chosen)
  except (errors.CheckpointError, OSError) as error:
    flag = f'--weights={settings.weights}' if settings.weights else f'--model={settings.model}'
    raise UsageError(f'{flag}: {error}') from error


def keep_compiled_programs() -> None:
  """Lets JAX keep compiled programs between runs, unless the user has chosen a folder for them."""
  if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
    jax.config.update('jax_compilation_cache_dir', str(zoo.cache_dir() / 'xla'))
