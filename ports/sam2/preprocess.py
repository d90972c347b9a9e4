"""From a picture to SAM 2's input: stretched to a square, with antialiasing, and normalised.

The released transforms resize floats in [0, 1] (torchvision's Resize on tensors), so no level is
rounded; and they do not keep the picture's aspect, so nothing is padded.
"""

from __future__ import annotations

import jax
import numpy as np

from ports.nn.resize import antialiased, resize
from tetris_jax.types import Array

__all__ = ['SIDE', 'preprocess']

SIDE = 1024
"""Pixels along a side of the released models' input."""

# of ImageNet, RGB in [0, 1]
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


def preprocess(image: Array, size: Array, *, side: int = SIDE) -> jax.Array:
  """SAM 2's input, (side, side, 3) float32.

  Args:
    image: (height, width, 3) float32 RGB in [0, 1], on a padded canvas.
    size: (2,) int32, the picture's height and width in the top left corner; what lies outside
      has no influence.
    side: of the input, in pixels.
  """
  height, width = image.shape[:2]
  rows, columns = antialiased(side, height, size[0]), antialiased(side, width, size[1])
  return (resize(image, rows, columns) - _MEAN[None, None]) / _DEVIATION[None, None]
