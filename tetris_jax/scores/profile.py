"""The robustness profile: how far apart the best and the worst share of users' outcomes lie.

Everything here is NumPy on the host. An outcome is what one user's trajectory scores, such as its
IoU-AuC, and users are drawn from a click prior. Where a search finds the lowest IoU, MIN is near 0
for nearly every object, and D = MAX - MIN no longer tells models apart; D(alpha) leaves out what
only a vanishing share of users would meet, and D(0) is the published D (arXiv 2402.06132).
"""

from __future__ import annotations

import numpy as np

from tetris_jax.scores.statistics import Estimate

__all__ = [
  'ALPHAS',
  'CURVE',
  'LEVELS',
  'NAMES',
  'QUANTILES',
  'd_alpha',
  'd_coefficients',
  'nested_means',
  'quantile',
  'quantile_coefficients',
  'share_below',
]

ALPHAS = (0.05, 0.25, 0.5)
"""The shares of a table."""

NAMES = tuple(f'D({alpha:g})' for alpha in ALPHAS)
"""Of their D."""

CURVE = (0.0, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 0.7, 0.85, 1.0)
"""The shares of a drawn profile; at 0 stands the D of the attack itself."""

LEVELS = (0.5, 0.8, 0.9)
"""The scores below which users are counted."""

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Of users' outcomes."""

# Of the users of an instance; which of them a resample of the instances takes is drawn.
_INNER = 200


