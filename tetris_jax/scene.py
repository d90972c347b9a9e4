"""What an attack looks at: encoded images with all that no click changes, row by row."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from tetris_jax.geometry.overlap import boundary_band, inside_image, iou
from tetris_jax.types import Array, Batch, Clicks, Segmenter, check_shape

__all__ = [
  'AT_ONCE',
  'Scene',
  'Score',
  'Target',
  'boundary_score',
  'decoded',
  'each_row',
  'full_precision',
  'hard_score',
  'in_parts',
  'look',
  'repeat_target',
  'rows_at_once',
  'undifferentiated',
]


AT_ONCE = 64
"""Rows that go through the decoder together on accelerators where there are many."""


class Scene(NamedTuple):
  """Everything of a batch that no click changes; leading dimension (batch,).

  Attributes:
    features: what the model's encoder made of the images.
    mask: (batch, height, width) bool.
    valid: (batch, height, width) bool, pixels that metrics count.
    inside: (batch, height, width) bool, pixels that are not padding.
    band: (batch, height, width) bool, the mask's boundary band.
    size: (batch, 2) int32.
    image: (batch, height, width, 3) float32.
  """

  features: Any
  mask: jax.Array
  valid: jax.Array
  inside: jax.Array
  band: jax.Array
  size: jax.Array
  image: jax.Array


def each_row(
  function: Callable[..., Any], *axes: Any, rows: tuple[int | None, int | None] = (None, None)
) -> Callable[..., Any]:
  """Maps over instances and, within them, over modes; `axes` are those of the inner map.

  An argument with inner axis None has only the batch dimension; `...` marks one without any.
  `rows` gives both sizes where the arguments may hold no array at all.
  """
  inner = tuple(None if axis is ... else axis for axis in axes)
  outer = tuple(None if axis is ... else 0 for axis in axes)
  return jax.vmap(jax.vmap(function, inner, axis_size=rows[1]), outer, axis_size=rows[0])


def full_precision() -> contextlib.AbstractContextManager[Any]:
  """Products at precision "highest" while tracing, unless JAX was configured otherwise.

  A mask that is reported must not depend on the shortened products that accelerators default to.
  """
  if jax.config.jax_default_matmul_precision is not None:  # type: ignore[attr-defined]
    return contextlib.nullcontext()
  return jax.default_matmul_precision('highest')


def undifferentiated(tree: Any) -> Any:
  """The same numbers, through which no gradient flows, as a search neither needs nor bears one.

  Only what is traced is touched: of constants, which a model may read while it is traced, there is
  no gradient.
  """
  stop = lambda x: lax.stop_gradient(x) if isinstance(x, jax.core.Tracer) else x
  return jax.tree.map(stop, tree)


def rows_at_once(given: int | None, *, elsewhere: int | None = None) -> int | None:
  """How many rows go through the decoder together.

  Args:
    given: what the caller wants; None for one on a CPU, which is fastest with a single row that
      stays in its caches, and `elsewhere` on accelerators.
    elsewhere: how many; None for all.

  Raises:
    ValueError: less than one row.
  """
  if given is None:
    return 1 if jax.default_backend() == 'cpu' else elsewhere
  if given < 1:
    raise ValueError(f'at_once is {given}; at least 1 row is evaluated at a time')
  return given


def look(segmenter: Segmenter, batch: Batch, at_once: int | None) -> Scene:
  """Encodes the images, once, and prepares what the metrics need of a batch that was checked."""
  image, mask, ignore, size, _ = map(jnp.asarray, batch)
  inside = inside_image(size, mask.shape)
  encode = lambda image, size: segmenter.encode(segmenter.params, image, size)
  features = in_parts(lambda each, *args: each(encode)(*args), at_once, image, size)
  return Scene(
    features, mask, inside & ~ignore, inside, boundary_band(mask, size), size, image
  )


def in_parts(function: Callable[..., Any], at_once: int | None, *args: Any) -> Any:
  """Applies `function` to at most `at_once` of the leading rows at a time.

  It is called as `function(each, *args)`, where `each` maps over the rows that it was given, or
  does nothing where it was given one row without a leading dimension.
  """
  rows = jax.tree.leaves(args)[0].shape[0]
  part = rows if at_once is None else max(n for n in range(1, at_once + 1) if rows % n == 0)
  if part == 1:
    return lax.map(lambda one: function(lambda f: f, *one), args)
  if part == rows:
    return function(jax.vmap, *args)
  cut = jax.tree.map(lambda x: x.reshape(rows // part, part, *x.shape[1:]), args)
  found = lax.map(lambda some: function(jax.vmap, *some), cut)
  return jax.tree.map(lambda x: x.reshape(rows, *x.shape[2:]), found)


def decoded(
  segmenter: Segmenter, context: Any, clicks: Clicks, canvas: tuple[int, ...]
) -> tuple[jax.Array, Any]:
  """Logits (height, width) in float32, in which all are compared, and state of ONE row.

  Raises:
    TypeError: the model answers with something else than a pair, or with no logits.
    ValueError: the logits are not those of the `canvas` (height, width).
  """
  found = segmenter.decode(segmenter.params, context, clicks)
  name = f'decode of {segmenter.info.name}'
  if not isinstance(found, tuple) or len(found) != 2:
    raise TypeError(f'{name} returned a {type(found).__name__}; expected a pair (logits, state)')
  logits, state = jnp.asarray(found[0]), found[1]
  if not jnp.issubdtype(logits.dtype, jnp.floating):
    raise TypeError(f'logits that {name} returned are {logits.dtype}; expected float32 log odds')
  check_shape(f'logits that {name} returned', logits, *canvas)
  return logits.astype(jnp.float32), state


class Target(NamedTuple):
  """What a row is compared with: the fields of `Scene`, once per row."""

  mask: jax.Array
  valid: jax.Array
  inside: jax.Array
  band: jax.Array
  size: jax.Array


def repeat_target(scene: Scene, modes: int) -> Target:
  """Targets of (batch * modes,) rows."""
  fields = Target(scene.mask, scene.valid, scene.inside, scene.band, scene.size)
  return jax.tree.map(lambda x: jnp.repeat(x, modes, axis=0), fields)


class Score(NamedTuple):
  """What one evaluation of one row says.

  Attributes:
    mask: (height, width) bool, the hard mask.
    iou: () float32; NaN where the logits are not finite inside the image.
    finite: () bool.
  """

  mask: jax.Array
  iou: jax.Array
  finite: jax.Array


def hard_score(logits: Array, threshold: float, target: Target) -> Score:
  """The mask at a probability threshold, and its IoU at image resolution."""
  logits = jnp.asarray(logits)
  mask = logits > math.log(threshold / (1 - threshold))
  # A comparison with NaN is False: without this a broken model would score an empty mask.
  finite = jnp.all(jnp.isfinite(logits) | ~target.inside)
  found = jnp.where(finite, iou(mask, target.mask, target.valid), jnp.nan)
  return Score(mask, found, finite)


def boundary_score(mask: Array, target: Target) -> jax.Array:
  """Boundary IoU of (..., height, width) masks."""
  return iou(boundary_band(mask, target.size), target.band, target.valid)
