"""What to expect of a click: quantiles of IoU under click priors, and extremes by plausibility.

Everything here is NumPy on the host, from IoUs that were evaluated at many legal positions, as
`tetris_jax.truth` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = [
  'DEPTHS',
  'FEWEST',
  'PRIORS',
  'QUANTILES',
  'levels',
  'mean_of_rows',
  'outlook',
  'quantiles',
  'weights',
]

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
DEPTHS = (0.0, 0.05, 0.1, 0.3)
"""Shares of the largest inner distance below which a legal pixel is thought implausible."""

FEWEST = 8
"""Positions from which on the extremes of a level are told."""

PRIORS = ('uniform', 'distance', 'gaussian_0.02', 'gaussian_0.05', 'gaussian_0.1')
"""Click priors: every legal pixel alike; as its distance from the region's border, the best prior
without training (arXiv 2410.11722); Gaussian around the robot user's click, sigma a share of the
image diagonal."""


def weights(
  prior: str, yx: np.ndarray, depth: np.ndarray, robot: np.ndarray, diagonal: float
) -> np.ndarray:
  """Probability of each position under a prior, adding up to 1.

  Args:
    prior: of `PRIORS`, or "gaussian_S" with another share S of the diagonal.
    yx: (n, 2) legal positions in image pixels, evenly spread.
    depth: (n,) of each in the legal region, see `tetris_jax.geometry.region.inner_depth`.
    robot: (2,) the robot user's click.
    diagonal: of the image, in pixels.

  Returns:
    (n,) float64.

  Raises:
    ValueError: unknown prior, or no position.
  """
  if not len(yx):
    raise ValueError('no position to weigh')
  if prior == 'uniform':
    weight = np.ones(len(yx))
  elif prior == 'distance':
    weight = np.asarray(depth, float)
  elif prior.startswith('gaussian_'):
    sigma = float(prior.removeprefix('gaussian_')) * diagonal
    squared = np.sum((yx - robot) ** 2, axis=1, dtype=float)
    # The nearest position keeps weight 1, however far it is.
    weight = np.exp(-(squared - squared.min()) / (2 * sigma**2))
  else:
    raise ValueError(f'unknown prior {prior!r}; known: {", ".join(PRIORS)}')
  total = weight.sum()
  return weight / total if total > 0 else np.full(len(yx), 1 / len(yx))


def quantiles(iou: np.ndarray, weight: np.ndarray) -> dict[str, float]:
  """Mean and `QUANTILES` of IoU under weights: the smallest value that reaches the share.

  Args:
    iou: (n,) in [0, 1].
    weight: (n,) adding up to 1.

  Returns:
    By name: "mean", "q01", "q05" and so on.
  """
  order = np.argsort(iou, kind='stable')
  share = np.cumsum(weight[order])
  found = {'mean': float(np.sum(iou * weight))}
  for q in QUANTILES:
    # Sums of weights end a little below 1.
    index = min(int(np.searchsorted(share, q * share[-1] * (1 - 1e-12))), len(iou) - 1)
    found[f'q{round(100 * q):02d}'] = float(iou[order][index])
  return found


def levels(
  iou: np.ndarray, depth: np.ndarray, *, searched: float = 0.0
) -> list[dict[str, Any]]:
  """Lowest and highest IoU among the positions deeper than each of `DEPTHS`.

  What few positions show is no extreme: a level with fewer than `FEWEST` has none.

  Args:
    iou: (n,) in [0, 1].
    depth: (n,) of each in the legal region, see `tetris_jax.geometry.region.inner_depth`.
    searched: the depth below which no position was chosen. It is the first level, of all positions.

  Returns:
    For each depth from `searched` on: "depth", "n" positions, "min" and "max", or None.
  """
  found = []
  for limit in (searched, *(limit for limit in DEPTHS if limit > searched)):
    kept = iou if limit == searched else iou[depth > limit]
    known = len(kept) >= (1 if limit == searched else FEWEST)
    low, high = (float(kept.min()), float(kept.max())) if known else (None, None)
    found.append({'depth': limit, 'n': len(kept), 'min': low, 'max': high})
  return found


def outlook(
  yx: np.ndarray,
  iou: np.ndarray,
  depth: np.ndarray,
  evaluated: np.ndarray,
  even: np.ndarray,
  robot: np.ndarray,
  diagonal: float,
  *,
  searched: float = 0.0,
) -> dict[str, Any]:
  """Extremes by depth and quantiles under every prior, of one instance.

  Args:
    yx: (n, 2) legal positions in image pixels.
    iou: (n,) in [0, 1], or NaN where a position is not known.
    depth: (n,) of each in the legal region, see `tetris_jax.geometry.region.inner_depth`.
    evaluated: (n,) bool, where `iou` was evaluated; elsewhere it is that of another click.
    even: (n,) bool, positions that are spread evenly, so that quantiles may count them.
    robot: (2,) the robot user's click.
    diagonal: of the image, in pixels.
    searched: the depth to which the search kept.

  Returns:
    "levels" as `levels` gives them, of evaluated positions alone, each counted once, and
    "quantiles" by prior as `quantiles` gives them; None where no position is known.
  """
  known = np.isfinite(iou)
  sure = np.flatnonzero(known & evaluated)
  sure = sure[np.unique(yx[sure], axis=0, return_index=True)[1]]
  found: dict[str, Any] = {
    'levels': levels(np.asarray(iou[sure], float), depth[sure], searched=searched),
    'quantiles': None,
  }
  known &= even
  if known.any():
    value = np.asarray(iou[known], float)
    found['quantiles'] = {
      prior: quantiles(value, weights(prior, yx[known], depth[known], robot, diagonal))
      for prior in PRIORS
    }
  return found


def mean_of_rows(made: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
  """Means over instances of what `outlook` gives of each.

  Args:
    made: one an instance.

  Returns:
    "levels", by depth: "depth", "tried", the mean number of positions, and "min", "max" and their
    difference "d" over the instances where enough were tried, each a "value" and its "n"; and
    "quantiles", by prior and name, likewise. Both None without an instance.
  """
  if not made:
    return {'levels': None, 'quantiles': None}

  def mean(values: Sequence[float | None]) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    return {'value': round(float(np.mean(known)), 6) if known else None, 'n': len(known)}

  by_depth = []
  for i, level in enumerate(made[0]['levels']):
    depth = level['depth']
    if any(row['levels'][i]['depth'] != depth for row in made):
      raise ValueError('rows of searches at different depths')
    tried = float(np.mean([row['levels'][i]['n'] for row in made]))
    low, high = ([row['levels'][i][side] for row in made] for side in ('min', 'max'))
    wide = [None if a is None or b is None else b - a for a, b in zip(low, high, strict=True)]
    means = {'min': mean(low), 'max': mean(high), 'd': mean(wide)}
    by_depth.append({'depth': depth, 'tried': round(tried, 3), **means})
  known = [row['quantiles'] for row in made if row['quantiles'] is not None]
  names = known[0][PRIORS[0]] if known else ()
  by_prior = {
    prior: {name: mean([row[prior][name] for row in known]) for name in names}
    for prior in PRIORS
  }
  return {'levels': by_depth, 'quantiles': by_prior}
