"""HRNet with an object-contextual head, as RITM and FocalClick build it, in Flax.

Sun et al., "High-Resolution Representations for Labeling Pixels and Regions" (arXiv 1904.04514);
Yuan et al., "Object-Contextual Representations" (arXiv 1909.11065); the click maps enter as in
Sofiiuk et al., "Reviving Iterative Training with Mask Guidance" (arXiv 2102.06583): two
convolutions, added after the first convolution of the image. Batch norms are folded.

With one class the attention of the object-contextual head is over a single key and therefore
exactly 1, so its query and key branches are left out, and the context is the same everywhere.

A picture may lie in the top left corner of a larger canvas, its size a traced array: zeros are put
outside of it before every 3x3 convolution, as torch's padding does at a picture's border, and
resizing and pooling stop there. So one program serves all sizes, with the numbers of each.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ports.hrnet.layers import LEVEL, Bottleneck, Conv, Exchange, Levels, point, repeat
from ports.nn import trees
from tetris_jax.types import Array, Params

__all__ = ['LEVEL', 'Output', 'Variant', 'apply', 'shapes']

_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
_STEM = 64
_LEAK = 0.2


@dataclasses.dataclass(frozen=True)
class Variant:
  """A size of the family.

  Attributes:
    width: channels of the finest branch; branch i has width * 2**i.
    ocr_width: channels of the object context.
    small: half the depth ("18s").
    previous: whether the previous mask is read beside the click maps.
  """

  width: int
  ocr_width: int
  small: bool = False
  previous: bool = True

  @property
  def maps(self) -> int:
    """Channels of the maps: (previous mask,) positive and negative clicks."""
    return 3 if self.previous else 2

  @property
  def depth(self) -> int:
    """Blocks of a branch."""
    return 2 if self.small else 4

  @property
  def modules(self) -> tuple[int, ...]:
    """Exchange units of stages 2, 3 and 4."""
    return (1, 3, 2) if self.small else (1, 4, 3)


class Output(NamedTuple):
  """Logits at a quarter of the input's resolution.

  Attributes:
    logits: (batch, ceil(height / 4), ceil(width / 4)) float32.
    auxiliary: likewise, the coarse prediction by which the object's context is pooled.
    features: (batch, ceil(height / 4), ceil(width / 4), 2 * ocr_width) float32, what the logits
      are a 1x1 convolution of.
    size: (height, width) of the part that is the picture's; ints, or (2,) int32 if traced.
    taps: inner tensors by torch's module name, if they were asked for.
  """

  logits: jax.Array
  auxiliary: jax.Array
  features: jax.Array
  size: Any
  taps: dict[str, Any]


class Context(nnx.Module):
  """The object's pooled features, narrowed and widened again."""

  def __init__(self, channels: int, width: int, rngs: nnx.Rngs):
    self.f_down = point(channels, width, rngs)
    self.f_up = point(width, channels, rngs)

  def __call__(self, pooled: jax.Array) -> jax.Array:
    """(batch, 1, 1, channels) -> the same shape."""
    return jax.nn.relu(self.f_up(jax.nn.relu(self.f_down(pooled))))


class Distribute(nnx.Module):
  """Joins the context with the features of every position."""

  def __init__(self, channels: int, width: int, rngs: nnx.Rngs):
    self.object_context_block = Context(channels, width, rngs)
    self.conv_bn_dropout = point(2 * channels, channels, rngs)

  def __call__(self, features: jax.Array, pooled: jax.Array) -> jax.Array:
    """(batch, h, w, channels), (batch, 1, 1, channels) -> (batch, h, w, channels)."""
    context = self.object_context_block(pooled)
    # The context is one vector, so its half of the product is taken once.
    kernel = self.conv_bn_dropout.kernel[0, 0]
    channels = features.shape[-1]
    everywhere = context @ kernel[:channels] + self.conv_bn_dropout.bias[...][None, None, None]
    return jax.nn.relu(features @ kernel[channels:] + everywhere)


