"""SAM-HQ's mask decoder in Flax: one more token, and features of the picture at mask resolution.

Source of the architecture: Ke et al., "Segment Anything in High Quality" (arXiv 2306.01567) and its
released code, whose names the parameters have. The high-quality token mixes the up-scaled
embedding, refined by two convolutions, with features of the early and the last layer of the
encoder. The second convolution and the mixing are both linear, so they are one convolution to a
single channel here; and the features of the picture, which no click touches, are formed once.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from ports.nn.convolution import convolve
from ports.nn.layers import UpConv2x2, gelu, layer_norm, norm
from ports.sam.network import Context, MaskDecoder, Mlp, in_order
from ports.sam.prompts import EMBED, PromptEncoder

__all__ = ['MaskDecoderHQ', 'PromptedHQ']

_MIXED = EMBED // 8


class Conv3x3(nnx.Module):
  """Convolution of size 3 with bias, padded by 1 on every side; kernel (3, 3, in, out)."""

  def __init__(self, inputs: int, outputs: int, rngs: nnx.Rngs):
    init = nnx.initializers.lecun_normal()
    self.kernel = nnx.Param(init(rngs.params(), (3, 3, inputs, outputs)))
    self.bias = nnx.Param(jnp.zeros((outputs,)))

  def __call__(self, x: jax.Array) -> jax.Array:
    """(h, w, in) -> (h, w, out)."""
    return convolve(x[None], self.kernel[...], 1)[0] + self.bias[...].reshape(1, 1, -1)

  def mixed(self, x: jax.Array, mixing: jax.Array) -> jax.Array:
    """(h, w, in) and (out,) -> (h, w): the output's channels weighted by `mixing`, and summed.

    As one product with nine columns, one for each shift, and nine shifted sums.
    """
    height, width, inputs = x.shape
    columns = jnp.einsum('ijco,o->cij', self.kernel[...], mixing).reshape(inputs, 9)
    shifted = (x.reshape(-1, inputs) @ columns).reshape(height, width, 9)
    shifted = jnp.pad(shifted, ((1, 1), (1, 1), (0, 0)))
    total = jnp.full((height, width), self.bias[...] @ mixing)
    for i in range(3):
      for j in range(3):
        total = total + shifted[i : i + height, j : j + width, 3 * i + j]
    return total


def _upscaling(inputs: int, between: int, rngs: nnx.Rngs) -> nnx.Dict:
  layers: dict[str, Any] = {
    '0': UpConv2x2(inputs, between, rngs),
    '1': layer_norm(between, 1e-6, rngs),
    '3': UpConv2x2(between, _MIXED, rngs),
  }
  return nnx.Dict(layers)


def _apply(layers: nnx.Dict, x: jax.Array) -> jax.Array:
  return layers['3'](gelu(norm(layers['0'](x), layers['1'])))


class MaskDecoderHQ(MaskDecoder):
  """The mask decoder with the high-quality token.

  `early` is the width of the encoder's early feature.
  """

  def __init__(self, early: int, rngs: nnx.Rngs):
    super().__init__(rngs)
    self.hf_token = nnx.Embed(1, EMBED, rngs=rngs)
    self.hf_mlp = Mlp(_MIXED, rngs)
    self.compress_vit_feat = _upscaling(early, EMBED, rngs)
    self.embedding_encoder = _upscaling(EMBED, EMBED // 4, rngs)
    refining: dict[str, Any] = {
      '0': Conv3x3(_MIXED, 2 * _MIXED, rngs),
      '1': layer_norm(2 * _MIXED, 1e-6, rngs),
      '3': Conv3x3(2 * _MIXED, _MIXED, rngs),
    }
    self.embedding_maskfeature = nnx.Dict(refining)

  def own_tokens(self) -> jax.Array:
    """(6, 256): those of SAM, then the high-quality token."""
    return jnp.concatenate([super().own_tokens(), self.hf_token.embedding[...]])

  def features(self, image: jax.Array, early: jax.Array) -> jax.Array:
    """What the picture adds to the up-scaled embedding, whatever is clicked.

    Args:
      image: (side, side, 256), the image embedding.
      early: (side, side, early), the encoder's early feature.

    Returns:
      (4 * side, 4 * side, 32).
    """
    return _apply(self.embedding_encoder, image) + _apply(self.compress_vit_feat, early)

  def refined(self, tokens: jax.Array, upscaled: jax.Array, features: jax.Array) -> jax.Array:
    """The high-quality token's (4 * side, 4 * side) logits.

    Args:
      tokens: of `tokens`.
      upscaled: of `upscale`.
      features: of `features`.
    """
    hyper = self.hf_mlp(tokens[5])
    layers = self.embedding_maskfeature
    x = gelu(norm(layers['0'](in_order(upscaled.reshape(-1, _MIXED))), layers['1']))
    return layers['3'].mixed(x, hyper) + features @ hyper

  def answer_hq(
    self,
    context: Context,
    position: jax.Array,
    sparse: jax.Array,
    use: jax.Array,
    choice: str,
    first: jax.Array,
    features: jax.Array,
    only: bool,
  ) -> tuple[jax.Array, jax.Array]:
    """As `answer`, with the high-quality logits added to the chosen mask's, or by themselves.

    Args:
      context: see `tokens`.
      position: see `tokens`.
      sparse: see `tokens`.
      use: see `tokens`.
      choice: see `choose`.
      first: see `choose`.
      features: of `features`.
      only: whether the chosen mask's own logits are left out.

    Returns:
      (4 * side, 4 * side) logits, and the () predicted IoU of the chosen mask.
    """
    tokens, image = self.tokens(context, position, sparse, use)
    hyper, predicted = self.choose(tokens, choice, first)
    upscaled = self.upscale(image)
    logits = self.refined(tokens, upscaled, features)
    if not only:
      logits = logits + in_order(upscaled.reshape(-1, _MIXED) @ hyper[:, None])[..., 0]
    return logits, predicted


class PromptedHQ(nnx.Module):
  """Prompt encoder and high-quality mask decoder together."""

  def __init__(self, early: int, rngs: nnx.Rngs):
    self.prompt_encoder = PromptEncoder(rngs)
    self.mask_decoder = MaskDecoderHQ(early, rngs)
