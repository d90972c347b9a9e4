"""CDNet's network in Flax: DeepLab v3+ over a ResNet, with feature and pixel diffusion.

Architecture: Chen et al., "Conditional Diffusion for Interactive Segmentation" (ICCV 2021), in the
form that was released: the features diffuse once for the object and once for the background, each
by an attention whose scores are weighted by the clicks (disks of a larger radius) and by where a
gate is sure; the previous mask is not read. Batch norms are folded.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from ports.nn import resnet, trees
from ports.nn.convolution import Conv, point
from ports.nn.deeplab import Aspp, Decoder, Head, normalised, stretch
from tetris_jax.types import Array, Params

__all__ = ['CONFIGS', 'Config', 'Output', 'apply', 'shapes']

# The gate is sure above.
_SURE = 0.8
_LEAK = 0.2


@dataclasses.dataclass(frozen=True)
class Config:
  """Sizes of one network.

  Attributes:
    backbone: of the ResNet.
    channels: behind the pyramid, in the diffusion and in the decoder.
  """

  backbone: resnet.Config
  channels: int


CONFIGS = {'resnet34': Config(resnet.Config(), 128)}
"""The published size, the same for COCO+LVIS and SBD."""


class Output(NamedTuple):
  """What the network says.

  Attributes:
    logits: (batch, h / 4, w / 4).
    gate: (batch, h / 8, w / 8) in [0, 1], the feature diffusion's own guess of the object.
    latent: (batch, h / 4, w / 4, 4) logits of alternatives, which only training looks at.
    taps: inner tensors by name, if asked for.
  """

  logits: jax.Array
  gate: jax.Array
  latent: jax.Array
  taps: dict[str, jax.Array]


class Diffusion(nnx.Module):
  """Carries features from clicks of either kind to pixels that are like theirs."""

  def __init__(self, width: int, rngs: nnx.Rngs):
    self.gate = Head((width, width), 1, rngs)
    self.t = nnx.Linear(width, width, use_bias=False, rngs=rngs)
    self.p = nnx.Linear(width, width, use_bias=False, rngs=rngs)
    self.g = nnx.Linear(width, width, use_bias=False, rngs=rngs)
    self.z = nnx.Linear(width, width, rngs=rngs)
    self.z2 = nnx.Linear(width, width, rngs=rngs)

  def __call__(self, x: jax.Array, clicks: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Features and clicks at their resolution -> features, gate.

    Args:
      x: (batch, h, w, width).
      clicks: (batch, h, w, 2) positive, negative. No gradient flows through them nor through the
        gate, as in the released code.

    Returns:
      (batch, h, w, width) and (batch, h, w).
    """
    batch, height, width, _ = x.shape
    gate = jax.nn.sigmoid(self.gate(x))[..., 0]
    flat = x.reshape(batch, height * width, -1)
    scores = self.t(flat) @ self.p(flat).swapaxes(1, 2)
    value = self.g(flat)
    for i, (out, share) in enumerate(((self.z, gate), (self.z2, 1 - gate))):
      share = jax.lax.stop_gradient(share)
      weight = jax.lax.stop_gradient(clicks[..., i]) + jnp.where(share > _SURE, 1.0, 0.0)
      attention = jax.nn.softmax(scores * weight.reshape(batch, 1, -1), axis=-1)
      y = out(share.reshape(batch, -1, 1) * (attention @ value))
      x = x + y.reshape(x.shape)
    return x, gate


class Network(nnx.Module):
  """The whole network but for the pixel diffusion, which has no parameters."""

  def __init__(self, config: Config, rngs: nnx.Rngs):
    width = config.channels
    # Torch's names: 0 and 2 are the convolutions of a Sequential.
    self.maps_transform: Any = nnx.List([
      point(2, 16, rngs), None, Conv(16, config.backbone.stem, rngs, stride=2)
    ])
    self.backbone = resnet.ResNet(config.backbone, rngs)
    self.aspp = Aspp(config.backbone.widths[3], width, rngs)
    self.diffusion = Diffusion(width, rngs)
    self.decoder = Decoder(config.backbone, width, width, rngs)
    self.head = Head((width, width // 2, width // 2), 1, rngs)
    self.latent_head = Head((width, width // 2, width // 2), 4, rngs)

  def __call__(
    self, image: jax.Array, maps: jax.Array, wide: jax.Array, taps: dict[str, Any] | None
  ) -> Output:
    """As `apply`."""
    x = jax.nn.leaky_relu(self.maps_transform[0](maps), _LEAK)
    fine, deep = self.backbone(normalised(image), self.maps_transform[2](x), taps)
    pooled = self.aspp(deep)
    spread, gate = self.diffusion(pooled, stretch(wide, *pooled.shape[1:3]))
    x = self.decoder(spread, fine)
    logits = self.head(x)
    if taps is not None:
      taps |= {'aspp': pooled, 'FDM': spread, 'FDM.gate': gate[..., None], 'feature': x}
      taps |= {'head': logits}
    return Output(logits[..., 0], gate, self.latent_head(x), taps or {})


@functools.cache
def _definition(config: Config) -> trees.Definition[Network]:
  return trees.define(functools.partial(Network, config))


def shapes(config: Config) -> dict[str, tuple[int, ...]]:
  """Shape of every parameter by its name in the flat tree, see `ports.cdnet.weights`."""
  return dict(_definition(config).shapes)


def apply(
  config: Config,
  params: Params,
  image: Array,
  maps: Array,
  wide: Array,
  *,
  with_taps: bool = False,
) -> Output:
  """Logits of a batch, before the pixel diffusion (`ports.cdnet.diffusion`).

  Args:
    config: of the network.
    params: flat tree that holds at least the leaves of `shapes(config)`.
    image: (batch, height, width, 3) float32 RGB in [0, 1].
    maps: (batch, height, width, 2): disks of the positive clicks, of the negative ones.
    wide: (batch, height, width, 2): the same with a radius of 24 pixels.
    with_taps: also returns inner tensors.

  Returns:
    `Output`.
  """
  network = trees.bind(_definition(config), params)
  return network(
    jnp.asarray(image), jnp.asarray(maps), jnp.asarray(wide), {} if with_taps else None
  )
