"""Click priors that are traced with the model: how likely a user clicks each pixel of an error.

A prior is a function of a `View`; what it says of pixels outside of the error region does not
matter. `register` adds one of one's own. `tetris_jax.scores.priors` weighs positions that were
evaluated already, on the host.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

__all__ = ['MAPS', 'Prior', 'View', 'get', 'known', 'register', 'sigma']

MAPS = 'maps'
"""The prior that is given as a map for each instance."""

_GAUSSIAN = 0.05


class View(NamedTuple):
  """What a user sees of one instance before a click.

  Attributes:
    image: (height, width, 3) float32 in [0, 1], 0 in the padding.
    region: (height, width) bool, the errors among which the user clicks.
    distance: (height, width) float32 pixels, from each of them to the nearest pixel that is none.
    robot: (2,) float32, the robot user's click there.
    size: (2,) int32, the true (height, width) inside of the canvas.
    map: (height, width) float32, the instance's map of a file; None where there is none.
  """

  image: jax.Array
  region: jax.Array
  distance: jax.Array
  robot: jax.Array
  size: jax.Array
  map: jax.Array | None


Prior = Callable[[View], jax.Array]
"""View -> (height, width) float32 of at least 0, in proportion to how likely each pixel is."""


def sigma(prior: str) -> float:
  """Of the Gaussian around the robot user's click, as a share of the diagonal; else infinite.

  Raises:
    ValueError: a name that is none of a prior known to every program.
  """
  if prior in ('uniform', 'distance'):
    return math.inf
  kind, _, share = prior.partition('_')
  try:
    found = float(share) if kind == 'gaussian' else math.nan
  except ValueError:
    found = math.nan
  if not 0 < found < math.inf:
    raise ValueError(f'unknown prior {prior!r}; known: uniform, distance, gaussian_0.05 and alike')
  return found


def _uniform(view: View) -> jax.Array:
  return jnp.ones(view.region.shape, jnp.float32)


def _distance(view: View) -> jax.Array:
  """The best prior without training (RClicks, arXiv 2410.11722)."""
  return view.distance


def _gaussian(share: float, view: View) -> jax.Array:
  y, x = (
    lax.broadcasted_iota(jnp.float32, view.region.shape, axis) - view.robot[axis]
    for axis in (0, 1)
  )
  reach = share * jnp.sqrt(jnp.sum(jnp.square(view.size.astype(jnp.float32))))
  return jnp.exp(-(jnp.square(y) + jnp.square(x)) / (2 * jnp.square(reach)))


def _of_a_map(view: View) -> jax.Array:
  if view.map is None:
    raise ValueError(f'the prior {MAPS!r} needs click_maps')
  return view.map


_PRIORS: dict[str, Prior] = {'distance': _distance, 'uniform': _uniform, MAPS: _of_a_map}


def known() -> list[str]:
  """Names of all priors, `gaussian_S` for every share S of the diagonal among them."""
  return [*(name for name in _PRIORS if name != MAPS), f'gaussian_{_GAUSSIAN:g}']


def register(name: str, prior: Prior) -> None:
  """Makes a prior of one's own known by its name.

  Raises:
    ValueError: the name means another prior.
  """
  if name.startswith('gaussian') or _PRIORS.setdefault(name, prior) is not prior:
    raise ValueError(f'{name!r} is the name of another prior; choose a new one')


def get(name: str) -> Prior:
  """The prior of that name.

  Raises:
    ValueError: unknown.
  """
  if name in _PRIORS:
    return _PRIORS[name]
  try:
    return functools.partial(_gaussian, sigma(name))
  except ValueError as error:
    raise ValueError(f'unknown prior {name!r}; known: {", ".join(known())} and alike') from error