def _sorted(
  values: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
  """Outcomes in ascending order, and which share of the users has each.

  Raises:
    ValueError: no user, or weights that are none.
  """
  values = np.asarray(values, np.float64)
  if not values.ndim or not values.shape[-1]:
    raise ValueError(f'values: expected at least one user, found shape {values.shape}')
  if weights is None:
    return np.sort(values, axis=-1), np.full(values.shape, 1 / values.shape[-1])
  weights = np.broadcast_to(np.asarray(weights, np.float64), values.shape)
  if not (np.isfinite(weights).all() and (weights >= 0).all() and (weights.sum(-1) > 0).all()):
    raise ValueError('weights: expected finite numbers of at least 0, and one above it')
  order = np.argsort(values, axis=-1, kind='stable')
  share = np.take_along_axis(weights, order, -1)
  return np.take_along_axis(values, order, -1), share / share.sum(-1, keepdims=True)


def _first(values: np.ndarray, share: np.ndarray, alpha: float) -> np.ndarray:
  """The mean of the first alpha share of values."""
  part = np.clip(alpha - (np.cumsum(share, axis=-1) - share), 0, share)
  return (part * values).sum(-1) / part.sum(-1)


def d_alpha(
  values: np.ndarray, alpha: float, *, weights: np.ndarray | None = None
) -> np.ndarray:
  """D(alpha): mean of the best alpha share of outcomes minus mean of the worst alpha share.

  A user at the edge of a share counts in it by the part that lies inside, so alpha need be no
  multiple of 1 / num_users: it is the integral of the quantile function over [1 - alpha, 1] minus
  that over [0, alpha], divided by alpha. It falls with alpha, from the range of the outcomes at 0
  to 0 at 1.

  Args:
    values: (..., num_users), such as IoU-AuC.
    alpha: a share of the users, in [0, 1].
    weights: (..., num_users) or (num_users,), how likely each user is; alike by default.

  Returns:
    (...) float64; NaN where an outcome is.

  Raises:
    ValueError: no user, `alpha` out of range, or weights that are negative, infinite or all 0.
  """
  if not 0 <= alpha <= 1:
    raise ValueError(f'alpha is {alpha}; expected a share between 0 and 1')
  ordered, share = _sorted(values, weights)
  broken = np.isnan(ordered).any(-1)
  if alpha == 0:
    low = np.where(share > 0, ordered, np.inf).min(-1)
    return np.where(broken, np.nan, np.where(share > 0, ordered, -np.inf).max(-1) - low)
  best, worst = _first(ordered[..., ::-1], share[..., ::-1], alpha), _first(ordered, share, alpha)
  return np.where(broken, np.nan, best - worst)


def share_below(
  values: np.ndarray, level: float, *, weights: np.ndarray | None = None
) -> np.ndarray:
  """The share of users whose outcome lies below a level.

  Args:
    values: (..., num_users).
    level: the first outcome that is not counted.
    weights: as for `d_alpha`.

  Returns:
    (...) float64 in [0, 1]; NaN where an outcome is.

  Raises:
    ValueError: no user, or weights that are negative, infinite or all 0.
  """
  ordered, own = _sorted(values, weights)
  return np.where(np.isnan(ordered).any(-1), np.nan, (own * (ordered < level)).sum(-1))


def quantile(
  values: np.ndarray, share: float, *, weights: np.ndarray | None = None
) -> np.ndarray:
  """The smallest outcome that a share of the users does not exceed.

  Args:
    values: (..., num_users).
    share: of the users, in [0, 1]; at 0 the lowest outcome.
    weights: as for `d_alpha`.

  Returns:
    (...) float64; NaN where an outcome is.

  Raises:
    ValueError: no user, `share` out of range, or weights that are negative, infinite or all 0.
  """
  if not 0 <= share <= 1:
    raise ValueError(f'share is {share}; expected a number between 0 and 1')
  ordered, own = _sorted(values, weights)
  reached = np.cumsum(own, axis=-1)
  # Sums of shares end a little below where they should.
  index = np.sum(reached < share * (1 - 1e-12), axis=-1)
  index = np.minimum(index, ordered.shape[-1] - 1)
  found = np.take_along_axis(ordered, index[..., None], -1)[..., 0]
  return np.where(np.isnan(ordered).any(-1), np.nan, found)


def d_coefficients(alpha: float, num_users: int) -> np.ndarray:
  """What the ascending outcomes of users who are all alike count in D(alpha), (num_users,).

  Raises:
    ValueError: no user, or `alpha` out of range.
  """
  return np.array([d_alpha(row, alpha) for row in _steps(num_users)]) @ _differences(num_users)


def quantile_coefficients(share: float, num_users: int) -> np.ndarray:
  """What the ascending outcomes of users who are all alike count in a quantile, (num_users,).

  Raises:
    ValueError: no user, or `share` out of range.
  """
  return np.array([quantile(row, share) for row in _steps(num_users)]) @ _differences(num_users)


def _steps(num_users: int) -> np.ndarray:
  """Ascending outcomes of which the last 1, 2, ... num_users are 1 and the others 0."""
  return np.tril(np.ones((num_users, num_users)))[:, ::-1]


def _differences(num_users: int) -> np.ndarray:
  """Takes numbers of `_steps` to those of single outcomes: each less the one before."""
  return (np.eye(num_users) - np.eye(num_users, k=1))[:, ::-1]


def _resampled(
  rng: np.random.Generator, outcomes: np.ndarray, coefficients: np.ndarray, others: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Scores of the users of one instance (columns,), and of resamples of them (_INNER, columns)."""
  order = np.argsort(outcomes, kind='stable')
  mine, more = outcomes[order], others[order]
  own = np.concatenate([mine @ coefficients, more.mean(0)])
  users = np.sort(rng.integers(len(mine), size=(_INNER, len(mine))), axis=1)
  return own, np.concatenate([mine[users] @ coefficients, more[users].mean(1)], axis=1)


def nested_means(
  outcomes: np.ndarray,
  coefficients: np.ndarray,
  others: np.ndarray,
  *,
  level: float = 0.95,
  num_resamples: int = 2000,
  seed: int = 0,
) -> list[Estimate]:
  """Means over instances of what their users' outcomes amount to, with nested intervals.

  Instances are drawn with replacement, and within each drawn one its users (Davison and Hinkley,
  Bootstrap Methods and their Application, 1997, section 3.8). Resampled users spread less than the
  users themselves, so D(alpha) of them is lower on average; each instance's resamples are therefore
  centred on its own value. Users who were drawn stratified vary less than this resampling has it,
  so the part of the interval that is theirs is rather too wide.

  Args:
    outcomes: (num_instances, num_users), such as IoU-AuC.
    coefficients: (num_users, num_scores): a score is the sum of an instance's ascending outcomes,
      each times its coefficient; see `d_coefficients`.
    others: (num_instances, num_users, num_means): numbers of users, of which the mean is taken.
    level: share of the resampled means inside the interval.
    num_resamples: how often all instances are drawn.
    seed: of the draw.

  Returns:
    num_scores and then num_means estimates; without an interval below two instances.

  Raises:
    ValueError: the shapes do not belong together, or there is no user.
  """
  outcomes, others = np.asarray(outcomes, np.float64), np.asarray(others, np.float64)
  if outcomes.ndim != 2 or not outcomes.shape[1] or others.shape[:2] != outcomes.shape:
    raise ValueError(
      f'outcomes, others: expected (instances, users) and (instances, users, means), found '
      f'{outcomes.shape} and {others.shape}'
    )
  n = len(outcomes)
  rng = np.random.default_rng(seed)
  drawn = rng.multinomial(n, [1 / n] * n, num_resamples) if n else np.zeros((num_resamples, 0), int)
  total = np.zeros((num_resamples, coefficients.shape[1] + others.shape[2]))
  value = np.zeros(total.shape[1])
  for instance in range(n):
    own, again = _resampled(rng, outcomes[instance], coefficients, others[instance])
    away = (again - again.mean(0))[rng.integers(_INNER, size=num_resamples)]
    # An instance that was drawn several times has other users each time.
    times = drawn[:, instance, None]
    total += times * own + np.sqrt(times) * away
    value += own
  if not n:
    return [Estimate(None, None, None, 0)] * len(value)
  if n == 1:
    return [Estimate(float(one), None, None, 1) for one in value]
  low, high = np.quantile(total / n, [(1 - level) / 2, (1 + level) / 2], axis=0)
  return [
    Estimate(float(one), float(start), float(end), n)
    for one, start, end in zip(value / n, low, high, strict=True)
  ]