class Features(nnx.Module):
  """HRNet and its two heads; names follow the released state dict."""

  def __init__(self, variant: Variant, rngs: nnx.Rngs):
    widths = tuple(variant.width * 2**i for i in range(4))
    self.conv1 = Conv(3, _STEM, rngs, stride=2)
    self.conv2 = Conv(_STEM, _STEM, rngs, stride=2)
    self.layer1 = nnx.List([
      Bottleneck(_STEM if i == 0 else 4 * _STEM, _STEM, rngs) for i in range(variant.depth)
    ])
    # Torch's names: a transition has a place for every branch, the unchanged ones empty, and the
    # new branch is a Sequential.
    new_branch = nnx.List([Conv(4 * _STEM, widths[1], rngs, stride=2)])
    self.transition1: Any = nnx.List([Conv(4 * _STEM, widths[0], rngs), new_branch])

    def widen(last: int) -> Any:
      conv = Conv(widths[last - 1], widths[last], rngs, stride=2)
      return nnx.List([None] * last + [nnx.List([conv])])

    def stage(branches: int) -> Exchange:
      return Exchange(widths[:branches], variant.depth, variant.modules[branches - 2], rngs)

    self.stage2 = stage(2)
    self.transition2 = widen(2)
    self.stage3 = stage(3)
    self.transition3 = widen(3)
    self.stage4 = stage(4)
    total, middle = sum(widths), 2 * variant.ocr_width
    # Torch's names: 0 and 3 are the convolutions of a Sequential.
    self.aux_head: Any = nnx.List([
      point(total, total, rngs), None, None, point(total, 1, rngs)
    ])
    self.conv3x3_ocr = Conv(total, middle, rngs)
    self.ocr_distri_head = Distribute(middle, variant.ocr_width, rngs)
    self.cls_head = point(middle, 1, rngs)

  def _stem(self, image: jax.Array, maps: jax.Array, levels: Levels) -> jax.Array:
    x = jax.nn.relu(self.conv1(levels.cut(image, 0))) + maps
    return jax.nn.relu(self.conv2(levels.cut(x, 1)))

  def _branches(
    self, x: jax.Array, levels: Levels, taps: dict[str, Any] | None
  ) -> list[jax.Array]:
    for block in self.layer1:
      x = block(x, levels)
    if taps is not None:
      taps['layer1'] = x
    x = levels.cut(x, LEVEL)
    xs = [jax.nn.relu(self.transition1[0](x)), jax.nn.relu(self.transition1[1][0](x))]
    stages = ((self.stage2, None), (self.stage3, self.transition2), (self.stage4, self.transition3))
    for stage, transition in stages:
      if transition is not None:
        # A new branch starts from the coarsest one.
        last = levels.cut(xs[-1], LEVEL + len(xs) - 1)
        xs = [*xs, jax.nn.relu(transition[len(xs)][0](last))]
      xs = repeat(stage, xs, levels)
      if taps is not None:
        taps |= {f'stage{len(xs)}.b{i}': x for i, x in enumerate(xs)}
    return xs

  def __call__(
    self, image: jax.Array, maps: jax.Array, levels: Levels, taps: dict[str, Any] | None
  ) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(batch, h, w, 3) normalised, (batch, h / 2, w / 2, 64) -> logits, auxiliary, features."""
    xs = self._branches(self._stem(image, maps, levels), levels, taps)
    wide = jnp.concatenate(
      [levels.stretch(x, LEVEL + i, LEVEL) for i, x in enumerate(xs)], axis=-1
    )
    auxiliary = self.aux_head[3](jax.nn.relu(self.aux_head[0](wide)))
    features = jax.nn.relu(self.conv3x3_ocr(levels.cut(wide, LEVEL)))
    mask = levels.masks[LEVEL]
    counted = auxiliary if mask is None else jnp.where(mask > 0, auxiliary, -jnp.inf)
    share = jax.nn.softmax(counted, axis=(1, 2))
    pooled = jnp.sum(share * features, axis=(1, 2), keepdims=True)
    mixed = self.ocr_distri_head(features, pooled)
    logits = self.cls_head(mixed)
    if taps is not None:
      taps |= {
        'aux_head': auxiliary, 'conv3x3_ocr': features, 'ocr_distri_head': mixed,
        'cls_head': logits,
      }
    return logits, auxiliary, mixed


class Network(nnx.Module):
  """Two convolutions of the maps, and the HRNet that they are added to."""

  def __init__(self, variant: Variant, rngs: nnx.Rngs):
    # Torch's names: 0 and 2 are the convolutions of a Sequential.
    self.maps_transform: Any = nnx.List([
      point(variant.maps, 16, rngs), None, Conv(16, _STEM, rngs, stride=2)
    ])
    self.feature_extractor = Features(variant, rngs)

  def __call__(
    self, image: jax.Array, maps: jax.Array, size: Array | None, with_taps: bool
  ) -> Output:
    """As `apply`."""
    levels = Levels(image.shape[1], image.shape[2], size)
    taps: dict[str, Any] | None = {} if with_taps else None
    x = jax.nn.leaky_relu(self.maps_transform[0](maps), _LEAK)
    x = self.maps_transform[2](levels.cut(x, 0))
    if taps is not None:
      taps['maps_transform'] = x
    mean, deviation = _MEAN[None, None, None], _DEVIATION[None, None, None]
    normalised = (image - mean) / deviation
    logits, auxiliary, features = self.feature_extractor(normalised, x, levels, taps)
    size = levels.size[LEVEL]
    return Output(logits[..., 0], auxiliary[..., 0], features, size, taps or {})


@functools.cache
def _definition(variant: Variant) -> trees.Definition[Network]:
  return trees.define(functools.partial(Network, variant))


def shapes(variant: Variant) -> dict[str, tuple[int, ...]]:
  """Shape of every parameter by its name in the flat tree, see `ports.hrnet.weights`."""
  return dict(_definition(variant).shapes)


def apply(
  variant: Variant,
  params: Params,
  image: Array,
  maps: Array,
  size: Array | None = None,
  *,
  with_taps: bool = False,
) -> Output:
  """Logits of a batch.

  Args:
    variant: which network.
    params: flat tree that holds at least the leaves of `shapes(variant)`.
    image: (batch, height, width, 3) float32 RGB in [0, 1].
    maps: (batch, height, width, variant.maps): (previous mask's probability,) positive, negative.
    size: (2,) int32, the picture's height and width in the canvas's top left corner, may be
      traced; what lies outside has no influence. None: the canvas is the picture.
    with_taps: also returns inner tensors.

  Returns:
    `Output`; what lies outside of its `size` is finite and means nothing.
  """
  network = trees.bind(_definition(variant), params)
  return network(jnp.asarray(image), jnp.asarray(maps), size, with_taps)
