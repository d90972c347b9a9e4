"""ResNet at an eighth of its input, in Flax: 18 to 152 layers, batch norms folded.

He et al., "Deep Residual Learning for Image Recognition" (arXiv 1512.03385), as in GluonCV's "v1b"
(a 7x7 stem; stride in the 3x3 convolution) and "v1s" (a stem of three 3x3 convolutions,
bottlenecks) with dilated last stages (Yu et al., "Dilated Residual Networks", arXiv 1705.09914).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from ports.nn.convolution import Conv

__all__ = ['Block', 'Config', 'ResNet', 'max_pool']

# (stride, dilation of the first 3x3 convolution, dilation of the others), by stage
_STAGES = ((1, 1, 1), (2, 1, 1), (1, 1, 2), (1, 2, 4))


@dataclasses.dataclass(frozen=True)
class Config:
  """A depth.

  Attributes:
    blocks: of the four stages.
    bottleneck: blocks are 1x1, 3x3, 1x1 and four times as wide; the stem is three convolutions.
    width: of the first stage's 3x3 convolutions, doubled from stage to stage.
  """

  blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
  bottleneck: bool = False
  width: int = 64

  @property
  def stem(self) -> int:
    """Channels behind the stem."""
    return 2 * self.width if self.bottleneck else self.width

  @property
  def widths(self) -> tuple[int, ...]:
    """Channels behind each stage."""
    return tuple(self.width * 2**i * (4 if self.bottleneck else 1) for i in range(4))


def max_pool(x: jax.Array) -> jax.Array:
  """Largest of 3x3 pixels at stride 2, what is outside left out.

  Args:
    x: (batch, h, w, channels).

  Returns:
    (batch, ceil(h / 2), ceil(w / 2), channels).
  """
  pads = ((0, 0), (1, 1), (1, 1), (0, 0))
  return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), pads)


class Block(nnx.Module):
  """Two 3x3 convolutions, or a bottleneck of three, beside a residual."""

  def __init__(
    self, inputs: int, width: int, stage: tuple[int, int, int], first: bool, bottleneck: bool,
    rngs: nnx.Rngs,
  ):
    stride, start, rest = stage
    stride, dilation = (stride, start) if first else (1, rest)
    outputs = 4 * width if bottleneck else width
    if bottleneck:
      self.conv1 = Conv(inputs, width, rngs, size=1)
      self.conv2 = Conv(width, width, rngs, stride=stride, dilation=dilation)
    else:
      self.conv1 = Conv(inputs, width, rngs, stride=stride, dilation=dilation)
      self.conv2 = Conv(width, width, rngs, dilation=rest)
    self.conv3 = Conv(width, outputs, rngs, size=1) if bottleneck else None
    alike = stride == 1 and inputs == outputs
    self.downsample = None if alike else Conv(inputs, outputs, rngs, size=1, stride=stride)

  def __call__(self, x: jax.Array) -> jax.Array:
    """(batch, h, w, inputs) -> (batch, ceil(h / stride), ceil(w / stride), outputs)."""
    y = self.conv2(jax.nn.relu(self.conv1(x)))
    if self.conv3 is not None:
      y = self.conv3(jax.nn.relu(y))
    residual = x if self.downsample is None else self.downsample(x)
    return jax.nn.relu(y + residual)


class ResNet(nnx.Module):
  """Stem and four stages, at 1/4, 1/8, 1/8 and 1/8 of the input."""

  def __init__(self, config: Config, rngs: nnx.Rngs):
    if config.bottleneck:
      self.stem = nnx.List([
        Conv(3, config.width, rngs, stride=2),
        Conv(config.width, config.width, rngs),
        Conv(config.width, config.stem, rngs),
      ])
    else:
      self.stem = nnx.List([Conv(3, config.stem, rngs, size=7, stride=2)])
    inputs, stages = config.stem, []
    for i, (count, stage) in enumerate(zip(config.blocks, _STAGES, strict=True)):
      blocks = []
      for j in range(count):
        width = config.width * 2**i
        blocks.append(Block(inputs, width, stage, j == 0, config.bottleneck, rngs))
        inputs = config.widths[i]
      stages.append(nnx.List(blocks))
    self.layer1, self.layer2, self.layer3, self.layer4 = stages

  def __call__(
    self, image: jax.Array, more: jax.Array, taps: dict[str, Any] | None = None
  ) -> tuple[jax.Array, jax.Array]:
    """First and last stage's outputs.

    Args:
      image: (batch, h, w, 3) normalised.
      more: (batch, ceil(h / 2), ceil(w / 2), channels), added behind the stem: to its first
        channels where there are fewer, without the last of its own where there are more.
      taps: takes inner tensors.

    Returns:
      (batch, ceil(h / 4), ..., widths[0]) and (batch, ceil(h / 8), ..., widths[3]).
    """
    x = image
    for conv in self.stem:
      x = jax.nn.relu(conv(x))
    missing = max(x.shape[-1] - more.shape[-1], 0)
    x = x + jnp.pad(more[..., : x.shape[-1]], ((0, 0), (0, 0), (0, 0), (0, missing)))
    x = max_pool(x)
    outputs = []
    for blocks in (self.layer1, self.layer2, self.layer3, self.layer4):
      for block in blocks:
        x = block(x)
      outputs.append(x)
    if taps is not None:
      taps |= {'layer1': outputs[0], 'layer4': outputs[3]}
    return outputs[0], outputs[3]
