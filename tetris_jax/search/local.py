"""The published search: Adam from the robot user's click, the best step by the true IoU wins."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from tetris_jax.types import Array, AttackConfig

__all__ = ['Evaluation', 'local_search']


class Evaluation(NamedTuple):
  """What one decoder evaluation says of each row.

  Attributes:
    loss: (rows...) float32, what the search descends.
    location: (rows...) float32, the part of it that keeps the click legal.
    iou: (rows...) float32, true IoU of the hard mask at image resolution.
    mask: (rows..., height, width) bool, the hard mask.
  """

  loss: jax.Array
  location: jax.Array
  iou: jax.Array
  mask: jax.Array


class _Best(NamedTuple):
  position: jax.Array
  location: jax.Array
  iou: jax.Array
  mask: jax.Array
  moves: jax.Array


def _accept(
  best: _Best,
  position: jax.Array,
  found: Evaluation,
  sign: jax.Array,
  movable: jax.Array,
  slack: float,
  boundary_iou: Callable[[jax.Array], jax.Array],
  step: jax.Array,
) -> _Best:
  """Keeps the better of two steps by (IoU, boundary IoU), if the click stayed legal."""
  legal = (found.location <= slack * best.location) & jnp.isfinite(found.loss) & movable
  gain = sign * (found.iou - best.iou)
  tie = legal & (gain == 0) & jnp.any(found.mask != best.mask, axis=(-2, -1))
  # Masks of equal IoU are rare, and only then does the boundary IoU count.
  finer = lax.cond(
    jnp.any(tie),
    lambda: sign * (boundary_iou(found.mask) - boundary_iou(best.mask)),
    lambda: jnp.zeros_like(found.iou),
  )
  better = legal & ((gain > 0) | (tie & (finer > 0)))
  return _Best(
    jnp.where(better[..., None], position, best.position),
    jnp.where(better, found.location, best.location),
    jnp.where(better, found.iou, best.iou),
    jnp.where(better[..., None, None], found.mask, best.mask),
    jnp.where(better, step, best.moves),
  )


def local_search(
  evaluate: Callable[[Array], Evaluation],
  differentiate: Callable[[Array], tuple[Evaluation, jax.Array]],
  boundary_iou: Callable[[jax.Array], jax.Array],
  start: Array,
  step_size: Array,
  sign: Array,
  movable: Array,
  config: AttackConfig,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Descends the loss with Adam and returns the best position on the way.

  `config.num_steps` evaluations, one move fewer; the first evaluation is at `start` and is always
  accepted. A later step is accepted if its location loss is at most `config.location_slack` times
  the best step's, and (IoU, boundary IoU) is lexicographically better (arXiv 2402.06132 and its
  released optimiser).

  Args:
    evaluate: positions (rows..., 2) -> `Evaluation`.
    differentiate: the same, and the gradient of the loss (rows..., 2).
    boundary_iou: masks (rows..., height, width) -> (rows...), asked only where IoUs tie.
    start: (rows..., 2) float32.
    step_size: (rows...) float32, Adam's learning rate, in the units of the positions.
    sign: (rows...) float32, +1 where IoU is to be raised, -1 where it is to be lowered.
    movable: (rows...) bool, False where only the start may be chosen.
    config: num_steps and location_slack.

  Returns:
    The best position (rows..., 2), the number of moves (rows...) after which it was met, and the
    norm of the gradient at `start` (rows...), 0 where no gradient was taken.
  """
  adam = optax.scale_by_adam()
  start, sign, movable = jnp.asarray(start), jnp.asarray(sign), jnp.asarray(movable)

  def body(carry, step):
    position, state, best = carry
    found, gradient = differentiate(position)
    best = lax.cond(
      step == 0,
      lambda: _Best(position, found.location, found.iou, found.mask, jnp.zeros_like(best.moves)),
      lambda: _accept(
        best, position, found, sign, movable, config.location_slack, boundary_iou, step
      ),
    )
    # Adam's own bias correction mixes integer counts with floats.
    with jax.numpy_dtype_promotion('standard'):
      update, state = adam.update(gradient, state)
    norm = jnp.linalg.norm(gradient, axis=-1)
    return (position - step_size[..., None] * update, state, best), norm

  rows = start.shape[:-1]
  shapes = jax.eval_shape(evaluate, start)
  none = _Best(
    start,
    jnp.zeros(rows, jnp.float32),
    jnp.zeros(rows, jnp.float32),
    jnp.zeros(shapes.mask.shape, bool),
    jnp.zeros(rows, jnp.int32),
  )
  last = config.num_steps - 1
  carry = (start, adam.init(start), none)
  if last:
    carry, norms = lax.scan(body, carry, jnp.arange(last, dtype=jnp.int32))
    position, _, best = carry
    # No move follows the last evaluation, so it needs no gradient.
    best = _accept(
      best,
      position,
      evaluate(position),
      sign,
      movable,
      config.location_slack,
      boundary_iou,
      jnp.full(rows, last, jnp.int32),
    )
    return best.position, best.moves, norms[0]
  return start, none.moves, jnp.zeros(rows, jnp.float32)
