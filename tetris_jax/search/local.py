"""The published search: Adam from the robot user's click, the best step by the true IoU wins."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from tetris_jax.geometry.distance import column_distance
from tetris_jax.geometry.objectives import dice_loss
from tetris_jax.geometry.overlap import iou
from tetris_jax.geometry.region import location_loss, within
from tetris_jax.mesh import varying
from tetris_jax.scene import boundary_score
from tetris_jax.search.base import Asked, Cost, Found, Rows, Search, decode_at
from tetris_jax.types import Array, Byproducts, Frame

__all__ = ['Descent', 'Evaluation', 'Local', 'local_search']


@dataclasses.dataclass(frozen=True)
class Local(Search):
  """The published search: Adam from the robot user's click (arXiv 2402.06132).

  Attributes:
    num_steps: evaluations of one search; one fewer moves.
    step_scale: multiplies the published step of 5 network pixels per 400x400 diagonal.
    dice_weight: weight of the Dice loss beside the location loss.
    location_slack: a step whose location loss exceeds this multiple of the best one's is refused.
    radius: of the clicked disk in the location loss, in network pixels.
  """

  num_steps: int = 11
  step_scale: float = 1.0
  dice_weight: float = 1e-3
  location_slack: float = 1.05
  radius: float = 5.0

  def check(self) -> None:
    """Raises ValueError for settings out of range."""
    if self.num_steps < 1:
      raise ValueError(f'num_steps is {self.num_steps}; at least 1')
    for name in ('step_scale', 'location_slack', 'radius'):
      value = getattr(self, name)
      if not 0 < value < math.inf:
        raise ValueError(f'{name} is {value}; expected a number above 0')
    if not 0 <= self.dice_weight < math.inf:
      raise ValueError(f'dice_weight is {self.dice_weight}; expected at least 0')

  def cost(self, num_clicks: int) -> Cost:
    """Of MIN and of MAX a search a round, the last step of each without a gradient."""
    if self.num_steps == 1:  # Nothing moves, so nothing is evaluated.
      return Cost(0, 0)
    return Cost(num_clicks * 2 * self.num_steps, num_clicks * 2 * (self.num_steps - 1))

  def __call__(self, asked: Asked, rows: Rows) -> Found:
    """Moves the newest click of each row; the gradient at its start is the by-product."""
    segmenter, each = asked.segmenter, asked.each

    def frame_of(row: Rows) -> Frame:
      frame = segmenter.frame(segmenter.params, row.context, row.clicks, row.target.size)
      return Frame(*(jnp.asarray(part, jnp.float32) for part in frame))

    frame: Frame = each(frame_of)(rows)
    sign = rows.wanted[..., 1] - rows.wanted[..., 0]
    column = each(column_distance)(rows.legal)
    legal_any = jnp.any(rows.legal, axis=(-2, -1))
    logit = math.log(segmenter.info.threshold / (1 - segmenter.info.threshold))
    in_frame = segmenter.info.step_diagonal == 'frame'

    def seen(position: jax.Array, frame: Frame) -> jax.Array:
      # Of a model that reads click maps the clamped disk is all it sees; SAM's coordinate is none.
      at = within(position, frame.size) if in_frame else position
      return jnp.asarray(frame.offset + at * frame.extent / frame.size)

    def score(
      position: jax.Array,
      row: Rows,
      frame: Frame,
      sign: jax.Array,
      column: jax.Array,
      legal_any: jax.Array,
    ) -> tuple[jax.Array, Evaluation]:
      logits, _ = decode_at(asked, row, seen(position, frame))
      target = row.target
      location = location_loss(position, column, frame, self.radius, legal_any)
      loss = location + sign * self.dice_weight * dice_loss(logits, target.mask, target.inside)
      hard = logits > logit
      return loss, Evaluation(loss, location, iou(hard, target.mask, target.valid), hard)

    data = (rows, frame, sign, column, legal_any)
    evaluate = each(score)
    gradient = each(jax.value_and_grad(score, has_aux=True))

    def differentiate(position: Array) -> tuple[Evaluation, jax.Array]:
      (_, found), slope = gradient(position, *data)
      return found, slope

    extent = frame.size if in_frame else rows.target.size.astype(jnp.float32)
    # 5 pixels for a 400x400 picture (arXiv 2402.06132).
    step = self.step_scale * 5 / (400 * math.sqrt(2)) * jnp.sqrt(jnp.sum(extent**2, axis=-1))
    robot = rows.clicks.yx[..., asked.slot, :]
    descent = Descent(
      lambda at: evaluate(at, *data)[1],
      differentiate,
      lambda mask: each(boundary_score)(mask, rows.target),
      step,
      sign,
      legal_any,
    )
    start = (robot - frame.offset) * frame.size / frame.extent
    position, moves, norm = local_search(descent, start, self)
    best = jnp.where((moves > 0)[..., None], seen(position, frame), robot)
    gradients = norm if self.num_steps > 1 else None
    return Found(best[..., None, None, :], byproducts=Byproducts(gradient=gradients))


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


class Descent(NamedTuple):
  """What is descended, by rows.

  Attributes:
    evaluate: positions (rows..., 2) -> `Evaluation`.
    differentiate: the same, and the gradient of the loss (rows..., 2).
    boundary_iou: masks (rows..., height, width) -> (rows...), asked only where IoUs tie.
    step_size: (rows...) float32, Adam's learning rate, in the units of the positions.
    sign: (rows...) float32, +1 where IoU is to be raised, -1 where it is to be lowered.
    movable: (rows...) bool, False where only the start may be chosen.
  """

  evaluate: Callable[[Array], Evaluation]
  differentiate: Callable[[Array], tuple[Evaluation, jax.Array]]
  boundary_iou: Callable[[jax.Array], jax.Array]
  step_size: jax.Array
  sign: jax.Array
  movable: jax.Array


class _Best(NamedTuple):
  position: jax.Array
  location: jax.Array
  iou: jax.Array
  mask: jax.Array
  moves: jax.Array


def _accept(
  descent: Descent,
  best: _Best,
  position: jax.Array,
  found: Evaluation,
  slack: float,
  step: jax.Array,
) -> _Best:
  """Keeps the better of two steps by (IoU, boundary IoU), if the click stayed legal."""
  sign, boundary_iou = descent.sign, descent.boundary_iou
  legal = (found.location <= slack * best.location) & jnp.isfinite(found.loss) & descent.movable
  gain = sign * (found.iou - best.iou)
  tie = legal & (gain == 0) & jnp.any(found.mask != best.mask, axis=(-2, -1))
  # Masks of equal IoU are rare, and only then does the boundary IoU count.
  finer = lax.cond(
    jnp.any(tie),
    lambda: sign * (boundary_iou(found.mask) - boundary_iou(best.mask)),
    lambda: varying(jnp.zeros_like(found.iou), found.iou),
  )
  better = legal & ((gain > 0) | (tie & (finer > 0)))
  return _Best(
    jnp.where(better[..., None], position, best.position),
    jnp.where(better, found.location, best.location),
    jnp.where(better, found.iou, best.iou),
    jnp.where(better[..., None, None], found.mask, best.mask),
    jnp.where(better, step, best.moves),
  )


def _nothing(descent: Descent, start: jax.Array) -> _Best:
  """Before the first evaluation."""
  rows = start.shape[:-1]
  zero = jnp.zeros(rows, jnp.float32)
  mask = jax.eval_shape(descent.evaluate, start).mask
  nothing = _Best(start, zero, zero, jnp.zeros(mask.shape, bool), jnp.zeros(rows, jnp.int32))
  return varying(nothing, start)


def local_search(
  descent: Descent, start: Array, settings: Local
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Descends the loss with Adam and returns the best position on the way.

  `num_steps` evaluations, one move fewer; the first evaluation is at `start` and is always
  accepted. A later step is accepted if its location loss is at most `location_slack` times the best
  step's, and (IoU, boundary IoU) is lexicographically better (arXiv 2402.06132 and its released
  optimiser).

  Args:
    descent: what is descended.
    start: (rows..., 2) float32.
    settings: num_steps and location_slack.

  Returns:
    The best position (rows..., 2), the number of moves (rows...) after which it was met, and the
    norm of the gradient at `start` (rows...), 0 where no gradient was taken.
  """
  adam, slack = optax.scale_by_adam(), settings.location_slack
  start, last = jnp.asarray(start), settings.num_steps - 1

  def body(carry, step):
    position, state, best = carry
    found, gradient = descent.differentiate(position)
    best = lax.cond(
      step == 0,
      lambda: _Best(position, found.location, found.iou, found.mask, jnp.zeros_like(best.moves)),
      lambda: _accept(descent, best, position, found, slack, step),
    )
    # Adam's own bias correction mixes integer counts with floats, which would give float64 if JAX
    # were told to have it.
    with jax.numpy_dtype_promotion('standard'), jax.enable_x64(False):
      update, state = adam.update(gradient, state)
    norm = jnp.linalg.norm(gradient, axis=-1)
    return (position - descent.step_size[..., None] * update, state, best), norm

  none = _nothing(descent, start)
  if not last:
    return start, none.moves, none.iou
  carry = (start, varying(adam.init(start), start), none)
  (position, _, best), norms = lax.scan(body, carry, jnp.arange(last, dtype=jnp.int32))
  # No move follows the last evaluation, so it needs no gradient.
  moves = jnp.full(start.shape[:-1], last, jnp.int32)
  best = _accept(descent, best, position, descent.evaluate(position), slack, moves)
  return best.position, best.moves, norms[0]
