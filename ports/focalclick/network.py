"""FocalClick's two passes: coarse over the object, refined over a crop of it.

Chen et al., "FocalClick: Towards Practical Interactive Image Segmentation" (arXiv 2204.02574). Both
see squares of one size; the coarse pass of scale "s1" works at half of it.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ports.focalclick import refiner, segformer
from ports.hrnet import network as hrnet
from ports.nn.resize import linear, resize
from tetris_jax.types import Array, Params

__all__ = ['VARIANTS', 'Coarse', 'Refined', 'Variant', 'coarse', 'refine', 'shapes']

_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


@dataclasses.dataclass(frozen=True)
class Variant:
  """A network of the coarse pass, and its scale.

  Attributes:
    backbone: of the coarse pass.
    halved: whether image and maps are halved before the coarse pass ("s1").
  """

  backbone: hrnet.Variant | segformer.Config
  halved: bool = False

  @property
  def radius(self) -> float:
    """Of a click's disk in the coarse pass, in pixels of the square before it is halved."""
    if not self.halved:
      return 5.0
    return 2.0 if isinstance(self.backbone, hrnet.Variant) else 3.0

  @property
  def channels(self) -> int:
    """Of the features that the refiner reads."""
    if isinstance(self.backbone, hrnet.Variant):
      return 2 * self.backbone.ocr_width
    return self.backbone.channels


VARIANTS = {
  'hrnet18s_s1': Variant(hrnet.Variant(18, 48, small=True), halved=True),
  'hrnet18s_s2': Variant(hrnet.Variant(18, 48, small=True)),
  'hrnet32_s2': Variant(hrnet.Variant(32, 128)),
  'segformer_b0_s1': Variant(segformer.CONFIGS['b0'], halved=True),
  'segformer_b0_s2': Variant(segformer.CONFIGS['b0']),
  'segformer_b3_s2': Variant(segformer.CONFIGS['b3']),
}
"""The published sizes and scales."""


class Coarse(NamedTuple):
  """Of the coarse pass.

  Attributes:
    logits: (batch, height, width) float32, of the input's size.
    features: (batch, h, w, channels), at a quarter or ("s1") an eighth of it.
  """

  logits: jax.Array
  features: jax.Array


class Refined(NamedTuple):
  """Of the refined pass, (batch, height, width) float32 each.

  Attributes:
    logits: of the crop.
    trimap: logits of how much of them is new.
    before: the coarse logits of the crop.
  """

  logits: jax.Array
  trimap: jax.Array
  before: jax.Array


def shapes(variant: Variant) -> dict[str, tuple[int, ...]]:
  """Shape of every parameter by its name in the flat tree, see `ports.focalclick.weights`."""
  backbone = variant.backbone
  if isinstance(backbone, hrnet.Variant):
    return hrnet.shapes(backbone) | refiner.shapes(variant.channels)
  return segformer.shapes(backbone) | refiner.shapes(variant.channels)


def _resized(x: jax.Array, height: int, width: int) -> jax.Array:
  """(batch, h, w, channels) -> (batch, height, width, channels), corners aligned."""
  rows, columns = linear(height, x.shape[1], True), linear(width, x.shape[2], True)
  return resize(x, rows, columns)


def coarse(variant: Variant, params: Params, image: Array, maps: Array) -> Coarse:
  """The coarse pass over a batch.

  Args:
    variant: which network.
    params: flat tree that holds at least the leaves of `shapes(variant)`.
    image: (batch, height, width, 3) float32 RGB in [0, 1]; sides multiples of 32, "s1": of 64.
    maps: (batch, height, width, 3): previous mask's probability, positive, negative clicks.
  """
  image, maps = jnp.asarray(image), jnp.asarray(maps)
  height, width = image.shape[1:3]
  if variant.halved:
    image, maps = (_resized(x, height // 2, width // 2) for x in (image, maps))
  backbone = variant.backbone
  if isinstance(backbone, hrnet.Variant):
    out = hrnet.apply(backbone, params, image, maps)
    logits, features = out.logits, out.features
  else:
    mean, deviation = _MEAN[None, None, None], _DEVIATION[None, None, None]
    found = segformer.apply(backbone, params, (image - mean) / deviation, maps)
    logits, features = found.logits, found.features
  return Coarse(_resized(logits[..., None], height, width)[..., 0], features)


def _bins(count: int, size: int, low: Array, high: Array) -> jax.Array:
  """(count, size) matrix that samples the centres of `count` bins between `low` and `high`.

  As RoIAlign does (He et al., "Mask R-CNN", arXiv 1703.06870), with one sample a bin and pixel
  centres at halves; places outside of the samples take the nearest one. `low` and `high` are in
  samples, () float32, and may be traced.
  """
  step = (high - low) / count
  at = low - 0.5 + (jnp.arange(count, dtype=jnp.float32) + 0.5) * step
  at = jnp.clip(at, 0, size - 1)[:, None]
  return jnp.maximum(0, 1 - jnp.abs(at - jnp.arange(size, dtype=jnp.float32)[None]))


def refine(
  params: Params, image: Array, clicks: Array, found: Coarse, low: Array, high: Array
) -> Refined:
  """The refined pass over a crop; all of a batch have the same.

  Args:
    params: flat tree, as for `coarse`.
    image: (batch, height, width, 3) float32 RGB in [0, 1], the crop at the input's size.
    clicks: (batch, height, width, 2): positive, negative clicks in the crop.
    found: what the coarse pass said of the whole input.
    low: (2,) float32, where the crop begins in the coarse pass's input, (y, x), in pixels whose
      edges are at whole numbers.
    high: (2,) float32, where it ends.
  """

  def cut(x: jax.Array) -> jax.Array:
    scale = [x.shape[1 + i] / found.logits.shape[1 + i] for i in range(2)]
    rows, columns = (
      _bins(x.shape[1 + i], x.shape[1 + i], low[i] * scale[i], high[i] * scale[i])
      for i in range(2)
    )
    return resize(x, rows, columns)

  before = cut(found.logits[..., None])[..., 0]
  logits, trimap = refiner.apply(
    params, jnp.asarray(image), jnp.asarray(clicks), cut(found.features), before
  )
  return Refined(logits, trimap, before)
