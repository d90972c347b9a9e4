"""GPCIS's network in Flax: DeepLab v3+ over a ResNet, with a Gaussian process for a head.

Architecture: Zhou et al., "Interactive Segmentation as Gaussian Process Classification" (CVPR
2023). The decoder gives every pixel a feature of unit length; those at the clicks condition the
process. Batch norms are folded.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from ports.gpcis import process
from ports.nn import resnet, trees
from ports.nn.convolution import Conv
from ports.nn.deeplab import Aspp, Decoder, normalised, stretch
from tetris_jax.types import POSITIVE, Array, Clicks, Params

__all__ = ['CONFIGS', 'Config', 'Output', 'apply', 'shapes']

_LEAK = 0.2
_SHORTEST = 1e-12


@dataclasses.dataclass(frozen=True)
class Config:
  """Sizes of one network.

  Attributes:
    backbone: of the ResNet.
    channels: behind the pyramid and in the decoder.
    maps: channels that the click maps are brought to; the ResNet's stem has fewer and takes the
      first ones.
    features: of a pixel, beside its colour.
    waves: Fourier features of the prior.
    hidden: of the network that says how sure a click is.
  """

  backbone: resnet.Config
  channels: int
  maps: int
  features: int = 48
  waves: int = 256
  hidden: int = 96


CONFIGS = {'resnet50': Config(resnet.Config(bottleneck=True), 256, 256)}
"""The published size."""


class Output(NamedTuple):
  """What the network says.

  Attributes:
    logits: (batch, h, w).
    taps: inner tensors by name, if asked for.
  """

  logits: jax.Array
  taps: dict[str, jax.Array]


class Process(nnx.Module):
  """Parameters of the process, and of how sure a click is."""

  def __init__(self, config: Config, rngs: nnx.Rngs):
    width = config.features + 3
    self.theta = nnx.Linear(width, config.waves, rngs=rngs)
    self.omega = nnx.Param(jnp.zeros((config.waves,)))
    self.log_scale = nnx.Param(jnp.zeros((config.features,)))
    self.colour = nnx.Param(jnp.zeros((1,)))
    self.sure1 = nnx.Linear(width, config.hidden, rngs=rngs)
    self.sure2 = nnx.Linear(config.hidden, 1, rngs=rngs)

  def __call__(self, features: jax.Array, clicks: Clicks, between: bool) -> jax.Array:
    """Features (h, w, n) and clicks of one image -> logits (h, w)."""
    shift = self.theta.bias
    assert shift is not None
    prior = process.Prior(
      self.theta.kernel[...],
      shift[...],
      self.omega[...],
      self.log_scale[...],
      jax.nn.softplus(self.colour[0]),
    )
    clicked, counts = process.pick(features, clicks.yx, clicks.label, between=between)
    sure = jax.nn.softplus(self.sure2(jax.nn.relu(self.sure1(clicked)))[:, 0])
    wanted = jnp.where(jnp.asarray(clicks.label) == POSITIVE, sure, -sure)
    return process.logits(prior, features, clicked, wanted, counts)


class Network(nnx.Module):
  """The whole network."""

  def __init__(self, config: Config, rngs: nnx.Rngs):
    # Torch's names: 0 and 2 are the convolutions of a Sequential.
    self.maps_transform: Any = nnx.List([
      Conv(3, 16, rngs, stride=2), None, Conv(16, config.maps, rngs)
    ])
    self.backbone = resnet.ResNet(config.backbone, rngs)
    self.aspp = Aspp(config.backbone.widths[3], config.channels, rngs)
    self.decoder = Decoder(config.backbone, config.channels, config.features, rngs)
    self.process = Process(config, rngs)

  def __call__(
    self, image: jax.Array, maps: jax.Array, clicks: Clicks, between: bool, with_taps: bool
  ) -> Output:
    """As `apply`."""
    taps: dict[str, Any] | None = {} if with_taps else None
    colours = normalised(image)
    x = jax.nn.leaky_relu(self.maps_transform[0](maps), _LEAK)
    added = self.maps_transform[2](x)
    fine, deep = self.backbone(colours, added, taps)
    pooled = self.aspp(deep)
    x = self.decoder(pooled, fine)
    if taps is not None:
      taps |= {'maps_transform': added, 'aspp': pooled, 'model': x}
    squares = jnp.sum(x * x, axis=-1, keepdims=True)
    # sqrt has no slope at 0
    length = jnp.sqrt(jnp.maximum(squares, _SHORTEST**2))
    x = stretch(x / length, *image.shape[1:3])
    features = jnp.concatenate([x, colours], axis=-1)
    logits = jax.vmap(lambda features, clicks: self.process(features, clicks, between))(
      features, clicks
    )
    return Output(logits, taps or {})


@functools.cache
def _definition(config: Config) -> trees.Definition[Network]:
  return trees.define(functools.partial(Network, config))


def shapes(config: Config) -> dict[str, tuple[int, ...]]:
  """Shape of every parameter by its name in the flat tree, see `ports.gpcis.weights`."""
  return dict(_definition(config).shapes)


def apply(
  config: Config,
  params: Params,
  image: Array,
  maps: Array,
  clicks: Clicks,
  *,
  between: bool = False,
  with_taps: bool = False,
) -> Output:
  """Logits of a batch.

  Args:
    config: of the network.
    params: flat tree that holds at least the leaves of `shapes(config)`.
    image: (batch, height, width, 3) float32 RGB in [0, 1].
    maps: (batch, height, width, 3): probability of the previous mask, disks of the positive
      clicks, of the negative ones.
    clicks: yx (batch, num_slots, 2) in pixels of the image, label (batch, num_slots).
    between: features of a click that lies between pixels are mixed, so that a gradient reaches its
      place; otherwise they are those of the pixel that int() gives, as released.
    with_taps: also returns inner tensors.

  Returns:
    `Output`.
  """
  network = trees.bind(_definition(config), params)
  clicks = jax.tree.map(jnp.asarray, clicks)
  return network(jnp.asarray(image), jnp.asarray(maps), clicks, between, with_taps)
