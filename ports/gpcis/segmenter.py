"""GPCIS as a click model: the published network, and the published ways of evaluating it."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import jax
import numpy as np

from ports import choices
from ports.clicks import evaluation
from ports.clicks.maps import Protocol, segmenter
from ports.gpcis import network
from tetris_jax.types import Array, Clicks, Params, Segmenter

__all__ = ['ZOOMS', 'gpcis']

# Every click sees 384x384 pixels, or 256x256 on SBD, the aspect not kept: the whole image where
# nothing has been found yet, else a crop that is chosen anew at every click. Where a mask has
# vanished, the released program pastes the whole image's prediction into the last crop; RClicks'
# (arXiv 2410.11722) on its large pictures does as here and pastes it over the whole image.
ZOOMS = {
  'fixed': evaluation.square(384, anew=True), 'fixed_256': evaluation.square(256, anew=True)
}


def _forward(
  config: network.Config,
  between: bool,
  params: Params,
  image: Array,
  maps: Array,
  size: Array | None,
  clicks: Clicks,
) -> tuple[jax.Array, tuple[int, int]]:
  evaluation.only_squares('GPCIS', size)
  logits = network.apply(config, params, image, maps, clicks, between=between).logits
  return logits, (logits.shape[1], logits.shape[2])


def gpcis(
  params: Mapping[str, np.ndarray],
  sha256: Mapping[str, str],
  *,
  name: str,
  size: str,
  zoom: str = 'fixed',
  disks: str = 'soft',
) -> Segmenter:
  """GPCIS (CVPR 2023) with its zoom-in and without a mirrored image, threshold 0.49.

  Its authors' script takes 0.5; RClicks' evaluation of it (arXiv 2410.11722) 0.49, as elsewhere.

  Args:
    params: flat tree, see `ports.gpcis.weights`.
    sha256: of the file that it came from, by name.
    name: of the model; a zoom that is not "fixed" is appended.
    size: key of `network.CONFIGS`.
    zoom: key of `ZOOMS`.
    disks: "soft" for attacks, where the Gaussian process also sees a click between pixels; "hard"
      for the standard evaluation, where it sees the click's pixel; `ports.clicks.maps.Protocol`.

  Returns:
    The segmenter.

  Raises:
    ValueError: an unknown size, zoom or kind of disk.
  """
  choices.check('size', size, network.CONFIGS)
  info = evaluation.told(name, sha256, zoom, ZOOMS)
  protocol = Protocol(ZOOMS[zoom], flip=False, disks=disks, with_clicks=True)
  forward = functools.partial(_forward, network.CONFIGS[size], disks == 'soft')
  return segmenter(forward, dict(params), info, protocol)
