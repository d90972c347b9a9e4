"""A cascade: a click model that is fed its own mask several times at the same clicks.

Sun et al., "CFR-ICL: Cascade-Forward Refinement with Iterative Click Loss for Interactive Image
Segmentation" (arXiv 2303.05620). It is around a segmenter, whichever that is: a pass is what a
click would be, without another click.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ports import choices
from tetris_jax.types import Array, Clicks, Frame, Params, Segmenter

__all__ = ['CASCADES', 'Cascade', 'around', 'cascaded']


@dataclasses.dataclass(frozen=True)
class Cascade:
  """How often a model is run at a click.

  Attributes:
    passes: so often, the first one included.
    clicks: at so many first clicks; later ones are run once.
    adaptive: whether it ends with the pass that changes no more pixels than `settled`.
    settled: pixels of the image.
  """

  passes: int = 5
  clicks: int = 1
  adaptive: bool = False
  settled: int = 20

  def __post_init__(self) -> None:
    """Raises ValueError for settings out of range."""
    if self.passes < 2 or self.clicks < 1:
      raise ValueError(f'{self}: expected at least 2 passes, at 1 click or more')


# By the released evaluation's settings: four passes after the first one ("cf_n = 4"), or until the
# mask has settled ("acf").
CASCADES = {'none': None, 'cf4': Cascade(), 'acf4': Cascade(adaptive=True)}


class _Features(NamedTuple):
  """The model's own, and the image's size (2,) int32."""

  own: Any
  size: jax.Array


class _Context(NamedTuple):
  """The model's own, and the features of which the next pass's is made."""

  own: Any
  features: _Features


@jax.custom_batching.custom_vmap
def _any_of(wanted: jax.Array) -> jax.Array:
  """() bool: whether any instance that is mapped over wants it; the same for all of them."""
  return wanted


@_any_of.def_vmap
def _any_of_batch(axis_size: int, in_batched: list[bool], wanted: jax.Array) -> tuple[Any, bool]:
  del axis_size
  return (_any_of(jnp.any(wanted, axis=0)) if in_batched[0] else _any_of(wanted)), False


def around(model: Segmenter, cascade: Cascade) -> Segmenter:
  """The model, run in a cascade; gradients pass through all passes.

  A pass that no instance of a batch needs is not run.
  """
  level = math.log(model.info.threshold) - math.log1p(-model.info.threshold)

  def encode(params: Params, image: jax.Array, size: jax.Array) -> _Features:
    return _Features(model.encode(params, image, size), jnp.asarray(size, jnp.int32))

  def init(params: Params, features: _Features) -> Any:
    return model.init(params, features.own)

  def prepare(params: Params, features: _Features, state: Any) -> _Context:
    return _Context(model.prepare(params, features.own, state), features)

  def decode(params: Params, context: _Context, clicks: Clicks) -> tuple[Array, Any]:
    features = context.features
    logits, state = model.decode(params, context.own, clicks)
    logits = jnp.asarray(logits)
    rows, columns = (jnp.arange(n, dtype=jnp.int32) for n in logits.shape)
    inside = (rows < features.size[0])[:, None] & (columns < features.size[1])[None, :]

    # Five networks' activations are not kept for a gradient, but made again.
    @jax.checkpoint
    def run(state: Any) -> Any:
      return model.decode(params, model.prepare(params, features.own, state), clicks)

    def further(carry: Any, _: Any) -> tuple[Any, None]:
      logits, state, going = carry
      new = jax.lax.cond(_any_of(going), run, lambda state: (logits, state), state)
      found, after = jax.tree.map(lambda a, b: jnp.where(going, a, b), new, (logits, state))
      if cascade.adaptive:
        changed = inside & ((found > level) != (logits > level))
        going = going & (jnp.sum(changed, dtype=jnp.int32) > cascade.settled)
      return (found, after, going), None

    count = jnp.sum(jnp.asarray(clicks.label) >= 0, dtype=jnp.int32)
    carry = logits, state, count <= cascade.clicks
    (logits, state, _), _ = jax.lax.scan(further, carry, length=cascade.passes - 1)
    return logits, state

  def frame(params: Params, context: _Context, clicks: Clicks, size: Array) -> Frame:
    return model.frame(params, context.own, clicks, size)

  return dataclasses.replace(
    model, encode=encode, init=init, decode=decode, prepare=prepare, frame=frame
  )


def cascaded(model: Segmenter, cascade: str, *, default: str = 'none') -> Segmenter:
  """The model in a cascade of `CASCADES`, itself for "none".

  Args:
    model: any.
    cascade: key of `CASCADES`; its name is appended to the model's where it is not the default.
    default: the model's own.

  Raises:
    ValueError: an unknown cascade.
  """
  choices.check('cascade', cascade, CASCADES)
  chosen = CASCADES[cascade]
  if chosen is not None:
    model = around(model, chosen)
  if cascade == default:
    return model
  info = dataclasses.replace(model.info, name=f'{model.info.name}_{cascade}')
  return dataclasses.replace(model, info=info)
