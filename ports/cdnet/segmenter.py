"""CDNet as a click model: the published network, and the published way of evaluating it."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import jax
import numpy as np

from ports import choices
from ports.cdnet import network
from ports.cdnet.diffusion import diffuse
from ports.clicks import evaluation
from ports.clicks.maps import Protocol, segmenter
from tetris_jax.types import Array, Params, Segmenter

__all__ = ['ZOOMS', 'cdnet']

# Every click sees 384x384 pixels, the aspect not kept: the whole image where nothing has been found
# yet, else a crop that is chosen anew at every click. Where a mask has vanished, the released
# program pastes the whole image's prediction into the last crop; RClicks' (arXiv 2410.11722) on its
# large pictures does as here and pastes it over the whole image.
ZOOMS = {'fixed': evaluation.square(384, anew=True)}

# of the disks that the feature diffusion reads, in network pixels
_WIDE = 24.0


def _forward(
  config: network.Config, params: Params, image: Array, maps: Array, size: Array | None
) -> tuple[jax.Array, tuple[int, int]]:
  evaluation.only_squares('CDNet', size)
  logits = network.apply(config, params, image, maps[..., :2], maps[..., 2:]).logits
  return logits, (logits.shape[1], logits.shape[2])


def cdnet(
  params: Mapping[str, np.ndarray],
  sha256: Mapping[str, str],
  *,
  name: str,
  size: str,
  zoom: str = 'fixed',
  disks: str = 'soft',
  flip: bool = True,
) -> Segmenter:
  """CDNet (ICCV 2021) with its zoom-in, flip averaging and pixel diffusion, threshold 0.5.

  The released predictor returns masks, probability above 0.5, whatever threshold it is asked for.

  Args:
    params: flat tree, see `ports.cdnet.weights`.
    sha256: of the file that it came from, by name.
    name: of the model.
    size: key of `network.CONFIGS`.
    zoom: key of `ZOOMS`.
    disks: "soft" for attacks, "hard" for the standard evaluation; see `ports.clicks.maps.Protocol`.
    flip: whether logits are averaged with those of the mirrored image.

  Returns:
    The segmenter.

  Raises:
    ValueError: an unknown size, zoom or kind of disk.
  """
  choices.check('size', size, network.CONFIGS)
  info = evaluation.told(name, sha256, zoom, ZOOMS, threshold=0.5)
  forward = functools.partial(_forward, network.CONFIGS[size])
  protocol = Protocol(ZOOMS[zoom], flip, disks, previous=False, more_radii=(_WIDE,))
  finish = lambda image, maps, logits: diffuse(image, logits, maps[..., :2])
  return segmenter(forward, dict(params), info, protocol, finish)
