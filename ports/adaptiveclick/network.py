"""AdaptiveClick's network in Flax: SimpleClick's ViT and pyramid, with a decoder of masks.

Architecture: Lin et al., "AdaptiveClick: Clicks-aware Transformer with Adaptive Focal Loss for
Interactive Image Segmentation" (arXiv 2305.04276), in the form that was released.
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
from flax import nnx

from ports.adaptiveclick.pixels import PixelDecoder
from ports.adaptiveclick.queries import Masks, QueryDecoder
from ports.nn import trees
from ports.nn.deeplab import normalised
from ports.nn.layers import PatchConv
from ports.nn.resize import linear, resize
from ports.simpleclick import network as simpleclick
from tetris_jax.types import Array, Params

__all__ = ['CONFIGS', 'AdaptiveClick', 'Config', 'apply', 'bind', 'shapes']


@dataclasses.dataclass(frozen=True)
class Config:
  """Sizes of one network.

  Attributes:
    trunk: of the ViT and its pyramid; the head is not used.
    width: of the decoders' tokens.
    mask_width: of the features that masks are products with.
    hidden: of the pixel decoder's linear layers; the queries' have `query_hidden`.
    depth: layers of the pixel decoder.
    query_hidden: of the queries' linear layers.
    query_depth: layers of the queries.
    queries: their number.
  """

  trunk: simpleclick.Config
  width: int = 256
  mask_width: int = 256
  hidden: int = 1024
  depth: int = 4
  query_hidden: int = 2048
  query_depth: int = 9
  queries: int = 10


CONFIGS = {
  'vit_b': Config(simpleclick.Config(768, 12, 12, 16, 28, (256, 512, 1024, 2048), 256)),
  'vit_h': Config(simpleclick.Config(1280, 32, 16, 14, 32, (512, 1024, 2048, 4096), 256)),
}
"""The released sizes; all were trained at 448 x 448 pixels."""


class AdaptiveClick(nnx.Module):
  """The whole network."""

  def __init__(self, config: Config, rngs: nnx.Rngs):
    trunk = config.trunk
    self.patch_embed_coords = PatchConv(3, trunk.width, trunk.patch, rngs)
    self.backbone = simpleclick.Backbone(trunk, rngs)
    self.neck = simpleclick.Neck(trunk, rngs)
    self.pixel_decoder = PixelDecoder(
      trunk.pyramid, config.width, config.mask_width, config.hidden, config.depth, rngs
    )
    self.click_aware_decoder = QueryDecoder(
      config.width, config.mask_width, config.query_hidden, config.query_depth, config.queries, rngs
    )

  def prepare(self, image: jax.Array) -> jax.Array:
    """(height, width, 3) in [0, 1] -> tokens (rows, columns, width) before the clicks."""
    tokens = self.backbone.patch_embed(normalised(image))
    return tokens + self.backbone.positions(*tokens.shape[:2])

  def masks(
    self, prepared: jax.Array, maps: jax.Array, taps: dict[str, jax.Array] | None = None
  ) -> list[Masks]:
    """Prepared tokens and maps (height, width, 3) -> what the queries say, layer by layer."""
    tokens = self.backbone(prepared + self.patch_embed_coords(maps))
    levels = self.neck(tokens)
    if taps is not None:
      taps |= {f'neck.down_{4 * 2**i}': level for i, level in enumerate(levels)}
    return self.click_aware_decoder(self.pixel_decoder(levels, taps), maps[..., 1], taps)

  def decode(self, prepared: jax.Array, maps: jax.Array) -> jax.Array:
    """Prepared tokens and maps (height, width, 3) -> logits (height, width)."""
    return joined(self.masks(prepared, maps)[-1], maps.shape[0], maps.shape[1])


def joined(last: Masks, height: int, width: int) -> jax.Array:
  """Sum of all masks, each by how much its query is of the object: (height, width).

  Not normalised, and without a choice among the queries. The released code asks for (width, height)
  here and stretches the result back: where both are equal, as in its evaluation, that is the same.
  """
  share = jax.nn.sigmoid(last.classes[:, 1])
  one = jnp.einsum('q,qhw->hw', share, last.masks, precision='highest')
  rows = linear(height, one.shape[0], align_corners=True)
  return resize(one[..., None], rows, linear(width, one.shape[1], align_corners=True))[..., 0]


@functools.cache
def _definition(config: Config) -> trees.Definition[AdaptiveClick]:
  return trees.define(functools.partial(AdaptiveClick, config))


def shapes(config: Config) -> dict[str, tuple[int, ...]]:
  """Shape of every parameter by its name in the flat tree, see `ports.adaptiveclick.weights`."""
  return dict(_definition(config).shapes)


def bind(config: Config, params: Params) -> AdaptiveClick:
  """The network with these parameters; for use inside one trace."""
  return trees.bind(_definition(config), params)


def apply(config: Config, params: Params, image: Array, maps: Array) -> jax.Array:
  """Logits of the object for click maps over an image; differentiable in `maps`.

  Args:
    config: of the network.
    params: flat tree that holds at least the leaves of `shapes(config)`.
    image: (height, width, 3) float32 RGB in [0, 1], not normalised.
    maps: (height, width, 3) float32 of the image's size: probability of the previous mask (zeros
      before the first click), hard or soft disks of the positive clicks, of the negative ones.

  Returns:
    (height, width) float32; large, as they are a sum over queries.

  Raises:
    ValueError: a size whose tokens do not split into equal attention windows; multiples of 224
      pixels always do.
  """
  net = bind(config, params)
  return net.decode(net.prepare(jnp.asarray(image)), jnp.asarray(maps))
