"""What to expect of a click: quantiles of IoU under click priors, and extremes by plausibility.

Everything here is NumPy on the host, from IoUs that were evaluated at many legal positions, as
`tetris_jax.search.grid` does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tetris_jax import distance

__all__ = ['DEPTHS', 'PRIORS', 'QUANTILES', 'inner_depth', 'levels', 'quantiles', 'weights']

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
DEPTHS = (0.0, 0.05, 0.1, 0.3)
"""Shares of the largest inner distance below which a legal pixel is thought implausible."""

PRIORS = ('uniform', 'distance', 'gaussian_0.02', 'gaussian_0.05', 'gaussian_0.1')
"""Click priors: every legal pixel alike; as its distance from the region's border, the best prior
without training (arXiv 2410.11722); Gaussian around the robot user's click, sigma a share of the
image diagonal."""


def inner_depth(legal: np.ndarray) -> np.ndarray:
  """(height, width) float32 in [0, 1]: distance to outside of the region, 1 at its deepest pixel.

  The outside of the image counts as the outside of the region; 0 everywhere if it is empty.

  Args:
    legal: (height, width) bool.
  """
  inside = np.asarray(distance.edt(np.pad(legal, 1)))[1:-1, 1:-1]
  return inside / max(float(inside.max()), 1.0)


def weights(
  prior: str, yx: np.ndarray, depth: np.ndarray, robot: np.ndarray
) -> np.ndarray:
  """Probability of each position under a prior, adding up to 1.

  Args:
    prior: of `PRIORS`, or "gaussian_S" with another share S of the diagonal.
    yx: (n, 2) legal positions in image pixels, evenly spread.
    depth: (height, width), see `inner_depth`.
    robot: (2,) the robot user's click.

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
    at = np.rint(yx).astype(int)
    weight = depth[at[:, 0], at[:, 1]].astype(float)
  elif prior.startswith('gaussian_'):
    sigma = float(prior.removeprefix('gaussian_')) * np.hypot(*depth.shape)
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


def levels(iou: np.ndarray, yx: np.ndarray, depth: np.ndarray) -> list[dict[str, Any]]:
  """Lowest and highest IoU among the positions deeper than each of `DEPTHS`.

  Args:
    iou: (n,) in [0, 1].
    yx: (n, 2) legal positions in image pixels.
    depth: (height, width), see `inner_depth`.

  Returns:
    For each depth: "depth", "n" positions, "min" and "max", None where there is no position.
  """
  at = np.rint(yx).astype(int)
  deep = depth[at[:, 0], at[:, 1]]
  found = []
  for limit in DEPTHS:
    kept = iou[deep > limit]
    low, high = (float(kept.min()), float(kept.max())) if len(kept) else (None, None)
    found.append({'depth': limit, 'n': len(kept), 'min': low, 'max': high})
  return found
